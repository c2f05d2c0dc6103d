"""Markdown in pieces: the same blocks however it is cut, nothing lost, and no block without bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.cli.chat.markdown_blocks import MarkdownBlocks

LINES = [
    "",
    "text",
    "# head",
    "- item",
    "  more",
    "1. one",
    "> said",
    "```python",
    "```",
    "~~~",
    "    code",
    "| a | b |",
    "|---|---|",
]


def blocks_of(*pieces: str) -> list[str]:
    blocks = MarkdownBlocks()
    result = [block for piece in pieces for block in blocks.feed(piece)]
    return result + blocks.end()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\n\ntwo", ["one", "two"]),
        ("# head\ntext\n", ["# head", "text"]),
        ("text\n# head\n", ["text", "# head"]),
        ("- a\n\n- b\n\n  more of b\n\nafter\n", ["- a\n\n- b\n\n  more of b", "after"]),
        ("```py\na\n\nb\n```\nafter", ["```py\na\n\nb\n```", "after"]),
        ("text\n~~~\n```\n~~~\n", ["text", "~~~\n```\n~~~"]),
        ("- a\n  ```\n  code\n  ```\n- b\n", ["- a\n  ```\n  code\n  ```\n- b"]),
        ("| a |\n|---|\n| 1 |\n\nx", ["| a |\n|---|\n| 1 |", "x"]),
        ("```\nnever closed", ["```\nnever closed"]),
        ("\n\n \n", []),
    ],
)
def test_blocks_end_where_nothing_can_change_them(text: str, expected: list[str]) -> None:
    """Lists go on over blank lines, code over everything up to its own marks; in one piece, and letter by letter."""
    assert blocks_of(text) == blocks_of(*text) == expected


@given(st.lists(st.sampled_from(LINES), max_size=40), st.randoms())
def test_any_cut_gives_the_same_blocks_and_loses_nothing(lines: list[str], random: object) -> None:
    """At random places; all that is not blank stays, in its order, but for the marks that a cut of long code adds."""
    text = "\n".join(lines)
    cuts = sorted(random.randint(0, len(text)) for _ in range(5))  # type: ignore[attr-defined]
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert blocks_of(*pieces) == blocks_of(text)
    assert "".join("".join(blocks_of(text)).split()) == "".join(text.split())


def test_the_open_block_is_the_rest() -> None:
    """What is not finished, with the line at hand; finished blocks are not in it."""
    blocks = MarkdownBlocks()
    assert blocks.feed("one\n\ntwo\nthr") == ["one"]
    assert blocks.open == "two\nthr"


def test_long_code_and_long_lists_are_cut() -> None:
    """Each part is whole code of the same language, or whole items."""
    code = blocks_of("```py\n" + "x = 1\n" * 500 + "```\n")
    assert len(code) > 7
    assert all(block.startswith("```py\n") and block.endswith("\n```") for block in code)
    assert sum(block.count("x = 1") for block in code) == 500
    items = blocks_of("- item\n" * 500)
    assert len(items) > 7
    assert all(block.startswith("- item") for block in items)
    assert max(map(len, blocks_of("line\n" * 5000))) < 1000


@pytest.mark.parametrize("begin", ["", "```\n", "- ", f"```{'py' * 4_000}\n"], ids=["text", "code", "item", "language"])
@pytest.mark.parametrize("more", ["word ", "x", "  more\n", "\n", "y\n\n"])
def test_no_block_grows_without_bound(begin: str, more: str) -> None:
    """Whatever an answer repeats, with or without ends of lines: what is open stays small, and no letter is lost."""
    blocks, finished = MarkdownBlocks(), list[str]()
    for piece in (begin, *[more * 500] * 40):
        finished += blocks.feed(piece)
        assert len(blocks.open) <= 50_000
    finished += blocks.end()
    assert sum(len(block) for block in finished) < 4 * 20_000 * len(more) + 10_000
    for letter in more.strip():
        assert sum(block.count(letter) for block in finished) >= 20_000
    assert blocks_of(begin + more * 4_000) == blocks_of(begin, *[more] * 4_000)

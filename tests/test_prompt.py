"""A conversation as one string, and what is none."""

from __future__ import annotations

import pytest

from polychat.errors import BadInput
from polychat.prompt import byte_size, prompt_of, turns

USER = {"role": "user", "content": "Привет"}


def test_a_single_message_is_its_own_prompt() -> None:
    """One message goes as it is, without a role."""
    assert prompt_of([USER]) == "Привет"


def test_a_conversation_is_a_line_a_message() -> None:
    """More messages become ``Role: content`` lines, and the answer's line is begun."""
    messages = [{"role": "system", "content": "Be kind."}, USER, {"role": "assistant", "content": "A\nB"}, USER]
    assert prompt_of(messages) == "System: Be kind.\nUser: Привет\nAssistant: A\nB\nUser: Привет\nAssistant:"


def test_text_parts_are_joined() -> None:
    """OpenAI's list of text parts is the same message."""
    assert prompt_of([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]) == "ab"


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "messages"),
        ("hello", "messages"),
        (None, "messages"),
        ([{"role": "user"}], "messages[0]"),
        ([USER, {"role": "", "content": "x"}], "messages[1]"),
        ([USER, "x"], "messages[1]"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "messages[0].content[0]"),
        ([{"role": "user", "content": [7]}], "messages[0].content[0]"),
    ],
)
def test_what_is_no_conversation_is_named(messages: object, field: str) -> None:
    """The error says which part of the input is at fault."""
    with pytest.raises(BadInput) as caught:
        turns(messages)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_half_a_letter_is_refused_before_sending() -> None:
    """A lone surrogate has no UTF-8 and is refused by name; other text is counted in bytes."""
    assert byte_size("é漢😀", "prompt") == 9
    with pytest.raises(BadInput, match="character 1"):
        byte_size("a\ud800", "prompt")

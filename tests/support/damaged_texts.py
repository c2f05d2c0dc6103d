"""A text with parts taken out and others put in anywhere, as a broken server or network may send it."""

from __future__ import annotations

from hypothesis import strategies as st

PUT_IN = st.sampled_from(
    [
        *("", " ", "\n", "\r", "\n\n", "\n\ndata: ", "\ndata: ", "data: ", "event: ", "\ufeff", "0", "\\ud83d"),
        *("}", "{", "{}", "},", ",{", ",", "]", "[", '"'),
    ]
)
"""What server-sent events of JSON are made of."""


def damaged(text: str) -> st.SearchStrategy[str]:
    """``text`` with up to nine characters replaced by one of ``PUT_IN``, at one to three places."""
    damages = st.tuples(st.integers(0, len(text)), st.integers(0, 9), PUT_IN)
    return st.lists(damages, min_size=1, max_size=3).map(lambda places: _with(text, places))


def _with(text: str, damages: list[tuple[int, int, str]]) -> str:
    for place, size, put in damages:
        text = text[:place] + put + text[place + size :]
    return text

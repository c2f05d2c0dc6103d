"""Columns that text takes in a terminal: letters of East Asia and emoji take two, marks that combine take none."""

from __future__ import annotations

import unicodedata

_NO_WIDTH = ("Mn", "Me", "Cf")


def width_of(text: str) -> int:
    """Columns of a text without control characters."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def rows_of(text: str, columns: int) -> int:
    """Rows of a terminal that it takes: a wide letter with one column left goes into the next row."""
    if text.isascii():
        return max(1, -(-len(text) // max(1, columns)))
    rows, used = 1, 0
    for letter in text:
        width = _columns(letter)
        if used and used + width > columns:
            rows, used = rows + 1, 0
        used += width
    return rows


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """The text in exactly so many columns: cut with an ellipsis, or filled with blanks (before it, if ``right``)."""
    missing = width - width_of(text)
    if missing < 0:
        text = _cut(text, width)
        missing = width - width_of(text)
    blanks = " " * missing
    return f"{blanks}{text}" if right else f"{text}{blanks}"


def _cut(text: str, width: int) -> str:
    if width <= 0:
        return ""
    columns = 0
    for place, letter in enumerate(text):
        columns += _columns(letter)
        if columns > width - 1:
            return f"{text[:place]}…"
    return text


def _columns(letter: str) -> int:
    if letter < "\u0300":
        return 1
    if unicodedata.category(letter) in _NO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1

"""Tables that fit a terminal: columns that are needed least are left out first, and the rest of the width goes to names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from ..text_width import fitted, width_of

R = TypeVar("R")
Line: TypeAlias = list[tuple[str, str]]
"""Pieces of a line: the name of a style, and text without control characters."""
_GAP = 2


class Column(NamedTuple, Generic[R]):
    """One fact of each row."""

    title: str
    text: Callable[[R], str]
    value: Callable[[R], Any]
    """What rows are sorted by: numbers or texts; ``None`` comes last."""
    width: int
    """The least."""
    rank: int
    """How much it is needed: the largest is left out first."""
    grows: bool = False
    """Whether it gets what is left of the width; texts are at the left then, numbers at the right."""
    style: Callable[[R], str] = lambda row: ""
    is_needed: Callable[[R], bool] = lambda row: True
    """Where it is so for no row, the column is left out."""


def sorted_rows(rows: Sequence[R], column: Column[R], *, is_reversed: bool) -> list[R]:
    """The rows by one column; those without a value last."""
    having = [row for row in rows if column.value(row) is not None]
    missing = [row for row in rows if column.value(row) is None]
    return sorted(having, key=column.value, reverse=is_reversed) + missing


def table_lines(
    columns: Sequence[Column[R]], rows: Sequence[R], width: int, marked: Column[R] | None, *, arrow: str = ""
) -> list[Line]:
    """A heading, and a line for each row. ``marked`` is the column by which they are sorted, with an arrow."""
    texts = {column.title: [column.text(row) for row in rows] for column in columns}
    shown = [column for column in columns if any(map(column.is_needed, rows))]
    widths = _widths(shown, texts, width)
    shown = [column for column in shown if column.title in widths]
    heading: Line = []
    for column in shown:
        title = f"{column.title}{arrow}" if column is marked else column.title
        heading.append(("heading", _cell(title, widths[column.title], column) + " " * _GAP))
    lines = [heading]
    for number, row in enumerate(rows):
        cells = [(column, _cell(texts[column.title][number], widths[column.title], column)) for column in shown]
        lines.append([(column.style(row), cell + " " * _GAP) for column, cell in cells])
    return lines


def _cell(text: str, width: int, column: Column[R]) -> str:
    return fitted(text, width, right=not column.grows)


def _widths(columns: Sequence[Column[R]], texts: dict[str, list[str]], width: int) -> dict[str, int]:
    """Of the columns that are shown, by title."""
    kept = list(columns)
    while len(kept) > 1 and sum(column.width + _GAP for column in kept) - _GAP > width:
        kept.remove(max(kept, key=lambda column: column.rank))
    widths = {column.title: column.width for column in kept}
    free = width - sum(each + _GAP for each in widths.values()) + _GAP
    growing = [column for column in kept if column.grows]
    wanted = {
        column.title: max([width_of(text) for text in (column.title + " ", *texts[column.title])]) - column.width
        for column in growing
    }
    for number, title in enumerate(sorted(wanted, key=lambda title: wanted[title])):
        more = max(0, min(wanted[title], free // (len(wanted) - number)))
        widths[title] += more
        free -= more
    return widths

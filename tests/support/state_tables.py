"""The tables of states at the top of hard files, read from their docstrings: a test that drives the code compares with them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple


class Transition(NamedTuple):
    before: str
    event: str
    after: str


def transitions(module: ModuleType, title: str) -> set[Transition]:
    """The rows of the table whose first heading is ``title``. A cell with `` or `` means each of its states."""
    return {
        Transition(before, event, after)
        for befores, event, afters in _rows(module, title)
        for before in befores.split(" or ")
        for after in afters.split(" or ")
    }


def moves(table: Iterable[Transition]) -> set[tuple[str, str]]:
    """From which state to which other one there is a way in one step."""
    return {(before, after) for before, _, after in table if before != after}


def _rows(module: ModuleType, title: str) -> Iterator[tuple[str, str, str]]:
    assert module.__file__ is not None
    source = Path(module.__file__).with_name(f"{module.__name__.rpartition('.')[2]}.py")  # a compiled module has it beside it
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(title) and "next" in line:
            rule = next(lines)
            starts = [place for place, sign in enumerate(rule) if sign == "=" and (place == 0 or rule[place - 1] == " ")]
            for row in lines:
                if row.startswith("="):
                    return
                cells = [row[begin:end].strip() for begin, end in zip(starts, [*starts[1:], None], strict=True)]
                yield cells[0], cells[1], cells[2]
    raise AssertionError(f"{module.__name__} has no table of {title!r}")

"""Arguments of a call that arrive in parts: each has the position of its value as a JSON path, such as ``$.rows[0].name``."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from .constants import Object

_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d{1,6})\]|\[(?:'([^']*)'|"([^"]*)")\]""")
_VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")


def put(arguments: Object, part: Any) -> int:
    """Put a part at its position; a piece of a text is appended to the text there. Gives the approximate growth in characters.

    Raises ``ValueError`` and ``TypeError`` for an invalid position.
    """
    steps = _steps(part["jsonPath"])
    name = next((name for name in _VALUES if name in part), None)
    value = None if name in (None, "nullValue") else part[name]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    here: Any = arguments
    for step, after in pairwise(steps):
        here = _at(here, step, {} if isinstance(after, str) else [])
    before = _at(here, steps[-1], None)
    text = isinstance(before, str) and isinstance(value, str)
    here[steps[-1]] = before + value if text else value
    return len(value) if isinstance(value, str) else 1


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    at = 1
    while path[:1] == "$" and (step := _STEP.match(path, at)) is not None:
        steps.append(int(step[2]) if step[2] else step[1] or step[3] or step[4] or "")
        at = step.end()
    if not steps or at < len(path):
        raise ValueError("a part of arguments without a path")
    return steps


def _at(here: Any, step: str | int, empty: Any) -> Any:
    """The value at a step, or ``empty``, which is inserted there."""
    if isinstance(step, str):
        return here.setdefault(step, empty)
    if step > len(here):
        raise ValueError("a part of arguments after a gap")
    if step == len(here):
        here.append(empty)
    return here[step]

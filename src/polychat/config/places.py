"""The line of each key in a TOML text: ``tomllib`` gives values without their places."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

_MARK = re.compile(
    r"""(?sx)
      (?P<text>  \"{3} (?: \\. | [^\\] )*? \"{3,5} | '{3} .*? '{3,5} | " (?: \\. | [^"\\\n] )* " | ' [^'\n]* ' )
    | (?P<comment> \# [^\n]* )
    | (?P<bare>  [A-Za-z0-9_-]+ )
    | (?P<space> [^\S\n]+ )
    | (?P<sign>  . )
    """
)


def line_of(text: str, key: str) -> int | None:
    """The line, from 1, of the dotted ``key``, or of the nearest table round it; ``None`` where there is neither.

    A key is looked for as it is written, then in any case: names of providers are kept in lower case.
    """
    lines = _lines(text)
    lower = {name.lower(): line for name, line in lines.items()}
    while key and key not in lines and key.lower() not in lower:
        key = key[: max(key.rfind("."), 0)]
    return lines.get(key, lower.get(key.lower()))


def _lines(text: str) -> dict[str, int]:
    written: dict[str, int] = {}
    implied: dict[str, int] = {}
    table: list[str] = []
    for line, marks in _statements(text):
        path = _path(marks)
        if marks[0] == "[":
            table = full = path
        else:
            full = [*table, *path]
        written.setdefault(".".join(full), line)
        for length in range(1, len(full)):
            implied.setdefault(".".join(full[:length]), line)
    return implied | written


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Headers and ``key = value``, each with the line it begins on; without comments and white space."""
    line = begun = 1
    depth = 0
    marks: list[str] = []
    for match in _MARK.finditer(text):
        mark = match[0]
        if mark == "\n":
            if marks and not depth:
                yield begun, marks
                marks = []
        elif match.lastgroup not in ("comment", "space"):
            begun = begun if marks else line
            marks.append(mark)
            if match.lastgroup == "sign":
                depth += (mark in "[{") - (mark in "]}")
        line += mark.count("\n")
    if marks:
        yield begun, marks


def _path(marks: list[str]) -> list[str]:
    """The names before ``=``, or those between the brackets."""
    names = marks[: marks.index("=")] if "=" in marks else marks
    return [_name(mark) for mark in names if mark not in ("[", "]", ".")]


def _name(mark: str) -> str:
    return str(tomllib.loads(f"name = {mark}")["name"]) if mark[0] in "\"'" else mark

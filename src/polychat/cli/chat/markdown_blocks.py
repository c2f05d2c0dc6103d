"""Markdown that arrives in pieces, cut into blocks: those that are finished, which nothing can change any more, and the last.

A block is a paragraph, a heading, a list, a quotation, a table or fenced code. Long code and long lists are cut into several,
so that no block grows without bound, and each letter is looked at once.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)$")
_HEADING = re.compile(r" {0,3}#{1,6}(\s|$)")
_ITEM = re.compile(r"\s*([-*+]|\d{1,9}[.)])\s")
_LONGEST = 60
"""Lines of a block after which it is cut."""


class _Fence(NamedTuple):
    """The line that opened the code."""

    indent: str
    marks: str
    info: str

    def closes(self, line: str) -> bool:
        text = line.strip()
        return len(text) >= len(self.marks) and not text.strip(self.marks[0])


class MarkdownBlocks:
    """Takes pieces of text and gives finished blocks; ``open`` is the text of the last one so far."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        """Whole lines of the open block."""
        self._rest: list[str] = []
        """The pieces of the line that is not finished."""
        self._fence: _Fence | None = None
        self._has_items = self._is_after_blank = False

    @property
    def open(self) -> str:
        """The open block with the line that is not finished, as Markdown of its own."""
        return "\n".join([*self._lines, "".join(self._rest)])

    def feed(self, piece: str) -> list[str]:
        """The blocks that are finished by this piece."""
        finished: list[str] = []
        *whole, rest = piece.split("\n")
        for line in whole:
            self._rest.append(line)
            finished += self._line("".join(self._rest))
            self._rest = []
        if rest:
            self._rest.append(rest)
        return finished

    def end(self) -> list[str]:
        """What is left."""
        finished = self._line("".join(self._rest)) if self._rest else []
        self._rest = []
        return finished + self._taken()

    def _line(self, line: str) -> list[str]:
        """The blocks that this whole line finishes."""
        if self._fence is not None:
            return self._code(self._fence, line)
        if not line.strip():
            return self._blank()
        before = self._before(line)
        self._is_after_blank = False
        opened = _FENCE.match(line)
        if opened is not None and not self._has_items:
            before += self._taken()
            self._fence = _Fence(line[: len(line) - len(line.lstrip())], opened[1], opened[2].strip())
        self._has_items |= _ITEM.match(line) is not None
        self._lines.append(line)
        if _HEADING.match(line) and len(self._lines) == 1:
            return before + self._taken()
        return before + (self._taken() if len(self._lines) >= _LONGEST and not self._has_items else [])

    def _before(self, line: str) -> list[str]:
        """The block that ends before this line, if one does."""
        if not self._lines:
            return []
        if self._has_items:
            is_item = _ITEM.match(line) is not None
            ends = self._is_after_blank and not is_item and not line.startswith((" ", "\t"))
            return self._taken() if ends or (len(self._lines) >= _LONGEST and is_item) else []
        return self._taken() if _HEADING.match(line) else []

    def _blank(self) -> list[str]:
        if self._has_items:
            self._is_after_blank = True
            self._lines.append("")
            return []
        return self._taken()

    def _code(self, fence: _Fence, line: str) -> list[str]:
        self._lines.append(line)
        if fence.closes(line):
            self._fence = None
            return self._taken()
        if len(self._lines) <= _LONGEST:
            return []
        cut = "\n".join([*self._lines, f"{fence.indent}{fence.marks}"])
        self._lines = [f"{fence.indent}{fence.marks}{fence.info}"]
        return [cut]

    def _taken(self) -> list[str]:
        text = "\n".join(self._lines).strip("\n")
        self._lines, self._has_items, self._is_after_blank = [], False, False
        return [text] if text.strip() else []

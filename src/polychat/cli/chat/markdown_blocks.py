"""Markdown that arrives in pieces, cut into blocks: those that are finished, which nothing can change any more, and the last.

A block is a paragraph, a heading, a list, a quotation, a table or fenced code. Long ones are cut into several, and so is a line
that does not end: no block grows without bound, and each letter is looked at once.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FENCE = re.compile(r" {0,3}(`{3,99}|~{3,99})([^`]*)$")
_HEADING = re.compile(r" {0,3}#{1,6}(\s|$)")
_ITEM = re.compile(r"\s*([-*+]|\d{1,9}[.)])\s")
_LONGEST = 60
"""Lines of a block after which it is cut."""
_LARGEST = 8_000
"""Characters of a block after which it is cut, and of a line: the open block is drawn again whenever it has grown."""


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
        self._size = self._rest_size = 0
        """Characters of the lines, and of the rest."""
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
            finished += self._grown(line) + self._line("".join(self._rest))
            self._rest, self._rest_size = [], 0
        return finished + self._grown(rest)

    def end(self) -> list[str]:
        """What is left."""
        finished = self._line("".join(self._rest)) if self._rest else []
        self._rest, self._rest_size = [], 0
        return finished + self._taken()

    def _grown(self, piece: str) -> list[str]:
        """Adds to the line that is not finished. One that is too long is cut at a blank, or within a word that has none."""
        self._rest.append(piece)
        self._rest_size += len(piece)
        if self._rest_size <= _LARGEST:
            return []
        finished, begin, text = [], 0, "".join(self._rest)
        while len(text) - begin > _LARGEST:
            end = text.rfind(" ", begin + _LARGEST // 2, begin + _LARGEST) + 1 or begin + _LARGEST
            finished += self._line(text[begin:end])
            begin = end
        self._rest, self._rest_size = [text[begin:]], len(text) - begin
        return finished

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
            self._fence = _Fence(line[: len(line) - len(line.lstrip())], opened[1], opened[2].strip()[:99])
        self._has_items |= _ITEM.match(line) is not None
        self._add(line)
        if _HEADING.match(line) and len(self._lines) == 1:
            return before + self._taken()
        return before + (self._taken() if self._is_long() and not self._has_items else [])

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._size += len(line)

    def _is_long(self, times: int = 1) -> bool:
        return len(self._lines) >= times * _LONGEST or self._size >= times * _LARGEST

    def _before(self, line: str) -> list[str]:
        """The block that ends before this line, if one does."""
        if not self._lines:
            return []
        if self._has_items:
            is_item = _ITEM.match(line) is not None
            ends = self._is_after_blank and not is_item and not line.startswith((" ", "\t"))
            return self._taken() if ends or self._is_long(1 if is_item else 4) else []
        return self._taken() if _HEADING.match(line) else []

    def _blank(self) -> list[str]:
        if self._has_items:
            self._is_after_blank = True
            self._add("")
            return self._taken() if self._is_long(4) else []
        return self._taken()

    def _code(self, fence: _Fence, line: str) -> list[str]:
        self._add(line)
        if fence.closes(line):
            self._fence = None
            return self._taken()
        if not self._is_long():
            return []
        self._add(f"{fence.indent}{fence.marks}")
        cut = self._taken()
        self._add(f"{fence.indent}{fence.marks}{fence.info}")
        return cut

    def _taken(self) -> list[str]:
        text = "\n".join(self._lines).strip("\n")
        self._lines, self._size, self._has_items, self._is_after_blank = [], 0, False, False
        return [text] if text.strip() else []

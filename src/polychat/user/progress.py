"""How far something is that takes long: one line at a terminal, drawn again in its place; elsewhere plain lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import TextIO

_EVERY = 0.1
"""Seconds between two drawings."""
_PLAIN_AFTER = 2.0
"""Seconds before the first plain line: what is done by then needs none."""
_BAR = 24
"""Columns of the longest bar."""
_QUARTER = 0.25
_MEGABYTE = 1_000_000


class Progress:
    """Use it as a context. Unless ``plain``, nothing is written to what is no terminal.

    The cursor is left at the beginning of the line: whatever else is written to the terminal takes its place.
    """

    def __init__(
        self,
        title: str,
        total: int,
        out: TextIO | None = None,
        *,
        plain: bool = False,
        patience: float = 0.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """``title`` begins the line; ``total`` is in bytes; ``out`` is standard error by default.

        ``patience``: seconds before the line is drawn, as what is done by then needs none.
        """
        self._title, self._total, self._out, self._clock = title, max(total, 1), sys.stderr if out is None else out, clock
        self._columns = columns_of(self._out)
        self._is_plain = plain
        self._begin = clock()
        self._next = self._begin + (_PLAIN_AFTER if self._columns is None else patience)
        self._told = 0.0
        """The part that the latest plain line said."""
        self._is_drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._is_drawn:
            self._write("\r\x1b[K")

    def at(self, done: int, total: int = 0) -> None:
        """So many bytes are done, of ``total`` if that is another than was thought."""
        now = self._clock()
        self._total = total or self._total
        if self._columns is not None:
            if now >= self._next:
                self._next, self._is_drawn = now + _EVERY, True
                self._write(f"\r\x1b[K{self._line(min(done, self._total), now)}\r")
        elif self._is_plain and now >= self._next and done / self._total >= self._told + _QUARTER:
            self._told = done / self._total // _QUARTER * _QUARTER
            self._write(f"{self._title}: {self._told:.0%}\n")

    def _line(self, done: int, now: float) -> str:
        seconds = max(now - self._begin, 0.001)
        left = (self._total - done) * seconds / max(done, 1)
        end = f" {_mega(done)} of {_mega(self._total)} MB, {_mega(done / seconds)} MB/s, {left:.0f} s"
        columns = (self._columns or 0) - 1
        bar = max(0, min(_BAR, columns - len(self._title) - len(end) - 1))
        full = round(bar * done / self._total)
        return f"{self._title} {'━' * full}{'─' * (bar - full)}{end}"[: max(columns, 0)]

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):  # nobody looks any more: what takes long goes on
            self._columns, self._is_plain, self._is_drawn = None, False, False


def columns_of(out: TextIO | None) -> int | None:
    """Of the terminal that it is; ``None`` for what is none."""
    try:
        if out is None or not out.isatty():
            return None
        return os.get_terminal_size(out.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):  # closed, or without a file
        return None


def _mega(size: float) -> str:
    return f"{size / _MEGABYTE:,.0f}" if size >= 10 * _MEGABYTE else f"{size / _MEGABYTE:.1f}"

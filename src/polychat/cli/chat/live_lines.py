"""Lines at the bottom of a terminal that change: of what was drawn before, only the lines that differ are drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO


class LiveLines:
    """The lines that were drawn last; the cursor stands at the beginning of the line below them."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._drawn: list[str] = []

    def draw(self, lines: Sequence[str], rows: int) -> None:
        """Show these instead. ``rows``: of the terminal; what has left it above can no longer be changed."""
        same = 0
        for old, new in zip(self._drawn, lines, strict=False):
            if old != new:
                break
            same += 1
        if same == len(self._drawn) == len(lines):
            return
        same = max(same, len(self._drawn) - max(1, rows - 1))
        up = len(self._drawn) - same
        begin = f"\x1b[{up}A" if up else ""
        clear = "\x1b[J" if up else ""
        self._out.write(f"{begin}\r{clear}" + "".join(f"{line}\n" for line in lines[same:]))
        self._out.flush()
        self._drawn = list(lines)

    def keep(self) -> None:
        """What is drawn stays as it is; the next lines come below."""
        self._drawn = []

"""Lines at the bottom of a terminal that change: of what was drawn before, only the lines that differ are drawn again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TextIO

from ..text_width import rows_of

STYLES = re.compile(r"\x1b\[[\d;]*m")
"""What sets colours and weight, and takes no column."""


class LiveLines:
    """The lines that were drawn last; the cursor stands at the beginning of the line below them.

    A terminal that has become narrower is taken to have wrapped them anew, as nearly all do.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._drawn: list[str] = []

    def draw(self, lines: Sequence[str], rows: int, columns: int) -> None:
        """Show these instead. ``rows`` and ``columns``: of the terminal; what has left it above can no longer be changed."""
        same = 0
        for old, new in zip(self._drawn, lines, strict=False):
            if old != new:
                break
            same += 1
        if same == len(self._drawn) == len(lines):
            return
        reach = max(1, rows - 1)
        up = replaced = 0
        while same + replaced < len(self._drawn) and up < reach:
            if (height := rows_of(STYLES.sub("", self._drawn[-1 - replaced]), columns)) > reach - up:
                break
            up, replaced = up + height, replaced + 1
        if same + replaced < len(self._drawn):
            # Where lines were wrapped anew, those of now and of before do not correspond: the screen gets the last ones.
            same = len(self._drawn) - replaced if up == replaced else max(same, len(lines) - reach)
        begin = f"\x1b[{up}A" if up else ""
        clear = "\x1b[J" if up else ""
        self._out.write(f"{begin}\r{clear}" + "".join(f"{line}\n" for line in lines[same:]))
        self._out.flush()
        self._drawn = list(lines)

    def keep(self) -> None:
        """What is drawn stays as it is; the next lines come below."""
        self._drawn = []

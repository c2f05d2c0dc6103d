"""Lines that are drawn again: what a terminal shows at the end, and what is sent to it."""

from __future__ import annotations

import io
import re

from hypothesis import given
from hypothesis import strategies as st

from polychat.cli.chat.live_lines import LiveLines

_PART = re.compile(r"\x1b\[(\d*)([AJ])|\r|\n|[^\x1b\r\n]+")


def screen_of(written: str) -> list[str]:
    """The lines of a terminal without an upper end."""
    lines, row = [""], 0
    for part in _PART.finditer(written):
        match part[2], part[0]:
            case "A", _:
                row -= int(part[1] or 1)
            case "J", _:
                lines[row:] = [""]
            case _, "\n":
                row += 1
                lines += [""] if row == len(lines) else []
            case _, "\r":
                pass
            case _, text:
                lines[row] = text
    return lines


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=6), max_size=8))
def test_the_last_lines_are_shown_and_nothing_else(drawings: list[list[str]]) -> None:
    """After any drawings, below what is kept."""
    out = io.StringIO()
    live = LiveLines(out)
    live.draw(["kept"], 24)
    live.keep()
    for lines in drawings:
        live.draw(lines, 24)
    assert screen_of(out.getvalue()) == ["kept", *(drawings[-1] if drawings else []), ""]


def test_lines_that_are_the_same_are_not_sent_again() -> None:
    """Only those from the first difference on; nothing at all if there is none."""
    out = io.StringIO()
    live = LiveLines(out)
    live.draw(["one", "two"], 24)
    before = len(out.getvalue())
    live.draw(["one", "two"], 24)
    assert len(out.getvalue()) == before
    live.draw(["one", "2", "three"], 24)
    assert out.getvalue()[before:] == "\x1b[1A\r\x1b[J2\nthree\n"


def test_what_has_left_the_screen_stays() -> None:
    """The cursor never goes up further than the terminal is high."""
    out = io.StringIO()
    live = LiveLines(out)
    live.draw([str(number) for number in range(100)], 10)
    before = len(out.getvalue())
    live.draw(["other", *map(str, range(1, 100)), "new"], 10)
    assert out.getvalue()[before:].startswith("\x1b[9A\r\x1b[J91\n")

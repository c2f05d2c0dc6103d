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


class Wrapping:
    """A terminal that wraps its lines anew when its width changes; the cursor stays where it is in the text."""

    def __init__(self) -> None:
        self.lines = [""]
        """The last one is where the cursor is: all that is written ends a line."""

    def write(self, written: str, columns: int) -> None:
        for part in _PART.finditer(written):
            match part[2], part[0]:
                case "A", _:
                    self._go_up(int(part[1]), columns)
                case _, "\n":
                    self.lines.append("")
                case _, "\r" | "\x1b[J":
                    pass
                case _, text:
                    self.lines[-1] += text

    def _go_up(self, rows: int, columns: int) -> None:
        """What stands below is cleared next, so it goes here; above the first row of a line its end goes too."""
        while rows > 0:
            self.lines.pop()
            rows -= max(1, -(-len(self.lines[-1]) // columns))
        assert rows == 0
        self.lines[-1] = ""


WORDS = "the quick brown fox jumps over the lazy dog and goes on its way through the long grass"


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(0, len(WORDS))), max_size=8))
def test_in_a_window_of_changing_width_nothing_is_seen_twice(steps: list[tuple[int, int]]) -> None:
    """Wider or narrower, with more of a text each time or less: it is there once, below what is kept."""
    out, terminal = io.StringIO(), Wrapping()
    live = LiveLines(out)
    live.draw(["kept" * 8], 200, 90)
    live.keep()
    shown: list[str] = []
    for columns, length in steps:
        shown = [WORDS[begin : begin + columns] for begin in range(0, length, columns)]
        live.draw(shown, 200, columns)
        terminal.write(out.getvalue(), columns)
        out.seek(out.truncate(0))
    assert terminal.lines[1:] == [*shown, ""] if steps else terminal.lines == [""]


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=6), max_size=8))
def test_the_last_lines_are_shown_and_nothing_else(drawings: list[list[str]]) -> None:
    """After any drawings, below what is kept."""
    out = io.StringIO()
    live = LiveLines(out)
    live.draw(["kept"], 24, 80)
    live.keep()
    for lines in drawings:
        live.draw(lines, 24, 80)
    assert screen_of(out.getvalue()) == ["kept", *(drawings[-1] if drawings else []), ""]


def test_lines_that_are_the_same_are_not_sent_again() -> None:
    """Only those from the first difference on; nothing at all if there is none."""
    out = io.StringIO()
    live = LiveLines(out)
    live.draw(["one", "two"], 24, 80)
    before = len(out.getvalue())
    live.draw(["one", "two"], 24, 80)
    assert len(out.getvalue()) == before
    live.draw(["one", "2", "three"], 24, 80)
    assert out.getvalue()[before:] == "\x1b[1A\r\x1b[J2\nthree\n"


def test_what_has_left_the_screen_stays() -> None:
    """The cursor never goes up further than the terminal is high."""
    out = io.StringIO()
    live = LiveLines(out)
    live.draw([str(number) for number in range(100)], 10, 80)
    before = len(out.getvalue())
    live.draw(["other", *map(str, range(1, 100)), "new"], 10, 80)
    assert out.getvalue()[before:].startswith("\x1b[9A\r\x1b[J91\n")


def test_a_wide_letter_that_does_not_fit_takes_the_next_row() -> None:
    """Five letters of two columns take three rows of five columns: two in each, and one column stays empty."""
    out = io.StringIO()
    live = LiveLines(out)
    live.draw(["\x1b[1m日本語日本\x1b[0m"], 10, 5)
    out.seek(out.truncate(0))
    live.draw(["a"], 10, 5)
    assert out.getvalue().startswith("\x1b[3A\r")

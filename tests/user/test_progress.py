"""The one line that says how far something is."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from polychat.providers import _llama
from polychat.user.progress import Progress, columns_of

MEGABYTE = 1_000_000


def seconds() -> Callable[[], float]:
    """A clock that is a second later whenever it is looked at."""
    now = iter(range(1_000))
    return lambda: float(next(now))


@contextmanager
def terminal(columns: int) -> Iterator[tuple[TextIO, Callable[[], str]]]:
    """A terminal to write to, and what was written so far."""
    ours, theirs = os.openpty()

    def seen() -> str:
        os.write(theirs, b"\0")
        text = b""
        while not text.endswith(b"\0"):
            text += os.read(ours, 4096)
        return text[:-1].decode()

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(theirs, "w", encoding="utf-8", newline="") as out:
        yield out, seen
    os.close(ours)


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (80, "fetching x ━━━━━━────────────────── 25 of 100 MB, 25 MB/s, 3 s"),
        (50, "fetching x ━━━──────── 25 of 100 MB, 25 MB/s, 3 s"),
        (20, "fetching x  25 of 1"),
        (1, ""),
    ],
)
def test_a_terminal_sees_one_line_that_is_gone_at_the_end(columns: int, line: str) -> None:
    """No wider than it: what wraps could not be drawn again. The cursor is left where the line begins."""
    with terminal(columns) as (out, seen):
        with Progress("fetching x", 100 * MEGABYTE, out, clock=seconds()) as progress:
            progress.at(25 * MEGABYTE)
        assert seen() == f"\r\x1b[K{line}\r\r\x1b[K"


def test_it_is_drawn_seldom_and_not_at_all_for_what_is_soon_done() -> None:
    """However often it is told how far it is."""
    with terminal(80) as (out, seen):
        with Progress("x", 10_000, out, patience=5_000.0, clock=seconds()) as progress:
            progress.at(1)
        steps = iter(range(100_000))
        with Progress("y", 10_000, out, clock=lambda: next(steps) / 1_000) as progress:
            for done in range(2_000):
                progress.at(done)
        shown = seen()
    assert "x" not in shown
    assert shown.count("y") == 20


def test_what_is_no_terminal_gets_plain_lines_if_any() -> None:
    """One a quarter, without what steers a terminal; and a total that turns out to be another counts."""
    for plain, lines in ((True, ["x: 25%", "x: 50%", "x: 100%"]), (False, [])):
        out = io.StringIO()
        with Progress("x", 7, out, plain=plain, clock=seconds()) as progress:
            for done in (1, 30, 31, 60, 100, 100):
                progress.at(done, 100)
        assert out.getvalue().splitlines() == lines


def test_a_terminal_that_is_gone_stops_nothing() -> None:
    """What it is about goes on, and nothing is written from there on."""
    with terminal(80) as (out, seen):
        progress = Progress("x", 10, out, clock=seconds())
        progress.at(1)
        assert "x" in seen()
    with progress:
        progress.at(2)
        progress.at(3)
    assert [columns_of(none) for none in (out, None, io.StringIO())] == [None, None, None]


def test_a_file_of_weights_that_is_read_shows_how_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On standard error, where that is a terminal, and only if it takes long."""
    file = tmp_path / "large.gguf"
    file.write_bytes(bytes(9_000_000))
    with terminal(80) as (out, seen):
        monkeypatch.setattr("sys.stderr", out)
        monkeypatch.setattr("polychat.user.progress.monotonic", seconds())
        _llama._read_ahead(file, lambda: False)
        out.write("end")
        out.flush()
        assert seen() == "end"

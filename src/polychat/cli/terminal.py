"""The terminal, and what standard input is: questions to the person at it, and keys that are not shown."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress

TERMINAL_INPUT, _WRITE = ("/dev/tty", "/dev/tty") if os.name == "posix" else ("CONIN$", "CONOUT$")
_LONGEST = 1_000
"""Characters of an answer."""


def typed_answer(question: str) -> str | None:
    """The line that is typed after ``question``, without blanks around it; ``None`` where there is no terminal."""
    try:
        with (
            open(_WRITE, "w", encoding="utf-8", errors="replace") as screen,
            open(TERMINAL_INPUT, encoding="utf-8", errors="replace") as keys,
        ):
            screen.write(question)
            screen.flush()
            return keys.readline(_LONGEST).strip()
    except OSError:
        return None


def confirmed(question: str) -> bool | None:
    """Whether the answer is yes; ``None`` where there is no terminal."""
    answer = typed_answer(f"{question} [y/N] ")
    return None if answer is None else answer.lower() in ("y", "yes")


@contextmanager
def without_echo() -> Generator[None]:
    """Keys that are pressed within the block are not shown; who reads standard input next gets them."""
    try:
        import termios  # where there is none, nothing changes

        number = sys.stdin.fileno()
        before = termios.tcgetattr(number)
    except (ImportError, AttributeError, ValueError, OSError, termios.error):
        yield
        return
    silent = [*before]
    silent[3] = silent[3] & ~termios.ECHO | termios.NOFLSH  # Ctrl-C leaves what was typed
    termios.tcsetattr(number, termios.TCSANOW, silent)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal has gone
            termios.tcsetattr(number, termios.TCSANOW, before)


def is_piped() -> bool:
    """Whether standard input is a pipe or a file. A terminal, the null device and none at all bring nothing to add, and a
    socket is what other programs give a child without input: only ``-`` reads from it."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)

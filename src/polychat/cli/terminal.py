"""Questions to the person at the terminal, whatever standard input is."""

from __future__ import annotations

import os

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

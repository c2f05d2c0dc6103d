"""The prompt of ``polychat ask``: its words, and what a pipe or a file brings."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Sequence

from ..errors import BadInput
from ..prompt import decoded_text
from . import complain

STDIN_LIMIT = 64 * 1024 * 1024
"""Bytes of a prompt on standard input."""
_PATIENCE = 1.0
"""Seconds without input on an open standard input after which a note explains what the command waits for."""


def prompt_from(words: Sequence[str]) -> str:
    """The prompt, and before it what a pipe or a redirected file brings: ``git diff | polychat ask "Review:"``.

    Raises ``BadInput`` where there is neither.
    """
    if list(words) == ["-"]:
        return from_stdin()
    before = piped().rstrip("\r\n")
    prompt = " ".join(words)
    if words:
        return f"{before}\n\n{prompt}" if before.strip() and prompt.strip() else prompt
    if not before.strip():
        raise BadInput("no prompt: pass PROMPT, or pipe text into the command", field="prompt")
    return before


def piped() -> str:
    if not _is_piped():
        return ""
    if os.name == "posix" and not select.select([sys.stdin], [], [], _PATIENCE)[0]:
        complain("reading standard input too; if it has no input, add  </dev/null", "note")
    return from_stdin()


def _is_piped() -> bool:
    """Whether standard input is a pipe or a file. A terminal, the null device and none at all bring nothing to add, and a
    socket is what other programs give a child without input: only ``-`` reads from it."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def from_stdin() -> str:
    """All of standard input. Raises ``BadInput`` for what is too large or no text."""
    if sys.stdin is None:
        raise BadInput("there is no standard input to read the prompt from: pass it as an argument", field="prompt")
    data = sys.stdin.buffer.read(STDIN_LIMIT + 1)
    if len(data) > STDIN_LIMIT:
        raise BadInput(f"the prompt on standard input is larger than {STDIN_LIMIT:,} bytes: shorten it", field="prompt")
    try:
        return decoded_text(data)
    except UnicodeDecodeError as error:
        raise BadInput(f"standard input is not UTF-8 text (byte {error.start:,}): convert it first", field="prompt") from None

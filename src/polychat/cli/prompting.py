"""The prompt of ``polychat ask``: its words, and what a pipe or a file brings."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from ..errors import BadInput
from ..prompt import decoded_text
from . import complain
from .terminal import is_piped

STDIN_LIMIT = 64 * 1024 * 1024
"""Bytes of a prompt on standard input."""
_PATIENCE = 1.0
"""Seconds without input on an open standard input after which a note explains what the command waits for."""


class Given(NamedTuple):
    """The input of an ask: ``git diff | polychat ask "Review:"``."""

    piped: str
    """What a pipe or a redirected file brought, without its last line end."""
    words: str
    """The prompt as it was typed."""
    is_typed: bool
    """Whether a prompt was typed, be it empty."""

    def text(self, middle: str = "") -> str:
        """The whole prompt: what was piped in, ``middle``, and the words. Raises ``BadInput`` where there is nothing."""
        if not self.is_typed and not middle and not self.piped:
            raise BadInput("no prompt: pass PROMPT, or pipe text into the command", field="prompt")
        if self.is_typed and not self.words.strip() and not middle:
            return self.words  # which is refused as empty, whatever was piped in
        return "\n\n".join(part for part in (self.piped, middle, self.words) if part.strip())


def given_input(words: Sequence[str]) -> Given:
    """The typed words, and what a pipe or a redirected file brings. Raises ``BadInput`` for input that is no text."""
    if list(words) == ["-"]:
        return Given(from_stdin().rstrip("\r\n"), "", is_typed=False)
    return Given(piped().rstrip("\r\n"), " ".join(words), is_typed=bool(words))


def piped() -> str:
    if not is_piped():
        return ""
    if os.name == "posix" and not select.select([sys.stdin], [], [], _PATIENCE)[0]:
        complain("reading standard input too; if it has no input, add  </dev/null", "note")
    return from_stdin()


def from_stdin() -> str:
    """All of standard input. Raises ``BadInput`` for what is too large or no text."""
    if sys.stdin is None:
        raise BadInput("there is no standard input to read the prompt from: pass it as an argument", field="prompt")
    return text_read(sys.stdin.buffer, "standard input", "prompt")


def text_read(stream: BinaryIO, source: str, field: str) -> str:
    """All text of a stream, which errors call ``source``. Raises ``BadInput`` for what is too large or no text."""
    data = stream.read(STDIN_LIMIT + 1)
    if len(data) > STDIN_LIMIT:
        raise BadInput(f"{source} is larger than {STDIN_LIMIT:,} bytes: shorten or split it", field=field)
    try:
        return decoded_text(data)
    except UnicodeDecodeError as error:
        raise BadInput(f"{source} is not UTF-8 text (byte {error.start:,}): convert it first", field=field) from None

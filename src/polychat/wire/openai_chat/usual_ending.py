"""The end of a whole reply in the usual form, as msgspec decodes it."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Raw, Struct


class _Message(Struct, gc=False):
    """Any object: its members are not kept."""


class _Choice(Struct, gc=False):
    message: _Message
    finish_reason: str
    index: Literal[0] = 0


class UsualEnding(Struct, gc=False):
    """A whole reply, of which only the end is kept."""

    choices: tuple[_Choice]
    usage: Raw = Raw(b"null")
    model: Any = None
    error: Any = None
    object: Any = None

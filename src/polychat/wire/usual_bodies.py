"""The types of usual requests, which are decoded by type: messages that are one text each, and few settings."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from ..types import Role


class PlainMessage(Struct, forbid_unknown_fields=True, gc=False):
    """One text."""

    role: Role
    content: Annotated[str, Meta(min_length=1)]


class UsualRequest(Struct, forbid_unknown_fields=True):
    """What requests of each wire have; a wire's own type adds settings. The table of fields reads these; ``None``: not set."""

    model: str
    messages: Annotated[list[PlainMessage], Meta(min_length=1)]
    stream: bool = False
    max_tokens: Any = None
    temperature: Any = None
    top_p: Any = None

"""The usual request of a wire, decoded by type: messages that are one text each, and few settings.

A request of any other form is rejected, to be read member by member: it has tools or parts, or a value that is not valid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.json import Decoder

from ..errors import BadInput
from ..types import ChatMessage, ChatRequest, Role, TextPart
from .plain import FieldReader

_SIZE = 16 * 1024
"""Maximum bytes of a request that is decoded so: a larger one that is not usual would take long to be decoded twice."""

_SELDOM = frozenset({"tool", "developer"})
"""Roles that not every wire has, or not as a text."""
_CONVERSATION = frozenset({"model", "messages", "stream"})
"""What the reader reads itself: all other members are settings."""
_DEPTH = 3
"""The depth of such a request."""


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


def usual_reader(kind: type[UsualRequest], wire: str, read_plain: FieldReader) -> Callable[[bytes, int], ChatRequest | None]:
    """The reader of usual requests on ``wire``: it returns ``None`` for any other body, or if no body may be nested so deep."""
    decode = Decoder(kind).decode
    settings = [name for name in kind.__struct_fields__ if name not in _CONVERSATION]

    def read(body: bytes, depth: int) -> ChatRequest | None:
        if len(body) > _SIZE or depth < _DEPTH:
            return None
        try:
            usual = decode(body)
            messages = [ChatMessage(message.role, [TextPart(message.content)]) for message in usual.messages]
            request = ChatRequest(usual.model, messages, wire=wire)
            request.stream, request.extra = usual.stream, {}
            values = {name: value for name in settings if (value := getattr(usual, name)) is not None}
            is_more = values and read_plain(values, request)
            return request if not is_more and _SELDOM.isdisjoint([message.role for message in messages]) else None
        except (ValueError, RecursionError, BadInput):
            return None

    return read

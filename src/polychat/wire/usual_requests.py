"""The usual request of a wire, decoded by type: messages that are one text each, and few settings.

A request of any other form is rejected, to be read member by member: it has tools or parts, or a value that is not valid.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.json import Decoder
from msgspec.structs import astuple

from ..errors import BadInput
from ..types import ChatMessage, ChatRequest, TextPart
from .plain import FieldReader
from .usual_bodies import UsualRequest

_SIZE = 16 * 1024
"""Maximum bytes of a request that is decoded so: a larger one that is not usual would take long to be decoded twice."""

_SELDOM = frozenset({"tool", "developer"})
"""Roles that not every wire has, or not as a text."""
_CONVERSATION = ("model", "messages", "stream")
"""The first members of each type, which the reader reads itself: all others are settings."""
_DEPTH = 3
"""The depth of such a request."""


def usual_reader(kind: type[UsualRequest], wire: str, read_plain: FieldReader) -> Callable[[bytes, int], ChatRequest | None]:
    """The reader of usual requests on ``wire``: it returns ``None`` for any other body, or if no body may be nested so deep."""
    decode = Decoder(kind).decode
    assert kind.__struct_fields__[: len(_CONVERSATION)] == _CONVERSATION
    settings = kind.__struct_fields__[len(_CONVERSATION) :]

    def read(body: bytes, depth: int) -> ChatRequest | None:
        if len(body) > _SIZE or depth < _DEPTH:
            return None
        try:
            usual = decode(body)
            messages = [ChatMessage(message.role, [TextPart(message.content)]) for message in usual.messages]
            request = ChatRequest(usual.model, messages, wire=wire)
            request.stream, request.extra = usual.stream, {}
            given = zip(settings, astuple(usual)[len(_CONVERSATION) :], strict=True)
            values = {name: value for name, value in given if value is not None}
            is_more = values and read_plain(values, request)
            return request if not is_more and _SELDOM.isdisjoint([message.role for message in messages]) else None
        except (ValueError, RecursionError, BadInput):
            return None

    return read

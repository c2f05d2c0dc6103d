"""Translates a whole chat between two wires, without waiting: the request by one and its reply by the other."""

from __future__ import annotations

from collections.abc import Callable
from random import getrandbits
from time import time
from typing import TYPE_CHECKING, NamedTuple

from ...wire.assembly import PlainReply, plain_reply
from ...wire.billing import has_piece
from ...wire.passthrough import ending_in
from .replies import Outcome

if TYPE_CHECKING:
    from ...calls.info import CallInfo
    from ...events import Event
    from ...http.timeouts import Timeouts
    from ...routing import Target
    from ...types import ChatRequest
    from ...wire.contract import Writer
    from ..dialects.dialect import InboundChat


class TranslatedBody(NamedTuple):
    """A whole reply in the client's format."""

    body: bytes
    outcome: Outcome
    content_type: str


class Translation:
    """One chat in the format of its target's wire: ``ready`` and ``body`` are sent.

    Raises ``BadInput`` for a chat that cannot be written, and ``NotReady`` if a key is missing.
    """

    __slots__ = ("_inbound", "body", "call_info", "direct", "ready")

    def __init__(self, inbound: InboundChat, target: Target, call_info: CallInfo, timeouts: Timeouts) -> None:
        self._inbound, self.call_info = inbound, call_info
        self.direct = direct = target.backend.direct(inbound.request_for(target.model), call_info, timeouts)
        self.ready, self.body = direct.ready, direct.body

    def answer(self, reply: bytes) -> TranslatedBody | None:
        """``reply`` in the client's format; ``None`` if it is no answer. Raises ``BackendError`` if it cannot be read."""
        return self._answer(self.direct.events(reply))

    def answer_stream(self, reply: bytes) -> TranslatedBody | None:
        """As ``answer``, of a stream that came whole; ``None`` also if its end is missing."""
        events = self.direct.stream_events(reply)
        return self._answer(events) if events is not None and has_piece(events) else None

    def _answer(self, events: list[Event]) -> TranslatedBody | None:
        plain = plain_reply(events)
        finish, usage, served = ending_in(events) if plain is None else (plain.finish, plain.usage, plain.model)
        if finish.error is not None:
            return None
        writer = writer_for(self._inbound, self._inbound.request())
        if writer.streams is not self._inbound.stream:
            return None
        write: Callable[[PlainReply], bytes] | None = getattr(writer, "plain", None)
        if plain is not None and write is not None:
            return TranslatedBody(write(plain), Outcome(finish, usage, served), writer.content_type)
        body = writer.write(events) + writer.end()
        return TranslatedBody(body, Outcome(finish, usage, served), writer.content_type) if writer.status == 200 else None


def writer_for(inbound: InboundChat, request: ChatRequest) -> Writer:
    """The writer of an answer to ``inbound`` for its client; ``request`` is the complete request."""
    return inbound.dialect.writer(inbound, request, f"{getrandbits(96):024x}", int(time()))

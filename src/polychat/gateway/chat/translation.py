"""Translates a whole chat between two wires, without waiting: the request by one and its reply by the other."""

from __future__ import annotations

from collections.abc import Callable
from random import getrandbits
from time import time
from typing import TYPE_CHECKING

from ...events import Finish
from ...wire.billing import has_piece
from ...wire.passthrough import ending_in
from ...wire.plain_reply import PlainReply, plain_reply
from .replies import JSON_TYPE, WholeReply

if TYPE_CHECKING:
    from ...backends.direct import DirectRequest
    from ...events import Event
    from ...http.pool.heads import PoolRequest
    from ...http.timeouts import Timeouts
    from ...types import ChatRequest
    from ...wire.contract import Writer
    from ...wire.losses import Loss
    from ..dialects.dialect import InboundChat


class Translation:
    """Translates the replies to chats that were sent as ``direct``."""

    __slots__ = ("direct",)

    def __init__(self, direct: DirectRequest) -> None:
        self.direct = direct

    def answer(self, inbound: InboundChat, reply: bytes) -> WholeReply | None:
        """The ``reply`` to a chat in the client's format; ``None`` if it is no answer.

        Raises ``BackendError`` if it cannot be read.
        """
        direct, dialect = self.direct, inbound.dialect
        if dialect.writes_text and direct.change is None and direct.text_answer is not None:
            answer = direct.text_answer(reply)
            if answer is not None:
                finish, usage = Finish("complete", answer.reason), answer.usage
                body = dialect.write_text(inbound, answer.text, usage, finish, f"{getrandbits(96):024x}", int(time()))
                return body, finish, usage, answer.model, JSON_TYPE
        return self._answer(inbound, direct.events(reply))

    def answer_stream(self, inbound: InboundChat, reply: bytes) -> WholeReply | None:
        """As ``answer``, of a stream that came whole; ``None`` also if its end is missing."""
        direct, dialect = self.direct, inbound.dialect
        if dialect.writes_text and direct.change is None and direct.text_stream is not None:
            stream = direct.text_stream(reply)
            if stream is not None:
                body, content_type = dialect.write_text_stream(inbound, stream, f"{getrandbits(96):024x}", int(time()))
                return body, Finish("complete", stream.reason), stream.usage, stream.model, content_type
            events = direct.unusual_stream_events(reply)
        else:
            events = direct.stream_events(reply)
        return self._answer(inbound, events) if events is not None and has_piece(events) else None

    def _answer(self, inbound: InboundChat, events: list[Event]) -> WholeReply | None:
        plain = plain_reply(events)
        finish, usage, served = ending_in(events) if plain is None else (plain.finish, plain.usage, plain.model)
        if finish.error is not None:
            return None
        writer = writer_for(inbound, inbound.request())
        if writer.streams is not inbound.stream:
            return None
        write: Callable[[PlainReply], bytes] | None = getattr(writer, "plain", None)
        if plain is not None and write is not None:
            return write(plain), finish, usage, served, writer.content_type
        body = writer.write(events) + writer.end()
        return (body, finish, usage, served, writer.content_type) if writer.status == 200 else None


class WrittenChat:
    """Where the body of a chat is sent, and how the reply is treated."""

    __slots__ = ("losses", "request", "timeouts", "translation", "url")  # which are read sooner than those of a tuple

    def __init__(
        self, request: PoolRequest, timeouts: Timeouts, url: str, losses: list[Loss], translation: Translation | None
    ) -> None:
        """``losses``: the parts of the chat that the target does not get. ``translation``: ``None`` if its reply is passed."""
        self.request, self.timeouts, self.url = request, timeouts, url
        self.losses, self.translation = losses, translation


def writer_for(inbound: InboundChat, request: ChatRequest) -> Writer:
    """The writer of an answer to ``inbound`` for its client; ``request`` is the complete request."""
    return inbound.dialect.writer(inbound, request, f"{getrandbits(96):024x}", int(time()))

"""Streams of which the first pieces were received, and no task waits for more: passed through or translated, piece by piece.

A ``Beginning`` reads what a connection holds without taking it: an unusual one is dropped, and a task reads the same bytes. One
that ``is_ready`` takes them (``take``), and goes on with each read after that. It can also go on in a task, amid the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ...backends.vendor_reply import VendorReply
from ...calls.info import CallInfo
from ...errors import PolychatError
from ...events import Event, Finish, Text
from ...http.pool.response import PooledResponse
from ...redact import Redaction, Secrets
from ...wire.billing import has_piece
from ...wire.reading import finish_of
from ...wire.repeats import Repeats
from ..responder import end_of
from .delivery import closing
from .passing import naming_for
from .replies import EventReply, OpenReply, Outcome, PassthroughStream
from .translation import writer_for

if TYPE_CHECKING:
    from ...backends.direct import DirectRequest
    from ..dialects.dialect import InboundChat


class Ending(Protocol):
    """Whatever knows when a reply is over."""

    @property
    def finish(self) -> Finish | None: ...


class Beginning(Protocol):
    """A stream of which the first pieces were received."""

    first: bytes
    """The first piece for the client."""
    is_ready: bool
    """Whether the client can be sent that: it has a part of the answer, and no failure is in it."""
    response: PooledResponse
    """Set by ``take``."""

    @property
    def ending(self) -> Ending: ...

    def take(self, response: PooledResponse) -> bool:
        """Take what was read from ``response``; nothing is taken where this returns false."""

    @property
    def content_type(self) -> str: ...
    @property
    def outcome(self) -> Outcome: ...
    def passing(self) -> Callable[[bytes], bytes]:
        """What the client is sent of each read."""

    def last(self, latest: bytes) -> bytes:
        """What the client is still to be sent of a reply that is over, after ``latest``."""

    def can_end(self) -> bool:
        """Whether a reply that is over needs nothing but ``last``."""

    def resumed(self, error: Exception | None) -> OpenReply:
        """The reply for a task. ``error`` ended it, raised by ``passing``; raised here if it is a defect."""


class PassedBeginning:
    """The beginning of a stream that passes through."""

    __slots__ = ("_content_type", "_redaction", "_reply", "_stream_type", "ending", "first", "is_ready", "response")

    def __init__(self, inbound: InboundChat, data: bytes, secrets: Secrets | None, name: str | None) -> None:
        """``name``: of the model, for the client."""
        dialect = inbound.dialect
        self.ending = monitor = dialect.monitor(inbound)
        naming = naming_for(dialect, name)
        self._redaction = redaction = None if secrets is None else Redaction(secrets)
        self._stream_type, self._content_type = dialect.stream_type, ""
        self.response: PooledResponse
        self._reply = reply = PassthroughStream(None, monitor, b"", naming)  # type: ignore[arg-type]  # see ``take``
        first = reply.passing()(data if redaction is None else redaction.feed(data))
        finish = monitor.finish
        if finish is not None and naming is not None:
            first += naming.end()
        self.first = first
        is_whole = finish is not None and finish.verdict == "complete" and finish.error is None
        self.is_ready = is_whole or (finish is None and monitor.has_content and bool(first))

    def take(self, response: PooledResponse) -> bool:
        if response.content_type != self._stream_type or not response.skip_held(self._redaction):
            return False
        self.response = self._reply.response = response
        self._content_type = response.header(b"content-type").decode("latin-1")
        return True

    @property
    def content_type(self) -> str:
        return self._content_type

    @property
    def outcome(self) -> Outcome:
        return self._reply.outcome

    def passing(self) -> Callable[[bytes], bytes]:
        return self._reply.passing()

    def last(self, latest: bytes) -> bytes:
        rest = self._reply.rest()
        return rest + closing(self._content_type, end_of(latest, rest))

    def can_end(self) -> bool:
        finish = self.ending.finish
        return finish is not None and finish.verdict == "complete"

    def resumed(self, error: Exception | None) -> OpenReply:
        if error is not None:
            self.response.close()  # nobody reads it any more
            raise error
        return self._reply


class TranslatedBeginning:
    """The beginning of a stream that is translated."""

    __slots__ = (
        *("_change", "_reader", "_redaction", "_repeats", "_reply", "_text_piece", "_writer"),
        *("finish", "first", "is_ready", "response"),
    )

    def __init__(self, inbound: InboundChat, data: bytes, secrets: Secrets | None, direct: DirectRequest) -> None:
        """Raises ``PolychatError`` for events that cannot be written."""
        self._reader, self._change = direct.reader(), direct.change
        self._repeats = Repeats(self._reader)
        self._text_piece: Callable[[str], bytes] | None = None
        """Writes the texts of the usual pieces, if nothing else is to be done with them."""
        self._redaction = redaction = None if secrets is None else Redaction(secrets)
        self.response: PooledResponse
        self.finish: Finish | None = None
        self._reply = EventReply(None, [])  # type: ignore[arg-type]  # see ``resumed``
        events = self._events(data if redaction is None else redaction.feed(data))
        self.first, self.is_ready = b"", has_piece(events)
        if not self.is_ready:
            return
        self.finish = finish = self._reply.look(events)
        self.is_ready = finish is None or (finish.verdict == "complete" and finish.error is None)
        if self.is_ready:
            self._reply.writer = self._writer = writer_for(inbound, inbound.request())
            if self._change is None:
                self._text_piece = getattr(self._writer, "text_piece", None)  # see ``WritesTextPieces``
            self.first = self._writer.write(events)
            self.is_ready = self._writer.streams and bool(self.first)

    @property
    def ending(self) -> Ending:
        return self

    def take(self, response: PooledResponse) -> bool:
        self.response = response
        return response.skip_held(self._redaction)

    @property
    def content_type(self) -> str:
        return self._writer.content_type

    @property
    def outcome(self) -> Outcome:
        return self._reply.outcome

    def passing(self) -> Callable[[bytes], bytes]:
        return self._translated

    def _events(self, data: bytes) -> list[Event]:
        events = self._repeats.feed(data)
        return events if self._change is None or not events else self._change(events)

    def _translated(self, data: bytes) -> bytes:
        # The usual piece: no events are made of it.
        if self._text_piece is not None and (text := self._repeats.text_in(data)) is not None:
            return self._text_piece(text)
        events = self._events(data)
        if not events:
            return b""
        written = self._writer.write(events)
        if type(events[-1]) is not Text:
            self.finish = self._reply.look(events)
        return written

    def last(self, latest: bytes) -> bytes:
        return self._writer.end()

    def can_end(self) -> bool:
        return self.finish is not None

    def resumed(self, error: Exception | None) -> OpenReply:
        reply = self._reply
        if isinstance(error, PolychatError):
            reply.first = [finish_of(error)]
        elif error is not None:
            self.response.close()  # nobody reads it any more
            raise error
        call_info = CallInfo()
        reply.batches = VendorReply.begun(self._reader, self._change, self.response, call_info)
        reply.pipe = call_info.pipe
        return reply

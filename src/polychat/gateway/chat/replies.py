"""Replies of backends that have begun: events, a stream that is passed through, or a body that is. None knows the chat."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ...errors import BackendError, Truncated
from ...events import Event, Finish, Start, Usage
from ...routing.holding import MOST, OpeningHold
from ...values import Value
from ...wire.billing import billed_stream, has_piece, opening_failure

if TYPE_CHECKING:
    from ...calls.info import CallInfo
    from ...http.pool.event_pipe import EventPipe
    from ...http.pool.pool import PooledResponse
    from ...wire.contract import Writer
    from ...wire.naming import Naming
    from ...wire.passthrough import StreamMonitor


WholeReply: TypeAlias = tuple[bytes, Finish, Usage | None, str | None, str]
"""A whole reply for the client: its body, how it ended, what it used, the model that answered, and its content type."""


class Outcome(Value):
    """How a reply went so far."""

    finish: Finish | None
    """``None`` while it is received."""
    usage: Usage | None = None
    model: str | None = None
    """The model that answers, by its backend's name."""


class OpenReply(Protocol):
    """A backend's reply that has begun."""

    @property
    def outcome(self) -> Outcome: ...

    async def close(self) -> None:
        """Release it: no more is needed."""


class EventReply:
    """Events, which are written in the client's format: ``first``, then those of ``batches`` or, if there is one, ``pipe``."""

    def __init__(self, batches: AsyncGenerator[list[Event], None], first: list[Event], pipe: EventPipe | None = None) -> None:
        self.batches, self.pipe = batches, pipe
        self.first = first
        """The events so far; all of them for a client that gets the reply whole."""
        self.writer: Writer | None = None
        """What has written the beginning for the client, if that was sent already."""
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._model: str | None = None

    @property
    def outcome(self) -> Outcome:
        return Outcome(self._finish, self._usage, self._model)

    def look(self, batch: list[Event]) -> Finish | None:
        """Record the facts of the reply in a batch; returns its end, if the reply has come to it."""
        for event in batch:
            if type(event) is Usage:
                self._usage = event
            elif type(event) is Start:
                self._model = event.model
            elif type(event) is Finish:
                self._finish = event
                return event
        return self._finish

    def end(self, finish: Finish) -> None:
        """End the reply without an event."""
        self._finish = finish

    async def close(self) -> None:
        await self.batches.aclose()


JSON_TYPE = "application/json"


class PassthroughBody:
    """A whole reply as received."""

    __slots__ = ("body", "content_type", "outcome")

    def __init__(self, body: bytes, outcome: Outcome, content_type: str = JSON_TYPE) -> None:
        self.body, self.outcome, self.content_type = body, outcome, content_type

    async def close(self) -> None:
        pass


class PassthroughStream:
    """A stream as received: ``first``, then the response's pieces through the monitor.

    ``naming`` replaces the model's name by the requested one.
    """

    def __init__(self, response: PooledResponse, monitor: StreamMonitor, first: bytes, naming: Naming | None = None) -> None:
        self.response, self.monitor, self.first, self.naming = response, monitor, first, naming
        self._lost: BackendError | None = None

    @property
    def outcome(self) -> Outcome:
        monitor, finish = self.monitor, self.monitor.finish
        if self._lost is not None and (finish is None or finish.verdict != "complete"):
            finish = Finish("truncated", error=self._lost)
        return Outcome(finish, monitor.usage, monitor.served)

    def passing(self) -> Callable[[bytes], bytes]:
        """The part of each read that is forwarded."""
        monitor, naming, feed = self.monitor, self.naming, self.monitor.feed
        return feed if naming is None else lambda data: naming.feed(feed(data), monitor.served)

    def rest(self) -> bytes:
        """What was held of a stream that is over."""
        monitor, naming = self.monitor, self.naming
        rest = monitor.end()
        return rest if naming is None else naming.feed(rest, monitor.served) + naming.end()

    def connection_lost(self, error: BackendError) -> None:
        """The connection was lost."""
        self._lost = error

    async def close(self) -> None:
        finish = self.monitor.finish
        if finish is not None and finish.verdict == "complete":
            self.response.finish()
        else:
            self.response.close()


async def open_events(
    batches: AsyncGenerator[list[Event], None], call_info: CallInfo | None, *, whole: bool, hold: OpeningHold | None = None
) -> EventReply:
    """Waits for the first piece and the held data after it, or, if the client gets the reply whole, for all of it.

    Raises the error of a failure before that.
    """
    first: list[Event] = []
    try:
        async for batch in batches:
            first += batch
            if not whole and has_piece(batch):
                break
        if hold is not None and first and type(first[-1]) is not Finish:
            await hold.more_events(first, None if call_info is None else call_info.pipe, batches)
        raw = None if call_info is None else call_info.raw
        if (error := opening_failure(first, raw or b"", whole=whole, held=hold is not None)) is not None:
            raise error
        if not first or (whole and type(first[-1]) is not Finish):
            raise Truncated("the reply ended early")
    except BaseException:
        await batches.aclose()
        raise
    return EventReply(batches, first, None if call_info is None else call_info.pipe)


async def open_stream(
    response: PooledResponse, monitor: StreamMonitor, naming: Naming | None = None, hold: OpeningHold | None = None
) -> PassthroughStream:
    """Waits for the first piece of an answer that can be read, and the held data after it: until then others can be tried.

    Raises the error of a failure before that, unless there is text that was billed.
    """
    first = raw = b""

    def take(data: bytes) -> bool:
        nonlocal first
        passed = monitor.feed(data) if data else monitor.end()
        first += passed if naming is None else naming.feed(passed, monitor.served)
        return monitor.finish is not None

    while not (monitor.has_content and first) and monitor.finish is None and len(first) < MOST:
        data = await response.piece()
        take(data)
        if not data:
            break
        if hold is not None:
            raw += data
    if hold is not None and monitor.has_content and monitor.finish is None:
        await hold.more_bytes(response, raw, take)
    if naming is not None and monitor.finish is not None:
        first += naming.end()
    error = _error_of(monitor)
    if error is not None and not (error.paid and monitor.has_content and first):
        raise error
    return PassthroughStream(response, monitor, first, naming)


def _error_of(monitor: StreamMonitor) -> BackendError | None:
    """The error with which a stream ended already, with its cost."""
    finish = monitor.finish
    if finish is None or finish.error is None:
        return None
    return billed_stream(finish.error, monitor.usage, begun=monitor.served is not None, has_content=monitor.has_content)

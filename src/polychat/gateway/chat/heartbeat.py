"""Heartbeats for a client whose backend is silent: proxies close connections without traffic."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from ...http.server.timeout_queue import TimeoutQueue

if TYPE_CHECKING:
    from ..context import RequestContext
    from ..dialects.dialect import Dialect, InboundChat
    from ..responder import Responder
    from ..runtime import Runtime


class Ringing(Protocol):
    """Whatever sends heartbeats, or has them sent."""

    def ring(self) -> None:
        """The interval is over."""


def heartbeats(runtime: Runtime, dialect: Dialect) -> TimeoutQueue[Ringing] | None:
    """The timer of the heartbeats of all streams; ``None`` if the configuration or the dialect has none."""
    seconds = runtime.heartbeat
    if not (seconds and dialect.heartbeat):
        return None
    if runtime.heartbeats is None:
        runtime.heartbeats = TimeoutQueue(asyncio.get_running_loop(), lambda: seconds, lambda ringing: ringing.ring())
    return runtime.heartbeats


class Heartbeat:
    """Sends the dialect's heartbeat each time that ``queue`` finds no piece sent since the last check, until ``stop``.

    The first begins the response, with status 200: a failure after that is an error event in the stream.
    """

    __slots__ = ("_content_type", "_heartbeat_bytes", "_latest", "_queue", "_responder", "_sending")

    def __init__(self, responder: Responder, dialect: Dialect, queue: TimeoutQueue[Ringing]) -> None:
        self._responder, self._queue = responder, queue
        self._heartbeat_bytes, self._content_type = dialect.heartbeat, dialect.stream_type
        self._latest = responder.latest
        self._sending: asyncio.Task[None] | None = None
        queue.start(self)

    @classmethod
    def of(cls, context: RequestContext, inbound: InboundChat) -> Heartbeat | None:
        """The heartbeat of a stream; ``None`` if the configuration or the dialect has none."""
        queue = heartbeats(context.runtime, inbound.dialect)
        return None if queue is None else cls(context.responder, inbound.dialect, queue)

    def ring(self) -> None:
        """It keeps waiting while pieces arrive, and checks when it is late: cheaper than a new wait for each piece."""
        self._queue.start(self)
        latest = self._responder.latest
        silent, self._latest = latest is self._latest, latest
        if silent and (not latest or latest.endswith((b"\n\n", b"\r\n\r\n"))):  # not within an event that is passed through
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        responder = self._responder
        if responder.latest is not self._latest:
            return  # a piece was sent meanwhile
        if not responder.started:
            await responder.start(200, responder.lines(self._content_type, stream=True))
        await responder.heartbeat(self._heartbeat_bytes)

    def stop(self) -> None:
        """Send no more heartbeats."""
        self._queue.stop(self)
        if self._sending is not None:
            self._sending.cancel()

"""Heartbeats for a client whose backend is silent: proxies close connections without traffic."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..context import RequestContext
    from ..dialects.dialect import Dialect, InboundChat
    from ..responder import Responder


class Heartbeat:
    """From the moment it is made until ``stop``: each ``seconds`` in which no piece went out the client is sent ``beat``.

    The first begins the answer, with status 200: what fails after that is an error event in the stream.
    """

    __slots__ = ("_beat", "_content_type", "_handle", "_latest", "_loop", "_responder", "_seconds", "_sending")

    def __init__(self, responder: Responder, dialect: Dialect, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._responder, self._seconds = responder, seconds
        self._beat, self._content_type = dialect.beat, dialect.stream_type
        self._latest = responder.latest
        self._sending: asyncio.Task[None] | None = None
        self._handle: asyncio.TimerHandle | None = self._loop.call_later(seconds, self._ring)

    @classmethod
    def of(cls, context: RequestContext, inbound: InboundChat) -> Heartbeat | None:
        """The heartbeat of a stream, where the configuration and the dialect have one."""
        seconds = context.runtime.heartbeat
        if not (seconds and inbound.dialect.beat):
            return None
        return cls(context.responder, inbound.dialect, seconds)

    def _ring(self) -> None:
        """It is left standing while pieces come, and looks when it rings: cheaper than one a piece."""
        self._handle = self._loop.call_later(self._seconds, self._ring)
        latest = self._responder.latest
        silent, self._latest = latest is self._latest, latest
        if silent and (not latest or latest.endswith((b"\n\n", b"\r\n\r\n"))):  # not within an event that passes through
            self._sending = self._loop.create_task(self._send())

    async def _send(self) -> None:
        responder = self._responder
        if responder.latest is not self._latest:
            return  # something came meanwhile
        if not responder.started:
            await responder.start(200, responder.lines(self._content_type, stream=True))
        await responder.beat(self._beat)

    def stop(self) -> None:
        """No more of them."""
        for handle in (self._handle, self._sending):
            if handle is not None:
                handle.cancel()
        self._handle = None

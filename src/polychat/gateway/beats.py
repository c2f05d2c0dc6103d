"""Signs of life for a client whose backend is silent: proxies between them close what they hear nothing on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .visit import Visit


class Beats:
    """From the moment it is made until ``stop``: each ``seconds`` in which no piece went out the client is sent ``beat``.

    The first begins the answer, with status 200: what fails after that is told in the stream.
    """

    __slots__ = ("_beat", "_content_type", "_handle", "_latest", "_loop", "_seconds", "_sending", "_visit")

    def __init__(self, visit: Visit, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._visit, self._seconds = visit, seconds
        self._beat, self._content_type = visit.door.beat, visit.door.stream_type
        self._latest = visit.latest
        self._sending: asyncio.Task[None] | None = None
        self._handle: asyncio.TimerHandle | None = self._loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        """It is left standing while pieces come, and looks when it rings: cheaper than one a piece."""
        self._handle = self._loop.call_later(self._seconds, self._ring)
        latest = self._visit.latest
        silent, self._latest = latest is self._latest, latest
        if silent and (not latest or latest.endswith((b"\n\n", b"\r\n\r\n"))):  # not amid an event that passes through
            self._sending = self._loop.create_task(self._send())

    async def _send(self) -> None:
        visit = self._visit
        if visit.latest is not self._latest:
            return  # something came meanwhile
        if not visit.started:
            await visit.start(200, visit.stream_headers(self._content_type))
        await visit.beat(self._beat)

    def stop(self) -> None:
        """No more of them."""
        for handle in (self._handle, self._sending):
            if handle is not None:
                handle.cancel()
        self._handle = None

"""Whether a client that ended its side of a connection is still there: nothing but a reset tells."""

from __future__ import annotations

import asyncio
import select

_PROBES = 12
"""How often is looked whether the client is gone: after 1 ms, then each time after twice as long."""


def can_probe(transport: asyncio.Transport) -> bool:
    """Whether a reset of this connection can be seen without reading from it."""
    return hasattr(select, "poll") and transport.get_extra_info("sslcontext") is None


class ResetProbe:
    """Looks for a reset after something was sent, and aborts the transport when there is one. ``cancel`` ends it."""

    __slots__ = ("_loop", "_timer", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop, self._transport = loop, transport
        self._timer = loop.call_later(0.001, self._probe, 1)

    def cancel(self) -> None:
        self._timer.cancel()

    def _probe(self, count: int) -> None:
        if self._transport.is_closing():
            return
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), 0)
        if poll.poll(0):  # an error, or both sides' end
            self._transport.abort()
        elif count < _PROBES:
            self._timer = self._loop.call_later(0.001 * 2**count, self._probe, count + 1)

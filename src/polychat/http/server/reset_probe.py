"""Whether a client is still connected, without reading from it.

A client that ended its side of a connection may be: only a reset shows that it is not. The same holds for one that is not read.
"""

from __future__ import annotations

import asyncio
import select

_PROBES = 12
"""Number of checks whether the client is gone: at once, after 1 ms, then each time after twice as long.

A client on this machine has reset the connection by the time that the data was sent.
"""


def can_probe(transport: asyncio.Transport) -> bool:
    """Whether a reset of this connection can be detected without reading from it."""
    return hasattr(select, "poll") and transport.get_extra_info("sslcontext") is None


def has_ended(transport: asyncio.Transport) -> bool:
    """Whether the client of a transport that is not read has ended its side, or reset the connection.

    If the system does not report the end of one side, only the end of both sides or a reset is detected.
    """
    return hasattr(select, "poll") and _polled(transport, getattr(select, "POLLRDHUP", 0))


def _polled(transport: asyncio.Transport, events: int) -> bool:
    """Whether one of ``events`` occurred, an error, or the end of both sides."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), events)
    return bool(poll.poll(0))


class ResetProbe:
    """Checks for a reset after data was sent, and aborts the transport if there is one. ``cancel`` ends it."""

    __slots__ = ("_loop", "_timer", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop, self._transport = loop, transport
        self._timer: asyncio.Handle = loop.call_soon(self._probe, 0)

    def cancel(self) -> None:
        self._timer.cancel()

    def _probe(self, count: int) -> None:
        if self._transport.is_closing():
            return
        if _polled(self._transport, 0):
            self._transport.abort()
        elif count < _PROBES:
            self._timer = self._loop.call_later(0.001 * 2**count, self._probe, count + 1)

"""The timer of one request to a chat site: one alarm for all its timeouts. No byte that arrived is lost to a timeout."""

from __future__ import annotations

import asyncio
from math import inf

from aiohttp import StreamReader

from ...errors import TimedOut
from ..timeouts import Timeouts


class SessionTimer:
    """``deadline`` is a moment on the running loop's clock, in addition to ``timeouts.total``.

    Until the response's head one timer covers the request. After it, each wait for more bytes is limited: the time that the
    caller takes for the last ones does not count.
    """

    __slots__ = (
        "_alarm",
        "_connect",
        "_due",
        "_end",
        "_first",
        "_handle",
        "_idle",
        "_loop",
        "_since",
        "_total",
        "_waited",
        "is_connected",
    )

    def __init__(self, timeouts: Timeouts, deadline: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._connect, self._first, self._idle, total = (inf if seconds is None else seconds for seconds in timeouts)
        self._end = min(now + total, inf if deadline is None else deadline)
        self._total = self._end - now if total == inf else total
        self.is_connected = False
        self._alarm: asyncio.Timeout | None = None
        self._due = inf
        self._handle: asyncio.TimerHandle | None = None
        self._since: float | None = None
        self._waited: StreamReader | None = None

    def head(self) -> asyncio.Timeout:
        """A context manager for connecting, sending, and waiting for the head. Raises ``TimedOut`` if the total is over."""
        now = self._loop.time()
        if now >= self._end:
            raise self._total_past()
        self.is_connected = False
        self._due = min(now + self._connect, self._end)
        self._alarm = asyncio.timeout_at(None if self._due == inf else self._due)
        return self._alarm

    def connected(self) -> None:
        """The connection is open: from here on the limit is that of the head."""
        self.is_connected = True
        self._due = min(self._loop.time() + self._first, self._end)
        if self._alarm is not None:
            self._alarm.reschedule(None if self._due == inf else self._due)

    def head_late(self) -> TimedOut:
        """The error for a head that did not arrive in time."""
        if self._due == self._end:
            return self._total_past()
        return TimedOut("first", self._first) if self.is_connected else TimedOut("connect", self._connect)

    def wait(self, content: StreamReader) -> None:
        """A wait for bytes of ``content`` begins; ``content`` raises ``TimedOut`` if a limit is reached before ``rest``.

        Raises it here if the total is over and the body is not: a server that always has something would never end.
        """
        self._since = now = self._loop.time()
        if now >= self._end and not content.is_eof():
            raise self._total_past()
        if self._handle is None:
            self._waited = content
            self._set(min(now + self._idle, self._end))

    def rest(self) -> None:
        """The wait is over. The timer keeps running and checks when it fires, which is cheaper than a timer for each read."""
        self._since = None

    def stop(self) -> None:
        """Cancel the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._waited = self._since = None

    def _set(self, due: float) -> None:
        self._due = due
        if due != inf:
            self._handle = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._handle = None
        if self._since is None or self._waited is None:
            return  # nothing waits: the next wait sets the timer again
        due = min(self._since + self._idle, self._end)
        if due > self._due:
            self._set(due)  # bytes arrived since it was set
        else:
            self._waited.set_exception(self._total_past() if self._due == self._end else TimedOut("idle", self._idle))

    def _total_past(self) -> TimedOut:
        return TimedOut("total", max(self._total, 0))

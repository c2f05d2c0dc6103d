"""The timer of one request to a chat site: one alarm for all its timeouts. What has come is never lost to one."""

from __future__ import annotations

import asyncio
from math import inf

from aiohttp import StreamReader

from ...errors import TimedOut
from ..timeouts import Timeouts


class SessionTimer:
    """``deadline`` is a moment on the running loop's clock, beside ``timeouts.total``.

    Before the reply's head one timer stands over the request. After it, what is bounded is each wait for more bytes: a caller
    that is busy with the last ones is never late.
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
        """To be held over connecting, sending, and waiting for the head. Raises ``TimedOut`` if the total is past already."""
        now = self._loop.time()
        if now >= self._end:
            raise self._total_past()
        self.is_connected = False
        self._due = min(now + self._connect, self._end)
        self._alarm = asyncio.timeout_at(None if self._due == inf else self._due)
        return self._alarm

    def connected(self) -> None:
        """There is a connection: from here on it is the head that is waited for."""
        self.is_connected = True
        self._due = min(self._loop.time() + self._first, self._end)
        if self._alarm is not None:
            self._alarm.reschedule(None if self._due == inf else self._due)

    def head_late(self) -> TimedOut:
        """The error of a head that did not come in time."""
        if self._due == self._end:
            return self._total_past()
        return TimedOut("first", self._first) if self.is_connected else TimedOut("connect", self._connect)

    def wait(self, content: StreamReader) -> None:
        """The caller waits for bytes of ``content``, which raises ``TimedOut`` when a clock runs out before ``rest``.

        Raises it here if the total is past and the server has not finished: it may never, and always have something to read.
        """
        self._since = now = self._loop.time()
        if now >= self._end and not content.is_eof():
            raise self._total_past()
        if self._handle is None:
            self._waited = content
            self._set(min(now + self._idle, self._end))

    def rest(self) -> None:
        """The caller has its bytes. The timer is left standing, and looks when it rings: that is cheaper than one a read."""
        self._since = None

    def stop(self) -> None:
        """No more waiting: there is no timer left behind."""
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
            return  # the caller is elsewhere; its next wait sets the timer anew
        due = min(self._since + self._idle, self._end)
        if due > self._due:
            self._set(due)  # bytes came since it was set
        else:
            self._waited.set_exception(self._total_past() if self._due == self._end else TimedOut("idle", self._idle))

    def _total_past(self) -> TimedOut:
        return TimedOut("total", max(self._total, 0))

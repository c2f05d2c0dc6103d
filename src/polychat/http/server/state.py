"""State that all connections of one server share: its application, its limits, open connections, and timeouts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, NamedTuple, Protocol

from ...config.settings import Limits
from .cycle import App, FastPath
from .known_head import KnownHeads
from .timeout_queue import TimeoutQueue

LINGER = 5.0
"""Seconds that a client is read after the response that ended its connection: closing at once could destroy that response."""

HOLD = 0.1
"""Seconds that the known head of a request is held until its body comes, before it is parsed."""


class Timed(Protocol):
    """A connection, as timeout queues use it."""

    def head_timed_out(self) -> None: ...
    def parse_held(self) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def shutdown(self) -> None: ...


class TimeoutQueues(NamedTuple):
    """A connection is in at most one of the first four queues, and in ``send`` independently."""

    head: TimeoutQueue[Timed]
    """Waits for the rest of a request's head, or of a body that the application does not read."""
    idle: TimeoutQueue[Timed]
    """Waits for another request."""
    held: TimeoutQueue[Timed]
    """Waits for the body of a request whose head is known."""
    linger: TimeoutQueue[Timed]
    """Waits for the client's end, after ours."""
    send: TimeoutQueue[Timed]
    """Waits for a client to read what was written."""


class ServerState:
    """The state of one server in one event loop.

    ``limits`` may be replaced while it runs. ``draining``: every response that begins from now on ends its connection.
    """

    def __init__(self, app: App, limits: Limits, *, wall_clock: Callable[[], float] = time.time) -> None:
        self.app, self.limits = app, limits
        self.heads = KnownHeads()
        self.draining = False
        self.connections: set[Timed] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.total_requests = 0
        """Responses that were sent completely."""
        self._all_closed: asyncio.Event | None = None
        self._queues: TimeoutQueues | None = None
        self._wall_clock = wall_clock
        self._second, self._date = -1.0, b""
        """A moment, in whole seconds, and its header line."""

    def fast_path(self, scope: dict[str, Any]) -> FastPath | None:
        """The fast path for requests with this head, if the application has one."""
        find = getattr(self.app, "fast_path", None)
        fast_path: FastPath | None = None if find is None else find(scope)
        return fast_path

    def timeout_queues(self, loop: asyncio.AbstractEventLoop) -> TimeoutQueues:
        """The queues for all timeouts of connections."""
        if self._queues is None:
            self._queues = TimeoutQueues(
                TimeoutQueue(loop, lambda: self.limits.head_seconds, lambda connection: connection.head_timed_out()),
                TimeoutQueue(loop, lambda: self.limits.keep_alive, lambda connection: connection.close()),
                TimeoutQueue(loop, lambda: HOLD, lambda connection: connection.parse_held()),
                TimeoutQueue(loop, lambda: LINGER, lambda connection: connection.abort()),
                TimeoutQueue(loop, lambda: self.limits.send_seconds, lambda connection: connection.abort()),
            )
        return self._queues

    def default_headers(self) -> bytes:
        """The header lines of every response: the date (RFC 9110, 6.6.1)."""
        if not 0.0 <= (now := self._wall_clock()) - self._second < 1.0:
            self._second = second = float(int(now))
            self._date = b"date: %b\r\n" % formatdate(second, usegmt=True).encode()
        return self._date

    def connection_lost(self, connection: Any) -> None:
        self.connections.discard(connection)
        if self._all_closed is not None and not self.connections:
            self._all_closed.set()

    async def wait_closed(self) -> None:
        """Returns when no connection is left."""
        self._all_closed = asyncio.Event()
        if self.connections:
            await self._all_closed.wait()

    def close(self) -> None:
        """Stop all timeouts."""
        for queue in self._queues or ():
            queue.close()

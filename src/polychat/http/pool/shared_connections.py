"""The kept-alive connections of one event loop, shared by its requests: which request has which, and who waits for one.

A request takes the idle connection to its server that was used last; where there is none it *waits its turn*, and is granted
either a connection that another request is done with, or the right to open one. A connection belongs to one request at a time.
From ``linger`` to the last byte of its body it belongs to no request: its reader saw the end of the reply in the body itself
(``[DONE]``), and the end of the body, which frees the connection, mostly follows in the next packet.

connection  event                             next       what follows
==========  ================================  =========  =============================================================
none        a request's turn: there is room   opening    from here on it is counted; another server's idle one makes room
opening     it is open                        busy       the request goes out in the same step
opening     it fails, or is not wanted now    closed     the next request that waits is served
busy        reply whole, none waits           idle       for as long as ``keep_alive.py`` says
busy        reply whole, somebody waits       granted    to the first that waits for this server
busy        reply not whole, or not kept      closed     cancelled, timed out, left early, broken, ``connection: close``
busy        its reader is done before         lingering
lingering   the body ends, none waits         idle
lingering   the body ends, somebody waits     granted
lingering   it does not end                   closed     within ``_LINGER`` seconds and ``_LINGER_BYTES``, or it is lost
granted     its request runs                  busy
granted     its request is not sent after all idle       ``http/sending.py``; one that was just opened is closed
granted     it is lost before that            closed     the request opens another in its place, without a new turn
granted     its request was cancelled         idle       or is granted to the next, which changes no state
idle        a request comes                   busy
idle        a request finds it unfit          closed     too old, lost, or with bytes that were not requested
idle        its time is up                    closed     ``_sweep``
idle        it is lost                        closed     ``lost``: its server had its own time
idle        room is needed                    closed     for a connection to another server: the one idle for longest goes
==========  ================================  =========  =============================================================

``close`` closes a connection in any state; a request that waits for one, or for one to be open, then raises ``NotReady``.

Invariants: ``_count`` is the number of connections that are not closed, and the sum of every server's ``count``; no request
waits while it could be served; requests that wait for one server are served in the order they came, and of all that could be
served the one that waits for longest is next; a server without connections and without requests that wait is forgotten. Each
server for which a request waits is in ``_line`` by its first, unless it has as many connections as it may, all in use: what
frees one of these puts it back. So a step costs the same however many servers there are.

Bounds: connections by ``per_origin`` and ``total``; the wait for a turn and for the connection by ``timeouts.connect``; the
time without a request by ``idle``, and ``keep_alive.py``. How many requests wait is for the callers to limit.

Cancellation: a request's own task is the only one there is. Cancelled while it waits, its turn goes to the next; while its
connection opens, that is closed. There are no tasks here, but two kinds of timers: one for what is idle, one a lingerer.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from itertools import count
from math import inf

from ...errors import NotReady, PolychatError, Resting, TimedOut
from ..timeouts import ExchangeTimeouts
from .connection import PoolConnection
from .heads import Origin, URLParts
from .keep_alive import ObservedCloses, announced_in
from .known_replies import KnownReplies
from .tunnel import opened

_LINGER = 1.0
_LINGER_BYTES = 64 * 1024
"""How long, and for how much, one waits for a body's last bytes after its reader had its end, to keep the connection."""


_CLOSED = "the pool is closed: its event loop is shutting down"


class ServerConnections:
    """Of these ``count`` are open, or being opened, and ``idle`` are free, the one used last at the end."""

    __slots__ = ("count", "idle", "idle_seconds", "in_line", "known_replies", "waiting")

    def __init__(self, idle_seconds: float) -> None:
        self.count = 0
        self.idle_seconds = idle_seconds
        self.idle: dict[PoolConnection, None] = {}
        self.waiting: dict[asyncio.Future[PoolConnection | None], int] = {}
        """Requests that wait, each with its number. Each gets a connection, or with ``None`` the right to open one."""
        self.known_replies = KnownReplies()
        self.in_line: int | None = None
        """The number of its place in the pool's line, if it has one."""


class SharedConnections:
    """Connections of one event loop: at most ``per_origin`` to a server and ``total`` in all.

    Each is kept for ``idle`` seconds at most when it has nothing to do.

    Who asks for more waits, the first first, for as long as a connection may take, and is then told that the server was not
    asked: how that is, those tell that have a connection.
    """

    def __init__(self, *, per_origin: int, total: int, idle: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._per_origin, self._total, self._idle = per_origin, total, idle
        self._closes = ObservedCloses(idle)
        self._origins: dict[Origin, ServerConnections] = {}
        self._origin_of: dict[PoolConnection, Origin] = {}
        self._count = 0
        """Connections that are open, or are being opened."""
        self._idle_connections: dict[PoolConnection, None] = {}
        """Those of all servers, the one that lies idle for longest first."""
        self._line: list[tuple[int, Origin]] = []
        """A heap: servers by the first request that waits for them. What is no server's ``in_line`` is passed over."""
        self._numbers = count()
        self._lingering: set[PoolConnection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._sweep_at = inf
        self.closed = False

    def state(self, connection: PoolConnection) -> str:
        """A state of the table above."""
        origin = self._origin_of.get(connection)
        if origin is None:
            return "closed"
        if connection.opening is not None:
            return "opening"
        if connection in self._lingering:
            return "lingering"
        if connection in self._origins[origin].idle:
            return "idle"
        return "busy" if connection.in_use else "granted"

    def allow(self, limit: int) -> None:
        """Hold as many connections as that, to one server too, where it would be fewer."""
        if limit > self._per_origin or limit > self._total:
            self._per_origin, self._total = max(limit, self._per_origin), max(limit, self._total)
            for origin, connections in self._origins.items():
                self._enlist(origin, connections)
            self._admit()

    async def close(self) -> None:
        """Close every connection. Replies under way end as cut off."""
        self.closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for waiter in [waiter for connections in self._origins.values() for waiter in connections.waiting]:
            if not waiter.done():
                waiter.set_exception(NotReady(_CLOSED))
        for connection in list(self._origin_of):
            connection.abort(None if connection.opening is None else NotReady(_CLOSED))
        await asyncio.sleep(0)  # the loop's turn to close what was let go of

    async def _acquire(self, place: URLParts, origin: Origin, limits: ExchangeTimeouts) -> PoolConnection:
        """A connection, when it is this request's turn to have one."""
        due = min(self._loop.time() + limits.connect, limits.end)
        alarm = asyncio.timeout_at(None if due == inf else due)
        has_turn = False
        try:
            async with alarm:
                connection = await self._wait_turn(origin)
                has_turn = True
                if connection is not None and not connection.is_reusable(self._loop.time()):
                    del self._origin_of[connection]  # its place is this request's, for another
                    connection.abort(None)
                    connection = None
                return connection or await self._open(place, origin)
        except TimeoutError:
            if not alarm.expired():
                raise
        if due == limits.end:
            raise limits.past()
        raise TimedOut("connect", limits.connect) if has_turn else self._all_in_use(limits)

    def _all_in_use(self, limits: ExchangeTimeouts) -> Resting:
        """The server was not asked, so this says nothing of it."""
        error = Resting(
            f"no connection was free within {limits.connect:g} s (connect timeout): polychat opens at most "
            f"{self._per_origin} to one server and {self._total} in all; send fewer requests at a time",
            retry_after=1.0,
        )
        error.kind, error.status = "overloaded", 503
        return error

    async def _wait_turn(self, origin: Origin) -> PoolConnection | None:
        """Wait for a free connection, or for the right to open one."""
        if self.closed:
            raise NotReady(_CLOSED)
        connections = self._origins.setdefault(origin, self._new_connections(origin))
        waiter: asyncio.Future[PoolConnection | None] = self._loop.create_future()
        connections.waiting[waiter] = next(self._numbers)
        self._enlist(origin, connections)
        self._admit()
        try:
            return await waiter
        except asyncio.CancelledError:
            if connections.waiting.pop(waiter, None) is not None:
                self._enlist(origin, connections)
                self._discard(origin, connections)
            elif not waiter.cancelled():
                self._turn_unused(origin, waiter.result())
            raise

    def _turn_unused(self, origin: Origin, turn: PoolConnection | None) -> None:
        """Somebody's turn came, and was not wanted any more."""
        if turn is None:
            self._release_slot(origin)
        else:
            self.give_back(turn)

    async def _open(self, place: URLParts, origin: Origin) -> PoolConnection:
        try:
            connection = await opened(place, origin.proxy, origin.tls)
            if self.closed:
                connection.abort(None)
                raise NotReady(_CLOSED)
        except BaseException:
            self._release_slot(origin)
            raise
        self._add(connection, origin)
        return connection

    def _reuse(self, origin: Origin, now: float) -> PoolConnection | None:
        """The connection that was used last: so many lie idle long enough to be closed, and few are open."""
        connections = self._origins.get(origin)
        while connections is not None and connections.idle:
            connection, _ = connections.idle.popitem()
            del self._idle_connections[connection]
            if connection.is_reusable(now):
                return connection
            if now < connection.reusable_until:
                self._note_close(origin, connections, connection)
            self._drop(connection)
        return None

    def _opened_at_once(self, origin: Origin) -> PoolConnection | None:
        """A connection that the caller opens now; ``None`` if a request must wait for its turn to open one."""
        connections = self._origins.get(origin) or self._new_connections(origin)
        is_full = connections.count >= self._per_origin or self._count >= self._total
        if is_full or connections.waiting or self.closed:
            return None
        self._origins[origin] = connections
        connections.count += 1
        self._count += 1
        connection = PoolConnection()
        self._add(connection, origin)
        return connection

    def _add(self, connection: PoolConnection, origin: Origin) -> None:
        """From here on it is one of those to this server, where it is counted already."""
        self._origin_of[connection] = origin
        connection.known_replies, connection.keeper = self._origins[origin].known_replies, self

    def give_back(self, connection: PoolConnection) -> None:
        """An exchange is over. The connection is kept if its reply has come whole and both sides would."""
        origin = self._origin_of.get(connection)
        if origin is None or not connection.finish() or self.closed:
            self._drop(connection)
            return
        connections = self._origins[origin]
        connection.idle_since = now = self._loop.time()
        if connection.announced and (seconds := announced_in(connection.announced)) is not None:
            self._keep_for(connections, min(seconds, self._closes.seconds(origin, now)))
        connection.reusable_until = until = now + connections.idle_seconds
        connections.idle[connection] = self._idle_connections[connection] = None
        if until < self._sweep_at:
            self._sweep_by(until)
        if connections.waiting:
            self._enlist(origin, connections)
        if self._line:
            self._admit()

    def linger(self, connection: PoolConnection, until: float | None = None, limit: int = _LINGER_BYTES) -> None:
        """``give_back`` when the reply is over: its reader has had its end, what is still to come is a terminator."""
        until = self._loop.time() + _LINGER if until is None else until
        limit -= len(connection.take_body())
        if connection.done or connection.error is not None or limit < 0:
            self.give_back(connection)
            return
        alarm = self._loop.call_at(until, connection.abort, None)
        self._lingering.add(connection)

        def recheck(_: object) -> None:
            alarm.cancel()
            self._lingering.discard(connection)
            self.linger(connection, until, limit)

        connection.next_change().add_done_callback(recheck)

    def _enlist(self, origin: Origin, connections: ServerConnections) -> None:
        """Put a server in line by the first request that waits for it, unless it has as many as it may, all in use."""
        first = None
        if connections.idle or connections.count < self._per_origin:
            first = next(iter(connections.waiting.values()), None)
            if first is not None and first != connections.in_line:
                heappush(self._line, (first, origin))
        connections.in_line = first

    def _admit(self) -> None:
        """Give out what is free, to who waits longest of those that it can be given to."""
        while self._line:
            number, origin = self._line[0]
            connections = self._origins.get(origin)
            if connections is not None and connections.in_line == number and not self._can_serve(connections):
                return  # nothing is free: of those in line all could be served, or none
            heappop(self._line)
            if connections is None or connections.in_line != number:
                continue
            waiter = next(iter(connections.waiting))
            del connections.waiting[waiter]
            if not waiter.done():  # else it was cancelled
                self._grant(waiter, connections)
            self._enlist(origin, connections)
            self._discard(origin, connections)

    def _grant(self, waiter: asyncio.Future[PoolConnection | None], connections: ServerConnections) -> None:
        """Give an idle connection to the server, or the right to open one."""
        if connections.idle:
            connection, _ = connections.idle.popitem()
            del self._idle_connections[connection]
            waiter.set_result(connection)
            return
        if self._count >= self._total:
            self._forget(next(iter(self._idle_connections)))
        connections.count += 1
        self._count += 1
        waiter.set_result(None)

    def _can_serve(self, connections: ServerConnections) -> bool:
        if connections.idle:
            return True
        return connections.count < self._per_origin and (self._count < self._total or bool(self._idle_connections))

    def _drop(self, connection: PoolConnection) -> None:
        self._forget(connection)
        self._admit()

    def _forget(self, connection: PoolConnection) -> None:
        connection.abort(None)
        origin = self._origin_of.pop(connection, None)
        if origin is None:
            return
        connections = self._origins[origin]
        if connection in connections.idle:
            del connections.idle[connection], self._idle_connections[connection]
        self._uncount(origin, connections)

    def _release_slot(self, origin: Origin) -> None:
        self._uncount(origin, self._origins[origin])
        self._admit()

    def _uncount(self, origin: Origin, connections: ServerConnections) -> None:
        connections.count -= 1
        self._count -= 1
        self._enlist(origin, connections)
        self._discard(origin, connections)

    def _discard(self, origin: Origin, connections: ServerConnections) -> None:
        """Forget a server to which there is no connection, and for which no request waits."""
        if not connections.count and not connections.waiting:
            self._origins.pop(origin, None)

    def lost(self, connection: PoolConnection) -> None:
        """A connection that carried no request is lost: one that lay idle was closed by its server, or by what is between."""
        origin = self._origin_of.get(connection)
        if origin is not None and connection in (connections := self._origins[origin]).idle:
            self._note_close(origin, connections, connection)
            self._drop(connection)

    def _failed(self, origin: Origin, connection: PoolConnection, error: BaseException) -> None:
        """An exchange failed. A request that is lost after a pause tells of one that was too long, as a close does."""
        is_lost = isinstance(error, OSError) and not (isinstance(error, PolychatError) or connection.received_any)
        if is_lost and connection.reusable_until > 0 and origin in self._origins:
            self._note_close(origin, self._origins[origin], connection)
        self._drop(connection)

    def _note_close(self, origin: Origin, connections: ServerConnections, connection: PoolConnection) -> None:
        """A connection that lay idle was closed meanwhile, or lost its next request: the others are kept for less long."""
        now = self._loop.time()
        seconds = self._closes.note(origin, now - connection.idle_since, now)
        self._keep_for(connections, min(seconds, connections.idle_seconds))

    def _keep_for(self, connections: ServerConnections, seconds: float) -> None:
        """Keep those to one server for so long; where that is less than before, those that are idle too."""
        before, connections.idle_seconds = connections.idle_seconds, seconds
        if seconds < before:
            for each in connections.idle:
                each.reusable_until = min(each.reusable_until, each.idle_since + seconds)
                self._sweep_by(each.reusable_until)

    def _new_connections(self, origin: Origin) -> ServerConnections:
        return ServerConnections(self._closes.seconds(origin, self._loop.time()))

    def _sweep_by(self, due: float) -> None:
        """Close by then what lay idle for too long."""
        if due < self._sweep_at:
            if self._sweeper is not None:
                self._sweeper.cancel()
            self._sweep_at = due
            self._sweeper = self._loop.call_at(due, self._sweep)

    def _sweep(self) -> None:
        """Close what lay idle for too long."""
        self._sweeper, self._sweep_at, now = None, inf, self._loop.time()
        for connections in list(self._origins.values()):
            while (oldest := next(iter(connections.idle), None)) is not None:
                if oldest.reusable_until > now:
                    self._sweep_by(oldest.reusable_until)
                    break
                self._drop(oldest)

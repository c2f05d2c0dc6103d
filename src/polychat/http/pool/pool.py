"""The way to API vendors and servers of one's own: kept-alive HTTP/1.1 connections on httptools."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from math import inf

from ...errors import NotReady, PolychatError, TimedOut
from ..per_loop import PerLoop
from ..timeouts import STEPS, ExchangeTimeouts, Timeouts, exchange_timeouts
from ..tls import tls
from .connection import Connection
from .heads import Origin, Place, PoolRequest, pool_request
from .response import PooledResponse
from .tunnel import failure_of, opened, refusal_of

__all__ = ["Pool", "PooledResponse", "pool"]


_LINGER = 1.0
_LINGER_BYTES = 64 * 1024
"""How long, and for how much, one waits for a body's last bytes after its reader had its end, to keep the connection."""


_CLOSED = "the pool is closed: its event loop is shutting down"


class _Origin:
    """One server: ``count`` connections are open, or about to be; of these ``idle`` are free, the latest last."""

    __slots__ = ("count", "idle", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.idle: list[Connection] = []
        self.waiting: dict[asyncio.Future[Connection | None], float] = {}
        """Who waits, since when. What they get is a connection, or with ``None`` the right to open one."""


class Pool:
    """Connections of one event loop: at most ``per_origin`` to a server and ``total`` in all, each kept for ``idle`` seconds.

    Who asks for more waits, the first first, under the connect clock. Redirects are not followed, and cookies not kept.
    """

    def __init__(self, *, per_origin: int = 1000, total: int = 2000, idle: float = 4.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._per_origin, self._total, self._idle = per_origin, total, idle
        self._origins: dict[Origin, _Origin] = {}
        self._open: dict[Connection, Origin] = {}
        self._count = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self.closed = False

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeouts: Timeouts = STEPS,
        deadline: float | None = None,
        proxy: str | None = None,
        provider: str | None = None,
    ) -> PooledResponse:
        """Ask, and get the response as soon as its head is there. No status raises.

        ``deadline`` is a moment on the loop's clock, beside ``timeouts.total``. Raises ``BadInput``, ``ConnectionFailed``,
        ``TimedOut``, ``BadReply``.
        """
        request: PoolRequest | None = None
        try:
            request = pool_request(method, url, tuple(headers.items()), proxy)
            limits = exchange_timeouts(timeouts)
            if timeouts.total is not None or deadline is not None:
                limits = self._until(limits, deadline)
            way = request.way if request.way is not None else _secured(request)
            connection = self._kept(way)
            if connection is not None:
                try:
                    return await self._exchanged(connection, request, body, limits, provider)
                except OSError as error:  # one of the last exchange, or TimedOut
                    lost = error
                if connection.received_any or not _may_go_again(request, connection, lost):
                    raise failure_of(lost, request.place, way.proxy, connected=True)
            connection = await self._another(request.place, way, limits)
            try:
                return await self._exchanged(connection, request, body, limits, provider)
            except OSError as error:
                lost = error
            raise failure_of(lost, request.place, way.proxy, connected=True)
        except PolychatError as error:
            error.provider = error.provider or provider
            if request is not None and request.secrets is not None:
                request.secrets.error(error)
            raise

    def _until(self, limits: ExchangeTimeouts, deadline: float | None) -> ExchangeTimeouts:
        """With the moment when all of it must be over. Raises ``TimedOut`` where that is past already."""
        now = self._loop.time()
        end = min(now + limits.total, inf if deadline is None else deadline)
        limits = limits._replace(total=end - now if limits.total == inf else limits.total, end=end)
        if now >= end:
            raise limits.past()
        return limits

    def allow(self, most: int) -> None:
        """Hold as many connections as that, to one server too, where it would be fewer."""
        if most > self._per_origin or most > self._total:
            self._per_origin, self._total = max(most, self._per_origin), max(most, self._total)
            self._admit()

    async def close(self) -> None:
        """Close every connection. Replies under way end as cut off."""
        self.closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for waiter in [waiter for origin in self._origins.values() for waiter in origin.waiting]:
            if not waiter.done():
                waiter.set_exception(NotReady(_CLOSED))
        for connection in list(self._open):
            connection.abort(None)
        await asyncio.sleep(0)  # the loop's turn to close what was let go of

    async def _exchanged(
        self, connection: Connection, request: PoolRequest, body: bytes | None, limits: ExchangeTimeouts, provider: str | None
    ) -> PooledResponse:
        try:
            sent_at = await connection.exchange(request.head(body), body, limits, no_body=request.method == "HEAD")
            if connection.status == 407 and request.proxy is not None and not request.proxy.is_socks:
                raise refusal_of(407, request.place, request.proxy)
            return PooledResponse(self, connection, request, sent_at=sent_at, provider=provider)
        except BaseException:
            self._drop(connection)
            raise

    async def _another(self, place: Place, way: Origin, limits: ExchangeTimeouts) -> Connection:
        """A connection, when it is our turn to have one."""
        due = min(self._loop.time() + limits.connect, limits.end)
        alarm = asyncio.timeout_at(None if due == inf else due)
        try:
            async with alarm:
                return await self._turn(way) or await self._opened(place, way)
        except TimeoutError:
            if not alarm.expired():
                raise
        raise limits.past() if due == limits.end else TimedOut("connect", limits.connect)

    async def _turn(self, way: Origin) -> Connection | None:
        """Wait for a free connection, or for the right to open one."""
        if self.closed:
            raise NotReady(_CLOSED)
        origin = self._origins.setdefault(way, _Origin())
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        origin.waiting[waiter] = self._loop.time()
        self._admit()
        try:
            return await waiter
        except asyncio.CancelledError:
            if origin.waiting.pop(waiter, None) is None and not waiter.cancelled():
                self._returned(way, waiter.result())
            raise

    def _returned(self, way: Origin, turn: Connection | None) -> None:
        """Somebody's turn came, and was not wanted any more."""
        if turn is None:
            self._vacate(way)
        else:
            self.give_back(turn)

    async def _opened(self, place: Place, way: Origin) -> Connection:
        try:
            connection = await opened(place, way.proxy, way.tls)
        except BaseException:
            self._vacate(way)
            raise
        self._open[connection] = way
        return connection

    def _kept(self, way: Origin) -> Connection | None:
        """The connection that was used last: so many lie idle long enough to be closed, and few are open."""
        origin = self._origins.get(way)
        now = self._loop.time()
        while origin is not None and origin.idle:
            connection = origin.idle.pop()
            if connection.is_reusable(now):
                return connection
            self._drop(connection)
        return None

    def give_back(self, connection: Connection) -> None:
        """An exchange is over. The connection is kept if its reply has come whole and both sides would."""
        way = self._open.get(connection)
        if way is None or not connection.finish() or self.closed:
            self._drop(connection)
            return
        origin = self._origins[way]
        connection.reusable_until = self._loop.time() + self._idle
        origin.idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._idle, self._sweep)
        if origin.waiting or self._count >= self._total:
            self._admit()

    def linger(self, connection: Connection, until: float | None = None, most: int = _LINGER_BYTES) -> None:
        """``give_back`` when the reply is over: its reader has had its end, what is still to come is a terminator."""
        until = self._loop.time() + _LINGER if until is None else until
        most -= len(connection.take_body())
        if connection.done or connection.error is not None or most < 0:
            self.give_back(connection)
            return
        alarm = self._loop.call_at(until, connection.abort, None)

        def more(_: object) -> None:
            alarm.cancel()
            self.linger(connection, until, most)

        connection.next_change().add_done_callback(more)

    def _admit(self) -> None:
        """Give out what is free, to who waits longest of those that it can be given to."""
        while ready := [found for found in self._origins.items() if found[1].waiting and self._has_room(found[1])]:
            _, origin = min(ready, key=lambda found: next(iter(found[1].waiting.values())))
            waiter = next(iter(origin.waiting))
            del origin.waiting[waiter]
            if waiter.done():
                continue  # cancelled
            if not origin.idle:
                if self._count >= self._total:
                    self._evict()
                origin.count += 1
                self._count += 1
            waiter.set_result(origin.idle.pop() if origin.idle else None)

    def _has_room(self, origin: _Origin) -> bool:
        if origin.idle:
            return True
        return origin.count < self._per_origin and (
            self._count < self._total or any(other.idle for other in self._origins.values())
        )

    def _evict(self) -> None:
        """Close the connection that lay idle longest."""
        self._forget(
            min((origin.idle[0] for origin in self._origins.values() if origin.idle), key=lambda one: one.reusable_until)
        )

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        self._admit()

    def _forget(self, connection: Connection) -> None:
        connection.abort(None)
        way = self._open.pop(connection, None)
        if way is None:
            return
        origin = self._origins[way]
        if connection in origin.idle:
            origin.idle.remove(connection)
        self._leave(way, origin)

    def _vacate(self, way: Origin) -> None:
        self._leave(way, self._origins[way])
        self._admit()

    def _leave(self, way: Origin, origin: _Origin) -> None:
        origin.count -= 1
        self._count -= 1
        if not origin.count and not origin.waiting:
            del self._origins[way]

    def _sweep(self) -> None:
        """Close what lay idle for too long."""
        self._sweeper, now = None, self._loop.time()
        idle = [connection for origin in self._origins.values() for connection in origin.idle]
        for connection in idle:
            if connection.reusable_until <= now:
                self._drop(connection)
        if left := [connection.reusable_until for connection in idle if connection.reusable_until > now]:
            self._sweeper = self._loop.call_at(min(left), self._sweep)


def _secured(request: PoolRequest) -> Origin:
    """The way of a request that needs TLS."""
    return Origin(request.place.url.scheme, request.place.host, request.place.port, request.proxy, tls())


def _may_go_again(request: PoolRequest, connection: Connection, lost: OSError) -> bool:
    """Whether to send it again, when a kept connection was lost without a byte of reply: a server may have closed it just then.

    A request that costs something may have been read, whatever ended the connection, unless not all of it was written.
    """
    return not isinstance(lost, PolychatError) and (request.is_safe or connection.partly_sent)


_pools = PerLoop(Pool)
pool = _pools.get
"""The running loop's ``Pool``, closed when the loop is shut down."""

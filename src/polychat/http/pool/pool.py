"""The way to API vendors and servers of one's own: HTTP/1.1 on httptools, over the kept-alive connections of one event loop.

A request takes a connection, or waits its turn for one (``shared_connections.py``), and has it to itself for one exchange
(``connection.py``). With ``begin`` it is sent in the call that asks for it, if a connection is idle or can be opened at once.

Sent twice: a request is repeated once, on another connection, if the first was used before and was lost without a byte of reply
(its server may have closed it just then), and if it is safe to repeat or was not sent completely.

Bounds: an exchange by ``first``, ``idle`` and the end (``connection.py``); the wait for a connection by ``connect``.

Cancellation: a request that is cancelled while it is exchanged closes its connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from math import inf

from ...errors import PolychatError
from ...tracebacks import release_locals
from ..per_loop import PerLoop
from ..sending import last_check
from ..timeouts import STEPS, ExchangeTimeouts, Timeouts, exchange_timeouts
from .body import RequestBody
from .connection import WRITE_SIZE, PoolConnection
from .heads import PoolRequest, pool_request
from .keep_alive import LONGEST
from .opening import Opening
from .response import PooledResponse
from .shared_connections import SharedConnections
from .tunnel import failure_of, refusal_of

__all__ = ["Pool", "PooledResponse", "pool"]


class Pool(SharedConnections):
    """Requests over the connections of one event loop. Redirects are not followed, and cookies not kept."""

    def __init__(self, *, per_origin: int = 1000, total: int = 2000, idle: float = LONGEST) -> None:
        super().__init__(per_origin=per_origin, total=total, idle=idle)
        self._latest_limits = STEPS, exchange_timeouts(STEPS)
        """Those of the latest request, which the next mostly has too."""

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: RequestBody | None = None,
        timeouts: Timeouts = STEPS,
        deadline: float | None = None,
        proxy: str | None = None,
        provider: str | None = None,
    ) -> Awaitable[PooledResponse]:
        """Ask, and get the response as soon as its head is there; to be awaited at once. No status raises.

        ``deadline`` is a time on the loop's clock, besides ``timeouts.total``. Raises ``BadInput``, ``ConnectionFailed``,
        ``Resting`` (no connection is free), ``TimedOut``, ``BadReply``.
        """
        request = self.prepared(method, url, headers, proxy, provider)
        return self.send(request, body, timeouts=timeouts, deadline=deadline, provider=provider)

    def prepared(
        self, method: str, url: str, headers: Mapping[str, str], proxy: str | None, provider: str | None
    ) -> PoolRequest:
        """A request for ``send``, as often as it is wanted. Raises ``BadInput``."""
        try:
            return pool_request(method, url, tuple(headers.items()), proxy)
        except PolychatError as error:
            error.provider = error.provider or provider
            raise

    async def send(
        self,
        request: PoolRequest,
        body: RequestBody | None = None,
        *,
        timeouts: Timeouts = STEPS,
        deadline: float | None = None,
        provider: str | None = None,
        sent_on: PoolConnection | None = None,
        check: Callable[[], None] | None = None,
    ) -> PooledResponse:
        """As ``request``, of one that is prepared; ``sent_on``: of one that ``begin`` has sent there.

        ``check`` replaces ``last_check``, and is called only if the request has waited before it is sent.
        """
        try:
            limits = self._limits(timeouts, deadline)
            origin = request.server()
            for may_repeat in (True, False):
                if sent_on is None:
                    idle = self._reuse(origin, self._loop.time())
                    connection = idle or await self._acquire(request.place, origin, limits)
                    self._check(connection, check, has_waited=idle is None or not may_repeat)
                else:
                    connection = sent_on
                was_used = connection.reusable_until > 0
                try:
                    if sent_on is None:
                        sent_at = await connection.exchange(request.head(body), body, limits, no_body=request.method == "HEAD")
                    else:
                        sent_at, sent_on = sent_on.sent_at, None
                        await connection.head(sent_at)
                        sent_at = connection.sent_at  # it may have been open only since then
                    if connection.status == 407 and request.proxy is not None and not request.proxy.is_socks:
                        raise refusal_of(407, request.place, request.proxy)
                    return PooledResponse(self, connection, request, sent_at=sent_at, provider=provider)
                except BaseException as error:
                    self._failed(origin, connection, error)
                    release_locals(error)  # it is the connection's own, whose frames hold the body and the connection
                    if not isinstance(error, OSError):  # the connection's, or TimedOut
                        raise
                    lost = error
                if not (may_repeat and was_used and not connection.received_any and _may_retry(request, connection, lost)):
                    break
            raise failure_of(lost, request.place, origin.proxy, connected=True)
        except PolychatError as error:
            if sent_on is not None:
                self._drop(sent_on)  # its time was over before anybody waited for its reply
            error.provider = error.provider or provider
            if request.secrets is not None:
                request.secrets.error(error)
            raise

    def begin(
        self, request: PoolRequest, body: bytes, timeouts: Timeouts, check: Callable[[], None] | None = None
    ) -> PoolConnection | None:
        """Send a request that has a body, where that needs no wait: ``None`` where no connection is idle, or the body is large.

        With a ``check`` it is also sent as soon as a new connection is open, if one may be opened at once; see ``Opening``.

        The caller sets the connection's ``listener``, and then lets ``send`` continue, or takes the response and calls
        ``give_back``.
        """
        if len(body) > WRITE_SIZE:
            return None
        known, limits = self._latest_limits
        if known is not timeouts:
            limits = self._without_end(timeouts)
        now = self._loop.time()
        connection = self._reuse(request.origin or request.server(), now)
        if connection is not None:
            connection.send(request.with_body(body), limits, now)
        elif check is not None:
            return self._begin_opening(request, body, limits.until(now + limits.total), check)
        return connection

    def _begin_opening(
        self, request: PoolRequest, body: bytes, limits: ExchangeTimeouts, check: Callable[[], None]
    ) -> PoolConnection | None:
        """A connection that is opened for this request; ``None`` if it must wait for its turn, or there is a proxy."""
        origin = request.server()
        if request.proxy is not None or (connection := self._opened_at_once(origin)) is None:
            return None
        opening = Opening(connection, request.place, origin, request.with_body(body), check)
        connection.begin_opening(opening, limits)
        return connection

    def _check(self, connection: PoolConnection, check: Callable[[], None] | None, *, has_waited: bool) -> None:
        """Raises what ``check`` or ``last_check`` does; the connection is free again then, or closed if it was never used."""
        if check is not None and not has_waited:
            return
        check = check or last_check.get()
        if check is None:
            return
        try:
            check()
        except BaseException:
            self.give_back(connection)
            raise

    def _limits(self, timeouts: Timeouts, deadline: float | None) -> ExchangeTimeouts:
        """With the moment when all of it must be over, if there is one. Raises ``TimedOut`` where that is past already."""
        limits = self._without_end(timeouts)
        if timeouts.total is None and deadline is None:
            return limits
        now, seconds = self._loop.time(), limits.total
        if deadline is None:
            return limits.until(now + seconds)
        end = min(now + seconds, deadline)
        limits = limits.until(end, end - now if seconds == inf else seconds)
        if now >= end:
            raise limits.past()
        return limits

    def _without_end(self, timeouts: Timeouts) -> ExchangeTimeouts:
        """The same limits, of a request of any moment."""
        known, limits = self._latest_limits
        if known is not timeouts:
            limits = exchange_timeouts(timeouts)
            self._latest_limits = timeouts, limits
        return limits


def _may_retry(request: PoolRequest, connection: PoolConnection, lost: OSError) -> bool:
    """Whether to send it again, when a kept connection was lost without a byte of reply: a server may have closed it just then.

    A request that costs something may have been read, however the connection ended, unless it was not written completely.
    """
    return not isinstance(lost, PolychatError) and (request.is_safe or connection.partly_sent)


_pools = PerLoop(Pool)
pool = _pools.get
"""The running loop's ``Pool``, closed when the loop is shut down."""

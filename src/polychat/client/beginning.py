"""A stream's request that is sent at once, and the beginning of its reply, read as it lies on the connection.

``RoutedCall`` uses it for a compiled request to a healthy target to which a connection lies idle. A usual reply has the status
200, is not compressed, and does not begin with an error. Any other is left on the connection, unread, for ``Pool.send``,
``VendorReply`` and the router, which judge it as if they had sent the request.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from ..backends.backend import Backend
from ..backends.compiled import CompiledRequest
from ..backends.relay import rate_limits_in
from ..backends.vendor_reply import VendorReply
from ..calls.info import CallInfo
from ..errors import PolychatError
from ..events import Event, Finish
from ..redact import Redaction

if TYPE_CHECKING:
    from ..backends.ready import ReadyRequest
    from ..http.pool.connection import PoolConnection
    from ..http.pool.pool import Pool
    from ..http.pool.response import PooledResponse


@cache
def get_pool() -> Callable[[], Pool]:
    """Imported by the first request: importing the client loads no HTTP client."""
    from ..http.pool.pool import pool

    return pool


class EarlyConnection:
    """A connection on which a request was sent, until it is taken."""

    __slots__ = ("_connection",)

    def __init__(self, connection: PoolConnection | None) -> None:
        self._connection = connection

    def take(self) -> PoolConnection | None:
        """The connection at the first call, ``None`` afterwards."""
        connection, self._connection = self._connection, None
        return connection


class SentStream:
    """A request that was sent on ``connection``, which belongs to the caller where ``first`` gives nothing."""

    __slots__ = ("_compiled", "_name", "_ready", "batches", "connection", "pool")

    def __init__(
        self, pool: Pool, connection: PoolConnection, ready: ReadyRequest, compiled: CompiledRequest, name: str
    ) -> None:
        self.pool, self.connection, self._ready, self._compiled, self._name = pool, connection, ready, compiled, name
        self.batches: AsyncGenerator[list[Event], None] = NO_MORE
        """What follows the first batch; ``NO_MORE`` if that is all of the reply."""

    async def first(self, call_info: CallInfo) -> list[Event] | None:
        """The events of the first read, if it is usual. A caller that leaves closes the connection."""
        connection = self.connection
        try:
            await connection.next_change()
            while not (connection.done or connection.holds_some or connection.error is not None):
                await connection.next_change()
            if connection.status != 200 or connection.error is not None or connection.coding:
                return None
            return self._read(connection.held, rate_limits_in(connection.headers), call_info)
        except BaseException:
            self.pool.give_back(connection)
            raise

    def _read(self, data: bytes, limits: list[tuple[bytes, bytes]], call_info: CallInfo) -> list[Event] | None:
        """The events of ``data``, which is then taken from the connection; ``None`` if it is left there."""
        redaction, secrets = None, self._ready.request.secrets
        if secrets is not None:
            redaction, limits = Redaction(secrets), secrets.headers(limits)
            data = redaction.feed(data)
        compiled = self._compiled
        events = compiled.usual_stream(data) if compiled.usual_stream is not None else None
        if events is None:
            reader = compiled.new_reader()
            events = reader.feed(data)
            if not reader.done:
                response = self._response()
                if not response.skip_held(redaction):
                    return None
                self.batches = VendorReply.begun(reader, None, response, call_info)
        if self.batches is NO_MORE:
            last = events[-1]
            if type(last) is not Finish or last.error is not None:
                return None
            self._end()
        call_info.url, call_info.limits = self._ready.base_url, limits
        return events

    def _end(self) -> None:
        """The reply is over; the connection can be used again, at the latest when the end of the body has come."""
        connection = self.connection
        connection.timer.stop()
        if connection.done:
            self.pool.give_back(connection)
        else:
            self.pool.linger(connection)

    def _response(self) -> PooledResponse:
        """The reply as a response whose head has come."""
        from ..http.pool.response import PooledResponse  # the pool has loaded it

        connection = self.connection
        connection.timer.stop()
        return PooledResponse(self.pool, connection, self._ready.request, sent_at=connection.sent_at, provider=self._name)


class _NoMore(AsyncGenerator[list[Event], None]):
    """The batches after the last."""

    async def __anext__(self) -> list[Event]:
        raise StopAsyncIteration

    async def asend(self, value: None) -> list[Event]:
        raise StopAsyncIteration

    async def athrow(self, *arguments: Any) -> list[Event]:
        raise arguments[0]

    async def aclose(self) -> None:
        pass


NO_MORE = _NoMore()


def sent_stream(backend: Backend, compiled: CompiledRequest, body: bytes, options: dict[str, Any]) -> SentStream | None:
    """Send it, if that needs no wait; ``None`` if nothing was sent."""
    try:
        ready = backend.ready(compiled, options)
        pool = get_pool()()
        connection = pool.begin(ready.request, body, ready.timeouts)
    except PolychatError:  # it is raised once more, where errors are judged
        return None
    return None if connection is None else SentStream(pool, connection, ready, compiled, backend.name)

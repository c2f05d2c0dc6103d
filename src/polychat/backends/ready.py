"""Requests to one vendor that are prepared once for each path and set of options: address, headers, proxy, timeouts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from ..calls.call import call_to, key_of
from ..http.timeouts import STEPS, Timeouts, with_total
from .keys import VendorEndpoint

if TYPE_CHECKING:
    from ..http.pool.body import RequestBody
    from ..http.pool.connection import PoolConnection
    from ..http.pool.heads import PoolRequest
    from ..http.pool.pool import Pool, PooledResponse

_KEPT = 256
"""Maximum number of prepared requests: some wires have the model's name in the path."""


@cache
def _pool() -> Callable[[], Pool]:
    """Imported by the first request: no import of a provider loads an HTTP client."""
    from ..http.pool.pool import pool

    return pool


class ReadyRequest:
    """A POST without its body. It holds a key, which its ``repr`` does not show."""

    __slots__ = ("_current", "_name", "_state", "base_url", "request", "timeouts")

    def __init__(
        self,
        current: Callable[[], object],
        state: object,
        name: str,
        base_url: str,
        request: PoolRequest,
        timeouts: Timeouts,
    ) -> None:
        """``state``: what ``current`` returned when this was prepared."""
        self._current, self._state = current, state
        self._name, self.base_url, self.request, self.timeouts = name, base_url, request, timeouts

    def is_current(self) -> bool:
        """Whether nothing has changed that it depends on."""
        return self._current() is self._state

    def sent(
        self, body: RequestBody, sent_on: PoolConnection | None = None, check: Callable[[], None] | None = None
    ) -> Awaitable[PooledResponse]:
        """The response, which the caller closes. To be awaited at once. Raises as ``Pool.request``.

        ``sent_on``: where the request was sent already; ``check``: see ``Pool.send``.
        """
        return _pool()().send(self.request, body, timeouts=self.timeouts, provider=self._name, sent_on=sent_on, check=check)

    def response_on(self, connection: PoolConnection, pool: Pool) -> PooledResponse:
        """The response on a connection on which it was sent, and whose head has come."""
        from ..http.pool.response import PooledResponse  # the pool has loaded it

        return PooledResponse(pool, connection, self.request, sent_at=connection.sent_at, provider=self._name)


class ReadyRequests:
    """Those of the vendor ``name``, which takes the options ``takes`` too, and ``timeout`` seconds by default."""

    def __init__(self, endpoint: VendorEndpoint, name: str, takes: tuple[str, ...], timeout: float) -> None:
        self._endpoint, self._name, self._takes, self._timeout = endpoint, name, takes, timeout
        self._kept: dict[tuple[object, ...], ReadyRequest] = {}

    def of(self, path: str, options: dict[str, Any]) -> ReadyRequest:
        """The request to ``path`` under these options of a call.

        Raises ``BadInput`` for a value that cannot be, and ``NotReady`` for want of a key; warns of an unknown option once.
        """
        key = (path, *options.items())
        try:
            ready = self._kept.get(key)
        except TypeError:  # headers and cookies, which are dicts
            return self._made(path, options)
        if ready is None or not ready.is_current() or options.get("timeout") is True:  # which is equal to 1, and invalid
            ready = self._made(path, options)
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[key] = ready
        return ready

    def _made(self, path: str, options: dict[str, Any]) -> ReadyRequest:
        endpoint, api_key = self._endpoint, key_of(options.get("api_key"))
        current = endpoint.current if api_key is None else endpoint.current_without_key
        state = current()
        call = call_to(self._name, endpoint.address, self._takes, self._timeout, None, options)
        url = path if path.startswith("https://") else call.base_url + path
        headers = call.overlaid(endpoint.headers(api_key))
        proxy = call.proxy or endpoint.proxy(url)
        request = _pool()().prepared("POST", url, headers, proxy, self._name)
        return ReadyRequest(
            current, state, self._name, call.base_url, request, with_total(call.timeouts or STEPS, call.timeout)
        )

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

    __slots__ = ("_name", "base_url", "request", "state", "timeouts")

    def __init__(self, state: object, name: str, base_url: str, request: PoolRequest, timeouts: Timeouts) -> None:
        self.state = state
        """The endpoint's state when this was prepared: with any other it is outdated."""
        self._name, self.base_url, self.request, self.timeouts = name, base_url, request, timeouts

    def sent(
        self, body: RequestBody, sent_on: PoolConnection | None = None, check: Callable[[], None] | None = None
    ) -> Awaitable[PooledResponse]:
        """The response, which the caller closes. To be awaited at once. Raises as ``Pool.request``.

        ``sent_on``: where the request was sent already; ``check``: see ``Pool.send``.
        """
        return _pool()().send(self.request, body, timeouts=self.timeouts, provider=self._name, sent_on=sent_on, check=check)


class ReadyRequests:
    """Those of the vendor ``name``, which takes the options ``takes`` too, and ``timeout`` seconds by default."""

    def __init__(self, endpoint: VendorEndpoint, name: str, takes: tuple[str, ...], timeout: float) -> None:
        self._endpoint, self._name, self._takes, self._timeout = endpoint, name, takes, timeout
        self._kept: dict[tuple[object, ...], ReadyRequest] = {}

    def of(self, path: str, options: dict[str, Any]) -> ReadyRequest:
        """The request to ``path`` under these options of a call.

        Raises ``BadInput`` for a value that cannot be, and ``NotReady`` for want of a key; warns of an unknown option once.
        """
        state = self._endpoint.current()
        key = (path, *options.items())
        try:
            ready = self._kept.get(key)
        except TypeError:  # headers and cookies, which are dicts
            return self._made(path, options, state)
        if ready is None or ready.state is not state or options.get("timeout") is True:  # which is equal to 1, and invalid
            ready = self._made(path, options, state)
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[key] = ready
        return ready

    def _made(self, path: str, options: dict[str, Any], state: object) -> ReadyRequest:
        call = call_to(self._name, self._endpoint.address, self._takes, self._timeout, None, options)
        url = path if path.startswith("https://") else call.base_url + path
        headers = call.overlaid(self._endpoint.headers(key_of(options.get("api_key"))))
        proxy = call.proxy or self._endpoint.proxy(url)
        request = _pool()().prepared("POST", url, headers, proxy, self._name)
        return ReadyRequest(state, self._name, call.base_url, request, with_total(call.timeouts or STEPS, call.timeout))

"""Requests that go to a backend as they came, where both sides speak the same wire."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import StatusError

if TYPE_CHECKING:
    from ..calls.info import CallInfo
    from ..http.pool.body import RequestBody
    from ..http.pool.connection import PoolConnection
    from ..http.pool.heads import PoolRequest
    from ..http.pool.pool import Pool, PooledResponse
    from ..http.timeouts import Timeouts


class Relay:
    """A backend's API made ready once: its address and key are not looked up again."""

    __slots__ = ("_base", "_headers", "_pool", "_proxy", "_ready", "fit", "refusal", "url", "usage")

    def __init__(
        self,
        base_url: str,
        pool: Callable[[], Pool],
        proxy: str | None,
        headers: Mapping[str, str],
        fit: Callable[[Mapping[str, Any], CallInfo], dict[str, Any]] | None,
        *,
        usage: bool,
        refusal: Callable[[PooledResponse], Awaitable[StatusError]],
    ) -> None:
        self.url = self._base = base_url
        self._pool, self._proxy = pool, proxy
        self._headers = dict(headers)
        self._ready: dict[str, PoolRequest] = {}
        """By path: requests to which no header of a client is added."""
        self.fit = fit
        """Makes the fields of a body, each still in JSON, those that this backend takes; ``None``: it takes any."""
        self.usage = usage
        """Whether a stream can be asked to end with its usage."""
        self.refusal = refusal
        """The error of an answer other than 2xx, with the backend's own message."""

    def takes(self, fields: Mapping[str, object]) -> bool:
        """Whether a request with these fields can go as it came, but for what ``fit`` does.

        Other vendors' opaque parts, which a client sends back, must be removed: that takes a reader of the whole request.
        """
        return self.fit is None or _FOREIGN not in bytes(fields.get("messages", b""))  # type: ignore[call-overload]  # JSON

    def ask(
        self,
        path: str,
        body: RequestBody,
        headers: Mapping[str, str],
        *,
        timeouts: Timeouts,
        provider: str,
        begun: PoolConnection | None = None,
    ) -> Awaitable[PooledResponse]:
        """The answer as soon as its head is there; to be closed. ``headers`` go along with the backend's own.

        ``begun``: where the request was sent already. Raises as ``Pool.request``.
        """
        request = self.request(path, headers, provider)
        return self._pool().send(request, body, timeouts=timeouts, provider=provider, begun=begun)

    def request(self, path: str, headers: Mapping[str, str], provider: str) -> PoolRequest:
        """What ``ask`` sends, but for the body. Raises ``BadInput``."""
        request = None if headers else self._ready.get(path)
        if request is None:
            url = path if path.startswith("https://") else self._base + path
            request = self._pool().prepared("POST", url, {**self._headers, **headers}, self._proxy, provider)
            if not headers:
                if len(self._ready) >= _MOST_READY:
                    self._ready.clear()
                self._ready[path] = request
        return request


_MOST_READY = 256
_FOREIGN = b'"pc1.'
"""How such a part begins: see ``wire/tags.py``."""
_LIMITS = (b"x-ratelimit", b"anthropic-ratelimit-", b"ratelimit-", b"ratelimitbysize-")


def rate_limits(answer: PooledResponse) -> list[tuple[bytes, bytes]]:
    """The rate limit headers, their names in lower case."""
    return rate_limits_in(answer.raw_headers)


def rate_limits_in(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Those of ``headers`` that report rate limits, with names in lower case."""
    limits = []
    for name, value in headers:
        if len(name) > 12 and name[:1] in b"xXaArR" and name.lower().startswith(_LIMITS):
            limits.append((name.lower(), value))  # a comprehension is a call of its own
    return limits

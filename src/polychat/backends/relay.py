"""Requests that are sent to a backend unchanged, because both sides use the same wire."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import StatusError

if TYPE_CHECKING:
    from ..calls.info import CallInfo
    from ..http.pool.body import RequestBody
    from ..http.pool.connection import PoolConnection
    from ..http.pool.heads import PoolRequest
    from ..http.pool.known_replies import KnownReply
    from ..http.pool.pool import Pool, PooledResponse
    from ..http.timeouts import Timeouts
    from .keys import VendorEndpoint


class Relay:
    """A backend's API, prepared once: its address and key are not looked up again."""

    __slots__ = ("_base", "_headers", "_pool", "_proxy", "_ready", "fit", "refusal", "url", "usage")
    renews: ClassVar[bool] = False
    """Whether a request must be made again for each use, because its key changes."""

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
        self._headers = headers
        self._ready: dict[str, PoolRequest] = {}
        """By path: requests without additional headers of a client."""
        self.fit = fit
        """Changes the fields of a body, each still in JSON, for this backend; ``None``: it needs no change."""
        self.usage = usage
        """Whether a stream can be requested to end with its usage."""
        self.refusal = refusal
        """Returns the error of a response other than 2xx, with the backend's own message."""

    def takes(self, fields: Mapping[str, object]) -> bool:
        """Whether a request with these fields can be sent unchanged, except by ``fit``.

        Other vendors' opaque parts, which a client returns, must be removed, which requires reading the whole request.
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
        sent_on: PoolConnection | None = None,
    ) -> Awaitable[PooledResponse]:
        """The response after its head was received; the caller closes it. ``headers`` are added to the backend's own.

        ``sent_on``: where the request was sent already. Raises as ``Pool.request``.
        """
        request = self.request(path, headers, provider)
        return self._pool().send(request, body, timeouts=timeouts, provider=provider, sent_on=sent_on)

    def request(self, path: str, headers: Mapping[str, str], provider: str) -> PoolRequest:
        """The request that ``ask`` sends, without its body. Raises ``BadInput``."""
        request = None if headers else self._ready.get(path)
        if request is None:
            url = path if path.startswith("https://") else self._base + path
            request = self._pool().prepared("POST", url, {**self._headers, **headers}, self._proxy, provider)
            if not headers:
                if len(self._ready) >= _MOST_READY:
                    self._ready.clear()
                self._ready[path] = request
        return request


class RenewedRelay(Relay):
    """A relay to a backend whose key a command gives: each request has the latest, and after 401 a new one."""

    __slots__ = ("_endpoint",)
    renews = True

    def __init__(
        self,
        endpoint: VendorEndpoint,
        base_url: str,
        pool: Callable[[], Pool],
        proxy: str | None,
        fit: Callable[[Mapping[str, Any], CallInfo], dict[str, Any]] | None,
        *,
        usage: bool,
        refusal: Callable[[PooledResponse], Awaitable[StatusError]],
    ) -> None:
        super().__init__(base_url, pool, proxy, {}, fit, usage=usage, refusal=refusal)
        self._endpoint = endpoint

    def ask(
        self,
        path: str,
        body: RequestBody,
        headers: Mapping[str, str],
        *,
        timeouts: Timeouts,
        provider: str,
        sent_on: PoolConnection | None = None,
    ) -> Awaitable[PooledResponse]:
        def send(early: PoolConnection | None) -> Awaitable[PooledResponse]:
            request = self._made(path, headers, provider)
            return self._pool().send(request, body, timeouts=timeouts, provider=provider, sent_on=early)

        return self._endpoint.renewed(send, sent_on)

    def request(self, path: str, headers: Mapping[str, str], provider: str) -> PoolRequest:
        """Raises ``NotReady`` too, while there is no token that can be used."""
        self._endpoint.check_renewed()
        return self._made(path, headers, provider)

    def _made(self, path: str, headers: Mapping[str, str], provider: str) -> PoolRequest:
        key = self._endpoint.headers()
        if key is not self._headers:
            self._ready.clear()
            self._headers = key
        return super().request(path, headers, provider)


_MOST_READY = 256
_FOREIGN = b'"pc1.'
"""The beginning of such a part: see ``wire/tags.py``."""
_LIMITS = (b"x-ratelimit", b"anthropic-ratelimit-", b"ratelimit-", b"ratelimitbysize-")


def rate_limits(answer: PooledResponse) -> list[tuple[bytes, bytes]]:
    """The rate limit headers, their names in lower case."""
    return rate_limits_in(answer.raw_headers)


def rate_limits_on(connection: PoolConnection) -> list[tuple[bytes, bytes]]:
    """Those of the reply on a connection."""
    known_reply = connection.known_reply
    return rate_limits_in(connection.headers) if known_reply is None else known_rate_limits(*known_reply)


def known_rate_limits(known: KnownReply, values: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    """Those of a reply that was recognized, with these values of its headers."""
    if (places := known.places) is None:
        places = known.places = tuple(
            (at, name.lower()) for at, name in enumerate(known.names) if name.lower().startswith(_LIMITS)
        )
    return [(name, values[at]) for at, name in places] if places else []


def rate_limits_in(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Those of ``headers`` that report rate limits, with names in lower case."""
    limits = []
    for name, value in headers:
        if len(name) > 12 and name[:1] in b"xXaArR" and name.lower().startswith(_LIMITS):
            limits.append((name.lower(), value))  # a comprehension is a separate call
    return limits

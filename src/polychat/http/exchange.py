"""One request to an API through the running loop's connection pool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType

from .pool.body import RequestBody
from .pool.pool import PooledResponse, pool
from .proxy import environment_proxy
from .timeouts import STEPS, Timeouts


class Exchange:
    """``async with`` it for the response. ``deadline`` is a time on the loop's clock.

    Without a ``proxy``, ``proxy_for`` returns the one for the URL: the environment's, as for other API clients
    (``HTTPS_PROXY``, ``NO_PROXY`` and so on), unless the caller knows it already.
    """

    __slots__ = ("_deadline", "_provider", "_proxy", "_request", "_response", "_timeouts")

    def __init__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: RequestBody | None,
        *,
        proxy: str | None = None,
        proxy_for: Callable[[str], str | None] = environment_proxy,
        timeouts: Timeouts = STEPS,
        deadline: float | None = None,
        provider: str | None = None,
    ) -> None:
        self._request = (method, url, headers, body)
        self._proxy = proxy or proxy_for(url)
        self._timeouts = timeouts
        self._deadline, self._provider = deadline, provider
        self._response: PooledResponse | None = None

    def sent(self) -> Awaitable[PooledResponse]:
        """The response; the caller closes it."""
        method, url, headers, body = self._request
        self._request = (method, url, headers, None)  # the body may be large, and the response may take long
        return pool().request(
            method,
            url,
            headers=headers,
            body=body,
            proxy=self._proxy,
            timeouts=self._timeouts,
            deadline=self._deadline,
            provider=self._provider,
        )

    async def __aenter__(self) -> PooledResponse:
        self._response = await self.sent()
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._response is not None:
            self._response.close()

"""One request to an API: by the fast path where it can go, else by the session that chat sites use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

from .proxy import environment_proxy, is_socks
from .timeouts import TIMEOUTS, Timeouts

if TYPE_CHECKING:
    from .pool.pool import Pool, PooledResponse
    from .session.response import StreamResponse
    from .session.session import StreamSession

Answer: TypeAlias = "PooledResponse | StreamResponse"

_FAST = find_spec("httptools") is not None


@cache
def _pool() -> Callable[[], Pool]:
    from .pool.pool import pool  # httptools is optional

    return pool


def fast_way(proxy: str | None) -> tuple[Callable[[], Pool], str | None] | None:
    """The running loop's pool, and the proxy it goes by; ``None`` where the fast path does not go by that proxy."""
    return None if not _FAST or is_socks(proxy) else (_pool(), proxy)


class Exchange:
    """``async with`` it for the response. ``timeouts`` and ``timeout`` are in seconds, ``deadline`` on the loop's clock.

    Without a ``proxy``, ``proxy_for`` names the one for the URL: the environment's, as other clients of APIs have it
    (``HTTPS_PROXY``, ``NO_PROXY`` and their like), unless the caller knows it already.

    SOCKS proxies, and installs without httptools (extra ``fast``), go by aiohttp: slower, and the same in all else.
    """

    __slots__ = ("_asked", "_proxy", "_response", "_session", "_timeouts", "_times")

    def __init__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        proxy: str | None = None,
        proxy_for: Callable[[str], str | None] = environment_proxy,
        timeouts: Timeouts = TIMEOUTS,
        timeout: float | None = None,
        deadline: float | None = None,
        provider: str | None = None,
    ) -> None:
        self._asked = (method, url, headers, body)
        self._proxy = proxy or proxy_for(url)
        self._timeouts = timeouts
        self._times = (timeout, deadline, provider)
        self._session: StreamSession | None = None
        self._response: Answer | None = None

    async def __aenter__(self) -> Answer:
        method, url, headers, body = self._asked
        self._asked = (method, url, headers, None)  # the body may be large, and the answer may take its time
        if not _FAST or is_socks(self._proxy):
            self._response = await self._by_session(body)
            return self._response
        timeout, deadline, provider = self._times
        self._response = await _pool()().request(
            method,
            url,
            headers=headers,
            body=body,
            proxy=self._proxy,
            timeouts=self._timeouts,
            timeout=timeout,
            deadline=deadline,
            provider=provider,
        )
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._response is not None:
            self._response.close()
        if self._session is not None:
            await self._session.close()

    async def _by_session(self, body: bytes | None) -> StreamResponse:
        from .session.session import StreamSession  # not where the fast path goes: aiohttp takes long to load

        method, url, headers, _ = self._asked
        timeout, deadline, provider = self._times
        session = StreamSession(
            timeout=timeout,
            proxy=self._proxy,
            connect_timeout=self._timeouts.connect,
            idle_timeout=self._timeouts.first,  # aiohttp's way has one clock for both, and the first piece takes longer
            deadline=deadline,
            provider=provider,
            keep_alive=True,
            redacts=True,
        )
        self._session = await session.__aenter__()
        try:
            return await session.request(method, url, headers=headers, data=body, allow_redirects=False)
        except BaseException:  # whoever fails to come in does not go out
            await session.close()
            raise

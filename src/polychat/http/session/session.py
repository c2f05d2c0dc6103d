"""Requests to chat sites: cookies, proxies, redirects and timeouts, on aiohttp."""

from __future__ import annotations

import io
from collections.abc import Coroutine, Generator, Mapping
from contextlib import AsyncExitStack
from contextvars import ContextVar
from types import TracebackType
from typing import Any, TypedDict, Unpack

import aiohttp
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

from ...errors import NotReady, PolychatError
from ...redact import Secrets, secrets_of
from ...warn import warn_caller
from ..failures import FOREIGN, FailedRequest, failure_of, proxy_answered
from ..proxy import Proxies, Proxy, socks_connector, socks_errors
from ..request import Data, OutgoingRequest, Params, body_of, sendable, url_of
from ..sending import last_check
from ..timeouts import Timeouts
from ..tls import named_tls
from .connector import kept_connector
from .redirects import MOST, NotFollowed, onward
from .response import StreamResponse
from .timer import SessionTimer

TIMEOUTS = Timeouts(connect=30.0, first=90.0, idle=90.0, total=None)
"""The defaults of a session: a site's model may think for a while, but sends something now and then."""

_LARGE = 1 << 20
"""Bytes from which on a body is given to aiohttp as a file, which it writes in pieces."""

_timer: ContextVar[SessionTimer] = ContextVar("polychat_session_timer")


class Options(TypedDict, total=False):
    """The keywords of a request."""

    params: Params | None
    headers: Mapping[str, str] | None
    """They override the session's."""
    data: Data | None
    json: Any
    timeout: float | Timeouts | None
    """``None`` means the session's."""
    allow_redirects: bool


class EarlierTimeouts(TypedDict, total=False):
    """Keywords of ``StreamSession`` before there was ``Timeouts``; each warns that it is deprecated."""

    connect_timeout: float | None
    """``timeout=Timeouts(connect=…)``"""
    idle_timeout: float | None
    """``timeout=Timeouts(first=…, idle=…)``"""


class _CheckedRequest(aiohttp.ClientRequest):
    """Looks once more whether it may be sent: to open its connection may have taken seconds."""

    async def send(self, connection: Connection) -> aiohttp.ClientResponse:
        if (check := last_check.get()) is not None:
            check()  # where it raises aiohttp closes the connection
        return await super().send(connection)


class _Answer(aiohttp.ClientResponse):
    """Tells the timer when it is connected, and aborts a connection that fails: closing it would wait for the server."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        transport = connection.transport
        _timer.get().connected()
        try:
            return await super().start(connection)
        except BaseException:
            if transport is not None:
                transport.abort()
            raise


class StreamSession:
    """Requests that share headers, cookies and proxies. An async context manager: leaving it closes everything that is open.

    ``cookies`` are sent to the origin of the session's first request only; cookies that servers set are kept by RFC 6265 and
    override them. ``proxies`` maps ``http``, ``https`` or ``all`` to the URL of a proxy, and ``proxy`` is used for any other
    scheme; the environment's proxies are not used. TLS is verified, against the system's CAs or those that ``SSL_CERT_FILE``
    and ``SSL_CERT_DIR`` name.

    ``timeout`` applies to each request with its redirects and the reading of its response: seconds in total, or ``Timeouts``,
    whose ``first`` ends with the response's head. By default connecting may take 30 seconds, and each later wait 90.
    ``deadline`` is a moment on the loop's clock, for all requests together.

    With ``keep_alive``, a connection whose response was read to its end is kept for a few seconds, for the next session of
    this event loop that sends a request to the same server in the same way.

    No error shows a credential of its request. Headers and bodies of responses are not redacted: a site's pages contain
    tokens that must be sent back.
    """

    def __init__(
        self,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        timeout: float | Timeouts | None = None,
        proxy: str | None = None,
        proxies: Mapping[str, str | None] | None = None,
        *,
        deadline: float | None = None,
        provider: str | None = None,
        keep_alive: bool = False,
        **earlier: Unpack[EarlierTimeouts],
    ) -> None:
        self._keep_alive = keep_alive
        self._kept: aiohttp.TCPConnector | None = None
        self._headers = CIMultiDict(headers or {})
        self._cookies = sendable(cookies or {})
        self._home: URL | None = None
        self._proxies = Proxies(proxy, proxies)
        self._timeouts = Timeouts.of(timeout, _with_earlier(earlier) if earlier else TIMEOUTS)
        self._deadline = deadline
        self._provider = provider
        self._stack: AsyncExitStack | None = None
        self._jar: aiohttp.CookieJar | None = None
        self._clients: dict[Proxy | None, aiohttp.ClientSession] = {}
        self._open: set[StreamResponse] = set()

    async def __aenter__(self) -> StreamSession:
        self._stack = AsyncExitStack()
        if self._keep_alive:
            self._kept = kept_connector()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every response and connection."""
        for response in list(self._open):
            response.close()
        self._clients.clear()
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    def get(self, url: str, **options: Unpack[Options]) -> PendingResponse:
        """``request`` with GET."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Unpack[Options]) -> PendingResponse:
        """``request`` with POST."""
        return self.request("POST", url, **options)

    def request(self, method: str, url: str, **options: Unpack[Options]) -> PendingResponse:
        """Ask, and get the response as soon as its head is there: ``await`` it, or use it with ``async with``.

        No status raises, but for a redirect that is not followed. Raises ``BadInput``, ``ConnectionFailed``, ``TimedOut``,
        ``BadReply``, ``StatusError``; ``NotReady`` outside the session's ``async with``.
        """
        return PendingResponse(self._open_response(method.upper(), url, options))

    async def _open_response(self, method: str, url: str, options: Options) -> StreamResponse:
        secrets: Secrets | None = None
        try:
            outgoing = self._outgoing(method, url, options)
            secrets = self._secrets_of(outgoing)
            timeout = options.get("timeout")
            timeouts = self._timeouts if timeout is None else Timeouts.of(timeout, self._timeouts)
            timer = SessionTimer(timeouts, self._deadline)
            return await self._follow(outgoing, timer, secrets, follows=options.get("allow_redirects", True))
        except PolychatError as error:
            error.provider = error.provider or self._provider
            if secrets is not None:
                secrets.error(error)
            raise

    def _secrets_of(self, outgoing: OutgoingRequest) -> Secrets | None:
        url, proxy = outgoing.url, self._proxies.of(outgoing.url.scheme)
        passwords = (url.password or url.user or "", "" if proxy is None else proxy.password.decode("latin-1"))
        return secrets_of(outgoing.headers.items(), self._cookies, passwords)

    def _outgoing(self, method: str, url: str, options: Options) -> OutgoingRequest:
        body, content_type = body_of(options.get("data"), options.get("json"))
        headers = self._headers.copy()
        headers.update(options.get("headers") or {})
        if body is not None and "Content-Type" not in headers:
            headers["Content-Type"] = content_type
        return OutgoingRequest(method, url_of(url, options.get("params")), headers, body)

    async def _follow(
        self, outgoing: OutgoingRequest, timer: SessionTimer, secrets: Secrets | None, *, follows: bool
    ) -> StreamResponse:
        for _ in range(MOST + 1):
            response = await self._exchange(outgoing, timer, secrets)
            try:
                further = onward(outgoing, response.status, response.headers.get("Location")) if follows else None
            except NotFollowed as why:
                raise self._not_followed(response, str(why)) from None
            if further is None:
                return response
            response.close()
            outgoing = further
        raise self._not_followed(response, f"it redirects more than {MOST} times")

    def _not_followed(self, response: StreamResponse, why: str) -> PolychatError:
        response.close()
        return response.error(why)

    async def _exchange(self, outgoing: OutgoingRequest, timer: SessionTimer, secrets: Secrets | None) -> StreamResponse:
        proxy = self._proxies.of(outgoing.url.scheme)
        answer = await self._send(outgoing, timer, proxy)
        if answer.status == 407 and proxy is not None and not proxy.is_socks:
            answer.close()
            raise proxy_answered(407, proxy, outgoing.url)
        if self._cookies and outgoing.url.origin() == self._home:
            for name in answer.cookies:
                self._cookies.pop(name, None)  # the jar has the server's value now
        response = StreamResponse(answer, outgoing, timer, self._open.discard, self._provider, secrets=secrets)
        self._open.add(response)
        await response.glance()
        return response

    async def _send(self, outgoing: OutgoingRequest, timer: SessionTimer, proxy: Proxy | None) -> aiohttp.ClientResponse:
        """The head of the answer to one request, redirects apart."""
        client = self._client(proxy)
        headers, proxy_headers = self._headers_for(outgoing, proxy)
        has_both = outgoing.url.user and "Authorization" in headers  # aiohttp accepts only one of them
        url = outgoing.url.with_user(None) if has_both else outgoing.url
        body = outgoing.body
        foreign = (*FOREIGN, *socks_errors()) if proxy is not None and proxy.is_socks else FOREIGN
        alarm = timer.head()
        token = _timer.set(timer)
        try:
            async with alarm:
                return await client.request(
                    outgoing.method,
                    url,
                    headers=headers,
                    data=io.BytesIO(body) if body is not None and len(body) > _LARGE else body,
                    allow_redirects=False,
                    proxy=None if proxy is None or proxy.is_socks else proxy.url,
                    proxy_headers=proxy_headers,
                    ssl=named_tls() or True,
                )
        except foreign as error:
            request = FailedRequest(outgoing.url, proxy, timer.is_connected)
            failure = timer.head_late() if alarm.expired() else failure_of(error, request)
        finally:
            _timer.reset(token)
        raise failure

    def _headers_for(self, outgoing: OutgoingRequest, proxy: Proxy | None) -> tuple[CIMultiDict[str], dict[str, str] | None]:
        """The headers for the server, and those for the proxy."""
        headers = CIMultiDict(outgoing.headers)
        if self._home is None:
            self._home = outgoing.url.origin()
        if self._cookies and outgoing.url.origin() == self._home:
            pairs = [f"{name}={value}" for name, value in self._cookies.items()]
            headers["Cookie"] = "; ".join([*headers.getall("Cookie", []), *pairs])
        if proxy is None or proxy.is_socks:
            return headers, None
        if outgoing.url.scheme == "http":
            headers.update(proxy.headers)  # the proxy reads this request; aiohttp sends proxy_headers only with CONNECT
        return headers, proxy.headers

    def _client(self, proxy: Proxy | None) -> aiohttp.ClientSession:
        """aiohttp's session: one for all but SOCKS proxies, each of which has its own connections."""
        if self._stack is None:
            raise NotReady("the session is not open: use it with `async with StreamSession(…) as session`, and inside that")
        key = proxy if proxy is not None and proxy.is_socks else None
        if key not in self._clients:
            if self._jar is None:
                # unsafe: servers without a domain name set cookies too. Unquoted: as a browser exported them.
                self._jar = aiohttp.CookieJar(unsafe=True, quote_cookie=False)
            client = aiohttp.ClientSession(
                connector=self._kept or aiohttp.TCPConnector(limit=0) if key is None else socks_connector(key),
                connector_owner=key is not None or self._kept is None,
                cookie_jar=self._jar,
                request_class=_CheckedRequest,
                response_class=_Answer,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None if key is None else self._timeouts.connect),
            )
            self._stack.push_async_callback(client.close)
            self._clients[key] = client
        return self._clients[key]


def _with_earlier(earlier: EarlierTimeouts) -> Timeouts:
    """``TIMEOUTS`` with the limits that the deprecated keywords set. Raises ``TypeError`` for any other keyword."""
    for name in earlier:
        if name not in EarlierTimeouts.__annotations__:
            raise TypeError(f"StreamSession() got an unexpected keyword argument {name!r}")
        warn_caller(f"{name} is deprecated: use timeout=Timeouts(connect=…, first=…, idle=…)", DeprecationWarning)
    idle = earlier.get("idle_timeout", TIMEOUTS.idle)
    return TIMEOUTS._replace(connect=earlier.get("connect_timeout", TIMEOUTS.connect), first=idle, idle=idle)


class PendingResponse:
    """A request that was started: ``await`` it for its response, or use ``async with``, which closes the response."""

    __slots__ = ("_response", "_start")

    def __init__(self, start: Coroutine[Any, Any, StreamResponse]) -> None:
        self._start = start

    def __await__(self) -> Generator[Any, None, StreamResponse]:
        return self._start.__await__()

    async def __aenter__(self) -> StreamResponse:
        self._response = await self._start
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._response.close()

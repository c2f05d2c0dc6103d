"""Opens connections of the pool: directly, or through an HTTP or SOCKS proxy, with TLS if required."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

from ...errors import MissingPackage, PolychatError
from ..proxy import Proxy, socks_socket
from ..timeouts import UNLIMITED
from .connecting import connect, connection_of
from .connection import PoolConnection
from .heads import URLParts

_FOREIGN = (OSError, ValueError, RuntimeError, TypeError)
"""Exceptions of connecting. ``TypeError``: Python 3.11, for an invalid certificate in TLS under TLS."""


async def opened(
    place: URLParts, proxy: Proxy | None, tls: ssl.SSLContext | None, connection: PoolConnection | None = None
) -> PoolConnection:
    """A connection for requests to ``place``. Raises ``ConnectionFailed`` and its subclasses. The caller sets timeouts.

    ``tls`` is set if ``place`` or the proxy requires it. ``connection``: what becomes the connection, where there is no proxy.
    """
    if proxy is not None and proxy.is_socks:
        return await _through_socks(place, proxy, tls)
    try:
        if proxy is None:
            return await connect(place.host, place.port, tls, connection)
        connection = await connect(proxy.host, proxy.port, tls if proxy.scheme == "https" else None)
    except _FOREIGN as error:
        failure = failure_of(error, place, proxy, at_proxy=proxy is not None)
    else:
        return await _through(connection, place, proxy, tls) if place.is_tls and tls is not None else connection
    raise failure


async def _through_socks(place: URLParts, proxy: Proxy, tls: ssl.SSLContext | None) -> PoolConnection:
    at_proxy = True
    try:
        sock = await socks_socket(proxy, place.host, place.port)
        at_proxy = False
        return await connection_of(sock, place.host, tls if place.is_tls else None)
    except MissingPackage:
        raise
    except _FOREIGN as error:
        failure = failure_of(error, place, proxy, at_proxy=at_proxy)
    raise failure


async def _through(connection: PoolConnection, place: URLParts, proxy: Proxy, tls: ssl.SSLContext) -> PoolConnection:
    """TLS with ``place``, through a connected proxy."""
    try:
        await _agreed(connection, place, proxy)
        failure = await _secured(connection, place, proxy, tls)
    except BaseException:
        _abort(connection)
        raise
    if failure is not None:
        _abort(connection)
        raise failure
    return connection


def _abort(connection: PoolConnection) -> None:
    with suppress(AttributeError):  # asyncio's own, before Python 3.11.4: TLS under TLS that has failed already
        connection.transport.abort()


async def _agreed(connection: PoolConnection, place: URLParts, proxy: Proxy) -> None:
    """Ask the proxy to connect. Raises ``ProxyFailed``."""
    to = f"{f'[{place.host}]' if ':' in place.host else place.host}:{place.port}"
    lines = [f"CONNECT {to} HTTP/1.1", f"Host: {to}", *(f"{name}: {value}" for name, value in proxy.headers.items())]
    try:
        await connection.exchange("\r\n".join([*lines, "", ""]).encode(), None, UNLIMITED, no_body=True)
        failure = None if 200 <= connection.status < 300 else refusal_of(connection.status, place, proxy)
    except _FOREIGN as error:
        failure = failure_of(error, place, proxy, at_proxy=True)
    if failure is not None:
        raise failure


async def _secured(connection: PoolConnection, place: URLParts, proxy: Proxy, tls: ssl.SSLContext) -> PolychatError | None:
    loop = asyncio.get_running_loop()
    try:
        transport = await loop.start_tls(connection.transport, connection, tls, server_hostname=place.host)
    except _FOREIGN as error:
        return failure_of(error, place, proxy)
    if transport is None:
        return failure_of(ConnectionAbortedError("the proxy closed the connection"), place, proxy)
    connection.connection_made(transport)
    return None


def failure_of(
    error: Exception, place: URLParts, proxy: Proxy | None, *, connected: bool = False, at_proxy: bool = False
) -> PolychatError:
    """``http.failures.failure_of``, imported on use: it imports aiohttp, which is slow to load and not needed without a
    failure.
    """
    from .. import failures as _failures

    return _failures.failure_of(error, _failures.FailedRequest(place.url, proxy, connected, at_proxy))


def refusal_of(status: int, place: URLParts, proxy: Proxy) -> PolychatError:
    """``http.failures.proxy_answered``, imported on use."""
    from .. import failures as _failures

    return _failures.proxy_answered(status, proxy, place.url)

"""TCP and TLS connections of the pool to a host.

What has one address is connected by the event loop itself, which costs half as much as trying several addresses in turn. A name
is looked up once for all requests that need it at that moment: a lookup has a thread of its own, of which there are few.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Any

from aiohappyeyeballs import AddrInfoType, start_connection

from ..per_loop import PerLoop
from .connection import PoolConnection

_EYEBALLS = 0.25
"""Seconds for one address before the next is tried in parallel (RFC 8305). uvloop has no such feature."""

_IPV6 = 4
"""Members of a socket's address of IPv6: host, port, flow and scope."""


async def connect(host: str, port: int, tls: ssl.SSLContext | None, connection: PoolConnection | None = None) -> PoolConnection:
    """A connection to ``host``, which is ``connection`` if there is one. Raises ``OSError`` and what TLS raises."""
    address: str = host
    if not _is_address(host):
        addresses = await _lookups().addresses(host, port)
        if len(addresses) > 1:
            sock = await start_connection(addresses, happy_eyeballs_delay=_EYEBALLS, interleave=1)
            return await connection_of(sock, host, tls, connection)
        address = _written(addresses[0][4])
    loop, made = asyncio.get_running_loop(), connection or PoolConnection()
    await loop.create_connection(lambda: made, address, port, ssl=tls, server_hostname=host if tls else None)
    return made


def _written(address: tuple[Any, ...]) -> str:
    """The host of a socket's address, with the interface that a link-local one of IPv6 is meant for."""
    host, scope = address[0], address[3] if len(address) == _IPV6 else 0
    return f"{host}%{scope}" if scope and "%" not in host else host


async def connection_of(
    sock: socket.socket, host: str, tls: ssl.SSLContext | None, connection: PoolConnection | None = None
) -> PoolConnection:
    """As ``connect``, over a socket that is connected, to ``host`` or to its proxy."""
    loop, made = asyncio.get_running_loop(), connection or PoolConnection()
    try:
        await loop.create_connection(lambda: made, sock=sock, ssl=tls, server_hostname=host if tls else None)
    except BaseException:
        sock.close()
        raise
    return made


@lru_cache(maxsize=1024)
def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class _Lookups:
    """Lookups of names that are under way in one event loop."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, int], asyncio.Task[Sequence[AddrInfoType]]] = {}
        self.closed = False

    async def addresses(self, host: str, port: int) -> Sequence[AddrInfoType]:
        """At least one. A lookup goes on if a caller is cancelled: others may wait for it."""
        key = host, port
        task = self._tasks.get(key)
        if task is None:
            self._tasks[key] = task = asyncio.create_task(_looked_up(host, port))
            task.add_done_callback(partial(self._ended, key))
        return await asyncio.shield(task)

    def _ended(self, key: tuple[str, int], task: asyncio.Task[Sequence[AddrInfoType]]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # seen: where every caller was cancelled, the loop would report it

    async def close(self) -> None:
        """The loop is being shut down."""
        self.closed = True
        for task in self._tasks.values():
            task.cancel()


async def _looked_up(host: str, port: int) -> Sequence[AddrInfoType]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


_lookups = PerLoop(_Lookups).get

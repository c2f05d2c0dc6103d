"""Connections kept between sessions: one pool an event loop, closed with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import aiohttp

IDLE = 4.0
"""Seconds a connection may lie idle and still be used. Common servers close theirs after 5 or more: ours is gone before."""


@dataclass(slots=True)
class _Pool:
    connector: aiohttp.TCPConnector
    keeper: AsyncGenerator[None, None]


_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = WeakKeyDictionary()
_lock = threading.Lock()


async def kept_connector() -> aiohttp.TCPConnector:
    """The running loop's connector. It is not the caller's to close."""
    loop = asyncio.get_running_loop()
    with _lock:
        pool = _pools.get(loop)
    if pool is None or pool.connector.closed:
        pool = _Pool(aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE), _keeping(loop))
        with _lock:
            # A pool knows its loop, so the weak key alone would not let go of one that was closed without being shut down.
            for closed in [known for known in _pools if known.is_closed()]:
                del _pools[closed]
            _pools[loop] = pool
        await anext(pool.keeper)
    return pool.connector


async def _keeping(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
    """Closes the loop's pool when the loop is shut down: `asyncio.run` closes every async generator that was begun in it."""
    try:
        yield
    finally:
        with _lock:
            pool = _pools.pop(loop, None)
        if pool is not None:
            await pool.connector.close()

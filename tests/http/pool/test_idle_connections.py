"""Connections of the pool that lie idle, and those that are closed: how long they are kept, and what is left of them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

from polychat.http.pool.connection import PoolConnection

from ...support.pool_requests import ask, json_of
from ...support.scripted_server import Say, Seen, Server

Serve = Callable[..., Awaitable[Server]]


async def test_what_is_closed_is_freed_without_the_garbage_collector(serve: Serve) -> None:
    """A connection whose reader leaves, and one that its server closes: what it holds would wait for many others."""

    async def handler(seen: Seen, say: Say) -> None:
        if seen.path == "/left":
            await say.head()
            await say.chunk(b"word\n" * 100)
            await say.gone()
        else:
            await say.whole({})
            await say.cut()

    server = await serve(handler)
    gc.collect()
    gc.disable()
    try:
        async with asyncio.timeout(60):
            await json_of(f"{server.url}/closed")
            async with await ask(f"{server.url}/left"):
                pass
            loop = asyncio.get_running_loop()
            while any(isinstance(each, PoolConnection) and each.loop is loop for each in gc.get_objects()):
                await asyncio.sleep(0)
    finally:
        gc.enable()

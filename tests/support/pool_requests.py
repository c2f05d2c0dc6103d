"""Requests through the running loop's connection pool."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from polychat.http.pool.pool import PooledResponse, pool

from .scripted_server import Say, Seen


async def echo(seen: Seen, say: Say) -> None:
    await say.whole({"path": seen.target, "method": seen.method, "body": seen.body.decode()})


async def ask(url: str, body: bytes | None = b"{}", method: str = "POST", **options: Any) -> PooledResponse:
    return await pool().request(method, url, headers=options.pop("headers", {}), body=body, **options)


async def json_of(url: str, body: bytes | None = b"{}", **options: Any) -> Any:
    """The JSON of a whole answer."""
    async with await ask(url, body, **options) as response:
        return json.loads(await response.read())


async def settled() -> None:
    """What lingers for a body's last bytes has had them."""
    while any(connection.in_use for connection in pool()._origin_of):
        await asyncio.sleep(0)

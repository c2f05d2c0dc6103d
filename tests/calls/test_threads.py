"""A stream for synchronous code, which runs in a thread of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import polychat

from ..support.running_gateway import FIRST, PATIENCE, Stage, text


async def test_a_synchronous_stream_that_is_closed_leaves_its_backend(serve: Any) -> None:
    """Whoever stops reading waits for no word more: the request is over, and its thread."""
    server = await serve(stage := Stage(FIRST, text("Hel")))

    def first() -> str:
        pieces = polychat.stream_sync("hi", model="openai/m", base_url=f"{server.url}/v1", api_key="a-long-key")
        piece = next(pieces)
        pieces.close()
        return piece

    async with asyncio.timeout(PATIENCE):
        assert await asyncio.to_thread(first) == "Hel"
        await stage.left.wait()

"""The least a gateway of ours can be: raw ASGI on our server, ``transport.pool`` as client. ``PORT UPSTREAM``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvloop

from polychat.config.settings import Limits
from polychat.http.pool.pool import pool
from polychat.http.server.protocol import ServerConnection
from polychat.http.server.state import ServerState

Message = MutableMapping[str, Any]
UPSTREAM = f"http://127.0.0.1:{sys.argv[2]}"
SENT = {"content-type": "application/json"}


async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    reply = await pool().request("POST", UPSTREAM + scope["path"], headers=SENT, body=body)
    kept = {"content-type", "content-length"}
    fields = [(name.lower().encode(), value.encode()) for name, value in reply.headers.items() if name.lower() in kept]
    await send({"type": "http.response.start", "status": reply.status, "headers": fields})
    while data := await reply.piece():
        await send({"type": "http.response.body", "body": data, "more_body": True})
    reply.close()
    await send({"type": "http.response.body", "body": b""})


async def serve() -> None:
    loop, state = asyncio.get_running_loop(), ServerState(app, Limits())
    server = await loop.create_server(lambda: ServerConnection(state, loop), "127.0.0.1", int(sys.argv[1]), backlog=2048)
    await server.serve_forever()


uvloop.run(serve())

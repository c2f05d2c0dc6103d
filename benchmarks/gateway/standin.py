"""The least a gateway of ours can be: raw ASGI on uvicorn, ``transport.pool`` as client. ``PORT UPSTREAM``."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from polychat.http.pool.pool import pool

Message = MutableMapping[str, Any]
UPSTREAM = f"http://127.0.0.1:{sys.argv[2]}"
SENT = {"content-type": "application/json"}


async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
    if scope["type"] != "http":
        return
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


uvicorn.run(
    app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning", loop="uvloop", http="httptools"
)

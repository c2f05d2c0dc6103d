"""OpenAI's chat asked with httptools and msgspec alone, on one kept connection: the floor of what Python can do.

No limits, no clocks, no verdicts, no TLS, one call at a time: the status is not looked at, and a server that never answers is
waited for without end. A program that is used adds that at least: see ``careful_httptools.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit

import httptools
import msgspec

ASKED = {"model": "m", "messages": [{"role": "user", "content": "Why is the sky blue?"}], "stream": True}
ASKED_WHOLE = {"model": "m", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.held: list[bytes] = []
        self.done = False
        self.waiting: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def begin(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.done = False

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)

    def on_body(self, body: bytes) -> None:
        self.held.append(body)

    def on_message_complete(self) -> None:
        self.done = True

    async def read(self) -> bytes:
        while not self.held and not self.done:
            self.waiting = asyncio.get_running_loop().create_future()
            await self.waiting
        data, self.held = b"".join(self.held), []
        return data


_kept: dict[str, Connection] = {}


async def sent(base: str, path: str, asked: dict[str, object]) -> Connection:
    """The connection on which the request is."""
    url = urlsplit(base)
    if url.netloc not in _kept:
        _, _kept[url.netloc] = await asyncio.get_running_loop().create_connection(Connection, url.hostname, url.port)
    connection = _kept[url.netloc]
    body = msgspec.json.encode(asked)
    connection.begin()
    head = f"POST {url.path}{path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
    connection.transport.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)  # type: ignore[attr-defined]
    return connection


async def openai(base: str) -> AsyncGenerator[str, None]:
    connection = await sent(base, "/v1/chat/completions", ASKED)
    rest = b""
    while data := await connection.read():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                text = msgspec.json.decode(line[6:])["choices"][0]["delta"].get("content")
                if text:
                    yield text


async def openai_whole(base: str) -> AsyncGenerator[str, None]:
    connection = await sent(base, "/whole/v1/chat/completions", ASKED_WHOLE)
    body = b""
    while data := await connection.read():
        body += data
    yield msgspec.json.decode(body)["choices"][0]["message"]["content"]

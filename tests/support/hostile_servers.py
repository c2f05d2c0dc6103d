"""Servers whose responses break HTTP or never end, the ways to read a response, and lists of such responses."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from polychat.events import Event, Finish, Text
from polychat.http.body import Body
from polychat.wire.reading import complete

from .proxies import listening

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HOLD, CLOSE, RESET = "hold", "close", "reset"
FOREVER = 10**9


@dataclass
class Said:
    url: str
    heard: asyncio.Event


@asynccontextmanager
async def saying(*pieces: bytes, end: str = CLOSE, times: int = 1) -> AsyncGenerator[Said, None]:
    """A server that answers any request with these pieces, the last one ``times`` over, and then closes, resets, or is silent.

    What comes after the first piece waits until ``heard`` is set.
    """
    arrived = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        first, *others = [*pieces, *([pieces[-1]] if times > 1 else [])]
        writer.write(first)
        for piece in others:
            await arrived.wait()
            writer.write(piece)
            await writer.drain()
        for _ in range(times - 2):
            writer.write(pieces[-1])
            await writer.drain()
        if end == HOLD:
            await reader.read()
        elif end == RESET:
            writer.transport.abort()

    async with listening(talk) as server:
        yield Said(server.url, arrived)


class Whole:
    """A reader for tests: all bytes are text, the end of the body is the end."""

    done = False

    def feed(self, data: bytes) -> list[Event]:
        return [Text(data.decode("latin-1"))]

    def end(self) -> list[Event]:
        self.done = True
        return [complete()]


async def by_read(response: Body) -> None:
    await response.read()


async def by_content(response: Body) -> None:
    async with aclosing(response.iter_content()) as pieces:
        async for _ in pieces:
            pass


async def by_lines(response: Body) -> None:
    async with aclosing(response.iter_lines()) as lines:
        async for _ in lines:
            pass


async def by_events(response: Body) -> None:
    last: Event | None = None
    async with aclosing(response.events(Whole())) as batches:
        async for batch in batches:
            last = batch[-1]
    assert isinstance(last, Finish)
    if last.error is not None:
        assert last.verdict == "truncated"
        raise last.error


ReadBody = Callable[[Body], Coroutine[Any, Any, None]]
READERS: list[ReadBody] = [by_read, by_content, by_lines, by_events]


def bomb(megabytes: int) -> bytes:
    """Zeros, compressed a thousandfold."""
    press = zlib.compressobj(9, wbits=31)
    head = press.compress(b"\0" * (1 << 20)) + press.flush(zlib.Z_FULL_FLUSH)
    block = press.compress(b"\0" * (1 << 20)) + press.flush(zlib.Z_FULL_FLUSH)
    return head + block * (megabytes - 1)

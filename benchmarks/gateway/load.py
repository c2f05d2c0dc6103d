"""Clients that hold streams: on one loop, each a connection, each piece counted as it arrives.

Plain requests are ``wrk``'s; this is what it cannot do: pieces, their times, clients that leave.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

PIECE = b"a word "
END = b"0\r\n\r\n"


class Failed(Exception):
    """A reply that is not what was asked for."""


class Client(asyncio.Protocol):
    """One connection; one reply at a time."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.over = asyncio.get_running_loop().create_future()
        self.lost = False
        self.why = ""
        self.begin()

    def begin(self) -> None:
        self.held = self.tail = b""
        self.reads = self.pieces = 0
        self.first = 0.0
        self.sent = time.monotonic()
        self.over = asyncio.get_running_loop().create_future()
        self.began = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self.fail("the connection was lost")

    def fail(self, why: str) -> None:
        self.why = self.why or why
        for waited in (self.over, self.began):
            if not waited.done():
                waited.set_exception(Failed(why))
                waited.exception()  # whether or not somebody asks

    def data_received(self, data: bytes) -> None:
        self.reads += 1
        if self.reads == 1 and b" 200 " not in data[:16]:
            self.fail(data[:600].decode(errors="replace"))
        joined = self.tail + data
        self.tail = joined[1 - len(PIECE) :]
        if found := joined.count(PIECE):
            if not self.pieces:
                self.first = time.monotonic()
                if not self.began.done():
                    self.began.set_result(None)
            self.pieces += found
        if self.tail.endswith(END) and not self.over.done():
            self.over.set_result(time.monotonic())

    async def ask(self, request: bytes) -> float:
        """Seconds until the reply's end."""
        self.begin()
        self.transport.write(request)
        ended: float = await self.over
        return ended - self.sent


async def connect(port: int) -> Client:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(Client, "127.0.0.1", port)
    return client


@dataclass
class Load:
    """What came of it."""

    replies: int = 0
    pieces: int = 0
    reads: int = 0
    failures: list[str] = field(default_factory=list)
    took: list[float] = field(default_factory=list)


async def repeated(port: int, request: bytes, pieces: int, *, together: int, seconds: float, most: float = 60.0) -> Load:
    """Ask again and again on ``together`` connections; every reply that was begun is heard out, within ``most`` seconds."""
    load = Load()
    until = time.monotonic() + seconds

    async def one() -> None:
        client = await connect(port)
        try:
            while time.monotonic() < until:
                load.took.append(await client.ask(request))
                load.replies += 1
                load.pieces += client.pieces
                load.reads += client.reads
                if client.pieces != pieces:
                    raise Failed(f"{client.pieces} pieces came where {pieces} were sent")
        except (Failed, OSError) as error:
            load.failures.append(str(error))
        finally:
            client.transport.abort()

    with suppress(TimeoutError):
        async with asyncio.timeout(most):
            await asyncio.gather(*(one() for _ in range(together)))
    return load


async def many(port: int, request: bytes, number: int, *, at_once: int = 100, most: float = 60.0) -> list[Client]:
    """``number`` streams, each with its first piece, or that failed, or that had none in time; ``at_once`` begin at a time."""
    end = time.monotonic() + most
    gate = asyncio.Semaphore(at_once)

    async def one() -> Client:
        async with gate:
            client = await connect(port)
            client.begin()
            client.transport.write(request)
            with suppress(Failed, TimeoutError):
                async with asyncio.timeout(max(0.0, end - time.monotonic())):
                    await client.began
            return client

    return await asyncio.gather(*(one() for _ in range(number)))


async def told(port: int, path: str) -> bytes:
    """GET of a small JSON reply with a length."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return await _answer(reader)
    finally:
        writer.close()


async def posted(port: int, path: str, body: bytes) -> bytes:
    """POST that answers with a length, however long it takes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return await _answer(reader)
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]))


async def until(true: Callable[[], Awaitable[bool]], seconds: float, every: float = 0.005) -> bool:
    """Whether it came true in time."""
    end = time.monotonic() + seconds
    while not await true():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(every)
    return True

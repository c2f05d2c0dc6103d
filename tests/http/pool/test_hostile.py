"""Servers that mean ill or are broken, for the pool alone; ``test_hostile_servers.py`` is for both clients."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest

from polychat import errors
from polychat.http.pool.pool import PooledResponse, pool
from polychat.http.timeouts import Timeouts

from ...support.corpus import splits
from ...support.hostile_servers import (
    CHUNKED,
    FOREVER,
    HOLD,
    OK,
    by_content,
    by_read,
    saying,
)
from ...support.proxies import listening


async def ask(url: str, method: str = "GET", **options: Any) -> PooledResponse:
    return await pool().request(method, url, headers={"Authorization": "Bearer SECRET"}, **options)


@pytest.mark.parametrize("extra", [b"more", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"\x00"])
@pytest.mark.parametrize("head", [OK + b"Content-Length: 2\r\n\r\nab", CHUNKED + b"2\r\nab\r\n0\r\n\r\n"])
@pytest.mark.parametrize("later", [False, True])
async def test_more_than_was_asked_for_reaches_nobody(head: bytes, extra: bytes, later: bool) -> None:
    """The reply is read, the connection closed: what came behind it is not the next one's reply."""
    count = 0
    further = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head if later else head + extra)
        if later:
            await further.wait()
            writer.write(extra)
        await reader.read()
        further.clear()

    async with listening(talk) as server, asyncio.timeout(60):
        for number in range(2):
            response = await ask(server.url)
            assert await response.read() == b"ab"
            further.set()
            while later and further.is_set():  # until the server sees that we closed
                await asyncio.sleep(0)
            assert count == number + 1


async def test_a_reset_is_no_end() -> None:
    """A body without a length ends when the server closes, not when its connection breaks."""
    further = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"\r\nab")
        await further.wait()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with listening(talk) as server, asyncio.timeout(60):
        pieces = (await ask(server.url)).iter_content()
        assert await anext(pieces) == b"ab"
        further.set()
        with pytest.raises(errors.Truncated):
            await anext(pieces)


VALID = (
    b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
    + CHUNKED[:-2]
    + b"X: y\r\n\r\n5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: z\r\n\r\n"
)


async def test_a_reply_may_be_cut_anywhere() -> None:
    """By the network, at every byte: what is before the head is skipped, the reply is the same, the connection kept."""
    pieces: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
                await asyncio.sleep(0)

    async with listening(talk) as server, asyncio.timeout(60):
        first = None
        for pieces[:] in splits(VALID):
            response = await ask(server.url)
            first = first or response._connection
            assert (response.status, dict(response.headers)) == (200, {"Transfer-Encoding": "chunked", "X": "y"})
            assert await response.read() == b"hello!"
            assert response._connection is first


async def test_answers_before_the_answer_do_not_reset_the_clock() -> None:
    """A server may say 100 Continue as often as it likes, as far as a head may go."""
    async with saying(b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, times=FOREVER) as server:
        server.heard.set()
        with pytest.raises(errors.BadReply, match="too large"):
            await ask(server.url, timeouts=Timeouts(first=5))
    async with saying(b"HTTP/1.1 100 Continue\r\n\r\n", end=HOLD) as server:
        with pytest.raises(errors.TimedOut, match="first"):
            await ask(server.url, timeouts=Timeouts(first=0.05))


@pytest.mark.parametrize("part", [CHUNKED, CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n"])
async def test_a_drip_does_not_reset_the_clock(part: bytes) -> None:
    """A byte of framing now and then is no sign of life: what is waited for is the body."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(part)
        while True:
            writer.write(b"1;" if part is CHUNKED else b"Y: z\r\n")
            await writer.drain()
            await asyncio.sleep(0.005)
            writer.write(b"x" * 10 + (b"" if part is CHUNKED else b": y\r\n"))
            await asyncio.sleep(0.005)

    async with listening(drip) as server, asyncio.timeout(60):
        response = await ask(server.url, timeouts=Timeouts(first=0.1, idle=0.1))
        with pytest.raises(errors.TimedOut) as caught:
            await by_content(response)
    assert caught.value.clock == ("first" if part is CHUNKED else "idle")


async def test_a_redirect_is_not_followed() -> None:
    """It is a status like others, and the credentials stay where they were sent."""
    async with saying(b"") as other:
        head = b"HTTP/1.1 307 X\r\nContent-Length: 0\r\nLocation: %b/?token=SECRET\r\n\r\n" % other.url.encode()
        async with saying(head) as server:
            response = await ask(server.url)
            assert (response.status, response.ok, await response.read()) == (307, False, b"")
            with pytest.raises(errors.StatusError) as caught:
                response.raise_for_status()
            assert (caught.value.status, "SECRET" in str(caught.value)) == (307, False)
        assert not other.heard.is_set()


async def test_a_refusal_has_the_retry_time_and_the_message() -> None:
    """As ``StreamSession`` tells it."""
    head = b"HTTP/1.1 429 \xff\x1b[31m\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow"
    async with saying(head) as server:
        response = await ask(server.url, provider="Mine")
        assert await response.read() == b"slow"
        error = response.error("slow down")
    assert isinstance(error, errors.RateLimited)
    assert (error.status, error.retry_after, error.provider) == (429, 7, "Mine")
    assert "slow down" in str(error)
    assert str(error).isprintable()
    page = b"<html><title>Just a moment...</title>"
    head = b"HTTP/1.1 403 X\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page)
    async with saying(head) as server:
        response = await ask(server.url)
        await response.read()
        assert isinstance(response.error(), errors.ChallengeRequired)


async def test_what_is_read_once_is_read_once() -> None:
    """A closed response says so; what was read whole can be had again."""
    async with saying(OK + b"Content-Length: 2\r\n\r\nab") as server:
        response = await ask(server.url)
        await by_read(response)
        assert await response.read() == b"ab"
        with pytest.raises(errors.NotReady):
            await by_content(response)

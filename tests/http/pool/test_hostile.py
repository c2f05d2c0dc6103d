"""Servers that mean ill or are broken, asked by the pool: each gives one of our errors, in bounded time and memory."""

from __future__ import annotations

import asyncio
import socket
import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat import errors
from polychat.http.pool.pool import PooledResponse, pool
from polychat.http.timeouts import Timeouts

from ...support.corpus import splits
from ...support.hostile_servers import (
    CHUNKED,
    CLOSE,
    FOREVER,
    HOLD,
    OK,
    RESET,
    WAYS,
    Way,
    bomb,
    by_content,
    by_read,
    saying,
)
from ...support.proxies import listening


async def ask(url: str, method: str = "GET", **options: Any) -> PooledResponse:
    return await pool().request(method, url, headers={"Authorization": "Bearer SECRET"}, **options)


HEADS = [
    pytest.param([b""], HOLD, errors.TimedOut, id="says nothing"),
    pytest.param([b""], CLOSE, errors.ConnectionFailed, id="closes at once"),
    pytest.param([b""], RESET, errors.ConnectionFailed, id="resets at once"),
    pytest.param([OK + b"Content-"], HOLD, errors.TimedOut, id="half a head, and no more"),
    pytest.param([OK + b"Content-"], CLOSE, errors.ConnectionFailed, id="half a head, and closes"),
    pytest.param([b"SSH-2.0-OpenSSH_9.6\r\n"], CLOSE, errors.BadReply, id="another protocol"),
    pytest.param([b"\x15\x03\x01\x00\x02\x02\x46"], CLOSE, errors.BadReply, id="TLS"),
    pytest.param([b"<html>hello</html>\n\n"], CLOSE, errors.BadReply, id="no head"),
    pytest.param([OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n"], CLOSE, errors.BadReply, id="a huge header"),
    pytest.param([OK + b"X: y\r\n" * 10_000 + b"\r\n"], CLOSE, errors.BadReply, id="thousands of headers"),
    pytest.param([OK + b"X: y\r\n" * 300 + b"\r\n"], CLOSE, errors.BadReply, id="hundreds of headers"),
    pytest.param([b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n"], CLOSE, errors.BadReply, id="a huge reason"),
    pytest.param([OK + b"Set-Cookie: token=SECRET\x00\r\n\r\n"], CLOSE, errors.BadReply, id="a zero in a header"),
    pytest.param([OK + b"X: y\r\n SECRET\r\n\r\n"], CLOSE, errors.BadReply, id="a folded header"),
    pytest.param([OK + b"No colon SECRET\r\n\r\n"], CLOSE, errors.BadReply, id="a header without a colon"),
    pytest.param([OK + b"Content-Length : 1\r\n\r\na"], CLOSE, errors.BadReply, id="a space before the colon"),
    pytest.param([OK + b"Content-Length: -1\r\n\r\n"], CLOSE, errors.BadReply, id="a length below nothing"),
    pytest.param([OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"], CLOSE, errors.BadReply, id="two lengths"),
    pytest.param([OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab"], CLOSE, errors.BadReply, id="a length twice"),
    pytest.param([CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n0\r\n\r\n"], CLOSE, errors.BadReply, id="both lengths"),
    pytest.param([OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n"], CLOSE, errors.BadReply, id="a coding below chunks"),
    pytest.param([OK + b"Transfer-Encoding: identity\r\n\r\n"], CLOSE, errors.BadReply, id="an unknown coding"),
    pytest.param([OK + b"Content-Encoding: compress\r\n\r\n"], CLOSE, errors.BadReply, id="an unknown compression"),
    pytest.param([OK + b"Content-Encoding: gzip, gzip\r\n\r\n"], CLOSE, errors.BadReply, id="compressed twice"),
    pytest.param([b"HTTP/1.1 999 X\r\n\r\n"], CLOSE, errors.BadReply, id="no such status"),
    pytest.param([b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"], HOLD, errors.BadReply, id="an upgrade"),
    pytest.param([b"HTTP/1.1 101 X\r\n\r\n" + OK + b"\r\n"], HOLD, errors.BadReply, id="an upgrade to nothing"),
]


@pytest.mark.parametrize(("pieces", "end", "kind"), HEADS)
async def test_instead_of_a_head(pieces: list[bytes], end: str, kind: type[errors.BackendError]) -> None:
    """No reply began: the request itself raises, shows nothing that may be secret, and keeps no connection."""
    async with saying(*pieces, end=end) as server:
        with pytest.raises(kind) as caught:
            await ask(f"{server.url}?token=SECRET", timeouts=Timeouts(first=0.1))
    assert type(caught.value) is kind
    assert "SECRET" not in str(caught.value)
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)
    assert len(str(caught.value)) < 400
    assert (pool()._count, pool()._origin_of) == (0, {})


BODIES = [
    pytest.param([CHUNKED], HOLD, errors.TimedOut, id="a head, and no more"),
    pytest.param([CHUNKED], CLOSE, errors.Truncated, id="a head, and closes"),
    pytest.param([CHUNKED, b"1\r\n\xd1\r\n"], HOLD, errors.TimedOut, id="half a letter, and no more"),
    pytest.param([CHUNKED, b"1\r\n\xd1\r\n"], CLOSE, errors.Truncated, id="half a letter, and closes"),
    pytest.param([CHUNKED, b"1\r\n\xd1\r\n"], RESET, errors.Truncated, id="half a letter, and resets"),
    pytest.param([CHUNKED, b"5\r\nab"], CLOSE, errors.Truncated, id="half a chunk"),
    pytest.param([CHUNKED, b"2\r\nab\r\nzz\r\n"], CLOSE, errors.Truncated, id="a chunk of no size"),
    pytest.param([CHUNKED, b"2\r\nabcdef\r\n"], HOLD, errors.Truncated, id="a chunk of another size"),
    pytest.param([CHUNKED, b"-2\r\nab\r\n"], HOLD, errors.Truncated, id="a chunk below nothing"),
    pytest.param([CHUNKED, b"2\nab\n0\n\n"], HOLD, errors.Truncated, id="chunks without CR"),
    pytest.param([CHUNKED, b"f" * 5000], CLOSE, errors.Truncated, id="a chunk of all sizes"),
    pytest.param([CHUNKED, b"0\r\n" + b"X: y\r\n" * 20_000], HOLD, errors.Truncated, id="endless trailers"),
    pytest.param([OK + b"Content-Length: 10\r\n\r\nabc"], CLOSE, errors.Truncated, id="less than announced"),
    pytest.param([OK + b"Content-Length: 10\r\n\r\nabc"], RESET, errors.Truncated, id="less than announced, reset"),
    pytest.param([OK + b"Content-Length: 10\r\n\r\nabc"], HOLD, errors.TimedOut, id="less than announced, held"),
    pytest.param([OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"], CLOSE, errors.Truncated, id="no gzip"),
    pytest.param([OK + b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"], CLOSE, errors.Truncated, id="no br"),
    pytest.param([OK + b"Content-Encoding: gzip\r\n\r\n" + bomb(1)[:500]], CLOSE, errors.Truncated, id="half a gzip"),
]


@pytest.mark.parametrize("read", WAYS)
@pytest.mark.parametrize(("pieces", "end", "kind"), BODIES)
async def test_instead_of_a_body(pieces: list[bytes], end: str, kind: type[errors.BackendError], read: Way) -> None:
    """The reply breaks off: every way to read it says so, and how; nobody is left with the connection."""
    async with saying(*pieces, end=end) as server, asyncio.timeout(20):
        response = await ask(server.url, timeouts=Timeouts(first=0.1, idle=0.1))
        server.heard.set()
        with pytest.raises(kind) as caught:
            await read(response)
    assert type(caught.value) is kind
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)
    assert not any(connection.in_use for connection in pool()._origin_of)


@pytest.mark.parametrize("end", [HOLD, CLOSE])
async def test_what_came_before_a_broken_chunk_is_read(end: str) -> None:
    """Though both were in the same packet."""
    async with saying(CHUNKED, b"2\r\nab\r\nzz\r\n", end=end) as server:
        pieces = (await ask(server.url)).iter_content()
        server.heard.set()
        assert await anext(pieces) == b"ab"
        with pytest.raises(errors.Truncated):
            await anext(pieces)


@pytest.mark.parametrize(
    "head", [OK + b"Content-Length: 2\r\n\r\n", OK + b"\r\n", b"HTTP/1.0 200\r\n\r\n", OK + b"Connection: close\r\n\r\n"]
)
async def test_what_is_strange_but_no_lie_is_read(head: bytes) -> None:
    """Without a length the body ends with the connection."""
    async with saying(head + b"ab") as server:
        assert await (await ask(server.url)).read() == b"ab"


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

    async with listening(talk) as server, asyncio.timeout(10):
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

    async with listening(talk) as server, asyncio.timeout(10):
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

    async with listening(drip) as server, asyncio.timeout(10):
        response = await ask(server.url, timeouts=Timeouts(first=0.1, idle=0.1))
        with pytest.raises(errors.TimedOut) as caught:
            await by_content(response)
    assert caught.value.clock == ("first" if part is CHUNKED else "idle")


async def test_a_body_that_never_ends_has_a_limit() -> None:
    """One's own, or ours; the message names it."""
    async with saying(CHUNKED, b"10000\r\n" + b"x" * 0x10000 + b"\r\n", times=FOREVER) as server:
        server.heard.set()
        with pytest.raises(errors.BadReply, match="1,000,000 bytes"):
            await (await ask(server.url)).read(limit=1_000_000)
        with pytest.raises(errors.BadReply, match="16,777,216 bytes"):
            await (await ask(server.url)).read()


@pytest.mark.parametrize("coding", ["gzip", "br"])
async def test_a_bomb_does_not_go_off(coding: str) -> None:
    """A gigabyte in a megabyte, or as bad: the limits are of what it becomes, and only so much of it is made."""
    brotli = pytest.importorskip("brotli")
    press = brotli.Compressor()
    packed = bomb(1024) if coding == "gzip" else b"".join(press.process(b"\0" * (1 << 20)) for _ in range(40)) + press.finish()
    head = OK + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding.encode(), len(packed))
    async with saying(head, packed, end=HOLD) as server:
        response = await ask(server.url)
        server.heard.set()
        tracemalloc.start()
        try:
            with pytest.raises(errors.BadReply, match="which is the limit"):
                await response.read()
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 64 << 20


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


async def test_a_refusal_tells_when_to_come_again_and_what_was_said() -> None:
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


CHANGED = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, len(CHANGED)),
    st.integers(0, 12),
    st.one_of(
        st.binary(max_size=12), st.sampled_from([b"\r\n", b"\n", b": ", b"chunked", b"gzip", b"HTTP/1.1 ", b"0\r\n\r\n"])
    ),
    st.sampled_from(WAYS),
)
def test_no_foreign_error_comes_out_of_any_answer(at: int, skip: int, new: bytes, read: Way) -> None:
    """A valid answer with a few bytes changed is read, or raises one of ours; no connection is left open."""

    async def go() -> errors.PolychatError | None:
        async with saying(CHANGED[:at] + new + CHANGED[at + skip :]) as server:
            try:
                async with await ask(server.url, timeouts=Timeouts(first=5)) as response:
                    await read(response)
            except errors.PolychatError as error:
                return error
        return None

    error = asyncio.run(go())
    assert error is None or str(error).isprintable()


async def test_what_is_read_once_is_read_once() -> None:
    """A closed response says so; what was read whole can be had again."""
    async with saying(OK + b"Content-Length: 2\r\n\r\nab") as server:
        response = await ask(server.url)
        await by_read(response)
        assert await response.read() == b"ab"
        with pytest.raises(errors.NotReady):
            await by_content(response)

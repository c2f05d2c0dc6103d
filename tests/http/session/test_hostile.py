"""Servers that mean ill or are broken: each gives one of our errors, within its clock and within our memory."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat import errors
from polychat.transport import StreamSession, Timeouts

from ...support.hostile_servers import CHUNKED, CLOSE, FOREVER, HOLD, OK, RESET, WAYS, Way, bomb, by_lines, by_read, saying


@pytest.mark.parametrize(
    ("pieces", "end", "kind"),
    [
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
        pytest.param([b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n"], CLOSE, errors.BadReply, id="a huge reason"),
        pytest.param([OK + b"Set-Cookie: token=SECRET\x00\r\n\r\n"], CLOSE, errors.BadReply, id="a zero in a header"),
        pytest.param([OK + b"No colon SECRET\r\n\r\n"], CLOSE, errors.BadReply, id="a header without a colon"),
        pytest.param([OK + b"Content-Length: -1\r\n\r\n"], CLOSE, errors.BadReply, id="a length below nothing"),
        pytest.param([OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"], CLOSE, errors.BadReply, id="two lengths"),
        pytest.param(
            [OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
            CLOSE,
            errors.BadReply,
            id="both lengths",
        ),
        pytest.param([OK + b"Content-Length: 2\r\n\r\nabmore"], CLOSE, errors.BadReply, id="more than announced"),
        pytest.param([b"HTTP/1.1 99999 X\r\n\r\n"], CLOSE, errors.BadReply, id="no such status"),
    ],
)
async def test_instead_of_a_head(pieces: list[bytes], end: str, kind: type[errors.BackendError]) -> None:
    """No reply began: the request itself raises, and shows nothing that may be secret."""
    async with saying(*pieces, end=end) as server, StreamSession(timeout=Timeouts(first=0.1, idle=0.1, total=20)) as session:
        with pytest.raises(kind) as caught:
            await session.get(server.url, params={"token": "SECRET"})
    assert type(caught.value) is kind
    assert "token=SECRET" not in str(caught.value)
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("read", WAYS)
@pytest.mark.parametrize(
    ("pieces", "end", "kind"),
    [
        pytest.param([CHUNKED], HOLD, errors.TimedOut, id="a head, and no more"),
        pytest.param([CHUNKED], CLOSE, errors.Truncated, id="a head, and closes"),
        pytest.param([CHUNKED, b"1\r\n\xd1\r\n"], HOLD, errors.TimedOut, id="half a letter, and no more"),
        pytest.param([CHUNKED, b"1\r\n\xd1\r\n"], CLOSE, errors.Truncated, id="half a letter, and closes"),
        pytest.param([CHUNKED, b"1\r\n\xd1\r\n"], RESET, errors.Truncated, id="half a letter, and resets"),
        pytest.param([CHUNKED, b"5\r\nab"], CLOSE, errors.Truncated, id="half a chunk"),
        pytest.param([CHUNKED, b"2\r\nab\r\nzz\r\n"], CLOSE, errors.Truncated, id="a chunk of no size"),
        pytest.param([CHUNKED, b"2\r\nabcdef\r\n"], HOLD, errors.Truncated, id="a chunk of another size"),
        pytest.param([CHUNKED, b"f" * 5000], CLOSE, errors.Truncated, id="a chunk of all sizes"),
        pytest.param([OK + b"Content-Length: 10\r\n\r\nabc"], CLOSE, errors.Truncated, id="less than announced"),
        pytest.param([OK + b"Content-Length: 10\r\n\r\nabc"], HOLD, errors.TimedOut, id="less than announced, held"),
        pytest.param(
            [OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"], CLOSE, errors.Truncated, id="gzip that is none"
        ),
    ],
)
async def test_instead_of_a_body(pieces: list[bytes], end: str, kind: type[errors.BackendError], read: Way) -> None:
    """The reply breaks off: every way to read it says so, and how."""
    async with saying(*pieces, end=end) as server, StreamSession(timeout=Timeouts(first=0.1, idle=0.1, total=20)) as session:
        response = await session.get(server.url)
        server.heard.set()
        with pytest.raises(kind) as caught:
            await read(response)
    assert type(caught.value) is kind
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)


@pytest.mark.parametrize("end", [HOLD, CLOSE])
async def test_what_came_before_a_broken_chunk_is_read(end: str) -> None:
    """Though both were in the same packet."""
    async with saying(CHUNKED, b"2\r\nab\r\nzz\r\n", end=end) as server, StreamSession() as session:
        pieces = (await session.get(server.url)).iter_content()
        server.heard.set()
        assert await anext(pieces) == b"ab"
        with pytest.raises(errors.Truncated):
            await anext(pieces)


@pytest.mark.parametrize("head", [OK + b"Content-Length: 2\r\n\r\n", OK + b"\r\n", b"HTTP/1.0 200\r\n\r\n"])
async def test_what_is_strange_but_no_lie_is_read(head: bytes) -> None:
    """Without a length the body ends with the connection."""
    async with saying(head + b"ab") as server, StreamSession() as session:
        assert await (await session.get(server.url)).read() == b"ab"


async def test_answers_before_the_answer_do_not_reset_the_clock() -> None:
    """A server may say 100 Continue as often as it likes: there is one clock for the head."""
    async with (
        saying(b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, times=FOREVER) as server,
        StreamSession(timeout=Timeouts(first=0.1, idle=0.1)) as session,
    ):
        server.heard.set()
        with pytest.raises(errors.TimedOut, match="first"):
            await session.get(server.url)


async def test_a_body_that_never_ends_has_a_limit() -> None:
    """One's own, or ours; the message names it."""
    async with saying(CHUNKED, b"10000\r\n" + b"x" * 0x10000 + b"\r\n", times=FOREVER) as server, StreamSession() as session:
        server.heard.set()
        with pytest.raises(errors.BadReply, match="1,000,000 bytes"):
            await (await session.get(server.url)).read(limit=1_000_000)
        with pytest.raises(errors.BadReply, match="16,777,216 bytes"):
            await (await session.get(server.url)).text()


async def test_a_line_that_never_ends_has_a_limit() -> None:
    """One's own, or ours; the message names it."""
    line = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    async with saying(CHUNKED, line, times=FOREVER) as server, StreamSession() as session:
        server.heard.set()
        with pytest.raises(errors.BadReply, match="100 bytes"):
            await anext((await session.get(server.url)).iter_lines(limit=100))
        with pytest.raises(errors.BadReply, match="8,388,608 bytes"):
            await anext((await session.get(server.url)).iter_lines())


@pytest.mark.parametrize("read", [by_read, by_lines])
async def test_a_bomb_does_not_go_off(read: Way) -> None:
    """A gigabyte in a megabyte of gzip: the limits are of what it becomes, and only so much of it is made."""
    packed = bomb(1024)
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with saying(head, packed, end=HOLD) as server, StreamSession() as session:
        response = await session.get(server.url)
        server.heard.set()
        tracemalloc.start()
        try:
            with pytest.raises(errors.BadReply):
                await read(response)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 64 << 20


async def test_a_reason_that_is_no_text_can_be_printed() -> None:
    """Whatever bytes the status line has."""
    async with saying(b"HTTP/1.1 500 \xff\xfe \x1b[31m\r\nContent-Length: 0\r\n\r\n") as server, StreamSession() as session:
        error = (await session.get(server.url)).error()
    assert str(error).encode().decode().isprintable()


VALID = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, len(VALID)),
    st.integers(0, 12),
    st.one_of(
        st.binary(max_size=12), st.sampled_from([b"\r\n", b"\n", b": ", b"chunked", b"gzip", b"HTTP/1.1 ", b"0\r\n\r\n"])
    ),
    st.sampled_from(WAYS),
)
def test_no_foreign_error_comes_out_of_any_answer(at: int, skip: int, new: bytes, read: Way) -> None:
    """A valid answer with a few bytes changed is read, or raises one of ours."""

    async def ask() -> errors.PolychatError | None:
        async with (
            saying(VALID[:at] + new + VALID[at + skip :]) as server,
            StreamSession(timeout=Timeouts(first=5, idle=5)) as session,
        ):
            try:
                async with session.get(server.url) as response:
                    await read(response)
            except errors.PolychatError as error:
                return error
        return None

    error = asyncio.run(ask())
    assert error is None or str(error).isprintable()

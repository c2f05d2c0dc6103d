"""Servers that mean ill or are broken, asked by the pool and the session: one of our errors, in bounded time and memory."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat import errors
from polychat.http.body import Body
from polychat.http.pool.pool import pool
from polychat.http.session.session import StreamSession
from polychat.http.timeouts import Timeouts

from ..support.hostile_servers import (
    CHUNKED,
    CLOSE,
    FOREVER,
    HOLD,
    OK,
    READERS,
    RESET,
    ReadBody,
    bomb,
    by_lines,
    by_read,
    saying,
)

Client: TypeAlias = Callable[[str, Timeouts], AbstractAsyncContextManager[Body]]
PATIENT, IMPATIENT = Timeouts(first=5, idle=5), Timeouts(first=0.1, idle=0.1, total=20)


@asynccontextmanager
async def by_pool(url: str, timeouts: Timeouts = PATIENT) -> AsyncGenerator[Body, None]:
    yield await pool().request("GET", url, headers={"Authorization": "Bearer SECRET"}, timeouts=timeouts)


@asynccontextmanager
async def by_session(url: str, timeouts: Timeouts = PATIENT) -> AsyncGenerator[Body, None]:
    async with StreamSession(timeout=timeouts) as session:
        yield await session.get(url)


CLIENTS: Sequence[Client] = (by_pool, by_session)
HIDDEN: dict[Client, str] = {by_pool: "SECRET", by_session: "token=SECRET"}
"""What no error shows; the session's may quote the line that could not be read."""


def asked_by(clients: Sequence[Client], cases: Sequence[Any]) -> list[Any]:
    """Each case for each of these clients."""
    return [pytest.param(client, *case.values, id=f"{client.__name__}, {case.id}") for client in clients for case in cases]


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
    pytest.param([b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n"], CLOSE, errors.BadReply, id="a huge reason"),
    pytest.param([OK + b"Set-Cookie: token=SECRET\x00\r\n\r\n"], CLOSE, errors.BadReply, id="a zero in a header"),
    pytest.param([OK + b"No colon SECRET\r\n\r\n"], CLOSE, errors.BadReply, id="a header without a colon"),
    pytest.param([OK + b"Content-Length: -1\r\n\r\n"], CLOSE, errors.BadReply, id="a length below nothing"),
    pytest.param([OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"], CLOSE, errors.BadReply, id="two lengths"),
    pytest.param([CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n0\r\n\r\n"], CLOSE, errors.BadReply, id="both lengths"),
]
HEADS_THE_POOL_REFUSES = [
    pytest.param([OK + b"X: y\r\n" * 300 + b"\r\n"], CLOSE, errors.BadReply, id="hundreds of headers"),
    pytest.param([OK + b"X: y\r\n SECRET\r\n\r\n"], CLOSE, errors.BadReply, id="a folded header"),
    pytest.param([OK + b"Content-Length : 1\r\n\r\na"], CLOSE, errors.BadReply, id="a space before the colon"),
    pytest.param([OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab"], CLOSE, errors.BadReply, id="a length twice"),
    pytest.param([OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n"], CLOSE, errors.BadReply, id="a coding below chunks"),
    pytest.param([OK + b"Transfer-Encoding: identity\r\n\r\n"], CLOSE, errors.BadReply, id="an unknown coding"),
    pytest.param([OK + b"Content-Encoding: compress\r\n\r\n"], CLOSE, errors.BadReply, id="an unknown compression"),
    pytest.param([OK + b"Content-Encoding: gzip, gzip\r\n\r\n"], CLOSE, errors.BadReply, id="compressed twice"),
    pytest.param([b"HTTP/1.1 999 X\r\n\r\n"], CLOSE, errors.BadReply, id="no such status"),
    pytest.param([b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"], HOLD, errors.BadReply, id="an upgrade"),
    pytest.param([b"HTTP/1.1 101 X\r\n\r\n" + OK + b"\r\n"], HOLD, errors.BadReply, id="an upgrade to nothing"),
]
HEADS_THE_SESSION_REFUSES = [
    pytest.param([OK + b"Content-Length: 2\r\n\r\nabmore"], CLOSE, errors.BadReply, id="more than announced"),
    pytest.param([b"HTTP/1.1 99999 X\r\n\r\n"], CLOSE, errors.BadReply, id="no such status"),
]


@pytest.mark.parametrize(
    ("client", "pieces", "end", "kind"),
    [
        *asked_by(CLIENTS, HEADS),
        *asked_by([by_pool], HEADS_THE_POOL_REFUSES),
        *asked_by([by_session], HEADS_THE_SESSION_REFUSES),
    ],
)
async def test_instead_of_a_head(client: Client, pieces: list[bytes], end: str, kind: type[errors.BackendError]) -> None:
    """No reply began: the request itself raises, shows nothing that may be secret, and keeps no connection."""
    async with saying(*pieces, end=end) as server:
        with pytest.raises(kind) as caught:
            async with client(f"{server.url}?token=SECRET", IMPATIENT):
                pass
    assert type(caught.value) is kind
    assert HIDDEN[client] not in str(caught.value)
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
    pytest.param([CHUNKED, b"f" * 5000], CLOSE, errors.Truncated, id="a chunk of all sizes"),
    pytest.param([OK + b"Content-Length: 10\r\n\r\nabc"], CLOSE, errors.Truncated, id="less than announced"),
    pytest.param([OK + b"Content-Length: 10\r\n\r\nabc"], HOLD, errors.TimedOut, id="less than announced, held"),
    pytest.param([OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"], CLOSE, errors.Truncated, id="no gzip"),
]
BODIES_THE_POOL_REFUSES = [
    pytest.param([CHUNKED, b"-2\r\nab\r\n"], HOLD, errors.Truncated, id="a chunk below nothing"),
    pytest.param([CHUNKED, b"2\nab\n0\n\n"], HOLD, errors.Truncated, id="chunks without CR"),
    pytest.param([CHUNKED, b"0\r\n" + b"X: y\r\n" * 20_000], HOLD, errors.Truncated, id="endless trailers"),
    pytest.param([OK + b"Content-Length: 10\r\n\r\nabc"], RESET, errors.Truncated, id="less than announced, reset"),
    pytest.param([OK + b"Content-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"], CLOSE, errors.Truncated, id="no br"),
    pytest.param([OK + b"Content-Encoding: gzip\r\n\r\n" + bomb(1)[:500]], CLOSE, errors.Truncated, id="half a gzip"),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("client", "pieces", "end", "kind"), [*asked_by(CLIENTS, BODIES), *asked_by([by_pool], BODIES_THE_POOL_REFUSES)]
)
async def test_instead_of_a_body(
    client: Client, pieces: list[bytes], end: str, kind: type[errors.BackendError], read: ReadBody
) -> None:
    """The reply breaks off: every way to read it says so, and how; nobody is left with the connection."""
    async with saying(*pieces, end=end) as server, asyncio.timeout(60), client(server.url, IMPATIENT) as response:
        server.heard.set()
        with pytest.raises(kind) as caught:
            await read(response)
    assert type(caught.value) is kind
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)
    assert not any(connection.in_use for connection in pool()._origin_of)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("end", [HOLD, CLOSE])
async def test_what_came_before_a_broken_chunk_is_read(client: Client, end: str) -> None:
    """Though both were in the same packet."""
    async with saying(CHUNKED, b"2\r\nab\r\nzz\r\n", end=end) as server, client(server.url, PATIENT) as response:
        pieces = response.iter_content()
        server.heard.set()
        assert await anext(pieces) == b"ab"
        with pytest.raises(errors.Truncated):
            await anext(pieces)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "head", [OK + b"Content-Length: 2\r\n\r\n", OK + b"\r\n", b"HTTP/1.0 200\r\n\r\n", OK + b"Connection: close\r\n\r\n"]
)
async def test_what_is_strange_but_no_lie_is_read(client: Client, head: bytes) -> None:
    """Without a length the body ends with the connection."""
    async with saying(head + b"ab") as server, client(server.url, PATIENT) as response:
        assert await response.read() == b"ab"


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_body_that_never_ends_has_a_limit(client: Client) -> None:
    """One's own, or ours; the message names it."""
    for limit, named in (({"limit": 1_000_000}, "1,000,000 bytes"), ({}, "16,777,216 bytes")):
        async with (
            saying(CHUNKED, b"10000\r\n" + b"x" * 0x10000 + b"\r\n", times=FOREVER) as server,
            client(server.url, PATIENT) as response,
        ):
            server.heard.set()
            with pytest.raises(errors.BadReply, match=named):
                await response.read(**limit)


@pytest.mark.parametrize(("client", "read"), [(by_pool, by_read), (by_session, by_read), (by_session, by_lines)])
@pytest.mark.parametrize("coding", ["gzip", "br"])
async def test_a_bomb_does_not_go_off(client: Client, read: ReadBody, coding: str) -> None:
    """A gigabyte in a megabyte, or as bad: the limits are of what it becomes, and only so much of it is made."""
    brotli = pytest.importorskip("brotli")
    press = brotli.Compressor()
    packed = bomb(1024) if coding == "gzip" else b"".join(press.process(b"\0" * (1 << 20)) for _ in range(40)) + press.finish()
    head = OK + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (coding.encode(), len(packed))
    async with saying(head, packed, end=HOLD) as server, client(server.url, PATIENT) as response:
        server.heard.set()
        tracemalloc.start()
        try:
            with pytest.raises(errors.BadReply, match="which is the limit" if read is by_read else None):
                await read(response)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 64 << 20


CHANGED = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize("client", CLIENTS)
@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, len(CHANGED)),
    st.integers(0, 12),
    st.one_of(
        st.binary(max_size=12), st.sampled_from([b"\r\n", b"\n", b": ", b"chunked", b"gzip", b"HTTP/1.1 ", b"0\r\n\r\n"])
    ),
    st.sampled_from(READERS),
)
def test_no_foreign_error_comes_out_of_any_answer(client: Client, at: int, skip: int, new: bytes, read: ReadBody) -> None:
    """A valid answer with a few bytes changed is read, or raises one of ours; no connection is left open."""

    async def go() -> errors.PolychatError | None:
        async with saying(CHANGED[:at] + new + CHANGED[at + skip :]) as server:
            try:
                async with client(server.url, PATIENT) as response:
                    await read(response)
            except errors.PolychatError as error:
                return error
        return None

    error = asyncio.run(go())
    assert error is None or str(error).isprintable()

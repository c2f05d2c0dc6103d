"""The pool: what it sends, and how what comes back is read."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat import errors
from polychat.events import Finish, Text
from polychat.http.coding import ACCEPTED, Decoder, decoder
from polychat.http.pool.pool import pool
from polychat.http.sending import last_check
from polychat.http.timeouts import Timeouts

from ...support.corpus import splits
from ...support.pool_requests import ask, echo, json_of, settled
from ...support.proxies import listening
from ...support.scripted_server import Say, Seen, Server, serving
from ...support.word_reader import Words

brotli = pytest.importorskip("brotli")
Serve = Callable[..., Awaitable[Server]]


# Requests


async def test_what_is_asked_arrives(serve: Serve) -> None:
    """Method, target, headers and body, with what every request has; a caller's own word goes over ours."""
    server = await serve(echo)
    answer = await json_of(f"{server.url}/v1/chat?q=a b#part", b'{"a": 1}', headers={"X-Key": "k", "User-Agent": "mine"})
    assert answer == {"path": "/v1/chat?q=a+b", "method": "POST", "body": '{"a": 1}'}
    sent = server.seen[0].headers
    assert sent["host"] == server.url.removeprefix("http://")
    assert (sent["x-key"], sent["user-agent"], sent["accept-encoding"], sent["content-length"]) == ("k", "mine", ACCEPTED, "8")
    await json_of(server.url, None, method="GET")
    assert (server.seen[1].method, server.seen[1].target) == ("GET", "/")
    assert "content-length" not in server.seen[1].headers


async def test_a_request_that_is_not_to_be_sent_after_all(serve: Serve) -> None:
    """Its server gets nothing; a connection that was used before is free for the next one."""
    server = await serve(echo)

    def check() -> None:
        raise errors.Resting("not now")

    for connections in (1, 2):
        token = last_check.set(check)
        with pytest.raises(errors.Resting):
            await ask(server.url)
        last_check.reset(token)
        await json_of(server.url)
        assert (len(server.seen), server.connections) == (connections, 2)


async def test_a_login_in_the_url_goes_as_a_header(serve: Serve) -> None:
    """Unless the caller gives another."""
    server = await serve(echo)
    url = server.url.replace("http://", "http://us%20er:p%3Aw@")
    response = await ask(url)
    assert "p%3Aw" not in str(response.error())
    assert response.headers["CONTENT-type"] == "application/json" == response.content_type
    await response.read()
    await json_of(url, headers={"authorization": "Bearer x"})
    assert [seen.headers["authorization"] for seen in server.seen] == ["Basic dXMgZXI6cDp3", "Bearer x"]


@pytest.mark.parametrize(
    ("field", "method", "url", "headers"),
    [
        ("method", "GET / HTTP/1.1\r\nX: y\r\n", "/", {}),
        ("method", "get", "/", {}),
        ("method", "CONNECT", "/", {}),
        ("headers", "GET", "/", {"X\r\nY": "z"}),
        ("headers", "GET", "/", {"X Y": "z"}),
        ("headers", "GET", "/", {"": "z"}),
        ("headers", "GET", "/", {"X": "SECRET\r\nY: z"}),
        ("headers", "GET", "/", {"X": "SECRET\nY: z"}),
        ("headers", "GET", "/", {"X": "SECRET\0"}),
        ("headers", "GET", "/", {"X": "SECRET\ud800"}),
        ("headers", "GET", "/", {"Content-Length": "7"}),
        ("headers", "GET", "/", {"transfer-encoding": "chunked"}),
        ("headers", "GET", "/", {"Connection": "upgrade"}),
    ],
)
async def test_nothing_is_smuggled_into_a_request(
    serve: Serve, field: str, method: str, url: str, headers: dict[str, str]
) -> None:
    """What would end a line, or say how long the message is, is refused before anything is sent, and not shown."""
    server = await serve(echo)
    with pytest.raises(errors.BadInput) as caught:
        await ask(server.url + url, None, method, headers=headers)
    assert caught.value.field == field
    assert "SECRET" not in str(caught.value)
    assert (server.connections, server.seen) == (0, [])


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=12), st.text(max_size=12), st.text(max_size=12))
def test_no_text_changes_the_form_of_a_request(path: str, name: str, value: str) -> None:
    """Whatever is in target, name or value: it is refused, or it arrives as one request with one header more."""

    async def go() -> None:
        async with serving(echo) as server:
            try:
                await json_of(f"{server.url}/{path}", headers={f"X-{name}": value})
            except errors.BadInput:
                assert server.seen == []
                return
            (seen,) = server.seen
            assert seen.body == b"{}"
            assert seen.headers.keys() - {"host", "accept", "accept-encoding", "user-agent", "content-length"} == {
                f"x-{name}".lower()
            }

    asyncio.run(go())


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://", "x", "http://127.0.0.1:port/"])
async def test_what_is_no_url_is_refused(url: str) -> None:
    """As bad input that names the field."""
    with pytest.raises(errors.BadInput) as caught:
        await ask(url)
    assert caught.value.field == "url"


async def test_a_large_body_arrives_whole(serve: Serve) -> None:
    """Megabytes, written as fast as the server reads."""
    server = await serve(echo)
    body = bytes(range(97, 122)) * 200_000
    assert (await json_of(server.url, body))["body"] == body.decode()
    assert (await json_of(server.url, b"x"))["body"] == "x"
    assert server.connections == 1


async def test_an_answer_before_all_was_sent_is_given() -> None:
    """413 while we still send: we stop, and the connection is not used again."""
    over = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too large\r\nContent-Length: 5\r\n\r\nlarge")
        await over.wait()

    async with listening(deaf) as server, asyncio.timeout(60):
        response = await ask(server.url, b"x" * 30_000_000, timeouts=Timeouts(idle=5))
        assert (response.status, await response.read()) == (413, b"large")
        assert not pool()._origin_of
        over.set()


async def test_a_server_that_does_not_read_has_the_idle_clock() -> None:
    """A request whose body is not taken ends with it."""
    over = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()

    async with listening(deaf) as server, asyncio.timeout(60):
        with pytest.raises(errors.TimedOut, match="idle"):
            await ask(server.url, b"x" * 30_000_000, timeouts=Timeouts(idle=0.05))
        over.set()


# Bodies


CODINGS = {"identity": bytes, "gzip": gzip.compress, "br": brotli.compress}


@pytest.mark.parametrize("coding", list(CODINGS))
@pytest.mark.parametrize("sized", [True, False])
async def test_a_body_is_read_however_it_comes(serve: Serve, coding: str, sized: bool) -> None:
    """Of known length or in chunks, compressed or not, whole or as events; the connection serves the next."""
    plain = "".join(f"word {number}\n" for number in range(20_000)).encode() + b".\n"
    packed = CODINGS[coding](plain)

    async def handler(seen: Seen, say: Say) -> None:
        headers = [("Content-Encoding", coding)]
        if sized:
            await say.whole(packed, headers=headers)
        else:
            await say.head(headers=headers)
            for start in range(0, len(packed), 1000):
                await say.chunk(packed[start : start + 1000])
            await say.last()

    server = await serve(handler)
    assert await (await ask(server.url)).read() == plain
    assert b"".join([piece async for piece in (await ask(server.url)).iter_content()]) == plain
    events = [event async for batch in (await ask(server.url)).events(Words()) for event in batch]
    assert "".join(f"{event.text}\n" for event in events if isinstance(event, Text)).encode() == plain[:-2]
    assert events[-1] == Finish("complete")
    await settled()
    assert (server.connections, len(pool()._origin_of)) == (1, 1)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_limit_is_the_most_there_may_be(serve: Serve, at_once: bool) -> None:
    """A body of just as many bytes is read, whether it came with its head or later; one more is too many."""

    async def handler(seen: Seen, say: Say) -> None:
        if at_once:
            await say.whole(b"x" * 100)
        else:
            await say.head()
            await say.chunk(b"x" * 50)
            await say.chunk(b"x" * 50)
            await say.last()

    server = await serve(handler)
    assert len(await (await ask(server.url)).read(limit=100)) == 100
    with pytest.raises(errors.BadReply, match="more than 99 bytes"):
        await (await ask(server.url)).read(limit=99)


async def test_codings_in_two_headers_are_both(serve: Serve) -> None:
    """What is compressed twice is not read as if it were compressed once."""

    async def handler(seen: Seen, say: Say) -> None:
        packed = gzip.compress(gzip.compress(b"{}"))
        await say.whole(packed, headers=[("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")])

    with pytest.raises(errors.BadReply, match="gzip, gzip"):
        await (await ask((await serve(handler)).url)).read()


@pytest.mark.parametrize("coding", ["gzip", "br"])
@pytest.mark.parametrize("plain", [b"", b"short", b"\0" * 300_000, bytes(range(256)) * 40])
def test_compressed_bytes_may_be_cut_anywhere(coding: str, plain: bytes) -> None:
    """What was compressed comes out the same at every cut, in pieces that are bounded, and its end is known."""
    packed = CODINGS[coding](plain)
    for pieces in splits(packed):
        inflate = decoder(coding.encode())
        assert inflate is not None
        out: list[bytes] = []
        for number, piece in enumerate(pieces):
            out += _drained(inflate, piece)
            assert inflate.whole == (number == len(pieces) - 1)
        assert b"".join(out) == plain
        assert max(map(len, out), default=0) <= 1 << 20


def _drained(inflate: Decoder, piece: bytes) -> list[bytes]:
    inflate.feed(piece)
    return list(iter(inflate.take, b""))


def test_gzips_after_each_other_are_one_body() -> None:
    """As RFC 1952 has it; padding after the last is no part of it."""
    packed = gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 9
    for pieces in splits(packed):
        inflate = decoder(b"gzip")
        assert inflate is not None
        assert b"".join(out for piece in pieces for out in _drained(inflate, piece)) == b"one two"
        assert inflate.whole


async def test_a_piece_is_given_when_it_comes(serve: Serve) -> None:
    """Compressed or not: nothing waits for what comes after."""
    for coding in ("identity", "gzip"):
        further = asyncio.Event()

        async def handler(seen: Seen, say: Say, coding: str = coding, further: asyncio.Event = further) -> None:
            press = zlib.compressobj(wbits=31)
            await say.head(headers=[("Content-Encoding", coding)])
            for word in (b"one\n", b"two\n"):
                await say.chunk(press.compress(word) + press.flush(zlib.Z_SYNC_FLUSH) if coding == "gzip" else word)
                await further.wait()
            await say.chunk(press.flush() if coding == "gzip" else b"")
            await say.last()

        server = await serve(handler)
        async with asyncio.timeout(60), await ask(server.url) as response:
            pieces = response.iter_content()
            assert await anext(pieces) == b"one\n"
            further.set()
            assert [piece async for piece in pieces] == [b"two\n"]


async def test_a_slow_reader_stops_the_sender(serve: Serve) -> None:
    """A gigabyte is offered; what is not read is not taken, so that memory stays flat."""
    sent = 0

    async def endless(seen: Seen, say: Say) -> None:
        nonlocal sent
        await say.head()
        while sent < 1_000_000_000:
            await say.chunk(b"x" * 100_000)
            sent += 100_000

    server, other = await serve(endless), await serve(echo)
    async with await ask(server.url) as response:
        pieces = response.iter_content()
        await anext(pieces)
        before = -1
        while before != sent:  # until the server is stuck
            before = sent
            for _ in range(20):
                await json_of(other.url)
        assert response._connection._body_size < 1 << 20
        assert sent < 50_000_000
        assert await anext(pieces)
        while before == sent:
            assert await anext(pieces)  # it goes on when we do


async def test_no_body_is_no_body() -> None:
    """HEAD, 204 and 304, whatever length they name; the connection serves the next."""
    count = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        while head := await reader.readuntil(b"\r\n\r\n"):
            status = head.split(b"/", 2)[1][:3]
            writer.write(b"HTTP/1.1 %b X\r\nContent-Length: 10\r\n\r\n" % status)

    async with listening(talk) as server, asyncio.timeout(60):
        for method, status in [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404)]:
            response = await ask(f"{server.url}/{status}", None, method)
            assert (response.status, await response.read(), response.headers["content-length"]) == (status, b"", "10")
    assert count == 1

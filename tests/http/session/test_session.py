"""What goes out and what comes back: the interface, bodies, events, TLS."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing, nullcontext
from pathlib import Path
from typing import Any

import pytest

from polychat import errors
from polychat.events import Finish, Text
from polychat.http.sending import last_check
from polychat.transport import StreamSession

from ...support import corpus, tls
from ...support.proxies import listening
from ...support.scripted_server import Say, Seen, Server
from ...support.word_reader import Words

Serve = Callable[..., Awaitable[Server]]


async def hello(seen: Seen, say: Say) -> None:
    await say.whole({"path": seen.path, "method": seen.method})


def refuse() -> None:
    raise errors.Resting("it said to come back later")


# The interface


async def test_a_request_is_awaited_or_entered(serve: Serve) -> None:
    """Both ways give the same response."""
    server = await serve(hello)
    async with StreamSession() as session:
        awaited = await session.get(f"{server.url}/a")
        assert await awaited.json() == {"path": "/a", "method": "GET"}
        async with session.post(f"{server.url}/b") as entered:
            assert await entered.json() == {"path": "/b", "method": "POST"}
        async with session.request("delete", f"{server.url}/c") as other:
            assert (await other.json())["method"] == "DELETE"


async def test_a_last_check_before_a_request_is_sent(serve: Serve) -> None:
    """What is learned while its connection is opened keeps it from being sent."""
    server = await serve(hello)
    async with StreamSession() as session:
        await session.get(f"{server.url}/a")
        for check, answers in ((lambda: None, nullcontext()), (refuse, pytest.raises(errors.Resting, match="later"))):
            token = last_check.set(check)
            with answers:
                await session.post(f"{server.url}/b", json={})
            last_check.reset(token)
    assert [seen.path for seen in server.seen] == ["/a", "/b"]


async def test_a_response_tells_what_came(serve: Serve) -> None:
    """Status, headers in any case, the cookies it sets, its content type without parameters, its URL."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(b"{}", 201, "Application/JSON; charset=utf-8", [("Set-Cookie", "a=b; Path=/"), ("X-Some", "thing")])

    server = await serve(handler)
    async with StreamSession() as session, session.get(f"{server.url}/x", params={"q": "a b"}) as response:
        assert (response.status, response.ok, response.content_type) == (201, True, "application/json")
        assert (response.headers["x-some"], response.cookies) == ("thing", {"a": "b"})
        assert response.url == f"{server.url}/x?q=a+b"
        response.raise_for_status()
    assert server.seen[0].query == {"q": "a b"}


async def test_headers_of_the_request_go_over_the_sessions(serve: Serve) -> None:
    """Names are the same in any case: nothing is sent twice."""
    server = await serve(hello)
    async with StreamSession(headers={"User-Agent": "ours", "X-Kept": "1"}) as session:
        await session.get(server.url, headers={"user-agent": "theirs"})
    assert (server.seen[0].headers["user-agent"], server.seen[0].headers["x-kept"]) == ("theirs", "1")


@pytest.mark.parametrize(
    ("options", "body", "content_type"),
    [
        ({"json": {"a": [1, "ы"]}}, b'{"a": [1, "\\u044b"]}', "application/json"),
        ({"data": {"a": "ы&", "b": 1}}, b"a=%D1%8B%26&b=1", "application/x-www-form-urlencoded"),
        ({"data": b"\x00\xff"}, b"\x00\xff", "application/octet-stream"),
        ({"data": "ы"}, "ы".encode(), "text/plain; charset=utf-8"),
        ({"data": "{}", "headers": {"content-type": "application/json"}}, b"{}", "application/json"),
        ({}, b"", "application/octet-stream"),
    ],
)
async def test_bodies(serve: Serve, options: Any, body: bytes, content_type: str) -> None:
    """JSON, a form, bytes and text go out as what they are, under a type of their own or the caller's."""
    server = await serve(hello)
    async with StreamSession() as session:
        await session.post(server.url, **options)
    assert (server.seen[0].body, server.seen[0].headers["content-type"]) == (body, content_type)


async def test_a_large_body_arrives_whole(serve: Serve) -> None:
    """Megabytes are sent as they are, without a warning."""
    server = await serve(hello)
    async with StreamSession() as session:
        await session.post(server.url, data={"prompt": "x" * 3_000_000})
    assert len(server.seen[0].body) == 3_000_007


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"json": {"a": object()}}, "json"),
        ({"json": {"a": float("nan")}}, "json"),
        ({"data": {"a": "\ud800"}}, "data"),
        ({"data": 7}, "data"),
        ({"params": {"a": object()}}, "params"),
        ({"headers": {"x": "a\r\nCookie: b"}}, "headers"),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_it_is(serve: Serve, options: Any, field: str) -> None:
    """The error names the part at fault, and nothing has reached the server."""
    server = await serve(hello)
    async with StreamSession() as session:
        with pytest.raises(errors.BadInput) as caught:
            await session.post(server.url, **options)
    assert (caught.value.field, server.seen) == (field, [])


@pytest.mark.parametrize(
    "url", ["", "chat", "ftp://127.0.0.1/", "http://", "http://:80/", "http://[::1/", "http://127.1/", "//x/"]
)
async def test_what_is_no_url_is_refused(url: str) -> None:
    """Only http and https with a host can be asked."""
    async with StreamSession() as session:
        with pytest.raises(errors.BadInput) as caught:
            await session.get(url)
    assert caught.value.field == "url"


async def test_a_session_is_used_inside_its_block(serve: Serve) -> None:
    """Before and after it there is an error that says so, and not a leak."""
    server = await serve(hello)
    session = StreamSession()
    with pytest.raises(errors.NotReady, match="async with"):
        await session.get(server.url)
    async with session:
        response = await session.get(server.url)
    with pytest.raises(errors.NotReady):
        await session.get(server.url)
    with pytest.raises(errors.NotReady, match="closed"):
        await response.read()


async def test_a_provider_is_named_in_every_error(serve: Serve) -> None:
    """Errors carry the name that the session was given."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(b"no", 500)

    server = await serve(handler)
    async with StreamSession(provider="Some") as session:
        response = await session.get(server.url)
        with pytest.raises(errors.StatusError) as status:
            response.raise_for_status()
        with pytest.raises(errors.BadReply) as reply:
            await response.json()
        with pytest.raises(errors.BadInput) as wrong:
            await session.get("")
    assert [caught.value.provider for caught in (status, reply, wrong)] == ["Some"] * 3


def test_importing_the_transport_loads_no_http_client() -> None:
    """Only touching a name does."""
    there = "'aiohttp' in sys.modules"
    code = f"import sys, polychat.transport as t; assert not {there}; t.StreamSession; assert {there}"
    subprocess.run([sys.executable, "-c", code], check=True)


# Bodies


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
async def test_lines_wherever_the_network_cuts(serve: Serve, end: bytes) -> None:
    """LF, CRLF and CR end a line, U+2028 does not, and neither does the network."""
    body = end.join(["ы".encode(), b"", b"b\xe2\x80\xa8c", b"last"])
    cuts = iter([*corpus.splits(body)])

    async def handler(seen: Seen, say: Say) -> None:
        await say.stream(next(cuts))

    server = await serve(handler)
    async with StreamSession() as session:
        for _ in range(len([*corpus.splits(body)])):
            response = await session.get(server.url)
            assert [line async for line in response.iter_lines()] == ["ы".encode(), b"", b"b\xe2\x80\xa8c", b"last"]
    assert server.connections == 1


async def test_content_comes_as_it_comes(serve: Serve) -> None:
    """A piece is there as soon as the server has sent it."""
    go = asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        await say.head()
        await say.chunk(b"first")
        await go.wait()
        await say.chunk(b"second")
        await say.last()

    server = await serve(handler)
    async with StreamSession() as session, session.get(server.url) as response:
        pieces = response.iter_content()
        assert await anext(pieces) == b"first"
        go.set()
        assert [piece async for piece in pieces] == [b"second"]


async def test_a_generator_may_be_driven_from_task_to_task(serve: Serve) -> None:
    """Each piece is asked for by another task; no clock or context belongs to the first."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.stream([b"one\n", b"two\n", b".\n"])

    server = await serve(handler)
    async with StreamSession(timeout=20) as session:
        response = await asyncio.create_task(_awaited(session.get(server.url)))
        lines = response.iter_lines()
        assert [await asyncio.create_task(anext(lines)) for _ in range(3)] == [b"one", b"two", b"."]
        await asyncio.create_task(lines.aclose())


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", "ы".encode(), "ы"),
        ("text/plain; charset=windows-1251", "ы".encode("cp1251"), "ы"),
        ('text/plain; charset="UTF-8"; x=y', "ы".encode(), "ы"),
        ("text/plain; charset=no-such", "ы".encode(), "ы"),
        ("text/plain; charset=base64", "ы".encode(), "ы"),
        ("text/plain", b"a\xd1", "a\ufffd"),
    ],
)
async def test_text_is_decoded_by_its_charset(serve: Serve, content_type: str, body: bytes, text: str) -> None:
    """The server's charset where there is such a one, else UTF-8; it never fails."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(body, content_type=content_type)

    server = await serve(handler)
    async with StreamSession() as session, session.get(server.url) as response:
        assert await response.text() == text


@pytest.mark.parametrize("body", [b"<html>token=abc", b"", b'{"a": ', b"\xff\xfe\xff", b"[" * 100_000])
async def test_json_that_is_none_shows_how_it_begins(serve: Serve, body: bytes) -> None:
    """Shortened, and without what looks like a credential. What was read stays there to be read again."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(body)

    server = await serve(handler)
    async with StreamSession() as session, session.get(server.url) as response:
        with pytest.raises(errors.BadReply, match="not JSON") as caught:
            await response.json()
        assert await response.read() == body
    assert len(str(caught.value)) < 300
    assert "abc" not in str(caught.value)
    assert caught.value.__context__ is None


# Events


async def test_events_come_a_batch_a_read(serve: Serve) -> None:
    """A chunk's events are one list; the reader's end closes the reply, whatever the server would still say."""
    left = asyncio.Event()
    go = asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        await say.head()
        await say.chunk(b"a\nb\n")
        await go.wait()
        await say.chunk(b"c\n.\nafter\n")
        await say.gone()
        left.set()

    server = await serve(handler)
    async with StreamSession() as session, session.get(server.url) as response:
        batches = []
        async with aclosing(response.events(Words())) as stream:
            async for batch in stream:
                batches.append(batch)
                go.set()
        assert batches == [[Text("a"), Text("b")], [Text("c"), Finish("complete"), Text("after")]]
        async with asyncio.timeout(60):
            await left.wait()


async def test_the_end_of_the_body_is_the_readers(serve: Serve) -> None:
    """At the end of a body without a terminator the reader says what that means."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.stream([b"a\n", b"b"])

    server = await serve(handler)
    async with StreamSession() as session, session.get(server.url) as response:
        events = [event async for batch in response.events(Words()) for event in batch]
    assert events[:2] == [Text("a"), Text("b")]
    assert isinstance(events[2], Finish)
    assert "full stop" in str(events[2].error)


async def test_a_cut_is_a_truncated_finish_after_all_that_came(serve: Serve) -> None:
    """Also what the reader still held comes before it."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.head()
        await say.chunk(b"a\nb")
        await say.cut()

    server = await serve(handler)
    async with StreamSession() as session, session.get(server.url) as response:
        events = [event async for batch in response.events(Words()) for event in batch]
    match events:
        case [Text("a"), Text("b"), Finish("truncated", None, errors.Truncated() as error)]:
            assert "was lost" in str(error)
        case _:
            pytest.fail(f"not what came: {events}")


async def test_a_slow_reader_loses_nothing_to_a_cut(serve: Serve) -> None:
    """What had come before the connection broke is read first, however late."""

    async def handler(seen: Seen, say: Say) -> None:
        if seen.path == "/cut":
            await say.head()
            await say.chunk(b"one ")
            await held.wait()
            await say.chunk(b"two ")
            await say.chunk(b"three")
            await say.cut()
            cut.set()
        else:
            await say.whole(b"")

    held, cut = asyncio.Event(), asyncio.Event()
    server = await serve(handler)
    async with StreamSession() as session, session.get(f"{server.url}/cut") as response:
        pieces = response.iter_content()
        assert await anext(pieces) == b"one "
        held.set()
        async with asyncio.timeout(60):
            await cut.wait()
        for _ in range(3):
            await session.get(server.url)  # by the time these are answered, the end of that connection has been seen
        assert await anext(pieces) == b"two three"
        with pytest.raises(errors.Truncated):
            await anext(pieces)


# TLS


async def test_a_certificate_nobody_vouches_for_is_refused(serve: Serve) -> None:
    """The error names the host, and what to do if it is one's own."""
    server = await serve(hello, tls.server_context())
    async with StreamSession() as session:
        with pytest.raises(errors.CertificateRefused, match=r"127\.0\.0\.1.*SSL_CERT_FILE"):
            await session.get(server.url)
    assert server.seen == []


async def test_a_ca_of_ones_own_is_named_in_the_environment(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """SSL_CERT_FILE is believed, and only for the names in the certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca_file(tmp_path)))
    good, other = await serve(hello, tls.server_context()), await serve(hello, tls.server_context("chat.example"))
    async with StreamSession() as session:
        assert (await session.get(good.url)).ok
        with pytest.raises(errors.CertificateRefused, match=r"127\.0\.0\.1"):
            await session.get(other.url)


async def test_http_where_https_was_asked_for() -> None:
    """It is no certificate's fault, and says so."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async with listening(plain, "https") as server, StreamSession() as session:
        with pytest.raises(errors.ConnectionFailed, match="does it use https at all") as caught:
            await session.get(server.url)
    assert not isinstance(caught.value, errors.CertificateRefused)

"""Requests and replies: what goes out, what comes back, what is kept, and what is closed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from polychat import errors
from polychat.events import Event, Finish, Text
from polychat.transport import StreamSession
from polychat.transport.statuses import retry_after, status_error, wall_of
from polychat.wire.framing import Lines
from polychat.wire.reading import complete, truncated

from .furniture import corpus, tls
from .furniture.proxies import listening
from .furniture.server import Handler, Say, Seen, Server, serving

Serve = Callable[..., Awaitable[Server]]


async def hello(seen: Seen, say: Say) -> None:
    await say.whole({"path": seen.path, "method": seen.method})


class Words:
    """A reader for tests: a line is a word, ``.`` is the end."""

    def __init__(self) -> None:
        self.done = False
        self._lines = Lines()

    def feed(self, data: bytes) -> list[Event]:
        return self._read(self._lines.feed(data))

    def end(self) -> list[Event]:
        return [*self._read(self._lines.end()), *([] if self.done else [truncated("there was no full stop")])]

    def _read(self, lines: list[bytes]) -> list[Event]:
        self.done = self.done or b"." in lines
        return [complete() if line == b"." else Text(line.decode()) for line in lines]


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
        async with asyncio.timeout(10):
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
            assert "broke off" in str(error)
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
        async with asyncio.timeout(10):
            await cut.wait()
        for _ in range(3):
            await session.get(server.url)  # by the time these are answered, the end of that connection has been seen
        assert await anext(pieces) == b"two three"
        with pytest.raises(errors.Truncated):
            await anext(pieces)


# Statuses


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.Unauthorized),
        (403, errors.Unauthorized),
        (429, errors.RateLimited),
        (404, errors.StatusError),
        (500, errors.StatusError),
        (304, errors.StatusError),
    ],
)
async def test_a_status_is_our_error_and_aiohttps(serve: Serve, status: int, kind: type[errors.StatusError]) -> None:
    """Code that catches either sees the status."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.raw(b"HTTP/1.1 %d Some reason\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n" % status)

    server = await serve(handler)
    async with StreamSession() as session, session.get(server.url) as response:
        with pytest.raises(aiohttp.ClientResponseError) as caught:
            response.raise_for_status()
    assert isinstance(caught.value, kind)
    assert isinstance(caught.value, RuntimeError)
    assert (caught.value.status, caught.value.retry_after) == (status, 7)
    assert str(caught.value) == f"127.0.0.1 answered {status} Some reason (come again in 7 s)" == caught.value.message


async def test_a_status_error_shows_no_secrets(serve: Serve) -> None:
    """Neither its text nor its parts hold a query, a user, a cookie, an authorization, or a header that may be one of these."""

    async def handler(seen: Seen, say: Say) -> None:
        secret = [
            ("Set-Cookie", "sid=SECRET"),
            ("X-WP-Nonce", "SECRET"),
            ("Location", "/?t=SECRET"),
            ("X-RateLimit-Tokens", "9"),
        ]
        await say.whole(b"", 403, headers=secret)

    server = await serve(handler)
    url = server.url.replace("//", "//user:SECRET@")
    async with StreamSession(headers={"X-Api-Key": "SECRET", "Accept": "x/y"}, cookies={"sid": "SECRET"}) as session:
        response = await session.get(url, params={"token": "SECRET"})
        error = response.error("the nonce did not hold")
    assert "SECRET" not in f"{error} {error!r} {error.request_info} {error.headers} {error.__dict__}"
    assert (error.headers["x-ratelimit-tokens"], error.request_info.headers["accept"]) == ("9", "x/y")
    assert str(error).endswith("the nonce did not hold")
    assert server.seen[0].headers["authorization"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}, 30),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT", "Date": "Wed, 21 Oct 2015 07:27:00 GMT"}, 90),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:30"}, 30),
        ({"Retry-After": "Wed, 21 Oct 2015 07:00:00 GMT"}, 0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """A number, or a date counted from the answer's own date, else from now; nonsense is not known."""
    at = 1445412480.0  # Wed, 21 Oct 2015 07:28:00 GMT
    assert retry_after(headers, at) == seconds


@pytest.mark.parametrize(
    ("status", "headers", "body", "wall"),
    [
        (403, {"cf-mitigated": "challenge"}, b"", "Cloudflare"),
        (403, {}, b"<title>Just a moment...</title>", "Cloudflare"),
        (503, {}, b"<script src=/cdn-cgi/challenge-platform/h/b>", "Cloudflare"),
        (429, {}, b"<script src=https://geo.captcha-delivery.com/x>", "DataDome"),
        (403, {}, b'<div class="g-recaptcha">', "captcha"),
        (403, {"x-amzn-waf-action": "captcha"}, b"", "AWS WAF"),
        (200, {}, b"<title>Just a moment...</title>", None),
        (403, {}, b"<p>Your nonce has expired", None),
    ],
)
def test_a_bot_wall_is_known_by_header_or_page(status: int, headers: dict[str, str], body: bytes, wall: str | None) -> None:
    """What a model writes about walls in a good answer is none, and a plain refusal is a refusal."""
    assert wall_of(status, headers, body) == wall


def test_a_challenge_says_what_to_do() -> None:
    """In a browser, and then with its cookies."""
    error = status_error(403, "Forbidden", URL("https://chat.example/api?token=SECRET"), {"cf-mitigated": "challenge"})
    assert isinstance(error, errors.ChallengeRequired)
    assert isinstance(error, aiohttp.ClientResponseError)
    assert "open https://chat.example/ in a browser" in str(error)
    assert "cookies=" in str(error)


@pytest.mark.parametrize("ends", [True, False])
async def test_a_wall_page_is_seen_and_still_there_to_read(serve: Serve, ends: bool) -> None:
    """Also one that is never sent to its end, within the clocks."""
    page = b"<html><title>Just a moment...</title>"

    async def handler(seen: Seen, say: Say) -> None:
        await say.head(503)
        await say.chunk(page)
        await (say.last() if ends else say.gone())

    server = await serve(handler)
    async with StreamSession(idle_timeout=10 if ends else 0.05) as session, session.get(server.url) as response:
        with pytest.raises(errors.ChallengeRequired):
            response.raise_for_status()
        if ends:
            assert await response.read() == page
        else:
            pieces = response.iter_content()
            assert await anext(pieces) == page
            with pytest.raises(errors.TimedOut):
                await anext(pieces)


# Redirects


def to(status: int, location: str) -> Handler:
    """Sends ``/`` on; answers all else."""

    async def handler(seen: Seen, say: Say) -> None:
        if seen.path == "/":
            await say.whole(b"", status, headers=[("Location", location), ("Set-Cookie", "hop=1; Path=/")])
        else:
            await hello(seen, say)

    return handler


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_get_is_followed(serve: Serve, status: int) -> None:
    """To a place beside it or elsewhere on the server; cookies of the first answer go along."""
    server = await serve(to(status, "there?a=b"))
    async with StreamSession() as session, session.get(f"{server.url}/", headers={"X-Api": "1"}) as response:
        assert (response.ok, response.url) == (True, f"{server.url}/there?a=b")
    assert [seen.target for seen in server.seen] == ["/", "/there?a=b"]
    assert server.seen[1].headers["cookie"] == "hop=1"
    assert server.seen[1].headers["x-api"] == "1"


@pytest.mark.parametrize(("status", "method", "body"), [(303, "GET", b""), (307, "POST", b"a=b"), (308, "POST", b"a=b")])
async def test_a_post_goes_on_where_that_is_safe(serve: Serve, status: int, method: str, body: bytes) -> None:
    """303 means: fetch the result; 307 and 308 mean: ask again there."""
    server = await serve(to(status, "/there"))
    async with StreamSession() as session, session.post(f"{server.url}/", data={"a": "b"}) as response:
        assert response.ok
    assert (server.seen[1].method, server.seen[1].body) == (method, body)
    assert ("content-type" in server.seen[1].headers) == bool(body)


@pytest.mark.parametrize("status", [301, 302])
async def test_a_post_is_not_made_a_get(serve: Serve, status: int) -> None:
    """The question would be lost: the error says where the service has gone, without the query."""
    server = await serve(to(status, "http://localhost:1/there?token=SECRET"))
    async with StreamSession() as session:
        with pytest.raises(errors.StatusError, match="http://localhost:1/there") as caught:
            await session.post(f"{server.url}/", data={"a": "b"})
    assert caught.value.status == status
    assert "SECRET" not in str(caught.value)
    assert len(server.seen) == 1


async def test_a_redirect_is_given_as_it_is_where_that_is_asked_for(serve: Serve) -> None:
    """With ``allow_redirects=False``, and where it leads nowhere."""
    server = await serve(to(302, "/there"))
    async with StreamSession() as session, session.get(f"{server.url}/", allow_redirects=False) as response:
        assert (response.status, response.ok, response.headers["location"]) == (302, False, "/there")
    server = await serve(to(302, ""))
    async with StreamSession() as session, session.get(f"{server.url}/") as response:
        assert response.status == 302


async def test_nothing_secret_goes_to_another_origin(serve: Serve) -> None:
    """Authorization, cookies given and headers of one's own stay where they were meant for."""
    other = await serve(hello)
    server = await serve(to(307, f"{other.url}/there"))
    headers = {
        "Authorization": "SECRET",
        "X-Api-Key": "SECRET",
        "Cookie": "x=SECRET",
        "Referer": "http://SECRET",
        "Accept": "a/b",
    }
    async with StreamSession(headers=headers, cookies={"sid": "SECRET"}) as session:
        assert (await session.post(f"{server.url}/", json={})).ok
    assert str(server.seen[0].headers).count("SECRET") == 5
    assert "SECRET" not in str(other.seen)
    assert (other.seen[0].headers["accept"], other.seen[0].headers["content-type"]) == ("a/b", "application/json")


async def test_a_user_in_a_redirect_is_not_sent(serve: Serve) -> None:
    """A server cannot make us log in elsewhere."""
    other = await serve(hello)
    server = await serve(to(302, other.url.replace("//", "//user:password@") + "/there"))
    async with StreamSession() as session, session.get(f"{server.url}/") as response:
        assert response.ok
    assert "authorization" not in other.seen[0].headers


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "http://[/", "javascript:alert(1)"])
async def test_a_redirect_to_no_http_address_is_refused(serve: Serve, location: str) -> None:
    """It ends there, with the status that said so."""
    server = await serve(to(302, location))
    async with StreamSession() as session:
        with pytest.raises(errors.StatusError, match="no http address"):
            await session.get(f"{server.url}/")


async def test_a_circle_of_redirects_ends(serve: Serve) -> None:
    """Ten are followed."""
    server = await serve(to(302, "/"))
    async with StreamSession() as session:
        with pytest.raises(errors.StatusError, match="11th"):
            await session.get(f"{server.url}/")
    assert len(server.seen) == 11


async def test_https_is_not_left_for_http(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor does a request to it go out."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca_file(tmp_path)))
    plain = await serve(hello)
    server = await serve(to(302, f"{plain.url}/there"), tls.server_context())
    async with StreamSession() as session:
        with pytest.raises(errors.StatusError, match="from https to http"):
            await session.get(f"{server.url}/")
    assert plain.seen == []


# Cookies


async def test_given_cookies_go_to_the_first_origin_only(serve: Serve) -> None:
    """As they are, to every request there, and never to another port, name or scheme."""
    server, other = await serve(hello), await serve(hello)
    async with StreamSession(cookies={"a": 'b"= /,c', "d": "e"}) as session:
        await session.get(server.url)
        await session.get(f"{server.url}/again")
        await session.get(other.url)
        await session.get(server.url.replace("127.0.0.1", "localhost"))
    assert [seen.headers.get("cookie") for seen in server.seen] == ['a=b"= /,c; d=e', 'a=b"= /,c; d=e', None]
    assert "cookie" not in other.seen[0].headers


async def test_what_a_server_sets_is_kept_and_goes_over_what_was_given(serve: Serve) -> None:
    """For its own host, by path, and until it takes it back."""
    answers = iter(["a=new; Path=/", "b=2; Path=/deep", "c=gone; Path=/; Max-Age=0"])

    async def handler(seen: Seen, say: Say) -> None:
        cookie = next(answers, None)
        await say.whole(b"", headers=[("Set-Cookie", cookie)] if cookie else [])

    server = await serve(handler)
    async with StreamSession(cookies={"a": "old", "c": "x"}) as session:
        for path in ("/1", "/2", "/3", "/deep/4", "/5"):
            await session.get(server.url + path)
        await session.get(server.url.replace("127.0.0.1", "localhost"))
    sent = [sorted(seen.headers.get("cookie", "").split("; ")) for seen in server.seen]
    assert sent == [["a=old", "c=x"], ["a=new", "c=x"], ["a=new", "c=x"], ["a=new", "b=2"], ["a=new"], [""]]


async def test_a_cookie_for_another_host_is_not_taken(serve: Serve) -> None:
    """A server sets cookies for itself alone."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(
            b"", headers=[("Set-Cookie", "a=b; Domain=chat.example; Path=/"), ("Set-Cookie", "c=d; Secure; Path=/")]
        )

    server = await serve(handler)
    async with StreamSession() as session:
        await session.get(server.url)
        await session.get(server.url)
    assert "cookie" not in server.seen[1].headers


@pytest.mark.parametrize("cookies", [{"a": "b; c=d"}, {"a": "b\r\nX: y"}, {"": "b"}, {"a=b": "c"}, {"a b": "c"}])
def test_a_cookie_that_is_no_cookie_is_refused(cookies: dict[str, str]) -> None:
    """The error does not show it."""
    with pytest.raises(errors.BadInput) as caught:
        StreamSession(cookies=cookies)
    assert caught.value.field == "cookies"


# Clocks


async def silent(seen: Seen, say: Say) -> None:
    await say.gone()


async def test_the_head_has_the_idle_clock(serve: Serve) -> None:
    """A server that takes the request and says nothing."""
    server = await serve(silent)
    async with StreamSession(idle_timeout=0.05, timeout=20) as session:
        with pytest.raises(errors.TimedOut) as caught:
            await session.get(server.url)
    assert (caught.value.clock, caught.value.seconds) == ("idle", 0.05)


async def test_the_body_has_the_idle_clock(serve: Serve) -> None:
    """What came is given; then the error."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.head()
        await say.chunk(b"a\n")
        await say.gone()

    server = await serve(handler)
    async with StreamSession(idle_timeout=0.05) as session:
        response = await session.get(server.url)
        lines = response.iter_lines()
        assert await anext(lines) == b"a"
        with pytest.raises(errors.TimedOut, match="idle"):
            await anext(lines)
        response = await session.get(server.url)
        events = [event async for batch in response.events(Words()) for event in batch]
    match events:
        case [Text("a"), Finish("truncated", None, errors.TimedOut(clock="idle"))]:
            pass
        case _:
            pytest.fail(f"not what came: {events}")


async def test_the_total_clock_ends_a_reply_that_never_ends(serve: Serve) -> None:
    """Bytes keep coming; that does not help. The server is rid of us."""
    left = asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        try:
            await say.head()
            while True:
                await say.chunk(b"word\n" * 50_000)
        finally:
            left.set()

    server = await serve(handler)
    async with asyncio.timeout(10), StreamSession(timeout=0.1) as session:
        with pytest.raises(errors.TimedOut) as caught:
            async with session.get(server.url) as response:
                async for _ in response.iter_content():
                    pass
        await left.wait()
    assert (caught.value.clock, caught.value.seconds) == ("total", 0.1)


async def test_a_requests_timeout_is_in_place_of_the_sessions(serve: Serve) -> None:
    """For that request, its redirects and its head."""
    server = await serve(silent)
    async with StreamSession(timeout=60) as session:
        with pytest.raises(errors.TimedOut) as caught:
            await session.get(server.url, timeout=0.05)
    assert (caught.value.clock, caught.value.seconds) == ("total", 0.05)


async def test_a_connection_has_the_connect_clock() -> None:
    """TLS with a server that does not answer it is no connection yet."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(mute, "https") as server, StreamSession(connect_timeout=0.05) as session:
        with pytest.raises(errors.TimedOut) as caught:
            await session.get(server.url)
    assert (caught.value.clock, caught.value.seconds) == ("connect", 0.05)


async def test_the_deadline_bounds_all_requests(serve: Serve) -> None:
    """One that is past sends nothing; one that comes ends the request it finds."""
    server = await serve(silent)
    now = asyncio.get_running_loop().time()
    async with StreamSession(deadline=now + 0.1) as session:
        for _ in range(2):
            with pytest.raises(errors.TimedOut, match="total"):
                await session.get(server.url)
    assert len(server.seen) == 1


async def test_no_clock_runs_while_the_caller_is_elsewhere(serve: Serve) -> None:
    """A caller that takes longer over a piece than the server may take for the next is not late."""

    async def handler(seen: Seen, say: Say) -> None:
        if seen.path == "/silent":
            await say.gone()
        await say.head()
        await say.chunk(b"one")
        await go.wait()
        await say.chunk(b"two")
        await say.last()

    go = asyncio.Event()
    server = await serve(handler)
    async with StreamSession(idle_timeout=0.05) as session, session.get(server.url) as response:
        pieces = response.iter_content()
        assert await anext(pieces) == b"one"
        for _ in range(3):
            with pytest.raises(errors.TimedOut):  # this is how time passes here
                await session.get(f"{server.url}/silent")
        go.set()
        assert [piece async for piece in pieces] == [b"two"]


async def test_a_reply_that_came_in_time_may_be_read_late(serve: Serve) -> None:
    """The total clock does not take from the caller what had come whole."""

    async def handler(seen: Seen, say: Say) -> None:
        await (say.gone() if seen.path == "/silent" else say.whole(b"whole"))

    server = await serve(handler)
    async with StreamSession(timeout=0.1) as session:
        response = await session.get(server.url)
        with pytest.raises(errors.TimedOut):
            await session.get(f"{server.url}/silent")
        assert await response.text() == "whole"


# Closing


@pytest.mark.parametrize("path", ["/head", "/body"])
async def test_a_cancelled_callers_connection_is_closed(serve: Serve, path: str) -> None:
    """The server sees it, whether it has answered or not; the session goes on."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        if seen.path == "/body":
            await say.head()
            await say.chunk(b"x")
        if seen.path != "/":
            asked.set()
            await say.gone()
            left.set()
        else:
            await say.whole(b"")

    async def read() -> None:
        async with session.get(server.url + path) as response:
            await response.read()

    server = await serve(handler)
    async with StreamSession() as session, asyncio.timeout(10):
        task = asyncio.create_task(read())
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await left.wait()
        assert (await session.get(server.url)).ok


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("how", ["generator", "response", "session"])
async def test_leaving_early_closes_the_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str, secure: bool
) -> None:
    """By closing the generator, the response, or the session around them; over TLS too."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca_file(tmp_path)))
    left = asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        await say.head()
        await say.chunk(b"x")
        try:
            await say.gone()
        finally:
            left.set()

    server = await serve(handler, tls.server_context() if secure else None)
    async with asyncio.timeout(10):
        async with StreamSession() as session:
            response = await session.get(server.url)
            pieces = response.iter_content()
            assert await anext(pieces) == b"x"
            if how == "generator":
                await pieces.aclose()
                await left.wait()
            elif how == "response":
                response.close()
                await left.wait()
        await left.wait()
        await pieces.aclose()


async def test_a_server_that_does_not_read_holds_nobody_up() -> None:
    """A request whose body is not taken ends with its clock, and leaving the session does not wait for it."""
    over = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()
        writer.transport.abort()

    async with listening(deaf) as server, asyncio.timeout(10):
        async with StreamSession(idle_timeout=0.05) as session:
            with pytest.raises(errors.TimedOut, match="idle"):
                await session.post(server.url, data=b"x" * 30_000_000)
        over.set()


async def test_a_connection_is_used_again(serve: Serve) -> None:
    """For the next request of the session, where the last body came whole, read or not."""
    server = await serve(hello)
    async with StreamSession() as session:
        for _ in range(3):
            async with session.get(server.url) as response:
                assert response.ok
            await (await session.get(server.url)).read()
    assert (server.connections, len(server.seen)) == (1, 6)


def test_two_loops_in_two_threads_do_not_meet() -> None:
    """Each with sessions of its own, at the same time."""
    meet = threading.Barrier(2, timeout=20)
    failures: list[BaseException] = []

    async def ask(name: str) -> None:
        async def handler(seen: Seen, say: Say) -> None:
            await say.whole({"cookie": seen.headers.get("cookie", "")}, headers=[("Set-Cookie", f"set={name}; Path=/")])

        async with serving(handler) as server, StreamSession(cookies={"given": name}, timeout=20) as session:
            meet.wait()
            for _ in range(20):
                response = await session.get(server.url)
            assert sorted((await response.json())["cookie"].split("; ")) == [f"given={name}", f"set={name}"]

    def run(name: str) -> None:
        try:
            asyncio.run(ask(name))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


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
        with pytest.raises(errors.ConnectionFailed, match="is it https at all") as caught:
            await session.get(server.url)
    assert not isinstance(caught.value, errors.CertificateRefused)

"""What an answer makes the session do: errors of a status, redirects, cookies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from polychat import errors
from polychat.http.statuses import retry_after, status_error, wall_of
from polychat.transport import StreamSession, Timeouts

from ...support import tls
from ...support.scripted_server import Handler, Say, Seen, Server

Serve = Callable[..., Awaitable[Server]]


async def hello(seen: Seen, say: Say) -> None:
    await say.whole({"path": seen.path, "method": seen.method})


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
    assert str(caught.value) == f"127.0.0.1 answered {status} Some reason (retry after 7 s)" == caught.value.message


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


async def test_a_status_error_survives_copying_and_pickling(serve: Serve) -> None:
    """With all that it knows."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(b"", 429, headers=[("Retry-After", "3")])

    server = await serve(handler)
    async with StreamSession(provider="Some") as session:
        error = (await session.get(server.url)).error("too fast")
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(twin), str(twin), twin.__dict__) == (type(error), str(error), error.__dict__)


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


def test_the_error_of_a_challenge_names_the_next_step() -> None:
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
    async with (
        StreamSession(timeout=Timeouts(first=10 if ends else 0.05, idle=10 if ends else 0.05)) as session,
        session.get(server.url) as response,
    ):
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
    """It ends there, with that status."""
    server = await serve(to(302, location))
    async with StreamSession() as session:
        with pytest.raises(errors.StatusError, match="http URL"):
            await session.get(f"{server.url}/")


async def test_a_circle_of_redirects_ends(serve: Serve) -> None:
    """Ten are followed."""
    server = await serve(to(302, "/"))
    async with StreamSession() as session:
        with pytest.raises(errors.StatusError, match="more than 10 times"):
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

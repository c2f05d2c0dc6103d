"""Aichat: the question, the reply, whose cookies go where, and its answering half."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from polychat import errors
from polychat.events import Event, Finish, Text
from polychat.gateway.sites import Sites, echo
from polychat.providers import Aichat
from polychat.providers.aichat import AichatSite, question, read, root_of
from polychat.wire.answering import Request, Response, SiteRequest
from polychat.wire.reading import complete, failed, truncated

from ..support.scripted_server import Say, Seen, Server
from ..support.scripted_sites import answering, written_reply
from ..support.sites_application import running

HELLO = [{"role": "user", "content": "Hello, как дела?"}]
COOKIES = {"cookie_name": "cookie_value"}


def replying(body: Any, status: int = 200) -> Any:
    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(body, status)

    return handler


async def test_the_request_of_the_seed(serve: Any) -> None:
    """One POST of JSON to /api/text with the seed's fields and its browser-like headers, and the caller's cookies."""
    server: Server = await serve(replying({"response": True, "message": "I am well"}))
    kwargs: dict[str, Any] = {"temperature": 0.7, "top_p": 0.9, "cookies": COOKIES}
    assert await Aichat.create_async("gpt-3.5-turbo", HELLO, None, base_url=server.url, **kwargs) == "I am well"
    [seen] = server.seen
    assert (seen.method, seen.target) == ("POST", "/api/text")
    assert seen.json == {
        "message": "Hello, как дела?",
        "temperature": 0.7,
        "presence_penalty": 0,
        "top_p": 0.9,
        "frequency_penalty": 0,
    }
    host = server.url.removeprefix("http://")
    assert {name: seen.headers[name] for name in EXPECTED} == {
        **EXPECTED,
        "authority": host,
        "origin": server.url,
        "referer": f"{server.url}/chat",
    }
    assert {"accept-language", "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform"} <= set(seen.headers)
    assert "Chrome/" in seen.headers["user-agent"]
    assert seen.headers["cookie"] == "cookie_name=cookie_value"


EXPECTED = {
    "authority": "chat-gpt.org",
    "accept": "*/*",
    "content-type": "application/json",
    "origin": "https://chat-gpt.org",
    "referer": "https://chat-gpt.org/chat",
    "sec-fetch-dest": "empty",
    "sec-fetch-mode": "cors",
    "sec-fetch-site": "same-origin",
}


async def test_the_seeds_own_address(serve: Any) -> None:
    """It is asked where ``base_url`` says so: a proxy sees the request for chat-gpt.org. Else nobody is: the site is gone."""

    async def refuses(seen: Seen, say: Say) -> None:
        await say.whole(b"", 502)

    proxy: Server = await serve(refuses)
    with pytest.raises(errors.NotReady, match="does not work"):
        await Aichat.create_async("gpt-3.5-turbo", HELLO, proxy.url, cookies=COOKIES)
    assert proxy.seen == []
    with pytest.raises(errors.ProxyFailed):
        await Aichat.create_async("gpt-3.5-turbo", HELLO, proxy.url, cookies=COOKIES, base_url=Aichat.url)
    assert [(seen.method, seen.target) for seen in proxy.seen] == [("CONNECT", "chat-gpt.org:443")]


def test_what_is_sent_by_default() -> None:
    """The seed's defaults: temperature 0.5, top_p 1."""
    body = question([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}])
    assert body == {
        "message": "System: Be kind.\nUser: hi\nAssistant:",
        "temperature": 0.5,
        "presence_penalty": 0,
        "top_p": 1,
        "frequency_penalty": 0,
    }


@pytest.mark.parametrize("value", ["hot", True, None, float("nan")])
def test_a_setting_that_is_no_number(value: Any) -> None:
    """What JSON or the service cannot take as a number is refused by name, before anything is sent."""
    for name in ("temperature", "top_p"):
        with pytest.raises(errors.BadInput) as caught:
            question(HELLO, **{name: value})
        assert caught.value.field == name


@pytest.mark.parametrize(
    ("base_url", "root"),
    [
        ("https://chat-gpt.org/chat", "https://chat-gpt.org"),
        ("http://h:1/aichat", "http://h:1/aichat"),
        ("http://h:1/aichat/chat", "http://h:1/aichat"),
    ],
)
def test_the_root_of_a_site(base_url: str, root: str) -> None:
    """An address may be given as ``url`` is, with the page, or as the root."""
    assert root_of(base_url) == root


# Cookies.


def cookie_file(folder: Path, monkeypatch: pytest.MonkeyPatch, domain: str, secure: str = "FALSE") -> None:
    file = folder / "cookies.txt"
    file.write_text(f"# Netscape HTTP Cookie File\n{domain}\tFALSE\t/\t{secure}\t4102444800\tsession\tof-{domain}\n")
    file.chmod(0o600)
    monkeypatch.setenv("POLYCHAT_COOKIES", str(file))


async def test_cookies_of_the_host_are_found(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``cookies=`` those that the user's files hold for the host are sent."""
    cookie_file(tmp_path, monkeypatch, "127.0.0.1")
    server: Server = await serve(replying({"response": True, "message": "hi"}))
    await Aichat.create_async("", HELLO, base_url=server.url)
    assert server.seen[0].headers["cookie"] == "session=of-127.0.0.1"


async def test_cookies_go_to_no_other_host(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's cookies for chat-gpt.org are not given to a site elsewhere: it is asked nothing."""
    cookie_file(tmp_path, monkeypatch, "chat-gpt.org")
    server: Server = await serve(replying({}))
    with pytest.raises(errors.MissingCookies, match="127.0.0.1"):
        await Aichat.create_async("", HELLO, base_url=server.url)
    assert server.seen == []


async def test_secure_cookies_do_not_go_over_http(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cookie that only https may carry does not count for a site asked over http."""
    cookie_file(tmp_path, monkeypatch, "127.0.0.1", secure="TRUE")
    server: Server = await serve(replying({}))
    with pytest.raises(errors.MissingCookies):
        await Aichat.create_async("", HELLO, base_url=server.url)
    assert server.seen == []


async def test_cookies_for_the_seeds_site(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the seed's own address it is chat-gpt.org's cookies that count: with them it goes on to ask."""

    async def refuses(seen: Seen, say: Say) -> None:
        await say.whole(b"", 502)

    cookie_file(tmp_path, monkeypatch, "chat-gpt.org")
    proxy: Server = await serve(refuses)
    with pytest.raises(errors.ProxyFailed):
        await Aichat.create_async("", HELLO, proxy.url, base_url=Aichat.url)


async def test_no_cookies() -> None:
    """None anywhere is a RuntimeError that says which site to open in a browser."""
    with pytest.raises(RuntimeError, match="https://chat-gpt.org/chat") as caught:
        await Aichat.create_async("gpt-3.5-turbo", HELLO, base_url=Aichat.url)
    assert isinstance(caught.value, errors.MissingCookies)
    assert (caught.value.domain, caught.value.provider) == ("chat-gpt.org", "Aichat")


async def test_no_cookies_on_purpose(serve: Any) -> None:
    """``cookies={}`` is the caller's word: none are looked for, and the site decides."""
    server: Server = await serve(answering(AichatSite()))
    with pytest.raises(errors.Unauthorized, match="cookie") as caught:
        await Aichat.create_async("", HELLO, base_url=server.url, cookies={})
    assert caught.value.status == 403
    assert "cookie" not in server.seen[0].headers


async def test_two_accounts(serve: Any) -> None:
    """Two callers at once each send their own cookies."""
    server: Server = await serve(replying({"response": True, "message": "hi"}))
    asks = [Aichat.create_async("", HELLO, base_url=server.url, cookies={"who": name}) for name in ("me", "you")]
    await asyncio.gather(*asks)
    assert {seen.headers["cookie"] for seen in server.seen} == {"who=me", "who=you"}


# The reply.


@pytest.mark.parametrize("response", [False, None, 0, "", []])
async def test_a_falsy_response_is_a_failure(response: Any, serve: Any) -> None:
    """The exception carries the reply, without what looks like a credential."""
    server: Server = await serve(replying({"response": response, "message": "limit reached", "token": "s3cr3t"}))
    with pytest.raises(errors.ReplyFailed, match="limit reached") as caught:
        await Aichat.create_async("", HELLO, base_url=server.url, cookies=COOKIES)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.provider == "Aichat"


@pytest.mark.parametrize("response", [True, 1, "yes"])
def test_a_truthy_response(response: Any) -> None:
    """Any truthy ``response`` makes ``message`` the answer."""
    body = json.dumps({"response": response, "message": " Привет\n", "more": 1}).encode()
    assert read(body) == [Text(" Привет\n"), Finish("complete")]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", errors.BadReply),
        (b"<html>", errors.BadReply),
        (b"true", errors.BadReply),
        (b'{"message": "hi"}', errors.BadReply),
        (b'{"response": true}', errors.BadReply),
        (b'{"response": true, "message": ["hi"]}', errors.BadReply),
        (b'{"response": true, "message": "\xff"}', errors.BadReply),
        (b'{"a":' * 100_000, errors.BadReply),
        (b'{"response": true, "message": ""}', errors.EmptyReply),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_body_that_is_not_that_json(body: bytes, error: type[Exception]) -> None:
    """Anything else is one ``Finish`` with its error, and the reader does not raise."""
    [finish] = read(body)
    assert isinstance(finish, Finish)
    assert (finish.verdict, type(finish.error)) == ("failed", error)


@pytest.mark.parametrize("status", [401, 404, 429, 500])
async def test_another_status_is_aiohttps_error_too(status: int, serve: Any) -> None:
    """Non-2xx raises what code written for aiohttp catches; a body that is no JSON is not shown."""
    server: Server = await serve(replying(b"<html>a page</html>", status))
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await Aichat.create_async("", HELLO, base_url=server.url, cookies=COOKIES)
    assert isinstance(caught.value, errors.StatusError)
    assert (caught.value.status, caught.value.provider) == (status, "Aichat")
    assert "html" not in str(caught.value)
    assert "cookie_value" not in repr(vars(caught.value))


async def test_a_status_whose_body_breaks(serve: Any) -> None:
    """The status is what counts, though its body is cut."""

    async def cutting(seen: Seen, say: Say) -> None:
        await say.head(500, content_type="application/json")
        await say.chunk(b'{"message": ')
        await say.cut()

    server: Server = await serve(cutting)
    with pytest.raises(errors.StatusError) as caught:
        await Aichat.create_async("", HELLO, base_url=server.url, cookies=COOKIES)
    assert caught.value.status == 500


async def test_a_reply_that_breaks(serve: Any) -> None:
    """A body cut midway is ``Truncated``, and no answer."""

    async def cutting(seen: Seen, say: Say) -> None:
        await say.head(content_type="application/json")
        await say.chunk(b'{"response": true, ')
        await say.cut()

    server: Server = await serve(cutting)
    with pytest.raises(errors.Truncated):
        await Aichat.create_async("", HELLO, base_url=server.url, cookies=COOKIES)


# The answering half.


def hear(body: bytes, method: str = "POST", path: str = "/api/text", cookie: str = "any=one") -> Response | SiteRequest:
    return AichatSite().receive(Request(method, path, {}, {"cookie": cookie}, body, "http://127.0.0.1"))


def test_the_site_hears_what_is_asked() -> None:
    """Message and sampling parameters become the question."""
    request = hear(json.dumps(question(HELLO, 0.25, 0.75)).encode())
    assert isinstance(request, SiteRequest)
    assert (request.text, request.messages) == (HELLO[0]["content"], HELLO)
    assert request.settings == {"temperature": 0.25, "top_p": 0.75, "presence_penalty": 0, "frequency_penalty": 0}


@pytest.mark.parametrize(
    ("body", "method", "path", "cookie", "status"),
    [
        (b'{"message": "x"}', "POST", "/api/text", "", 403),
        (b'{"message": "x"}', "POST", "/", "a=b", 404),
        (b"", "GET", "/api/text", "a=b", 405),
        (b"", "POST", "/chat", "a=b", 405),
        (b"", "POST", "/api/text", "a=b", 400),
        (b'{"message": " "}', "POST", "/api/text", "a=b", 400),
        (b'{"message": "x", "top_p": "high"}', "POST", "/api/text", "a=b", 400),
        (b'{"message": "x", "top_p": true}', "POST", "/api/text", "a=b", 400),
    ],
)
def test_the_site_refuses(body: bytes, method: str, path: str, cookie: str, status: int) -> None:
    """What is no ask has a status, and JSON in the service's own form that says why."""
    request = hear(body, method, path, cookie)
    assert isinstance(request, Response)
    assert request.status == status
    assert json.loads(request.body)["response"] is False


async def test_the_sites_page_gives_a_browser_its_cookie(serve: Any) -> None:
    """Who opens the page in a browser has a cookie that the site takes: what ``MissingCookies`` advises works."""
    page = hear(b"", "GET", "/chat", "")
    assert isinstance(page, Response)
    [cookie] = [value for name, value in page.headers if name == "Set-Cookie"]
    assert isinstance(hear(b'{"message": "x"}', cookie=cookie.partition(";")[0]), SiteRequest)


def test_what_it_writes_is_read_back() -> None:
    """Text passes through writer and reader unchanged."""
    request = hear(b'{"message": "x"}')
    assert isinstance(request, SiteRequest)
    body = b"".join(written_reply(request, lambda _: [[Text("one "), Text("\u2028 три")], [complete()]]))
    assert read(body) == [Text("one \u2028 три"), Finish("complete")]


@pytest.mark.parametrize(
    "end", [[failed(errors.ReplyFailed("no model"))], [truncated("it broke")], []], ids=["failed", "cut", "left off"]
)
async def test_no_half_answer_passes_for_a_whole(end: list[Event], serve: Any) -> None:
    """An answer that failed or was cut goes out as the service's own failure, whatever came before."""
    server: Server = await serve(answering(AichatSite(), lambda _: [[Text("half")], end]))
    with pytest.raises(errors.ReplyFailed, match="no model|it broke|was cut") as caught:
        await Aichat.create_async("", HELLO, base_url=server.url, cookies=COOKIES)
    assert "half" not in str(caught.value)


async def test_the_provider_speaks_with_its_half() -> None:
    """Over HTTP, mounted below a path, by the page's address and by the root's."""
    async with running(Sites(echo, {"aichat": AichatSite()})) as url:
        for base_url in (f"{url}/aichat", f"{url}/aichat/chat"):
            text = await Aichat.create_async("", HELLO, base_url=base_url, cookies=COOKIES)
            assert text == f"echo: {HELLO[0]['content']}"

"""Proxies: everything goes through them, they learn no more than they must, and their passwords are never shown."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from polychat import errors
from polychat.transport import StreamSession, Timeouts

from ..support import tls
from ..support.proxies import Proxying, http_proxy, listening, socks_proxy
from ..support.scripted_server import Say, Seen, Server

Serve = Callable[..., Awaitable[Server]]
KINDS = ["http", "https", "socks5", "socks5h"]
USER, PASSWORD = "us er", "p@ss:w%rd/SECRET"
QUOTED = "us%20er", "p%40ss%3Aw%25rd%2FSECRET"


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests' own CA is believed."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca_file(tmp_path)))


def proxy_of(kind: str, **options: Any) -> AbstractAsyncContextManager[Proxying]:
    if kind.startswith("socks"):
        return socks_proxy(**options)
    return http_proxy(tls=tls.server_context() if kind == "https" else None, **options)


async def site(seen: Seen, say: Say) -> None:
    """A page, a redirect, an answer."""
    if seen.path == "/old":
        await say.whole(b"", 302, headers=[("Location", "/page"), ("Set-Cookie", "a=b; Path=/")])
    else:
        await say.whole({"path": seen.path, "body": seen.body.decode()})


def all_told(error: BaseException) -> str:
    """All that a log may show of an error, and what it holds."""
    text = "".join(traceback.format_exception(error))
    link: BaseException | None = error
    while link is not None:
        text += f"{link} {link!r} {link.args!r} {vars(link)!r}"
        link = link.__cause__ or link.__context__
    return text


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_every_request_goes_through(serve: Serve, kind: str, secure: bool) -> None:
    """A page, a redirect and a question: the server sees as many connections as the proxy made, and the proxy all of them."""
    server = await serve(site, tls.server_context() if secure else None)
    headers = {"Authorization": "Bearer OURS"}
    async with (
        proxy_of(kind, login=(USER, PASSWORD)) as proxy,
        StreamSession(headers, proxy=proxy.url_for(*QUOTED, kind)) as session,
    ):
        assert (await session.get(f"{server.url}/old")).ok
        response = await session.post(f"{server.url}/ask", data={"q": "ы"})
        assert await response.json() == {"path": "/ask", "body": "q=%D1%8B"}
    assert [seen.path for seen in server.seen] == ["/old", "/page", "/ask"]
    assert server.connections == proxy.through == len(proxy.seen)
    assert {(passed.host, passed.port) for passed in proxy.seen} == {("127.0.0.1", server.port)}
    assert set(proxy.logins) == {(USER, PASSWORD)}
    assert all("proxy-authorization" not in seen.headers for seen in server.seen)
    assert all(seen.headers["authorization"] == "Bearer OURS" for seen in server.seen)
    assert secure is False or "OURS" not in str(proxy.seen)


@pytest.mark.parametrize("kind", ["http", "socks5h"])
async def test_a_name_that_only_the_proxy_knows(serve: Serve, kind: str) -> None:
    """It is the proxy that looks it up: nothing is asked of this machine's resolver."""
    server = await serve(site)
    hosts = {"chat.example": "127.0.0.1"}
    async with proxy_of(kind, hosts=hosts) as proxy, StreamSession(proxy=f"{kind}://127.0.0.1:{proxy.port}") as session:
        assert (await session.get(f"http://chat.example:{server.port}/page")).ok
    assert [passed.host for passed in proxy.seen] == ["chat.example"]


@pytest.mark.parametrize(("kind", "what"), [("socks5", "address"), ("socks5h", "domain")])
async def test_who_looks_names_up(serve: Serve, kind: str, what: str) -> None:
    """As curl has it: socks5 here, socks5h there."""
    server = await serve(site)
    async with socks_proxy() as proxy, StreamSession(proxy=f"{kind}://127.0.0.1:{proxy.port}") as session:
        assert (await session.get(server.url.replace("127.0.0.1", "localhost"))).ok
    assert [passed.what for passed in proxy.seen] == [what]


@pytest.mark.parametrize(
    ("options", "through"),
    [
        ({"proxies": {"http": "A"}}, {"http": "A", "https": None}),
        ({"proxies": {"https": "A"}}, {"http": None, "https": "A"}),
        ({"proxies": {"all": "A"}}, {"http": "A", "https": "A"}),
        ({"proxies": {"https": "A", "all": "B"}}, {"http": "B", "https": "A"}),
        ({"proxies": {"https": "A"}, "proxy": "B"}, {"http": "B", "https": "A"}),
        ({"proxies": {"https": None, "all": None}, "proxy": None}, {"http": None, "https": None}),
    ],
)
async def test_a_proxy_for_each_scheme(serve: Serve, options: dict[str, Any], through: dict[str, str | None]) -> None:
    """A scheme's own goes before that for all, and that before ``proxy``; a redirect changes with the scheme."""
    secure = await serve(site, tls.server_context())

    async def up(seen: Seen, say: Say) -> None:
        await say.whole(b"", 302, headers=[("Location", f"{secure.url}/page")])

    plain = await serve(up)
    async with http_proxy() as one, socks_proxy() as other:
        urls = {"A": one.url, "B": other.url, None: None}
        named = {name: urls[key] for name, key in options["proxies"].items()}
        async with StreamSession(proxies=named, proxy=urls[options.get("proxy")]) as session:
            assert (await session.get(plain.url)).ok
    made = {"A": one, "B": other}
    for scheme, server in (("http", plain), ("https", secure)):
        name = through[scheme]
        seen = {key for key, proxy in made.items() if any(passed.port == server.port for passed in proxy.seen)}
        assert seen == ({name} if name else set())


async def test_the_environments_proxies_are_not_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants a proxy gives it."""
    server = await serve(site)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with StreamSession() as session:
        assert (await session.get(server.url)).ok


# What goes wrong


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [False, True])
async def test_a_proxy_that_does_not_take_the_login(serve: Serve, kind: str, secure: bool, known: bool) -> None:
    """Neither the password nor the user is in anything that the error tells or holds. The server was not reached."""
    server = await serve(site, tls.server_context() if secure else None)
    async with proxy_of(kind, login=("someone", "else")) as proxy:
        url = proxy.url_for(*QUOTED, kind) if known else f"{kind}://127.0.0.1:{proxy.port}"
        async with StreamSession(proxy=url, provider="Some") as session:
            with pytest.raises(errors.ProxyFailed) as caught:
                await session.get(server.url, params={"token": PASSWORD})
    shown = all_told(caught.value)
    assert "SECRET" not in shown
    assert "us er" not in shown
    assert "dXMgZX" not in shown  # nor as it goes out
    assert f"{kind}://127.0.0.1:{proxy.port}" in str(caught.value)
    assert caught.value.provider == "Some"
    assert caught.value.status == (None if kind.startswith("socks") else 407)
    assert server.connections == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_that_is_not_there(unused_port: int, kind: str) -> None:
    """It is the proxy's fault, and reported as such."""
    async with StreamSession(proxy=f"{kind}://{':'.join(QUOTED)}@127.0.0.1:{unused_port}") as session:
        for url in ("http://127.0.0.1:1/", "https://127.0.0.1:1/"):
            with pytest.raises(errors.ProxyFailed, match=f"{kind}://127.0.0.1:{unused_port}") as caught:
                await session.get(url)
            assert "SECRET" not in all_told(caught.value)


@pytest.fixture
async def unused_port() -> int:
    """A port on which nobody listens."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


@pytest.mark.parametrize(
    ("kind", "refuse", "why"), [("http", 403, "403"), ("https", 502, "502"), ("socks5h", 2, "not allowed")]
)
async def test_a_proxy_that_refuses(serve: Serve, kind: str, refuse: int, why: str) -> None:
    """Its reason is reported."""
    server = await serve(site, tls.server_context())
    async with proxy_of(kind, refuse=refuse) as proxy, StreamSession(proxy=f"{kind}://127.0.0.1:{proxy.port}") as session:
        with pytest.raises(errors.ProxyFailed, match=why):
            await session.get(server.url)
    assert server.connections == 0


@pytest.mark.parametrize(
    "says", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"\x00" * 64, b"\x05\x00\x05\x00\x00\x03\x02\xff\xff\x00\x00"]
)
@pytest.mark.parametrize("kind", ["http", "socks5", "socks5h"])
async def test_what_is_no_proxy(kind: str, says: bytes) -> None:
    """Whatever it says and then closes, the proxy is named."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(says)
        await writer.drain()

    async with listening(talk) as other, StreamSession(proxy=f"{kind}://127.0.0.1:{other.port}") as session:
        with pytest.raises(errors.ProxyFailed, match=f"{kind}://127"):
            await session.get("https://127.0.0.1:1/")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_silent_proxy(kind: str) -> None:
    """There is no connection yet, so it is that clock."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with (
        listening(mute) as other,
        StreamSession(proxy=f"{kind}://127.0.0.1:{other.port}", timeout=Timeouts(connect=0.05)) as session,
    ):
        with pytest.raises(errors.TimedOut) as caught:
            await session.get("https://127.0.0.1:1/")
    assert (caught.value.clock, caught.value.seconds) == ("connect", 0.05)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_servers_certificate_is_verified_through_a_proxy(serve: Serve, kind: str) -> None:
    """A proxy does not vouch for who is behind it."""
    if kind == "https" and sys.version_info < (3, 11, 4):
        pytest.skip("asyncio loses why TLS under TLS failed: install Python 3.11.4 or newer")
    server = await serve(site, tls.server_context("chat.example"))
    async with proxy_of(kind) as proxy, StreamSession(proxy=f"{kind}://127.0.0.1:{proxy.port}") as session:
        with pytest.raises(errors.CertificateRefused, match=r"127\.0\.0\.1"):
            await session.get(server.url)
    assert server.seen == []


async def test_the_proxys_own_certificate_is_verified() -> None:
    """Credentials are not given to who only says to be the proxy."""
    async with http_proxy(tls=tls.server_context("proxy.example")) as proxy, StreamSession(proxy=proxy.url) as session:
        with pytest.raises(errors.ProxyFailed, match="certificate of the proxy"):
            await session.get("https://127.0.0.2:1/")
    assert proxy.seen == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_caller_is_gone_behind_the_proxy_too(serve: Serve, kind: str) -> None:
    """The server sees the connection close, with any proxy in between."""
    arrived, left = asyncio.Event(), asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        await say.head()
        await say.chunk(b"x")
        arrived.set()
        await say.gone()
        left.set()

    server = await serve(handler)
    async with proxy_of(kind) as proxy, StreamSession(proxy=f"{kind}://127.0.0.1:{proxy.port}") as session, asyncio.timeout(60):

        async def read() -> None:
            async with session.get(server.url) as response:
                await response.read()

        task = asyncio.create_task(read())
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await left.wait()


# What cannot be a proxy


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "ftp://user:SECRET@127.0.0.1:8080",
        "http://user:SECRET@",
        "http://user:SECRET",
        "http://user:SECRET@127.0.0.1:80x",
        "http://user:SECRET@127.0.0.1:99999",
        "http://user:SECRET@[::1:8080",
        "http://user:SECRET@127.0.0.1:8080/path",
        "http://user:SECRET@127.0.0.1:8080?x",
        "http://user:SECRET@127.0.0.1:80\r\nX: y",
        "socks4://user:SECRET@127.0.0.1:8080",
        "socks5://user:SECRET%C3%A4@127.0.0.1:8080",
        "socks5://user@127.0.0.1:8080",
        "socks5://user:" + "SECRET" * 50 + "@127.0.0.1:8080",
        b"http://user:SECRET@127.0.0.1:8080",
    ],
)
def test_a_malformed_proxy_is_bad_input(url: Any) -> None:
    """The field is named, and nothing of the URL is shown."""
    with pytest.raises(errors.BadInput) as caught:
        StreamSession(proxy=url)
    assert caught.value.field == "proxy"
    assert "SECRET" not in all_told(caught.value)
    with pytest.raises(errors.BadInput) as caught:
        StreamSession(proxies={"https": url})
    assert caught.value.field == "proxies"


def test_proxies_are_named_by_scheme() -> None:
    """A key that would never be looked at is refused."""
    with pytest.raises(errors.BadInput) as caught:
        StreamSession(proxies={"https://": "http://127.0.0.1:8080"})
    assert caught.value.field == "proxies"


def test_socks_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra to install."""
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)
    StreamSession(proxy="http://127.0.0.1:8080")
    with pytest.raises(errors.MissingPackage, match=r"polychat\[socks\]"):
        StreamSession(proxy="socks5://127.0.0.1:1080")

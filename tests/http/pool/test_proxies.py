"""TLS and proxies of the pool: verified, tunnelled, and with passwords that nobody is shown."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from polychat import errors
from polychat.http import proxy as proxies
from polychat.http.exchange import Exchange
from polychat.http.pool.pool import Pool, pool
from polychat.http.proxy import environment_proxy
from polychat.http.timeouts import Timeouts

from ...support import tls
from ...support.proxies import Proxying, http_proxy, listening, socks_proxy
from ...support.scripted_server import Say, Seen, Server, serving

Serve = Callable[..., Awaitable[Server]]
LOGIN = ("us er", "p@ss:w%rd/SECRET")
QUOTED = ("us%20er", "p%40ss%3Aw%25rd%2FSECRET")


@pytest.fixture
def _trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests' own CA is believed."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca_file(tmp_path)))


async def echo(seen: Seen, say: Say) -> None:
    await say.whole({"path": seen.target, "body": seen.body.decode(), "names": sorted(seen.headers)})


async def posted(url: str, proxy: str | None = None, **options: Any) -> Any:
    async with await pool().request("POST", url, headers={}, body=b"hi", proxy=proxy, **options) as response:
        return json.loads(await response.read())


# TLS


async def test_a_certificate_that_does_not_hold_is_refused(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of a CA that nobody trusts, or for another name; nothing is sent, and nothing kept."""
    server = await serve(echo, tls.server_context())
    other = await serve(echo, tls.server_context("example.org"))
    with pytest.raises(errors.CertificateRefused, match=r"127\.0\.0\.1"):
        await posted(server.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca_file(tmp_path)))
    assert (await posted(server.url))["body"] == "hi"
    with pytest.raises(errors.CertificateRefused):
        await posted(other.url)
    assert (other.seen, pool()._count) == ([], 1)


@pytest.mark.usefixtures("_trusted")
async def test_what_is_trusted_no_more_is_not_used_from_before(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept connection belongs to the CAs that it was verified with."""
    server = await serve(echo, tls.server_context())
    await posted(server.url)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(errors.CertificateRefused):
        await posted(server.url)


async def test_https_asked_of_http_is_an_error_that_names_it() -> None:
    """The commonest slip with a server of one's own."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad request\r\n\r\n")

    async with listening(talk) as server:
        with pytest.raises(errors.ConnectionFailed, match="does it use https at all"):
            await posted(server.url.replace("http:", "https:"))


# Proxies


KINDS = ["http", "https", "socks5", "socks5h"]


def proxy_of(kind: str, **options: Any) -> AbstractAsyncContextManager[Proxying]:
    if kind.startswith("socks"):
        return socks_proxy(**options)
    return http_proxy(tls=tls.server_context() if kind == "https" else None, **options)


async def _through(kind: str, secure: bool) -> None:
    async with (
        serving(echo, tls.server_context() if secure else None) as server,
        proxy_of(kind, login=LOGIN) as proxy,
    ):
        for _ in range(2):
            answer = await posted(f"{server.url}/a?b=c", proxy.url_for(*QUOTED, kind))
            assert (answer["path"], answer["body"]) == ("/a?b=c", "hi")
            assert "proxy-authorization" not in answer["names"]
        assert proxy.logins == [LOGIN] * len(proxy.seen)
        host = server.url.partition("//")[2]
        if kind.startswith("socks"):
            assert [(passed.what, passed.port) for passed in proxy.seen] == [("address", server.port)]
        elif secure:
            assert [passed.what for passed in proxy.seen] == [f"CONNECT {host}"]  # the tunnel is kept
        else:
            assert [passed.what for passed in proxy.seen] == [f"POST {server.url}/a?b=c"] * 2


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("_trusted")
def test_every_request_goes_through(kind: str, secure: bool, loop: Any) -> None:
    """With its login, to servers with TLS and without, and the login goes no further; on either loop."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_through(kind, secure))


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("secure", [False, True])
async def test_the_proxys_own_no(serve: Serve, secure: bool) -> None:
    """Without the right login, and when it cannot get through: an error of the proxy, without its password."""
    server = await serve(echo, tls.server_context() if secure else None)
    async with http_proxy(LOGIN) as proxy:
        with pytest.raises(errors.ProxyFailed, match="requires a user and a password") as caught:
            await posted(server.url, proxy.url)
        assert caught.value.status == 407
        with pytest.raises(errors.ProxyFailed, match="rejected") as caught:
            await posted(server.url, proxy.url_for("me", "SECRET"))
        assert "SECRET" not in str(caught.value)
    for refused in (300, 503):
        async with http_proxy(refuse=refused) as proxy:
            if secure:
                with pytest.raises(errors.ProxyFailed, match=str(refused)):
                    await posted(server.url, proxy.url)
            else:
                assert (await pool().request("GET", server.url, headers={}, proxy=proxy.url)).status == refused
    assert server.seen == []


def test_a_proxy_without_a_port() -> None:
    """Is at the port that is usual for its kind."""
    ports = {kind: proxies.proxy_of(f"{kind}://localhost").port for kind in ("http", "https", "socks", "socks5", "socks5h")}
    assert ports == {"http": 80, "https": 443, "socks": 1080, "socks5": 1080, "socks5h": 1080}


@pytest.mark.parametrize(
    "says", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n\r\nmore", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000]
)
async def test_what_is_no_proxy(says: bytes) -> None:
    """It says something else, or too much, or nothing: the tunnel fails, and nothing of the request was shown to it."""
    received = bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(says)

    async with listening(talk) as proxy, asyncio.timeout(60):
        with pytest.raises(errors.ConnectionFailed):
            await posted("https://127.0.0.1:9/secret", proxy.url, timeouts=Timeouts(connect=5))
    assert received.startswith(b"CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n")
    assert b"secret" not in received
    assert pool()._count == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_whose_certificate_does_not_hold_is_reported(
    serve: Serve, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The proxy's, or the server's behind it, though Python 3.11 loses its tongue over TLS under TLS."""
    server = await serve(echo, tls.server_context("example.org"))
    if kind == "https":
        async with http_proxy(tls=tls.server_context()) as proxy:
            with pytest.raises(errors.ProxyFailed, match="the TLS certificate of the proxy"):
                await posted(server.url, proxy.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca_file(tmp_path)))
    async with proxy_of(kind) as proxy:
        with pytest.raises(errors.CertificateRefused):
            await posted(server.url, f"{kind}://127.0.0.1:{proxy.port}")
    assert server.seen == []


async def test_connections_through_different_proxies_are_different(serve: Serve) -> None:
    """Of any kind."""
    server = await serve(echo)
    async with http_proxy() as one, http_proxy() as two, socks_proxy() as three, socks_proxy() as four:
        for proxy in (one.url, two.url, three.url, four.url, None):
            await posted(server.url, proxy)
        assert (one.through, two.through, three.through, four.through) == (1, 1, 1, 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_that_keeps_silent_has_the_connect_clock(kind: str) -> None:
    """It is part of getting a connection."""
    async with listening(lambda reader, _: reader.read(-1)) as listener:
        mine, proxy = Pool(), f"{kind}://127.0.0.1:{listener.port}"
        with pytest.raises(errors.TimedOut, match="connect"):
            await mine.request("GET", "https://127.0.0.1:9", headers={}, proxy=proxy, timeouts=Timeouts(connect=0.05))
        assert mine._count == 0
        await mine.close()


# SOCKS


@pytest.mark.parametrize(("kind", "what"), [("socks5", "address"), ("socks5h", "domain")])
async def test_who_looks_names_up(serve: Serve, kind: str, what: str) -> None:
    """As curl has it: ``socks5`` here, ``socks5h`` there."""
    server = await serve(echo)
    async with socks_proxy() as proxy:
        await posted(f"http://localhost:{server.port}/", f"{kind}://127.0.0.1:{proxy.port}")
    assert [passed.what for passed in proxy.seen] == [what]


@pytest.mark.parametrize("secure", [False, True])
async def test_a_socks_proxys_own_no(serve: Serve, secure: bool) -> None:
    """Without the right login, and when it cannot get through: an error of the proxy, without its password."""
    server = await serve(echo, tls.server_context() if secure else None)
    async with socks_proxy(LOGIN) as proxy:
        for url in (proxy.url, proxy.url_for("me", "SECRET")):
            with pytest.raises(errors.ProxyFailed, match=proxy.url) as caught:
                await posted(server.url, url)
            assert "SECRET" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    async with socks_proxy(refuse=2) as proxy:
        with pytest.raises(errors.ProxyFailed, match="not allowed"):
            await posted(server.url, proxy.url)
    with pytest.raises(errors.ProxyFailed, match=proxy.url):  # it is there no more
        await posted(server.url, proxy.url)
    assert (server.seen, pool()._count) == ([], 0)


@pytest.mark.parametrize(
    "says", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"\x00" * 64, b"\x05\x00\x05\x00\x00\x03\x02\xff\xff\x00\x00"]
)
async def test_what_is_no_socks_proxy(says: bytes) -> None:
    """Whatever it says and then closes, the proxy is named."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(says)
        await writer.drain()

    async with listening(talk, "socks5h") as proxy:
        with pytest.raises(errors.ProxyFailed, match=proxy.url):
            await posted("https://127.0.0.1:9/", proxy.url)
    assert pool()._count == 0


async def test_a_servers_407_is_its_own_behind_a_socks_proxy(serve: Serve) -> None:
    """SOCKS has no statuses."""

    async def refuse(seen: Seen, say: Say) -> None:
        await say.whole(b"", 407)

    server = await serve(refuse)
    async with socks_proxy() as proxy, await pool().request("GET", server.url, headers={}, proxy=proxy.url) as response:
        assert response.status == 407


async def test_socks_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra to install."""
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(errors.MissingPackage, match=r"polychat\[socks\]"):
        await posted("http://127.0.0.1:9/", "socks5://127.0.0.1:9")
    assert pool()._count == 0


# The environment's proxies

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("url", "environment", "goes_through"),
    [
        ("https://api.example.com/v1", {"https_proxy": PROXY}, True),
        ("https://api.example.com/v1", {"HTTPS_PROXY": PROXY}, True),
        ("https://api.example.com/v1", {"ALL_PROXY": PROXY}, True),
        ("https://api.example.com/v1", {"http_proxy": PROXY}, False),
        ("http://api.example.com/v1", {"HTTP_PROXY": PROXY}, True),
        ("http://api.example.com/v1", {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, False),
        ("https://api.example.com/v1", {"https_proxy": PROXY, "NO_PROXY": "*"}, False),
        ("https://api.example.com/v1", {"https_proxy": PROXY, "NO_PROXY": "other.com, example.com"}, False),
        ("https://api.example.com/v1", {"https_proxy": PROXY, "NO_PROXY": ".Example.com"}, False),
        ("https://api.example.com/v1", {"https_proxy": PROXY, "no_proxy": "*.example.com"}, False),
        ("https://API.example.com./v1", {"https_proxy": PROXY, "no_proxy": "api.example.com:443"}, False),
        ("https://api.example.com/v1", {"https_proxy": PROXY, "no_proxy": "api.example.com:80"}, True),
        ("https://notexample.com/v1", {"https_proxy": PROXY, "no_proxy": "example.com,,"}, True),
        ("https://10.1.2.3/", {"https_proxy": PROXY, "no_proxy": "10.0.0.0/8"}, False),
        ("https://11.1.2.3/", {"https_proxy": PROXY, "no_proxy": "10.0.0.0/8,example.com"}, True),
        ("https://[2001:db8::1]:8443/", {"https_proxy": PROXY, "no_proxy": "[2001:db8::1]:8443"}, False),
        ("https://[2001:db8::1]/", {"https_proxy": PROXY, "no_proxy": "2001:db8::/32"}, False),
        ("http://localhost:11434/", {"http_proxy": PROXY}, False),
        ("http://127.0.0.1:11434/", {"all_proxy": PROXY}, False),
        ("http://[::1]:11434/", {"all_proxy": PROXY}, False),
        ("https://api.example.com/v1", {"https_proxy": "proxy.example:3128"}, True),
        ("https://api.example.com/v1", {}, False),
    ],
)
def test_the_environments_proxy(url: str, environment: dict[str, str], goes_through: bool) -> None:
    """By scheme, in either case of letters, but not to loopback, nor to what ``NO_PROXY`` names."""
    assert environment_proxy(url, environment) == (PROXY if goes_through else None)


async def test_an_exchange_goes_by_the_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the caller names another; APIs are asked from behind companies' walls."""
    async with http_proxy(refuse=502) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with Exchange("GET", "http://api.example.com/x", {}, None) as response:
            assert response.status == 502
        monkeypatch.setenv("no_proxy", "example.com")
        async with (
            http_proxy(refuse=418) as other,
            Exchange("GET", "http://api.example.com/x", {}, None, proxy=other.url) as it,
        ):
            assert it.status == 418
    assert [passed.what for passed in proxy.seen] == ["GET http://api.example.com/x"]

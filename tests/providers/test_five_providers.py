"""What holds for each of the five chat sites alike, shown on every one: proxies, TLS, addresses, clocks, leaving, loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from polychat import errors
from polychat.events import Event, Text
from polychat.gateway.sites import Sites, echo, services
from polychat.providers import ChatGptt, GPTalk, Opchatgpts
from polychat.transport import Timeouts
from polychat.wire.answering import SiteRequest

from ..support.proxies import http_proxy, socks_proxy
from ..support.scripted_server import Say, Seen, Server, serving
from ..support.sites_application import COOKIES, FIVE, running
from ..support.tls import ca_file, server_context

HELLO = [{"role": "user", "content": "Привет"}]


class Counted:
    """The sites, and from which of the clients' ports each request came."""

    def __init__(self, answer: Any = echo) -> None:
        self.app = Sites(answer)
        self.ports: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.ports.append(scope["client"][1])
        await self.app(scope, receive, send)


def mount(provider: type[Any], url: str) -> str:
    return f"{url}/{provider.__name__.lower()}"


@pytest.mark.parametrize("provider", FIVE)
@pytest.mark.parametrize("kind", ["http", "https", "socks5", "socks5h"])
async def test_every_request_goes_through_the_proxy(
    provider: type[Any], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a name that only the proxy knows, and with its password: the answer comes, so nothing went another way."""
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file(tmp_path)))
    login = ("me", "p@ss:word")
    # socks5 looks names up here, by its meaning: there the ports tell that no connection was made beside the proxy
    host = "127.0.0.1" if kind == "socks5" else "chat.example"
    hosts = {"chat.example": "127.0.0.1"}
    app = Counted()
    proxying = (
        socks_proxy(login, hosts=hosts)
        if "socks" in kind
        else http_proxy(login, hosts=hosts, tls=server_context() if kind == "https" else None)
    )
    async with running(app, hosts=("chat.example",)) as url, proxying as proxy:
        base = mount(provider, f"http://{host}:{urlsplit(url).port}")
        answer = await provider.create_async(
            None, HELLO, proxy.url_for("me", "p%40ss%3Aword", kind), base_url=base, cookies=COOKIES
        )
    assert answer == "echo: Привет"
    assert proxy.through == len(set(app.ports)) > 0
    assert {(seen.host) for seen in proxy.seen} == {host}
    assert set(proxy.logins) == {login}


@pytest.mark.parametrize("provider", FIVE)
async def test_a_proxy_that_refuses_tells_no_password(provider: type[Any]) -> None:
    """A wrong password at the proxy is ``ProxyFailed``; the password is in no word of it."""
    async with running(Counted(), hosts=("chat.example",)) as url, http_proxy(("me", "right")) as proxy:
        with pytest.raises(errors.ProxyFailed) as caught:
            await provider.create_async(
                None, HELLO, proxy.url_for("me", "hunter2"), base_url=mount(provider, url), cookies=COOKIES
            )
    assert caught.value.provider == provider.__name__
    seen: BaseException | None = caught.value
    while seen is not None:
        assert "hunter2" not in f"{seen!r} {seen}"
        seen = seen.__cause__ or seen.__context__


@pytest.mark.parametrize("provider", FIVE)
async def test_a_wrong_certificate_is_refused(provider: type[Any]) -> None:
    """TLS is verified: against a CA nobody knows not one request is made."""

    async def never(seen: Seen, say: Say) -> None:
        raise AssertionError("a request went out over TLS that does not hold")

    async with serving(never, server_context()) as server:
        with pytest.raises(errors.CertificateRefused, match=r"127\.0\.0\.1"):
            await provider.create_async(None, HELLO, base_url=server.url, cookies=COOKIES)


@pytest.mark.parametrize("provider", FIVE)
async def test_headers_and_cookies_of_the_caller_arrive(serve: Any, provider: type[Any]) -> None:
    """They go over the provider's own; the first request has them."""

    async def refuse(seen: Seen, say: Say) -> None:
        await say.whole(b"no", 500, "text/plain")

    server: Server = await serve(refuse)
    with pytest.raises(errors.StatusError):
        await provider.create_async(
            None, HELLO, base_url=server.url, cookies=COOKIES, headers={"USER-AGENT": "mine", "X-Own": "1"}
        )
    headers = server.seen[0].headers
    assert (headers["user-agent"], headers["x-own"], headers["cookie"]) == ("mine", "1", "session=s3cr3t")


@pytest.mark.parametrize("provider", FIVE)
async def test_a_silent_server_meets_the_clock(serve: Any, provider: type[Any]) -> None:
    """``timeout`` bounds the whole call, whatever the server withholds."""

    async def silent(seen: Seen, say: Say) -> None:
        await say.gone()

    server: Server = await serve(silent)
    async with asyncio.timeout(60):
        with pytest.raises(errors.TimedOut) as caught:
            await provider.create_async(None, HELLO, base_url=server.url, cookies=COOKIES, timeout=0.2)
    assert (caught.value.clock, caught.value.seconds, caught.value.provider) == ("total", 0.2, provider.__name__)


@pytest.mark.parametrize("provider", FIVE)
async def test_a_silent_server_meets_the_limit_of_a_step(serve: Any, provider: type[Any]) -> None:
    """``timeout=Timeouts(…)`` bounds each step of a chat site too."""

    async def silent(seen: Seen, say: Say) -> None:
        await say.gone()

    server: Server = await serve(silent)
    async with asyncio.timeout(60):
        with pytest.raises(errors.TimedOut) as caught:
            await provider.create_async(None, HELLO, base_url=server.url, cookies=COOKIES, timeout=Timeouts(first=0.2))
    assert (caught.value.clock, caught.value.seconds, caught.value.provider) == ("first", 0.2, provider.__name__)


@pytest.mark.parametrize("provider", FIVE)
async def test_a_cancelled_caller_ends_the_answer_at_the_server(provider: type[Any]) -> None:
    """The server's own answer is cancelled when the caller is: its connection was closed."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow(question: SiteRequest) -> AsyncGenerator[list[Event], None]:
        try:
            yield [Text("x")]
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with asyncio.timeout(60), running(Sites(slow)) as url:
        task = asyncio.create_task(provider.create_async(None, HELLO, base_url=mount(provider, url), cookies=COOKIES))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended.wait()


@pytest.mark.parametrize("provider", [Opchatgpts, ChatGptt, GPTalk])
async def test_leaving_early_closes_the_connection(provider: type[Any]) -> None:
    """``aclosing`` and a break in the middle of a stream: the server sees the client go."""
    ended = asyncio.Event()

    async def endless(question: SiteRequest) -> AsyncGenerator[list[Event], None]:
        try:
            while True:
                yield [Text("word ")]
                await asyncio.sleep(0)
        finally:
            ended.set()

    async with asyncio.timeout(60), running(Sites(endless, services("2.4"))) as url:
        async with aclosing(provider.create_async_generator(None, HELLO, base_url=mount(provider, url))) as answer:
            async for _ in answer:
                break
        await ended.wait()


@pytest.mark.parametrize("provider", FIVE)
async def test_two_threads_with_loops_of_their_own(provider: type[Any]) -> None:
    """Asks from two event loops at once, and from plain code beside them, each get their own answer."""
    async with running(Counted()) as url:
        base = mount(provider, url)

        def ask(text: str) -> list[str]:
            async def several() -> list[str]:
                replies = [
                    provider.create_async(None, [{"role": "user", "content": f"{text}{n}"}], base_url=base, cookies=COOKIES)
                    for n in range(7)
                ]
                return list(await asyncio.gather(*replies))

            return asyncio.run(several())

        def plain(text: str) -> list[str]:
            messages = [{"role": "user", "content": text}]
            return ["".join(provider.create_completion(None, messages, base_url=base, cookies=COOKIES))]

        threads = set(threading.enumerate())
        answers = await asyncio.gather(*(asyncio.to_thread(ask, text) for text in "ab"), asyncio.to_thread(plain, "c"))
    assert answers == [[f"echo: a{n}" for n in range(7)], [f"echo: b{n}" for n in range(7)], ["echo: c"]]
    assert not [t for t in threading.enumerate() if t not in threads and t.name == "polychat-completion"]

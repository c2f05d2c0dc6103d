"""Connections kept between asks: when they are, for whom, and that none is left behind."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest

from polychat.http.session import connector as _kept
from polychat.providers import ChatgptDuo, Opchatgpts
from polychat.transport import StreamSession

from ...support import corpus
from ...support.proxies import http_proxy
from ...support.scripted_server import Say, Seen, Server, serving

HELLO = [{"role": "user", "content": "hi"}]


async def duo(seen: Seen, say: Say) -> None:
    await say.whole({"answer": "yes", "results": []})


async def test_asks_after_each_other_share_a_connection(serve: Any) -> None:
    """A connection whose reply was read to its end serves the next ask, streamed replies too."""
    server: Server = await serve(duo)
    for _ in range(3):
        await ChatgptDuo.create_async(None, HELLO, base_url=server.url)
    assert (len(server.seen), server.connections) == (3, 1)

    async def stream(seen: Seen, say: Say) -> None:
        await say.raw(b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        body = corpus.body("ai-engine-1.9.99/01-success-stream")
        await say.raw(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    streaming: Server = await serve(stream)
    for _ in range(3):
        assert await Opchatgpts.create_async(None, HELLO, base_url=streaming.url) == "echo: hi there"
    assert (len(streaming.seen), streaming.connections) == (3, 1)


async def test_callers_with_an_account_of_their_own_do_not_meet_on_a_connection(serve: Any) -> None:
    """Cookies or headers of one's own mean connections of one's own; a proxy means another way."""
    server: Server = await serve(duo)
    for options in ({}, {"cookies": {"a": "1"}}, {"cookies": {"a": "2"}}, {"headers": {"x": "y"}}, {}):
        await ChatgptDuo.create_async(None, HELLO, base_url=server.url, **options)
    assert server.connections == 4
    async with http_proxy() as proxy:
        await ChatgptDuo.create_async(None, HELLO, proxy.url, base_url=server.url)
        assert proxy.through == 1


async def test_a_session_of_ones_own_keeps_nothing(serve: Any) -> None:
    """Leaving a plain ``StreamSession`` closes its connections."""
    server: Server = await serve(duo)
    for _ in range(2):
        async with StreamSession() as session, session.post(server.url) as response:
            await response.read()
    assert server.connections == 2


async def test_a_server_that_closes_in_between_is_asked_anew(serve: Any) -> None:
    """A kept connection that the server has closed is not used."""
    closed = asyncio.Event()

    async def once(seen: Seen, say: Say) -> None:
        await duo(seen, say)
        await say.cut()
        closed.set()

    server: Server = await serve(once)
    for _ in range(3):
        closed.clear()
        assert await ChatgptDuo.create_async(None, HELLO, base_url=server.url) == "yes"
        await closed.wait()
        while server.open:
            await asyncio.sleep(0)
        for _turn in range(3):
            await asyncio.sleep(0)  # the end of the connection is in our loop's hands now
    assert server.connections == 3


def test_a_loop_takes_its_connections_with_it() -> None:
    """After ``asyncio.run`` no pool, no connection and no warning is left, and the next loop begins anew."""

    async def ask() -> int:
        async with serving(duo) as server:
            for _ in range(2):
                await ChatgptDuo.create_async(None, HELLO, base_url=server.url)
            return int(server.connections)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [asyncio.run(ask()) for _ in range(3)] == [1, 1, 1]
        gc.collect()
    assert not [loop for loop in _kept._connectors.kept if loop.is_closed()]


def test_a_loop_closed_without_care_is_let_go_of() -> None:
    """A loop that was just closed leaves its pool until the next loop asks; then it is gone."""

    async def ask() -> None:
        async with serving(duo) as server:
            await ChatgptDuo.create_async(None, HELLO, base_url=server.url)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    loop.run_until_complete(ask())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # asyncio's own, about a loop that was not shut down
        loop.close()
        asyncio.run(ask())
        assert loop not in _kept._connectors.kept
        gc.collect()


@pytest.mark.parametrize("count", [20])
async def test_many_at_once(serve: Any, count: int) -> None:
    """Asks at the same time have a connection each, and a second wave uses them again."""
    waiting: list[asyncio.Event] = []
    all_here = asyncio.Event()

    async def together(seen: Seen, say: Say) -> None:
        waiting.append(asyncio.Event())
        if len(waiting) % count == 0:
            all_here.set()
        await all_here.wait()
        await duo(seen, say)

    server: Server = await serve(together)
    for _ in range(2):
        all_here.clear()
        asks = [ChatgptDuo.create_async(None, HELLO, base_url=server.url) for _ in range(count)]
        assert await asyncio.gather(*asks) == ["yes"] * count
    assert server.connections == count

"""Connections of the pool that lie idle, and those that are closed: how long they are kept, and what is left of them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from polychat.errors import ConnectionFailed, NotReady
from polychat.http.pool import tunnel
from polychat.http.pool.connection import PoolConnection
from polychat.http.pool.heads import Origin
from polychat.http.pool.keep_alive import ObservedCloses, announced_in
from polychat.http.pool.pool import Pool
from polychat.http.timeouts import Timeouts

from ...support.pool_requests import ask, echo, json_of
from ...support.scripted_server import Say, Seen, Server

Serve = Callable[..., Awaitable[Server]]


async def test_what_is_closed_is_freed_without_the_garbage_collector(serve: Serve) -> None:
    """A connection whose reader leaves, and one that its server closes: what it holds would wait for many others."""

    async def handler(seen: Seen, say: Say) -> None:
        if seen.path == "/left":
            await say.head()
            await say.chunk(b"word\n" * 100)
            await say.gone()
        else:
            await say.whole({})
            await say.cut()

    server = await serve(handler)
    gc.collect()
    gc.disable()
    try:
        async with asyncio.timeout(60):
            await json_of(f"{server.url}/closed")
            async with await ask(f"{server.url}/left"):
                pass
            loop = asyncio.get_running_loop()
            while any(isinstance(each, PoolConnection) and each.loop is loop for each in gc.get_objects()):
                await asyncio.sleep(0)
    finally:
        gc.enable()


# How long they are kept


@pytest.fixture
async def mine() -> AsyncGenerator[Pool]:
    """A pool that would keep connections for an hour."""
    pool = Pool(idle=3600)
    yield pool
    await pool.close()


async def kept_for(pool: Pool, server: Server) -> float:
    """The seconds for which the pool keeps the connection of a request."""
    response = await pool.request("GET", server.url, headers={})
    await response.read()
    (connection,) = pool._origins[response._request.server()].idle
    return connection.reusable_until - connection.idle_since


def announcing(value: str) -> Callable[[Seen, Say], Awaitable[None]]:
    async def handler(seen: Seen, say: Say) -> None:
        await say.whole({}, headers=[("Keep-Alive", value)])

    return handler


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"timeout=5", 4),
        (b"max=100, Timeout=30", 29),
        (b"timeout=1,max=9", 0.5),
        (b"timeout=0", 0),
        (b"max=100", None),
        (b"timeout=soon", None),
        (b"idle-timeout=5", None),
        (b"", None),
    ],
)
def test_what_a_server_announces(header: bytes, seconds: float | None) -> None:
    """Less than that, so that the pool closes first."""
    assert announced_in(header) == seconds


async def test_a_connection_is_kept_for_as_long_as_its_server_announces(serve: Serve, mine: Pool) -> None:
    """But never longer than the pool keeps any; what is kept for less long is closed though others are kept on."""
    servers = {value: await serve(announcing(value)) for value in ("timeout=9000", "timeout=9", "timeout=0")}
    assert [await kept_for(mine, server) for server in servers.values()] == pytest.approx([3600, 8, 0])
    async with asyncio.timeout(60):
        while servers["timeout=0"].open:
            await asyncio.sleep(0)
    assert [server.open for server in servers.values()] == [1, 1, 0]


async def test_a_time_that_is_announced_later_counts_for_what_is_idle_already(serve: Serve, mine: Pool) -> None:
    """All of them are closed by then, the oldest first: none keeps the later ones open."""
    announced = [("Keep-Alive", "timeout=9")]

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole({}, headers=announced if seen.path == "/tells" else [])

    server = await serve(handler)
    for response in [await mine.request("GET", server.url + path, headers={}) for path in ("/", "/", "/tells")]:
        await response.read()
    times = [each.reusable_until - each.idle_since for each in mine._idle_connections]
    assert times == pytest.approx([8, 8, 8])
    assert mine._sweep_at == next(iter(mine._idle_connections)).reusable_until


async def test_an_announced_time_is_not_believed_of_a_server_that_closed_earlier(serve: Serve, mine: Pool) -> None:
    """Else each reply that announces it would make up for the close, and requests would be lost again and again."""
    server = await serve(announcing("timeout=60"))
    assert await kept_for(mine, server) == pytest.approx(59)
    (origin,) = mine._origins
    mine._closes.note(origin, 9, asyncio.get_running_loop().time())
    assert await kept_for(mine, server) == pytest.approx(8)


async def test_a_server_that_closes_what_lies_idle_is_remembered(serve: Serve, mine: Pool) -> None:
    """The connection is forgotten at once; later ones are kept for less long, those that are idle too."""
    closing, lies_idle = asyncio.Event(), asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole({})
        if seen.path == "/closes":
            lies_idle.set()
            await closing.wait()
            await say.cut()

    server = await serve(handler)
    async with asyncio.timeout(60):
        first, second = [await mine.request("GET", f"{server.url}{path}", headers={}) for path in ("/closes", "/")]
        for response in (first, second):
            await response.read()
        await lies_idle.wait()
        closing.set()
        while mine._count == 2:
            await asyncio.sleep(0)
    (other,) = mine._idle_connections
    assert other.reusable_until - other.idle_since == pytest.approx(4)
    assert await kept_for(mine, server) == pytest.approx(4)
    assert (server.connections, await kept_for(mine, await serve(echo))) == (2, pytest.approx(3600))


@pytest.mark.parametrize("begins", [False, True])
async def test_a_request_that_is_lost_after_a_pause_shortens_it(serve: Serve, mine: Pool, begins: bool) -> None:
    """What is between may forget a connection that lies idle without telling: else each request after a pause would be lost."""

    async def handler(seen: Seen, say: Say) -> None:
        if b"lost" in seen.body:
            await say.cut()
        else:
            await say.whole({})

    server = await serve(handler)
    assert await kept_for(mine, server) == pytest.approx(3600)
    request = mine.prepared("POST", server.url, {}, None, None)
    early = mine.begin(request, b"lost", Timeouts()) if begins else None
    with pytest.raises(ConnectionFailed):
        await mine.send(request, b"lost", sent_on=early)
    assert len(server.seen) == 2
    assert await kept_for(mine, server) == pytest.approx(4)


def test_closes_of_servers_are_remembered_for_a_while_and_of_a_few() -> None:
    """By how long the connection lay idle; one that restarts may close at any age, which says little."""
    closes, origins = ObservedCloses(60), [Origin("http", f"host-{number}", 80, None, None) for number in range(300)]
    assert closes.seconds(origins[0], 100) == 60
    assert [closes.note(origins[0], idle, 100) for idle in (70, 31.9, 31.2, 40, 5, 0.1)] == [60, 30, 30, 30, 4, 4]
    assert [closes.seconds(origins[0], now) for now in (101, 3700, 3701)] == [4, 4, 60]
    for origin in origins[1:]:
        closes.note(origin, 5, 101)
    assert [closes.seconds(origins[number], 102) for number in (0, 43, 44, 299)] == [60, 60, 4, 4]


@pytest.mark.parametrize("begins", [False, True])
async def test_a_pool_that_is_closed_while_a_connection_opens(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, begins: bool
) -> None:
    """The request learns that the pool is closed, and not that the server closed a connection; nothing stays open."""
    begun, go = asyncio.Event(), asyncio.Event()
    connect = tunnel.connect

    async def start(*arguments: Any, **options: Any) -> Any:
        begun.set()
        await go.wait()
        return await connect(*arguments, **options)

    monkeypatch.setattr(tunnel, "connect", start)
    server = await serve(echo)
    mine = Pool()
    request = mine.prepared("POST", server.url, {}, None, None)
    early = mine.begin(request, b"{}", Timeouts(), lambda: None) if begins else None
    assert (early is not None) == begins
    asked = asyncio.create_task(mine.send(request, b"{}", sent_on=early))
    await begun.wait()
    await mine.close()
    go.set()
    with pytest.raises(NotReady, match="closed"):
        await asked
    assert (mine._count, mine._origins, server.seen) == (0, {}, [])

"""The pool's connections: which are kept, who waits for one and how long, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from math import inf
from pathlib import Path
from typing import Any

import pytest
import uvloop

from polychat import errors
from polychat.events import Event, Finish, Text
from polychat.http.pool import pool as pools
from polychat.http.pool import shared_connections
from polychat.http.pool.pool import Pool, pool
from polychat.http.timeouts import ExchangeTimeouts, ExchangeTimer, Timeouts

from ...support import tls
from ...support.pool_requests import ask, echo, json_of, settled
from ...support.proxies import listening
from ...support.scripted_server import Say, Seen, Server, serving
from ...support.word_reader import Words

Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def own() -> AsyncGenerator[Callable[..., Pool], None]:
    """Pools with limits of a test's own."""
    made: list[Pool] = []

    def make(**limits: Any) -> Pool:
        made.append(Pool(**limits))
        return made[-1]

    yield make
    for one in made:
        await one.close()


# Connections


async def test_connections_are_kept(serve: Serve) -> None:
    """Asks after each other share one; the one used last is used next."""
    server = await serve(echo)
    for _ in range(3):
        await json_of(server.url)
    assert server.connections == 1
    first, second = await ask(server.url), await ask(server.url)
    last = second._connection
    await first.read()
    await second.read()
    third = await ask(server.url)
    assert third._connection is last
    await third.read()
    assert server.connections == 2


async def test_a_connection_is_kept_though_the_reader_had_its_end_before_the_body(serve: Serve) -> None:
    """The terminating chunk comes after the reader's last word: nobody waits for it, and the connection is not lost."""
    further = asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        await say.head()
        await say.chunk(b"word\n.\n")
        await further.wait()
        await say.last()

    server = await serve(handler)
    async with asyncio.timeout(60):
        for _ in range(2):
            further.clear()
            async with await ask(server.url) as response:
                assert [batch async for batch in response.events(Words())][-1][-1] == Finish("complete")
            further.set()
            await settled()
    assert (server.connections, len(pool()._origin_of)) == (1, 1)


async def test_a_server_that_talks_on_after_the_end_is_left(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for long nor for much: the connection is closed."""

    async def silent(seen: Seen, say: Say) -> None:
        await say.head()
        await say.chunk(b"word\n.\n")
        await say.gone()

    async def chatty(seen: Seen, say: Say) -> None:
        await say.head()
        await say.chunk(b"word\n.\n")
        while True:
            await say.chunk(b"more\n" * 1000)

    monkeypatch.setattr(shared_connections, "_LINGER", 0.05)
    async with asyncio.timeout(60):
        for handler in (silent, chatty):
            server = await serve(handler)
            async with await ask(server.url) as response:
                async for _ in response.events(Words()):
                    pass
            while server.open:
                await asyncio.sleep(0)
            assert not pool()._origin_of


async def test_who_stops_early_closes(serve: Serve) -> None:
    """By leaving, by closing, by being cancelled: the server hears of it, and no connection is kept."""

    async def handler(seen: Seen, say: Say) -> None:
        if seen.path == "/body":
            await say.head()
            await say.chunk(b"word\n")
        await say.gone()

    server = await serve(handler)
    async with asyncio.timeout(60):
        async with await ask(f"{server.url}/body"):
            pass
        task = asyncio.create_task(json_of(f"{server.url}/body"))
        other = asyncio.create_task(json_of(f"{server.url}/head"))
        while len(server.seen) < 3:
            await asyncio.sleep(0)
        for one in (task, other):
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
        while server.open:
            await asyncio.sleep(0)
    assert not pool()._origin_of


@pytest.mark.parametrize("body", [None, b"{}"])
async def test_a_connection_that_the_server_closed_is_not_used(serve: Serve, body: bytes | None) -> None:
    """Though the loop had no turn to hear of it: the request goes out once, on another."""
    done = threading.Event()

    def serve_twice(listener: socket.socket) -> None:
        for _ in range(2):
            sock, _ = listener.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            done.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)  # a failure must not hold up the rest
        thread = threading.Thread(target=serve_twice, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        response = await ask(url, body)
        done.wait(10)  # the loop stands still, and the server closes
        assert await response.read() == b"{}"
        assert await json_of(url, body) == {}
        thread.join()


@pytest.mark.parametrize(
    ("method", "headers", "reset", "again"),
    [
        ("GET", {}, False, True),
        ("POST", {}, False, False),
        ("POST", {"Idempotency-Key": "k"}, False, True),
        ("POST", {}, True, False),
        ("GET", {}, True, True),
    ],
)
async def test_what_a_dead_connection_swallowed_is_sent_again_once(
    method: str, headers: dict[str, str], reset: bool, again: bool
) -> None:
    """If asking twice is as asking once, however the connection ended; not on a connection that was new."""
    count = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        await reader.readuntil(b"\r\n\r\n")
        count += 1
        if count == 1 or (count == 3 and again):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await reader.readuntil(b"\r\n\r\n")
            count += 1
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async with listening(talk) as server, asyncio.timeout(60):
        assert await json_of(server.url, None, method=method, headers=headers) == {}
        if again:
            assert await json_of(server.url, None, method=method, headers=headers) == {}
        with pytest.raises(errors.ConnectionFailed):
            await json_of(server.url, None, method=method, headers=headers)
    assert count == (5 if again else 2)


async def test_nothing_is_sent_three_times() -> None:
    """However many kept connections the server closes as soon as a request comes."""
    count = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await reader.readuntil(b"\r\n\r\n")
        count += 1

    async with listening(talk) as server, asyncio.timeout(60):
        for response in [await ask(server.url, None, "GET") for _ in range(4)]:
            await response.read()
        with pytest.raises(errors.ConnectionFailed):
            await json_of(server.url, None, method="GET")
    assert count == 2


async def test_a_kept_connection_that_is_silent_is_asked_once() -> None:
    """Its server may be at work on the request: time that is up is no lost connection."""
    count = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        while await reader.readuntil(b"\r\n\r\n"):
            count += 1

    async with listening(talk) as server, asyncio.timeout(60):
        assert await json_of(server.url, None, method="GET") == {}
        with pytest.raises(errors.TimedOut, match="first"):
            await json_of(server.url, None, method="GET", timeouts=Timeouts(first=0.05))
    assert count == 1


async def test_a_new_connection_that_is_lost_is_lost() -> None:
    """Only one that was kept may have been closed just then."""
    count = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        await reader.readuntil(b"\r\n\r\n")
        count += 1

    async with listening(talk) as server:
        with pytest.raises(errors.ConnectionFailed, match="before replying"):
            await json_of(server.url, None, method="GET")
    assert count == 1


async def test_a_reply_that_began_is_not_asked_for_again() -> None:
    """A kept connection that breaks after the first byte of a head."""
    count = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        for answer in (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 200"):
            await reader.readuntil(b"\r\n\r\n")
            count += 1
            writer.write(answer)

    async with listening(talk) as server, asyncio.timeout(60):
        assert await json_of(server.url, None, method="GET") == {}
        with pytest.raises(errors.ConnectionFailed, match="before replying"):
            await json_of(server.url, None, method="GET")
    assert count == 2


async def test_what_lies_idle_is_closed(serve: Serve, own: Callable[..., Pool]) -> None:
    """After its seconds, without anybody asking."""
    server = await serve(echo)
    mine = own(idle=0.02)
    async with asyncio.timeout(60):
        for _ in range(2):
            response = await mine.request("GET", server.url, headers={})
            await response.read()
            assert server.open == 1
            while server.open:
                await asyncio.sleep(0)
    assert (mine._count, mine._origins, mine._sweeper) == (0, {}, None)


# Limits


@pytest.mark.parametrize("most", [1, 3])
async def test_who_asks_for_more_waits_in_turn(serve: Serve, own: Callable[..., Pool], most: int) -> None:
    """No more connections than allowed are opened to a server, and all are answered, the first first."""
    server = await serve(echo)
    mine = own(per_origin=most)

    async def one(number: int) -> None:
        async with await mine.request("GET", f"{server.url}/{number}", headers={}) as response:
            await response.read()

    await asyncio.gather(*(one(number) for number in range(12)))
    assert server.connections == mine._count == most
    order = [int(seen.target[1:]) for seen in server.seen]
    assert sorted(order) == list(range(12))
    assert most > 1 or order == list(range(12))


async def test_the_limit_in_all_closes_what_is_idle_elsewhere(serve: Serve, own: Callable[..., Pool]) -> None:
    """Who waits longest is next, whichever server it is for."""
    order: list[str] = []

    async def handler(seen: Seen, say: Say) -> None:
        order.append(seen.path)
        await echo(seen, say)

    one, two = await serve(handler), await serve(handler)
    mine = own(total=1, idle=3600)

    async def go(server: Server, number: int) -> None:
        async with await mine.request("GET", f"{server.url}/{number}", headers={}) as response:
            await response.read()

    async with asyncio.timeout(60):
        await asyncio.gather(*(go(server, number) for number, server in enumerate([one, one, two, one, two])))
        assert order == ["/0", "/1", "/2", "/3", "/4"]
        held = await mine.request("GET", one.url, headers={})
        waiting = asyncio.create_task(go(two, 5))
        await asyncio.sleep(0)
        await held.read()
        await waiting
    assert mine._count == 1


async def test_room_is_made_by_what_lies_idle_for_longest(serve: Serve, own: Callable[..., Pool]) -> None:
    """The connection that was used last is the one to be used again."""
    old, new, other = [await serve(echo) for _ in range(3)]
    mine = own(total=2, idle=3600)
    for server in (old, new, old, new, other, new):
        async with await mine.request("GET", server.url, headers={}) as response:
            await response.read()
    assert [server.connections for server in (old, new, other)] == [1, 1, 1]
    async with await mine.request("GET", old.url, headers={}) as response:
        await response.read()
    assert old.connections == 2


async def test_waiting_has_the_connect_clock_and_can_be_cancelled(serve: Serve, own: Callable[..., Pool]) -> None:
    """Whoever gives up leaves no gap behind: the next is served. It is no failure of the server, which was not asked."""
    server = await serve(echo)
    mine = own(per_origin=1)
    held = await mine.request("GET", server.url, headers={})
    with pytest.raises(errors.Resting, match="no connection was free within 0.02 s") as caught:
        await mine.request("GET", server.url, headers={}, timeouts=Timeouts(connect=0.02))
    assert (caught.value.kind, caught.value.status) == ("overloaded", 503)
    with pytest.raises(errors.TimedOut, match="total"):
        await mine.request("GET", server.url, headers={}, timeouts=Timeouts(total=0.02))
    first = asyncio.create_task(mine.request("GET", server.url, headers={}))
    second = asyncio.create_task(mine.request("GET", server.url, headers={}))
    await asyncio.sleep(0)
    await held.read()  # it is the first one's turn now
    first.cancel()
    async with asyncio.timeout(60):
        assert await (await second).read()
    assert mine._count == 1


async def test_a_failed_connection_leaves_no_gap(own: Callable[..., Pool]) -> None:
    """What could not be opened does not count."""
    mine = own(per_origin=1, total=1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for _ in range(3):
        with pytest.raises(errors.ConnectionFailed, match="cannot connect to"):
            await mine.request("GET", f"http://127.0.0.1:{port}", headers={}, timeouts=Timeouts(connect=5))
    assert (mine._count, mine._origins) == (0, {})


# Timeouts


@pytest.mark.parametrize(
    ("clock", "head"), [("first", False), ("first", True), ("total", False), ("total", True), ("idle", True)]
)
async def test_each_clock_has_its_error(serve: Serve, clock: str, head: bool) -> None:
    """First: until the body begins, though a head came. Idle: after that. Total: always. Received data is returned before."""

    async def handler(seen: Seen, say: Say) -> None:
        if head:
            await say.head()
        if clock == "idle":
            await say.chunk(b"word\n")
        await say.gone()

    server = await serve(handler)
    option: dict[str, Any] = {"timeouts": Timeouts(**{clock: 0.05})}
    with pytest.raises(errors.TimedOut) as caught:
        await (await ask(server.url, **option, provider="Mine")).read()
    assert (caught.value.clock, caught.value.seconds, caught.value.provider) == (clock, 0.05, "Mine")
    if head:
        events = [event async for batch in (await ask(server.url, **option)).events(Words()) for event in batch]
        assert isinstance(events[-1], Finish)
        assert (events[-1].verdict, type(events[-1].error)) == ("truncated", errors.TimedOut)
        assert events[:-1] == ([Text("word")] if clock == "idle" else [])
    assert not pool()._origin_of


async def test_the_connect_clock_is_for_tls_too() -> None:
    """A server that takes the connection and says nothing."""
    async with listening(lambda reader, _: reader.read(-1)) as server:
        with pytest.raises(errors.TimedOut, match="connect"):
            await ask(server.url.replace("http:", "https:"), timeouts=Timeouts(connect=0.05))
    assert pool()._count == 0


class Watch:
    """A loop's clock and alarms, moved by hand."""

    def __init__(self) -> None:
        self.alarms: list[tuple[float, Callable[[], None]]] = []

    def call_at(self, when: float, callback: Callable[[], None]) -> Watch:
        self.alarms.append((when, callback))
        return self

    def cancel(self) -> None:
        self.alarms.pop()

    def ring(self) -> float:
        ((when, callback),) = self.alarms
        self.alarms.clear()
        callback()
        return when


def test_one_alarm_serves_all_waits() -> None:
    """It does not run while the caller is busy, which is never late; it is moved only for a wait that ends sooner."""
    late: list[errors.TimedOut] = []
    watch = Watch()
    timer = ExchangeTimer(watch, late.append, ExchangeTimeouts(inf, 100, 10, 1000, 1000))  # type: ignore[arg-type]
    timer.wait("first", 0, 100)
    timer.stop()
    timer.wait("idle", 2, 10)
    timer.stop()
    timer.wait("idle", 5, 10)
    assert [when for when, _ in watch.alarms] == [12]
    assert (watch.ring(), late) == (12, [])  # the wait it was set for is over, another began
    timer.stop()
    assert (watch.ring(), late, watch.alarms) == (15, [], [])  # nobody waits
    timer.wait("idle", 995, 10)
    assert watch.ring() == 1000
    timer.wait("idle", 20, 10)
    assert watch.ring() == 30
    assert [(error.clock, error.seconds) for error in late] == [("total", 1000), ("idle", 10)]


async def test_no_alarm_is_left_behind(serve: Serve) -> None:
    """A kept connection has one, which is gone when it is closed."""
    server = await serve(echo)
    loop: Any = asyncio.get_running_loop()
    await json_of(server.url, timeouts=Timeouts(total=1000))
    await json_of(server.url, timeouts=Timeouts(total=1000))
    assert len([handle for handle in loop._scheduled if not handle.cancelled() and handle.when() > loop.time() + 100]) == 1
    with pytest.raises(errors.BadReply):
        await (await ask(server.url, timeouts=Timeouts(total=1000))).read(limit=1)
    await pool().close()
    soon = loop.time() + 100
    assert not [handle for handle in loop._scheduled if not handle.cancelled() and handle.when() > soon]


async def test_a_deadline_that_is_past_asks_nothing(serve: Serve) -> None:
    """Nothing leaves the process."""
    server = await serve(echo)
    with pytest.raises(errors.TimedOut, match="total"):
        await ask(server.url, deadline=asyncio.get_running_loop().time())
    assert server.connections == 0


async def test_a_request_that_is_begun_and_whose_time_is_over_lets_go_of_its_connection(serve: Serve) -> None:
    """Nobody reads the reply to what ``begin`` has sent: the connection is closed at once, and its place is free."""
    server = await serve(echo)
    await json_of(server.url)
    request = pool().prepared("POST", server.url, {}, None, None)
    connection = pool().begin(request, b"{}", Timeouts())
    assert connection is not None
    with pytest.raises(errors.TimedOut):
        await pool().send(request, b"{}", deadline=asyncio.get_running_loop().time(), sent_on=connection)
    assert (pool().state(connection), pool()._count) == ("closed", 0)


@pytest.mark.parametrize(("total", "deadline"), [(0.05, 1000.0), (1000.0, 0.05), (0.05, None), (None, 0.05)])
async def test_of_a_deadline_and_the_total_clock_the_first_counts(
    serve: Serve, total: float | None, deadline: float | None
) -> None:
    """Whichever of them the caller means to wait longer for."""
    server = await serve(silent)
    end = None if deadline is None else asyncio.get_running_loop().time() + deadline
    async with asyncio.timeout(60):
        with pytest.raises(errors.TimedOut, match="total"):
            await ask(server.url, timeouts=Timeouts(total=total), deadline=end)


async def silent(seen: Seen, say: Say) -> None:
    """Never answers."""
    await say.gone()


@pytest.mark.parametrize("slow", [False, True])
async def test_the_total_clock_ends_a_reply_that_never_ends(serve: Serve, slow: bool) -> None:
    """For a reader who always finds something to read when it comes back, too."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.head()
        while True:
            await say.chunk(b"word\n" * 50_000)

    server, other = await serve(handler), await serve(echo)
    async with asyncio.timeout(60):
        with pytest.raises(errors.TimedOut, match="total"):
            async for _ in (await ask(server.url, timeouts=Timeouts(total=0.1))).iter_content():
                for _turn in range(5 * slow):
                    await json_of(other.url)


# Loops


async def _both_ways(open_until_the_end: AsyncExitStack) -> tuple[Pool, list[int]]:
    counts = []
    for context in (None, tls.server_context()):
        server = await open_until_the_end.enter_async_context(serving(echo, context))
        for _ in range(3):
            assert (await json_of(server.url, b"hi"))["body"] == "hi"
        large = b"x" * 1_000_000
        assert (await json_of(server.url, large))["body"] == large.decode()
        counts.append(server.connections)
    return pool(), counts


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_loop_takes_its_connections_with_it(loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anybody closing them, on asyncio's loop and on uvloop; the next loop begins anew, and nothing warns."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca_file(tmp_path)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            with asyncio.Runner(loop_factory=loop) as runner:
                left, counts = runner.run(_both_ways(servers := AsyncExitStack()))
                assert (left.closed, len(left._origin_of), counts) == (False, 2, [1, 1])
                assert len(pools._pools.kept) == 1
            assert left.closed
            assert all(connection.transport.is_closing() for connection in left._origin_of)
            del left, servers
            gc.collect()
            assert len(pools._pools.kept) == 0


async def test_a_pool_that_is_closed_cuts_off_and_takes_no_more(serve: Serve, own: Callable[..., Pool]) -> None:
    """Replies under way end as truncated, waiting requests fail, and a further request is an error with the reason."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.head()
        await say.chunk(b"word\n")
        await say.gone()

    server = await serve(handler)
    mine = own(per_origin=1)
    response = await mine.request("GET", server.url, headers={})
    waiting = asyncio.create_task(mine.request("GET", server.url, headers={}))
    await asyncio.sleep(0)
    await mine.close()
    events: list[Event] = [event async for batch in response.events(Words()) for event in batch]
    assert isinstance(events[-1], Finish)
    assert events[-1].verdict == "truncated"
    with pytest.raises(errors.NotReady):
        await mine.request("GET", server.url, headers={})
    with pytest.raises(errors.NotReady):
        await waiting


def test_no_http_client_is_loaded() -> None:
    """The pool knows aiohttp's errors only when there is an error."""
    code = "import polychat.http.pool.pool, sys; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

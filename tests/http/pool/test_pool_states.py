"""The pool and its connections go the ways of their tables, whatever requests, servers and time do to them."""

from __future__ import annotations

import asyncio
import random
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, cast

import pytest

from polychat import errors
from polychat.http.pool import connection as connections
from polychat.http.pool import opening as openings
from polychat.http.pool import shared_connections
from polychat.http.pool.connection import PoolConnection
from polychat.http.pool.heads import Origin
from polychat.http.pool.pool import Pool
from polychat.http.pool.response import PooledResponse
from polychat.http.timeouts import Timeouts

from ...support.compiled import replaces_compiled
from ...support.state_tables import moves, transitions

pytestmark = replaces_compiled

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
LAST = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n{}"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
EARLY = b"HTTP/1.1 100 Continue\r\n\r\n"
NONSENSE = b"\x00\x01\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"
END = b"0\r\n\r\n"
REPLIES = (WHOLE, WHOLE, HEAD, HEAD, HEAD, LAST, UNTIL_CLOSE, EMPTY, EARLY, NONSENSE)
BODIES = (None, b"{}", b"x" * 200_000)
SERVERS = ("http://a/", "http://b/")


class Transport:
    """A connection's other side, which a test plays; ``socket`` is there to be polled."""

    def __init__(self, connection: PoolConnection, slow: bool) -> None:
        self.connection, self.slow = connection, slow
        self.socket, self.peer = socket.socketpair()
        self.closed = False
        connection.connection_made(cast(Any, self))

    def get_extra_info(self, name: str) -> Any:
        return self.socket

    def write(self, data: bytes) -> None:
        if self.slow:
            self.connection.pause_writing()

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, error)
            self.socket.close()
            self.peer.close()


class Steppable(PoolConnection):
    """One whose methods can be replaced."""


class Play:
    """A pool, and all that a test can do to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **limits: Any) -> None:
        self.now = 1000.0
        self.slow = False
        """Whether servers read nothing until a test says so."""
        self.loop = asyncio.get_running_loop()
        monkeypatch.setattr(self.loop, "time", lambda: self.now)
        for module in (shared_connections, openings):
            monkeypatch.setattr(module, "opened", self._opened)
        monkeypatch.setattr(shared_connections, "PoolConnection", Steppable)
        self.pool = Pool(**limits)
        self.opening: list[asyncio.Future[None]] = []
        self.transports: list[Transport] = []
        self.requests: list[asyncio.Task[PooledResponse]] = []
        self.early: list[PoolConnection] = []
        """Those of requests that were sent, or are sent when a connection is open, and for which nobody waits."""
        self.states: dict[PoolConnection, str] = {}
        self.moves: set[tuple[str, str]] = set()
        self.within: dict[PoolConnection, str] = {}
        self.moves_within: set[tuple[str, str]] = set()
        """Of the connections themselves."""
        for name in ("give_back", "linger", "_forget"):
            self._watch(name)

    def _watch(self, name: str) -> None:
        """Look at the states after each step of the pool, and not only after a turn of the loop."""
        method = getattr(self.pool, name)

        def stepped(*arguments: Any) -> Any:
            result = method(*arguments)
            self.note()
            return result

        setattr(self.pool, name, stepped)

    def _step(self, connection: PoolConnection, *names: str) -> None:
        """Look at its state before and after each call of these methods, which are all that changes it."""
        for name in names:
            method = getattr(connection, name)

            def stepped(*arguments: Any, method: Any = method, **options: Any) -> Any:
                self.note_within(connection)
                result = method(*arguments, **options)
                self.note_within(connection)
                return result

            setattr(connection, name, stepped)

    def note_within(self, connection: PoolConnection) -> None:
        before, after = self.within[connection], connection.state
        if before != after:
            self.moves_within.add((before, after))
        self.within[connection] = after

    async def _opened(self, *facts: Any) -> PoolConnection:
        *_, connection = facts if len(facts) == 4 else (None,)
        done = self.loop.create_future()
        self.opening.append(done)
        self.moves.add(("none", "opening"))
        try:
            await done
        except BaseException:
            self.moves.add(("opening", "closed"))
            raise
        finally:
            self.opening.remove(done)
        is_early, connection = connection is not None, connection or Steppable()
        self.transports.append(Transport(connection, self.slow))
        if not is_early:
            self._follow(connection, "free")
        return connection

    def _follow(self, connection: PoolConnection, state: str) -> None:
        self.states[connection] = "opening"
        self.within[connection] = state
        made = "connection_made" if state == "opening" else "exchange"
        self._step(connection, made, "finish", "abort", "data_received", "connection_lost", "resume_writing")

    def note(self) -> None:
        for connection in self.within:
            self.note_within(connection)
        for connection, before in self.states.items():
            after = self.pool.state(connection)
            if after != before and not (before == "opening" and after == "closed" and connection not in self.pool._origin_of):
                self.moves.add((before, after))
                self.states[connection] = after

    def look(self) -> None:
        self.note()
        assert self.pool._count == len(self.opening) + len(self.pool._origin_of) + self.granted()
        assert self.pool._count == sum(entry.count for entry in self.pool._origins.values())
        assert self.pool._count <= self.pool._total
        for entry in self.pool._origins.values():
            assert entry.count <= self.pool._per_origin
            assert entry.count or entry.waiting, "forgotten nowhere"
            assert all(connection.done and not connection.in_use for connection in entry.idle)
            if any(not waiter.done() for waiter in entry.waiting):
                assert not self.pool._can_serve(entry), "a request waits that could be served"

    def granted(self) -> int:
        """Rights to open a connection that nobody has begun to use yet."""
        return self.pool._count - len(self.opening) - len(self.pool._origin_of)

    async def turns(self, count: int = 6) -> None:
        for _ in range(count):
            await asyncio.sleep(0)
            self.look()

    def request(self, server: str = SERVERS[0], **options: Any) -> asyncio.Task[PooledResponse]:
        self.requests.append(asyncio.create_task(self.pool.request("GET", server, headers={}, **options)))
        self.requests[-1].add_done_callback(lambda task: task.cancelled() or task.exception())
        return self.requests[-1]

    def begin(self, server: str, timeouts: Timeouts, *, is_refused: bool, is_awaited: bool) -> None:
        """A request that is sent without a task, or gets one later."""

        def check() -> None:
            if is_refused:
                raise errors.Resting("it rests")

        request = self.pool.prepared("POST", server, {}, None, None)
        if (connection := self.pool.begin(request, b"{}", timeouts, check)) is None:
            return
        if connection not in self.within:
            self._follow(connection, "opening")
        if is_awaited:
            task = asyncio.create_task(self.pool.send(request, b"{}", timeouts=timeouts, sent_on=connection))
            self.requests.append(task)
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
        else:
            connection.listener = lambda: None
            self.early.append(connection)

    def _give_back_early(self) -> None:
        connection = self.early.pop()
        connection.listener = None
        if connection.opening is None and not connection.done:
            connection.abort(None)
        self.pool.give_back(connection)

    def busy(self) -> list[Transport]:
        return [one for one in self.transports if not one.closed and one.connection.in_use and not one.connection.done]

    def idle(self) -> list[Transport]:
        return [one for one in self.transports if self.pool.state(one.connection) == "idle" and not one.closed]

    def responses(self) -> list[PooledResponse]:
        done = [task for task in self.requests if task.done() and not task.cancelled() and task.exception() is None]
        return [task.result() for task in done if not task.result()._closed]

    def act(self, action: str, chance: random.Random) -> None:
        match action:
            case "request":
                self.request(
                    chance.choice(SERVERS),
                    body=chance.choice(BODIES),
                    timeouts=Timeouts(connect=chance.choice([2.0, None]), idle=4.0, total=None),
                )
            case "begin":
                timeouts = Timeouts(connect=chance.choice([2.0, None]), idle=4.0, total=None)
                self.begin(chance.choice(SERVERS), timeouts, is_refused=chance.random() < 0.2, is_awaited=chance.random() < 0.5)
            case "give back" if self.early:
                self._give_back_early()
            case "open" if waiting := [done for done in self.opening if not done.done()]:
                waiting[0].set_result(None)
            case "refuse" if waiting := [done for done in self.opening if not done.done()]:
                waiting[0].set_exception(errors.ConnectionFailed("refused"))
            case "reply" if self.busy():
                transport = chance.choice(self.busy())
                connection = transport.connection
                connection.data_received(END if connection.has_head else chance.choice(REPLIES))
            case "write" if alive := [one for one in self.transports if not one.closed]:
                connection = chance.choice(alive).connection
                chance.choice([connection.pause_writing, connection.resume_writing])()
            case "lose" if self.transports:
                chance.choice(self.transports).lose(chance.choice([None, ConnectionResetError()]))
            case "talk" if self.idle():
                chance.choice(self.idle()).peer.send(b"x")
            case "close" if self.responses():
                chance.choice(self.responses()).close()
            case "finish" if self.responses():
                chance.choice(self.responses()).finish()
            case "cancel" if self.requests:
                chance.choice(self.requests).cancel()
            case "later":
                self.now += chance.choice([0.4, 1.1, 5.0])

    async def end(self) -> None:
        """Nothing stays: no connection, no request that waits, no timer."""
        for task in self.requests:
            task.cancel()
        for response in self.responses():
            response.close()
        while self.early:
            self._give_back_early()
        await self.turns()
        await self.pool.close()
        await self.turns()
        for connection in list(self.pool._origin_of):
            self.pool._drop(connection)
        await asyncio.gather(*self.requests, return_exceptions=True)
        assert (self.pool._count, self.pool._origins, self.pool._lingering) == (0, {}, set())
        for transport in self.transports:
            transport.lose(None)


@contextmanager
def played(monkeypatch: pytest.MonkeyPatch, **limits: Any) -> Generator[Play]:
    with monkeypatch.context() as patched:
        yield Play(patched, **limits)


ACTIONS = (
    "request",
    "request",
    "begin",
    "give back",
    "open",
    "open",
    "refuse",
    "reply",
    "reply",
    "reply",
    "lose",
    "talk",
    "close",
    "finish",
    "finish",
)
RARE = ("write", "cancel", "later")


@pytest.mark.parametrize("seed", range(8))
async def test_in_any_order(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Counts are true, limits hold, nobody waits who could be served, and connections go the ways of the table."""
    chance = random.Random(seed)
    for _ in range(25):
        with played(monkeypatch, per_origin=2, total=3, idle=4.0) as play:
            for _ in range(60):
                play.act(chance.choice((*ACTIONS, chance.choice(RARE))), chance)
                await play.turns(chance.randint(0, 4))
            await play.end()
            assert play.moves <= moves(transitions(shared_connections, "connection"))
            assert play.moves_within <= moves(transitions(connections, "state"))


async def test_the_tables_are_true(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections go each way that the tables have, and no other: as the pool sees them, and within an exchange."""
    chance, seen, within = random.Random(3), set[tuple[str, str]](), set[tuple[str, str]]()
    for scene in (lost_when_granted, cancelled_when_granted):
        with played(monkeypatch, per_origin=1) as play:
            await scene(play)
            await play.end()
            seen |= play.moves
    for outcome in ("resume", "lose", "head", "empty"):
        with played(monkeypatch) as play:
            await slow_server(play, outcome)
            await play.end()
            within |= play.moves_within
    ways, ways_within = moves(transitions(shared_connections, "connection")), moves(transitions(connections, "state"))
    for _ in range(2000):
        if (seen, within) == (ways, ways_within):
            break
        with played(monkeypatch, per_origin=2, total=3, idle=4.0) as play:
            for _ in range(60):
                play.act(chance.choice((*ACTIONS, chance.choice(RARE))), chance)
                await play.turns(chance.randint(0, 4))
            await play.end()
            seen |= play.moves
            within |= play.moves_within
    assert seen == ways
    assert within == ways_within


async def slow_server(play: Play, outcome: str) -> None:
    """A server that does not read a large request, and then does, or is lost, or replies."""
    play.slow = True
    request = play.request(body=BODIES[-1])
    await play.turns()
    play.opening[0].set_result(None)
    await play.turns()
    (transport,) = play.transports
    transport.slow = False
    assert transport.connection.state == "sending"
    match outcome:
        case "resume":
            transport.connection.resume_writing()
        case "lose":
            transport.lose(None)
        case "head":
            transport.connection.data_received(HEAD)
        case "empty":
            transport.connection.data_received(EMPTY)
    await play.turns()
    request.cancel()


async def granted(play: Play) -> tuple[Transport, asyncio.Task[PooledResponse]]:
    """A connection that was granted to a request that has not run since."""
    first = play.request()
    await play.turns()
    play.opening[0].set_result(None)
    await play.turns()
    second = play.request()
    await play.turns()
    (transport,) = play.transports
    transport.connection.data_received(WHOLE)
    (await first).close()
    assert play.pool.state(transport.connection) == "granted"
    return transport, second


async def lost_when_granted(play: Play) -> None:
    transport, second = await granted(play)
    transport.lose(None)
    await play.turns()
    play.opening[0].set_result(None)
    await play.turns()
    play.transports[1].connection.data_received(WHOLE)
    assert await (await second).read() == b"{}"


async def cancelled_when_granted(play: Play) -> None:
    _, second = await granted(play)
    second.cancel()
    await play.turns()


async def test_a_connection_that_is_lost_when_it_is_granted_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that closes right behind its reply takes nothing from the request that waited for the connection."""
    with played(monkeypatch, per_origin=1) as play:
        await lost_when_granted(play)
        await play.end()


async def test_a_server_is_forgotten_with_the_last_who_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are cancelled while they wait leave nothing of their server behind."""
    with played(monkeypatch, total=1) as play:
        play.request()
        await play.turns()
        for number in range(5):
            waiting = play.request(f"http://host-{number}/")
            await play.turns()
            waiting.cancel()
            await play.turns()
        assert len(play.pool._origins) == 1
        await play.end()


class Kept:
    """A connection that can be given back again and again."""

    in_use, opening, reusable_until, idle_since, announced = False, None, 0.0, 0.0, b""

    def finish(self) -> bool:
        return True

    def abort(self, _: object) -> None: ...


async def steps_to_give_back(servers: int) -> int:
    """Instructions of the pool when one of so many connections, all in use, is free for a request to another server."""
    pool = Pool(total=servers, per_origin=1)
    connections = [cast(PoolConnection, Kept()) for _ in range(servers)]
    for number, connection in enumerate(connections):
        origin = Origin("http", f"host-{number}", 80, None, None)
        assert await pool._wait_turn(origin) is None
        pool._origin_of[connection] = origin
    waiting = [
        asyncio.create_task(pool._wait_turn(Origin("http", f"{kind}-{number}", 80, None, None)))
        for kind in ("host", "other")
        for number in range(servers)
    ]
    await asyncio.sleep(0)
    steps = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode" and frame.f_code.co_filename == shared_connections.__file__
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        pool.give_back(connections[servers // 2])
    finally:
        sys.settrace(before)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await pool.close()
    return steps


async def test_a_free_connection_finds_its_request_in_as_many_steps_whatever_the_number_of_servers() -> None:
    """Also where every connection is in use and requests wait for every server."""
    assert await steps_to_give_back(1_000) <= await steps_to_give_back(10) + 20

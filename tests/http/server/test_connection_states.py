"""The server's connections go the ways of their table, whatever clients, applications and time do to them."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections.abc import Iterator
from itertools import count
from typing import Any, cast

import pytest

from polychat.config.settings import Limits
from polychat.http.server import protocol
from polychat.http.server.cycle import FastPath, RequestCycle
from polychat.http.server.known_head import KnownHeads
from polychat.http.server.protocol import ServerConnection
from polychat.http.server.request_parser import RequestParser
from polychat.http.server.state import ServerState

from ...support.compiled import replaces_compiled
from ...support.state_tables import moves, transitions

pytestmark = replaces_compiled

WAYS = moves(transitions(protocol, "connection"))
CLOCKS = {"head": "head", "discarding": "head", "idle": "idle", "held": "held", "lingering": "linger"}
"""In which queue of timeouts a connection of each state waits; in none in any other."""

AGAIN = b"POST /again HTTP/1.1\r\nhost: h\r\ncontent-length: 80\r\n\r\n" + b"x" * 80
"""A request whose head becomes known."""


class Transport:
    """What is written, and whether the connection is read."""

    def __init__(self, loop: asyncio.AbstractEventLoop, secure: bool) -> None:
        self.loop, self.secure = loop, secure
        self.socket, self.peer = socket.socketpair()
        self.out = bytearray()
        self.closing = self.paused = False
        self.connection: Any = None

    def get_extra_info(self, name: str) -> Any:
        return {"socket": self.socket, "sslcontext": self if self.secure else None}.get(name)

    def write(self, data: bytes) -> None:
        if not self.closing:
            self.out += data

    def can_write_eof(self) -> bool:
        return not self.secure

    def write_eof(self) -> None: ...

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            self.loop.call_soon(self.connection.connection_lost, None)
            self.socket.close()
            self.peer.close()

    abort = close


class Observed(ServerConnection):
    """Notes its state before and after each of its steps."""

    def __init__(self, server: ServerState, loop: asyncio.AbstractEventLoop, seen: set[tuple[str, str]]) -> None:
        self.seen, self.was = seen, "none"
        super().__init__(server, loop)

    def note(self) -> None:
        if self.state != self.was:
            self.seen.add((self.was, self.state))
            self.was = self.state


class ObservedParser(RequestParser):
    """Notes its connection's state before and after each event of llhttp."""

    def note(self) -> None:
        cast(Observed, self._connection).note()


def _step(base: type, name: str) -> Any:
    method = getattr(base, name)

    def stepped(self: Any, *arguments: Any) -> Any:
        if name != "connection_made":
            self.note()
        result = method(self, *arguments)
        self.note()
        return result

    return stepped


STEPS = "connection_made connection_lost data_received eof_received response_complete application_failed head_timed_out"
for step in (*STEPS.split(), "close", "abort", "shutdown", "parse_held"):
    setattr(Observed, step, _step(ServerConnection, step))
for step in ("on_message_begin", "on_headers_complete", "on_message_complete"):
    setattr(ObservedParser, step, _step(RequestParser, step))


class Play:
    """A connection, its client, and an application that the test controls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, chance: random.Random, heads: KnownHeads) -> None:
        """``heads``: those with which earlier connections began."""
        self.now, self.loop, self.chance = 1000.0, asyncio.get_running_loop(), chance
        monkeypatch.setattr(self.loop, "time", lambda: self.now)
        monkeypatch.setattr(protocol, "RequestParser", ObservedParser)
        self.state = ServerState(self, Limits())
        self.state.heads = heads
        self.seen: set[tuple[str, str]] = set()
        self.transport = Transport(self.loop, secure=chance.random() < 0.2)
        self.connection = self.transport.connection = Observed(self.state, self.loop, self.seen)
        self.connection.connection_made(cast(Any, self.transport))
        self.waiting: list[asyncio.Future[str]] = []
        self.coming = bytearray()
        self.requests = self._requests()

    def _requests(self) -> Iterator[bytes]:
        for number in count():
            head = b" /%d HTTP/1.1\r\nhost: h\r\n" % number
            yield self.chance.choice(
                [
                    *[AGAIN] * 12,
                    *[b"GET" + head + b"\r\n"] * 4,
                    *[b"POST" + head + b"content-length: 5\r\n\r\nhello"] * 3,
                    *[b"POST" + head + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] * 2,
                    *[b"POST" + head + b"content-length: 300\r\n\r\n" + b"x" * 300] * 2,
                    b"POST" + head + b"content-length: 70000\r\n\r\n" + b"x" * 70_000,
                    b"POST" + head + b"transfer-encoding: chunked\r\n\r\n5\r\nhelloX",
                    b"GET" + head + b"connection: close\r\n\r\n",
                    b"GET" + head + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n",
                    b"\x00\r\n\r\n",
                    b"GET" + head + b"content length: 5\r\n\r\n",
                ]
            )

    def fast_path(self, scope: Any) -> FastPath:
        """Its requests could be answered without a task, but are not."""
        return self

    def begin(self, cycle: RequestCycle, body: bytes) -> bool:
        return False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def next_answer() -> str:
            self.waiting.append(self.loop.create_future())
            return await self.waiting[-1]

        what, more = await next_answer(), [(b"x-id", scope["path"][1:].encode())] if scope["path"] != "/again" else []
        if what == "read":
            while (message := await receive())["type"] == "http.request" and message["more_body"]:
                pass
        if what == "stream":
            await send({"type": "http.response.start", "status": 200, "headers": more})
            await send({"type": "http.response.body", "body": b"some", "more_body": True})
            what = await next_answer()
            if what != "fail":
                await send({"type": "http.response.body", "body": b"end"})
        elif what != "fail":
            more += [(b"content-length", b"2"), *([(b"connection", b"close")] if what == "close" else [])]
            await send({"type": "http.response.start", "status": 200, "headers": more})
            await send({"type": "http.response.body", "body": b"{}"})
        if what == "fail":
            raise ZeroDivisionError

    def act(self) -> None:
        chance, connection, transport = self.chance, self.connection, self.transport
        match chance.choice(["come"] * 6 + ["answer"] * 6 + ["time", "end", "lose", "stop", "read on"]):
            case "come" if not (transport.closing or transport.paused):
                while len(self.coming) < 200:
                    self.coming += next(self.requests)
                size = chance.choice([1, 20, 80, 200, self.coming.find(b"\r\n\r\n") + 4, len(AGAIN), len(self.coming)])
                data, self.coming = bytes(self.coming[:size]), self.coming[size:]
                connection.data_received(data)
            case "answer" if waiting := [waiter for waiter in self.waiting if not waiter.done()]:
                waiting[0].set_result(chance.choice(["answer", "answer", "read", "stream", "close", "fail"]))
            case "time":
                self.now += chance.choice([3.0, 200.0])
            case "end" if chance.random() < 0.5 and not transport.closing and not connection.eof_received():
                transport.close()
            case "lose" if chance.random() < 0.2 and not transport.closing:
                transport.peer.close()
                transport.close()
            case "stop" if chance.random() < 0.2:
                self.state.draining = True
                connection.shutdown()

    def check(self) -> None:
        connection, state = self.connection, self.connection.state
        assert state == connection.was
        if state != "closed":
            queues = self.state.timeout_queues(self.loop)
            waits = [name for name in ("head", "idle", "held", "linger") if connection in getattr(queues, name)]
            assert waits == ([CLOCKS[state]] if state in CLOCKS else []), (state, waits)
        assert len(connection._pipelined_bytes or b"") < 300_000
        assert len(connection._pipelined or ()) <= 64

    async def run(self, steps: int = 40) -> set[tuple[str, str]]:
        for _ in range(steps):
            self.act()
            for _ in range(self.chance.randint(1, 8)):
                await asyncio.sleep(0)
                self.check()
        self.transport.close()
        for task in list(self.state.tasks):
            task.cancel()
        while self.state.tasks or self.state.connections:
            await asyncio.sleep(0)
        self.state.close()
        numbers = [int(number) for number in re.findall(rb"x-id: (\d+)", self.transport.out)]
        assert numbers == sorted(set(numbers)), "responses out of order"
        assert not any(
            connection in queue for queue in self.state.timeout_queues(self.loop) for connection in [self.connection]
        )
        return self.seen


@pytest.mark.parametrize("seed", range(8))
async def test_in_any_order(monkeypatch: pytest.MonkeyPatch, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Responses come in order, each wait has its clock, and the connection goes the ways of the table."""
    chance, heads = random.Random(seed), KnownHeads()
    for _ in range(60):
        with monkeypatch.context() as patched:
            assert await Play(patched, chance, heads).run() <= WAYS


async def test_the_table_is_true(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A connection goes each way that the table has, and no other."""
    chance, heads, seen = random.Random(5), KnownHeads(), set[tuple[str, str]]()
    for _ in range(4000):
        with monkeypatch.context() as patched:
            seen |= await Play(patched, chance, heads).run()
        if seen == WAYS:
            break
    assert seen == WAYS

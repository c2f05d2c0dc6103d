"""A stream that is pushed: from a read of the backend's connection to a write of the client's in one call."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from typing import Any

import pytest

from polychat.config.settings import Direct
from polychat.events import Event, Finish, Start, Text
from polychat.gateway.admission.guards import guards_of, in_order
from polychat.gateway.context import Guard, RequestContext
from polychat.http.pool.connection import PoolConnection
from polychat.http.pool.pool import pool
from polychat.http.server.protocol import ServerConnection
from polychat.wire.contract import wire_named

from ...support.compiled import replaces_compiled
from ...support.pool_requests import settled
from ...support.running_gateway import (
    DONE,
    END,
    FIRST,
    PATIENCE,
    Caller,
    Running,
    Stage,
    asking,
    configured,
    gateway,
    good,
    row,
    streaming,
    text,
    until,
)
from ...support.scripted_server import Say, Seen, serving

WITH_TASK = ["openai-chat", "anthropic", "ollama"]
DIALECTS = [*WITH_TASK, "openai-chat without a task", "anthropic without a task"]
"""One where a stream of OpenAI's passes, and others where it is translated."""
LARGE = 64 * 1024


@pytest.fixture
def serve(serve: Any) -> Any:
    """Backends that answer plain requests too."""

    async def start(handler: Any) -> Any:
        async def both(seen: Any, say: Any) -> None:
            await (handler if seen.json.get("stream") else good)(seen, say)

        return await serve(both)

    return start


async def begun(here: Running, dialect: str, caller: Caller | None = None) -> Caller:
    """A client that has had the beginning of its stream, which has a task where ``dialect`` says so."""
    caller = caller or await here.caller()
    path, body = asking(dialect.split()[0], stream=True)
    if dialect in WITH_TASK:
        here.app.fast_path = lambda scope: None
    else:
        caller.ask(path, {**body, "stream": False})
        await caller.whole()
        await here.app.recorded()
        here.records.clear()
    caller.ask(path, body)
    await caller.head()
    await caller.until(b"Hel")
    assert len(here.state.tasks) == (dialect in WITH_TASK)
    return caller


async def slow(here: Running) -> Caller:
    """A client whose system takes little that it does not read."""
    end = socket.socket()
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    end.setblocking(False)
    await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", here.port))
    caller = Caller(*await asyncio.open_connection(sock=end, limit=4096))
    here.callers.append(caller)
    return caller


def upstream() -> PoolConnection:
    """The connection to the backend."""
    (connection,) = pool()._origin_of
    return connection


async def paused() -> PoolConnection:
    """The connection to the backend, when nothing is read from it."""
    async with asyncio.timeout(PATIENCE):
        while not upstream().sink_paused:
            await asyncio.sleep(0)
    return upstream()


class Endless:
    """A backend that says one large piece after the other until ``go``, then the end. ``pieces``: how many it has begun."""

    def __init__(self) -> None:
        self.pieces = 0
        self.begun, self.go, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, seen: Any, say: Any) -> None:
        await say.head(content_type="text/event-stream")
        await say.chunk(FIRST)
        await say.chunk(text("Hel"))
        await self.begun.wait()
        try:
            while not self.go.is_set():
                self.pieces += 1
                await say.chunk(text(f"<{self.pieces}>" + "x" * LARGE))
        except ConnectionError:
            self.left.set()
            return
        await say.chunk(END)
        await say.chunk(DONE)
        await say.last()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_client_that_reads_slowly_slows_its_backend(serve: Any, dialect: str) -> None:
    """Nothing more is read of the backend while the client does not read, what is held is bounded, and nothing is lost."""
    backend = Endless()
    server = await serve(backend)
    async with gateway(configured({"house": row("openai-chat", server.url)})) as here:
        caller = await begun(here, dialect, await slow(here))
        backend.begun.set()
        connection = await paused()
        (client,) = here.state.connections
        assert client.transport.get_write_buffer_size() + connection._body_size < 2 * 1024 * 1024
        for _ in range(50):  # and it stays so: the backend has filled its own side
            await asyncio.sleep(0)
        assert client.transport.get_write_buffer_size() + connection._body_size < 2 * 1024 * 1024
        backend.go.set()
        body = await caller.rest()
        await here.app.recorded()
    assert [body.count(b"<%d>" % number) for number in range(1, backend.pieces + 1)] == [1] * backend.pieces
    assert body.count(b"x" * LARGE) == backend.pieces
    assert here.records[0].verdict == "complete"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_client_that_reads_slowly_and_leaves(serve: Any, dialect: str) -> None:
    """Its backend is left too, though nothing was read of it any more."""
    backend = Endless()
    server = await serve(backend)
    async with gateway(configured({"house": row("openai-chat", server.url)})) as here:
        caller = await begun(here, dialect, await slow(here))
        backend.begun.set()
        await paused()
        caller.leave()
        await until(backend.left)
        (record,) = await here.app.recorded()
    assert record.verdict == "cancelled"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_reply_to_a_slow_client_that_left_is_read_to_its_end(serve: Any, dialect: str) -> None:
    """Where the configuration wants replies to be read to their end: what was paused goes on for nobody."""
    backend = Endless()
    server = await serve(backend)
    async with gateway(configured({"house": row("openai-chat", server.url)}, on_disconnect="drain:60")) as here:
        caller = await begun(here, dialect, await slow(here))
        backend.begun.set()
        await paused()
        caller.leave()
        backend.go.set()
        (record,) = await here.app.recorded()
    assert record.verdict == "complete"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("cut", [b"", b"40\r\ndata: {", b"zz\r\n"])
async def test_a_backend_that_dies_amid_a_piece(serve: Any, dialect: str, cut: bytes) -> None:
    """The client has all that came whole, then the failure in its dialect, and the end of HTTP's body."""

    async def handler(seen: Any, say: Any) -> None:
        await say.head(content_type="text/event-stream")
        await say.chunk(FIRST)
        await say.chunk(text("Hel"))
        await received.wait()
        await say.raw(b"%x\r\n%b\r\n" % (len(text("lo")), text("lo")) + cut)
        await say.cut()

    received = asyncio.Event()
    backend = await serve(handler)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        caller = await begun(here, dialect)
        received.set()
        body = await caller.rest()
        (record,) = await here.app.recorded()
    assert b"lo" in body
    assert b"ended early" in body
    assert record.verdict == "truncated"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_backend_that_falls_silent(serve: Any, dialect: str) -> None:
    """It is given the idle time, however many pieces came before, and its client gets the name of the timeout."""
    stage = Stage(FIRST, text("Hel"), text("lo"), text("!"))
    backend = await serve(stage)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, direct=Direct(idle_timeout=0.05))) as here:
        caller = await begun(here, dialect)
        body = await caller.rest()
        await until(stage.left)
        (record,) = await here.app.recorded()
    assert b"0.05" in body
    assert record.verdict in ("failed", "truncated")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_that_never_ends_ends_with_the_total(serve: Any, dialect: str) -> None:
    """Pieces without end keep it from falling silent, and not from its total time."""
    stage = Stage(FIRST, text("Hel"), flowing=True)
    backend = await serve(stage)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, direct=Direct(timeout=0.2))) as here:
        caller = await begun(here, dialect)
        body = await caller.rest()
        await until(stage.left)
    assert b"0.2" in body[-1000:]


class Taps(Guard):
    """Sees the pieces, and takes some away."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def before(self, context: RequestContext) -> None:
        context.responder.tap(self._change)

    def _change(self, data: bytes) -> bytes:
        self.seen.append(data)
        return b"" if b"secret" in data else data.replace(b"blip", b"BLIP")


@pytest.mark.parametrize("dialect", WITH_TASK)
async def test_a_tap_sees_each_piece_that_is_pushed(serve: Any, dialect: str) -> None:
    """It changes them, and what it empties does not end the body."""
    stage = Stage(FIRST, text("Hel"))
    backend = await serve(stage)

    async def rest(seen: Any, say: Any) -> None:
        for word in ("secret", "blip"):
            await say.chunk(text(word))
            while not any(word.encode() in piece for piece in taps.seen):
                await asyncio.sleep(0)
        await say.chunk(END + DONE)
        await say.last()

    taps = Taps()
    stage._then = rest
    options = {"guards": lambda runtime, service: in_order([*guards_of(runtime, service).head], [taps])}
    async with gateway(configured({"house": row("openai-chat", backend.url)}), **options) as here:
        caller = await begun(here, dialect)
        stage.go.set()
        body = await caller.rest()
        await here.app.recorded()
    assert any(b"secret" in piece for piece in taps.seen)
    assert b"secret" not in body
    assert b"BLIP" in body
    assert len(taps.seen) >= 3
    assert here.records[0].verdict == "complete"


@pytest.mark.parametrize("dialect", WITH_TASK)
async def test_a_tap_that_fails_is_a_defect_that_ends_the_stream(serve: Any, dialect: str) -> None:
    """What a sink raises is raised in its request, not in the backend's connection."""

    class Breaks(Guard):
        def before(self, context: RequestContext) -> None:
            context.responder.tap(self._change)

        def _change(self, data: bytes) -> bytes:
            if b"blip" in data:
                raise RuntimeError("the tap broke")
            return data

    stage = Stage(FIRST, text("Hel"), rest=[text("blip")])
    backend = await serve(stage)
    options = {"guards": lambda runtime, service: in_order([*guards_of(runtime, service).head], [Breaks()])}
    with pytest.raises(RuntimeError, match="the tap broke"):
        async with gateway(configured({"house": row("openai-chat", backend.url)}), **options) as here:
            caller = await begun(here, dialect)
            stage.go.set()
            with pytest.raises(asyncio.IncompleteReadError):
                await caller.rest()
            await here.app.recorded()


async def test_the_task_of_a_stream_sleeps_while_it_flows(serve: Any) -> None:
    """Between the first piece and the last none of its code runs but what a read of the connection calls."""
    stage = Stage(FIRST, text("Hel"))
    backend = await serve(stage)
    flowing = asyncio.Event()

    async def rest(seen: Any, say: Any) -> None:
        for number in range(20):
            await say.chunk(text(f"<{number}>"))
            await flowing.wait()
        await ending.wait()
        await say.chunk(END + DONE)
        await say.last()

    ending = asyncio.Event()
    stage._then = rest
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        caller = await begun(here, "openai-chat")
        (task,) = here.state.tasks
        stage.go.set()
        await caller.until(b"<0>")
        waits = _waited_for(task)
        flowing.set()
        await caller.until(b"<19>")
        assert _waited_for(task) is waits, "it was woken"
        ending.set()
        await caller.rest()
        await here.app.recorded()


def _waited_for(task: asyncio.Task[Any]) -> Any:
    """The future that a task waits for."""
    return task._fut_waiter  # type: ignore[attr-defined]


async def test_two_loops_push_each_their_own(serve: Any) -> None:
    """Two gateways in two threads, with a pool and a backend each: no piece of one is written from the other."""
    got: dict[int, bytes] = {}

    async def one(number: int) -> None:
        pieces = [text(f"{number}-{count} ") for count in range(200)]
        async with serving(streaming(FIRST, text("Hel"), *pieces, END, DONE)) as backend:
            async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
                got[number] = (await here.ask(*asking("openai-chat", stream=True))).body
            await pool().close()

    threads = [threading.Thread(target=asyncio.run, args=(one(number),)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join, PATIENCE)
    for number in range(2):
        assert got[number].count(b"%d-" % number) == 200
        assert b"%d-" % (1 - number) not in got[number]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
async def test_the_last_blank_line_comes_late(serve: Any, line_end: bytes) -> None:
    """Anthropic's end is known by its last line: a client gets the event closed, without which it would not take it."""
    wire = "anthropic"
    reply = [[Start("one", "small")], [Text("Hel")], [Finish("complete", "stop")]]
    request = wire_named(wire).read_request(json.dumps(asking(wire, "small", stream=True)[1]).encode(), "small", True)
    writer = wire_named(wire).writer(request, "one", 1)
    whole = b"".join(writer.write(list[Event](batch)) for batch in reply) + writer.end()
    whole = whole.replace(b"\r\n", b"\n").replace(b"\n", line_end)
    assert whole.endswith(line_end * 2)
    for missing in range(1, len(line_end) * 2):
        server = await serve(Stage(whole[:-missing], rest=[whole[-missing:]]))
        async with gateway(configured({"house": row(wire, server.url)})) as here:
            caller = await here.caller()
            caller.ask(*asking(wire, stream=True))
            await caller.head()
            body = await caller.rest()
            await here.app.recorded()
        closed = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert (closed[-2:], closed[-3:-2] != b"\n", here.records[0].passthrough) == (b"\n\n", True, True)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_connection_whose_body_ends_late_is_kept(serve: Any, dialect: str) -> None:
    """A stream's end is known before its body's last bytes: the connection waits for those, and is then used again."""
    ended = asyncio.Event()

    async def rest(seen: Any, say: Any) -> None:
        await say.chunk(text("lo"))
        await say.chunk(END + DONE)
        await ended.wait()
        await say.last()

    stage = Stage(FIRST, text("Hel"), then=rest)
    backend = await serve(stage)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        caller = await begun(here, dialect)
        stage.go.set()
        await caller.rest()
        await here.app.recorded()
        (connection,) = pool()._origin_of
        assert pool().state(connection) == "lingering"
        ended.set()
        await settled()
        assert pool().state(connection) == "idle"


class CountedWrites:
    """A transport; ``writes`` gets what is written to it."""

    def __init__(self, transport: Any, writes: list[bytes]) -> None:
        self._transport, self._writes = transport, writes

    def write(self, data: bytes) -> None:
        self._writes.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@replaces_compiled
async def test_a_short_stream_is_one_write(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that comes in one read goes out in one write, with its head and its end: passed, with and without a task, and
    translated.
    """
    writes: list[bytes] = []
    begin = ServerConnection.connection_made

    def counted(connection: ServerConnection, transport: Any) -> None:
        begin(connection, CountedWrites(transport, writes))  # type: ignore[arg-type]

    monkeypatch.setattr(ServerConnection, "connection_made", counted)

    async def backend(seen: Seen, say: Say) -> None:
        await say.stream([FIRST + text("Hello") + END + DONE])

    served = await serve(backend)
    async with gateway(configured({"house": row("openai-chat", served.url)})) as here:
        for dialect in WITH_TASK:
            caller = await here.caller()
            for _ in range(2):
                caller.ask(*asking(dialect, stream=True))
                assert b"Hello" in (await caller.whole()).body
                assert len(writes) == 1, dialect
                writes.clear()

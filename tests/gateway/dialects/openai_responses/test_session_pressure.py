"""Clients over WebSocket that read too slowly, send too much, or leave while much is under way."""

from __future__ import annotations

import asyncio
import socket as sockets
from typing import Any

import pytest
from websockets.frames import Opcode

from polychat.config.settings import Limits, WebSocket
from polychat.events import Event, Finish, Start, Text, Usage
from polychat.http.server.websocket import WebSocketConnection
from polychat.types import ChatRequest

from ....support.gateway_for_clients import HELLO, Held, house
from ....support.patience import PATIENCE
from ....support.running_gateway import Running
from ....support.scripted_vendors import ScriptedVendor
from ....support.websocket_clients import Socket, connected, frame, head, message, text_of, texts, upgraded

TRANSLATED = "openai-chat"
BEGUN: list[list[Event]] = [[Start("one", "m"), Text("Hel")], *HELLO[2:]]
"""The first batch has text: the reply has begun."""


def the_connection(here: Running) -> WebSocketConnection:
    """The only one that there is, as the server has it."""
    (connection,) = here.state.connections
    assert isinstance(connection, WebSocketConnection)
    return connection


async def until(what: Any) -> None:
    """Returns when ``what()`` is true."""
    async with asyncio.timeout(PATIENCE):
        while not what():
            await asyncio.sleep(0)


async def held_back(connection: WebSocketConnection) -> None:
    """Returns when a connection is not read, and not only until all of its last read is looked at."""
    turns = 0
    async with asyncio.timeout(PATIENCE):
        while turns < 50:
            await asyncio.sleep(0)
            turns = 0 if connection.transport.is_reading() else turns + 1


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses"])
async def test_a_slow_reader_is_waited_for(name: str) -> None:
    """A reply that the client does not read stops at its backend: the gateway does not hold it."""
    piece = "x" * 20_000

    def answer(request: ChatRequest) -> list[list[Event]]:
        return [[Start("one", "m")], *([Text(piece)] for _ in range(250)), [Usage(1, 2, 3), Finish("complete", "stop")]]

    async with house(name, answer) as (here, _), connected(here) as socket:
        socket.connection.transport.pause_reading()
        await socket.create()
        connection = the_connection(here)
        await until(lambda: connection.write_paused)
        for _ in range(1000):  # in which all of it would come
            await asyncio.sleep(0)
            assert connection.transport.get_write_buffer_size() < 2_000_000
        socket.connection.transport.resume_reading()
        response = (await socket.events())[-1]["response"]
        assert len(text_of(response)) == 5_000_000


async def test_a_request_that_begins_while_the_client_does_not_read() -> None:
    """It waits for the client as those do that ran before: what it gets from its backend is not piled up."""
    piece = "x" * 20_000

    def answer(request: ChatRequest) -> list[list[Event]]:
        return [[Start("one", "m")], *([Text(piece)] for _ in range(300)), [Usage(1, 2, 3), Finish("complete", "stop")]]

    async with house(TRANSLATED, answer) as (here, _), connected(here) as socket:
        connection = the_connection(here)
        socket.connection.transport.pause_reading()
        connection.pause_writing()  # as the transport does when its buffer is full
        await socket.create()
        await until(lambda: here.app.running)
        for _ in range(1000):
            await asyncio.sleep(0)
            assert connection.transport.get_write_buffer_size() < 500_000
        connection.resume_writing()
        socket.connection.transport.resume_reading()
        assert len(text_of((await socket.events())[-1]["response"])) == 6_000_000


async def test_a_client_that_read_nothing_before_the_upgrade_either() -> None:
    """What it did not read of the answers before counts: after ``send_seconds`` it is gone, and until then it is waited for."""
    async with house(TRANSLATED, HELLO, limits=Limits(send_seconds=0.2)) as (here, _):
        caller = await here.caller()
        caller.stop_reading()
        await until(lambda: here.state.connections)
        (connection,) = here.state.connections
        plain: Any = connection
        caller.small_window()
        plain.transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 4096)
        plain.transport.set_write_buffer_limits(high=1)
        asks = b"GET /openapi.json HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
        caller.raw(asks)
        await until(lambda: plain.write_paused or here.records)
        caller.raw(head())
        await until(lambda: any(isinstance(one, WebSocketConnection) for one in here.state.connections))
        assert the_connection(here).write_paused
        await until(lambda: not here.state.connections)


async def test_a_client_that_reads_again_is_read_again() -> None:
    """A client whose pongs piled up is not read; once it has caught up it is, and gets the rest."""
    async with house(TRANSLATED, HELLO) as (here, _), upgraded(here) as frames:
        connection = the_connection(here)
        frames.caller.stop_reading()
        pings, count = frame(b"x" * 125, Opcode.PING) * 4000, 0
        while connection.transport.get_write_buffer_size() <= 1024 * 1024:
            if frames.caller.unsent < 4_000_000:
                frames.caller.raw(pings)
                count += 4000
            await asyncio.sleep(0)
        frames.caller.raw(message())
        frames.caller.read_again()
        assert await frames.exactly(count * 127) == frame(b"x" * 125, Opcode.PONG, mask=False) * count
        assert text_of((await frames.texts())[-1]["response"]) == "Hello"


async def test_a_client_that_has_caught_up_stays() -> None:
    """``send_seconds`` count for one that does not read, and no longer once it does."""
    settings = {"limits": Limits(send_seconds=0.15), "websocket": WebSocket(ping_seconds=0.1)}
    async with house(TRANSLATED, HELLO, **settings) as (here, _), upgraded(here) as frames:
        connection = the_connection(here)
        connection.pause_writing()  # as the transport does
        connection.resume_writing()
        for _ in range(3):
            assert (await frames.next())[0] is Opcode.PING
            frames.caller.raw(frame(b"", Opcode.PONG))
        frames.caller.raw(message())
        assert text_of((await frames.texts())[-1]["response"]) == "Hello"


async def _many(socket: Socket, count: int) -> None:
    for _ in range(count):
        await socket.create("x" * 1000)


async def test_a_client_that_sends_faster_than_is_answered() -> None:
    """What waits is bounded: then the connection is not read until a request begins, and all are answered in the end."""
    vendor = Held(TRANSLATED, BEGUN)
    async with house(TRANSLATED, vendor) as (here, _), connected(here) as socket:
        sending = asyncio.create_task(_many(socket, 100))
        await socket.event()
        await held_back(the_connection(here))
        assert here.app.bodies.held < 200_000
        vendor.go.set()
        ends = 0
        while ends < 100:
            ends += (await socket.event())["type"] == "response.completed"
        await sending
    assert len(vendor.asks) == 100


async def test_many_requests_in_one_read() -> None:
    """What is behind those that may wait stays unread, also where it came with them, and is answered in its turn."""
    vendor = Held(TRANSLATED, BEGUN)
    async with house(TRANSLATED, vendor) as (here, _), upgraded(here) as frames:
        the_connection(here).data_received(message() * 400)
        await held_back(the_connection(here))
        assert here.app.bodies.held < 300 * len(message())
        vendor.go.set()
        for _ in range(400):
            assert text_of((await frames.texts())[-1]["response"]) == "Hello"


async def test_few_large_requests_that_wait() -> None:
    """What waits is bounded in bytes too: as many as one body may have, and one message."""
    vendor = Held(TRANSLATED, BEGUN)
    async with house(TRANSLATED, vendor, limits=Limits(body=10_000)) as (here, _), connected(here) as socket:
        for _ in range(4):
            await socket.create("x" * 6000)
        await held_back(the_connection(here))
        vendor.go.set()
        ends = 0
        while ends < 4:
            ends += (await socket.event())["type"] == "response.completed"


LEAVINGS = {
    "aborts": lambda caller: caller.leave(),
    "ends its side": lambda caller: caller.end(),
}


@pytest.mark.parametrize("leave", LEAVINGS.values(), ids=LEAVINGS)
async def test_a_client_that_leaves_while_it_is_not_read(leave: Any) -> None:
    """With so many requests waiting that the connection is not read, a client that is gone is seen at the next ping."""
    vendor, settings = Held(TRANSLATED, BEGUN), WebSocket(ping_seconds=0.1)
    async with house(TRANSLATED, vendor, websocket=settings) as (here, _), upgraded(here) as frames:
        connection = the_connection(here)
        for _ in range(100):
            frames.caller.raw(message(input="x" * 1000))
        await until(lambda: not frames.caller.unsent)
        await held_back(connection)
        leave(frames.caller)
        await until(lambda: not here.state.connections)
        records = await here.app.recorded(2)
        assert [record.verdict for record in records] == [None, "cancelled"]
        assert (len(vendor.asks), here.app.bodies.held) == (1, 0)
        vendor.go.set()


async def test_clients_that_leave_amid_a_frame_or_the_upgrade() -> None:
    """Wherever it breaks off, nothing of it stays, and nobody is asked."""
    whole = message(input="x" * 500)
    async with house(TRANSLATED, HELLO) as (here, backend):
        for cut in range(1, len(whole), 23):
            async with upgraded(here) as frames:
                frames.caller.raw(whole[:cut])
                await asyncio.sleep(0)
                frames.caller.leave()
        for cut in range(1, len(head()), 17):
            caller = await here.caller()
            caller.raw(head()[:cut])
            await asyncio.sleep(0)
            caller.leave()
        await until(lambda: not here.state.connections)
        assert (here.app.bodies.held, here.app.running, backend.seen) == (0, 0, [])


async def test_two_gateways_in_one_process() -> None:
    """Two configurations under the same names never meet: each conversation is its own gateway's, over WebSocket too."""

    def saying(word: str, wire: str) -> ScriptedVendor:
        def answer(request: ChatRequest) -> list[list[Event]]:
            text = f"{word}:{texts(request)[-1]}"
            return [[Start("one", "m"), Text(text)], [Usage(1, 2, 3), Finish("complete", "stop")]]

        return ScriptedVendor(wire, answer)

    async def talk(here: Running, word: str, number: int) -> None:
        async with connected(here) as socket:
            latest: dict[str, Any] = {}
            for turn in range(3):
                text = f"{number}.{turn}"
                more = {"previous_response_id": latest["id"]} if latest else {}
                latest = await socket.ask(text, store=False, **more)
                assert text_of(latest) == f"{word}:{text}"

    async def post(here: Running, other: Running, word: str, number: int) -> None:
        stored = (await here.ask("/v1/responses", {"model": "house/small", "input": f"p{number}"})).json
        assert text_of(stored) == f"{word}:p{number}"
        assert (await other.ask(f"/v1/responses/{stored['id']}")).status == 404

    async with (
        house(TRANSLATED, saying("A", TRANSLATED)) as (one, first),
        house("anthropic", saying("B", "anthropic")) as (two, second),
    ):
        both = ((one, two, "A"), (two, one, "B"))
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                for here, other, word in both:
                    group.create_task(talk(here, word, number))
                    group.create_task(post(here, other, word, number))
        assert len(first.seen) == len(second.seen) == 8 * 4
        assert {gateway.app.bodies.held for gateway, *_ in both} == {0}

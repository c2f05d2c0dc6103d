"""The upgrade and the frames, byte by byte, before clients that mean no good or are merely odd."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from websockets.frames import Opcode

from polychat.config.settings import Limits, WebSocket
from polychat.http.server.websocket import WebSocketConnection

from ...support.gateway_for_clients import HELLO, house
from ...support.patience import PATIENCE
from ...support.running_gateway import Running
from ...support.websocket_clients import KEY, Frames, frame, head, message, text_of, upgraded

WIRE = "openai-chat"


async def _answered(frames: Frames) -> str:
    return text_of((await frames.texts())[-1]["response"])


REFUSED = {
    "no key": (400, head(sec_websocket_key=None)),
    "a short key": (400, head(sec_websocket_key="MDEyMzQ1Njc=")),
    "a key that is no base64": (400, head(sec_websocket_key="!" * 24)),
    "a key with letters beside base64": (400, head(sec_websocket_key=KEY[:-2] + "é=")),
    "two keys": (400, head().replace(b"\r\n\r\n", f"\r\nsec-websocket-key: {KEY}\r\n\r\n".encode())),
    "no version": (426, head(sec_websocket_version=None)),
    "another version": (426, head(sec_websocket_version="8")),
    "no wish in connection": (426, head(connection="keep-alive")),
    "HTTP/1.0": (426, head().replace(b"HTTP/1.1", b"HTTP/1.0")),
    "another method": (426, head().replace(b"GET ", b"DELETE ")),
    "a body": (101, head(content_length="0")),
    "a list in connection": (101, head(connection="keep-alive, Upgrade")),
    "capitals": (101, head(upgrade="WebSocket", connection="UPGRADE")),
    "extensions and subprotocols": (101, head(sec_websocket_extensions="permessage-deflate", sec_websocket_protocol="a, b")),
}


@pytest.mark.parametrize(("status", "request_head"), REFUSED.values(), ids=REFUSED)
async def test_what_an_upgrade_needs(status: int, request_head: bytes) -> None:
    """RFC 6455, 4.2.1: what misses is refused with a status, and the connection can be used for HTTP after that."""
    async with house(WIRE, HELLO) as (here, _):
        caller = await here.caller()
        caller.raw(request_head)
        answer = await caller.head()
        assert answer.status == status
        if status == 101:
            assert answer.headers["sec-websocket-accept"]
            assert answer.headers["x-request-id"]
            assert "sec-websocket-extensions" not in answer.headers
            assert "sec-websocket-protocol" not in answer.headers
            return
        assert json.loads(await caller.rest())["error"]["message"]
        if status == 426 and "version" in answer.headers.get("sec-websocket-version", "version"):
            assert answer.headers["upgrade"] in ("websocket", "HTTP/1.1") or "sec-websocket-version" in answer.headers


async def test_the_accept_is_that_of_the_key() -> None:
    """The example of RFC 6455, 1.3."""
    async with house(WIRE, HELLO) as (here, _):
        caller = await here.caller()
        caller.raw(head(sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ=="))
        assert (await caller.head()).headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_every_split_of_the_bytes(size: int) -> None:
    """The request, a message behind it and another in fragments with a ping between come in pieces of any size."""
    text = json.dumps({"type": "response.create", "model": "house/small", "input": "é🙂"}, ensure_ascii=False).encode()
    parts = [text[:60], text[60:61], text[61:]]
    fragments = [frame(parts[0], fin=False), frame(b"x", Opcode.PING), frame(parts[1], Opcode.CONT, fin=False)]
    data = head() + message() + b"".join(fragments) + frame(parts[2], Opcode.CONT)
    async with house(WIRE, HELLO) as (here, backend):
        caller = await here.caller()
        for at in range(0, len(data), size):
            caller.raw(data[at : at + size])
            await asyncio.sleep(0)
        assert (await caller.head()).status == 101
        frames = Frames(caller)
        assert await _answered(frames) == "Hello"
        assert await _answered(frames) == "Hello"
        assert [request.turns[0].parts[0].text for request in backend.asks] == ["hi", "é🙂"]  # type: ignore[union-attr]


async def test_an_upgrade_in_line_behind_another_request() -> None:
    """It is answered in its turn, and frames that come at once wait for it."""
    async with house(WIRE, HELLO) as (here, _):
        caller = await here.caller()
        caller.raw(b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n" + head() + message())
        assert (await caller.whole()).status == 200
        assert (await caller.head()).status == 101
        assert await _answered(Frames(caller)) == "Hello"


async def test_a_refused_upgrade_leaves_the_connection_to_http() -> None:
    """What comes behind an upgrade that is refused is read as the next request."""
    async with house(WIRE, HELLO) as (here, _):
        caller = await here.caller()
        caller.raw(head(path="/v1/chat/completions") + b"GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        assert (await caller.whole()).status == 426
        assert (await caller.whole()).status == 200


LARGE = frame(b"x" * 70_000)
BROKEN: dict[str, tuple[int, bytes]] = {
    "not masked": (1002, frame("{}", mask=False)),
    "a reserved bit": (1002, frame("{}", rsv1=True)),
    "an unknown opcode": (1002, bytes([0x83, 0x80, 0, 0, 0, 0])),
    "a control frame in fragments": (1002, frame(b"", Opcode.PING, fin=True)[:1].replace(b"\x89", b"\x09") + b"\x80\0\0\0\0"),
    "a long control frame": (1002, bytes([0x89, 0xFE, 0, 126, 0, 0, 0, 0]) + bytes(126)),
    "a continuation of nothing": (1002, frame(b"x", Opcode.CONT)),
    "a message within another": (1002, frame(b"a", fin=False) + frame(b"b")),
    "a close code that is none": (1002, frame((999).to_bytes(2, "big"), Opcode.CLOSE)),
    "a close frame of one byte": (1002, frame(b"x", Opcode.CLOSE)),
    "bytes": (1003, frame(b"{}", Opcode.BINARY)),
    "no UTF-8": (1007, frame(b"\xff{}")),
    "half a letter at the end": (1007, frame("é".encode()[:1])),
    "too large": (1009, LARGE),
    "too large in fragments": (1009, frame(b"x" * 40_000, fin=False) + frame(b"x" * 40_000, Opcode.CONT)),
    "a length beyond counting": (1009, bytes([0x81, 0xFF]) + b"\x7f" + b"\xff" * 7 + bytes(4)),
    "garbage": (1002, b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"),
}


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize(("code", "data"), BROKEN.values(), ids=BROKEN)
async def test_frames_that_break_the_protocol(code: int, data: bytes, size: int) -> None:
    """The connection is closed with the code that RFC 6455 has for it, and nothing is asked."""
    size = max(size, len(data) // 100)
    async with house(WIRE, HELLO, limits=Limits(body=65_536)) as (here, backend), upgraded(here) as frames:
        for at in range(0, len(data), size):
            frames.caller.raw(data[at : at + size])
            await asyncio.sleep(0)
        assert await frames.close_code() == code
        with pytest.raises(EOFError):
            await frames.next()
        assert backend.seen == []
    assert here.app.bodies.held == 0


async def test_pings_and_pongs() -> None:
    """A ping comes back as a pong with its bytes; a pong that nobody asked for is passed over."""
    async with house(WIRE, HELLO) as (here, _), upgraded(here) as frames:
        frames.caller.raw(frame(b"x", Opcode.PONG) + frame(b"abc", Opcode.PING))
        assert await frames.next() == (Opcode.PONG, b"abc")


async def test_the_clients_close_is_sent_back() -> None:
    """With its code, and the connection ends."""
    async with house(WIRE, HELLO) as (here, _), upgraded(here) as frames:
        frames.caller.raw(frame((1000).to_bytes(2, "big") + b"bye", Opcode.CLOSE))
        assert await frames.next() == (Opcode.CLOSE, (1000).to_bytes(2, "big") + b"bye")
        with pytest.raises(EOFError):
            await frames.next()
        await _gone(here)


async def test_a_message_before_a_close_in_one_read() -> None:
    """Who asks and leaves at once is not asked for."""
    async with house(WIRE, HELLO) as (here, backend), upgraded(here) as frames:
        frames.caller.raw(message() + frame((1000).to_bytes(2, "big"), Opcode.CLOSE))
        assert await frames.close_code() == 1000
        await _gone(here)
        assert backend.seen == []
        assert len(here.records) == 1, "the upgrade's"


async def _gone(here: Running) -> None:
    async with asyncio.timeout(PATIENCE):
        while here.state.connections:
            await asyncio.sleep(0)


QUICK: dict[str, tuple[int, WebSocket, Callable[[Frames], Any]]] = {
    "no pong": (1011, WebSocket(ping_seconds=0.1), lambda frames: None),
    "idle": (1000, WebSocket(ping_seconds=0.1, idle_seconds=0.1), lambda frames: frames.caller.raw(frame(b"", Opcode.PONG))),
    "old": (1000, WebSocket(ping_seconds=0.1, life_seconds=0.1), lambda frames: frames.caller.raw(frame(b"", Opcode.PONG))),
}


@pytest.mark.parametrize(("code", "settings", "act"), QUICK.values(), ids=QUICK)
async def test_clocks(code: int, settings: WebSocket, act: Callable[[Frames], Any]) -> None:
    """A client that answers no ping, asks nothing or has been there for long gets the reason and is disconnected."""
    async with house(WIRE, HELLO, websocket=settings) as (here, _), upgraded(here) as frames:
        opcode, data = Opcode.PONG, b""
        while opcode is not Opcode.CLOSE:
            opcode, data = await frames.next()
            if opcode is Opcode.PING:
                act(frames)
        assert int.from_bytes(data[:2], "big") == code


@pytest.mark.parametrize("data", [frame(b"x" * 9, fin=False), message()[:-1]], ids=["fragments", "a part of a frame"])
async def test_a_message_that_never_ends(data: bytes) -> None:
    """A client that trickles a message is read for ``upload_seconds``, however active it is."""
    limits, settings = Limits(upload_seconds=0.2), WebSocket(ping_seconds=0.1)
    async with house(WIRE, HELLO, limits=limits, websocket=settings) as (here, _), upgraded(here) as frames:
        frames.caller.raw(data[:3])
        rest = iter(data[3:-1])

        async def trickle() -> None:
            loop = asyncio.get_running_loop()
            while True:
                pause = loop.create_future()
                loop.call_later(0.02, pause.set_result, None)
                await pause
                if data[0] & 0x80:
                    frames.caller.raw(bytes([next(rest)]))
                else:
                    frames.caller.raw(frame(b"", Opcode.CONT, fin=False))

        if not data[0] & 0x80:
            frames.caller.raw(data[3:])
        trickling = asyncio.create_task(trickle())
        try:
            assert await frames.close_code() == 1008
        finally:
            trickling.cancel()


async def test_a_client_that_reads_nothing() -> None:
    """Pongs that it asks for and does not read are not piled up: it is not read either, and is gone after ``send_seconds``."""
    limits = Limits(send_seconds=1.5)
    async with house(WIRE, HELLO, limits=limits) as (here, _), upgraded(here) as frames:
        (connection,) = here.state.connections
        transport: Any = connection.transport  # type: ignore[attr-defined]
        frames.caller.stop_reading()
        pings = frame(b"x" * 125, Opcode.PING) * 4000
        most = 0
        while not transport.is_closing():
            if frames.caller.unsent < 4_000_000:
                frames.caller.raw(pings)
            most = max(most, transport.get_write_buffer_size())
            await asyncio.sleep(0)
        assert most < 2_000_000


async def test_a_read_full_of_small_frames_is_looked_at_in_slices() -> None:
    """Others have their turns between; nothing is read meanwhile, and all are answered."""
    pings = frame(b"x", Opcode.PING) * 30_000
    async with house(WIRE, HELLO) as (here, _), upgraded(here) as frames:
        (connection,) = here.state.connections
        assert isinstance(connection, WebSocketConnection)
        connection.data_received(pings + message())
        turns = 0
        async with asyncio.timeout(PATIENCE):
            while not connection.transport.is_reading():
                await asyncio.sleep(0)
                turns += 1
        assert turns > len(pings) // 20_000
        assert await _answered(frames) == "Hello"


async def test_a_message_for_which_there_is_no_room() -> None:
    """Bytes of a message that is not whole count towards ``gateway.limits.body_total``: 1013."""
    limits = Limits(body_total=100_000)
    async with house(WIRE, HELLO, limits=limits) as (here, _), upgraded(here) as frames:
        frames.caller.raw(frame(b" " * 300_000)[:250_000])
        assert await frames.close_code() == 1013
        frames.caller.leave()
        await _gone(here)
        assert here.app.bodies.held == 0


async def test_an_end_without_a_close_frame() -> None:
    """A client that ends its side is gone: nothing stays."""
    async with house(WIRE, HELLO) as (here, _), upgraded(here) as frames:
        frames.caller.end()
        await _gone(here)

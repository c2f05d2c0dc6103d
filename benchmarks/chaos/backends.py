"""Five servers of OpenAI's chat API on loopback that fail as a schedule has it, and write down every request they get.

| fault       | what the backend does                                                                        |
|-------------|----------------------------------------------------------------------------------------------|
| refuse      | listens no longer; idle connections are closed                                               |
| reset       | resets the connection once it has the request                                                |
| hang        | never answers                                                                                |
| cut         | ends a stream after some pieces, a whole reply halfway: by FIN, by RST, or as HTTP ends it   |
| 429         | says when it will be well again, in `retry-after`                                            |
| 500, 502    | an API's error in JSON; a proxy's page in HTML                                               |
| drip        | all of the reply, a few bytes at a time: 0.8 s to the first piece, 8 s in all                |
| garbage     | 200, and bytes that mean nothing                                                             |
| error first | 200, and an error event before any text                                                      |
| error later | 200, and an error event after some pieces                                                    |
| half        | 200, and the first half of an event, or of a whole reply's JSON, in a body that ends well    |

A request with an assistant's message is one to go on: it is answered by the pieces behind those that are in it.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random
from typing import Any

import httptools

from .schedule import Phase, Schedule

FIRST, GAP = 0.03, 0.02
"""Seconds to a reply's first piece, and from one piece to the next."""
WHOLE = 0.15
"""Seconds to a whole reply."""
_DRIP = 0.1
"""Seconds between two shards of a slow reply."""
_SHARDS = 4
IN_FLIGHT = 0.05
"""Seconds in which a request that was sent before a ``retry-after`` was read may still arrive."""
_PIECE = re.compile(r"w\d+")
PROMPT = "Say request {number} in {pieces} pieces"
_ASKED = re.compile(r"request (\d+) in (\d+) pieces")
_ERROR = b'{"error":{"message":"the server had an error","type":"server_error","param":null,"code":null}}'
_LIMITED = b'{"error":{"message":"too many requests","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}'
_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass
class Ask:
    """A request that a backend got. Moments are the loop's."""

    backend: int
    number: int
    arrived: float
    early: bool
    """Whether it came before the time that the backend had named."""
    ended: float | None = None
    """When the backend was done with it, or saw its connection close."""


def piece(index: int) -> str:
    return f"w{index} "


class Backend:
    """One of them; ``port`` is where it listens."""

    def __init__(self, index: int, phases: tuple[Phase, ...], asks: list[Ask]) -> None:
        self.index, self.phases, self.asks = index, phases, asks
        self.began = math.inf
        self.port = 0
        self.connections: set[_Connection] = set()
        self._rest: tuple[float, float] = (0.0, 0.0)
        """When it last named a time to come back, and that time."""
        self._server: asyncio.Server | None = None
        self._timers: list[asyncio.TimerHandle] = []

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def begin(self) -> None:
        """The schedule starts now; before that all is well."""
        loop = asyncio.get_running_loop()
        self.began = loop.time()
        for phase in self.phases:
            self._timers.append(loop.call_at(self.began + phase.begin, self._enter, phase))

    def _enter(self, phase: Phase) -> None:
        if phase.fault == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
            for connection in [one for one in self.connections if one.task is None]:
                connection.transport.close()
        elif phase.fault != "refuse" and self._server is None:
            self._listening = asyncio.ensure_future(self.listen())

    def phase(self) -> Phase:
        at = asyncio.get_running_loop().time() - self.began
        return next((phase for phase in self.phases if phase.begin <= at < phase.end), Phase(0, math.inf))

    def asked(self, number: int) -> Ask:
        now = asyncio.get_running_loop().time()
        named, until = self._rest
        ask = Ask(self.index, number, now, named + IN_FLIGHT < now < until)
        self.asks.append(ask)
        return ask

    def rest(self, phase: Phase) -> int:
        """Whole seconds until it's well again, as ``retry-after`` has them."""
        now = asyncio.get_running_loop().time()
        seconds = max(1, math.ceil(self.began + phase.end - now))
        named, until = self._rest
        self._rest = (named if now < until else now, max(until, now + seconds))
        return seconds

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()


class _Connection(asyncio.Protocol):
    """Answers one request after the other."""

    transport: asyncio.Transport

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.task: asyncio.Task[None] | None = None
        self.ask: Ask | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.backend.connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.backend.connections.discard(self)
        if self.task is not None:
            self.task.cancel()
        self._over()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        try:
            value = json.loads(body)
            number, pieces = map(int, _ASKED.search(json.dumps(value["messages"])).groups())  # type: ignore[union-attr]
            said = [message["content"] for message in value["messages"] if message["role"] == "assistant"]
            begun = len(_PIECE.findall(said[-1])) if said else 0
        except (ValueError, KeyError, AttributeError, TypeError):
            self._plain(400, b"{}", "application/json")  # a probe of a gateway's own
            return
        self.ask = self.backend.asked(number)
        answer = self._answer(range(begun, pieces), stream=bool(value.get("stream")))
        self.task = asyncio.get_running_loop().create_task(answer)

    def _over(self) -> None:
        if self.ask is not None and self.ask.ended is None:
            self.ask.ended = asyncio.get_running_loop().time()
        self.task = self.ask = None

    async def _answer(self, pieces: range, *, stream: bool) -> None:
        phase = self.backend.phase()
        match phase.fault:
            case "reset" | "refuse":
                self._reset()
            case "hang":
                await asyncio.get_running_loop().create_future()
            case "429":
                headers = f"retry-after: {self.backend.rest(phase)}\r\n"
                self._plain(429, _LIMITED, "application/json", headers)
            case "500":
                self._plain(500, _ERROR, "application/json")
            case "502":
                self._plain(502, _PAGE, "text/html")
            case "garbage":
                kind = "text/event-stream" if stream else "application/json"
                self._plain(200, Random(phase.after).randbytes(2000), kind)
            case _ if stream:
                await self._streamed(phase, pieces)
            case _:
                await self._whole(phase, pieces)
        self._over()

    # A stream.

    async def _streamed(self, phase: Phase, pieces: range) -> None:
        self._write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n")
        async for event in self._events(phase, pieces):
            if phase.fault == "drip":
                size = -(-len(event) // _SHARDS)
                for start in range(0, len(event), size):
                    self._chunk(event[start : start + size])
                    await asyncio.sleep(_DRIP)
            else:
                self._chunk(event)
        if phase.fault == "cut" and phase.ending == "FIN":
            self.transport.close()
        elif phase.fault == "cut" and phase.ending == "RST":
            self._reset()
        else:
            self._write(b"0\r\n\r\n")

    async def _events(self, phase: Phase, pieces: range) -> AsyncIterator[bytes]:
        """A stream's events, up to where the fault ends it; each when it's due."""
        await asyncio.sleep(_SHARDS * _DRIP if phase.fault == "drip" else FIRST)
        if phase.fault == "error first":
            yield b"data: " + _ERROR + b"\n\n"
            return
        if phase.fault == "half":
            yield _event({"role": "assistant", "content": piece(0)})[:60]
            return
        for count, index in enumerate(pieces):
            if count == phase.after and phase.fault == "cut":
                return
            if count == phase.after and phase.fault == "error later":
                yield b"data: " + _ERROR + b"\n\n"
                return
            yield _event({"content": piece(index)} if count else {"role": "assistant", "content": piece(index)})
            await asyncio.sleep(0 if phase.fault == "drip" else GAP)
        yield _event({}, "stop")
        yield b"data: [DONE]\n\n"

    # A whole reply.

    async def _whole(self, phase: Phase, pieces: range) -> None:
        await asyncio.sleep(WHOLE)
        if phase.fault in ("error first", "error later"):
            self._plain(200, _ERROR, "application/json")
            return
        message = {"role": "assistant", "content": "".join(map(piece, pieces))}
        usage = {"prompt_tokens": 10, "completion_tokens": len(pieces), "total_tokens": 10 + len(pieces)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        body = json.dumps(whole).encode()
        match phase.fault:
            case "half":
                self._plain(200, body[: len(body) // 2], "application/json")
            case "cut":
                self._cut(body, phase)
            case "drip":
                self._head(200, len(body), "application/json")
                size = -(-len(body) // (len(pieces) * _SHARDS))
                for start in range(0, len(body), size):
                    await asyncio.sleep(_DRIP)
                    self._write(body[start : start + size])
            case _:
                self._plain(200, body, "application/json")

    def _cut(self, body: bytes, phase: Phase) -> None:
        if phase.ending == "clean":
            self._write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
            self._chunk(body[: len(body) // 2])
            self._write(b"0\r\n\r\n")
            return
        self._head(200, len(body), "application/json")
        self._write(body[: len(body) // 2])
        if phase.ending == "FIN":
            self.transport.close()
        else:
            self._reset()

    # Bytes.

    def _plain(self, status: int, body: bytes, kind: str, headers: str = "") -> None:
        self._head(status, len(body), kind, headers)
        self._write(body)

    def _head(self, status: int, length: int, kind: str, headers: str = "") -> None:
        self._write(f"HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{headers}\r\n".encode())

    def _chunk(self, data: bytes) -> None:
        self._write(b"%x\r\n%b\r\n" % (len(data), data))

    def _write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def _reset(self) -> None:
        """Close with an RST."""
        if (own := self.transport.get_extra_info("socket")) is not None:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


class Backends:
    """All of a schedule; ``async with`` it."""

    def __init__(self, schedule: Schedule) -> None:
        self.asks: list[Ask] = []
        self.each = [Backend(index, phases, self.asks) for index, phases in enumerate(schedule)]

    async def __aenter__(self) -> Backends:
        for backend in self.each:
            await backend.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        for backend in self.each:
            backend.close()

    @property
    def ports(self) -> list[int]:
        return [backend.port for backend in self.each]

    def begin(self) -> None:
        for backend in self.each:
            backend.begin()

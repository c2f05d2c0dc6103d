"""A client of Responses over WebSocket, with the ``websockets`` library; and one that sends frames of its own, byte by byte."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode

from polychat.types import ChatRequest, TextPart

from .patience import PATIENCE
from .running_gateway import Caller, Running

PATH = "/v1/responses"
ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
"""Events behind which no other of their request comes. An ``error`` amid a reply is followed by ``response.failed``."""


class Socket:
    """One connection."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def create(self, input: Any = "hi", model: str = "house/small", **more: Any) -> None:  # noqa: A002
        """Send a ``response.create``."""
        await self.send({"type": "response.create", "model": model, "input": input, **more})

    async def send(self, message: Any) -> None:
        text = message if isinstance(message, (str, bytes)) else json.dumps(message)
        await self.connection.send(text)

    async def event(self) -> dict[str, Any]:
        """The next event."""
        async with asyncio.timeout(PATIENCE):
            text = await self.connection.recv()
        assert isinstance(text, str), "events are text frames"
        event: dict[str, Any] = json.loads(text)
        return event

    async def events(self) -> list[dict[str, Any]]:
        """All events until the end of a response."""
        events: list[dict[str, Any]] = []
        while not events or events[-1]["type"] not in ENDS:
            events.append(await self.event())
        return events

    async def ask(self, input: Any = "hi", **more: Any) -> dict[str, Any]:  # noqa: A002
        """The response to a ``response.create``, or the error."""
        await self.create(input, **more)
        last = (await self.events())[-1]
        response: dict[str, Any] = last.get("response", last)
        return response

    async def closed(self) -> tuple[int | None, str | None]:
        """Code and reason, once the gateway has closed the connection."""
        async with asyncio.timeout(PATIENCE):
            await self.connection.wait_closed()
        return self.connection.close_code, self.connection.close_reason


@asynccontextmanager
async def connected(
    here: Running, path: str = PATH, headers: Mapping[str, str] | None = None, **more: Any
) -> AsyncGenerator[Socket]:
    """A connection, closed at the end."""
    url = here.url.replace("http", "ws", 1) + path
    async with connect(url, additional_headers=headers, proxy=None, max_size=None, ping_interval=None, **more) as connection:
        yield Socket(connection)


def text_of(response: Mapping[str, Any]) -> str:
    """The text of a response's messages."""
    parts = (part for item in response["output"] if item["type"] == "message" for part in item["content"])
    return "".join(part["text"] for part in parts)


def texts(request: ChatRequest) -> list[str]:
    """A request's words, message by message."""
    return ["".join(part.text for part in turn.parts if isinstance(part, TextPart)) for turn in request.turns]


KEY = base64.b64encode(b"0123456789abcdef").decode()
HEADERS = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13", "sec-websocket-key": KEY}


def head(path: str = PATH, **headers: str | None) -> bytes:
    """The request of an upgrade; a header that is ``None`` is left out, ``_`` means ``-``."""
    named = {"host": "127.0.0.1", **HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value is not None)
    return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()


def frame(data: bytes | str = b"", opcode: Opcode = Opcode.TEXT, *, fin: bool = True, mask: bool = True, **bits: bool) -> bytes:
    """One frame as a client sends it."""
    text = data.encode() if isinstance(data, str) else data
    made = Frame(opcode, text, fin)
    raw = bytearray(made.serialize(mask=mask))
    for bit in bits:
        raw[0] |= {"rsv1": 0x40, "rsv2": 0x20, "rsv3": 0x10}[bit]
    return bytes(raw)


def message(**fields: Any) -> bytes:
    """The frame of a ``response.create``."""
    return frame(json.dumps({"type": "response.create", "model": "house/small", "input": "hi", **fields}))


class Frames:
    """What the gateway sends on a connection that was upgraded by hand."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self._held = b""

    async def exactly(self, size: int) -> bytes:
        """The next so many bytes, of any frames. Raises ``EOFError`` where the gateway has ended the connection."""
        async with asyncio.timeout(PATIENCE):
            while len(self._held) < size:
                data = await self.caller.some()
                if not data:
                    raise EOFError
                self._held += data
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    async def next(self) -> tuple[Opcode, bytes]:
        """The next frame. Raises ``EOFError`` where the gateway has ended the connection."""
        first, length = await self.exactly(2)
        assert first & 0x80, "the gateway sends messages in one frame"
        assert not length & 0x80, "a server masks nothing"
        if length == 126:
            length = int.from_bytes(await self.exactly(2), "big")
        elif length == 127:
            length = int.from_bytes(await self.exactly(8), "big")
        return Opcode(first & 15), await self.exactly(length)

    async def texts(self) -> list[dict[str, Any]]:
        """The events until the end of a response."""
        events: list[dict[str, Any]] = []
        while not events or events[-1]["type"] not in ENDS:
            opcode, data = await self.next()
            if opcode is Opcode.TEXT:
                events.append(json.loads(data))
        return events

    async def close_code(self) -> int:
        """The code of the close frame, which is the last that comes."""
        opcode, data = Opcode.TEXT, b""
        while opcode is not Opcode.CLOSE:
            opcode, data = await self.next()
        return int.from_bytes(data[:2], "big")


@asynccontextmanager
async def upgraded(here: Running, **headers: str | None) -> AsyncGenerator[Frames]:
    """A connection upgraded by hand."""
    caller = await here.caller()
    caller.raw(head(**headers))
    answer = await caller.head()
    assert answer.status == 101, answer
    yield Frames(caller)

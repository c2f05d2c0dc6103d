"""The backend behind every gateway: OpenAI's chat and Anthropic's messages, answered with bytes written beforehand.

What is answered is the model's name: one of ``SCENARIOS``, whatever stands before its last ``/`` or ``-``. Below ``/bench/``
it tells what it saw: ``/bench/seen`` when each reply was asked for, begun, and left or ended (``time.monotonic``, which all
processes of a machine share), ``/bench/now`` how many connections and replies are open; ``/bench/forget`` begins anew,
``/bench/release`` lets streams go on that wait for it; ``/bench/flow`` is ``flow.py``'s. Run as a program it prints its port.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import cast

from . import flow

PIECES = 128
"""Pieces of a long answer, and how many are written together where it is written in batches."""
BATCH = 4
GAP = 0.02
"""Seconds between two pieces of a paced answer."""
PACED = 150
HOLD = 1.0
"""Seconds between the first piece and the second where the first is watched for."""


@dataclass(frozen=True)
class Scenario:
    """``pieces`` of an answer, ``batch`` in a write (0: all), a write each ``gap`` seconds; 0 pieces is a plain reply."""

    pieces: int = 0
    batch: int = 0
    gap: float = 0.0
    hold: float = 0.0
    """How long it waits after the first piece."""
    waits: bool = False
    """Whether it waits for ``/bench/release`` after the first piece."""
    silent: bool = False
    """Whether no reply begins at all."""


SCENARIOS = {
    "plain": Scenario(),
    "short": Scenario(pieces=1),
    "whole": Scenario(pieces=PIECES),
    "batches": Scenario(pieces=PIECES, batch=BATCH),
    "paced": Scenario(pieces=PACED, batch=1, gap=GAP),
    "held": Scenario(pieces=20, batch=1, hold=HOLD),
    "flowing": Scenario(pieces=3000, batch=1, gap=GAP),
    "open": Scenario(pieces=3, batch=1, waits=True),
    "never": Scenario(pieces=1, silent=True),
    "neverplain": Scenario(silent=True),
}


def word(number: int) -> str:
    """A piece of text. No two alike: LiteLLM takes a hundred that are for a model gone mad."""
    return f"a word {number:04} "


def sse(event: str, value: object) -> bytes:
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


def openai_stream(model: str, pieces: int) -> list[bytes]:
    """What stands before the pieces, the pieces, and what stands after them."""

    def chunk(delta: dict[str, str], finish: str | None = None, **more: object) -> bytes:
        known = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": model}
        return sse("", {**known, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})

    usage = {"prompt_tokens": 9, "completion_tokens": pieces, "total_tokens": 9 + pieces}
    words = [chunk({"content": word(number)}) for number in range(pieces)]
    return [chunk({"role": "assistant", "content": ""}), *words, chunk({}, "stop", usage=usage) + b"data: [DONE]\n\n"]


def anthropic_stream(model: str, pieces: int) -> list[bytes]:
    usage = {"input_tokens": 9, "output_tokens": 1}
    known = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": []}
    message = {**known, "stop_reason": None, "stop_sequence": None, "usage": usage}
    start = sse("message_start", {"type": "message_start", "message": message})
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": pieces},
    }

    def piece(number: int) -> bytes:
        delta = {"type": "text_delta", "text": word(number)}
        return sse("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta})

    return [
        start + sse("content_block_start", block),
        *map(piece, range(pieces)),
        sse("content_block_stop", {"type": "content_block_stop", "index": 0})
        + sse("message_delta", end)
        + sse("message_stop", {"type": "message_stop"}),
    ]


TEXT = "The sky is blue because air scatters short waves of light more than long ones."


def openai_plain(model: str) -> dict[str, object]:
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 17, "total_tokens": 26}
    known = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": model}
    return {**known, "choices": [choice], "usage": usage}


def anthropic_plain(model: str) -> dict[str, object]:
    content = [{"type": "text", "text": TEXT}]
    known = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content}
    return {**known, "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 17}}


WIRES: dict[str, tuple[Callable[[str], dict[str, object]], Callable[[str, int], list[bytes]]]] = {
    "openai-chat": (openai_plain, openai_stream),
    "anthropic": (anthropic_plain, anthropic_stream),
}


def whole(value: object) -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


@cache
def plain_reply(wire: str, model: str) -> bytes:
    return whole(WIRES[wire][0](model))


@cache
def writes(wire: str, model: str) -> list[bytes]:
    """A streamed reply as the writes it is made of: a chunk of HTTP for every event, as servers do."""
    scenario = SCENARIOS[model]
    first, *words, last = [b"%x\r\n%b\r\n" % (len(part), part) for part in WIRES[wire][1](model, scenario.pieces)]
    size = scenario.batch or len(words)
    batches = [b"".join(words[at : at + size]) for at in range(0, len(words), size)]
    batches[0] = HEAD + first + batches[0]
    batches[-1] += last + END
    return batches


class Paces:
    """Streams that are written a piece at a time, spread evenly over the time between two pieces."""

    STEPS = 20

    def __init__(self, gap: float) -> None:
        self.step = gap / self.STEPS
        self.slots: list[set[Connection]] = [set() for _ in range(self.STEPS)]
        self.turn = count()
        self.due = 0.0
        """When the next turn is; 0 while there is nothing to write."""

    def add(self, connection: Connection) -> None:
        min(self.slots, key=len).add(connection)
        if not self.due:
            loop = asyncio.get_running_loop()
            self.due = loop.time()
            loop.call_soon(self.tick, loop)

    def tick(self, loop: asyncio.AbstractEventLoop) -> None:
        slot = self.slots[next(self.turn) % self.STEPS]
        for connection in [connection for connection in slot if not connection.advance()]:
            slot.discard(connection)
        self.due = self.due + self.step if any(self.slots) else 0.0
        if self.due:
            loop.call_at(self.due, self.tick, loop)


class Connection(asyncio.Protocol):
    """One client's connection, kept alive."""

    transport: asyncio.Transport

    def __init__(self, service: Service) -> None:
        self.service = service
        self.heard = b""
        self.left: list[bytes] = []
        self.seen: dict[str, object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        self.service.connections += 1

    def connection_lost(self, error: Exception | None) -> None:
        self.left = []
        self.service.connections -= 1
        self.service.waiting.discard(self)
        if self.seen is not None:
            self.seen["left"] = time.monotonic()
            self.seen = None
            self.service.running -= 1

    def data_received(self, data: bytes) -> None:
        heard = self.heard = self.heard + data if self.heard else data
        end = heard.find(b"\r\n\r\n")
        if end < 0:
            return
        if len(heard) - end - 4 >= length_of(heard[:end]):
            self.heard = b""
            self.answer(heard, end)

    def answer(self, heard: bytes, end: int) -> None:
        target = heard[: heard.index(b"\r\n")].split(b" ")[1]
        if target.endswith(b"/chat/completions"):
            self.reply("openai-chat", model_of(heard, end))
        elif target.partition(b"?")[0].endswith(b"/messages"):
            self.reply("anthropic", model_of(heard, end))
        elif target == b"/bench/flow":
            self.flowing = asyncio.create_task(self.flow(heard[end + 4 :]))
        else:
            self.transport.write(whole(self.service.told(target.decode())))

    async def flow(self, order: bytes) -> None:
        self.transport.write(whole(await flow.answer(order)))

    def reply(self, wire: str, model: str) -> None:
        scenario = SCENARIOS.get(model)
        if scenario is None:
            self.transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        elif model == "plain":
            self.transport.write(plain_reply(wire, model))
        elif scenario.silent:
            self.note(model)
        else:
            self.stream(wire, model, scenario)

    def stream(self, wire: str, model: str, scenario: Scenario) -> None:
        loop = asyncio.get_running_loop()
        parts = writes(wire, model)
        if len(parts) == 1:
            self.transport.write(parts[0])
            return
        self.left = parts[::-1]
        if scenario.gap:
            if model == "flowing":
                self.note(model)
            self.service.paces(scenario.gap).add(self)
            return
        self.note(model)
        self.advance()
        if scenario.waits:
            self.service.waiting.add(self)
        elif scenario.hold:
            loop.call_later(scenario.hold, self.run)
        else:
            loop.call_soon(self.run_on, loop)

    def note(self, model: str) -> None:
        if model != "batches":  # a measured one: not a word more than it takes
            self.seen = {"model": model, "asked": time.monotonic()}
            self.service.seen.append(self.seen)
            self.service.running += 1

    def advance(self) -> bool:
        """The next write; whether there is another after it."""
        if not self.left:
            return False
        seen = self.seen
        if seen is not None and "first" not in seen:
            seen["first"] = time.monotonic()
        self.transport.write(self.left.pop())
        if not self.left and seen is not None:
            seen["ended"] = time.monotonic()
            self.seen = None
            self.service.running -= 1
        return bool(self.left)

    def run(self) -> None:
        """All that is left, at once."""
        while self.advance():
            pass

    def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """The next write, and the others each in a turn of the loop of its own: uvloop joins what is written in one."""
        if self.advance():
            loop.call_soon(self.run_on, loop)


def length_of(head: bytes) -> int:
    found = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0


_MODEL = re.compile(rb'"model" ?: ?"(?:[^"]*[/-])?([a-z]+)"')


def model_of(heard: bytes, end: int) -> str:
    found = _MODEL.search(heard, end)
    return found[1].decode() if found else ""


class Service:
    """What the connections share."""

    def __init__(self) -> None:
        self.seen: list[dict[str, object]] = []
        self.connections = self.running = 0
        """Open ones, and replies that are neither ended nor left, of those that are noted."""
        self.waiting: set[Connection] = set()
        self.paces = cache(Paces)

    def told(self, target: str) -> object:
        if target == "/bench/forget":
            self.seen.clear()
        elif target == "/bench/release":
            waiting, self.waiting = self.waiting, set()
            for connection in waiting:
                connection.run()
        elif target == "/bench/seen":
            return self.seen
        elif target == "/bench/now":
            return {"connections": self.connections, "running": self.running}
        elif target.endswith("/models"):
            return {"object": "list", "data": [{"id": name, "object": "model"} for name in SCENARIOS]}
        return {}


async def serve(port: int = 0) -> None:
    service = Service()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(*map(int, sys.argv[1:])))

"""Large requests of each wire, sent through a gateway piece by piece, and how much memory they take at most."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from polychat.events import Event, Finish, Start, Text
from polychat.gateway.dialects import bodies
from polychat.gateway.dialects import dialect as dialect_module
from polychat.types import (
    ChatMessage,
    ChatRequest,
    Format,
    ImagePart,
    Part,
    TextPart,
    Tool,
    ToolCall,
    ToolResult,
)
from polychat.wire import json_text
from polychat.wire.contract import names, wire_named

from .gateway_for_clients import HELLO, house
from .running_gateway import Answer, Running, asking, configured, gateway, row

LARGE = 4 << 20
COPIES = 3.0
PNG = b"\x89PNG\r\n\x1a\n"
each_wire = pytest.mark.parametrize("come", names())
each_other = pytest.mark.parametrize("to", names())


def with_media(*media: Part) -> ChatRequest:
    """A request with a tool that was called, and media."""
    tool = Tool("f", "d", {"type": "object", "properties": {"a": {"type": "string"}}})
    called = [
        ChatMessage("user", [TextPart("look")]),
        ChatMessage("assistant", [ToolCall("call_1", "f", '{"a":"b"}')]),
        ChatMessage("tool", [ToolResult("call_1", [TextPart("r")], "f")]),
    ]
    return ChatRequest("m", [*called, ChatMessage("user", [TextPart("what is it"), *media])], [tool], max_tokens=9)


def request(come: str, chat_request: ChatRequest, *, stream: bool = False) -> tuple[str, bytes]:
    """The ask as a client of this wire sends it to a gateway: path and body."""
    path, plain = asking(come, stream=stream)
    fields = wire_named(come).write_request(chat_request, vendor=wire_named(come).VENDOR)
    return path, json_text.encoded({**fields, **{name: plain[name] for name in ("model", "stream") if name in plain}})


@asynccontextmanager
async def forgetful(to: str, answer: bytes | None = None) -> AsyncGenerator[tuple[str, list[int]], None]:
    """A backend that keeps nothing of what it is sent but its size; its URL, and the sizes. ``answer``: else it is a reply."""
    writer = wire_named(to).writer(ChatRequest("m", []), "one", 1)
    reply: list[Event] = [Start("a", "m"), Text("x"), Finish("complete", "stop")]
    answer_body = answer or writer.write(reply) + writer.end()
    sizes: list[int] = []

    async def talk(reader: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        left = size = int(head.partition(b"content-length: ")[2].split(b"\r", 1)[0])
        while left:
            left -= len(await reader.read(min(left, 65536)))
        sizes.append(size)
        out.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (len(answer_body), answer_body)
        )
        await out.drain()
        out.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", sizes
    finally:
        server.close()


async def sent_in_pieces(here: Running, path: str, body: bytes, **headers: str) -> bytes:
    """The answer's first line."""
    reader, out = await asyncio.open_connection("127.0.0.1", here.port)
    headers |= {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body))}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    out.write(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode())
    view = memoryview(body)
    for at in range(0, len(body), 65536):
        out.write(view[at : at + 65536])
        await out.drain()
    line = await reader.readline()
    out.transport.abort()
    return line


WORDS = 'Why is the sky blue, and not “violet”? 😀 ("And the sea?")\n'


def large_tool() -> Tool:
    """One of very many parameters."""
    about = "Why is the sky blue, and not “violet”? And the sea? "
    member = {"type": "string", "description": about * 2, "enum": ["a", "b"], "default": None}
    count = LARGE // (len(json_text.encoded({"parameter_100000": member})) - 1) + 1
    return Tool("large", "d", {"type": "object", "properties": {f"parameter_{100_000 + at}": member for at in range(count)}})


def large(kind: str) -> ChatRequest:
    """A request that has at least ``LARGE`` bytes of this kind."""
    small = with_media(ImagePart(data=PNG, media_type="image/png"))
    if kind == "image":
        return with_media(ImagePart(data=PNG + bytes(LARGE), media_type="image/png"))
    if kind == "tool":
        return replace(small, tools=[*small.tools, large_tool()])
    if kind == "format":
        return replace(small, format=Format("schema", large_tool().parameters, "answer"))
    if kind == "text":
        return with_media(TextPart(WORDS * (LARGE // len(WORDS.encode()) + 1)), ImagePart(data=PNG, media_type="image/png"))
    raise KeyError(kind)


async def peak_of(come: str, to: str, body: bytes, **headers: str) -> int:
    """How many bytes a gateway holds at most from the first byte of ``body`` to the answer, itself included."""
    path, small = request(come, with_media(ImagePart(data=PNG, media_type="image/png")))
    return await sent_and_peak(to, path, small, body, **headers)


async def sent_and_peak(to: str, path: str, small: bytes, body: bytes, *, answer: bytes | None = None, **headers: str) -> int:
    """The same of a body for this path, after a ``small`` one. ``answer``: of the backend, else it is a reply."""
    async with (
        forgetful(to, answer) as (url, sizes),
        gateway(configured({"house": row(to, url, embeddings=True)})) as here,
    ):
        assert b" 200 " in await sent_in_pieces(here, path, small)  # what is loaded once is loaded now
        tracemalloc.start()
        try:
            assert b" 200 " in await sent_in_pieces(here, path, body, **headers)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert sizes[1] > len(body) * 0.6
    return peak


LONG = 16 * 1024
"""Bytes of a text that stay where they are, in the tests below."""


LONG_TEXT = WORDS * (6 * LONG // len(WORDS))


async def exchanged(to: str, *requests: tuple[str, bytes]) -> tuple[list[Answer], list[Any]]:
    """What a gateway answers to these requests, and what its one backend got of them."""
    async with house(to, HELLO) as (here, backend):
        answers = [await here.ask(path, body) for path, body in requests]
    return answers, [seen.json for seen in backend.seen]


def everything_stays(patch: pytest.MonkeyPatch) -> None:
    for module in (bodies, dialect_module):
        patch.setattr(module, "LEAST", 10**9)

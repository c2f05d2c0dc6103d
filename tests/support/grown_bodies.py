"""Requests and replies of each wire that are long in one place, whichever that is, and what reads them: an attack's bodies."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from polychat.errors import BadInput, redact
from polychat.types import (
    ChatMessage,
    ChatRequest,
    FilePart,
    ImagePart,
    Opaque,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCall,
    ToolResult,
)
from polychat.wire import json_text
from polychat.wire.contract import Wire, names, wire_named

from .corpus import FOLDER
from .linear_time import Make, grown

Read = Callable[[bytes], object]
KINDS = ("request", "whole reply", "streamed reply")
SHOWN = (
    *("token-", "cookie:\t", "cookie\t", "://a", "bearer ", "api_key=x ", "token'"),
    *("é", " ", "\x1b", "a=b; ", "<!--", "<a b=", "pc1.~"),
)
"""Of which foreign text is made: most of it begins like something that is to be redacted."""


def bodies(name: str, kind: str) -> tuple[Iterator[tuple[str, Make]], Read]:
    """Those of a wire, each with the name of its place; and what reads them: a request is also written for every wire."""
    wire = wire_named(name)
    if kind == "request":
        value = json.loads(json_text.encoded(wire.write_request(everything(wire.VENDOR), vendor=wire.VENDOR)))
        return grown(value), lambda body: _translated(wire, body)
    if kind == "whole reply":
        return _replies(name, whole=True), wire.read_reply
    return _replies(name, whole=False), lambda body: fed(wire.Reader(), body, 64 * 1024)


def has_items(where: str) -> bool:
    """Whether what is long there is many values, and not one text, one number or brackets."""
    return where.endswith((" repeated", " repeated, named", " with members", " again"))


def shown(unit: str) -> tuple[Make, Read]:
    """Text of nothing but ``unit``, and what redacts all of it; where it is shown, some thousand letters are looked at."""
    return lambda size: unit.encode() * (size // len(unit.encode())), lambda data: redact(data, 10**9)


def fed(reader: Any, data: bytes, step: int) -> None:
    """The reader has read all of it, ``step`` bytes at a time, or refused it."""
    with contextlib.suppress(ValueError):  # a line that is too long
        for at in range(0, len(data), step):
            reader.feed(data[at : at + step])
        reader.end()


def everything(vendor: str) -> ChatRequest:
    """A request with most of what there is."""
    png, pdf = (
        ImagePart(data=b"\x89PNG\r\n\x1a\nxx", media_type="image/png"),
        FilePart(data=b"%PDF-1.7", media_type="application/pdf", name="a"),
    )
    schema = {"type": "object", "properties": {"a": {"type": "string", "enum": ["x", "y"]}}, "required": ["a"]}
    turns = [
        ChatMessage("system", [TextPart("s")]),
        ChatMessage("user", [TextPart("a"), png, pdf]),
        ChatMessage(
            "assistant", [ReasoningPart("t", Opaque(vendor, "sig")), TextPart("x"), ToolCall("call_1", "f", '{"a":1}')]
        ),
        ChatMessage("tool", [ToolResult("call_1", [TextPart("r")], "f")]),
        ChatMessage("assistant", [TextPart("fine")]),
        ChatMessage("user", [TextPart("b")]),
    ]
    return ChatRequest("m", turns, [Tool("f", "d", schema)], max_tokens=9)


def _translated(wire: Wire, body: bytes) -> None:
    """Read by one wire and written by all."""
    with contextlib.suppress(BadInput):
        request = wire.read_request(body, model="m", stream=True)
        for name in names():
            with contextlib.suppress(BadInput):
                json_text.encoded(wire_named(name).write_request(request, vendor="nobody"))


def _replies(name: str, *, whole: bool) -> Iterator[tuple[str, Make]]:
    """Recorded replies, grown at each place; a place that several have, in the first of them."""
    known = set()
    for where, shape, make in _recorded(name, whole):
        place = (where.partition(" ")[2], shape)
        if place not in known:
            known.add(place)
            yield where, make


def _recorded(name: str, whole: bool) -> Iterator[tuple[str, Any, Make]]:
    for file in sorted((FOLDER / name).iterdir()):
        if whole and file.suffix == ".json" and "request" not in file.name:
            yield from ((f"{file.name} {where}", None, make) for where, make in grown(json.loads(file.read_bytes())))
        elif not whole and file.suffix in (".sse", ".chunks", ".ndjson"):
            yield from _events(file)


def _events(file: Path) -> Iterator[tuple[str, Any, Make]]:
    """A stream with one long event, or one event many times: each shape of event there is."""
    lines = file.read_bytes().replace(b"\r\n", b"\n").split(b"\n")
    shapes = set()
    for at, line in enumerate(lines):
        begin = b"data: " if line.startswith(b"data: ") else b""
        try:
            value = json.loads(line[len(begin) :])
        except ValueError:
            continue
        shape = (value.get("type") or tuple(sorted(map(str, value)))) if isinstance(value, dict) else ()
        if shape in shapes:
            continue
        shapes.add(shape)
        before, behind = b"\n".join([*lines[:at], begin]), b"\n".join([b"", *lines[at + 1 :]])
        for where, make in grown(value):
            yield f"{file.name}:{at + 1} {where}", shape, lambda size, make=make, a=before, z=behind: a + make(size) + z
        again = b"\n".join(lines[max(at - 1, 0) : at + 1]) + b"\n\n"
        head = b"\n".join(lines[: at + 1]) + b"\n\n"
        yield f"{file.name}:{at + 1} again", shape, lambda size, h=head, e=again, z=behind: h + e * (size // len(e)) + z

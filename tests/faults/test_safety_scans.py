"""Kind: a scan over a stranger's bytes that takes quadratic time. Each is fed its worst case, and four times as much of it."""

from __future__ import annotations

import contextlib
import json
import re
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from polychat.backends.registry import Registry
from polychat.config import Config
from polychat.config.file_errors import near
from polychat.errors import BadInput, PolychatError, redact
from polychat.events import Citation, Event, Finish, Logprobs, Reasoning, Refusal, Start, Text, ToolCallPiece
from polychat.gateway.dialects.dialect import shallow
from polychat.gateway.paths import DIALECTS
from polychat.routing import ModelResolver
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
from polychat.user import weights
from polychat.wire import json_text
from polychat.wire.assembly import AssembledMessage
from polychat.wire.contract import Wire, names, wire
from polychat.wire.framing import DataLines, Events, JSONLines, Lines
from polychat.wire.gemini.array import Objects
from polychat.wire.openai_chat.passthrough import ChunkMonitor
from polychat.wire.passthrough import WholeLines
from polychat.wire.sites.pages import elements
from polychat.wire.tags import untagged

from ..support.corpus import FOLDER
from ..support.linear_time import FLOOR, Make, grown, is_linear, took
from ..support.random_conversations import ask_for

MB = 1_000_000
WORST: dict[str, Make] = {
    "brackets": lambda size: b"[" * size,
    "a quote without end": lambda size: b"[" * 65 + b'"' + b'\\"' * (size // 2),
    "backslashes": lambda size: b"[" * 65 + b'"' + b"\\" * size,
    "objects": lambda size: b"[" + b'{"a":1},' * (size // 8) + b"{}]",
    "objects in objects": lambda size: b"[" + b",".join([b'{"a":' * 60 + b"1" + b"}" * 60] * (size // 361)) + b"]",
    "brackets in strings": lambda size: b"[" + b'"[[",' * (size // 5) + b'""]',
    "empty strings": lambda size: b"[" * 65 + b'"",' * (size // 3),
    "digits": lambda size: b"[" * 65 + b"9" * size,
    "line ends": lambda size: b"\n" * size,
    "returns": lambda size: b"\r" * size,
    "both": lambda size: b"\r\n" * (size // 2),
    "colons": lambda size: b": \n" * (size // 3),
    "data lines": lambda size: b"data: x\n" * (size // 8),
    "one data line": lambda size: b"data: " + b"x" * size,
    "events": lambda size: b'data: {"usage":{}}\n\n' * (size // 20),
    "chunks": lambda size: b'data: {"choices":[],"usage":{"total_tokens":1}}\n\n' * (size // 49),
    "deltas": lambda size: b'data: {"delta": {"a' * (size // 19),
    "names": lambda size: b"event: x\n" * (size // 9),
    "spaces": lambda size: b" " * size,
}
each_worst = pytest.mark.parametrize("case", sorted(WORST))
each_wire = pytest.mark.parametrize("name", names())


def assert_linear(make: Make, work: Callable[[bytes], object], size: int = MB) -> None:
    linear, times = is_linear(make, work, size)
    assert linear, times


def not_linear(made: Iterable[tuple[str, Make]], work: Callable[[bytes], object]) -> list[tuple[str, str]]:
    """Which places of a request or a reply that ``grown`` grew take more than linear time, and the times.

    One text, one number or brackets grow to 1 and 4 MB. Of places with more values each value takes a step of Python's own:
    they grow to 40 and 160 KB, and the one that takes longest for so much to 1 and 4 MB.
    """
    bad, slowest = [], (0.0, "", None)
    for where, make in made:
        has_values = where.endswith((" repeated", " repeated, named", " with members", " again"))
        linear, times = is_linear(make, work, 40_000) if has_values else is_linear(make, work, MB, 4 * FLOOR)
        if not linear:
            bad.append((where, times))
        elif has_values:
            slowest = max(slowest, (took(work, make(40_000)), where, make), key=itemgetter(0))
    _, where, slow = slowest
    if slow is not None:
        linear, times = is_linear(slow, work, MB, 4 * FLOOR)
        bad += [] if linear else [(where, times)]
    return bad


def fed(reader: Any, data: bytes, step: int) -> None:
    with contextlib.suppress(ValueError):  # a line that is too long
        for at in range(0, len(data), step):
            reader.feed(data[at : at + step])
        reader.end()


# JSON.


@each_worst
def test_the_depth_of_json(case: str) -> None:
    """Whether JSON is too deep is found in linear time, and in next to no memory."""

    def work(data: bytes) -> None:
        with contextlib.suppress(json_text.TooDeep):
            json_text.check_depth(data)

    assert_linear(WORST[case], work)
    data = WORST[case](MB)
    tracemalloc.start()
    try:
        work(data)
        assert tracemalloc.get_traced_memory()[1] < 400_000
    finally:
        tracemalloc.stop()


@each_worst
def test_json(case: str) -> None:
    """Reading it."""

    def work(data: bytes) -> None:
        with contextlib.suppress(ValueError):
            json_text.decoded(data)

    assert_linear(WORST[case], work)


HALVES = (rb"\ud83d", rb"\udc00", rb"\ud83d\udc00", rb"\\ud83d", rb"\\", rb"\ud83d\\", rb"\\\udc00", rb"x\ud83d ", rb"\u00e9")


@pytest.mark.parametrize("unit", HALVES)
def test_halves_of_emoji(unit: bytes) -> None:
    """However many there are: each becomes U+FFFD in linear time, and nothing is held beside what it gives."""

    def make(size: int) -> bytes:
        return b'["\\udc00' + unit * (size // len(unit)) + b'"]'

    assert_linear(make, json_text.without_halves)
    data = make(MB)
    tracemalloc.start()
    try:
        whole = json_text.without_halves(data)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data) + 2_000_000
    finally:
        tracemalloc.stop()
    expected = re.sub("[\ud800-\udfff]", "\ufffd", json.loads(data)[0])
    assert json.loads(whole)[0] == expected


@pytest.mark.parametrize("data", [b'{"a":"' + b"\xc3\xa9" * 70_000 + b'"}', b'{"a":"' + b"x" * 65_529 + "é".encode() + b'"}'])
def test_text_is_checked_a_piece_at_a_time(data: bytes) -> None:
    """A body with letters that pieces cut is good; where one is broken the error tells its place."""
    from polychat.config.settings import Limits

    assert "a" in shallow(data, Limits())
    broken = data[:-3] + b"\xff" + data[-3:]
    with pytest.raises(UnicodeDecodeError) as caught:
        broken.decode()
    with pytest.raises(BadInput, match=rf"byte {caught.value.start}\b"):
        shallow(broken, Limits())


# Framing, and streams that pass.

FRAMES: dict[str, Callable[[], Any]] = {
    "lines": Lines,
    "data lines": DataLines,
    "events": Events,
    "json lines": JSONLines,
    "gemini's array": Objects,
    "chunks": lambda: ChunkMonitor(usage=True),
    "chunks, seen": lambda: _seen(ChunkMonitor(usage=False)),
    "whole lines": lambda: WholeLines(wire("ollama").Reader()),
}
READERS: dict[str, Callable[[], Any]] = {f"{name} reader": wire(name).Reader for name in names()}


def _seen(chunks: ChunkMonitor) -> ChunkMonitor:
    chunks.feed(b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n')
    return chunks


@each_worst
@pytest.mark.parametrize("frame", sorted(FRAMES))
def test_what_is_fed(case: str, frame: str) -> None:
    """What cuts a stream takes four times as long for four times as much, in the reads of a network. What reads its pieces

    is asked of real replies below."""
    assert_linear(WORST[case], lambda data: fed(FRAMES[frame](), data, 4096), MB)


@pytest.mark.parametrize("case", ["backslashes", "chunks", "one data line", "spaces"])
@pytest.mark.parametrize("frame", sorted(FRAMES | READERS))
def test_what_trickles(case: str, frame: str) -> None:
    """And a few bytes at a time: what is held is not gone through again with every read."""
    assert_linear(WORST[case], lambda data: fed((FRAMES | READERS)[frame](), data, 64))


@pytest.mark.parametrize("frame", sorted(FRAMES | READERS))
def test_a_trickle_takes_no_more_memory_than_what_it_is(frame: str) -> None:
    """Bytes that come one by one are not held one by one."""
    tracemalloc.start()
    try:
        reader = (FRAMES | READERS)[frame]()
        reader.feed(b'[{"a":"' if "array" in frame else b"data: {")
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10_000):
            reader.feed(b"x")
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()


# Replies, read and written.


def pieces(count: int) -> dict[str, list[Event]]:
    """Replies in very many pieces."""
    call = ToolCallPiece(0, "call_1", "f", '{"a":"')
    more, last = ToolCallPiece(0, None, None, LETTERS), ToolCallPiece(0, None, None, '"}')
    return {
        "text": [Text(LETTERS)] * count,
        "thoughts": [Reasoning(LETTERS)] * count,
        "blocks": [Reasoning(LETTERS, None, number) for number in range(count)],
        "arguments": [call, *[more] * count, last],
        "arguments, named": [call, *[ToolCallPiece(0, "call_1", "f", LETTERS)] * count, last],
        "refusal": [Refusal(LETTERS)] * count,
        "sources": [event for n in range(count // 2) for event in (Text("é"), Citation("t", f"http://x/{n}", "", 0, 1))],
        "probabilities": [Text("x"), Logprobs([{"token": "x", "logprob": -0.1, "bytes": [120], "top_logprobs": []}])]
        * (count // 2),
    }


LETTERS = "x" * 250
"""Of a piece: of 4,000 and 16,000 pieces there are 1 and 4 MB."""


@each_wire
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("kind", sorted(pieces(2)))
def test_replies_in_many_pieces(name: str, kind: str, stream: bool) -> None:
    """Written in a wire's bytes and read again, in one read and in many."""
    spoken = wire(name)

    def written(count: int) -> bytes:
        writer = spoken.writer(ask_for(stream), "one", 1)
        out = [writer.write([event]) for event in [Start("a", "m"), *pieces(count)[kind], Finish("complete", "stop")]]
        return b"".join([*out, writer.end()])

    def read(body: bytes) -> None:
        if stream:
            fed(spoken.Reader(), body, 4096)
        else:
            spoken.read_reply(body)

    assert_linear(lambda size: b"x" * size, lambda data: written(len(data)), 4_000)
    assert_linear(written, read, 4_000)


def documents(name: str, whole: bool) -> Iterator[tuple[str, Any, Make]]:
    """Recorded replies of a wire, grown at each place; a place that several have, in the first of them."""
    known = set()
    for where, shape, make in _documents(name, whole):
        place = (where.partition(" ")[2], shape)
        if place not in known:
            known.add(place)
            yield where, shape, make


def _documents(name: str, whole: bool) -> Iterator[tuple[str, Any, Make]]:
    for file in sorted((FOLDER / name).iterdir()):
        if whole and file.suffix == ".json" and "request" not in file.name:
            yield from ((f"{file.name} {where}", None, make) for where, make in grown(json.loads(file.read_bytes())))
        elif not whole and file.suffix in (".sse", ".chunks", ".ndjson"):
            yield from _events(file)


def _events(file: Path) -> Iterator[tuple[str, Any, Make]]:
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


@each_wire
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "stream"])
def test_replies_that_grow_anywhere(name: str, whole: bool) -> None:
    """A real reply in which any one list, object or text is many times as long."""
    spoken = wire(name)

    def read(body: bytes) -> None:
        if whole:
            spoken.read_reply(body)
        else:
            fed(spoken.Reader(), body, 64 * 1024)

    assert not not_linear(((where, make) for where, _, make in documents(name, whole)), read)


# Requests.


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


def translated(spoken: Wire, body: bytes) -> None:
    """Read by one wire and written by all."""
    with contextlib.suppress(BadInput):
        request = spoken.read_request(body, model="m", stream=True)
        for name in names():
            with contextlib.suppress(BadInput):
                json_text.encoded(wire(name).write_request(request, vendor="nobody"))


@each_wire
def test_requests_that_grow_anywhere(name: str) -> None:
    """Read, and written for every other wire."""
    spoken = wire(name)
    value = json.loads(json_text.encoded(spoken.write_request(everything(spoken.VENDOR), vendor=spoken.VENDOR)))
    assert not not_linear(grown(value), lambda body: translated(spoken, body))


@each_worst
def test_what_every_door_does_first(case: str) -> None:
    """The fields of a body, before it is known for whom it is."""
    from polychat.config.settings import Limits

    assert DIALECTS

    def work(data: bytes) -> None:
        with contextlib.suppress(BadInput):
            shallow(b'{"messages":' + data, Limits())

    assert_linear(WORST[case], work)


# Texts that are shown, and that are read as they come.

TEXTS = (
    "token-",
    "cookie:\t",
    "cookie\t",
    "://a",
    "bearer ",
    "api_key=x ",
    "token'",
    "é",
    " ",
    "\x1b",
    "a=b; ",
    "<!--",
    "<a b=",
    "pc1.~",
)

SLOWEST = ("token-", "cookie:\t", "://a")
"""Where most of what stands there begins like something that is to be redacted, in each of the three ways."""


@pytest.mark.parametrize("unit", TEXTS)
def test_what_is_shown(unit: str) -> None:
    """Foreign text is made fit to be shown in linear time, however much of it is looked at; and little is of a megabyte."""
    size = MB if unit in SLOWEST else MB // 10
    assert_linear(lambda size: unit.encode() * (size // len(unit)), lambda data: redact(data, 10**9), size)
    assert len(redact(unit * MB)) <= 200


@pytest.mark.parametrize("unit", TEXTS)
@pytest.mark.parametrize("read", [elements, lambda text: untagged(text, "x")], ids=["pages", "tags"])
def test_pages_and_tags(unit: str, read: Callable[[str], object]) -> None:
    """A page of a site, and what a client hands back."""
    assert_linear(lambda size: unit.encode() * (size // len(unit)), lambda data: read(data.decode()))


@pytest.mark.parametrize("unit", ["x", "é", "\U0001f600"])
def test_a_reply_that_is_read_at_each_piece(unit: str) -> None:
    """``text`` and ``reasoning`` after each piece, as a display does it, copy what came once and not each time: of 1 and

    of 4 MB in pieces of 25 letters."""

    def work(data: bytes) -> None:
        came = AssembledMessage()
        for number in range(len(data)):
            came.take(Text(unit * 25))
            came.take(Reasoning(unit * 25, None, number // 10_000))
            came.take(ToolCallPiece(0, "a", "b", unit))
            assert came.text
            assert came.reasoning

    assert_linear(lambda size: b"x" * size, work, 40_000)


def test_thoughts_are_what_their_blocks_are() -> None:
    """In any order of the blocks."""
    for blocks in ([0, 0, 1, 2], [0, 2, 1, 1], [1, 0, 2], [3]):
        came = AssembledMessage()
        for block in blocks:
            came.take(Reasoning(f"<{block}>", None, block))
            assert came.reasoning == "\n\n".join(thought.text for thought in came.thoughts if thought.text)


NAMED: dict[str, Callable[[str], object]] = {
    "models": ModelResolver(Registry(Config(aliases={"claude-*": "openai/*", "*-mini": "openai/x"}))).plan,
    "providers": Registry(Config()).find,
    "weights": weights.find,
    "settings": lambda name: near(name, ["provider", "providers", "gateway"]),
}


@pytest.mark.parametrize("form", ["{}", "openai/{}", "{}/small", "claude-{}-mini"])
@pytest.mark.parametrize("of", NAMED)
def test_names_without_end(of: str, form: str) -> None:
    """Whatever they name: they are compared with those that are known by their beginning at most."""

    def work(data: bytes) -> None:
        with contextlib.suppress(PolychatError):
            NAMED[of](data.decode())

    assert_linear(lambda size: form.format("y-" * (size // 2)).encode(), work)

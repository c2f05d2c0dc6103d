"""Kind: a scan over hostile bytes that takes quadratic time. Each is fed its worst case, and four times as much of it."""

from __future__ import annotations

import contextlib
import json
import re
import tracemalloc
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

import pytest

from polychat.backends.registry import Registry
from polychat.config import Config
from polychat.config.file_errors import near
from polychat.errors import BadInput, PolychatError, redact
from polychat.events import Citation, Event, Finish, Logprobs, Reasoning, Refusal, Start, Text, ToolCallPiece
from polychat.gateway.dialects.bodies import shallow
from polychat.gateway.paths import DIALECTS
from polychat.routing import ModelResolver
from polychat.user import weights
from polychat.wire import json_text
from polychat.wire.assembly import AssembledMessage
from polychat.wire.contract import names, wire_named
from polychat.wire.framing import DataLines, Events, JSONLines, Lines
from polychat.wire.gemini.array import Objects
from polychat.wire.openai_chat.passthrough import ChunkMonitor
from polychat.wire.passthrough import WholeLines
from polychat.wire.sites.pages import elements
from polychat.wire.tags import untagged

from ..support.grown_bodies import KINDS, SHOWN, bodies, fed, has_items, shown
from ..support.linear_time import FLOOR, Make, is_linear, step_growth, steps
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

    assert_linear(make, json_text.without_lone_surrogates)
    data = make(MB)
    tracemalloc.start()
    try:
        whole = json_text.without_lone_surrogates(data)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data) + 2_100_000
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
    "whole lines": lambda: WholeLines(wire_named("ollama").Reader()),
}
READERS: dict[str, Callable[[], Any]] = {f"{name} reader": wire_named(name).Reader for name in names()}


def _seen(chunks: ChunkMonitor) -> ChunkMonitor:
    chunks.feed(b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n')
    return chunks


@each_worst
@pytest.mark.parametrize("frame", sorted(FRAMES))
def test_what_is_fed(case: str, frame: str) -> None:
    """What cuts a stream takes four times as long for four times as much, in the reads of a network. What reads its pieces
    is asked of real replies below.
    """
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
    wire = wire_named(name)

    def written(count: int) -> bytes:
        writer = wire.writer(ask_for(stream), "one", 1)
        out = [writer.write([event]) for event in [Start("a", "m"), *pieces(count)[kind], Finish("complete", "stop")]]
        return b"".join([*out, writer.end()])

    def read(body: bytes) -> None:
        if stream:
            fed(wire.Reader(), body, 4096)
        else:
            wire.read_reply(body)

    assert_linear(lambda size: b"x" * size, lambda data: written(len(data)), 4_000)
    assert_linear(written, read, 4_000)


@each_wire
@pytest.mark.parametrize("kind", KINDS)
def test_bodies_that_grow_anywhere(name: str, kind: str) -> None:
    """A request, read and written for every other wire, or a real reply, in which any one list, object or text is many
    times as long. One text, one number or brackets grow to 1 and 4 MB. Of places with more values each value takes steps
    of Python's own, which are counted in the first few kilobytes; what C does with them is measured at 1 and 4 MB in the
    place with most steps for a byte (in all of them: ``make bench B=scans``, which takes minutes).
    """
    made, read = bodies(name, kind)
    bad, most = [], (-1.0, "", None)
    for where, make in made:
        if has_items(where):
            growth = step_growth(make, read)
            linear, figures = growth.is_linear, growth.counted
            most = max(most, (growth.late, where, make), key=itemgetter(0))
        else:
            linear, figures = is_linear(make, read, MB, 4 * FLOOR)
        bad += [] if linear else [(where, figures)]
    assert not bad
    _, where, dearest = most
    assert dearest is not None
    linear, figures = is_linear(dearest, read, MB, 4 * FLOOR)
    assert linear, (where, figures)


# Requests.


@each_worst
def test_what_every_dialect_does_first(case: str) -> None:
    """The fields of a body, before it is known for whom it is."""
    from polychat.config.settings import Limits

    assert DIALECTS

    def work(data: bytes) -> None:
        with contextlib.suppress(BadInput):
            shallow(b'{"messages":' + data, Limits())

    assert_linear(WORST[case], work)


# Texts that are shown, and that are read as they come.


@pytest.mark.parametrize("unit", SHOWN)
def test_what_is_shown(unit: str) -> None:
    """Foreign text is made fit to be shown in linear time, however much of it is looked at; and little is of a megabyte."""
    assert_linear(*shown(unit))
    assert len(redact(unit * MB)) <= 200


@pytest.mark.parametrize("unit", SHOWN)
@pytest.mark.parametrize("read", [elements, lambda text: untagged(text, "x")], ids=["pages", "tags"])
def test_pages_and_tags(unit: str, read: Callable[[str], object]) -> None:
    """A page of a site, and what a client hands back."""
    assert_linear(lambda size: unit.encode() * (size // len(unit)), lambda data: read(data.decode()))


@pytest.mark.parametrize("unit", ["x", "é", "\U0001f600"])
def test_a_reply_that_is_read_at_each_piece(unit: str) -> None:
    """``text`` and ``reasoning`` after each piece, as a display does it, copy what came once and not each time: of 1 and of
    4 MB in pieces of 25 letters.
    """

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
    """Whatever they name: they are compared with those that are known by their beginning at most, and not letter by letter."""

    def work(data: bytes) -> None:
        with contextlib.suppress(PolychatError):
            NAMED[of](data.decode())

    def make(size: int) -> bytes:
        return form.format("y-" * (size // 2)).encode()

    assert_linear(make, work)
    work(make(2_000))
    assert steps(partial(work, make(MB))) <= 1.1 * steps(partial(work, make(2_000)))

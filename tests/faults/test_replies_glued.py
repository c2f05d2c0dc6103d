"""Kind of fault: two replies that a proxy or a cache sent as one, before the first has ended, are taken for one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from polychat.config.settings import Limits
from polychat.errors import ReplyFailed
from polychat.events import Event, Finish, Start, Text
from polychat.gateway.dialects.dialect import Dialect, InboundChat
from polychat.gateway.paths import DIALECTS
from polychat.types import ChatRequest
from polychat.wire.contract import Wire, names, wire_named
from polychat.wire.framing import EVENT_END
from polychat.wire.json_text import encoded
from polychat.wire.openai_chat.passthrough import ChunkMonitor
from polychat.wire.passthrough import StreamMonitor

from ..support.corpus import splits
from ..support.gateway_for_clients import before
from ..support.running_gateway import asking
from ..support.scripted_server import Say, Seen

WITHOUT_IDS = {"ollama"}
"""Their replies have no name: nothing tells two from one."""
NAMED = [name for name in names() if name not in WITHOUT_IDS]
PASSING = [name for name, dialect in DIALECTS.items() if dialect.passes and dialect.wire.NAME in NAMED]
MESSAGE = "two replies were sent as one"


def reply(wire: Wire, name: str, events: list[Event], *, ends: bool) -> bytes:
    """A streamed reply of that id; without its end where it does not."""
    writer = wire.writer(ChatRequest("m", [], stream=True), name, 0)
    body = writer.write([Start(), *events, *([Finish("complete", "stop")] if ends else [])])
    return body + writer.end() if ends else body


def glued(wire: Wire) -> tuple[bytes, bytes]:
    """A reply that breaks off, and a whole one of another id."""
    hello: list[Event] = [Text("Hel"), Text("lo")]
    return reply(wire, "first", hello, ends=False), reply(wire, "second", hello, ends=True)


def monitor_of(dialect: Dialect) -> StreamMonitor:
    return dialect.monitor(InboundChat(dialect, b"{}", {}, None, "m", True, Limits(), True))


def passed(monitor: StreamMonitor, pieces: Iterable[bytes]) -> bytes:
    """What a client gets: nothing is read behind the end that a monitor knows."""
    out = b""
    for piece in pieces:
        if monitor.finish is None:
            out += monitor.feed(piece)
    return out + monitor.end()


@pytest.mark.parametrize("name", NAMED)
def test_a_second_reply_is_a_failure_for_a_reader(name: str) -> None:
    """A stream that is translated fails where another reply begins, and none of its text is read."""
    first, second = glued(wire_named(name))
    reader = wire_named(name).Reader()
    events = [*reader.feed(first), *reader.feed(second), *reader.end()]
    assert "".join(event.text for event in events if isinstance(event, Text)) == "Hello"
    assert isinstance(events[-1], Finish)
    assert events[-1].verdict == "failed"
    assert MESSAGE in str(events[-1].error)


@pytest.mark.parametrize("name", PASSING)
def test_a_second_reply_does_not_pass(name: str) -> None:
    """However the stream is cut: what passes is the first reply, and of the second its first event at most, if that was cut."""
    first, second = glued(DIALECTS[name].wire)
    end_of_first = EVENT_END.search(second)
    assert end_of_first is not None
    for pieces in splits(first + second):
        monitor = monitor_of(DIALECTS[name])
        out = passed(monitor, pieces)
        assert monitor.finish is not None
        assert (monitor.finish.verdict, monitor.error_forwarded) == ("failed", False)
        assert MESSAGE in str(monitor.finish.error)
        assert (first + second).startswith(out)
        assert len(out) <= len(first) + end_of_first.end()
        assert len(pieces) > 1 or out == first


@pytest.mark.parametrize("name", PASSING)
def test_a_second_reply_behind_the_end_does_not_pass(name: str) -> None:
    """Not even where one read brings the end of the first and the beginning of the second, nor the whole of both."""
    hello: list[Event] = [Text("Hel"), Text("lo")]
    first = reply(DIALECTS[name].wire, "first", hello, ends=True)
    second = reply(DIALECTS[name].wire, "second", hello, ends=True)
    for at in (0, len(first) // 2, len(first) - 9):
        monitor = monitor_of(DIALECTS[name])
        pieces = [first[:at], first[at:] + second] if at else [first + second]
        assert passed(monitor, pieces) == first
        assert monitor.finish is not None


@pytest.mark.parametrize("name", PASSING)
def test_a_whole_reply_passes(name: str) -> None:
    """One that says its own name again and again passes as it came."""
    body = reply(DIALECTS[name].wire, "first", [Text("Hel"), Text("lo")], ends=True)
    for pieces in splits(body):
        monitor = monitor_of(DIALECTS[name])
        assert passed(monitor, pieces).rstrip() == body.rstrip()  # the end is known before its blank line
        assert monitor.finish is not None
        assert monitor.finish.verdict == "complete"


@pytest.mark.parametrize("name", PASSING)
async def test_a_client_gets_the_error(name: str) -> None:
    """At the gateway: the client gets the first reply and then the dialect's own error, and the record has a failure."""
    wire = DIALECTS[name].wire
    first, second = glued(wire)

    async def handler(seen: Seen, say: Say) -> None:
        await say.stream([first, second])

    async with before({"house": (wire.NAME, handler)}) as here:
        caller = await here.caller()
        caller.ask(*asking(name, stream=True))
        answer = await caller.whole()
        (record,) = await here.app.recorded()
    reader = wire.Reader()
    (*events, finish) = [*reader.feed(answer.body), *reader.end()]
    assert "".join(event.text for event in events if isinstance(event, Text)) == "Hello"
    assert isinstance(finish, Finish)
    assert isinstance(finish.error, ReplyFailed)
    assert (record.passthrough, record.verdict) == (True, "failed")
    assert MESSAGE in record.error


def chunk(delta: dict[str, Any], name: str, reason: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    return b"data: " + encoded({"id": name, "object": "chat.completion.chunk", "model": "m", "choices": choices}) + b"\n\n"


OPENING = {"role": "assistant", "content": ""}


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk({"role": "assistant", "content": "x"}, name) for name in "abc"],
        [chunk({"content": "x"}, name) for name in "abc"],
        [chunk(OPENING, "a"), chunk({"content": "x"}, "a"), chunk(OPENING, "a"), chunk({"content": "y"}, "a")],
        [chunk(OPENING, "a"), chunk(OPENING, "b"), chunk({"content": "x"}, "b")],
        [chunk(OPENING, ""), chunk({"content": "x"}, ""), chunk(OPENING, "b"), chunk({"content": "y"}, "b")],
        [chunk(OPENING, "a"), chunk({"content": '"delta":{"role":"assistant"}'}, "b"), chunk({"content": "y"}, "b")],
        [chunk(OPENING, "a"), chunk({"content": "x"}, "a"), chunk({"role": "assistant", "reasoning": "y"}, "b")],
    ],
    ids=["role each", "id each", "opens twice", "nothing came", "no id", "text", "thought"],
)
def test_what_only_looks_like_two(chunks: list[bytes]) -> None:
    """Servers that give each chunk an id, tell the role in each, or open a reply twice: it is one reply, and passes."""
    body = b"".join([*chunks, chunk({}, "b", "stop"), b"data: [DONE]\n\n"])
    for pieces in splits(body):
        monitor = ChunkMonitor(usage=True)
        assert passed(monitor, pieces) == body
        assert monitor.finish == Finish("complete", "stop")


@pytest.mark.parametrize("ending", [b"\n\n", b"\r\n\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("opening", [OPENING, {"role": "assistant"}, {"role": "assistant", "content": None, "refusal": None}])
def test_what_opens_a_second_chat_reply(opening: dict[str, Any], ending: bytes) -> None:
    """In every form that vendors open theirs with, also where nothing marked comes before it."""
    first = [chunk(opening, "a"), chunk({"content": "x"}, "a"), chunk({"content": "y"}, "a")]
    second = [chunk(opening, "b"), chunk({"content": "z"}, "b"), chunk({}, "b", "stop"), b"data: [DONE]\n\n"]
    for spaced in (False, True):
        body, begin = (b"".join(chunks).replace(b"\n\n", ending) for chunks in ([*first, *second], first))
        if spaced:
            body, begin = (part.replace(b'":', b'": ').replace(b',"', b', "') for part in (body, begin))
        for pieces in splits(body):
            monitor = ChunkMonitor(usage=True)
            out = passed(monitor, pieces)
            assert monitor.finish is not None
            assert monitor.finish.verdict == "failed"
            assert body.startswith(out)
            assert b'"z"' not in out
            assert len(pieces) > 1 or out == begin

"""What holds for every vendor's wire: round trips, translations, cuts, strangers."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polychat import errors
from polychat.errors import BadInput
from polychat.events import Event, Finish, Text, ToolCallPiece
from polychat.types import ChatMessage, ChatRequest, Opaque, ReasoningPart, TextPart, Tool, ToolCall
from polychat.wire.contract import Wire, names, wire_named
from polychat.wire.faults import STATUS, Fault
from polychat.wire.json_text import encoded
from polychat.wire.limits import ReaderLimits

from ..support.random_conversations import VALUES, asks, comparable, exact, read, replies, summary_of, written

each_wire = pytest.mark.parametrize("name", names())
some = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def reread(wire: Wire, request: ChatRequest) -> ChatRequest:
    body = encoded(wire.write_request(request, vendor=wire.VENDOR))
    return wire.read_request(body, model=request.model, stream=request.stream)


@each_wire
@some
@given(st.data())
def test_an_ask_comes_back_as_it_was(name: str, data: st.DataObject) -> None:
    """What one half writes the other reads as the same, but for what the ledger says is dropped or emulated."""
    wire = wire_named(name)
    request = exact(data.draw(asks(vendor=wire.VENDOR)), wire.SUPPORT)
    again = reread(wire, request)
    assert again.wire == name
    assert again.extra == {}
    assert comparable(again, wire.SUPPORT, wire.VENDOR) == comparable(request, wire.SUPPORT, wire.VENDOR)


@each_wire
@few
@given(st.data())
def test_what_was_read_is_written_as_it_stood(name: str, data: st.DataObject) -> None:
    """On the same wire a second trip changes nothing: what is kept for this wire alone is written back."""
    wire = wire_named(name)
    first = reread(wire, data.draw(asks(vendor=wire.VENDOR)))
    assert reread(wire, first) == first


@each_wire
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@some
@given(st.data())
def test_a_reply_comes_back_as_it_was(name: str, stream: bool, data: st.DataObject) -> None:
    """Thoughts, text, calls, usage, verdict and reason, streamed and whole."""
    wire = wire_named(name)
    events = data.draw(replies(wire.VENDOR))
    body = written(wire, events, stream=stream)
    again = read(wire, [body]) if stream else wire.read_reply(body)
    assert summary_of(again) == summary_of(events)


@each_wire
@few
@given(st.data())
def test_a_reply_does_not_depend_on_the_networks_cuts(name: str, data: st.DataObject) -> None:
    """Byte by byte, and cut in two anywhere, it is the reply it is at once."""
    wire = wire_named(name)
    events = data.draw(replies(wire.VENDOR))
    body = written(wire, events, stream=True)
    whole = summary_of(events)
    assert summary_of(read(wire, [body[i : i + 1] for i in range(len(body))])) == whole
    for cut in data.draw(st.lists(st.integers(0, len(body)), max_size=20)):
        assert summary_of(read(wire, [body[:cut], body[cut:]])) == whole


@pytest.mark.parametrize("to", names())
@pytest.mark.parametrize("name", names())
@few
@given(st.data())
def test_a_reply_survives_translation(name: str, to: str, data: st.DataObject) -> None:
    """Read from one wire and written on any other, streamed, it says the same."""
    events = data.draw(replies(wire_named(name).VENDOR))
    over = read(wire_named(name), [written(wire_named(name), events, stream=True)])
    again = read(wire_named(to), [written(wire_named(to), over, stream=True)])
    assert summary_of(again) == summary_of(events)


@pytest.mark.parametrize("to", names())
@pytest.mark.parametrize("name", names())
@few
@given(st.data())
def test_an_ask_survives_translation(name: str, to: str, data: st.DataObject) -> None:
    """Read from one wire and written on any other, it asks the same, within what both carry."""
    first, second = wire_named(name), wire_named(to)
    request = exact(data.draw(asks(vendor="nobody")), first.SUPPORT, second.SUPPORT)
    over = reread(second, reread(first, request))
    both = {
        field: support if support.kind in ("dropped", "emulated") else second.SUPPORT[field]
        for field, support in first.SUPPORT.items()
    }
    assert comparable(over, both, "-") == comparable(request, both, "-")


@each_wire
@few
@given(st.data())
def test_a_cut_reply_is_never_complete(name: str, data: st.DataObject) -> None:
    """At every byte: one end, the last event; complete only where the whole answer and its reason were read."""
    wire = wire_named(name)
    events = data.draw(replies(wire.VENDOR))
    body = written(wire, events, stream=True)
    whole = summary_of(events)
    for cut in range(0, len(body), max(1, len(body) // 150)):
        reader = wire.Reader()
        came = reader.feed(body[:cut]) + reader.end()
        ends = [event for event in came if isinstance(event, Finish)]
        assert came[-1:] == ends
        assert whole["text"].startswith("".join(event.text for event in came if isinstance(event, Text)))
        if ends[0].verdict == "complete":
            summary = summary_of(came)
            assert (summary["text"], summary["calls"], summary["finish"]) == (whole["text"], whole["calls"], whole["finish"])
        else:
            assert ends[0].error is not None


@each_wire
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("verdict", ["failed", "truncated"])
def test_a_failed_reply_is_not_written_as_a_complete_one(name: str, stream: bool, verdict: Any) -> None:
    """After what came, whoever reads the answer hears of a failure; a whole answer has a status that says so."""
    wire = wire_named(name)
    kind = errors.ReplyFailed if verdict == "failed" else errors.Truncated
    finish = Finish(verdict, error=kind("the backend is on fire"))
    body = written(wire, [Text("so far"), finish], stream=stream)
    if stream:
        came = read(wire, [body])
        assert [event.text for event in came if isinstance(event, Text)] == ["so far"]
        assert isinstance(came[-1], Finish)
        assert came[-1].verdict in ("failed", "truncated")
        assert "on fire" in str(came[-1].error)
        return
    from ..support.random_conversations import ask_for

    writer = wire.writer(ask_for(False), "one", 0)
    writer.write([Text("so far"), finish])
    fault = wire.read_fault(writer.status, writer.end())
    assert writer.status >= 500
    assert "on fire" in fault.message


@each_wire
@pytest.mark.parametrize("kind", STATUS)
def test_a_refusal_comes_back_as_it_was(name: str, kind: Any) -> None:
    """Message and kind survive; where a wire has fewer kinds, the status decides."""
    wire = wire_named(name)
    fault = wire.read_fault(STATUS[kind], wire.write_fault(Fault("no: ünlucky", kind, STATUS[kind])))
    assert fault.message.endswith("no: ünlucky")  # where the words alone tell the kind, some stand before it
    assert fault.kind == kind or STATUS[fault.kind] == STATUS[kind]


@each_wire
@some
@given(body=st.binary(max_size=60) | VALUES.map(encoded), status=st.integers(300, 599))
def test_any_refusal_can_be_read(name: str, body: bytes, status: int) -> None:
    """Whatever a proxy in between says."""
    assert wire_named(name).read_fault(status, body).status == status


FRAMES = ["data: {}\n\n", "event: x\ndata: {}\n\n", "{}\n", "[{}", ",{}", "{}]", "data: [DONE]\n\n", "\r", ": c\n"]


@each_wire
@some
@given(st.data())
def test_any_bytes_have_one_end(name: str, data: st.DataObject) -> None:
    """Rubbish, and JSON of another shape, framed as the wire frames it: no exception, and one ``Finish``."""
    wire = wire_named(name)
    values = st.lists(VALUES | st.dictionaries(st.sampled_from(WORDS), VALUES), max_size=4)
    frame = st.sampled_from(FRAMES)
    framed = [data.draw(frame).replace("{}", json.dumps(value)).encode() for value in data.draw(values)]
    for pieces in (framed, [data.draw(st.binary(max_size=80))]):
        events = read(wire, pieces)
        assert [type(event) for event in events].count(Finish) == 1
        assert isinstance(events[-1], Finish)
    assert isinstance(wire.read_reply(b"".join(framed))[-1], Finish)


WORDS = [
    *("choices", "delta", "message", "content", "usage", "type", "response", "item", "output", "index", "candidates", "parts"),
    *("error", "done", "tool_calls", "function", "finish_reason", "stop_reason", "content_block", "usageMetadata", "id"),
]


@each_wire
@some
@given(st.data())
def test_any_request_is_read_or_refused_by_name(name: str, data: st.DataObject) -> None:
    """Bytes that are no JSON, and any JSON in any field: an ask, or ``BadInput`` with its field."""
    wire = wire_named(name)
    body = wire.write_request(data.draw(asks(vendor=wire.VENDOR)), vendor=wire.VENDOR)
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(VALUES)
    for candidate in (encoded(body), encoded(data.draw(VALUES)), data.draw(st.binary(max_size=20))):
        with contextlib.suppress(BadInput):
            assert isinstance(wire.read_request(candidate, model="m"), ChatRequest)


@each_wire
def test_a_request_nested_too_deep_is_refused(name: str) -> None:
    """Before anything looks inside."""
    with pytest.raises(BadInput):
        wire_named(name).read_request(b'{"messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}", model="m")


@each_wire
def test_a_hostile_servers_stream_has_limits(name: str) -> None:
    """A line that never ends, and JSON nested too deep, end the reply as failed."""
    wire = wire_named(name)
    for rubbish in (b"data: " + b"x" * 5000, b'{"a":"' + b"x" * 5000, b"[" + b'{"a":"' + b"x" * 5000):
        events = read(
            wire, [rubbish[i : i + 100] for i in range(0, len(rubbish), 100)], limits=ReaderLimits(line=1000, event=1000)
        )
        assert isinstance(events[-1], Finish)
        assert events[-1].verdict == "failed"
    deep = b"data: " + b"[" * 5000 + b"\n\n"
    end = read(wire, [deep])[-1]
    assert isinstance(end, Finish)
    assert end.verdict in ("failed", "truncated")


@each_wire
def test_a_hostile_servers_calls_have_limits(name: str) -> None:
    """More tool calls than the limit end the reply as failed."""
    wire = wire_named(name)
    calls: list[Event] = [ToolCallPiece(number, f"c{number}", "f", "{}") for number in range(5)]
    body = written(wire, [*calls, Finish("complete", "tool_calls")], stream=True)
    end = read(wire, [body], limits=ReaderLimits(calls=3))[-1]
    assert isinstance(end, Finish)
    assert (end.verdict, type(end.error)) == ("failed", errors.BadReply)


@each_wire
def test_foreign_signatures_do_not_go_out(name: str) -> None:
    """What one vendor signed is not shown to another."""
    wire = wire_named(name)
    thought = ReasoningPart("hm", Opaque("somebody", "s3cr3t-signature"))
    call = ToolCall("c", "f", "{}", Opaque("somebody", "s3cr3t-signature"))
    turns = [ChatMessage("user", [TextPart("hi")]), ChatMessage("assistant", [thought, call])]
    body = wire.write_request(ChatRequest("m", turns, [Tool("f")]), vendor=wire.VENDOR)
    assert b"s3cr3t" not in encoded(body)


@each_wire
def test_the_stream_is_at_the_address_of_the_request(name: str) -> None:
    """Path and body together ask for a stream exactly when the ask does."""
    wire = wire_named(name)
    for stream in (True, False):
        request = ChatRequest("m", [ChatMessage("user", [TextPart("hi")])], stream=stream)
        body = wire.write_request(request)
        assert (body.get("stream", False) or "stream" in wire.path(request)) == stream

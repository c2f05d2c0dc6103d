"""Usual streams that have come whole are decoded by type, and give the events of reading them event by event."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.wire.anthropic import Reader
from polychat.wire.anthropic.usual_streams import usual_stream
from polychat.wire.passthrough import Reading, ending_in

from ...support.anthropic_streams import CORPUS, USAGES
from ...support.damaged_texts import damaged
from ...support.members import MISSING, objects

START = {
    "type": "message_start",
    "message": {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [], "usage": {"input_tokens": 9}},
}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
PIECE = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi } \u00e4"}}
BLOCK_STOP = {"type": "content_block_stop", "index": 0}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 7}}
STOP, PING = {"type": "message_stop"}, {"type": "ping"}
USUAL = [START, BLOCK, PING, PIECE, PIECE, BLOCK_STOP, END, STOP]
COUNTS = st.one_of(st.sampled_from([MISSING, None, {}, {"output_tokens": 7}]), USAGES)
KINDS = st.sampled_from([*(event["type"] for event in USUAL), "error", MISSING])
BLOCKS = st.one_of(
    st.sampled_from([BLOCK["content_block"], {"type": "text", "text": "x"}, {"type": "thinking", "thinking": "x"}, None]),
    st.just({"type": "tool_use", "id": "t", "name": "f", "input": {}}),
    st.just({"type": "text", "text": "", "citations": [{"title": "t", "url": "https://example.com/"}]}),
)
ENDS = objects(
    stop_reason=st.sampled_from(["end_turn", "max_tokens", "tool_use", "refusal", None, MISSING]),
    stop_sequence=st.sampled_from([MISSING, None, "END"]),
    stop_details=st.sampled_from([MISSING, None, {"explanation": "no"}]),
    type=st.sampled_from([MISSING, MISSING, "text_delta", "input_json_delta"]),
    text=st.sampled_from([MISSING, MISSING, "", "Hi", None]),
)
NEAR = objects(
    type=KINDS,
    index=st.sampled_from([0, 0, 1, MISSING, None]),
    message=st.sampled_from([MISSING, START["message"], {"id": "other"}, {"content": [{"type": "text", "text": "x"}]}, None]),
    content_block=BLOCKS,
    delta=st.one_of(st.sampled_from([MISSING, PIECE["delta"], END["delta"], None]), ENDS),
    usage=COUNTS,
    error=st.sampled_from([*[MISSING] * 9, {"message": "no"}]),
)
LIKE = st.one_of(
    st.sampled_from(USUAL),
    st.builds(lambda usage: {**END, "usage": usage}, USAGES),
    st.builds(lambda delta: {**END, "delta": delta}, ENDS),
    st.builds(lambda block: {**BLOCK, "content_block": block}, BLOCKS),
    NEAR,
)


def streamed(events: list[Any]) -> bytes:
    return "".join(f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


STREAM = streamed(USUAL).decode()


def read_as_by_the_reader(body: bytes) -> bool:
    """Whether a body is a usual stream, whose events are then those of a reader, and its end that of a monitor's."""
    events = usual_stream(body)
    if events is not None:
        reader, monitor = Reader(), Reading(Reader(), b'"message_start"')
        assert repr(events) == repr(reader.feed(body))
        assert reader.done
        assert monitor.feed(body) == body
        assert (monitor.finish, monitor.usage, monitor.served) == ending_in(events)
    return events is not None


@settings(max_examples=300, deadline=None)
@given(st.lists(LIKE, max_size=4), st.integers(0, 6), USAGES)
def test_a_usual_stream_has_the_events_that_a_reader_gives(others: list[Any], place: int, usage: Any) -> None:
    """Whatever its events are, and in which order."""
    start = {**START, "message": {**START["message"], "usage": usage}}  # type: ignore[dict-item]
    read_as_by_the_reader(streamed([start, *USUAL[1:]]))
    read_as_by_the_reader(streamed([*USUAL[:place], *others, *USUAL[place:]]))
    read_as_by_the_reader(streamed([*USUAL[:place], *others, *USUAL[place + 1 :]]))


@settings(max_examples=300, deadline=None)
@given(damaged(STREAM))
def test_a_stream_that_is_damaged_has_the_events_that_a_reader_gives(text: str) -> None:
    """With texts taken out and put in anywhere: what is not one object a line is left to the reader."""
    read_as_by_the_reader(text.encode())


def test_the_usual_streams_are_read_at_once() -> None:
    """As the API sends them; not at any cut, with anything after the end, with two objects in a line, or with many events."""
    assert read_as_by_the_reader(STREAM.encode())
    for end in range(len(STREAM)):
        assert usual_stream(STREAM[:end].encode()) is None
    piece = json.dumps(PIECE)
    lines = (f"{piece},{piece}", piece.replace(", ", ",\n"), piece.replace(", ", ",\r"), piece.replace(", ", ",\n\n"))
    unlike = [STREAM.replace(piece, line, 1) for line in lines]
    unlike += [
        STREAM + STREAM,
        STREAM + "\n",
        STREAM.replace("event: ping", "data: {}", 1),
        STREAM.replace("event: ping\n", "", 1),
    ]
    most = streamed([*USUAL[:3], *[PIECE] * 18, *USUAL[5:]]).decode()
    assert read_as_by_the_reader(most.encode())
    unlike += [most + STREAM, STREAM.replace("\n\n", f"\ndata: {piece}\n", 1)]
    for text in unlike:
        assert not read_as_by_the_reader(text.encode()), text
    others = ([*USUAL[:3], *[PIECE] * 40, *USUAL[5:]], [START, PIECE, STOP], [START, END, STOP], [*USUAL[:-1]], USUAL[1:])
    both = {**START, "message": {**START["message"], "usage": {"input_tokens": 9, "output_tokens": 1}}}  # type: ignore[dict-item]
    none = {**START, "message": {**START["message"], "usage": None}}  # type: ignore[dict-item]
    assert read_as_by_the_reader(streamed([both, PIECE, END, STOP]))
    assert read_as_by_the_reader(streamed([none, PIECE, {**END, "usage": {"input_tokens": 0, "output_tokens": 0}}, STOP]))
    uncounted = {**END, "usage": {}}
    others += ([both, PIECE, STOP], [START, PIECE, uncounted, STOP], [none, PIECE, END, STOP], [both, PIECE, uncounted, END])
    again = {**START, "message": {**START["message"], "id": "other"}}  # type: ignore[dict-item]
    for events in (*others, [*USUAL[:4], again, *USUAL[4:]], [*USUAL[:4], STOP, *USUAL[4:]]):
        assert not read_as_by_the_reader(streamed(events)), events


def test_recorded_streams_give_the_same_events() -> None:
    """Those of texts alone are read at once."""
    assert {True, False} == {read_as_by_the_reader(file.read_bytes()) for file in CORPUS.iterdir() if file.suffix == ".sse"}

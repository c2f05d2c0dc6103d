"""Anthropic Messages, the half that asks: replies, streamed and whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.errors import BadReply, LimitReached, ReplyFailed
from polychat.events import Citation, Finish, Reasoning, Refusal, Start, Text, ToolCallPiece, Usage
from polychat.types import Opaque
from polychat.wire import anthropic
from polychat.wire.anthropic import read_count, read_reply

from ...support.anthropic_streams import (
    CORPUS,
    LAST,
    begin,
    delta,
    ended,
    finish_of,
    only,
    read,
    recorded,
    reprs,
    start,
    stream,
    text_of,
)
from ...support.corpus import splits

STREAMS = sorted(path.name for path in CORPUS.glob("*.sse"))


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def test_the_published_hello() -> None:
    """Text, the usage of both ends, and the end; pings say nothing."""
    assert read([recorded("hello.sse")]) == [
        Start("msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyY", "claude-sonnet-4-5-20250929"),
        Text("Hello"),
        Text("!"),
        Usage(25, 15, 40),
        Finish("complete", "stop"),
    ]


def test_the_published_tool_use() -> None:
    """A call's arguments are joined to the JSON that the model wrote."""
    events = read([recorded("tool-use.sse")])
    calls = only(events, ToolCallPiece)
    assert (calls[0].id, calls[0].name, calls[0].index) == ("toolu_01T1x1fJ34qAmk2tNTrN7Up6", "get_weather", 0)
    assert json.loads("".join(call.arguments for call in calls)) == {"location": "San Francisco, CA", "unit": "fahrenheit"}
    assert text_of(events) == "Okay, let's check the weather for San Francisco, CA:"
    assert finish_of(events) == Finish("complete", "tool_calls")


def test_the_published_thinking() -> None:
    """Thoughts, and their signature with the last piece of their block, tagged with the vendor that was asked."""
    events = read([recorded("thinking.sse")], vendor="house")
    thoughts = only(events, Reasoning)
    assert "".join(thought.text for thought in thoughts).endswith("10,800 + 1,350 + 81 = 12,231")
    assert [thought.opaque for thought in thoughts if thought.opaque] == [
        Opaque("house", "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds...")
    ]
    assert thoughts[-1].opaque is not None
    assert only(events, Usage) == []


def test_the_published_web_search() -> None:
    """What the backend ran is opaque and whole, in its place; the usage is the last one sent."""
    events = read([recorded("web-search.sse")])
    ran = [json.loads(thought.opaque.data) for thought in only(events, Reasoning)]
    assert [block["type"] for block in ran] == ["server_tool_use", "web_search_tool_result"]
    assert ran[0]["input"] == {"query": "weather NYC today"}
    assert ran[1]["content"][0]["encrypted_content"].startswith("Ev0")
    assert only(events, Usage) == [Usage(10_682, 510, 11_192, 0, 0)]
    kinds = [type(event) for event in events]
    assert kinds.index(Reasoning) > kinds.index(Text)


def test_the_published_citations() -> None:
    """A citation is a source with its place in the answer."""
    events = read_reply(recorded("web-search.json"))
    (source,) = only(events, Citation)
    assert (source.title, source.url) == ("Claude Shannon - Wikipedia", "https://en.wikipedia.org/wiki/Claude_Shannon")
    assert text_of(events)[source.start : source.end] == "Claude Shannon was born on April 30, 1916, in Petoskey, Michigan"
    assert source.snippet.startswith("Claude Elwood Shannon (April 30, 1916")
    assert finish_of(events) == Finish("complete", "stop")


def test_the_published_error_in_a_stream() -> None:
    """Overloaded under status 200: the text before it stays, the verdict is failed and says why."""
    events = read([recorded("overloaded.sse")])
    assert text_of(events) == "Hello!"
    end = finish_of(events)
    assert end.verdict == "failed"
    assert isinstance(end.error, ReplyFailed)
    assert end.error.kind == "overloaded"
    assert only(events, Usage) == [Usage(25)], "what the start said of the completion is no count of it"


@pytest.mark.parametrize("name", STREAMS)
def test_every_split_reads_the_same(name: str) -> None:
    """Wherever the network cuts, the events are those of the whole."""
    body = recorded(name)
    whole = reprs(read([body]))
    for pieces in splits(body):
        assert reprs(read(pieces)) == whole
    assert reprs(read([body.replace(b"\n", b"\r\n")])) == whole
    assert reprs(read([body.replace(b"data: ", b"data:")])) == whole


@pytest.mark.parametrize("name", STREAMS)
def test_no_cut_is_complete_before_the_wires_own_end(name: str) -> None:
    """At each byte: truncated until the reason for the end was read whole, and then as the whole."""
    body = recorded(name)
    whole = read([body])
    place = body.find(b'"message_delta"')
    over = body.index(b"}\n", place if place >= 0 else body.index(b'{"type": "error"')) + 1
    for cut in range(len(body)):
        events = read([body[:cut]])
        assert text_of(whole).startswith(text_of(events))
        assert finish_of(events).verdict == ("truncated" if cut < over else finish_of(whole).verdict), cut


def test_a_stream_that_stops_after_its_reason_is_complete() -> None:
    """Some servers leave message_stop out: the reason is the wire's own word for the end."""
    assert finish_of(
        read([stream(start(), begin(0, "text", text=""), delta(0, "text", text="a"), ended("end_turn"))])
    ) == Finish("complete", "stop")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "pause"),
        ("refusal", "refusal"),
        ("model_context_window_exceeded", "length"),
        ("tomorrows_word", "tomorrows_word"),
    ],
)
def test_reasons(word: str, reason: str) -> None:
    """Each of the wire's words is a common one, and one that is not known stays itself; streamed and whole."""
    whole = json.dumps({"type": "message", "content": [{"type": "text", "text": "a"}], "stop_reason": word}).encode()
    for events in (read([stream(start(), ended(word), LAST)]), read_reply(whole)):
        assert finish_of(events).verdict == "complete"
        assert finish_of(events).reason == reason


def test_the_stop_sequence_and_the_refusal_are_reported() -> None:
    """Which text ended it, and the words for why not."""
    events = read([stream(start(), ended("stop_sequence", stop_sequence="END"), LAST)])
    assert finish_of(events).stop_sequence == "END"
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    events = read([stream(start(), ended("refusal", stop_details=details), LAST)])
    assert only(events, Refusal) == [Refusal("Not this.")]


def test_usage_is_counted_in_common_words() -> None:
    """The prompt includes what was cached; thoughts are separate; later counts replace earlier ones."""
    usage = {"output_tokens": 50, "output_tokens_details": {"thinking_tokens": 30}}
    counted = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    body = stream(
        start(input_tokens=10, cache_read_input_tokens=100, cache_creation_input_tokens=5, output_tokens=1), counted, LAST
    )
    assert only(read([body]), Usage) == [Usage(115, 50, 165, 100, 5, 30)]


def test_redacted_thoughts_and_several_blocks() -> None:
    """Each block of thoughts has its number; what is redacted is opaque and marked."""
    body = stream(
        start(),
        begin(0, "thinking", thinking="a", signature="s0"),
        stop(0),
        begin(1, "redacted_thinking", data="xyz"),
        stop(1),
        begin(2, "thinking", thinking="", signature=""),
        delta(2, "thinking", thinking="b"),
        delta(2, "signature", signature="s2"),
        stop(2),
        ended("end_turn"),
        LAST,
    )
    assert only(read([body]), Reasoning) == [
        Reasoning("a", None, 0),
        Reasoning("", Opaque("anthropic", "s0"), 0),
        Reasoning("", Opaque("anthropic", "xyz", redacted=True), 1),
        Reasoning("b", None, 2),
        Reasoning("", Opaque("anthropic", "s2"), 2),
    ]


def test_calls_side_by_side_do_not_mix() -> None:
    """Pieces belong to the block of their index; the calls are counted without gaps."""
    body = stream(
        begin(3, "tool_use", id="a", name="f", input={}),
        begin(5, "tool_use", id="b", name="g", input={"x": 1}),
        delta(3, "input_json", partial_json='{"y":'),
        delta(3, "input_json", partial_json="2}"),
        ended("tool_use"),
        LAST,
    )
    pieces = only(read([body]), ToolCallPiece)
    assert [(piece.index, piece.id, piece.name, piece.arguments) for piece in pieces] == [
        (0, "a", "f", ""),
        (1, "b", "g", '{"x":1}'),
        (0, None, None, '{"y":'),
        (0, None, None, "2}"),
    ]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    """Streamed or whole: other wires' clients read the arguments as JSON, and nothing is none."""
    for pieces in ([], [delta(0, "input_json", partial_json="")]):
        body = stream(start(), begin(0, "tool_use", id="a", name="f", input={}), *pieces, stop(0), ended("tool_use"), LAST)
        for split in splits(body):
            calls = only(read(split), ToolCallPiece)
            assert ("".join(piece.arguments for piece in calls), {piece.index for piece in calls}) == ("{}", {0})
    block = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    whole = read_reply(json.dumps({"type": "message", "content": [block], "stop_reason": "tool_use"}).encode())
    assert "".join(piece.arguments for piece in only(whole, ToolCallPiece)) == "{}"


def test_citations_stream_with_their_place() -> None:
    """A source comes when its text is over, and says which characters of the answer it supports."""
    citation = {"type": "char_location", "document_title": "Doc", "cited_text": "c", "document_index": 0}
    body = stream(
        begin(0, "text", text=""),
        delta(0, "text", text="before "),
        stop(0),
        begin(1, "text", text="", citations=[]),
        delta(1, "citations", citation=citation),
        delta(1, "text", text="cited"),
        stop(1),
        ended("end_turn"),
        LAST,
    )
    events = read([body])
    assert only(events, Citation) == [Citation("Doc", "", "c", 7, 12)]
    assert text_of(events)[7:12] == "cited"


def test_an_unknown_block_goes_back_whole_or_not_at_all() -> None:
    """What is not known is kept as it came; where a part of it was not understood it is not kept by halves."""
    body = stream(begin(0, "novelty", a=1), stop(0), ended("end_turn"), LAST)
    (reasoning,) = only(read([body]), Reasoning)
    assert json.loads(reasoning.opaque.data) == {"type": "novelty", "a": 1}
    body = stream(begin(0, "novelty", a=1), delta(0, "novel", more=2), stop(0), ended("end_turn"), LAST)
    assert only(read([body]), Reasoning) == []
    assert finish_of(read([body])).verdict == "complete"


def test_dialects() -> None:
    """Another wire's [DONE], unknown events, an empty data line, and a message without usage are no failures."""
    body = stream({"type": "message_start", "message": {"role": "assistant"}}, {"type": "vendor_news"}, "", "[DONE]")
    assert finish_of(read([body])).verdict == "truncated"
    body = stream(begin(0, "text", text="hi"), ended("end_turn"), LAST, "[DONE]")
    assert text_of(read([body])) == "hi"


def test_a_whole_reply_with_everything() -> None:
    """Text, thoughts, calls and usage of one body."""
    body = {
        "id": "msg_1",
        "type": "message",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "ok"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1]}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    assert read_reply(json.dumps(body).encode()) == [
        Start("msg_1", "m"),
        Reasoning("hm", None, 0),
        Reasoning("", Opaque("anthropic", "sig"), 0),
        Text("ok"),
        ToolCallPiece(0, "t", "f", '{"a":[1]}'),
        Usage(3, 4, 7),
        Finish("complete", "tool_calls"),
    ]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"{}", b'{"content": [1]}', b'{"content": [{"type": "text"}]}'])
def test_a_whole_reply_that_is_none(body: bytes) -> None:
    """Another's body is failed with a BadReply."""
    assert isinstance(finish_of(read_reply(body)).error, BadReply)


def test_a_whole_reply_that_is_an_error() -> None:
    """An error under status 200 is reported as the backend sent it."""
    end = finish_of(read_reply(b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}'))
    assert isinstance(end.error, LimitReached)
    assert "slow down" in str(end.error)


def test_counting_is_read() -> None:
    """The number of tokens, or a BadReply."""
    assert read_count(anthropic.write_count(2_095)) == 2_095
    for body in (b"", b"{}", b'{"input_tokens": true}', b"[1]"):
        with pytest.raises(BadReply):
            read_count(body)

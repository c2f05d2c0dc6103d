"""OpenAI's Responses API, the half that hears the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadReply, EmptyReply, LimitReached, ReplyFailed, Truncated
from polychat.events import Citation, Event, Finish, Logprobs, Media, Reasoning, Refusal, Start, Text, ToolCallPiece, Usage
from polychat.types import Opaque
from polychat.wire.limits import ReaderLimits
from polychat.wire.openai_responses import Reader, read_fault, read_reply

from ...support.corpus import splits

CORPUS = Path(__file__).parent.parent.parent / "corpus" / "openai-responses"
STREAMS = sorted(path.name for path in CORPUS.glob("*.sse"))


def stream(name: str) -> bytes:
    return (CORPUS / name).read_bytes()


def read_pieces(pieces: list[bytes], **more: Any) -> list[Event]:
    reader = Reader(**more)
    events = [event for piece in pieces for event in reader.feed(piece)]
    return [*events, *reader.end()]


def sse(*values: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (value["type"].encode(), json.dumps(value).encode()) for value in values)


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def done(output: list[Any], **more: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"status": "completed", "output": output, **more}}


def test_published_text() -> None:
    """The reference's streamed example is a text, its usage and a plain stop."""
    events = read_pieces([stream("text.sse")])
    assert events[0] == Start("resp_67c9fdcecf488190bdd9a0409de3a1ec07b8b0ad4e5eb654", "gpt-4.1-2025-04-14")
    assert text_of(events) == "Hi there! How can I assist you today?"
    assert events[-2:] == [Usage(37, 11, 48, reasoning_tokens=0), Finish("complete", "stop")]
    assert events[1:3] == [Text("Hi"), Text(" there")]


def test_published_call() -> None:
    """The guide's streamed function call is one call, in pieces, with the call's own id and not the item's."""
    events = read_pieces([stream("call.sse")])
    assert events[1] == ToolCallPiece(0, "call_1234xyz", "get_weather")
    pieces = [event for event in events if isinstance(event, ToolCallPiece)]
    assert json.loads("".join(piece.arguments for piece in pieces)) == {"location": "Paris, France"}
    assert events[-1] == Finish("complete", "tool_calls")


def test_published_whole() -> None:
    """The reference's whole example and its web search are read: text, the search as an opaque item, its citation."""
    events = read_reply(stream("text.json"))
    assert text_of(events).startswith("In a peaceful grove")
    assert events[-2:] == [Usage(36, 87, 123, 0, reasoning_tokens=0), Finish("complete", "stop")]
    events = read_reply(stream("web-search.json"))
    thought = events[1]
    assert isinstance(thought, Reasoning)
    assert thought.opaque is not None
    assert thought.opaque.redacted
    assert json.loads(thought.opaque.data)["type"] == "web_search_call"
    assert Citation("...", "https://.../?utm_source=chatgpt.com", "", 442, 557) in events


def test_reasoning() -> None:
    """Parts of a summary are set off, the encrypted content of the finished item counts, and a length ends completely."""
    assert read_pieces([stream("reasoning.sse")], vendor="azure") == [
        Start("resp_1", "gpt-5"),
        Reasoning("Fir"),
        Reasoning("st."),
        Reasoning("\n\nThen."),
        Reasoning("", Opaque("azure", "gAAAAABfinal", "rs_1")),
        Text("Par"),
        Usage(50, 100, 150, 10, 3, 90),
        Finish("complete", "length"),
    ]


def test_mixed() -> None:
    """Searches, probabilities, citations, refusals and open thoughts each come as what they are, and none twice."""
    events = read_pieces([stream("mixed.sse")])
    opaque = events[1].opaque if isinstance(events[1], Reasoning) else None
    assert opaque is not None
    assert json.loads(opaque.data)["action"] == {"type": "search", "query": "sky"}
    assert events[2:] == [
        Text("Rayé\u2028"),
        Logprobs([{"token": "Rayé", "logprob": -0.5, "bytes": [82], "top_logprobs": []}]),
        Citation("A", "https://a.example/", "", 0, 5),
        Refusal("I cannot."),
        Reasoning("Hmm", None, 1),
        Finish("complete", "stop"),
    ]


@pytest.mark.parametrize(("name", "kind"), [("error.sse", "quota"), ("failed.sse", "rate_limit")])
def test_failures_inside(name: str, kind: str) -> None:
    """An error event and a failed response are failures of the backend, by its own word for them."""
    finish = read_pieces([stream(name)])[-1]
    assert isinstance(finish, Finish)
    assert finish.verdict == "failed"
    assert isinstance(finish.error, LimitReached)
    assert finish.error.kind == kind


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("line", [b"\n", b"\r\n"])
def test_every_split(name: str, line: bytes) -> None:
    """However the network cuts a stream, and whichever line ends it has, the events are the same."""
    data = stream(name).replace(b"\n", line)
    for pieces in splits(data):
        shown = [repr(event) for event in read_pieces(pieces)]
        assert shown == [repr(event) for event in read_pieces([stream(name)])]


@pytest.mark.parametrize("name", STREAMS)
def test_every_cut(name: str) -> None:
    """A stream that stops before its last event is whole is truncated, and ends with exactly one verdict."""
    data = stream(name)
    ends = b"event: error" if name == "error.sse" else b"event: response."
    end = data.index(b"\n\n", data.rindex(ends))
    for cut in range(len(data)):
        events = read_pieces([data[:cut]])
        finish = events[-1]
        assert [isinstance(event, Finish) for event in events].count(True) == 1
        assert isinstance(finish, Finish)
        assert (finish.verdict == "truncated") == (cut < end)


def test_cut_at_an_event_is_truncated() -> None:
    """What stops between two events is truncated: its pieces were right, its end is missing."""
    head, _, _ = stream("text.sse").partition(b"event: response.completed")
    finish = read_pieces([head])[-1]
    assert isinstance(finish, Finish)
    assert finish.verdict == "truncated"
    assert isinstance(finish.error, Truncated)


def test_after_the_end() -> None:
    """After its Finish a reader is done and looks at nothing."""
    reader = Reader()
    reader.feed(stream("text.sse"))
    assert reader.done
    assert reader.feed(b"data: {") == []
    assert reader.end() == []


def test_no_deltas() -> None:
    """A server that sends items only when they are whole, or only with the last event, is read too, and each once."""
    item = {"type": "message", "content": [{"type": "output_text", "text": "Yes", "annotations": []}]}
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    each = [{"type": "response.output_item.done", "output_index": at, "item": one} for at, one in enumerate([item, call])]
    for data in (sse(*each, done([item, call])), sse(*each, done([])), sse(done([item, call]))):
        events = [event for event in read_pieces([data]) if not isinstance(event, Start)]
        assert events == [Text("Yes"), ToolCallPiece(0, "c", "f", "{}"), Finish("complete", "tool_calls")]


def test_no_places() -> None:
    """Without output_index, item ids or a response at the end, calls are still distinguished."""
    data = b""
    pieces = [{"type": "response.function_call_arguments.delta", "delta": piece} for piece in ('{"a":', "1}")]
    for name, deltas in (("c1", pieces), ("c2", [])):
        call = _call(name, "")
        data += sse(
            {"type": "response.output_item.added", "item": call},
            *deltas,
            {"type": "response.output_item.done", "item": {**call, "arguments": '{"a":1}'}},
        )
    events = read_pieces([data + sse({"type": "response.completed"}) + b"data: [DONE]\n\n"])
    texts = ["", ""]
    for event in events[:-1]:
        assert isinstance(event, ToolCallPiece)
        texts[event.index] += event.arguments
    assert texts == ['{"a":1}', '{"a":1}']
    assert events[-1] == Finish("complete", "tool_calls")


def test_images() -> None:
    """A generated image is media; one that is not base64 is a bad reply."""
    item = {"type": "image_generation_call", "id": "ig", "result": "AAE=", "output_format": "webp"}
    assert Media(b"\0\1", "image/webp") in read_pieces([sse(done([item]))])
    finish = read_pieces([sse(done([{**item, "result": "?"}]))])[-1]
    assert isinstance(finish, Finish)
    assert isinstance(finish.error, BadReply)


def test_arguments_that_are_no_json() -> None:
    """Arguments that are no object at the end fail the reply, though its terminator came; the pieces stay."""
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":'}
    events = read_pieces([sse(done([call]))])
    assert ToolCallPiece(0, "c", "f", '{"a":') in events
    finish = events[-1]
    assert isinstance(finish, Finish)
    assert finish.verdict == "failed"
    assert isinstance(finish.error, BadReply)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, "steered"),
        ({"status": "incomplete", "incomplete_details": None}, "incomplete"),
        ({"status": "completed"}, "stop"),
    ],
)
def test_reasons(response: dict[str, Any], reason: str) -> None:
    """A reason comes in common words where there is one, else as the API's own; none is made up."""
    message = {"type": "message", "content": []}
    assert read_reply(json.dumps({**response, "output": [message]}).encode())[-1] == Finish("complete", reason)


@pytest.mark.parametrize(
    ("body", "verdict", "error"),
    [
        (b'{"output":[],"status":"completed"}', "failed", EmptyReply),
        (b'{"output":[],"status":"in_progress"}', "truncated", Truncated),
        (b'{"output":[],"status":"cancelled"}', "failed", ReplyFailed),
        (b'{"error":{"code":"server_error","message":"x"}}', "failed", ReplyFailed),
        (b'{"output":[{}],"status":"completed"}', "failed", EmptyReply),
        (b'{"output":[{}]}', "truncated", Truncated),
        (b'{"output":[],"error":{"code":"server_error","message":"x"}}', "failed", ReplyFailed),
        (b'{"choices":[]}', "failed", BadReply),
        (b"<html>", "failed", BadReply),
        (b"[]", "failed", BadReply),
    ],
)
def test_wholes_that_are_no_answer(body: bytes, verdict: str, error: type) -> None:
    """A whole reply without an answer says why, and is never complete."""
    finish = read_reply(body)[-1]
    assert isinstance(finish, Finish)
    assert finish.verdict == verdict
    assert type(finish.error) is error


@pytest.mark.parametrize(
    "payload",
    [b"{", b"[]", b"7", b'{"a":1}', b'{"type":"response.output_text.delta"}', b'{"type":"response.output_item.done","item":7}'],
)
def test_broken_events(payload: bytes) -> None:
    """An event that is no JSON, or has not the shape its type wants, fails the reply and shows itself."""
    events = read_pieces([b"data: " + payload + b"\n\n"])
    assert len(events) == 1
    assert isinstance(events[0], Finish)
    assert isinstance(events[0].error, BadReply)
    assert payload.decode() in str(events[0].error)


def test_limits() -> None:
    """Long lines, deep JSON, too many calls, items and arguments fail the reply; what is held stays bounded."""
    long = Reader(limits=ReaderLimits(line=100))
    assert long.feed(b"data: " + b"x" * 99) != []
    assert long.done
    deep = sse({"type": "response.x", "value": json.loads("[" * 9 + "]" * 9)})
    calls = b"".join(
        sse({"type": "response.output_item.added", "output_index": at, "item": _call(f"c{at}", "{}")}) for at in range(9)
    )
    texts = b"".join(sse({"type": "response.output_text.delta", "output_index": at, "delta": "x"}) for at in range(99))
    signs = b"".join(
        sse({"type": "response.output_item.done", "item": {"type": "reasoning", "encrypted_content": f"call~{at}.x"}})
        for at in range(9)
    )
    argued = sse({"type": "response.output_item.added", "output_index": 0, "item": _call("c", "x" * 99)})
    limits = ReaderLimits(depth=8, calls=4, arguments=50)
    for data in (deep, calls, texts, signs, argued):
        finish = read_pieces([data], limits=limits)[-1]
        assert isinstance(finish, Finish)
        assert isinstance(finish.error, BadReply)


def _call(call_id: str, arguments: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": arguments}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "item", "response", "output", "delta", "output_index", "error", "status", "usage", "content"),
                    *("summary", "call_id", "name", "arguments", "id", "text", "annotations", "logprobs", "encrypted_content"),
                ]
            ),
            inner
            | st.sampled_from(
                [
                    *("message", "function_call", "reasoning", "output_text", "refusal", "response.output_item.done"),
                    *("response.output_item.added", "response.completed", "response.output_text.delta", "call~c.x"),
                    *("response.function_call_arguments.delta", "response.reasoning_text.delta", "response.failed", "error"),
                ]
            ),
            max_size=6,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_VALUES, max_size=4), st.binary(max_size=20))
def test_fuzz(values: list[Any], tail: bytes) -> None:
    """Whatever a hostile server sends, a reader gives one Finish, last, and raises nothing."""
    data = b"".join(b"data: %b\n\n" % json.dumps(value).encode() for value in values) + tail
    events = read_pieces([data])
    assert [isinstance(event, Finish) for event in events].count(True) == 1
    assert isinstance(events[-1], Finish)
    for value in values:
        events = read_reply(json.dumps(value).encode())
        assert [isinstance(event, Finish) for event in events].count(True) == 1
        assert isinstance(events[-1], Finish)
    assert isinstance(read_reply(tail)[-1], Finish)


@given(st.integers(400, 599), st.binary(max_size=30) | _VALUES.map(lambda value: json.dumps(value).encode()))
def test_faults_of_anything(status: int, body: bytes) -> None:
    """No body of a failure is too odd to be read; its status always counts."""
    assert read_fault(status, body).status == status


def test_faults() -> None:
    """The code of an error says more than its status, and the status more than a type that all errors share."""
    body = {"error": {"message": "m", "type": "invalid_request_error", "code": "context_length_exceeded", "param": "input"}}
    fault = read_fault(400, json.dumps(body).encode())
    assert (fault.kind, fault.code, fault.param, fault.message) == ("context_length", "context_length_exceeded", "input", "m")
    assert read_fault(401, b'{"error":{"type":"invalid_request_error","message":"m"}}').kind == "authentication"
    assert read_fault(429, b'{"error":{"code":"insufficient_quota"}}').kind == "quota"
    assert read_fault(502, b"<html>").kind == "server"
    assert read_fault(400, b'{"detail":"no"}').message == "no"

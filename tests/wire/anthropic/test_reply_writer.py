"""Anthropic Messages, the half that answers: what our writers write, our readers and the official client read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic as official
import httpx2
import pytest
from hypothesis import given, settings

from polychat.errors import BadInput, LimitReached, ReplyFailed, TimedOut, Truncated
from polychat.events import Citation, Event, Finish, Media, Reasoning, Refusal, Start, Text, ToolCallPiece, Usage
from polychat.types import ChatMessage, ChatRequest, Opaque, TextPart
from polychat.wire.anthropic import Reader, read_fault, read_reply, write_fault, writer
from polychat.wire.anthropic.constants import VENDOR
from polychat.wire.faults import STATUS, Fault, fault_of
from polychat.wire.tags import tagged

from ...support.corpus import splits
from ...support.random_requests import merged, replies

HI = [ChatMessage("user", [TextPart("hi")])]
ASKED = ChatRequest("model-1", HI)
STREAMED = ChatRequest("model-1", HI, stream=True)
REASONS = ("stop", "length", "refusal", "pause")


def streamed(events: list[Event], name: str = "idx") -> bytes:
    answer = writer(STREAMED, name, 0)
    return b"".join(answer.write([event]) for event in events) + answer.end()


def whole(events: list[Event], name: str = "idx") -> bytes:
    answer = writer(ASKED, name, 0)
    assert answer.write(events) == b""
    return answer.end()


def read(pieces: list[bytes]) -> list[Event]:
    reader = Reader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    return [*events, *reader.end()]


def expected(events: list[Event]) -> list[Event]:
    """A reply as this wire brings it back: foreign opaque parts in their wrapping, a refusal's words at the end."""
    refusal = "".join(event.text for event in events if isinstance(event, Refusal))
    back: list[Event] = [Start("msg_idx", "model-1")]
    length = 0
    for event in events:
        match event:
            case Text():
                length += len(event.text)
                back.append(event)
            case Media():
                back.append(event)
            case Citation():
                back.append(Citation(event.title, event.url, event.snippet, 0, length))
            case Reasoning(opaque=Opaque() as opaque):
                back.append(Reasoning(event.text, Opaque(VENDOR, tagged(opaque, VENDOR), None, opaque.redacted), event.block))
            case Reasoning():
                back.append(event)
            case ToolCallPiece(opaque=Opaque() as opaque):
                back.append(Reasoning("", Opaque(VENDOR, tagged(opaque, ""), None, True), -1))
                back.append(ToolCallPiece(event.index, event.id, event.name, event.arguments))
            case ToolCallPiece():
                back.append(event)
    end = events[-1]
    assert isinstance(end, Finish)
    counted = [event for event in events if isinstance(event, Usage)]
    return merged([*back, *([Refusal(refusal)] if refusal else []), *counted, reason_back(end, bool(refusal))])


def reason_back(end: Finish, refused: bool) -> Finish:
    return Finish(end.verdict, "refusal" if refused and end.reason == "stop" else end.reason)


def comparable(events: list[Event]) -> list[Any]:
    """Joined, arguments as values, thoughts' blocks uncounted: what a signature of a call adds shifts their numbers."""
    result: list[Any] = []
    for event in merged(events):
        if isinstance(event, ToolCallPiece):
            result.append((event.index, event.id, event.name, json.loads(event.arguments or "{}")))
        elif isinstance(event, Reasoning):
            result.append((event.text, event.opaque))
        else:
            result.append(event)
    return result


REPLIES = replies(without=["logprobs"], reasons=REASONS)


@settings(max_examples=60, deadline=None)
@given(REPLIES)
def test_a_stream_that_is_written_is_read(events: list[Event]) -> None:
    """Text, thoughts, signatures, calls, sources, usage and verdict come back, at every piece."""
    body = streamed(events)
    expected_events = comparable(expected(events))
    assert comparable(read([body])) == expected_events
    assert comparable(read([body[i : i + 7] for i in range(0, len(body), 7)])) == expected_events


@settings(max_examples=60, deadline=None)
@given(REPLIES)
def test_a_message_that_is_written_is_read(events: list[Event]) -> None:
    """The same as one body."""
    assert comparable(read_reply(whole(events))) == comparable(expected(events))


RICH: list[Event] = [
    Start("x", "other"),
    Reasoning("hm", None, 0),
    Reasoning("", Opaque("anthropic", "sig"), 0),
    Reasoning(
        "", Opaque("anthropic", '{"type":"server_tool_use","id":"s","name":"web_search","input":{"q":1}}', redacted=True), 1
    ),
    Text("Hé🙂"),
    Text("llo"),
    Citation("Title", "https://a.example", "snip"),
    ToolCallPiece(0, "t1", "f", '{"a"'),
    ToolCallPiece(0, arguments=":1}"),
    ToolCallPiece(1, "t2", "g"),
    Usage(115, 50, 165, 100, 5, 30),
    Finish("complete", "tool_calls"),
]


def test_every_split_of_what_we_write_reads_the_same() -> None:
    """Wherever the network cuts our stream."""
    body = streamed(RICH)
    expected = repr(read([body]))
    assert "server_tool_use" in expected
    for pieces in splits(body):
        assert repr(read(pieces)) == expected


def test_no_cut_of_what_we_write_is_complete() -> None:
    """Until the reason is complete."""
    body = streamed(RICH)
    over = body.index(b"}\n", body.index(b'data: {"type":"message_delta"'))
    for cut in range(over):
        (end,) = [event for event in read([body[:cut]]) if isinstance(event, Finish)]
        assert end.verdict == "truncated"


def test_the_wires_own_blocks_go_through() -> None:
    """What Anthropic's backend ran is the same block again, streamed and whole, and not thoughts that are redacted."""
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}}
    assert block in json.loads(whole(RICH))["content"]
    assert json.dumps(block, separators=(",", ":")).encode() in streamed(RICH)


def test_a_stream_begins_with_its_first_piece_and_not_before() -> None:
    """Nothing is written of what is held; the message's start comes with the first block."""
    answer = writer(STREAMED, "1", 0)
    assert answer.streams
    assert answer.write([Start("x", "y"), Usage(1, 1)]) == b""
    assert answer.write([Text("a")]).startswith(b"event: message_start\ndata: ")


@pytest.mark.parametrize("reason", [*REASONS, "tool_calls", "of another wire", None])
def test_a_streamed_message_has_the_members_of_a_whole_one(reason: str | None) -> None:
    """Those it begins with are null until its end, which has them with the same values."""
    events = [Start("a", "b"), Usage(9, 7), Text("Hi"), Finish("complete", reason)]
    lines = [line[6:] for line in streamed(events).splitlines() if line.startswith(b"data: ")]
    (begun,) = [event["message"] for event in map(json.loads, lines) if event["type"] == "message_start"]
    (ended,) = [event for event in map(json.loads, lines) if event["type"] == "message_delta"]
    message = json.loads(whole(events))
    assert message == {**begun, "content": [{"type": "text", "text": "Hi", "citations": None}], **ended["delta"]}
    assert begun == {**message, "content": [], **dict.fromkeys(ended["delta"])}
    assert ended["usage"] == message["usage"]


def test_mixed_calls_stay_apart() -> None:
    """Pieces of two calls in turn go to their blocks, and each block ends once."""
    events: list[Event] = [
        ToolCallPiece(0, "a", "f", '{"x"'),
        ToolCallPiece(1, "b", "g", '{"y"'),
        ToolCallPiece(0, arguments=":1}"),
        ToolCallPiece(1, arguments=":2}"),
        Finish("complete", "tool_calls"),
    ]
    body = streamed(events)
    calls: dict[int, str] = {}
    for event in read([body]):
        if isinstance(event, ToolCallPiece):
            calls[event.index] = calls.get(event.index, "") + event.arguments
    assert calls == {0: '{"x":1}', 1: '{"y":2}'}
    for block in (b"0", b"1"):
        assert body.count(b'"content_block_stop","index":' + block) == 1
        assert body.index(b'"content_block_stop","index":' + block) > body.rindex(b'"content_block_delta","index":' + block)


def test_calls_one_after_another_end_one_after_another() -> None:
    """A client may run a call when its block stops: that is before the next begins, and before text that follows."""
    events: list[Event] = [
        ToolCallPiece(0, "a", "f", "{}"),
        ToolCallPiece(1, "b", "g", "{}"),
        Text("then"),
        Finish("complete", "tool_calls"),
    ]
    names = [line[7:] for line in streamed(events).split(b"\n") if line.startswith(b"event: ")]
    block = [b"content_block_start", b"content_block_delta", b"content_block_stop"]
    assert names == [b"message_start", *block * 3, b"message_delta", b"message_stop"]


@pytest.mark.parametrize(
    ("finish", "event", "reason"),
    [
        (Finish("complete"), Text("a"), "end_turn"),
        (Finish("complete", "stop"), ToolCallPiece(0, "a", "f", "{}"), "tool_use"),
        (Finish("complete", "stop", stop_sequence="END"), Text("a"), "stop_sequence"),
        (Finish("complete", "length"), Text("a"), "max_tokens"),
        (Finish("complete", "content_filter"), Text("a"), "refusal"),
        (Finish("complete", "stop"), Refusal("no"), "refusal"),
        (Finish("complete", "RECITATION"), Text("a"), "end_turn"),
        (Finish("complete", "max_tokens"), Text("a"), "max_tokens"),
        (Finish("complete", "model_context_window_exceeded"), Text("a"), "model_context_window_exceeded"),
    ],
)
def test_reasons_are_reported(finish: Finish, event: Event, reason: str) -> None:
    """In the wire's words; where a tool was called the client gets it to run; a word of the wire's own stays."""
    assert json.loads(whole([event, finish]))["stop_reason"] == reason
    assert f'"stop_reason":"{reason}"'.encode() in streamed([event, finish])


def test_other_choices_have_no_place() -> None:
    """The wire has one answer."""
    events = [Text("a"), Text("b", choice=1), Finish("complete", "stop")]
    assert [block["text"] for block in json.loads(whole(events))["content"]] == ["a"]
    assert b'"b"' not in streamed(events)


@pytest.mark.parametrize(
    ("end", "status", "kind"),
    [
        (Finish("failed", error=LimitReached("all used up", retry_after=2.5)), 429, "billing_error"),
        (Finish("failed", error=TimedOut("idle", 3)), 504, "timeout_error"),
        (Finish("truncated", error=Truncated("cut")), 502, "api_error"),
        (Finish("cancelled"), 502, "api_error"),
    ],
)
def test_an_end_that_is_not_complete_is_an_error(end: Finish, status: int, kind: str) -> None:
    """Whole: a status and a body. Streamed: an error event and never the wire's own end."""
    answer = writer(ASKED, "1", 0)
    answer.write([Text("so far"), end])
    body = json.loads(answer.end())
    assert (answer.status, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert dict(answer.headers).get("retry-after") == ("3" if status == 429 else None)
    events = streamed([Text("so far"), end])
    assert b"message_stop" not in events
    assert b'stop_reason":"' not in events
    (finish,) = [event for event in read([events]) if isinstance(event, Finish)]
    assert finish.verdict == "failed"


def test_an_answer_without_an_end_is_an_error() -> None:
    """A backend that broke off is no success."""
    answer = writer(STREAMED, "1", 0)
    answer.write([Text("a")])
    assert answer.end().startswith(b"event: error")
    answer = writer(ASKED, "1", 0)
    answer.write([Text("a")])
    assert json.loads(answer.end())["type"] == "error"
    assert answer.status == 502


def test_arguments_that_are_no_object_are_an_error() -> None:
    """The wire's input is an object: there is no other way to tell them whole."""
    for arguments in ("[1]", "{oops"):
        answer = writer(ASKED, "1", 0)
        answer.write([ToolCallPiece(0, "a", "f", arguments), Finish("complete", "tool_calls")])
        assert json.loads(answer.end())["type"] == "error"
        assert answer.status == 502


@pytest.mark.parametrize("kind", STATUS)
def test_faults_go_through(kind: Any) -> None:
    """Every kind of failure is read as what it was written as."""
    fault = Fault("something of it", kind, STATUS[kind])
    back = read_fault(fault.status, write_fault(fault))
    assert (back.kind, back.status, back.message) == (kind, fault.status, "something of it")


def test_a_conversation_that_is_too_long_is_reported_in_the_terms_that_clients_know() -> None:
    """They shorten it then: whatever words the backend had for it."""
    message = json.loads(write_fault(Fault("no room", "context_length", 400)))["error"]["message"]
    assert message == "prompt is too long: no room"
    real = {"type": "invalid_request_error", "message": "prompt is too long: 201000 tokens > 200000 maximum"}
    assert read_fault(400, json.dumps({"error": real}).encode()).message == real["message"]


def test_faults_name_the_field_and_hide_what_is_secret() -> None:
    """The field at fault is in the message; what looks like a key does not."""
    fault = fault_of(BadInput("is missing", field="messages[0].role"))
    assert json.loads(write_fault(fault))["error"]["message"] == "messages[0].role: is missing"
    assert b"very-secret" not in write_fault(Fault("api_key=very-secret was refused"))


# The official client.


def client(body: bytes, content_type: str, status: int = 200) -> official.Anthropic:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=body, headers={"content-type": content_type})

    return official.Anthropic(api_key="k", max_retries=0, http_client=httpx2.Client(transport=httpx2.MockTransport(answer)))


@pytest.fixture
def question() -> dict[str, Any]:
    return {"model": "model-1", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}


def checked(message: official.types.Message) -> Iterator[Any]:
    """The blocks, after the official types have validated the whole message."""
    official.types.Message.model_validate(message.to_dict())
    yield from message.content


@pytest.mark.parametrize("stream", [True, False])
def test_the_official_client_reads_everything(question: dict[str, Any], stream: bool) -> None:
    """Thoughts, a tool the backend ran, text with its source, two calls, usage and the reason."""
    body = streamed(RICH) if stream else whole(RICH)
    with client(body, "text/event-stream" if stream else "application/json") as sdk:
        if stream:
            with sdk.messages.stream(**question) as got:
                message: Any = got.get_final_message()
        else:
            message = sdk.messages.create(**question)
    thought, ran, text, first, second = checked(message)
    assert (thought.thinking, thought.signature) == ("hm", "sig")
    assert (ran.type, ran.input) == ("server_tool_use", {"q": 1})
    assert text.text == "Hé🙂llo"
    assert [(one.url, one.title, one.cited_text) for one in text.citations] == [("https://a.example", "Title", "snip")]
    assert [(call.id, call.name, call.input) for call in (first, second)] == [("t1", "f", {"a": 1}), ("t2", "g", {})]
    assert (message.id, message.model, message.stop_reason) == ("msg_idx", "model-1", "tool_use")
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (10, 100, 5)
    assert (usage.output_tokens, usage.output_tokens_details.thinking_tokens) == (50, 30)


@settings(max_examples=25, deadline=None)
@given(replies(without=["logprobs", "media"], reasons=REASONS))  # its types have no images, of which it warns
def test_the_official_client_reads_any_answer(events: list[Event]) -> None:
    """The text and the calls of generated answers, streamed and whole, validate as its types and say the same."""
    question: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    with client(streamed(events), "text/event-stream") as sdk, sdk.messages.stream(**question) as got:
        final: Any = got.get_final_message()
    with client(whole(events), "application/json") as sdk:
        message: Any = sdk.messages.create(**question)
    for received in (final, message):
        blocks = list(checked(received))
        assert "".join(block.text for block in blocks if block.type == "text") == "".join(
            event.text for event in events if isinstance(event, Text)
        )
        assert [block.name for block in blocks if block.type == "tool_use"] == [
            event.name for event in events if isinstance(event, ToolCallPiece) and event.id
        ]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("invalid_request", official.BadRequestError),
        ("authentication", official.AuthenticationError),
        ("permission", official.PermissionDeniedError),
        ("not_found", official.NotFoundError),
        ("rate_limit", official.RateLimitError),
        ("server", official.InternalServerError),
    ],
)
def test_the_official_client_raises_its_errors(question: dict[str, Any], kind: Any, error: type[Exception]) -> None:
    """A fault is the client's own error of that kind, with the message."""
    fault = Fault("that is why", kind, STATUS[kind])
    with (
        client(write_fault(fault), "application/json", fault.status) as sdk,
        pytest.raises(error, match="that is why") as caught,
    ):
        sdk.messages.create(**question)
    assert caught.value.type.endswith("_error")  # type: ignore[attr-defined]


def test_the_official_client_sees_a_stream_fail(question: dict[str, Any]) -> None:
    """An error after the first pieces is raised, and no message ends well."""
    body = streamed([Text("a"), Finish("failed", error=ReplyFailed("it broke"))])
    with (
        client(body, "text/event-stream") as sdk,
        pytest.raises(official.APIStatusError, match="it broke"),
        sdk.messages.stream(**question) as got,
    ):
        got.get_final_message()

"""OpenAI's Responses API, the half that answers; its own reader and the official client read what it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BackendError, FaultKind, LimitReached, RateLimited, Truncated
from polychat.events import Citation, Event, Finish, Logprobs, Media, Reasoning, Refusal, Start, Text, ToolCallPiece, Usage
from polychat.types import (
    ChatMessage,
    ChatRequest,
    Format,
    Opaque,
    ReasoningPart,
    TextPart,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
)
from polychat.wire.faults import STATUS, Fault
from polychat.wire.openai_responses import NAME, Reader, read_fault, read_reply, read_request, write_fault, writer

from ...support.corpus import splits
from ...support.random_requests import merged, replies

ASK = ChatRequest("gpt-5", [ChatMessage("user", [TextPart("Hello")])], stream=True)
TOOLS = [Tool("f", parameters={"type": "object", "properties": {"a": {"type": "integer"}}})]
ANSWER: list[Event] = [
    Start("x", "other"),
    Reasoning("Let me "),
    Reasoning("think", Opaque("anthropic", "sig", "id")),
    Text("Hel"),
    Text("lo"),
    Citation("A page", "https://a.example/", "", 0, 5),
    ToolCallPiece(0, "call_1", "f", '{"a"', Opaque("gemini", "signed")),
    ToolCallPiece(0, None, None, ":1}"),
    Usage(3, 4, 7, 1, 0, 2),
    Finish("complete", "tool_calls"),
]


def streamed(events: list[Event], chat_request: ChatRequest = ASK) -> bytes:
    """What a writer writes of one event after the other."""
    answer = writer(replace(chat_request, stream=True), "abc", 1700000000, None)
    assert (answer.streams, answer.status, answer.content_type) == (True, 200, "text/event-stream")
    return b"".join(answer.write([event]) for event in events) + answer.end()


def whole(events: list[Event], chat_request: ChatRequest = ASK) -> bytes:
    answer = writer(replace(chat_request, stream=False), "abc", 1700000000, None)
    assert answer.write(events) == b""
    return answer.end()


def read(pieces: list[bytes]) -> list[Event]:
    reader = Reader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    return [*events, *reader.end()]


def events_of(data: bytes) -> list[dict[str, Any]]:
    """The events of a stream as values, each of whose names is its type."""
    values = []
    for block in data.decode().split("\n\n")[:-1]:
        name, payload = block.split("\n")
        values.append(json.loads(payload.removeprefix("data: ")))
        assert name == f"event: {values[-1]['type']}"
    return values


def client(body: bytes, content_type: str, status: int = 200) -> openai.OpenAI:
    """The official client, whose every chat_request gets this answer."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body, headers={"content-type": content_type}))
    return openai.OpenAI(api_key="none", max_retries=0, http_client=httpx.Client(transport=transport))


def normal(events: list[Event]) -> list[Event]:
    """What a trip over this wire leaves: opaque parts as they will be handed back, and counts that nobody gave as 0."""
    back: list[Event] = [Start("resp_abc", "gpt-5")]
    for event in events:
        match event:
            case Start():
                continue
            case Usage():
                event = replace(event, cache_write_tokens=event.cache_write_tokens or 0)
            case Finish(reason="stop") if not _answers(events):
                event = replace(event, reason="refusal")
        back.append(event)
    return merged(_in_order(back))


def _answers(events: list[Event]) -> bool:
    return any(isinstance(event, Text) for event in events) or not any(isinstance(event, Refusal) for event in events)


def _in_order(events: list[Event]) -> list[Event]:
    """Sources and probabilities come after their text in whole replies, wherever they arrived."""
    order = {Logprobs: 1, Citation: 2}
    texts = [event for event in events if isinstance(event, Text | Logprobs | Citation)]
    texts = sorted(texts, key=lambda event: order.get(type(event), 0))
    at = next((place for place, event in enumerate(events) if isinstance(event, Text | Logprobs | Citation)), 0)
    others = [event for event in events if not isinstance(event, Text | Logprobs | Citation)]
    return [*others[:at], *texts, *others[at:]]


def reopened(events: list[Event]) -> list[Event]:
    """The opaque parts as their writer reads them again."""
    again: list[Event] = []
    for event in merged(events):
        opaque = getattr(event, "opaque", None)
        if isinstance(event, Reasoning | ToolCallPiece) and opaque is not None and not opaque.redacted:
            sealed: dict[str, Any] = {"type": "reasoning", "summary": [], "encrypted_content": opaque.data, "id": opaque.id}
            body = {"model": "m", "input": [sealed]}
            [turn] = read_request(json.dumps(body).encode()).messages
            part = turn.parts[0]
            assert isinstance(part, ReasoningPart)
            event = replace(event, opaque=part.opaque)
        again.append(event)
    return again


REPLIES = replies(vendors=("openai", "anthropic", "gemini"))


@settings(max_examples=60, deadline=None)
@given(REPLIES)
def test_streams_come_back(events: list[Event]) -> None:
    """A stream is read as it was written, opaque parts of every vendor too."""
    data = streamed(events)
    assert _in_order(reopened(read([data]))) == normal(events)


@settings(max_examples=15, deadline=None)
@given(REPLIES)
def test_streams_come_back_at_every_split(events: list[Event]) -> None:
    """However the network cuts what is streamed, it is read the same."""
    data = streamed(events)
    expected = read([data])
    for pieces in splits(data):
        assert read(pieces) == expected


@settings(max_examples=60, deadline=None)
@given(REPLIES)
def test_wholes_come_back(events: list[Event]) -> None:
    """The same reply, written whole, is read as the same."""
    assert _in_order(reopened(read_reply(whole(events)))) == normal(events)


@settings(max_examples=30, deadline=None)
@given(replies(vendors=("anthropic", "gemini")))
def test_streams_are_in_order(events: list[Event]) -> None:
    """A stream counts its events from 0, ends in the response that its whole form is, and closes every item it opened."""
    values = events_of(streamed(events))
    assert [value["sequence_number"] for value in values] == list(range(len(values)))
    assert [value["type"] for value in values[:2]] == ["response.created", "response.in_progress"]
    assert values[-1]["response"] == json.loads(whole(events))
    added = [value["output_index"] for value in values if value["type"] == "response.output_item.added"]
    finished = {value["output_index"]: value["item"] for value in values if value["type"] == "response.output_item.done"}
    assert added == list(range(len(added)))
    assert [finished[at] for at in added] == values[-1]["response"]["output"]


def test_in_batches() -> None:
    """How events are batched does not show in the bytes."""
    answer = writer(ASK, "abc", 1700000000)
    assert answer.write(ANSWER) + answer.end() == streamed(ANSWER)


@pytest.mark.parametrize("chat_request", [ASK, replace(ASK, stream=False)])
def test_empty_and_late(chat_request: ChatRequest) -> None:
    """A complete answer without a word is an empty message, and what comes after the end is not written."""
    answer = writer(chat_request, "abc", 1)
    data = answer.write([Finish("complete")])
    assert answer.write([Text("late"), Finish("complete")]) == b""
    data += answer.end()
    events = read([data]) if chat_request.stream else read_reply(data)
    assert events == [Start("resp_abc", "gpt-5"), Finish("complete", "stop")]


@pytest.mark.parametrize(
    ("reason", "status", "why", "read_as"),
    [
        (None, "completed", None, "stop"),
        ("stop", "completed", None, "stop"),
        ("eos", "completed", None, "stop"),
        ("length", "incomplete", "max_output_tokens", "length"),
        ("content_filter", "incomplete", "content_filter", "content_filter"),
        ("refusal", "incomplete", "content_filter", "content_filter"),
        ("pause", "incomplete", "max_output_tokens", "length"),
    ],
)
def test_reasons(reason: str | None, status: str, why: str | None, read_as: str) -> None:
    """Why an answer ended is shown by the response's status and, where it is incomplete, by its reason."""
    events: list[Event] = [Text("Hi"), Finish("complete", reason)]
    response = json.loads(whole(events))
    assert response["status"] == status == response["output"][0]["status"]
    assert response["incomplete_details"] == (None if why is None else {"reason": why})
    assert events_of(streamed(events))[-1]["type"] == f"response.{status}"
    for finish in (read([streamed(events)])[-1], read_reply(whole(events))[-1]):
        assert finish == Finish("complete", read_as)


def test_refusal() -> None:
    """The model's own refusal is a part of a completed message."""
    events: list[Event] = [Refusal("No"), Refusal("."), Finish("complete", "refusal")]
    response = json.loads(whole(events))
    assert response["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]
    assert response["status"] == "completed"
    assert read([streamed(events)])[1:] == events


def test_failures() -> None:
    """A failure is never a success: streamed it is an error and a failed response, whole it has the status of its kind."""
    limited = LimitReached("the quota is used up", retry_after=7.0)
    for error, status in ((limited, 429), (Truncated("cut"), 502), (RateLimited("slow", status=429), 429)):
        verdict: Any = "truncated" if isinstance(error, Truncated) else "failed"
        events: list[Event] = [Text("Hel"), ToolCallPiece(0, "c", "f", '{"a"'), Finish(verdict, error=error)]
        values = events_of(streamed(events))
        assert [value["type"] for value in values[-2:]] == ["error", "response.failed"]
        assert not any(value["type"].endswith(("completed", ".done")) and value["output_index"] == 1 for value in values[2:-2])
        failed = values[-1]["response"]
        assert failed["status"] == "failed"
        assert failed["error"]["message"] == str(error)
        assert [item["status"] for item in failed["output"]] == ["completed", "incomplete"]
        assert failed["output"][0]["content"][0]["text"] == "Hel"
        finish = read([streamed(events)])[-1]
        assert isinstance(finish, Finish)
        assert finish.verdict == "failed"
        assert isinstance(finish.error, BackendError)
        answer = writer(replace(ASK, stream=False), "abc", 1)
        answer.write(events)
        body = answer.end()
        assert answer.status == status
        assert read_fault(status, body).message == str(error)
        assert answer.headers == ([("Retry-After", "7")] if error is limited else [])


def test_cancelled_without_an_error() -> None:
    """A reply that was cancelled is no success either."""
    assert events_of(streamed([Text("x"), Finish("cancelled")]))[-1]["type"] == "response.failed"


def test_items_of_tools_the_backend_ran() -> None:
    """A search that this API's backend ran goes through as the item it is; another vendor's comes back as it came."""
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}
    own = Opaque("openai", json.dumps(item, separators=(",", ":")), redacted=True)
    other = replace(own, vendor="azure")
    events: list[Event] = [Reasoning("", own, 0), Reasoning("", other, 1), Text("Hi"), Finish("complete", "stop")]
    assert json.loads(whole(events))["output"][0] == item
    assert reopened(read([streamed(events)]))[1:] == events


def test_own_thoughts() -> None:
    """Thoughts that OpenAI encrypted are written as OpenAI does, under their own id if none was sent before."""
    sealed = Opaque("openai", "gAA", "rs_1")
    events: list[Event] = [Reasoning("Hm"), Reasoning("", sealed), Text("Hi"), Finish("complete", "stop")]
    item = json.loads(whole(events))["output"][0]
    assert (item["id"], item["encrypted_content"]) == ("rs_1", "gAA")
    late = events_of(streamed(events))[-1]["response"]["output"][0]
    assert (late["id"], late["encrypted_content"]) == ("rs_pc1_abc_0", "pc1.openai~rs_1.gAA")
    early = events_of(streamed(events[1:]))[-1]["response"]["output"][0]
    assert (early["id"], early["encrypted_content"]) == ("rs_1", "gAA")


def test_the_response_repeats_the_ask() -> None:
    """A response tells the settings it was asked with, and the names a caller wants to see."""
    chat_request = ChatRequest(
        "route", [ChatMessage("system", [TextPart("Be brief.")]), ChatMessage("user", [TextPart("Hi")])], list(TOOLS), wire=NAME
    )
    chat_request.tool_choice, chat_request.format, chat_request.reasoning = (
        ToolChoice("named", "f"),
        Format("json"),
        Thinking("low"),
    )
    chat_request.temperature, chat_request.previous, chat_request.extra = (
        0.5,
        "resp_0",
        {"truncation": "auto", "prompt_cache_key": "k"},
    )
    answer = writer(chat_request, "abc", 17, "house/small")
    answer.write([Text("x"), Finish("complete", "stop")])
    response = json.loads(answer.end())
    assert (response["id"], response["created_at"], response["model"]) == ("resp_abc", 17, "house/small")
    assert response["instructions"] == "Be brief."
    assert response["previous_response_id"] == "resp_0"
    assert response["tool_choice"] == {"type": "function", "name": "f"}
    assert response["tools"][0]["name"] == "f"
    assert response["text"] == {"format": {"type": "json_object"}}
    assert response["reasoning"] == {"effort": "low"}
    assert (response["temperature"], response["truncation"], response["prompt_cache_key"]) == (0.5, "auto", "k")


def test_odd_text() -> None:
    """Half a surrogate pair cannot be sent: the rest of the text is."""
    events: list[Event] = [Text("a"), Text("b\ud800c"), Citation("\ud800", "u"), Finish("complete", "stop")]
    assert "".join(event.text for event in read([streamed(events)]) if isinstance(event, Text)) == "ab?c"
    assert "ab?c" in whole(events).decode()


def test_official_client_streams() -> None:
    """The official client's stream helper accumulates what is streamed into the response."""
    body = streamed(ANSWER)
    with client(body, "text/event-stream").responses.stream(model="gpt-5", input="Hello") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds == [value["type"] for value in events_of(body)]
    assert final.output_text == "Hello"
    assert final.id == "resp_abc"
    assert final.status == "completed"
    thought, message, signature, call = final.output
    assert thought.type == "reasoning"
    assert thought.summary[0].text == "Let me think"
    assert thought.encrypted_content == "pc1.anthropic~id.sig"
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    assert message.content[0].annotations[0].to_dict()["url"] == "https://a.example/"
    assert signature.type == "reasoning"
    assert call.type == "function_call"
    assert (call.call_id, call.name, json.loads(call.arguments)) == ("call_1", "f", {"a": 1})
    assert final.usage is not None
    assert final.usage.output_tokens_details.reasoning_tokens == 2


@settings(max_examples=15, deadline=None)
@given(REPLIES)
def test_official_client_streams_anything(events: list[Event]) -> None:
    """Whatever is streamed, the client's helper accumulates the response that is written whole."""
    end = events_of(streamed(events))[-1]
    with client(streamed(events), "text/event-stream").responses.stream(model="gpt-5", input="Hello") as stream:
        last = list(stream)[-1]
    assert last.type == end["type"]
    assert [item.type for item in last.response.output] == [item["type"] for item in end["response"]["output"]]


def test_official_client_wholes() -> None:
    """The official client reads a whole response, parses its schema, and raises what a failure is."""
    response = client(whole(ANSWER), "application/json").responses.create(model="gpt-5", input="Hello")
    assert response.output_text == "Hello"
    assert response.output[-1].type == "function_call"
    for value in (response.to_dict(), json.loads(whole([Media(b"\0", "image/png"), Refusal("No"), Finish("complete")]))):
        openai.types.responses.Response.model_validate(value)
    body = write_fault(Fault("slow down", "rate_limit", 429))
    with pytest.raises(openai.RateLimitError, match="slow down"):
        client(body, "application/json", 429).responses.create(model="gpt-5", input="Hello")


def test_official_client_hears_failures() -> None:
    """A failure amid a stream is raised by the official client."""
    events: list[Event] = [Text("Hel"), Finish("failed", error=LimitReached("no tokens are left"))]
    stream = client(streamed(events), "text/event-stream").responses.create(model="gpt-5", input="Hello", stream=True)
    with pytest.raises(openai.APIError, match="no tokens are left"):
        list(stream)


def test_official_client_brings_things_back() -> None:
    """What the client was given, handed back as its next input, is the message that was written."""
    response = client(whole(ANSWER), "application/json").responses.create(model="gpt-5", input="Hello")
    items = [item.to_dict() for item in response.output]
    result = {"type": "function_call_output", "call_id": "call_1", "output": "2"}
    chat_request = read_request(json.dumps({"model": "m", "input": [*items, result]}).encode())
    assert chat_request.messages[0].parts == [
        ReasoningPart("Let me think", Opaque("anthropic", "sig", "id")),
        TextPart("Hello", extra={"annotations": items[1]["content"][0]["annotations"]}),
        ToolCall("call_1", "f", '{"a":1}', Opaque("gemini", "signed")),
    ]
    assert chat_request.messages[1].parts[0].name == "f"


@pytest.mark.parametrize("kind", list(STATUS))
def test_faults_come_back(kind: FaultKind) -> None:
    """Every kind of failure is written so that its reader knows it."""
    fault = Fault("what went wrong", kind, STATUS[kind], None, "input")
    again = read_fault(fault.status, write_fault(fault))
    assert (again.kind, again.message, again.param, again.status) == (kind, "what went wrong", "input", STATUS[kind])
    finish = read([b"event: error\ndata: " + write_fault(fault) + b"\n\n"])[-1]
    assert isinstance(finish, Finish)
    assert finish.error is not None
    assert finish.error.kind == kind


@given(st.text())
def test_faults_of_any_text(message: str) -> None:
    """No message of a failure is too odd to be written."""
    assert json.loads(write_fault(Fault(message + "\ud800")))["error"]["type"] == "server_error"

"""Answers on chat completions: what the answering half writes is read by the asking half, and by OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, settings

from polychat.errors import FaultKind, LimitReached, ReplyFailed, TimedOut, Truncated
from polychat.events import (
    Citation,
    Event,
    Finish,
    Logprobs,
    Media,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCallPiece,
    Usage,
)
from polychat.types import ChatMessage, ChatRequest, Opaque, TextPart
from polychat.wire import openai_chat as wire
from polychat.wire.contract import Writer
from polychat.wire.faults import STATUS, Fault

from ...support.corpus import splits
from ...support.random_requests import merged, replies
from ...support.read_replies import read_pieces


def writer(*, stream: bool, usage: bool = True) -> Writer:
    chat_request = ChatRequest("m", [ChatMessage("user", [TextPart("hi")])], stream=stream, stream_usage=usage or None)
    return wire.writer(chat_request, "1", 1700000000)


def written(events: list[Event], *, stream: bool, one_by_one: bool = False, usage: bool = True) -> bytes:
    out = writer(stream=stream, usage=usage)
    batches = [[event] for event in events] if one_by_one else [events]
    return b"".join([*(out.write(batch) for batch in batches), out.end()])


def normal(events: list[Event]) -> list[Event]:
    """The order a message has, joined; the name and model are the writer's, and not those of the events."""
    kinds = [Start, Reasoning, Text, Refusal, Citation, Media, ToolCallPiece, Logprobs, Usage, Finish]
    inside = [event for event in events if not isinstance(event, Start)]
    return merged([Start("chatcmpl-1", "m"), *sorted(_blocks(inside), key=lambda event: kinds.index(type(event)))])


def _blocks(events: list[Event]) -> list[Event]:
    """Thoughts that nobody signed are one, if none is signed."""
    thoughts = [event for event in events if isinstance(event, Reasoning)]
    if any(event.opaque for event in thoughts):
        return events
    return [Reasoning(event.text) if isinstance(event, Reasoning) else event for event in events]


@settings(max_examples=80, deadline=None)
@given(replies(without=["media"]))
def test_a_stream_is_read_as_it_was_written(events: list[Event]) -> None:
    """Text, thoughts with every vendor's signatures, calls, sources, usage and reason come through, however batched."""
    body = written(events, stream=True, one_by_one=True)
    assert body == written(events, stream=True)
    assert normal(read_pieces(wire.Reader(), [body]).events) == normal(events)


@settings(max_examples=80, deadline=None)
@given(replies())
def test_a_whole_answer_is_read_as_it_was_written(events: list[Event]) -> None:
    """The same of an answer in one object."""
    reply = wire.read_reply(written(events, stream=False))
    assert _joined(normal(reply)) == _joined(normal(events))


def _joined(events: list[Event]) -> list[Any]:
    """Thoughts that nobody signed, with what a message puts between them."""
    thoughts = [event for event in events if isinstance(event, Reasoning)]
    if any(event.opaque for event in thoughts):
        return list(events)
    return [event for event in events if not isinstance(event, Reasoning)] + [
        "".join(event.text for event in thoughts).replace("\n", "")
    ]


@settings(max_examples=10, deadline=None)
@given(replies(without=["logprobs"]))
def test_a_written_stream_is_read_at_every_split(events: list[Event]) -> None:
    """Wherever the network cuts what we wrote, the events are the same."""
    body = written(events, stream=True)
    expected_events = merged(read_pieces(wire.Reader(), [body]).events)
    for pieces in list(splits(body))[::7]:
        assert merged(read_pieces(wire.Reader(), pieces).events) == expected_events


def test_chunks_as_openai_writes_them() -> None:
    """The role comes first and alone; the reason with an empty delta; usage behind it, without choices; then the end."""
    body = written([Text("a"), Text('"b"'), Usage(1, 2, 3), Finish("complete", "stop")], stream=True)
    payloads = [line[6:] for line in body.split(b"\n\n") if line]
    assert payloads.pop() == b"[DONE]"
    frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m"}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**frame, "choices": [choice], "usage": None}

    assert [json.loads(payload) for payload in payloads] == [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "a"}),
        chunk({"content": '"b"'}),
        chunk({}, "stop"),
        {**frame, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}},
    ]


def test_usage_comes_in_a_stream_only_where_it_was_asked_for() -> None:
    """Without include_usage no chunk speaks of it."""
    assert b"usage" not in written([Text("a"), Usage(1, 2, 3), Finish("complete")], stream=True, usage=False)
    assert b'"usage"' in written([Text("a"), Usage(1, 2, 3), Finish("complete")], stream=False)


def test_a_signed_block_goes_out_whole() -> None:
    """A client that hands details back as they came hands back each block's text with its signature, once."""
    events: list[Event] = [
        Reasoning("a"),
        Reasoning("b"),
        Reasoning("", Opaque("anthropic", "s")),
        Reasoning("c", None, 1),
        Text("x"),
        Finish("complete", "stop"),
    ]
    chunks = [json.loads(line[6:]) for line in written(events, stream=True).split(b"\n\n")[:-2]]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    details = [detail for delta in deltas for detail in delta.get("reasoning_details", [])]
    message = json.loads(written(events, stream=False))["choices"][0]["message"]
    expected = [
        {"type": "reasoning.text", "text": "ab", "signature": "pc1.anthropic.s", "index": 0},
        {"type": "reasoning.text", "text": "c", "index": 1},
    ]
    assert details == message["reasoning_details"] == expected
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "abc"
    assert message["reasoning_content"] == "ab\n\nc"


def test_a_clients_next_ask_brings_the_signatures_back() -> None:
    """The message we wrote, appended to a conversation as it is, has every vendor's opaque parts again."""
    events: list[Event] = [
        Reasoning("hm", Opaque("anthropic", "s")),
        Reasoning("", Opaque("openai", "e", "rs_1", True), 1),
        ToolCallPiece(0, "c", "f", "{}", Opaque("gemini", "g")),
        Finish("complete", "tool_calls"),
    ]
    message = json.loads(written(events, stream=False))["choices"][0]["message"]
    (turn,) = wire.read_messages([message])
    assert [getattr(part, "opaque", None) for part in turn.parts] == [
        Opaque("anthropic", "s"),
        Opaque("openai", "e", "rs_1", True),
        Opaque("gemini", "g"),
    ]


@pytest.mark.parametrize(
    ("reason", "calls", "word"),
    [
        *[(None, False, "stop"), (None, True, "tool_calls"), ("stop", False, "stop"), ("length", True, "length")],
        *[("refusal", False, "content_filter"), ("pause", False, "length"), ("recitation", False, "content_filter")],
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_the_end_in_openais_words(reason: str | None, calls: bool, word: str, stream: bool) -> None:
    """Without a reason it is a plain one; of the common words OpenAI lacks each becomes the nearest."""
    call: list[Event] = [ToolCallPiece(0, "c", "f", "{}")] if calls else [Text("x")]
    body = written([*call, Finish("complete", reason)], stream=stream)
    assert f'"finish_reason":"{word}"'.encode() in body


@pytest.mark.parametrize("stream", [True, False])
def test_several_answers_are_written_apart(stream: bool) -> None:
    """Each has its own pieces and its own reason."""
    events: list[Event] = [Text("a"), Text("b", 1), Finish("complete", "stop", others={1: "length"})]
    body = written(events, stream=stream, usage=False)
    reply = read_pieces(wire.Reader(), [body]).events if stream else wire.read_reply(body)
    assert [event for event in reply if not isinstance(event, Start)] == events


@pytest.mark.parametrize("stream", [True, False])
def test_sound_is_written_as_sound(stream: bool) -> None:
    """It is not called an image, and its kind is recognized from its bytes."""
    events: list[Event] = [Media(b"RIFFxxxx", "audio/wav"), Finish("complete", "stop")]
    body = written(events, stream=stream)
    reply = read_pieces(wire.Reader(), [body]).events if stream else wire.read_reply(body)
    assert Media(b"RIFFxxxx", "audio/wav") in reply


def failure(kind: FaultKind = "server") -> ReplyFailed:
    error = ReplyFailed("it broke")
    error.kind = kind
    return error


def test_a_stream_that_fails_has_no_end() -> None:
    """After what came there is an error, no reason and no ``[DONE]``: failed and truncated alike."""
    for finish in (Finish("failed", error=failure()), Finish("truncated", error=Truncated("it stopped")), Finish("cancelled")):
        body = written([Text("a"), finish], stream=True)
        assert b"[DONE]" not in body
        assert b'"finish_reason":"' not in body
        reply = read_pieces(wire.Reader(), [body])
        assert reply.text == "a"
        assert reply.finish.verdict == "failed"


@pytest.mark.parametrize(
    ("error", "status"),
    [(failure(), 502), (failure("overloaded"), 503), (failure("context_length"), 400), (TimedOut("idle", 3), 504)],
)
def test_a_whole_answer_that_fails_chooses_its_status(error: Any, status: int) -> None:
    """Nothing of the answer goes out: an error of its kind does."""
    out = writer(stream=False)
    out.write([Text("a"), Finish("failed", error=error)])
    body = json.loads(out.end())
    assert out.status == status
    assert body["error"]["message"] == str(error)


def test_the_retry_time_is_in_the_headers() -> None:
    """A limit with a known end is reported in the header."""
    out = writer(stream=False)
    out.write([Finish("failed", error=LimitReached("slowly", retry_after=1.2))])
    out.end()
    assert (out.status, out.headers) == (429, [("retry-after", "2")])


@pytest.mark.parametrize("kind", STATUS)
def test_a_fault_is_read_as_it_was_written(kind: FaultKind) -> None:
    """Every kind of failure comes through, by its words and its status."""
    fault = Fault("it broke", kind, STATUS[kind], "own_code", "messages")
    read = wire.read_fault(fault.status, wire.write_fault(fault))
    assert (read.message, read.kind, read.status, read.param) == ("it broke", kind, STATUS[kind], "messages")
    assert (read.code == "own_code") == (kind in ("invalid_request", "permission", "overloaded", "timeout", "server"))


def test_a_code_that_clients_know_is_written() -> None:
    """Another API's code for a full context is not what clients of this one look for."""
    assert wire.read_fault(400, wire.write_fault(Fault("m", "context_length", 400, "prompt_too_long"))).code == (
        "context_length_exceeded"
    )


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (429, b'{"error": {"message": "m", "code": "insufficient_quota"}}', "quota", "m"),
        (400, b'{"error": {"message": "m", "type": "invalid_request_error"}}', "invalid_request", "m"),
        (401, b'{"error": {"message": "m", "type": "invalid_request_error"}}', "authentication", "m"),
        (400, b'{"object": "error", "message": "context length is 8", "code": 400}', "context_length", "context length is 8"),
        (422, b'{"detail": [{"loc": ["body"], "msg": "field required"}]}', "invalid_request", "field required"),
        (404, b'{"detail": "Not Found"}', "not_found", "Not Found"),
        (429, b'[{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}]', "rate_limit", "m"),
        (503, b"busy", "overloaded", "busy"),
        (502, b"<html>bad gateway</html>", "server", ""),
        (500, b"", "server", ""),
        (418, b"[1]", "invalid_request", ""),
        (500, b'{"error": null}', "server", ""),
        (500, b'{"error": {"message": 5, "code": [], "param": {}}}', "server", ""),
    ],
)  # fmt: skip
def test_refusals_of_every_dialect(status: int, body: bytes, kind: str, message: str) -> None:
    """A code says most, then the status; a body of any shape is read."""
    fault = wire.read_fault(status, body)
    assert (fault.kind, fault.message, fault.status) == (kind, message, status)


def test_headers_that_stand_in_the_body() -> None:
    """OpenRouter tells there when its limits are over; what is no text could not be a header."""
    metadata = {"headers": {"X-RateLimit-Reset": "60", "X-RateLimit-Limit": 20, "X-Other": None}}
    fault = wire.read_fault(429, json.dumps({"error": {"message": "m", "metadata": metadata}}).encode())
    assert fault.headers == {"X-RateLimit-Reset": "60"}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("word", [None, "stop", "end_turn", "eos", "STOP", "completed"])
def test_a_plain_end_behind_calls(word: str | None, stream: bool) -> None:
    """Is written as ``tool_calls``, whatever the backend calls it: clients run tools only then. Without calls it is
    ``stop``.
    """
    call = ToolCallPiece(0, "c", "f", "{}")
    for event, end in ((call, "tool_calls"), (Text("a"), "stop")):
        out = writer(stream=stream)
        body = out.write([event, Finish("complete", word)]) + out.end()
        assert f'"finish_reason":"{end}"'.encode() in body


# OpenAI's own client.


def client(answer: Callable[[], httpx2.Response]) -> openai.OpenAI:
    http = httpx2.Client(transport=httpx2.MockTransport(lambda request: answer()))
    return openai.OpenAI(api_key="k", base_url="http://127.0.0.1/v1", http_client=http, max_retries=0)


def answered(events: list[Event], *, stream: bool) -> openai.OpenAI:
    out = writer(stream=stream)
    body = out.write(events) + out.end()
    headers = {"content-type": out.content_type, **dict(out.headers)}
    return client(lambda: httpx2.Response(out.status, headers=headers, content=body))


ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
ANSWER: list[Event] = [
    Reasoning("hm", Opaque("anthropic", "s")),
    Text("Hel"),
    Text("lo"),
    Citation("T", "https://a.example", start=0, end=5),
    ToolCallPiece(0, "c", "f", '{"a":'),
    ToolCallPiece(0, None, None, "1}"),
    ToolCallPiece(1, "d", "g", "{}"),
    Usage(10, 5, 15, 4, None, 2),
    Finish("complete", "tool_calls"),
]


def test_openais_client_reads_a_whole_answer() -> None:
    """Text, calls, usage, citations and thoughts are where its users look for them."""
    reply = answered(ANSWER, stream=False).chat.completions.create(**ASKED)
    choice = reply.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Hello", "tool_calls")
    assert [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or []] == [  # type: ignore[union-attr]
        ("c", "f", '{"a":1}'),
        ("d", "g", "{}"),
    ]
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.total_tokens) == (10, 15)
    assert reply.usage.prompt_tokens_details is not None
    assert reply.usage.prompt_tokens_details.cached_tokens == 4
    assert choice.message.annotations is not None
    assert choice.message.annotations[0].url_citation.url == "https://a.example"
    again = choice.message.model_dump(exclude_none=True)
    (turn,) = wire.read_messages([again])
    assert turn.parts[0].opaque == Opaque("anthropic", "s")  # type: ignore[union-attr]


def test_openais_client_reads_a_stream() -> None:
    """Its own accumulator puts together what we wrote in pieces."""
    with answered(ANSWER, stream=True).chat.completions.stream(**ASKED) as stream:
        text = "".join(event.delta for event in stream if event.type == "content.delta")
        reply = stream.get_final_completion()
    message = reply.choices[0].message
    assert text == message.content == "Hello"
    assert [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or []] == [
        ("c", "f", '{"a":1}'),
        ("d", "g", "{}"),
    ]
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 5
    assert reply.choices[0].finish_reason == "tool_calls"


def test_openais_client_raises_on_failures() -> None:
    """An error in place of a stream's end, and one with a status, are its own errors."""
    with pytest.raises(openai.APIError, match="it broke"):
        list(
            answered([Text("a"), Finish("failed", error=failure())], stream=True).chat.completions.create(**ASKED, stream=True)
        )
    limited = answered([Finish("failed", error=LimitReached("slowly"))], stream=False)
    with pytest.raises(openai.RateLimitError, match="slowly") as caught:
        limited.chat.completions.create(**ASKED)
    assert caught.value.type == "insufficient_quota"


def test_openais_client_asks_what_we_read() -> None:
    """What it sends, tools and a schema and an image, is the ask that was meant."""
    sent: list[bytes] = []
    body = written([Text("x"), Finish("complete", "stop")], stream=False)

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.content)
        return httpx2.Response(200, content=body, headers={"content-type": "application/json"})

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    openai.OpenAI(api_key="k", base_url="http://127.0.0.1/v1", http_client=http).chat.completions.create(
        **ASKED, max_completion_tokens=5, tools=[{"type": "function", "function": {"name": "f"}}], stop=["x"], seed=1
    )
    chat_request = wire.read_request(sent[0])
    assert (chat_request.max_tokens, chat_request.tools[0].name, chat_request.stop, chat_request.seed, chat_request.extra) == (
        5,
        "f",
        ["x"],
        1,
        {},
    )  # type: ignore[union-attr]

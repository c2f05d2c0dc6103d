"""Answers as Ollama's API gives them: what we write our reader reads, and Ollama's own client too."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import ollama
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadInput, LimitReached, ReplyFailed, Truncated
from polychat.events import Citation, Event, Finish, Logprobs, Media, Reasoning, Refusal, Text, ToolCallPiece, Usage
from polychat.types import (
    ChatMessage,
    ChatRequest,
    Format,
    ImagePart,
    Opaque,
    ReasoningPart,
    TextPart,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from polychat.wire.contract import Writer
from polychat.wire.faults import Fault, fault_of
from polychat.wire.ollama import (
    Reader,
    generate_writer,
    read_fault,
    read_generate_request,
    read_reply,
    read_request,
    write_fault,
    writer,
)

from ...support.corpus import splits
from ...support.random_requests import replies
from ...support.read_replies import ReadReply, read_pieces

MOMENT = 1_700_000_000
FOREIGN = ("openai", "anthropic", "gemini")
Make = Callable[..., Writer]


def request_for(*, stream: bool) -> ChatRequest:
    return ChatRequest("model-1", [ChatMessage("user", [TextPart("hi")])], stream=stream)


def written(events: list[Event], *, stream: bool, make: Make = writer, batch: int = 3) -> bytes:
    """The body of an answer, its events in batches."""
    out = make(request_for(stream=stream), "one", MOMENT)
    body = b"".join(out.write(events[at : at + batch]) for at in range(0, len(events), batch))
    return body + out.end()


def thoughts(events: list[Event]) -> list[tuple[str, Opaque | None]]:
    """Texts and what signs them: thoughts without a signature go on in the next."""
    blocks: list[tuple[str, Opaque | None]] = []
    text = ""
    for event in events:
        if isinstance(event, Reasoning):
            text += event.text
            if event.opaque is not None:
                blocks.append((text, event.opaque))
                text = ""
    return [*blocks, (text, None)] if text else blocks


def as_one(events: list[Event]) -> list[tuple[str, Opaque | None]]:
    """As a whole answer has them: one thought, signed if there was but one block."""
    reasoning = [event for event in events if isinstance(event, Reasoning)]
    opaque = next((event.opaque for event in reasoning if event.opaque is not None), None)
    single = len({event.block for event in reasoning}) == 1
    text = "".join(event.text for event in reasoning)
    return [(text, opaque if single else None)] if text or (opaque and single) else []


def carried(events: list[Event]) -> dict[str, Any]:
    """What of an answer this wire carries, thoughts apart."""
    calls: dict[int, list[Any]] = {}
    for piece in events:
        if isinstance(piece, ToolCallPiece):
            call = calls.setdefault(piece.index, [piece.id, piece.name, "", None])
            call[2] += piece.arguments
            call[3] = piece.opaque or call[3]
    usage = [event for event in events if isinstance(event, Usage)]
    return {
        "text": "".join(event.text for event in events if isinstance(event, Text | Refusal)),
        "calls": [(known, name, json.loads(text), opaque) for known, name, text, opaque in calls.values()],
        "media": [event.data for event in events if isinstance(event, Media)],
        "tokens": [token for event in events if isinstance(event, Logprobs) for token in event.tokens],
        "usage": [(one.prompt_tokens, one.completion_tokens, one.total_tokens) for one in usage],
        "finish": events[-1],
    }


@settings(max_examples=100, deadline=None)
@given(replies(without=("source",), vendors=FOREIGN), st.integers(1, 4))
def test_a_streamed_answer_comes_back(events: list[Event], batch: int) -> None:
    """Text, thoughts with their signatures, calls, images, probabilities, usage and verdict."""
    reply = read_pieces(Reader(), [written(events, stream=True, batch=batch)])
    assert carried(reply.events) == carried(events)
    assert thoughts(reply.events) == thoughts(events)


@settings(max_examples=100, deadline=None)
@given(replies(without=("source",), vendors=FOREIGN))
def test_a_whole_answer_comes_back(events: list[Event]) -> None:
    """The same in one object; a signature only where there was one thought."""
    reply = ReadReply(read_reply(written(events, stream=False)))
    assert carried(reply.events) == carried(events)
    assert thoughts(reply.events) == as_one(events)


@settings(max_examples=50, deadline=None)
@given(replies(without=("source", "calls"), vendors=FOREIGN), st.booleans())
def test_an_answer_to_a_prompt_comes_back(events: list[Event], stream: bool) -> None:
    """As ``/api/generate`` has it, too."""
    body = written(events, stream=stream, make=generate_writer)
    reply = read_pieces(Reader(), [body]) if stream else ReadReply(read_reply(body))
    assert carried(reply.events) == carried(events)


@settings(max_examples=10, deadline=None)
@given(replies(without=("source",), vendors=FOREIGN))
def test_cuts_do_not_show(events: list[Event]) -> None:
    """Each split of a written answer reads the same, and none that is cut short is complete."""
    body = written(events, stream=True)
    expected = carried(events)
    for pieces in splits(body):
        assert carried(read_pieces(Reader(), pieces).events) == expected
    for cut in range(0, len(body) - 1, 7):
        assert read_pieces(Reader(), [body[:cut]]).finish.verdict == "truncated"


def test_a_line_is_what_the_server_would_send() -> None:
    """By its fields, their order, and its last line."""
    out = writer(request_for(stream=True), "one", MOMENT, model="other")
    assert (out.streams, out.status, out.content_type) == (True, 200, "application/x-ndjson")
    head = b'{"model":"other","created_at":"2023-11-14T22:13:20Z"'
    assert out.write([Text('a"é\u2028')]) == (
        head + b',"message":{"role":"assistant","content":' + rb'"a\"' + "é".encode() + rb'\u2028"' + b'},"done":false}\n'
    )
    out.durations = {"total_duration": 7}  # type: ignore[attr-defined]  # this wire's own
    assert out.write([Usage(3, 4), Finish("complete")]) == (
        head + b',"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop",'
        b'"total_duration":7,"prompt_eval_count":3,"eval_count":4}\n'
    )


def test_a_line_for_a_prompt() -> None:
    """Text is among the line's own fields."""
    out = generate_writer(request_for(stream=True), "one", MOMENT)
    head = b'{"model":"model-1","created_at":"2023-11-14T22:13:20Z"'
    assert out.write([Text("a")]) == head + b',"response":"a","done":false}\n'
    assert out.write([Reasoning("b")]) == head + b',"response":"","thinking":"b","done":false}\n'
    assert out.write([Finish("complete", "length")]) == head + b',"response":"","done":true,"done_reason":"length"}\n'


@pytest.mark.parametrize("stream", [True, False])
def test_of_several_answers_the_first_is_written(stream: bool) -> None:
    """The wire has room for one; a source and sound have no room at all."""
    others: list[Event] = [Text("b", 1), Reasoning("c", choice=1), Citation("t", "u"), Media(b"RIFF", "audio/wav")]
    body = written([Text("a"), *others, Finish("complete", "stop")], stream=stream)
    assert carried(ReadReply(read_reply(body)).events) == carried([Text("a"), Finish("complete", "stop")])


FAILURES = [
    (Finish("failed", error=ReplyFailed("it broke")), 502, "it broke"),
    (Finish("failed", error=LimitReached("too much")), 429, "too much"),
    (Finish("truncated", error=Truncated("the reply ended early")), 502, "ended early"),
    (Finish("cancelled"), 502, "cut"),
]


@pytest.mark.parametrize(("finish", "status", "words"), FAILURES)
@pytest.mark.parametrize("make", [writer, generate_writer])
def test_a_failure_is_never_an_end(finish: Finish, status: int, words: str, make: Make) -> None:
    """Amid a stream it is a line with an error and none that says done; else a status and a body."""
    body = written([Text("a"), finish], stream=True, make=make)
    assert b'"done":true' not in body
    reply = read_pieces(Reader(), [body])
    assert (reply.text, reply.finish.verdict) == ("a", "failed")
    assert words in str(reply.error)
    out = make(request_for(stream=False), "one", MOMENT)
    out.write([Text("a"), finish])
    last = out.end()
    assert out.status == status
    assert words in read_fault(out.status, last).message


@pytest.mark.parametrize("stream", [True, False])
def test_calls_whose_arguments_are_no_object_fail(stream: bool) -> None:
    """They cannot be written on this wire, and half of them are not made up."""
    body = written([ToolCallPiece(0, "a", "f", "{"), Finish("complete", "tool_calls")], stream=stream)
    assert "not a JSON object" in json.loads(body)["error"]


def test_an_answer_without_a_finish_is_an_error() -> None:
    """Whoever stops in the middle does not get a whole answer for it."""
    out = writer(request_for(stream=False), "one", MOMENT)
    out.write([Text("a")])
    assert "cut" in json.loads(out.end())["error"]
    assert out.status == 502


@pytest.mark.parametrize(
    "fault",
    [
        Fault("no such model", "not_found", 404),
        Fault("it is too much", "context_length", 400),
        Fault("wait", "rate_limit", 429),
        Fault("bad", "invalid_request", 400, param="options.seed"),
    ],
)
def test_faults_come_back(fault: Fault) -> None:
    """Their words and kinds; the field at fault is named in the words."""
    read = read_fault(fault.status, write_fault(fault))
    assert (read.kind, read.status) == (fault.kind, fault.status)
    assert fault.message in read.message
    assert (fault.param or "") in read.message


@pytest.mark.parametrize("stream", [True, False])
def test_signatures_survive_a_client_that_knows_this_wire_alone(stream: bool) -> None:
    """It hands the message back as it came, and the parts are what they were, for the vendor they are of."""
    events: list[Event] = [
        Reasoning("hm"),
        Reasoning("", Opaque("anthropic", "sig")),
        ToolCallPiece(0, "a", "f", "{}", Opaque("gemini", "thought")),
        Finish("complete", "tool_calls"),
    ]
    lines = [json.loads(line) for line in written(events, stream=stream).splitlines()]
    message: dict[str, Any] = {"role": "assistant", "content": "", "thinking": ""}
    for line in lines:
        message["thinking"] += line["message"].get("thinking", "")
        message |= {name: line["message"][name] for name in ("tool_calls", "thinking_signature") if name in line["message"]}
    chat_request = read_request(json.dumps({"model": "m", "messages": [message]}).encode())
    assert chat_request.messages[0].parts == [
        ReasoningPart("hm", Opaque("anthropic", "sig")),
        ToolCall("a", "f", "{}", Opaque("gemini", "thought")),
    ]


# Ollama's own client.


def client(events: list[Event], reply: list[ChatRequest]) -> ollama.Client:
    """A client of Ollama's whose server we are."""

    def answer(request: httpx.Request) -> httpx.Response:
        prompt = request.url.path == "/api/generate"
        try:
            chat_request = (read_generate_request if prompt else read_request)(request.content)
        except BadInput as error:
            fault = fault_of(error)
            return httpx.Response(fault.status, content=write_fault(fault))
        reply.append(chat_request)
        out = (generate_writer if prompt else writer)(chat_request, "one", MOMENT)
        body = out.write(events) + out.end()
        return httpx.Response(out.status, content=body, headers={"content-type": out.content_type})

    return ollama.Client(host="http://ollama.test", transport=httpx.MockTransport(answer), trust_env=False)


ANSWER: list[Event] = [
    Reasoning("Hm."),
    Text("It is "),
    Text("warm."),
    Logprobs([{"token": "warm", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "hot", "logprob": -1.0}]}]),
    ToolCallPiece(0, "a", "weather", '{"city":'),
    ToolCallPiece(0, arguments='"Rome"}'),
    ToolCallPiece(1, "b", "time", ""),
    Usage(7, 5, 12),
    Finish("complete", "tool_calls"),
]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "tells it",
        "parameters": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
    },
}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "And this?", "images": [b"\x89PNG\r\n\x1a\n"]},
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Rome"}}}]},
    {"role": "tool", "tool_name": "weather", "content": "20"},
]


def test_the_official_client_is_understood_and_understands() -> None:
    """Its request is read as what it says, and a whole reply as what was answered."""
    asks: list[ChatRequest] = []
    options = {"num_predict": 9, "temperature": 0.5, "num_ctx": 99}
    with client(ANSWER, asks) as sdk:
        reply = sdk.chat(
            "m",
            MESSAGES,
            tools=[TOOL],
            think=True,
            format=SCHEMA,
            options=options,
            keep_alive="1m",
            logprobs=True,
            top_logprobs=2,
        )
    assert (reply.message.content, reply.message.thinking, reply.done, reply.done_reason) == (
        "It is warm.",
        "Hm.",
        True,
        "stop",
    )
    calls = reply.message.tool_calls or []
    assert [(call.function.name, call.function.arguments) for call in calls] == [("weather", {"city": "Rome"}), ("time", {})]
    assert (reply.prompt_eval_count, reply.eval_count, reply.model) == (7, 5, "m")
    assert reply.logprobs is not None
    assert reply.logprobs[0].token == "warm"
    (chat_request,) = asks
    assert chat_request.messages[1].parts == [
        ImagePart(data=b"\x89PNG\r\n\x1a\n", media_type="image/png"),
        TextPart("And this?"),
    ]
    assert chat_request.messages[2].parts == [ToolCall("call_0", "weather", '{"city":"Rome"}')]
    assert chat_request.messages[3].parts == [ToolResult("call_0", [TextPart("20")], "weather")]
    assert chat_request.tools == [Tool("weather", "tells it", TOOL["function"]["parameters"])]  # type: ignore[index]
    assert (chat_request.max_tokens, chat_request.temperature, chat_request.stream, chat_request.logprobs) == (9, 0.5, False, 2)
    assert (chat_request.format, chat_request.reasoning) == (Format("schema", SCHEMA), Thinking(budget=-1))
    assert chat_request.extra == {"keep_alive": "1m", "options": {"num_ctx": 99}}


def test_the_official_client_follows_a_stream() -> None:
    """Piece by piece, the calls and the end included."""
    with client(ANSWER, []) as sdk:
        chunks = list(sdk.chat("m", MESSAGES[:2], stream=True))
    assert [chunk.message.content for chunk in chunks if chunk.message.content] == ["It is ", "warm."]
    assert "".join(chunk.message.thinking or "" for chunk in chunks) == "Hm."
    assert [len(chunk.message.tool_calls) for chunk in chunks if chunk.message.tool_calls] == [2]
    assert [chunk.done for chunk in chunks] == [*[False] * (len(chunks) - 1), True]
    assert (chunks[-1].done_reason, chunks[-1].eval_count) == ("stop", 5)


@pytest.mark.parametrize("stream", [True, False])
def test_the_official_client_gets_an_answer_to_a_prompt(stream: bool) -> None:
    """With what only a prompt takes."""
    asks: list[ChatRequest] = []
    events: list[Event] = [Reasoning("Hm."), Text("a"), Text("b"), Usage(1, 2, 3), Finish("complete", "length")]
    with client(events, asks) as sdk:
        answer: Any = sdk.generate("m", "def f(", suffix="return", system="s", raw=True, stream=stream)
        chunks = list(answer) if stream else [answer]
    assert "".join(chunk.response for chunk in chunks) == "ab"
    assert "".join(chunk.thinking or "" for chunk in chunks) == "Hm."
    assert (chunks[-1].done, chunks[-1].done_reason) == (True, "length")
    assert asks[0].extra == {"suffix": "return", "raw": True}
    assert [turn.role for turn in asks[0].messages] == ["system", "user"]


def test_the_official_client_raises_what_went_wrong() -> None:
    """A refusal with its status, and an error amid a stream after the text before it."""
    with client([], []) as sdk, pytest.raises(ollama.ResponseError, match=r"messages\[0\]\.role") as refused:
        sdk.chat("m", [{"role": "king", "content": "x"}])
    assert refused.value.status_code == 400
    with client([Text("a"), Finish("failed", error=ReplyFailed("it broke"))], []) as sdk:
        stream = sdk.chat("m", MESSAGES[:2], stream=True)
        assert next(stream).message.content == "a"
        with pytest.raises(ollama.ResponseError, match="it broke"):
            next(stream)

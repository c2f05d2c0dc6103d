"""Gemini's answers written: what the other half reads, at every split, and what the official client makes of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import errors as sdk_errors
from google.genai import types as sdk
from hypothesis import given, settings

from polychat.errors import BadReply, LimitReached, RateLimited, ReplyFailed, StatusError, Truncated
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
from polychat.types import ChatMessage, ChatRequest, Opaque, TextPart, ToolCall, ToolResult
from polychat.wire import gemini
from polychat.wire.faults import STATUS, Fault
from polychat.wire.json_text import encoded

from ...support.corpus import splits
from ...support.random_requests import merged, opaques, replies
from ...support.read_replies import read_pieces


def ask(*, stream: bool) -> ChatRequest:
    return ChatRequest("gemini-3-pro", [ChatMessage("user", [TextPart("hi")])], stream=stream)


def written(events: list[Event], *, stream: bool = True, array: bool = False) -> bytes:
    writer = gemini.writer(ask(stream=stream), "one", 1_700_000_000, array=array)
    return b"".join(writer.write([event]) for event in events) + writer.end()


def back(events: list[Event], *, whole: bool = False) -> list[Event]:
    """The events as this wire brings them back: refusals as text, calls whole and last, sources behind them.

    In a whole answer probabilities come behind all parts.
    """
    copies = [
        replace(event) for event in merged([Text(event.text) if isinstance(event, Refusal) else event for event in events])
    ]
    order = {ToolCallPiece: 1, Logprobs: 2 if whole else 0, Citation: 3, Usage: 4, Finish: 5}
    for event in copies:
        if isinstance(event, ToolCallPiece):
            event.arguments = encoded(json.loads(event.arguments)).decode()
        if isinstance(event, Usage):
            event.cache_write_tokens = None
        if isinstance(event, (Reasoning, ToolCallPiece)) and event.opaque is not None and event.opaque.vendor == "gemini":
            event.opaque = Opaque("gemini", event.opaque.data)
    left = [event for event in copies if not isinstance(event, Start)]
    return [Start("one", "gemini-3-pro"), *numbered(merged(sorted(left, key=lambda event: order.get(type(event), 0))))]


def numbered(events: list[Event]) -> list[Event]:
    """Blocks of thoughts by what parts them on this wire: a signature, or something else between them."""
    block, last = 0, None
    result: list[Event] = []
    for event in events:
        if isinstance(event, Reasoning):
            if last is not None and last.opaque is None and result[-1] is last and event.text:
                last.text, last.opaque = last.text + event.text, event.opaque
                continue
            block += last is not None
            last = event
            event.block = block
        result.append(event)
    return result


@pytest.mark.parametrize("framing", ["events", "array"])
@settings(max_examples=60, deadline=None)
@given(replies())
def test_a_stream_comes_back(framing: str, events: list[Event]) -> None:
    """Text, thoughts, signatures of any vendor, calls, pages, usage and the reason, at every split."""
    stream = written(events, array=framing == "array")
    expected = back(events)
    for pieces in list(splits(stream))[:: max(1, len(stream) // 20)]:
        assert merged(read_pieces(gemini.Reader(), pieces).events) == expected


@settings(max_examples=60, deadline=None)
@given(replies())
def test_a_whole_answer_comes_back(events: list[Event]) -> None:
    """As one response."""
    assert merged(gemini.read_reply(written(events, stream=False))) == back(events, whole=True)


@settings(max_examples=60, deadline=None)
@given(opaques())
def test_a_signature_survives_a_client_of_this_wire(opaque: Opaque) -> None:
    """The client sends the part back as it came: another vendor's is that vendor's again, as it was."""
    body = json.loads(written([Text("a"), Reasoning("", opaque), Finish("complete", "stop")], stream=False))
    (turn,) = gemini.read_request(encoded({"contents": [body["candidates"][0]["content"]]}), model="m").messages
    expected = Opaque("gemini", opaque.data) if opaque.vendor == "gemini" else opaque
    assert turn.parts[1].opaque == expected


def test_several_answers_are_candidates() -> None:
    """Each with its own text, calls and reason."""
    events: list[Event] = [
        Text("a"),
        Text("b", 1),
        ToolCallPiece(0, "1", "f", "{}", choice=1),
        Finish("complete", "length", others={1: "tool_calls"}),
    ]
    for reply in (read_pieces(gemini.Reader(), [written(events)]).events, gemini.read_reply(written(events, stream=False))):
        assert [event for event in reply if not isinstance(event, Start)] == events


def test_positions_of_pages_are_in_bytes() -> None:
    """A page cited twice is one page with two places."""
    sources = [
        Citation("T", "https://a.example/", "", 0, 2),
        Citation("T", "https://a.example/", "", 3, 4),
        Citation("S", "https://b.example/", "words"),
    ]
    events: list[Event] = [Text("éé x"), *sources, Finish("complete", "stop")]
    (candidate,) = json.loads(written(events, stream=False))["candidates"]
    grounding = candidate["groundingMetadata"]
    assert len(grounding["groundingChunks"]) == 2
    assert [support["segment"] for support in grounding["groundingSupports"]] == [
        {"startIndex": 0, "endIndex": 4, "text": "éé"},
        {"startIndex": 5, "endIndex": 6, "text": "x"},
    ]
    assert read_pieces(gemini.Reader(), [written(events)]).events[2:-1] == sources


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (None, "STOP"),
        ("tool_calls", "STOP"),
        ("length", "MAX_TOKENS"),
        ("content_filter", "SAFETY"),
        ("OTHER", "OTHER"),
        ("eos", "OTHER"),
    ],
)
def test_reasons_have_this_wires_names(reason: str | None, word: str) -> None:
    """One that it has no word for is none of its good ends."""
    body = json.loads(written([Text("a"), Finish("complete", reason)], stream=False))
    assert body["candidates"][0]["finishReason"] == word


def test_tokens_are_counted_as_this_wire_does() -> None:
    """Thoughts beside the candidates; sound by its own."""
    usage = Usage(10, 8, None, 4, reasoning_tokens=3, audio_prompt_tokens=2, audio_completion_tokens=5)
    body = json.loads(written([Text("a"), usage, Finish("complete")], stream=False))
    assert body["usageMetadata"] == {
        "promptTokenCount": 10,
        "candidatesTokenCount": 5,
        "totalTokenCount": 18,
        "cachedContentTokenCount": 4,
        "thoughtsTokenCount": 3,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 8}, {"modality": "AUDIO", "tokenCount": 2}],
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
    }
    assert gemini.read_reply(encoded(body))[-2] == replace(usage, total_tokens=18)


# Failures.

FAILURES: list[tuple[Finish, int, str]] = [
    (Finish("failed", error=LimitReached("enough", retry_after=7.0)), 429, "enough"),
    (Finish("failed", error=BadReply("what")), 502, "what"),
    (Finish("truncated", error=Truncated("cut")), 502, "cut"),
    (Finish("cancelled"), 502, "ended early"),
    (Finish("failed", error=StatusError("gone", status=503)), 503, "gone"),
]


@pytest.mark.parametrize(("finish", "status", "words"), FAILURES)
def test_a_failure_of_a_whole_answer_chooses_the_status(finish: Finish, status: int, words: str) -> None:
    """The received text is not written as if it were the answer."""
    writer = gemini.writer(ask(stream=False), "one", 0)
    writer.write([Text("half"), finish])
    body = writer.end()
    assert writer.status == status
    assert words in gemini.read_fault(status, body).message
    assert b"half" not in body
    assert dict(writer.headers).get("retry-after") == ("7" if status == 429 else None)


@pytest.mark.parametrize("array", [False, True])
@pytest.mark.parametrize(("finish", "status", "words"), FAILURES)
def test_a_failure_in_a_stream_is_reported_as_one(finish: Finish, status: int, words: str, array: bool) -> None:
    """After the text that came, and with no reason that a client could take for an end."""
    stream = written([Text("half"), ToolCallPiece(0, "1", "f", "{"), finish], array=array)
    assert b"finishReason" not in stream
    reply = read_pieces(gemini.Reader(), [stream])
    assert (reply.text, reply.finish.verdict) == ("half", "failed")
    assert words in str(reply.error)
    assert json.loads(stream) if array else True


def test_an_answer_that_stops_without_an_end_is_a_failure() -> None:
    """Nothing is made up in its place."""
    for stream in (True, False):
        assert b'"error"' in written([Text("half")], stream=stream)


def test_a_call_that_is_no_object_is_a_failure() -> None:
    """This wire could not tell it."""
    events: list[Event] = [ToolCallPiece(0, "1", "f", "[1]"), Finish("complete", "tool_calls")]
    assert isinstance(read_pieces(gemini.Reader(), [written(events)]).error, ReplyFailed)


@pytest.mark.parametrize("kind", STATUS)
def test_a_fault_comes_back(kind: Any) -> None:
    """Its kind, its words, the field, and when to come again."""
    fault = Fault("it broke", kind, STATUS[kind], None, "contents[0]", 2.5)
    again = gemini.read_fault(fault.status, gemini.write_fault(fault))
    assert replace(again, code=None) == fault


def test_a_fault_tells_no_secrets() -> None:
    """What a backend repeats of a key does not go to a client."""
    assert b"sk-123" not in gemini.write_fault(Fault("bad api_key=sk-1234567"))


# The official client.


def client(answer: Callable[[httpx.Request], httpx.Response]) -> genai.Client:
    options = sdk.HttpOptions(
        base_url="http://gemini.test", httpx_async_client=httpx.AsyncClient(transport=httpx.MockTransport(answer))
    )
    return genai.Client(api_key="k", http_options=options)


def dialect(events: list[Event], reply: list[ChatRequest]) -> Callable[[httpx.Request], httpx.Response]:
    """The answering half, behind the client's own HTTP."""

    def answer(request: httpx.Request) -> httpx.Response:
        name, _, method = request.url.path.rpartition("/models/")[2].partition(":")
        if method == "countTokens":
            reply.append(gemini.read_count_request(request.content, model=name))
            return httpx.Response(200, content=gemini.write_count(31))
        request_read = gemini.read_request(request.content, model=name, stream=method == "streamGenerateContent")
        reply.append(request_read)
        writer = gemini.writer(request_read, "one", 0)
        body = b"".join([writer.write([event]) for event in events]) + writer.end()
        return httpx.Response(writer.status, content=body, headers={"content-type": writer.content_type})

    return answer


ANSWER: list[Event] = [
    Reasoning("hm"),
    Reasoning("", Opaque("anthropic", "sig+/=")),
    Text("Hel"),
    Text("lo é"),
    Media(b"\x89PNG", "image/png"),
    Citation("T", "https://a.example/", "", 0, 5),
    ToolCallPiece(0, "c1", "f", '{"x": '),
    ToolCallPiece(0, None, None, "1}", Opaque("gemini", base64.b64encode(b"native").decode())),
    Logprobs([{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]),
    Usage(10, 8, 18, 4, reasoning_tokens=3),
    Finish("complete", "tool_calls"),
]


async def test_the_official_client_reads_a_whole_answer_and_sends_it_back() -> None:
    """Every part, and the history that it makes of it, with both signatures."""
    reply: list[ChatRequest] = []
    chat = client(dialect(ANSWER, reply)).aio.chats.create(model="gemini-3-pro")
    response = await chat.send_message("hi")
    assert response.text == "Hello é"
    assert response.function_calls is not None
    assert (response.function_calls[0].id, response.function_calls[0].args) == ("c1", {"x": 1})
    assert response.usage_metadata is not None
    assert (response.usage_metadata.prompt_token_count, response.usage_metadata.candidates_token_count) == (10, 5)
    assert response.response_id == "one"
    assert response.candidates is not None
    assert response.candidates[0].grounding_metadata is not None
    await chat.send_message([sdk.Part.from_function_response(name="f", response={"r": 1})])
    check_history(reply[1])


async def test_the_official_client_reads_a_stream_and_sends_it_back() -> None:
    """Its chat keeps every chunk as a content; the turn is one all the same."""
    reply: list[ChatRequest] = []
    chat = client(dialect(ANSWER, reply)).aio.chats.create(model="gemini-3-pro")
    pieces = [chunk async for chunk in await chat.send_message_stream("hi")]
    assert "".join(chunk.text or "" for chunk in pieces) == "Hello é"
    assert pieces[-1].candidates is not None
    assert pieces[-1].candidates[0].finish_reason == sdk.FinishReason.STOP
    async for _ in await chat.send_message_stream([sdk.Part.from_function_response(name="f", response={"r": 1})]):
        pass
    check_history(reply[1])
    assert reply[1].stream


def check_history(request: ChatRequest) -> None:
    assert [turn.role for turn in request.messages] == ["user", "assistant", "tool"]
    thought, text, image, call = request.messages[1].parts
    assert thought.opaque == Opaque("anthropic", "sig+/=")
    assert (thought.text, text.text, image.data) == ("hm", "Hello é", b"\x89PNG")
    assert isinstance(call, ToolCall)
    assert (call.id, call.arguments) == ("c1", '{"x":1}')
    assert call.opaque is not None
    assert base64.urlsafe_b64decode(call.opaque.data) == b"native"
    assert request.messages[2].parts == [ToolResult("c1", [TextPart('{"r":1}')], "f")]


async def test_what_the_official_client_asks_is_understood() -> None:
    """Its configuration in our words."""
    reply: list[ChatRequest] = []
    config = sdk.GenerateContentConfig(
        system_instruction="Be brief.",
        temperature=0.5,
        top_k=4,
        max_output_tokens=5,
        response_schema={"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
        response_mime_type="application/json",
        thinking_config=sdk.ThinkingConfig(thinking_level=sdk.ThinkingLevel.LOW, include_thoughts=True),
        tools=[sdk.Tool(google_search=sdk.GoogleSearch())],
        safety_settings=[sdk.SafetySetting(category="HARM_CATEGORY_HATE_SPEECH", threshold="OFF")],
    )
    asking = client(dialect([Text("{}"), Finish("complete", "stop")], reply))
    image = sdk.Part.from_bytes(data=b"\xff\xfe", mime_type="image/png")
    await asking.aio.models.generate_content(model="gemini-3-pro", contents=["look", image], config=config)
    (request,) = reply
    assert request.messages[0] == ChatMessage("system", [TextPart("Be brief.")])
    assert request.messages[1].parts[1].data == b"\xff\xfe"
    assert (request.temperature, request.top_k, request.max_tokens) == (0.5, 4, 5)
    assert request.format is not None
    assert request.format.schema is not None
    assert request.format.schema["properties"] == {"a": {"type": "string"}}
    assert request.reasoning is not None
    assert (request.reasoning.effort, request.reasoning.summary) == ("low", "auto")
    assert [tool.kind for tool in request.tools] == ["googleSearch"]
    assert list(request.extra) == ["safetySettings"]
    counted = await asking.aio.models.count_tokens(model="gemini-3-pro", contents="how many")
    assert counted.total_tokens == 31
    assert reply[-1].messages == [ChatMessage("user", [TextPart("how many")])]


async def test_the_official_client_raises_what_failed() -> None:
    """By status where there is one, and by the error inside a stream."""
    asking = client(dialect([Text("half"), Finish("failed", error=RateLimited("slow", status=429))], []))
    with pytest.raises(sdk_errors.ClientError, match="slow") as caught:
        await asking.aio.models.generate_content(model="m", contents="hi")
    assert caught.value.code == 429
    came = ""
    with pytest.raises(sdk_errors.APIError, match="slow"):
        async for chunk in await asking.aio.models.generate_content_stream(model="m", contents="hi"):
            came += chunk.text or ""
    assert came == "half"

"""Replies of Gemini's wire, as it is read and as its dialect writes others' replies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.errors import ReplyFailed
from polychat.events import Citation, Event, Finish, Media, Reasoning, Text, ToolCallPiece, Usage
from polychat.types import Opaque
from polychat.wire import gemini
from polychat.wire.contract import names, wire_named
from polychat.wire.limits import ReaderLimits

from ..support.gateway_for_clients import KEY, house
from ..support.random_conversations import read, written
from ..support.read_replies import read_pieces
from ..support.vendor_clients import vendor_client

CODE = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
CALLED = {"toolCall": {"id": "t", "toolType": "GOOGLE_SEARCH_WEB", "args": {"q": 1}}}


def chunk(*parts: Any, reason: str | None = None, **more: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **more}
    return {"candidates": [{**candidate, "finishReason": reason} if reason else candidate]}


def streamed(*chunks: Any) -> list[Event]:
    return read(wire_named("gemini"), [b"data: " + json.dumps(one).encode() + b"\r\n\r\n" for one in chunks])


@pytest.mark.parametrize("strange", [5, None, "x", [3], {"groundingChunks": [{"web": {"uri": 5}}], "citations": 3}])
def test_decoration_costs_no_words(strange: Any) -> None:
    """Sources, counts, probabilities and signatures of any shape are read as far as they can be; the words come through."""
    names_of = ("groundingMetadata", "citationMetadata", "urlContextMetadata", "logprobsResult")
    media = {"inlineData": {"mimeType": 5, "data": "!"}}
    last = chunk({"text": "lo", "thoughtSignature": strange}, media, reason="STOP", **dict.fromkeys(names_of, strange))
    events = streamed(chunk({"text": "Hel"}), {**last, "usageMetadata": strange or {}})
    assert "".join(event.text for event in events if isinstance(event, Text)) == "Hello"
    assert events[-1] == Finish("complete", "stop")


def test_half_an_emoji() -> None:
    """Half an emoji at a chunk's end waits for the other; one that stays alone is left out."""
    first, second = (
        b'data: {"candidates":[{"content":{"parts":[{"text":"a\\u%s"}]},"index":0}]}\n\n' % half for half in (b"d83d", b"de00b")
    )
    body = [first, second.replace(b'"a', b'"'), b'data: {"candidates":[{"finishReason":"STOP","index":0}]}\n\n']
    events = read(wire_named("gemini"), body)
    assert "".join(event.text for event in events if isinstance(event, Text)) == "a\U0001f600b"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("part", [CODE, CALLED, {"codeExecutionResult": {"outcome": "OUTCOME_OK"}}, {"news": {"x": 1}}])
def test_what_only_gemini_reads_goes_back_to_it(part: Any, stream: bool) -> None:
    """Code that it ran and its own tools' calls are opaque parts, in streams too: written in its dialect, and returned."""
    events = streamed(chunk({"text": "a"}, part, {"text": "b"}), chunk(reason="STOP"))
    sealed = [event.opaque for event in events if isinstance(event, Reasoning)]
    assert [json.loads(opaque.data) for opaque in sealed if opaque is not None] == [part]
    body = written(wire_named("gemini"), events, stream=stream)
    again = read(wire_named("gemini"), [body]) if stream else gemini.read_reply(body)
    assert [event.opaque for event in again if isinstance(event, Reasoning)] == sealed
    request = gemini.read_request(
        json.dumps({"contents": [{"role": "model", "parts": [part]}, {"parts": [{"text": "x"}]}]}).encode(), "m"
    )
    assert gemini.write_request(request)["contents"][0]["parts"] == [part]
    request.wire = None
    for name in names():
        body_of = wire_named(name).write_request(request)
        assert ("executableCode" in json.dumps(body_of)) == (name == "gemini" and part is CODE)


def test_arguments_in_parts() -> None:
    """A call whose arguments come in parts is emitted when it is complete."""
    parts = [
        {"functionCall": {"name": "f", "partialArgs": [{"jsonPath": "$.a", "stringValue": "x"}], "willContinue": True}},
        {"functionCall": {"partialArgs": [{"jsonPath": "$.a", "stringValue": "y"}], "willContinue": True}},
        {"functionCall": {"partialArgs": [{"jsonPath": "$.b[0].c", "numberValue": 1.0}], "willContinue": True}},
        {"functionCall": {"partialArgs": [{"jsonPath": "$['d']", "boolValue": True}]}},
    ]
    (call,) = [event for event in streamed(*map(chunk, parts), chunk(reason="STOP")) if isinstance(event, ToolCallPiece)]
    assert (call.name, json.loads(call.arguments)) == ("f", {"a": "xy", "b": [{"c": 1}], "d": True})


PARTS: list[dict[str, Any]] = [
    {
        "functionCall": {"name": "f", "partialArgs": [{"jsonPath": "$.a", "stringValue": "x"}], "willContinue": True},
        "thoughtSignature": "c2ln",
    },
    {"functionCall": {"partialArgs": [{"jsonPath": "$.b", "stringValue": "y"}], "willContinue": True}},
]


def test_a_call_in_parts_has_its_signature() -> None:
    """It is on the first part, and the vendor wants it back with the call."""
    for last in ({}, {"name": "f", "partialArgs": [{"jsonPath": "$.c", "nullValue": None}]}):
        events = streamed(*map(chunk, [*PARTS, {"functionCall": last}, *PARTS[:1], {"functionCall": {}}]), chunk(reason="STOP"))
        calls = [event for event in events if isinstance(event, ToolCallPiece)]
        assert [call.opaque and call.opaque.data for call in calls] == ["c2ln", "c2ln"]
        assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize("reason", ["STOP", "MAX_TOKENS", None])
def test_a_call_in_parts_that_does_not_come_to_its_end(reason: str | None) -> None:
    """A reply that says it is finished has failed; another tells of the call as far as it came, which is no whole JSON."""
    events = streamed(*map(chunk, PARTS), chunk(reason=reason))
    (call,) = [event for event in events if isinstance(event, ToolCallPiece)]
    assert (call.name, call.arguments) == ("f", '{"a":"x","b":"y"')
    finish = events[-1]
    assert isinstance(finish, Finish)
    assert finish.verdict == {"STOP": "failed", "MAX_TOKENS": "complete", None: "truncated"}[reason]
    assert finish.reason == ("length" if reason == "MAX_TOKENS" else None)


@pytest.mark.parametrize("other", [{"name": "g"}, {"id": "2"}])
def test_a_call_amid_another_one(other: dict[str, Any]) -> None:
    """Two calls whose parts are mixed are a failure: neither gets the arguments of the other."""
    begun = {"functionCall": {**PARTS[0]["functionCall"], "id": "1"}}
    parts = [begun, PARTS[1], {"functionCall": {**other, "partialArgs": [{"jsonPath": "$.c", "stringValue": "z"}]}}]
    finish = streamed(*map(chunk, parts), chunk(reason="STOP"))[-1]
    assert isinstance(finish, Finish)
    assert finish.verdict == "failed"


def test_a_call_without_a_name() -> None:
    """Names no tool: the reply has failed, and no client gets it to run."""
    finish = streamed(chunk({"functionCall": {"name": "", "args": {}}}), chunk(reason="STOP"))[-1]
    assert isinstance(finish, Finish)
    assert "names no tool" in str(finish.error)


def test_arguments_in_parts_have_a_limit() -> None:
    """As the arguments of other calls, however small each part is."""
    part = {"functionCall": {"name": "f", "partialArgs": [{"jsonPath": "$.a", "stringValue": "x" * 100}], "willContinue": True}}
    body = b"".join(b"data: " + json.dumps(chunk(part)).encode() + b"\n\n" for _ in range(11))
    finish = read_pieces(gemini.Reader(limits=ReaderLimits(arguments=1000)), [body]).events[-1]
    assert isinstance(finish, Finish)
    assert "1,000 characters of tool arguments" in str(finish.error)


def test_thoughts_and_tools_are_billed() -> None:
    """Thoughts count with the answer, and what the backend's tools read with the prompt."""
    counts = {"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 3, "thoughtsTokenCount": 4}
    usage = next(
        event
        for event in streamed({**chunk({"text": "a"}, reason="STOP"), "usageMetadata": counts})
        if isinstance(event, Usage)
    )
    assert (usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens) == (15, 7, 4)


def test_an_error_amid_a_stream_is_a_line_by_itself() -> None:
    """It is JSON of its own behind the events, which Google's clients look for, and our reader at every cut."""
    body = written(wire_named("gemini"), [Text("so far"), Finish("failed", error=ReplyFailed("it broke"))], stream=True)
    events, error = body.rsplit(b"\r\n\r\n", 1)
    assert json.loads(error)["error"]["message"] == "it broke"
    for at in range(len(events) + 1, len(body)):
        finish = read(wire_named("gemini"), [body[:at], body[at:]])[-1]
        assert isinstance(finish, Finish)
        assert "it broke" in str(finish.error)


@pytest.mark.parametrize("name", [name for name in names() if name != "ollama"])
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
async def test_the_official_client_reads_it_all(name: str) -> None:
    """Two sources, parallel calls, U+2028 and U+0085, thoughts: google-genai's stream reads each, before every backend."""
    genai = vendor_client("google.genai", "google-genai")
    answer: list[Event] = [Reasoning("hm", Opaque(wire_named(name).VENDOR, "c2ln")), Text("one\u2028two\u0085")]
    answer += [Citation("T", "https://a.example/1"), Citation("U", "https://a.example/2")]
    answer += [
        ToolCallPiece(0, "call_a", "f", "{}"),
        ToolCallPiece(1, "call_b", "g", '{"a":1}'),
        Finish("complete", "tool_calls"),
    ]
    if name == "gemini":
        answer.insert(2, Media(b"\x89PNG", "image/png"))
    async with house(name, [answer[:2], answer[2:]]) as (here, _):
        client = genai.Client(api_key=KEY, http_options={"base_url": here.url})
        stream = await client.aio.models.generate_content_stream(model="house/m", contents="hi")
        parts = [part async for piece in stream for part in piece.candidates[0].content.parts or []]
        await client.aio.aclose()
    assert "".join(part.text for part in parts if part.text and not part.thought) == "one\u2028two\u0085"
    assert [part.function_call.name for part in parts if part.function_call] == ["f", "g"]
    assert any(part.inline_data for part in parts) == (name == "gemini")

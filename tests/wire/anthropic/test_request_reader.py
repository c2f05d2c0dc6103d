"""Anthropic Messages, the half that answers: requests as they come."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadInput
from polychat.events import Finish, Reasoning, Text, ToolCallPiece
from polychat.types import (
    ChatMessage,
    ChatRequest,
    FilePart,
    Format,
    HostedTool,
    ImagePart,
    Opaque,
    ReasoningPart,
    TextPart,
    Thinking,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from polychat.wire.anthropic import (
    VENDOR,
    path,
    read_count_request,
    read_request,
    write_count_request,
    write_request,
    writer,
)
from polychat.wire.json_text import encoded
from polychat.wire.limits import ReaderLimits

HI = [ChatMessage("user", [TextPart("hi")])]


def written(request: ChatRequest, vendor: str = VENDOR) -> dict[str, Any]:
    """The body as JSON brings it to the other side."""
    return dict(json.loads(encoded(write_request(request, vendor=vendor))))


def read(body: Any, **options: Any) -> ChatRequest:
    return read_request(json.dumps(body).encode(), **options)


def messages(*contents: Any, **fields: Any) -> dict[str, Any]:
    """A body whose messages are user's and assistant's in turn."""
    messages = [{"role": "assistant" if at % 2 else "user", "content": content} for at, content in enumerate(contents)]
    return {"model": "m", "max_tokens": 9, "messages": messages, **fields}


def parts_of(request: ChatRequest) -> list[Any]:
    return [part for turn in request.messages for part in turn.parts]


PNG = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
FULL: dict[str, Any] = {
    "model": "claude-opus-5",
    "max_tokens": 1024,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look", "cache_control": {"type": "ephemeral"}},
                {"type": "image", "source": PNG},
                {"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}},
                {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
                {"type": "document", "source": {"type": "url", "url": "https://a.example/x.pdf"}, "title": "X", "context": "c"},
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "words"},
                    "citations": {"enabled": True},
                },
                {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "chunk"}]}},
                {"type": "document", "source": {"type": "file", "file_id": "file_2"}},
                {"type": "search_result", "source": "https://s.example", "content": [{"type": "text", "text": "r"}]},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig=="},
                {"type": "redacted_thinking", "data": "xyz"},
                {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
                {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result"}]},
                {
                    "type": "text",
                    "text": "cited",
                    "citations": [{"type": "web_search_result_location", "encrypted_index": "E", "url": "u", "title": "t"}],
                },
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}, "caller": {"type": "code"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "is_error": True,
                    "content": [
                        {"type": "text", "text": "no"},
                        {"type": "image", "source": PNG},
                        {"type": "tool_reference", "tool_name": "g"},
                    ],
                },
                {"type": "text", "text": "go on"},
            ],
        },
        {"role": "system", "content": "Now in French."},
    ],
    "tools": [
        {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}, "strict": True, "x": 1},
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
    ],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
    "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "stop_sequences": ["END"],
    "temperature": 1.0,
    "top_p": 0.9,
    "top_k": 4,
    "metadata": {"user_id": "u-1"},
    "service_tier": "standard_only",
    "stream": True,
    "container": {"id": "c"},
    "inference_geo": "us",
}  # fmt: skip


def test_all_of_the_wire_goes_through() -> None:
    """A request with everything the API documents is the same after being read and written."""
    assert written(read(FULL)) == FULL


def test_all_of_the_wire_in_common_words() -> None:
    """The fields mean what the common words say."""
    request = read(FULL)
    assert (request.model, request.max_tokens, request.stream, request.user, request.service_tier) == (
        "claude-opus-5",
        1024,
        True,
        "u-1",
        "default",
    )
    assert request.messages[0] == ChatMessage("system", [TextPart("Be brief.", "1h")])
    assert [turn.role for turn in request.messages] == ["system", "user", "assistant", "tool", "user", "system"]
    image, linked, held, pdf, words, chunk, stored = request.messages[1].parts[1:8]
    assert image == ImagePart(data=b"\0\0\0", media_type="image/png")
    assert linked == ImagePart(url="https://a.example/x.png")
    assert isinstance(held, FilePart)
    assert isinstance(stored, FilePart)
    assert (held.id, stored.id) == ("file_1", "file_2")
    assert pdf == FilePart(url="https://a.example/x.pdf", name="X", extra={"context": "c"})
    assert words == FilePart(data=b"words", media_type="text/plain", extra={"citations": {"enabled": True}})
    assert isinstance(chunk, FilePart)
    assert chunk.data == b"chunk"
    thought, redacted, ran = request.messages[2].parts[:3]
    assert thought == ReasoningPart("hm", Opaque(VENDOR, "sig=="))
    assert redacted == ReasoningPart("", Opaque(VENDOR, "xyz", redacted=True))
    assert isinstance(ran, ReasoningPart)
    result = request.messages[3].parts[0]
    assert isinstance(result, ToolResult)
    assert (result.id, result.name, result.is_error) == ("toolu_1", "f", True)
    assert request.tools[1] == HostedTool("web_search_20250305", FULL["tools"][1])
    assert request.tool_choice == ToolChoice("named", "f")
    assert request.parallel_tool_calls is False
    assert request.reasoning == Thinking("xhigh", 2048, "none")
    assert request.format == Format("schema", {"type": "object"})
    assert request.stop == ["END"]


@pytest.mark.parametrize(
    "original",
    [
        {"thinking": {"type": "adaptive"}},
        {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"}},
        {"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}},
        {"thinking": {"type": "between_tools"}, "output_config": {"effort": "high"}},
        {"thinking": {"type": "between_tools"}},
        {"output_config": {"effort": "high", "task_budget": {"type": "tokens", "total": 1}}},
        {"metadata": {"user_id": "u", "more": "x"}},
        {"service_tier": "auto"},
        {"cache_control": {"type": "ephemeral"}},
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "none"}},
        {"tools": [{"name": "f", "input_schema": {"a": 1}, "cache_control": {"type": "ephemeral", "scope": "global"}}]},
    ],
)  # fmt: skip
def test_a_body_is_the_same_again(original: dict[str, Any]) -> None:
    """What has no common word stays through a read and a write."""
    body = messages("hi", **original)
    assert written(read(body)) == body


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({"messages": []}, "model"),
        ({"model": "m"}, "messages"),
        (messages("hi", system=[{"type": "image"}]), "system[0].type"),
        (messages([{"type": "text"}]), "messages[0].content[0].text"),
        (messages([{"type": "txt", "text": "x"}]), "messages[0].content[0].type"),
        (messages([{"type": "image", "source": {"type": "url"}}]), "messages[0].content[0].source.url"),
        (messages([{"type": "image", "source": {**PNG, "data": "%"}}]), "messages[0].content[0].source.data"),
        (messages("hi", [{"type": "tool_use", "id": "a", "name": "f", "input": "{}"}]), "messages[1].content[0].input"),
        (messages([{"type": "tool_result"}]), "messages[0].content[0].tool_use_id"),
        (
            messages([{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "x"}]}]),
            "messages[0].content[0].content[0].type",
        ),
        (
            messages([{"type": "text", "text": "x", "cache_control": {"type": "forever"}}]),
            "messages[0].content[0].cache_control.type",
        ),
        ({"model": "m", "messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        (messages("hi", tools=[{"name": "f", "input_schema": 1}]), "tools[0].input_schema"),
        (messages("hi", tool_choice={"type": "tool"}), "tool_choice.name"),
        (messages("hi", tool_choice={"type": "some"}), "tool_choice.type"),
        (messages("hi", temperature="warm"), "temperature"),
        (messages("hi", stream="yes"), "stream"),
        (messages("hi", max_tokens=1.5), "max_tokens"),
        (messages("hi", stop_sequences=[1]), "stop_sequences[0]"),
        (messages("hi", thinking={"type": "enabled", "budget_tokens": 0}), "thinking.budget_tokens"),
        (messages("hi", output_config={"format": {"type": "grammar"}}), "output_config.format.type"),
        (messages("hi", output_config={"format": {"type": "json_schema"}}), "output_config.format.schema"),
    ],
)  # fmt: skip
def test_what_is_not_the_wire_is_named(body: Any, field: str) -> None:
    """A client's mistake is BadInput with the path of the field."""
    with pytest.raises(BadInput) as caught:
        read(body)
    assert caught.value.field == field
    assert field in str(caught.value)


def test_bodies_that_are_no_json() -> None:
    """Broken and deep JSON are BadInput too."""
    for body in (b"", b"{", b"[" * 99 + b"]" * 99, b'{"model": NaN}'):
        with pytest.raises(BadInput, match="body"):
            read_request(body)
    with pytest.raises(BadInput, match="deep"):
        read_request(json.dumps(messages("hi")).encode(), limits=ReaderLimits(depth=2))


def test_the_path_may_name_the_model_and_the_stream() -> None:
    """Where a dialect has them elsewhere, the body's are not looked at."""
    request = read(messages("hi", stream=True), model="other", stream=False)
    assert (request.model, request.stream) == ("other", False)
    assert path(request) == "/v1/messages"


@pytest.mark.parametrize(
    "opaque", [Opaque("gemini", "g==", None), Opaque("openai", "e", "rs_1"), Opaque("openai", "e.f", "rs.1", True)]
)
def test_anothers_signature_comes_back_as_it_was(opaque: Opaque) -> None:
    """What our writer put into this wire's places is its vendor's again when the client sends it back."""
    thought = Reasoning("" if opaque.redacted else "hm", opaque)
    signed = replace(opaque, redacted=False)
    events = [
        thought,
        Text("x"),
        ToolCallPiece(0, "a", "f", "{}", signed),
        ToolCallPiece(1, "b", "g", "{}"),
        Finish("complete"),
    ]
    answer = writer(ChatRequest("m", HI), "1", 0)
    answer.write(events)
    body = messages("hi", json.loads(answer.end())["content"])
    parts = read(body).messages[1].parts
    assert parts == [
        ReasoningPart(thought.text, opaque),
        TextPart("x"),
        ToolCall("a", "f", "{}", signed),
        ToolCall("b", "g", "{}"),
    ]


def test_our_own_citations_do_not_reach_the_api() -> None:
    """A citation whose index only the API could have made is dropped where it has none."""
    cited = [{"type": "web_search_result_location", "encrypted_index": "", "url": "u"}]
    request = read(messages("hi", [{"type": "text", "text": "x", "citations": cited}]))
    assert parts_of(request)[1] == TextPart("x")


def test_counting_asks_for_the_same_tokens() -> None:
    """What count_tokens takes of a request is the request's; it takes no limit and no stream."""
    request = read(FULL)
    counted = write_count_request(request)
    assert not {"max_tokens", "stream", "temperature", "metadata"} & set(counted)
    assert {name: FULL[name] for name in counted} == counted
    again = read_count_request(json.dumps(counted).encode())
    assert again.messages == request.messages
    assert again.max_tokens is None


def read_or_refused(body: bytes) -> ChatRequest | None:
    """The ask, or ``None`` where it was refused for a field; anything else is raised."""
    try:
        return read_request(body)
    except BadInput as error:
        return None if error.field else read_request(body)


NAMES = st.sampled_from(
    [
        *FULL,
        *("role", "content", "type", "text", "source", "data", "url", "media_type", "file_id", "id", "name", "input"),
        *("tool_use_id", "is_error", "cache_control", "ttl", "citations", "signature", "input_schema", "effort", "format"),
        *("schema", "budget_tokens", "user_id"),
    ]
)
WORDS = st.sampled_from(
    [
        *(
            "user",
            "assistant",
            "system",
            "text",
            "image",
            "document",
            "tool_use",
            "tool_result",
            "thinking",
            "redacted_thinking",
        ),
        *(
            "server_tool_use",
            "base64",
            "url",
            "file",
            "content",
            "ephemeral",
            "enabled",
            "adaptive",
            "json_schema",
            "pc1.a~r~b.c",
        ),
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_json_is_read_or_refused(data: st.DataObject) -> None:
    """Full requests with values put in anywhere: an ask that can be written again, or BadInput; nothing else."""
    body = json.loads(json.dumps(FULL))
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = body
        for _ in range(data.draw(st.integers(0, 4))):
            inner = [
                key
                for key, value in (place.items() if isinstance(place, dict) else enumerate(place))
                if isinstance(value, dict | list) and value
            ]
            if not inner:
                break
            place = place[data.draw(st.sampled_from(inner))]
        key = data.draw(NAMES if isinstance(place, dict) else st.integers(0, len(place) - 1))
        place[key] = data.draw(VALUES)
    request = read_or_refused(json.dumps(body).encode())
    if request is not None:
        encoded(write_request(request))


@settings(max_examples=100)
@given(st.binary(max_size=100) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """No bytes raise anything but BadInput."""
    read_or_refused(body)

"""Asks on OpenAI's chat completions: written, and read back as they were."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadInput
from polychat.types import (
    AudioPart,
    ChatMessage,
    ChatRequest,
    FilePart,
    Format,
    HostedTool,
    ImagePart,
    Opaque,
    ReasoningPart,
    RefusalPart,
    TextPart,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from polychat.wire import openai_chat as wire
from polychat.wire.efforts import effort_of
from polychat.wire.limits import ReaderLimits
from polychat.wire.losses import losses

from ...support.random_requests import asks, plain

HELLO = [{"role": "user", "content": "hi"}]


def read(body: Any, **options: Any) -> ChatRequest:
    return wire.read_request(json.dumps(body).encode(), **options)


def back(chat_request: ChatRequest, vendor: str = "openai") -> ChatRequest:
    return wire.read_request(json.dumps(wire.write_request(chat_request, vendor)).encode())


def normal(chat_request: ChatRequest) -> ChatRequest:
    """Thoughts that nobody signed are one; no tokens of thought are counted."""
    thinking = chat_request.reasoning
    if thinking is not None and thinking.budget is not None:
        effort = effort_of(thinking)
        thinking = None if effort is None else Thinking(effort)  # type: ignore[arg-type]
    return replace(
        chat_request,
        messages=[replace(turn, parts=_thoughts(turn.parts)) for turn in chat_request.messages],
        reasoning=thinking,
    )


def _thoughts(parts: list[Any]) -> list[Any]:
    thoughts = [part for part in parts if isinstance(part, ReasoningPart)]
    if any(part.opaque is not None for part in thoughts) or not thoughts:
        return parts
    return [ReasoningPart("\n\n".join(part.text for part in thoughts)), *parts[len(thoughts) :]]


def marks_gone(chat_request: ChatRequest) -> ChatRequest:
    """Marks of caching go on only where they came on this wire."""

    def bare(value: Any) -> Any:
        parts = {"parts": [bare(part) for part in value.parts]} if hasattr(value, "parts") else {}
        return replace(value, **parts, **({"cache": None} if hasattr(value, "cache") else {}))

    return replace(
        chat_request, messages=[bare(turn) for turn in chat_request.messages], tools=[bare(tool) for tool in chat_request.tools]
    )


@settings(max_examples=100, deadline=None)
@given(asks(without=["parts.result.image", "parts.result.file"]))
def test_an_ask_comes_back_as_it_was(chat_request: ChatRequest) -> None:
    """Whatever the ledger does not drop is read as it was written; no other vendor's opaque parts are."""
    assert back(chat_request) == normal(marks_gone(plain(chat_request, wire.SUPPORT, wire.NAME)))


@settings(max_examples=100, deadline=None)
@given(asks(wire=wire.NAME))
def test_an_ask_of_this_wire_loses_nothing(chat_request: ChatRequest) -> None:
    """What only this wire knows, at any place, marks of caching and images in results are all there again."""
    assert back(chat_request) == normal(plain(chat_request, wire.SUPPORT, wire.NAME))


@settings(max_examples=50, deadline=None)
@given(asks(vendors=["openai", "openrouter"]))
def test_signatures_go_to_their_own_vendor_alone(chat_request: ChatRequest) -> None:
    """Of two vendors' opaque parts only those of the asked one are in the body."""
    body = json.dumps(wire.write_request(chat_request, "openrouter"))
    opaques = [
        part.opaque for turn in chat_request.messages for part in turn.parts if isinstance(part, ReasoningPart | ToolCall)
    ]
    for opaque in opaques:
        if opaque is not None and opaque.vendor == "openrouter":
            assert json.dumps(opaque.data) in body
    bare = replace(chat_request, messages=[turn for turn in chat_request.messages if turn.role == "assistant"])
    for turn in bare.messages:
        turn.parts = [replace(part, opaque=_foreign(part.opaque)) if hasattr(part, "opaque") else part for part in turn.parts]
    assert "signature" not in json.dumps(wire.write_request(bare, "openrouter"))


def _foreign(opaque: Opaque | None) -> Opaque | None:
    return None if opaque is None else replace(opaque, vendor="another")


def test_the_body_in_openais_words() -> None:
    """Every mapped field has OpenAI's name and shape."""
    chat_request = ChatRequest(
        "m",
        [
            ChatMessage("system", [TextPart("be brief")]),
            ChatMessage("user", [TextPart("look"), ImagePart(data=b"x", media_type="image/png")]),
        ],
        tools=[Tool("f", "does", {"type": "object"}, strict=True)],
        tool_choice=ToolChoice("named", "f"),
        format=Format("schema", {"type": "object"}, "thing", strict=True),
        max_tokens=5,
        logprobs=2,
        stop=["x"],
        reasoning=Thinking("low"),
        stream=True,
        stream_usage=True,
    )
    assert wire.write_request(chat_request) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,eA=="}},
                ],
            },
        ],
        "max_completion_tokens": 5,
        "stop": ["x"],
        "logprobs": True,
        "top_logprobs": 2,
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "description": "does", "parameters": {"type": "object"}, "strict": True},
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "thing", "schema": {"type": "object"}, "strict": True},
        },
        "reasoning_effort": "low",
    }
    assert wire.path(chat_request) == "/chat/completions"


def test_images_in_results_are_shown_behind_them() -> None:
    """A tool's message is text here: the image follows in a user's message, which names the tool; the ledger says so."""
    result = ToolResult("c", [TextPart("done"), ImagePart(url="https://a.example/x.png")], "shoot")
    chat_request = ChatRequest(
        "m", [ChatMessage("user", [TextPart("go")]), ChatMessage("tool", [result, ToolResult("d", [TextPart("ok")])])]
    )
    first, second, shown = wire.write_request(chat_request)["messages"][1:]
    assert [part["text"] for part in first["content"]] == ["done", wire.message_writer.BELOW]
    assert second["content"] == "ok"
    assert shown["role"] == "user"
    assert "shoot" in shown["content"][0]["text"]
    assert shown["content"][1]["image_url"]["url"] == "https://a.example/x.png"
    assert {loss.field: loss.kind for loss in losses(chat_request, wire.SUPPORT, wire.NAME, "openai")} == {
        "parts.result.image": "emulated"
    }


def test_a_choice_of_tools_goes_with_tools() -> None:
    """Where the only tools are another vendor's own, no choice among them is left."""
    chat_request = ChatRequest(
        "m", [ChatMessage("user", [TextPart("x")])], [HostedTool("google_search", {})], ToolChoice("auto"), True
    )
    assert set(wire.write_request(chat_request)) == {"model", "messages"}


def test_a_details_own_fields_go_back_as_they_came() -> None:
    """A signed thought that was kept whole is written with the format and index its vendor gave it."""
    whole = {"type": "reasoning.summary", "format": "openai-responses-v1", "index": 1, "signature": "s"}
    part = ReasoningPart("so", Opaque("openrouter", json.dumps(whole)))
    message = wire.write_request(ChatRequest("m", [ChatMessage("assistant", [part, TextPart("x")])]), "openrouter")["messages"][
        0
    ]
    assert message == {"role": "assistant", "content": "x", "reasoning_details": [{**whole, "summary": "so"}]}


DIALECTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"max_tokens": 7}, {"max_tokens": 7}),
    ({"max_tokens": 7, "max_completion_tokens": 8}, {"max_tokens": 8}),
    ({"max_completion_tokens": 8.0}, {"max_tokens": 8}),
    ({"stop": "x"}, {"stop": ["x"]}),
    ({"logprobs": True}, {"logprobs": 0}),
    ({"logprobs": False, "top_logprobs": 0}, {"logprobs": None}),
    ({"reasoning_effort": "high"}, {"reasoning": Thinking("high")}),
    ({"reasoning_effort": "max"}, {"reasoning": Thinking("xhigh"), "extra": {"reasoning_effort": "max"}}),
    ({"reasoning": {"max_tokens": 9}}, {"reasoning": Thinking(budget=9), "extra": {"reasoning": {"max_tokens": 9}}}),
    ({"reasoning": {"enabled": True, "exclude": True}}, {"reasoning": Thinking("medium", summary="none")}),
    ({"reasoning": {"enabled": False}}, {"reasoning": Thinking("none")}),
    ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True, "stream_usage": True, "extra": {}}),
    ({"stream_options": {"include_obfuscation": False}}, {"extra": {"stream_options": {"include_obfuscation": False}}}),
    ({"tool_choice": "any"}, {"tool_choice": ToolChoice("required")}),
    ({"tool_choice": {"type": "custom", "custom": {"name": "x"}}}, {"tool_choice": ToolChoice("named", "x")}),
    ({"functions": [{"name": "f", "parameters": {}}]}, {"tools": [Tool("f", None, {})]}),
    ({"function_call": {"name": "f"}}, {"tool_choice": ToolChoice("named", "f")}),
    ({"function_call": "none"}, {"tool_choice": ToolChoice("none")}),
    ({"tools": [{"type": "web_search", "a": 1}]}, {"tools": [HostedTool("web_search", {"type": "web_search", "a": 1})]}),
    ({"tools": [{"name": "f"}]}, {"tools": [Tool("f")]}),
    ({"response_format": {"type": "text"}}, {"format": Format("text")}),
    ({"temperature": None, "tools": None, "seed": None}, {"temperature": None, "tools": [], "extra": {}}),
    ({"safety_identifier": "x", "modalities": ["text"]}, {"extra": {"safety_identifier": "x", "modalities": ["text"]}}),
]


@pytest.mark.parametrize(("fields", "expected"), DIALECTS, ids=lambda value: ",".join(value))
def test_the_fields_of_every_dialect_are_read(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Older names, other vendors' words and what only this wire knows are all understood, and go on as they came."""
    chat_request = read({"model": "m", "messages": HELLO, **fields})
    assert {name: getattr(chat_request, name) for name in expected} == expected
    written = wire.write_request(chat_request)
    for name in chat_request.extra:
        assert written[name] == fields[name]


MESSAGES: list[tuple[dict[str, Any], ChatMessage]] = [
    ({"role": "user", "content": ""}, ChatMessage("user", [])),
    ({"role": "developer", "content": "x", "name": "n"}, ChatMessage("developer", [TextPart("x")], "n")),
    ({"role": "user", "content": "x", "weight": 1}, ChatMessage("user", [TextPart("x")], extra={"weight": 1})),
    (
        {"role": "user", "content": [{"type": "image_url", "image_url": "https://a.example"}]},
        ChatMessage("user", [ImagePart(url="https://a.example")]),
    ),
    (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example", "fps": 1}, "y": 2}]},
        ChatMessage("user", [ImagePart(url="https://a.example", extra={"y": 2, "image_url": {"fps": 1}})]),
    ),
    (
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "eA==", "format": "mp3"}}]},
        ChatMessage("user", [AudioPart(b"x", "audio/mpeg")]),
    ),
    (
        {"role": "user", "content": [{"type": "file", "file": {"file_data": "https://a.example/x.pdf"}}]},
        ChatMessage("user", [FilePart(url="https://a.example/x.pdf")]),
    ),
    (
        {"role": "user", "content": [{"type": "file", "file": {"file_data": b64encode(b"%PDF-1").decode(), "filename": "x"}}]},
        ChatMessage("user", [FilePart(data=b"%PDF-1", media_type="application/pdf", name="x")]),
    ),
    (
        {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
        ChatMessage("user", [TextPart("x", "1h")]),
    ),
    (
        {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "9h"}}]},
        ChatMessage("user", [TextPart("x", extra={"cache_control": {"type": "ephemeral", "ttl": "9h"}})]),
    ),
    ({"role": "assistant", "content": None, "refusal": "no"}, ChatMessage("assistant", [RefusalPart("no")])),
    (
        {"role": "assistant", "content": "x", "reasoning_content": "hm", "reasoning": "hm"},
        ChatMessage("assistant", [ReasoningPart("hm"), TextPart("x")]),
    ),
    (
        {
            "role": "assistant",
            "content": "x",
            "reasoning": "hm",
            "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s", "format": "f"}],
        },
        ChatMessage("assistant", [ReasoningPart("hm", Opaque("openai", "s"), {"format": "f"}), TextPart("x")]),
    ),
    (
        {"role": "assistant", "reasoning_details": [{"type": "reasoning.encrypted", "data": "pc1.gemini~r.abc"}]},
        ChatMessage("assistant", [ReasoningPart("", Opaque("gemini", "abc", redacted=True))]),
    ),
    (
        {"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
        ChatMessage("assistant", [ReasoningPart("hm")]),
    ),
]


@pytest.mark.parametrize(("message", "turn"), MESSAGES, ids=range(len(MESSAGES)))
def test_messages_of_every_dialect_are_read(message: dict[str, Any], turn: ChatMessage) -> None:
    """Each shape of a message becomes its turn."""
    assert wire.read_messages([message]) == [turn]


def test_results_of_one_round_are_one_turn() -> None:
    """Each knows its tool's name from the call; a result that is over begins no turn of its own."""
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "tool_calls": [{"id": "a", **call}, {"id": "b", **call}]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "2"}]},
    ]
    assert wire.read_messages(messages) == [
        ChatMessage("assistant", [ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}")]),
        ChatMessage("tool", [ToolResult("a", [TextPart("1")], "f"), ToolResult("b", [TextPart("2")], "f")]),
    ]


def test_functions_as_tools_were_called_before() -> None:
    """Such a call has no id; one is made, and the result by the function's name goes with the last call of it."""
    called = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    given_back = {"role": "function", "name": "f", "content": "1"}
    turns = wire.read_messages([called, given_back, called, given_back])
    calls = [part.id for turn in turns for part in turn.parts if isinstance(part, ToolCall)]
    results = [part.id for turn in turns for part in turn.parts if isinstance(part, ToolResult)]
    assert calls == results
    assert len(set(calls)) == 2


def test_the_path_may_say_the_model_and_whether_to_stream() -> None:
    """Where a dialect has them in its path they win over the body's."""
    chat_request = read({"model": "body", "messages": HELLO, "stream": False}, model="path", stream=True)
    assert (chat_request.model, chat_request.stream, chat_request.wire) == ("path", True, "openai-chat")


def with_part(part: Any) -> Any:
    return {"messages": [{"role": "user", "content": [part]}]}


def with_call(call: Any) -> Any:
    return {"messages": [{"role": "assistant", "tool_calls": [call]}]}


PART, CALL = "messages[0].content[0]", "messages[0].tool_calls[0]"
WRONG: list[tuple[Any, str]] = [
    ([], "body"),
    ({"messages": HELLO}, "model"),
    ({"model": "m"}, "messages"),
    ({"model": "m", "messages": []}, "messages"),
    ({"model": "m", "messages": "hi"}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role"),
    ({"messages": [*HELLO, {"role": "user"}]}, "messages[1].content"),
    (with_part({"type": "image_url"}), f"{PART}.image_url"),
    (with_part({"type": "image_url", "image_url": {"url": 1}}), f"{PART}.image_url.url"),
    (with_part({"type": "image_url", "image_url": {"url": "data:x"}}), f"{PART}.image_url.url"),
    (with_part({"type": "hologram"}), f"{PART}.type"),
    (with_part({"type": "input_audio", "input_audio": {"format": "wav", "data": "!"}}), f"{PART}.input_audio.data"),
    (with_part({"type": "file", "file": {}}), f"{PART}.file.file_data"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "tool", "tool_call_id": "a", "content": [{"type": "refusal", "refusal": "x"}]}]}, PART),
    (with_call({"id": "a"}), f"{CALL}.function"),
    (with_call({"function": {"name": "f"}}), f"{CALL}.id"),
    (with_call({"type": "custom", "id": "a", "function": {}}), f"{CALL}.custom"),
    ({"messages": [{"role": "assistant", "reasoning_details": ["x"]}]}, "messages[0].reasoning_details[0]"),
    ({"temperature": "warm"}, "temperature"),
    ({"n": 1.5}, "n"),
    ({"stream": "yes"}, "stream"),
    ({"stop": ["x", 1]}, "stop[1]"),
    ({"metadata": {"a": 1}}, "metadata.a"),
    ({"logit_bias": {"a": "b"}}, "logit_bias.a"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters"),
    ({"tool_choice": "maybe"}, "tool_choice"),
    ({"response_format": {"type": "json_schema"}}, "response_format"),
    ({"reasoning_effort": "some"}, "reasoning_effort"),
    ({"reasoning": {"max_tokens": "x"}}, "reasoning.max_tokens"),
    ({"stream_options": []}, "stream_options"),
]


@pytest.mark.parametrize(("body", "field"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_wrong_is_named(body: Any, field: str) -> None:
    """The error names the field by its path."""
    if isinstance(body, dict) and field not in ("model", "messages"):
        body = {"model": "m", "messages": HELLO, **body}  # only one thing is wrong with it
    with pytest.raises(BadInput) as caught:
        read(body)
    assert caught.value.field == field


def test_a_body_that_is_too_deep_or_no_json_is_refused() -> None:
    """The limits of JSON are a caller's to say."""
    for body in (b"", b"{", b"\xff", b'{"model":"m","messages":[{"role":"user","content":"x"}]}'):
        with pytest.raises(BadInput) as caught:
            wire.read_request(body, limits=ReaderLimits(depth=2))
        assert caught.value.field == "body"


WORDS = st.sampled_from(
    [
        *("model", "messages", "role", "content", "type", "text", "image_url", "url", "tools", "function", "name", "id"),
        *("tool_calls", "tool_choice", "response_format", "json_schema", "schema", "reasoning", "reasoning_details", "file"),
        *("file_data", "stop", "metadata", "logit_bias", "stream_options", "function_call", "functions", "extra_content"),
        *("cache_control", "arguments"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=15,
)
ROLES = st.sampled_from(["user", "assistant", "tool", "system", "function"])
SOME_MESSAGES = st.lists(st.fixed_dictionaries({"role": ROLES, "content": JSON, "tool_calls": JSON, "name": JSON}), max_size=3)
BODIES = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": st.just(HELLO) | JSON | SOME_MESSAGES},
    optional=dict.fromkeys(["tools", "tool_choice", "response_format", "reasoning", "stop", "function_call"], JSON),
)


@settings(max_examples=100, deadline=None)
@given(BODIES)
def test_no_json_breaks_the_reader(body: Any) -> None:
    """Anything that is JSON is an ask that can be written, or a BadInput that names a field."""
    try:
        chat_request = read(body)
    except BadInput as error:
        named = error.field
    else:
        named = json.dumps(wire.write_request(chat_request))
    assert named


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=40))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    """Anything that is no JSON is a BadInput."""
    with pytest.raises(BadInput):
        wire.read_request(body)

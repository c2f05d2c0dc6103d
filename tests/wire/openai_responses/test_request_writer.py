"""OpenAI's Responses API, requests: written and read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadInput
from polychat.types import (
    ChatMessage,
    ChatRequest,
    FilePart,
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
from polychat.wire.fields import FIELDS
from polychat.wire.limits import ReaderLimits
from polychat.wire.losses import losses
from polychat.wire.openai_responses import NAME, SUPPORT, path, read_request, write_request

from ...support.random_requests import asks, plain

HELLO = [ChatMessage("user", [TextPart("Hello")])]


def read(body: Any, **more: Any) -> ChatRequest:
    return read_request(json.dumps(body).encode(), **more)


def back(chat_request: ChatRequest, vendor: str = "openai") -> ChatRequest:
    return read(write_request(chat_request, vendor))


def normal(chat_request: ChatRequest) -> ChatRequest:
    """What ``SUPPORT`` maps or emulates, as it comes back."""
    own = chat_request.wire == NAME
    chat_request = plain(chat_request, SUPPORT, NAME)
    turns = [replace(turn, parts=[_part(part, own) for part in turn.parts if _kept(part)]) for turn in chat_request.messages]
    for turn in turns:
        if turn.role == "tool" or (turn.role == "assistant" and not any(_is_message(part) for part in turn.parts)):
            turn.extra = None  # no message of its own could carry it
    thinking = chat_request.reasoning
    if thinking is not None:
        near = {None: None, -1: None, 0: "none", 1024: "low", 8192: "medium"}[thinking.budget]
        summary = None if thinking.summary == "none" else thinking.summary
        thinking = None if near is summary is thinking.effort is None else Thinking(thinking.effort or near, None, summary)
    tools: list[Any] = [replace(tool, strict=tool.strict if own else bool(tool.strict)) for tool in chat_request.tools]
    return replace(chat_request, messages=_joined(turns), reasoning=thinking, stream_usage=None, tools=tools)


def _kept(part: Any) -> bool:
    return not isinstance(part, ReasoningPart) or part.opaque is not None


def _is_message(part: Any) -> bool:
    return not isinstance(part, ReasoningPart | ToolCall)


def _part(part: Any, own: bool) -> Any:
    match part:
        case ReasoningPart(opaque=Opaque(redacted=True)):
            return replace(part, opaque=replace(part.opaque, redacted=False))
        case ImagePart(detail="auto"):
            return replace(part, detail=None)
        case FilePart(data=bytes(), name=None):
            return replace(part, name="document.pdf")
        case FilePart(data=None) if not own:
            return replace(part, name=None)
        case ToolResult():
            return replace(part, parts=[_part(one, own) for one in part.parts])
    return part


def _joined(turns: list[ChatMessage]) -> list[ChatMessage]:
    """Turns of nothing are no items; neighbours that speak as one are one."""
    joined: list[ChatMessage] = []
    for turn in turns:
        last = joined[-1] if joined else None
        if not turn.parts:
            continue
        if last is not None and last.role == turn.role == "assistant" and last.extra == turn.extra:
            last.parts = [*last.parts, *turn.parts]
        else:
            joined.append(turn)
    return joined


@settings(max_examples=100, deadline=None)
@given(asks(vendors=("openai", "anthropic")))
def test_asks_come_back(chat_request: ChatRequest) -> None:
    """What any caller asks comes back as it was, but for what the ledger says."""
    assert back(chat_request) == normal(chat_request)


@settings(max_examples=100, deadline=None)
@given(asks(wire=NAME, vendors=("openai",)))
def test_asks_of_this_wire_come_back(chat_request: ChatRequest) -> None:
    """What was read on this wire comes back with everything that only this wire knows."""
    assert back(chat_request) == normal(chat_request)


@settings(max_examples=60, deadline=None)
@given(asks(wire=NAME, vendors=("openai",)))
def test_bodies_come_back(chat_request: ChatRequest) -> None:
    """A body that was written, read and written again is the same."""
    body = write_request(chat_request)
    assert write_request(read(body)) == body


@given(asks(vendors=("openai", "gemini")))
def test_other_vendors(chat_request: ChatRequest) -> None:
    """A vendor that speaks this wire gets its own opaque parts, and no one else's."""
    opaques = [
        opaque for turn in chat_request.messages for part in turn.parts if (opaque := getattr(part, "opaque", None)) is not None
    ]
    for opaque in opaques:
        opaque.data = f"<{opaque.vendor}>"
    body = json.dumps(write_request(chat_request, "gemini"))
    assert "<openai>" not in body
    assert ("<gemini>" in body) == any(opaque.vendor == "gemini" for opaque in opaques)


def test_every_field_has_a_fate() -> None:
    """No field is forgotten, and what is lost has a reason."""
    assert set(SUPPORT) == set(FIELDS)
    assert all(support.note for support in SUPPORT.values() if support.kind in ("dropped", "emulated"))


def test_what_clients_send() -> None:
    """Easy input, echoed output with ids and statuses, and calls with their results are one conversation."""
    chat_request = read(
        {
            "model": "gpt-5",
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": "Weather?"},
                {"id": "rs_1", "type": "reasoning", "encrypted_content": "gAA", "summary": [], "status": None},
                {
                    "id": "msg_1",
                    "type": "message",
                    "status": "completed",
                    "role": "assistant",
                    "phase": "commentary",
                    "content": [{"type": "output_text", "text": "One moment.", "annotations": [], "logprobs": []}],
                },
                {"id": "fc_1", "type": "function_call", "status": "completed", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "rain"},
            ],
        }
    )
    assert path(chat_request) == "/responses"
    assert chat_request.messages == [
        ChatMessage("system", [TextPart("Be brief.")]),
        ChatMessage("user", [TextPart("Weather?")]),
        ChatMessage(
            "assistant",
            [ReasoningPart("", Opaque("openai", "gAA", "rs_1")), TextPart("One moment."), ToolCall("c", "f", "{}")],
            extra={"phase": "commentary"},
        ),
        ChatMessage("tool", [ToolResult("c", [TextPart("rain")], "f")]),
    ]
    assert read({"model": "m", "input": "Hi"}).messages == [ChatMessage("user", [TextPart("Hi")])]
    assert read({"model": "m", "previous_response_id": "resp_1"}).previous == "resp_1"


def test_phases() -> None:
    """Messages of one phase are one turn, those of another are another; each goes back with its phase."""
    items = [
        {"type": "message", "role": "assistant", "content": text, "phase": phase}
        for text, phase in (("a", "commentary"), ("b", "commentary"), ("c", "final_answer"))
    ]
    chat_request = read({"model": "m", "input": items})
    assert [turn.extra for turn in chat_request.messages] == [{"phase": "commentary"}, {"phase": "final_answer"}]
    assert [item["phase"] for item in write_request(chat_request)["input"]] == ["commentary", "final_answer"]


def test_items_of_the_backend() -> None:
    """References, searches, custom tools and stored thoughts go back where they stood, and are lost to other vendors only."""
    items = [
        {"type": "item_reference", "id": "msg_1"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "x"},
        {"type": "message", "role": "user", "content": "Go on"},
    ]
    chat_request = read({"model": "m", "input": items})
    assert write_request(chat_request)["input"] == items
    lost = [(loss.field, loss.detail) for loss in losses(chat_request, SUPPORT, NAME, "azure")]
    assert lost == [
        ("parts.item.foreign", "item_reference"),
        ("parts.opaque.foreign", "web_search_call reasoning"),
        ("parts.reasoning", ""),
    ]
    assert write_request(read({"model": "m", "input": [{"id": "msg_1"}]}))["input"] == items[:1]


def test_settings_of_this_wire() -> None:
    """Fields, tools, choices and values that only this API knows come back; in other words they are extras."""
    body = {
        "model": "gpt-5",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_image", "file_id": "file-1", "detail": "low"}]}
        ],
        "tools": [
            {"type": "web_search", "search_context_size": "low"},
            {"type": "function", "name": "f", "parameters": {"a": 1}},
        ],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]},
        "reasoning": {"effort": "max", "context": "all_turns"},
        "text": {"verbosity": "low", "later": True},
        "include": ["web_search_call.results", "reasoning.encrypted_content"],
        "truncation": "auto",
        "prompt_cache_key": "k",
        "background": False,
    }
    chat_request = read(body)
    assert chat_request.tools[0] == HostedTool("web_search", {"type": "web_search", "search_context_size": "low"})
    assert chat_request.reasoning == Thinking("xhigh")
    assert chat_request.verbosity == "low"
    assert write_request(chat_request) == body


def test_stateless() -> None:
    """Where nothing is to be stored, encrypted thoughts are asked for, but not of models that do not think."""
    chat_request = ChatRequest("gpt-5", HELLO, store=False)
    assert write_request(chat_request)["include"] == ["reasoning.encrypted_content"]
    assert "include" not in write_request(replace(chat_request, store=True))
    for model in ("gpt-4o", "gpt-4.1-mini", "openai/gpt-4o-mini", "chatgpt-4o-latest", "gpt-3.5-turbo"):
        assert "include" not in write_request(replace(chat_request, model=model))
    assert write_request(replace(chat_request, model="o3", logprobs=2)) == {
        "model": "o3",
        "input": [{"type": "message", "role": "user", "content": "Hello"}],
        "store": False,
        "top_logprobs": 2,
        "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
    }


def test_thoughts() -> None:
    """OpenAI gets no thoughts that it did not encrypt; a server that thinks in the open gets them as text."""
    chat_request = ChatRequest("m", [*HELLO, ChatMessage("assistant", [ReasoningPart("Hm"), TextPart("Hi")]), *HELLO])
    assert [item["type"] for item in write_request(chat_request)["input"]] == ["message", "message", "message"]
    item = write_request(chat_request, "vllm")["input"][1]
    assert item["content"] == [{"type": "reasoning_text", "text": "Hm"}]
    assert item["summary"] == []
    assert back(chat_request, "vllm").messages[1].parts[0] == ReasoningPart("Hm")


def test_signatures_of_calls() -> None:
    """A call's signature travels in an item beside it, and comes back on the call whichever comes first."""
    signed = {"type": "reasoning", "id": "rs_pc1_x_1", "summary": [], "encrypted_content": "call~c%2E1.pc1.gemini.sig"}
    call = {"type": "function_call", "call_id": "c.1", "name": "f", "arguments": "{}"}
    for items in ([signed, call], [call, signed]):
        chat_request = read({"model": "m", "input": items})
        assert chat_request.messages == [ChatMessage("assistant", [ToolCall("c.1", "f", "{}", Opaque("gemini", "sig"))])]
    other = {"type": "reasoning", "id": "rs_pc1_x_1", "summary": [], "encrypted_content": "pc1.anthropic~r~id.data"}
    thought = read({"model": "m", "input": [other]}).messages[0].parts[0]
    assert thought == ReasoningPart("", Opaque("anthropic", "data", "id", redacted=True))


def test_tools_of_others_stay_out() -> None:
    """A hosted tool of another wire is not sent."""
    chat_request = ChatRequest(
        "m", HELLO, [HostedTool("web_search_20250305", {"type": "web_search_20250305"}), Tool("f")], ToolChoice("auto")
    )
    assert [tool["type"] for tool in write_request(chat_request)["tools"]] == ["function"]
    assert write_request(chat_request)["tools"][0]["strict"] is False


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "model"),
        ({"model": "m"}, "input"),
        ({"model": "m", "input": 7}, "input"),
        ({"model": "m", "input": [7]}, "input[0]"),
        ({"model": "m", "input": [{}]}, "input[0].id"),
        ({"model": "m", "input": [{"role": "robot", "content": ""}]}, "input[0].role"),
        ({"model": "m", "input": [{"role": "user", "content": [{"type": "video"}]}]}, "input[0].content[0].type"),
        ({"model": "m", "input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].image_url"),
        (
            {"model": "m", "input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png,x"}]}]},
            "input[0].content[0].image_url",
        ),
        ({"model": "m", "input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0]"),
        ({"model": "m", "input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "input[0].arguments"),
        ({"model": "m", "input": [{"type": "function_call_output", "output": ""}]}, "input[0].call_id"),
        (
            {
                "model": "m",
                "input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "refusal", "refusal": ""}]}],
            },
            "input[0].output[0].type",
        ),
        ({"model": "m", "input": "", "tools": [{"type": "function"}]}, "tools[0].name"),
        ({"model": "m", "input": "", "tool_choice": "always"}, "tool_choice"),
        ({"model": "m", "input": "", "tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"model": "m", "input": "", "text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"model": "m", "input": "", "text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"model": "m", "input": "", "metadata": {"a": 1}}, "metadata.a"),
        ({"model": "m", "input": "", "include": "x"}, "include"),
        ({"model": "m", "input": "", "max_output_tokens": -1}, "max_output_tokens"),
        ({"model": "m", "input": "", "stream": "yes"}, "stream"),
    ],
)
def test_bad_requests(body: Any, field: str) -> None:
    """What would change an ask's meaning is refused, by the field that is at fault."""
    with pytest.raises(BadInput) as caught:
        read(body)
    assert caught.value.field == field


def test_limits() -> None:
    """A body deeper than the limit is refused."""
    with pytest.raises(BadInput) as caught:
        read_request(b"[" * 99, limits=ReaderLimits(depth=9))
    assert caught.value.field == "body"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "role", "content", "id", "call_id", "name", "arguments", "output", "summary", "text", "format"),
                    *("encrypted_content", "image_url", "file_data", "input_audio", "effort", "schema", "detail", "refusal"),
                ]
            ),
            inner
            | st.sampled_from(
                [
                    *("message", "function_call", "function_call_output", "reasoning", "input_image", "input_file", "user"),
                    *(
                        "assistant",
                        "input_text",
                        "input_audio",
                        "json_schema",
                        "function",
                        "data:image/png;base64,AA==",
                        "call~a.b",
                    ),
                ]
            ),
            max_size=5,
        )
    ),
    max_leaves=20,
)
_FIELDS = ["input", "tools", "tool_choice", "text", "reasoning", "include", "metadata", "instructions", "top_logprobs", "x"]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(_FIELDS), _VALUES | st.lists(_VALUES, max_size=3), max_size=4), st.binary(max_size=9))
def test_fuzz(body: dict[str, Any], junk: bytes) -> None:
    """Whatever is asked is an ask, which can be written, or is refused by a field."""
    for data in (json.dumps({"model": "m", "input": [], **body}).encode(), junk):
        if (chat_request := _tried(data)) is not None:
            again = write_request(chat_request)
            assert write_request(read(again)) == again


def _tried(data: bytes) -> ChatRequest | None:
    """The ask; ``None`` where it was refused by a field."""
    try:
        return read_request(data)
    except BadInput as refused:
        return None if refused.field else pytest.fail("no field is named")


@pytest.mark.parametrize(
    ("role", "kind"),
    [("assistant", "output_text"), ("user", "input_text"), ("system", "input_text"), ("developer", "input_text")],
)
def test_texts_are_of_the_kind_that_their_role_has(role: Any, kind: str) -> None:
    """The API refuses a model's text as an input, and a prompt's text as an output."""
    turn = ChatMessage(role, [TextPart("a"), RefusalPart("no") if role == "assistant" else TextPart("b", extra={"x": 1})])
    items = write_request(ChatRequest("m", [turn], wire=NAME), "openai")["input"]
    parts = [part for item in items for part in item["content"] if isinstance(part, dict)]
    assert {part["type"] for part in parts} - {"refusal"} == {kind}

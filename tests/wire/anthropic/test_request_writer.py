"""Anthropic Messages, both halves of the chat_request."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from polychat.errors import BadInput
from polychat.types import (
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
from polychat.wire.anthropic import (
    NAME,
    SUPPORT,
    VENDOR,
    read_request,
    write_request,
)
from polychat.wire.json_text import decoded, encoded
from polychat.wire.losses import losses

from ...support.random_requests import asks, plain

HI = [ChatMessage("user", [TextPart("hi")])]


def written(chat_request: ChatRequest, vendor: str = VENDOR) -> dict[str, Any]:
    """The body as JSON brings it to the other side."""
    return dict(json.loads(encoded(write_request(chat_request, vendor=vendor))))


def read(body: Any, **options: Any) -> ChatRequest:
    return read_request(json.dumps(body).encode(), **options)


def messages(*contents: Any, **fields: Any) -> dict[str, Any]:
    """A body whose messages are user's and assistant's in turn."""
    messages = [{"role": "assistant" if at % 2 else "user", "content": content} for at, content in enumerate(contents)]
    return {"model": "m", "max_tokens": 9, "messages": messages, **fields}


def parts_of(chat_request: ChatRequest) -> list[Any]:
    return [part for turn in chat_request.messages for part in turn.parts]


# What a round trip brings back: the ask without what is dropped, and with what is mapped as it is mapped.


def expected(chat_request: ChatRequest) -> ChatRequest:
    back = plain(chat_request, SUPPORT, NAME)
    thinks = back.reasoning is not None
    back.messages = joined([turn for turn in (mapped(turn) for turn in back.messages) if turn.parts])
    back.reasoning = None if back.reasoning is None else thinking(back.reasoning)
    if back.max_tokens is None:
        back.max_tokens = limit(back.reasoning) if thinks and back.reasoning else 8_192
    back.format = None if back.format is None else Format("schema", back.format.schema)
    back.service_tier = {None: None, "default": "default"}.get(back.service_tier, "auto")
    back.stream_usage = None
    if back.tool_choice is not None and back.tool_choice.mode == "none":
        back.parallel_tool_calls = None
    elif back.parallel_tool_calls is not None and back.tool_choice is None:
        back.tool_choice = ToolChoice("auto")
    return back


def limit(thinking: Thinking) -> int:
    return 8_192 + (thinking.budget or 0) if (thinking.budget or 0) >= 0 and thinking.effort is None else 32_000


def thinking(asked_thinking: Thinking) -> Thinking:
    if asked_thinking.effort == "none" or asked_thinking.budget == 0:
        return Thinking(budget=0)
    summary = None if asked_thinking.summary is None else "none" if asked_thinking.summary == "none" else "auto"
    if asked_thinking.effort is not None:
        return Thinking("low" if asked_thinking.effort == "minimal" else asked_thinking.effort, None, summary)
    return Thinking(None, -1 if asked_thinking.budget is None else asked_thinking.budget, summary)


def mapped(turn: ChatMessage) -> ChatMessage:
    role: Any = "system" if turn.role == "developer" else turn.role
    return replace(turn, role=role, parts=[one for part in turn.parts if (one := part_back(part)) is not None])


def part_back(part: Any) -> Any:
    match part:
        case ReasoningPart(opaque=None):
            return None
        case ReasoningPart(opaque=Opaque() as opaque):
            return replace(part, opaque=replace(opaque, id=None))
        case RefusalPart():
            return TextPart(part.text)
        case ToolCall():  # no call of this vendor has an opaque part
            return replace(part, arguments=encoded(decoded(part.arguments.encode())).decode(), opaque=None)
    return part


def joined(turns: list[ChatMessage]) -> list[ChatMessage]:
    result: list[ChatMessage] = []
    for turn in turns:
        if result and result[-1].role == turn.role and not turn.extra:
            result[-1].parts = [*result[-1].parts, *turn.parts]
        else:
            result.append(replace(turn))
    return result


@settings(max_examples=100, deadline=None)
@given(asks(without=["messages.system.late", "format.json"], vendors=["anthropic", "gemini"]))
def test_an_ask_comes_back(chat_request: ChatRequest) -> None:
    """What the ledger keeps or maps of a caller's ask is read as it was written."""
    assert read(written(chat_request)) == expected(chat_request)


@settings(max_examples=100, deadline=None)
@given(asks(without=["format.json"], wire=NAME, vendors=["anthropic"]))
def test_an_ask_of_this_wire_comes_back_with_its_extras(chat_request: ChatRequest) -> None:
    """On the same wire the extras of every value, and system turns among the others, stay where they were."""
    assert read(written(chat_request)) == expected(chat_request)


@settings(max_examples=100, deadline=None)
@given(asks(vendors=["anthropic", "gemini"]))
def test_what_is_dropped_is_written_nowhere(chat_request: ChatRequest) -> None:
    """An ask and the same without what the ledger drops are one body."""
    assert written(chat_request) == written(replace(plain(chat_request, SUPPORT, NAME), wire=chat_request.wire))


@settings(max_examples=50, deadline=None)
@given(asks(without=["format.json"], wire=NAME, vendors=["anthropic"]))
def test_writing_again_changes_nothing(chat_request: ChatRequest) -> None:
    """A body that was read is written as it was."""
    body = written(chat_request)
    assert written(read(body)) == body


def test_system_messages_among_the_others_are_sent_in_the_users() -> None:
    """A caller's late system turn is text in marks, and the messages keep taking turns."""
    chat_request = ChatRequest(
        "m",
        [
            *HI,
            ChatMessage("assistant", [TextPart("a")]),
            ChatMessage("system", [TextPart("new rule")]),
            ChatMessage("user", [TextPart("b")]),
        ],
    )
    body = written(chat_request)
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert [block["text"] for block in body["messages"][2]["content"]] == ["<system>\nnew rule\n</system>", "b"]


def test_neighbours_are_one_message() -> None:
    """Results and the user's words after them, and turns of one role, become one message."""
    turns = [
        ChatMessage("user", [TextPart("a")]),
        ChatMessage("user", [TextPart("b")]),
        ChatMessage("assistant", [ToolCall("c1", "f", ""), ToolCall("c2", "f", '{"x": 1}')]),
        ChatMessage("tool", [ToolResult("c1", [TextPart("r")])]),
        ChatMessage("tool", [ToolResult("c2")]),
        ChatMessage("user", [TextPart("and?")]),
    ]
    body = written(ChatRequest("m", turns))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in body["messages"][2]["content"]] == ["tool_result", "tool_result", "text"]
    assert [block["input"] for block in body["messages"][1]["content"]] == [{}, {"x": 1}]


def test_ids_of_other_wires_fit() -> None:
    """An id the API would refuse is rewritten, the same in the call and in its result, and two ids stay two."""
    ids = ["functions.f:0", "functions.f:1", "functions_f_0"]
    turns = [
        ChatMessage("assistant", [ToolCall(one, "f", "{}") for one in ids]),
        ChatMessage("tool", [ToolResult(one) for one in ids]),
    ]
    calls, results = (message["content"] for message in written(ChatRequest("m", turns))["messages"])
    assert [call["id"] for call in calls] == [result["tool_use_id"] for result in results]
    assert len({call["id"] for call in calls}) == 3
    assert all(call["id"].replace("_", "").isalnum() for call in calls)


def test_thoughts_go_back_to_whom_they_belong() -> None:
    """The API gets only what it signed; a vendor that signs nothing gets the text; nobody gets another's signature."""
    thoughts = [
        ReasoningPart("mine", Opaque("anthropic", "s")),
        ReasoningPart("theirs", Opaque("gemini", "g")),
        ReasoningPart("bare"),
    ]
    chat_request = ChatRequest("m", [*HI, ChatMessage("assistant", [*thoughts, TextPart("x")])])
    blocks = written(chat_request)["messages"][1]["content"]
    assert blocks == [{"type": "thinking", "thinking": "mine", "signature": "s"}, {"type": "text", "text": "x"}]
    blocks = written(chat_request, vendor="house")["messages"][1]["content"]
    assert [block.get("signature") for block in blocks] == ["", "", "", None]


@pytest.mark.parametrize(
    ("model", "thinking", "body"),
    [
        ("claude-opus-5", Thinking("high"), {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        ("claude-haiku-4-5", Thinking("low"), {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("claude-opus-4-20250514", Thinking("low"), {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("claude-opus-4-8", Thinking("minimal"), {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        ("m", Thinking("none"), {"thinking": {"type": "disabled"}}),
        ("m", Thinking(budget=5), {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("m", Thinking(summary="detailed"), {"thinking": {"type": "adaptive", "display": "summarized"}}),
    ],
)
def test_how_much_to_think(model: str, thinking: Thinking, body: dict[str, Any]) -> None:
    """An effort is adaptive thinking, or a budget for models that know no other; a budget is at least the API's least."""
    body_written = written(ChatRequest(model, HI, reasoning=thinking))
    assert {name: body_written[name] for name in ("thinking", "output_config") if name in body_written} == body


@pytest.mark.parametrize(
    ("expected", "tokens"),
    [
        ({}, 8_192),
        ({"max_tokens": 5}, 5),
        ({"reasoning": Thinking("high")}, 32_000),
        ({"reasoning": Thinking(budget=2_000)}, 10_192),
    ],
)
def test_a_limit_is_always_sent(expected: dict[str, Any], tokens: int) -> None:
    """The API demands max_tokens; the thoughts' budget fits under it."""
    assert written(ChatRequest("m", HI, **expected))["max_tokens"] == tokens


def test_a_choice_of_tools_needs_tools() -> None:
    """Without tools, or with another wire's alone, there is no choice; parallel calls are set in it."""
    hosted: Any = HostedTool("google_search", {})
    chat_request = ChatRequest("m", HI, tools=[hosted], tool_choice=ToolChoice("auto"), parallel_tool_calls=True, wire="gemini")
    assert not {"tools", "tool_choice"} & set(written(chat_request))
    chat_request = ChatRequest("m", HI, tools=[Tool("f")], parallel_tool_calls=False)
    assert written(chat_request)["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert written(chat_request)["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]


def test_any_json_is_asked_for_in_words() -> None:
    """The wire has no such format: the system's text asks, after what it says otherwise."""
    body = written(ChatRequest("m", [ChatMessage("system", [TextPart("Be kind.")]), *HI], format=Format("json")))
    assert body["system"][0]["text"] == "Be kind."
    assert "JSON" in body["system"][1]["text"]


def test_warm_temperatures_are_the_warmest() -> None:
    """The wire's scale ends at 1."""
    assert written(ChatRequest("m", HI, temperature=1.7))["temperature"] == 1.0


def test_empty_texts_are_left_out() -> None:
    """The API refuses them; a turn without anything else is no message."""
    chat_request = ChatRequest(
        "m", [ChatMessage("user", [TextPart(""), TextPart("hi")]), ChatMessage("assistant", [TextPart("")])]
    )
    assert written(chat_request)["messages"] == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("chat_request", "field"),
    [
        (ChatRequest("m", [ChatMessage("assistant", [ToolCall("a", "f", "[1]")])]), "messages[0].parts[0].arguments"),
        (
            ChatRequest("m", [ChatMessage("assistant", [TextPart("x"), ToolCall("a", "f", "{oops")])]),
            "messages[0].parts[1].arguments",
        ),
        (ChatRequest("m", [ChatMessage("user", [FilePart(data=b"\xff", media_type="text/plain")])]), "messages[0].parts[0]"),
        (ChatRequest("m", [ChatMessage("system", [ImagePart(url="u")])]), "messages[0]"),
        (ChatRequest("m", HI, format=Format("schema")), "format.schema"),
        (ChatRequest("m", HI, max_tokens=-1), "max_tokens"),
    ],
)
def test_what_makes_no_sense_is_named(chat_request: ChatRequest, field: str) -> None:
    """A caller's slip is BadInput with the field."""
    with pytest.raises(BadInput) as caught:
        write_request(chat_request)
    assert caught.value.field == field


def test_losses_tell_what_is_not_written() -> None:
    """The ledger's word on an ask with fields this wire has no place for."""
    chat_request = ChatRequest("m", HI, seed=1, n=2, logprobs=0, temperature=0.5)
    assert {loss.field for loss in losses(chat_request, SUPPORT, NAME, VENDOR)} == {"seed", "n", "logprobs"}

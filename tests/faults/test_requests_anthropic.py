"""Requests that Anthropic's API answers with 400: each is changed into one that it takes, and the change is reported."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polychat.errors import BadInput
from polychat.events import Finish, Text
from polychat.types import (
    ChatMessage,
    ChatRequest,
    FilePart,
    Format,
    ImagePart,
    Opaque,
    ReasoningPart,
    TextPart,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from polychat.wire import anthropic
from polychat.wire.contract import names, wire_named
from polychat.wire.losses import Loss, apply_loss_policy

from ..support.anthropic_rules import MODELS, refusals
from ..support.gateway_for_clients import house
from ..support.random_requests import asks
from ..support.running_gateway import asking

HI = ChatMessage("user", [TextPart("hi")])
PNG, JPEG, PDF = b"\x89PNG\r\n\x1a\n0", b"\xff\xd8\xff\xe00", b"%PDF-1.7"
CALL = ToolCall("call_1", "look", "{}")
RESULT = ToolResult("call_1", [TextPart("x")], "look")
LOOK = Tool("look", None, {"type": "object", "properties": {}})
SIGNED = ReasoningPart("hm", Opaque("anthropic", "c2ln"))
OLD, MIDDLE, NEW, NEWEST = "claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-4-8", "claude-opus-5-5"


def sent(request: ChatRequest) -> tuple[dict[str, Any], dict[str, Loss]]:
    """The body that goes out, and the losses, by field."""
    better, losses = anthropic.adjusted(request)
    body = anthropic.write_request(better)
    assert not refusals(body), refusals(body)
    return body, {loss.field: loss for loss in losses}


some = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@some
@given(st.data(), st.sampled_from(MODELS))
def test_no_ask_of_any_wire_is_refused(data: st.DataObject, model: str) -> None:
    """Whatever the ask, its wire and its model: nothing goes out that the API is known to refuse. The ask itself stays."""
    request: ChatRequest = data.draw(asks())
    request.model = model
    request.wire = data.draw(st.sampled_from([None, *(name for name in names() if name != "anthropic")]))
    before = deepcopy(request)
    with suppress(BadInput):  # of a conversation that holds nothing but blanks
        sent(request)
    assert request == before


@some
@given(st.data(), st.sampled_from(MODELS))
def test_a_history_cut_anywhere_is_not_refused(data: st.DataObject, model: str) -> None:
    """Clients cut, reorder and repeat their histories: calls lose results, results their calls, ids come twice."""
    turns = data.draw(asks()).messages * 2
    chosen = data.draw(st.lists(st.sampled_from(turns), min_size=1, max_size=6))
    with suppress(BadInput):
        sent(ChatRequest(model, chosen, max_tokens=2000, reasoning=Thinking("low")))


def test_what_is_taken_is_left_alone() -> None:
    """An ask that the API takes goes out as it is, and without losses."""
    turns = [HI, ChatMessage("assistant", [SIGNED, CALL]), ChatMessage("tool", [RESULT]), HI]
    request = ChatRequest(OLD, turns, [LOOK], max_tokens=4096, reasoning=Thinking(None, 1024), stop=["END"])
    assert anthropic.adjusted(request) == (request, [])


FORCED = {"tools": [LOOK], "tool_choice": ToolChoice("required")}
BUDGET = {"type": "enabled", "budget_tokens": 2048}
ADAPTIVE = {"type": "adaptive"}


@pytest.mark.parametrize(
    ("model", "more", "body", "lost"),
    [
        (OLD, {"reasoning": Thinking("high"), "max_tokens": 4096}, {"thinking": BUDGET}, "reasoning.effort"),
        (OLD, {"reasoning": Thinking(None, 9000), "max_tokens": 4096}, {"thinking": BUDGET}, "reasoning.budget"),
        (OLD, {"reasoning": Thinking("low"), "max_tokens": 500}, {}, "reasoning.effort"),
        (OLD, {"reasoning": Thinking("low"), "temperature": 0.0}, {"thinking": BUDGET}, "temperature"),
        (MIDDLE, {"reasoning": Thinking("low"), "top_k": 5}, {"thinking": ADAPTIVE}, "top_k"),
        (OLD, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, "top_p"),
        (NEW, {"temperature": 0.5}, {}, "temperature"),
        (NEW, {"top_p": 0.5}, {}, "top_p"),
        (OLD, {"reasoning": Thinking("low"), **FORCED}, {"tool_choice": {"type": "any"}}, "reasoning.effort"),
        (NEWEST, FORCED, {"tool_choice": {"type": "auto"}}, "tool_choice.required"),
        (NEWEST, {"reasoning": Thinking("none")}, {"output_config": {"effort": "low"}}, "reasoning.effort"),
        (NEW, {"reasoning": Thinking(None, 9000)}, {"thinking": ADAPTIVE}, "reasoning.budget"),
        (MIDDLE, {"reasoning": Thinking("xhigh")}, {"output_config": {"effort": "high"}}, "reasoning.effort"),
        ("claude-3-haiku-20240307", {"reasoning": Thinking("low")}, {}, "reasoning.effort"),
        (NEW, {"stop": ["\n", "END"]}, {"stop_sequences": ["END"]}, "stop"),
    ],
)
def test_settings_that_exclude_each_other(model: str, more: Any, body: dict[str, Any], lost: str) -> None:
    """Of settings that a model does not take, or not together, the weightier goes out, and the loss of the other is
    reported.
    """
    out, losses = sent(ChatRequest(model, [HI], **more))
    assert body.items() <= out.items()
    assert lost in losses


def test_the_apis_own_defaults_are_no_loss() -> None:
    """A temperature of 1 is what a model without temperatures does anyway."""
    body, losses = sent(ChatRequest(NEW, [HI], temperature=1.0))
    assert "temperature" not in body
    assert not losses


def test_ids_of_calls() -> None:
    """An id that is too long, empty or has other signs becomes another, the same in the call and its result; no two become one.

    What the API takes stays.
    """
    taken = ["call_1", "toolu_" + "x" * 58, "a_2e_b", "_"]
    refused = ["a.b", "", "x" * 65, "x" * 66, "é" * 64, "a.b" * 5_000, "\ud800", "?"]
    ids = taken + refused
    calls = [ToolCall(name, "look", "{}") for name in ids]
    results = [ToolResult(name, [TextPart("x")], "look") for name in ids]
    messages = [HI, ChatMessage("assistant", [*calls]), ChatMessage("tool", [*results])]
    body, _ = sent(ChatRequest("claude-opus-4-8", messages, tools=[LOOK]))
    called = [block["id"] for block in body["messages"][1]["content"]]
    assert called == [block["tool_use_id"] for block in body["messages"][2]["content"]]
    assert called[: len(taken)] == taken
    assert len(set(called)) == len(ids)
    assert [name for name in called if not re.fullmatch("[a-zA-Z0-9_-]{1,64}", name)] == []


@pytest.mark.parametrize("blank", [" ", "\n\n", ""])
def test_blank_texts(blank: str) -> None:
    """A text that is only white space is left out wherever it is, and a turn of nothing else with it."""
    turns = [ChatMessage("system", [TextPart(blank)]), HI, ChatMessage("assistant", [TextPart(blank)]), HI]
    turns += [ChatMessage("assistant", [TextPart(blank), CALL]), ChatMessage("tool", [ToolResult("call_1", [TextPart(blank)])])]
    body, losses = sent(ChatRequest(NEW, turns, [LOOK]))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert "system" not in body
    assert not losses


def test_a_system_text_alone() -> None:
    """With nothing else to answer, the system's text is the user's."""
    body, losses = sent(ChatRequest(NEW, [ChatMessage("system", [TextPart("Write a haiku.")])]))
    assert body["messages"] == [{"role": "user", "content": "Write a haiku."}]
    assert losses["messages.system"].kind == "emulated"


def test_a_prefill() -> None:
    """An answer to go on with ends without white space, and with the user's words for a model that takes none."""
    turns = [HI, ChatMessage("assistant", [TextPart("{ ")])]
    body, _ = sent(ChatRequest(OLD, turns))
    assert body["messages"][-1] == {"role": "assistant", "content": "{"}
    body, losses = sent(ChatRequest(NEW, turns))
    assert body["messages"][-1]["role"] == "user"
    assert "messages.assistant.last" in losses


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (ImagePart(data=JPEG, media_type="image/jpg"), ("image", "image/jpeg")),
        (ImagePart(data=PNG, media_type="image/jpeg"), ("image", "image/png")),
        (ImagePart(data=PDF, media_type="image/png"), ("document", "application/pdf")),
        (FilePart(data=PNG, media_type="application/octet-stream"), ("image", "image/png")),
        (FilePart(data=PDF, media_type="application/octet-stream"), ("document", "application/pdf")),
        (FilePart(data=b"{}", media_type="application/json"), ("document", "text/plain")),
    ],
)
def test_media_by_their_bytes(part: Any, block: tuple[str, str]) -> None:
    """What bytes are is seen by their beginning, and what people call them is set right, in results too: no loss."""
    result = ChatMessage("tool", [ToolResult("call_1", [part])])
    body, losses = sent(ChatRequest(NEW, [ChatMessage("user", [part]), ChatMessage("assistant", [CALL]), result], [LOOK]))
    first, last = body["messages"][0]["content"][0], body["messages"][-1]["content"][0]["content"][0]
    assert (first["type"], first["source"]["media_type"]) == block
    assert first == last
    assert not losses


@pytest.mark.parametrize(
    "part",
    [
        ImagePart(data=b"<svg/>", media_type="image/svg+xml"),
        FilePart(data=b"0", media_type="video/mp4"),
        FilePart(data=b"PK", media_type="application/zip"),
        FilePart(id="file-abc"),
        FilePart(url="gs://bucket/a.pdf"),
        ImagePart(url="gs://bucket/a.png"),
        FilePart(url="https://generativelanguage.googleapis.com/v1beta/files/abc"),
    ],
)
def test_what_it_cannot_read_is_refused_by_name(part: Any) -> None:
    """Media of a kind that the API does not take, and files that another vendor holds, never go out: the loss is reported."""
    request = ChatRequest(NEW, [ChatMessage("user", [TextPart("see"), part])], wire="openai-chat")
    body, losses = sent(request)
    assert body["messages"][0]["content"] == "see"
    with pytest.raises(BadInput):
        apply_loss_policy(list(losses.values()), None)


@pytest.mark.parametrize("strict", [True, None])
def test_schemas(strict: bool | None) -> None:
    """A tool's input says that it is an object; a schema that binds closes its objects and has no limits in it."""
    inner = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    tools = [Tool("a", None, {"properties": {"x": {"type": "array", "items": inner}}}, strict), Tool("b", None, {}), Tool("c")]
    body, losses = sent(ChatRequest(NEW, [HI], tools, format=Format("schema", inner)))
    assert all(tool["input_schema"]["type"] == "object" for tool in body["tools"])
    assert body["output_config"]["format"]["schema"]["additionalProperties"] is False
    assert ("tools" in losses) == bool(strict)
    assert losses["format.schema"].kind == "emulated"
    assert inner["properties"]["n"] == {"type": "integer", "minimum": 1}


def test_a_choice_of_schemas_at_the_top() -> None:
    """A tool whose input is one of several objects takes the fields of all, and requires what each of them requires."""
    one = {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a", "b"]}
    other = {"type": "object", "properties": {"a": {"type": "string"}, "c": {}}, "required": ["a", "c"]}
    body, losses = sent(ChatRequest(NEW, [HI], [Tool("t", None, {"oneOf": [one, other]})]))
    schema = body["tools"][0]["input_schema"]
    assert (sorted(schema["properties"]), schema["required"]) == (["a", "b", "c"], ["a"])
    assert "tools" in losses


class TestCalls:
    """Results follow their calls, one for one."""

    def test_without_a_result(self) -> None:
        """A call that nobody answered is sent as one that failed."""
        body, losses = sent(
            ChatRequest(NEW, [HI, ChatMessage("assistant", [CALL]), ChatMessage("user", [TextPart("never mind")])], [LOOK])
        )
        result, words = body["messages"][-1]["content"]
        assert (result["tool_use_id"], result["is_error"], words["text"]) == ("call_1", True, "never mind")
        assert "parts.call" in losses

    def test_without_a_call(self) -> None:
        """A result whose call was cut off is sent as the user's text."""
        body, losses = sent(ChatRequest(NEW, [ChatMessage("tool", [RESULT]), HI], [LOOK]))
        assert "x" in json.dumps(body["messages"][0])
        assert "messages.tool" in losses

    def test_ids_that_repeat(self) -> None:
        """Backends that number their calls anew in every turn: each call keeps its own result."""
        round_of = [ChatMessage("assistant", [CALL]), ChatMessage("tool", [RESULT])]
        body, losses = sent(
            ChatRequest(
                NEW,
                [HI, *round_of, ChatMessage("assistant", [CALL]), ChatMessage("tool", [ToolResult("call_1", [TextPart("y")])])],
                [LOOK],
            )
        )
        ids = [message["content"][0].get("id") or message["content"][0]["tool_use_id"] for message in body["messages"][1:]]
        assert ids[0] == ids[1] != ids[2] == ids[3]
        assert body["messages"][-1]["content"][0]["content"] == "y"
        assert not losses

    def test_thoughts_that_were_lost(self) -> None:
        """A client that keeps no thoughts goes on with its tools, and the model does not think about that turn."""
        turns = [HI, ChatMessage("assistant", [CALL]), ChatMessage("tool", [RESULT])]
        body, losses = sent(ChatRequest(OLD, turns, [LOOK], reasoning=Thinking("low"), max_tokens=8000))
        assert "thinking" not in body
        assert "reasoning.effort" in losses
        body, losses = sent(
            ChatRequest(
                OLD,
                [HI, ChatMessage("assistant", [SIGNED, CALL]), turns[2]],
                [LOOK],
                reasoning=Thinking("low"),
                max_tokens=8000,
            )
        )
        assert (body["thinking"]["type"], losses) == ("enabled", {})


def test_marks_of_what_to_cache() -> None:
    """Of more than four marks the first and the last three stay: what never changes, and the newest of what grows."""
    turns = [ChatMessage("system", [TextPart("s", cache="5m")])]
    turns += [ChatMessage("user", [TextPart(f"u{number}", cache="5m")]) for number in range(5)]
    body, losses = sent(ChatRequest(NEW, turns))
    marked = [block["text"] for block in [*body["system"], *body["messages"][0]["content"]] if "cache_control" in block]
    assert marked == ["s", "u2", "u3", "u4"]
    assert losses["cache"].detail == "2 of 6"


@pytest.mark.parametrize("name", ["anthropic", "gemini"])
def test_thoughts_of_another_vendor_alone_leave_no_empty_message(name: str) -> None:
    """A turn that holds nothing that a backend can read is left out of what goes to it."""
    wire = wire_named(name)
    sealed = ChatMessage("assistant", [ReasoningPart(opaque=Opaque("elsewhere", "x", redacted=True))])
    body = wire.write_request(ChatRequest("m", [HI, sealed, HI]))
    turns = body.get("messages") or body.get("input") or body.get("contents")
    assert turns is not None
    assert all(turn.get("role") in ("user", None) and (turn.get("content") or turn.get("parts")) for turn in turns), turns


async def test_the_client_gets_the_losses() -> None:
    """The gateway names in x-polychat-losses what was changed."""
    async with house("anthropic", [[Text("ok"), Finish("complete", "stop")]]) as (here, dialect):
        path, body = asking("openai-chat", "house/claude-opus-4-8", temperature=0.3, stop=["\n"])
        answer = await here.ask(path, body)
    assert answer.status == 200
    assert set(answer.headers["x-polychat-losses"].split(", ")) == {"temperature", "stop"}
    assert dialect.asks[0].temperature is None

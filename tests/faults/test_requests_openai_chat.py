"""Kinds of fault in requests on OpenAI's chat wire, and in its dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.backends.builtin import known
from polychat.backends.fitting import BRIDGE, call_id, fitted, fitted_fields
from polychat.calls.info import CallInfo
from polychat.types import (
    ChatMessage,
    ChatRequest,
    FilePart,
    ImagePart,
    Opaque,
    ReasoningPart,
    TextPart,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from polychat.wire import openai_chat as wire
from polychat.wire.contract import names, wire_named
from polychat.wire.losses import losses

from ..support.running_gateway import asking, completion, configured, gateway
from ..support.scripted_server import Say, Seen

ASKED = [{"role": "user", "content": "hi"}]
DEFAULTS: dict[str, Any] = {
    "n": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0.0,
    "logit_bias": {},
    "store": False,
    "metadata": {},
    "parallel_tool_calls": True,
    "service_tier": "auto",
    "verbosity": "medium",
    "modalities": ["text"],
}


@pytest.mark.parametrize("name", names())
def test_an_explicit_default_is_no_loss(name: str) -> None:
    """A value without effect is neither refused nor reported as lost, on any wire."""
    request = wire.read_request(json.dumps({"model": "m", "messages": ASKED, **DEFAULTS}).encode())
    wire_module = wire_named(name)
    assert losses(request, wire_module.SUPPORT, wire_module.NAME, "v") == []


def test_a_default_that_a_vendor_refuses_is_dropped_without_a_word() -> None:
    """Groq takes no ``logprobs``: false is what it does, and true is a loss."""
    for value, lost in ((False, []), (True, ["logprobs"])):
        call_info = CallInfo("allow")
        assert "logprobs" not in fitted({"logprobs": value}, known()["groq"], call_info)
        assert [loss.field for loss in call_info.losses] == lost


ROWS = [row.name for row in known().values() if row.wire == "openai-chat" and (row.message_drop or row.reasoning or row.rename)]
OWN: dict[str, Any] = {
    "tools": [{"type": "custom", "custom": {"name": "patch", "format": {"type": "text"}}}],
    "reasoning_effort": "default",
    "x_new": {"deep": [1.50, None]},
    "prediction": {"type": "content", "content": "x"},
}


@pytest.mark.parametrize("name", ROWS)
async def test_a_request_passes_as_it_came(name: str, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that drop or rename a field do so in the body as it came: what only this wire knows goes on."""
    seen_by: list[Seen] = []

    async def handler(seen: Seen, say: Say) -> None:
        seen_by.append(seen)
        await say.whole(completion("Hello", usage={"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.5}))

    server = await serve(handler)
    row = known()[name]
    for variable in row.key:
        monkeypatch.setenv(variable, "sk-of-this-test-alone")
    part = {"type": "video_url", "video_url": {"url": "https://a.example/v.mp4"}}
    thought = {"role": "assistant", "content": "x", "reasoning_content": "hm"}
    messages = [{"role": "user", "content": [part]}, thought, {"role": "user", "content": "go on"}]
    config = configured({name: {"base_url": server.url}})
    async with gateway(config) as here:
        path, body = asking("openai-chat", f"{name}/m", **OWN, messages=messages, max_completion_tokens=9)
        answer = await here.ask(path, body)
        (record,) = here.records
    assert answer.status == 200, answer.body
    (seen,) = seen_by
    assert {key: seen.json[key] for key in OWN} == OWN
    assert seen.json[row.rename.get("max_completion_tokens", "max_completion_tokens")] == 9
    assert seen.json["messages"][0]["content"] == [part]
    second = seen.json["messages"][1]
    field = row.reasoning or ("reasoning_content" if "reasoning_content" not in row.message_drop else None)
    assert second == {"role": "assistant", "content": "x", **({field: "hm"} if field else {})}
    assert record.passthrough
    assert answer.json["usage"]["cost"] == record.cost == 0.5


def test_ids_of_calls_as_mistral_wants_them() -> None:
    """Nine letters and digits, the same for a call and its result, in a body that was written and in one that passes."""
    call = {"id": "call_0123456789", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": call["id"], "content": "x"}]
    row = known()["mistral"]
    raw = {"messages": json.dumps(messages).encode()}
    passed = fitted_fields(raw, CallInfo(), row)["messages"]
    written = fitted({"messages": messages}, row, CallInfo())["messages"]
    for made in (passed, written):
        name = made[0]["tool_calls"][0]["id"]
        assert len(name) == 9
        assert name.isalnum()
        assert made[1]["tool_call_id"] == name
    assert passed == written
    assert call_id("abcDEF123", 9) == "abcDEF123"


def test_stops_within_the_limit() -> None:
    """OpenAI takes four: the first four go out, and that is reported."""
    call_info = CallInfo()
    assert fitted({"stop": list("abcde")}, known()["openai"], call_info)["stop"] == list("abcd")
    assert [loss.field for loss in call_info.losses] == ["stop"]


@pytest.mark.parametrize("comes_as_it_was", [False, True])
def test_the_assistant_speaks_between_a_result_and_the_user(comes_as_it_was: bool) -> None:
    """Mistral answers 400 to a user right behind a result: a message is inserted between them, and reported; elsewhere nothing
    changes.
    """
    call = {
        "role": "assistant",
        "tool_calls": [{"id": "abcDEF123", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    result = {"role": "tool", "tool_call_id": "abcDEF123", "content": "x"}
    user, answer = {"role": "user", "content": "and?"}, {"role": "assistant", "content": "Well."}
    messages = [user, call, result, result, user, call, result, answer, user, call, result]
    call_info = CallInfo()
    for name, expected in (
        ("mistral", [*messages[:4], {"role": "assistant", "content": BRIDGE}, *messages[4:]]),
        ("openai", messages),
    ):
        if comes_as_it_was:
            made = fitted_fields({"messages": json.dumps(messages).encode()}, call_info, known()[name])["messages"]
        else:
            made = fitted({"messages": [dict(one) for one in messages]}, known()[name], call_info)["messages"]
        assert (json.loads(made) if isinstance(made, bytes) else made) == expected
    assert [(loss.field, loss.kind) for loss in call_info.losses] == [("messages.tool", "emulated")]


def test_roles_that_a_server_does_not_know() -> None:
    """A row says whether ``developer`` goes out as ``system``, and whether system messages are one before all others."""
    messages = [
        {"role": "developer", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "system", "content": [{"type": "text", "text": "c"}]},
    ]

    row = known()["vllm"].replace(developer=False, one_system=True)
    made = fitted({"messages": [dict(message) for message in messages]}, row, CallInfo())["messages"]
    assert made == [
        {"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "c"}]},
        {"role": "user", "content": "b"},
    ]
    untouched = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    assert fitted({"messages": untouched}, row, CallInfo())["messages"] == untouched


@pytest.mark.parametrize("more", [{}, {"type": "function"}, {"type": "custom"}])
def test_tools_of_anthropics_shape_keep_their_schema(more: dict[str, Any]) -> None:
    """Some send ``{"name", "input_schema"}`` here."""
    schema = {"type": "object", "properties": {"x": {"type": "string"}}}
    tool = {"name": "f", "description": "d", "input_schema": schema, **more}
    request = wire.read_request(json.dumps({"model": "m", "messages": ASKED, "tools": [tool]}).encode())
    assert request.tools == [Tool("f", "d", schema)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"type": "enabled"}, Thinking(budget=-1)),
        ({"type": "enabled", "budget_tokens": 2000}, Thinking(budget=2000)),
        ({"type": "adaptive"}, Thinking(budget=-1)),
        ({"type": "disabled"}, Thinking("none")),
    ],
)
def test_thinking_in_anthropics_words(fields: dict[str, Any], expected: Thinking) -> None:
    """It is understood with and without a budget, and goes on as it came on this wire."""
    request = wire.read_request(json.dumps({"model": "m", "messages": ASKED, "thinking": fields}).encode())
    assert request.reasoning == expected
    assert wire.write_request(request)["thinking"] == fields
    assert [
        loss for loss in losses(request, wire_named("anthropic").SUPPORT, "anthropic", "anthropic") if loss.kind == "dropped"
    ] == []


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses"])
@pytest.mark.parametrize("letters", [64, 65, 155])
def test_a_long_user_id(name: str, letters: int) -> None:
    """What is over the limit goes out as a hash, always the same."""
    user = wire_named(name).write_request(ChatRequest("m", [ChatMessage("user", [TextPart("x")])], user="u" * letters))["user"]
    assert len(user) == 64
    assert (user == "u" * letters) == (letters == 64)


def test_nothing_becomes_an_empty_message() -> None:
    """A turn of which only another vendor reads anything is left out, and reported."""
    turns = [
        ChatMessage("user", [TextPart("a")]),
        ChatMessage("assistant", [ReasoningPart("", Opaque("anthropic", "x", redacted=True))]),
    ]
    request = ChatRequest("m", [*turns, ChatMessage("user", [TextPart("b")])], wire="anthropic")
    assert [message["content"] for message in wire.write_request(request)["messages"]] == ["a", "b"]
    assert [loss.field for loss in losses(request, wire.SUPPORT, wire.NAME, "openai")] == ["parts.opaque.foreign"]


@pytest.mark.parametrize("name", names())
def test_a_file_that_another_vendor_holds(name: str) -> None:
    """It is reported on every wire but those of the vendor that holds it, in results of tools too."""
    result = ToolResult("a", [FilePart(id="file-1")])
    turns = [
        ChatMessage("user", [FilePart(id="file-1")]),
        ChatMessage("assistant", [ToolCall("a", "f")]),
        ChatMessage("tool", [result]),
    ]
    wire = wire_named(name)
    for turn in (turns[0], turns[2]):
        request = ChatRequest("m", [turns[0], turns[1], turn], wire="openai-chat")
        lost = [loss.field for loss in losses(request, wire.SUPPORT, name, "v")]
        assert ("parts.file.id.foreign" in lost) == (not name.startswith("openai"))


def test_an_image_by_url_in_a_result_before_ollama() -> None:
    """The API takes images by their bytes: one that would be lost is reported."""
    result = ToolResult("a", [TextPart("x"), ImagePart(url="https://a.example/x.png")])
    request = ChatRequest(
        "m",
        [ChatMessage("user", [TextPart("a")]), ChatMessage("assistant", [ToolCall("a", "f")]), ChatMessage("tool", [result])],
    )
    wire = wire_named("ollama")
    assert "parts.image.url" in [loss.field for loss in losses(request, wire.SUPPORT, "ollama", "ollama")]

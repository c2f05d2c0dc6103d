"""What Claude Code and Gemini CLI need of the dialects they use."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from polychat.events import Event, Finish, Reasoning, Start, Text, ToolCallPiece
from polychat.types import ChatRequest, Opaque, ReasoningPart, ToolCall
from polychat.wire import anthropic, gemini
from polychat.wire.contract import names, wire_named
from polychat.wire.faults import Fault
from polychat.wire.losses import used

from ..support.gateway_for_clients import BROKEN, HELLO, house
from ..support.random_conversations import written
from ..support.running_gateway import asking
from ..support.scripted_vendors import ScriptedVendor

BACKENDS = ("anthropic", "openai-chat")
"""Whose replies pass in the Anthropic dialect, and are translated."""


@pytest.mark.parametrize(
    ("case", "backend", "stream"),
    [
        *[
            (case, backend, stream)
            for case in ("refused", "unknown", "bad body")
            for backend in BACKENDS
            for stream in (True, False)
        ],
        *[
            ("cut", "anthropic", True),
            ("cut", "openai-chat", True),
            ("broken", "openai-chat", True),
            ("broken", "openai-chat", False),
        ],
    ],
)
async def test_an_error_tells_the_requests_id(case: str, backend: str, stream: bool) -> None:
    """What a person reads out of an error is the same as in the log and in the headers: whole, in a stream, passed or not."""
    dialect = ScriptedVendor(backend, BROKEN if case == "broken" else HELLO, cut_after=2 if case == "cut" else None)
    if case == "refused":
        dialect.fault = Fault("no", "server", 500)
    async with house(backend, dialect) as (here, _):
        path, body, *more = asking("anthropic", "nobody/m" if case == "unknown" else "house/m", stream=stream)
        answer = await here.ask(path, {"model": 7} if case == "bad body" else body, *more)
        (record,) = await here.app.recorded()
    error = json.loads(answer.body[answer.body.rfind(b'{"type":"error"') :])
    assert error["request_id"] == answer.headers["request-id"] == record.request_id


def test_thinking_without_a_budget() -> None:
    """Some clients turn thinking on and name no budget: the model thinks as it likes."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "thinking": {"type": "enabled"}}
    request = anthropic.read_request(json.dumps(body).encode())
    assert request.reasoning is not None
    assert request.reasoning.budget == -1


def test_what_claude_code_sends_to_its_own_vendor() -> None:
    """A long user id goes to others as its hash, and the billing text not at all; on this wire both go on as they are."""
    inbound: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    inbound["metadata"] = {"user_id": "u" * 150}
    inbound["system"] = [
        {"type": "text", "text": "x-anthropic-billing-header: cc=1"},
        {"type": "text", "text": "Be brief."},
    ]
    request = anthropic.read_request(json.dumps(inbound).encode())
    body = wire_named("openai-chat").write_request(request)
    assert len(body["user"]) == 64
    assert "billing" not in json.dumps(body)
    assert "Be brief." in json.dumps(body)
    assert {name: anthropic.write_request(request)[name] for name in ("system", "metadata")} == {
        name: inbound[name] for name in ("system", "metadata")
    }
    assert {name for name, _ in used(request, "openai-chat", "openai")}.isdisjoint({"extra.foreign"}), "nothing is lost by it"


@pytest.mark.parametrize(
    "system", ["x-anthropic-billing-header: cc=1", "x-anthropic-billing-header: cc=1;\n\nBe brief.\nBe kind."]
)
def test_a_billing_line_that_was_joined_to_other_texts(system: str) -> None:
    """It goes alone: what the client says behind it is its instructions."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "system": system}
    request = anthropic.read_request(json.dumps(body).encode())
    words = [message["content"] for message in wire_named("openai-chat").write_request(request)["messages"]]
    assert words == (["Be brief.\nBe kind.", "hi"] if "kind" in system else ["hi"])
    assert anthropic.write_request(request)["system"] == system


@pytest.mark.parametrize(
    "more",
    [{"metadata": {"user_id": "u" * 150, "team": "a"}}, {"metadata": {"team": "a"}}, {"service": {}}, {"system": "Be brief."}],
)
def test_what_others_do_not_get_is_reported(more: dict[str, Any]) -> None:
    """Of these fields the rest, and a field of OpenAI's chat that is called like one."""
    request = ChatRequest("m", [], extra=more, wire="w")
    assert "extra.foreign" in {name for name, _ in used(request, "other", "v")}


def _kept(body: bytes, *, stream: bool, drops: bool) -> list[dict[str, Any]]:
    """The model's parts of an answer as a client has them in its history; Gemini CLI drops what is marked as thought."""
    lines = [line[6:] for line in body.splitlines() if line.startswith(b"data: ")] if stream else [body]
    parts = [part for line in lines for part in json.loads(line)["candidates"][0].get("content", {}).get("parts", [])]
    return [part for part in parts if not (drops and (part.get("thought") or part.get("text") == ""))]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("drops", [True, False], ids=["a client that drops thoughts", "a client that keeps all"])
@pytest.mark.parametrize("vendor", sorted({wire_named(name).VENDOR for name in names() if name != "gemini"}))
def test_thoughts_of_other_vendors_come_back_with_the_first_call(vendor: str, drops: bool, stream: bool) -> None:
    """Each thought of another vendor comes back once, before all else of its turn, also from a client that keeps only calls."""
    thoughts = [
        ReasoningPart("Let me think.", Opaque(vendor, "c2ln+/=", "rs_1")),
        ReasoningPart("", Opaque(vendor, "x", None, True)),
    ]
    events: list[Event] = [
        *[Start("one", "m"), Reasoning("Let me "), Reasoning("think."), Reasoning("", thoughts[0].opaque)],
        *[Reasoning("", thoughts[1].opaque, 1), Text("I look.")],
        *[ToolCallPiece(0, "c1", "f", "{}", Opaque(vendor, "of the call")), ToolCallPiece(1, "c2", "g", "{}")],
        Finish("complete", "tool_calls"),
    ]
    parts = _kept(written(gemini, events, stream=stream), stream=stream, drops=drops)  # type: ignore[arg-type]
    assert ["thoughtSignature" in part for part in parts if "functionCall" in part] == [True, False]
    contents = [{"role": "user", "parts": [{"text": "hi"}]}, *({"role": "model", "parts": [part]} for part in parts)]
    request = gemini.read_request(json.dumps({"contents": contents}).encode(), model="m")
    turn = request.messages[-1]
    assert [part for part in turn.parts if isinstance(part, ReasoningPart)] == thoughts
    assert turn.parts[:2] == thoughts
    first = next(part for part in turn.parts if isinstance(part, ToolCall))
    assert first.opaque == Opaque(vendor, "of the call")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("vendor", sorted({wire_named(name).VENDOR for name in names() if name != "gemini"}))
def test_thoughts_of_other_vendors_without_a_call(vendor: str, stream: bool) -> None:
    """Where no call can carry them the answer comes all the same, and keeps what it says of them."""
    thoughts = [Reasoning("Let me think."), Reasoning("", Opaque(vendor, "c2ln", "rs_1"))]
    events: list[Event] = [Start("one", "m"), *thoughts, Text("I look."), Finish("complete", "stop")]
    parts = _kept(written(gemini, events, stream=stream), stream=stream, drops=False)  # type: ignore[arg-type]
    assert "".join(part["text"] for part in parts if part.get("thought")) == "Let me think."
    assert "".join(part["text"] for part in parts if not part.get("thought")) == "I look."


def test_what_looks_like_carried_thoughts_is_read_as_a_signature() -> None:
    """A signature that only begins like ours is the vendor's, whatever is in it."""
    for text in ("pc1+", "pc1+[]", "pc1+[1,2]", "pc1+[null,[[1]]]", 'pc1+[null,[["a",2]]]', "pc1+{"):
        signature = base64.urlsafe_b64encode(text.encode()).decode()
        contents = [{"role": "model", "parts": [{"functionCall": {"name": "f"}, "thoughtSignature": signature}]}]
        (turn,) = gemini.read_request(json.dumps({"contents": contents}).encode(), model="m").messages
        (call,) = turn.parts
        assert isinstance(call, ToolCall)
        assert call.opaque == Opaque("gemini", signature)


@pytest.mark.parametrize("agent", ["GeminiCLI/0.61.0 (linux; x64)", "google-genai-sdk/1.0"])
@pytest.mark.parametrize("known", [True, False])
async def test_gemini_cli_gets_no_404(known: bool, agent: str) -> None:
    """After one it asks again at once, without end: a model that nobody has, here or behind, is 400 to it, to others 404."""
    dialect = ScriptedVendor("openai-chat", HELLO, Fault("no such model", "not_found", 404))
    async with house("openai-chat", dialect) as (here, _):
        path, body = asking("gemini", "house/gemini-2.5-flash-lite" if known else "gemini-2.5-flash-lite")
        answer = await here.ask(path, body, headers={"user-agent": agent})
    expected = (400, "INVALID_ARGUMENT") if agent.startswith("GeminiCLI") else (404, "NOT_FOUND")
    assert (answer.status, answer.json["error"]["status"]) == expected
    assert answer.json["error"]["code"] == answer.status
    assert ("gemini-*" in answer.json["error"]["message"]) is (answer.status == 400)


async def test_google_gets_no_other_vendors_signature() -> None:
    """A conversation that goes on at Google's own API brings none of the signatures that it would refuse."""
    thought = Reasoning("Let me think.", Opaque("anthropic", "c2ln"))
    events: list[Event] = [Start("one", "m"), thought, ToolCallPiece(0, "c1", "f", "{}"), Finish("complete", "tool_calls")]
    for drops in (True, False):
        parts = _kept(written(gemini, events, stream=False), stream=False, drops=drops)  # type: ignore[arg-type]
        result = {"functionResponse": {"id": "c1", "name": "f", "response": {"output": "x"}}}
        contents = [
            *[{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": parts}],
            {"role": "user", "parts": [result]},
        ]
        async with house("gemini", HELLO) as (here, dialect):
            answer = await here.ask(*asking("gemini", "house/gemini-3-flash", contents=contents))
            (record,) = await here.app.recorded()
        assert (answer.status, record.passthrough) == (200, False)
        (call,) = [part for part in dialect.seen[0].json["contents"][1]["parts"] if "functionCall" in part]
        assert call["thoughtSignature"] == "skip_thought_signature_validator"
        assert "cGMx" not in json.dumps(dialect.seen[0].json)

"""Requests to a Responses backend from other dialects: thoughts travel with them, and what the API refuses is changed and
reported.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.types import ChatMessage, ChatRequest, Opaque, ReasoningPart, TextPart, ToolCall, ToolResult
from polychat.wire import openai_responses as spoken
from polychat.wire.contract import names

from ..support.gateway_for_clients import HELLO, before, house
from ..support.running_gateway import asking
from ..support.scripted_vendors import ScriptedVendor

HI = ChatMessage("user", [TextPart("hi")])
OTHERS = [name for name in names() if name != spoken.NAME]


def sent(chat_request: ChatRequest, vendor: str = "openai") -> tuple[dict[str, Any], dict[str, str]]:
    """The body that goes out, and the losses, by field."""
    better, losses = spoken.adjusted(chat_request, vendor)
    return spoken.write_request(better, vendor), {loss.field: loss.kind for loss in losses}


@pytest.mark.parametrize("wire", OTHERS)
def test_thoughts_are_asked_for_in_a_form_that_travels(wire: str) -> None:
    """From every other dialect nothing is stored and thoughts come encrypted: else they are lost between calls. It is no
    loss.
    """
    body, lost = sent(ChatRequest("gpt-5.5", [HI], wire=wire))
    assert body["store"] is False
    assert body["include"] == ["reasoning.encrypted_content"]
    assert lost == {}


@pytest.mark.parametrize("wire", [None, spoken.NAME])
def test_who_speaks_the_wire_decides_what_is_stored(wire: str | None) -> None:
    """The library and the wire's own dialect can go on from a stored reply: there the backend's rule holds."""
    assert "store" not in sent(ChatRequest("gpt-5.5", [HI], wire=wire))[0]


@pytest.mark.parametrize(
    ("chat_request", "vendor", "store", "include"),
    [
        (ChatRequest("gpt-5.5", [HI], wire="openai-chat", store=True), "openai", True, None),
        (ChatRequest("gpt-4o", [HI], wire="openai-chat"), "openai", False, None),
        (ChatRequest("gpt-5.5", [HI], wire="openai-chat"), "azure-openai-responses", False, ["reasoning.encrypted_content"]),
        (ChatRequest("ours", [HI], wire="openai-chat"), "azure-openai-responses", None, None),
        (ChatRequest("gpt-5.5", [HI], wire="openai-chat"), "vllm-responses", None, None),
    ],
    ids=["asked to store", "a model without thoughts", "Azure", "a deployment of unknown kind", "another vendor"],
)
def test_only_where_it_is_understood(
    chat_request: ChatRequest, vendor: str, store: bool | None, include: list[str] | None
) -> None:
    """A client's own word holds, and models and vendors that refuse the wish are not sent it."""
    body, _ = sent(chat_request, vendor)
    assert (body.get("store"), body.get("include")) == (store, include)


@pytest.mark.parametrize("wire", [None, *names()])
def test_long_ids_of_calls_are_shortened_alike(wire: str | None) -> None:
    """The API takes 64 characters: a longer id becomes the same replacement every time, in the call, its signature and its
    result.
    """
    long, other = "x" * 65, "x" * 66
    calls = [ToolCall(name, "f", "{}", Opaque("openai", "c2ln")) for name in (long, other, "short")]
    results = [ToolResult(name, [TextPart("1")], "f") for name in (long, other, "short")]
    chat_request = ChatRequest("gpt-5.5", [HI, ChatMessage("assistant", [*calls]), ChatMessage("tool", [*results])], wire=wire)
    items = sent(chat_request)[0]["input"]
    called = [item["call_id"] for item in items if item["type"] == "function_call"]
    assert called == [item["call_id"] for item in items if item["type"] == "function_call_output"]
    assert len(set(called)) == 3
    assert called[2] == "short"
    assert max(map(len, called)) <= 64
    assert called == [item["call_id"] for item in sent(chat_request)[0]["input"] if item["type"] == "function_call"]
    assert chat_request.messages[1].parts[0].id == long  # type: ignore[union-attr]
    assert spoken.read_request(json.dumps(sent(chat_request)[0]).encode()).messages[1].parts[0].opaque is not None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("wire", "most", "lost"), [("anthropic", 16, "emulated"), (spoken.NAME, 3, None), (None, 16, "emulated")]
)
def test_a_limit_below_the_minimum_is_raised_and_reported(wire: str | None, most: int, lost: str | None) -> None:
    """OpenAI takes 16 tokens and more; who speaks its wire hears that from itself, and other servers take fewer."""
    body, losses = sent(ChatRequest("gpt-5.5", [HI], wire=wire, max_tokens=3))
    assert body["max_output_tokens"] == most
    assert losses.get("max_tokens") == lost
    assert sent(ChatRequest("m", [HI], wire=wire, max_tokens=3), "vllm-responses")[0]["max_output_tokens"] == 3


def test_texts_of_an_assistants_turn_are_one() -> None:
    """Several would be parts of an output item, which is incomplete without an id; thoughts and calls stay between them."""
    thought = ReasoningPart("", Opaque("openai", "c2ln", "rs_1"))
    message = ChatMessage(
        "assistant", [TextPart("a"), TextPart("b"), thought, TextPart("c"), TextPart("d"), ToolCall("1", "f", "{}")]
    )
    items = sent(
        ChatRequest("gpt-5.5", [HI, message, ChatMessage("tool", [ToolResult("1", [TextPart("x")])])], wire="anthropic")
    )[0]["input"]
    assert [item.get("content") for item in items if item["type"] == "message"] == ["hi", "ab", "cd"]
    assert [item["type"] for item in items[1:5]] == ["message", "reasoning", "message", "function_call"]


@pytest.mark.parametrize("field", ["conversation", "prompt"])
@pytest.mark.parametrize("wire", OTHERS)
async def test_what_another_backend_keeps_is_refused_by_name(field: str, wire: str) -> None:
    """An answer without the earlier messages would answer something else."""
    async with house(wire, HELLO) as (here, dialect):
        path, body = asking(spoken.NAME)
        got = await here.ask(path, {**body, field: {"id": "kept_1"}})
    assert got.status == 400
    assert field in got.json["error"]["message"]
    assert not dialect.asks


@pytest.mark.parametrize("conversation", ["conv_1", {"id": "conv_1"}])
def test_a_response_names_its_conversation_as_an_object(conversation: object) -> None:
    """Whichever way the ask named it."""
    chat_request = spoken.read_request(json.dumps({"model": "m", "input": "hi", "conversation": conversation}).encode())
    write = spoken.writer(chat_request, "one", 1)
    write.write([*HELLO[1], *HELLO[3]])
    assert json.loads(write.end())["conversation"] == {"id": "conv_1"}


@pytest.mark.parametrize(("dialect", "wire"), [("openai-responses", "openai-chat"), ("openai-chat", "openai-responses")])
@pytest.mark.parametrize(("vendor", "lost"), [("openai", None), ("house", "extra.foreign")])
async def test_what_both_of_openais_wires_know_goes_along(
    dialect: str, wire: str, vendor: str, lost: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is asked for and what to cache by reach OpenAI by either wire; others do not get it, which is reported."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key")
    backend = ScriptedVendor(wire, HELLO)
    name = f"openai-{wire.removeprefix('openai-')}".removesuffix("-chat") if vendor == "openai" else vendor
    async with before({name: (wire, backend)}) as here:
        path, body = asking(dialect, f"{name}/gpt-5.5", safety_identifier="x" * 65, prompt_cache_key="k")
        got = await here.ask(path, body)
    assert got.status == 200
    sent_on = backend.seen[0].json
    assert (sent_on.get("prompt_cache_key"), len(sent_on.get("safety_identifier", ""))) == (
        ("k", 64) if lost is None else (None, 0)
    )
    assert ("extra.foreign" in got.headers.get("x-polychat-losses", "")) == (lost is not None)

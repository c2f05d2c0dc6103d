"""Kind: a long text that is held many times over as letters of Python, wherever in a request it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from polychat.types import ChatMessage, ChatRequest, ImagePart, Opaque, ReasoningPart, TextPart, Tool, ToolCall, ToolResult
from polychat.wire import placeholders
from polychat.wire.contract import wire_named

from ..support.endpoint_bodies import BODIES, ONLY
from ..support.large_requests import (
    COPIES,
    LONG,
    LONG_TEXT,
    PNG,
    WORDS,
    each_other,
    each_wire,
    everything_stays,
    exchanged,
    request,
    sent_and_peak,
)
from ..support.linear_time import places, put

SIZE = 4 << 20
TOGETHER = 2.0
"""Times the body, of one with long texts, at all places or in many calls: what is sent is not held beside what came."""
SHORT = frozenset(
    (
        *("type", "role", "model", "id", "name", "tool_call_id", "call_id", "tool_use_id", "media_type", "mimeType", "detail"),
        *("url", "image_url", "data", "signature", "thoughtSignature", "thinking_signature", "encrypted_content", "required"),
    )
)
"""Members that are a name or one of some words, or media, or what only its vendor reads."""


def rich(vendor: str) -> ChatRequest:
    """A request with a text in each place that all wires have."""
    schema = {"type": "object", "properties": {"a": {"type": "string", "description": "s", "enum": ["e"]}}}
    parts = [ReasoningPart("t", Opaque(vendor, "sig")), TextPart("x"), ToolCall("call_1", "f", '{"content":"1","why":"2"}')]
    turns = [
        ChatMessage("system", [TextPart("s")]),
        ChatMessage("user", [TextPart("a"), ImagePart(data=PNG, media_type="image/png")]),
        ChatMessage("assistant", parts),
        ChatMessage("tool", [ToolResult("call_1", [TextPart("r")], "f")]),
        ChatMessage("user", [TextPart("b")]),
    ]
    return ChatRequest("m", turns, [Tool("f", "d", schema)], max_tokens=9)


def text_places(body: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Where a request has texts that may be long."""
    for path, value in places(body):
        if isinstance(value, str) and SHORT.isdisjoint(path[-2:]) and "images" not in path:
            yield path


def filled(come: str, text: str, **spelled: Any) -> tuple[str, list[dict[str, Any]]]:
    """Path and bodies of requests of this wire: in each, one place has this text; in arguments it is a member of theirs."""
    path, data = request(come, rich(wire_named(come).VENDOR))
    body = json.loads(data)
    made = []
    for place in text_places(body):
        here = json.dumps({"content": text, "why": text}, **spelled) if place[-1] == "arguments" else text
        made.append(put(body, place, here))
    return path, made


SPELLED: dict[str, dict[str, Any]] = {
    "compact": {"ensure_ascii": False, "separators": (",", ":")},
    "with blanks": {"ensure_ascii": False},
    "ASCII": {},
}


@pytest.mark.parametrize("spelled", SPELLED)
@each_other
@each_wire
async def test_a_backend_gets_a_long_text_of_any_place(
    come: str, to: str, spelled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if nothing had stood aside."""
    monkeypatch.setattr(placeholders, "LONG", LONG)
    for text in (LONG_TEXT, json.dumps({"text": LONG_TEXT}, ensure_ascii=False)):
        path, bodies = filled(come, text, **SPELLED[spelled])
        requests = [(path, json.dumps(body, **SPELLED[spelled]).encode()) for body in bodies]
        answers, got = await exchanged(to, *requests)
        with monkeypatch.context() as patch:
            everything_stays(patch)
            expected, sent_large = await exchanged(to, *requests)
        assert [answer.status for answer in answers] == [answer.status for answer in expected]
        assert got == sent_large
        assert len(got) > len(bodies) // 2


def everywhere(come: str) -> tuple[str, bytes]:
    """A request with a large text at each place."""
    path, data = request(come, rich(wire_named(come).VENDOR))
    body = json.loads(data)
    all_places = list(text_places(body))
    for place in all_places:
        text = WORDS * (SIZE // len(all_places) // len(WORDS.encode()))
        body = put(body, place, json.dumps({"content": text}, **SPELLED["compact"]) if place[-1] == "arguments" else text)
    return path, json.dumps(body, **SPELLED["compact"]).encode()


def a_long_conversation(come: str, each: int) -> tuple[str, bytes]:
    """One of many turns, with calls and results as agents have them, of so many bytes each."""
    text = WORDS * (each // len(WORDS.encode()))
    turns: list[ChatMessage] = []
    for number in range(SIZE // (3 * each)):
        call = ToolCall(f"call_{number}", "f", json.dumps({"content": text}, **SPELLED["compact"]))
        turns.append(ChatMessage("user", [TextPart(text)]))
        turns.append(ChatMessage("assistant", [call]))
        turns.append(ChatMessage("tool", [ToolResult(call.id, [TextPart(text)], "f")]))
    return request(come, ChatRequest("m", [*turns, ChatMessage("user", [TextPart("b")])], max_tokens=9))


@each_other
@each_wire
async def test_long_texts_cost_three_times_their_size_at_most(come: str, to: str) -> None:
    """Of more than one alphabet, at all places at once; and a long conversation of many calls and results."""
    small = request(come, rich(wire_named(come).VENDOR))[1]
    bodies = {
        "everywhere": (everywhere(come), TOGETHER),
        "of 24 KB": (a_long_conversation(come, 24_000), TOGETHER),
        "of 2 KB": (a_long_conversation(come, 2_000), 2.5),
    }
    for kind, ((path, body), most) in bodies.items():
        peak = await sent_and_peak(to, path, small, body)
        assert peak <= most * len(body), f"{kind}: {peak / len(body):.2f} times the body"


ENDPOINTS = {
    path: body
    for path, body in BODIES.items()
    if not path.startswith(":") and "embed" not in path and {"input", "prompt"} & set(body) and "input_tokens" not in path
    if path not in ONLY
}
"""Endpoints of chats whose request may be one text, with a small one."""


@each_other
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_prompt_of_one_text_costs_three_times_its_size_at_most(path: str, to: str) -> None:
    """And with instructions, where the endpoint has a field for these."""
    body = ENDPOINTS[path]
    text = WORDS * (SIZE // len(WORDS.encode()))
    names = [*(name for name in ("input", "prompt") if name in body)]
    names += {"/v1/responses": ["instructions"], "/api/generate": ["system"]}.get(path, [])
    small = json.dumps({**body, "model": "house/small"}).encode()
    fields = [{name: text} for name in names] + ([{"prompt": [text]}] if path == "/v1/completions" else [])
    for field in fields:
        large = json.dumps({**json.loads(small), **field}, ensure_ascii=False).encode()
        peak = await sent_and_peak(to, path, small, large)
        assert peak <= COPIES * len(large), f"{[*field]}: {peak / len(large):.2f} times the body"

"""Kinds of fault in replies of Ollama's wire, and in its dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.events import Event, Finish, Media, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.types import ChatRequest
from polychat.wire import ollama as wire

from ..support.gateway_for_clients import house
from ..support.read_replies import read_pieces

END = {"model": "m", "done": True, "done_reason": "stop"}


def lines(*values: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in values)


@pytest.mark.parametrize(
    "odd",
    [
        {"images": ["?"]},
        {"images": 5},
        {"thinking": 5},
        {"thinking_signature": 5},
        {"tool_calls": None},
        {"never_heard_of": [1]},
    ],
)
def test_decoration_never_costs_the_words(odd: dict[str, Any]) -> None:
    """Additional data that cannot be read is left out."""
    body = lines({"model": "m", "message": {"role": "assistant", "content": "x", **odd}, "logprobs": [1], "done": False}, END)
    assert read_pieces(wire.Reader(), [body]).events == [Start(None, "m"), Text("x"), Finish("complete", "stop")]


def test_half_an_emoji() -> None:
    """A pair that two lines share is one letter; a half alone is left out."""
    chunks = [{"model": "m", "message": {"content": one}, "done": False} for one in ("a\ud83d", "\ude00b", "\ud83d")]
    assert read_pieces(wire.Reader(), [lines(*chunks, END)]).text == "a😀b"


def test_no_line_holds_what_some_readers_take_for_its_end() -> None:
    """U+2028, U+2029 and U+0085 are escaped, wherever they occur."""
    events: list[Event] = [
        Reasoning("\u2028"),
        Text("\u2029"),
        ToolCallPiece(0, "a", "f", '{"x":"\u0085"}'),
        Finish("complete"),
    ]
    writer = wire.writer(ChatRequest("m", [], stream=True), "one", 1)
    body = writer.write(events).decode()
    assert len(body.splitlines()) == body.count("\n")
    assert read_pieces(wire.Reader(), [body.encode()]).events[1:3] == [Reasoning("\u2028"), Text("\u2029")]


@pytest.mark.parametrize("stream", [True, False])
async def test_ollamas_client_reads_a_rich_answer(stream: bool) -> None:
    """Thoughts, U+2028, an image and parallel calls, in Ollama's dialect before a backend of another wire."""
    ollama = pytest.importorskip("ollama")
    events: list[list[Event]] = [
        [Reasoning("hm"), Text("a\u2028b"), Media(b"\x89PNG\r\n\x1a\n", "image/png")],
        [ToolCallPiece(0, "a", "f", '{"x":1}'), ToolCallPiece(1, "b", "g", "{}")],
        [Usage(3, 4, 7), Finish("complete", "tool_calls")],
    ]
    async with house("openai-chat", events) as (here, _):
        client = ollama.AsyncClient(here.url)
        options = {"model": "house/small", "messages": [{"role": "user", "content": "hi"}]}
        parts = [part async for part in await client.chat(**options, stream=True)] if stream else [await client.chat(**options)]
        await client.close()
    assert "".join(part.message.content or "" for part in parts) == "a\u2028b"
    assert "".join(part.message.thinking or "" for part in parts) == "hm"
    assert [call.function.name for part in parts for call in part.message.tool_calls or []] == ["f", "g"]
    assert parts[-1].eval_count == 4
    assert parts[-1].total_duration is not None

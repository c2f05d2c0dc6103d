"""The official SDKs' own stream helpers, before backends of every wire: what they put together is what our readers read."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from polychat.events import Citation, Event, Finish, Media, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.wire.contract import names, wire_named
from polychat.wire.sites.deltas import complete_members

from ..support.gateway_for_clients import ASKED, KEY, house
from ..support.random_conversations import read, written
from ..support.vendor_clients import vendor_client

anthropic, ollama, openai = (vendor_client(name) for name in ("anthropic", "ollama", "openai"))
genai = vendor_client("google.genai", "google-genai")

PNG = b"\x89PNG\r\n\x1a\n"
RICH: list[Event] = [
    Start("one", "m"),
    *(Reasoning("Let me "), Reasoning("think\u2028.")),
    *(Text("One\u2028"), Citation("A", "https://a.example/", "", 0, 4), Text("two\u0085\u2029")),
    *(Citation("B", "https://b.example/", "", 4, 9), Media(PNG, "image/png")),
    *(ToolCallPiece(0, "call_a", "weather", '{"city":'), ToolCallPiece(0, None, None, '"\u2028Oslo"}')),
    *(ToolCallPiece(1, "call_b", "now", "{}"), Usage(11, 7, 18), Finish("complete", "tool_calls")),
]
CUT: list[Event] = [
    *(Start("one", "m"), Text("Let me look."), ToolCallPiece(0, "call_a", "weather", '{"days":3,"city":"Os')),
    *(Usage(11, 7, 18), Finish("complete", "length")),
]
LONG: list[Event] = [Start("one", "m"), Text("Let me"), Usage(11, 7, 18), Finish("complete", "length")]


@dataclass
class Said:
    """What an answer says, however it came."""

    text: str = ""
    thoughts: str = ""
    pages: list[str] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    cut: bool = False


def value_of(arguments: str) -> Any:
    """The object that they are, or the text, where they were cut."""
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def said_in(events: list[Event]) -> Said:
    """By our own reading."""
    summary = Said()
    for event in events:
        match event:
            case Text():
                summary.text += event.text
            case Reasoning():
                summary.thoughts += event.text
            case Citation():
                summary.pages.append(event.url)
            case Media():
                summary.images.append(event.data)
            case ToolCallPiece(id=str(_)):
                summary.calls.append((event.name or "", event.arguments))
            case ToolCallPiece():
                name, arguments = summary.calls.pop()
                summary.calls.append((name, arguments + event.arguments))
            case Finish():
                summary.cut = event.reason == "length"
                assert event.verdict == "complete", event.error
    summary.calls = [(name, value_of(arguments)) for name, arguments in summary.calls]
    return summary


async def chat(url: str) -> Said:
    client = openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
    async with client, client.chat.completions.stream(model="house/small", messages=ASKED) as stream:
        try:
            (choice,) = (await stream.get_final_completion()).choices
        except openai.LengthFinishReasonError as cut:  # its way to say so
            (choice,) = cut.completion.choices
    message = choice.message
    calls = [(call.function.name, value_of(call.function.arguments)) for call in message.tool_calls or []]
    pages = [note.url_citation.url for note in message.annotations or []]
    images = [base64.b64decode(one["image_url"]["url"].partition(",")[2]) for one in getattr(message, "images", None) or []]
    thoughts = getattr(message, "reasoning_content", None) or ""
    return Said(message.content or "", thoughts, pages, images, calls, choice.finish_reason == "length")


async def responses(url: str) -> Said:
    client = openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0)
    async with client, client.responses.stream(model="house/small", input="hi") as stream:
        events = [event async for event in stream]
    final = events[-1].response
    parts = [part for item in final.output if item.type == "message" for part in item.content]
    return Said(
        final.output_text,
        "".join(part.text for item in final.output if item.type == "reasoning" for part in item.summary),
        [note.url for part in parts for note in part.annotations],
        [base64.b64decode(item.result) for item in final.output if item.type == "image_generation_call"],
        [(item.name, value_of(item.arguments)) for item in final.output if item.type == "function_call"],
        events[-1].type == "response.incomplete",
    )


async def messages(url: str) -> Said:
    client = anthropic.AsyncAnthropic(api_key=KEY, base_url=url, max_retries=0)
    async with client, client.messages.stream(model="house/small", max_tokens=9, messages=ASKED) as stream:
        final = await stream.get_final_message()
    of = {kind: [block for block in final.content if block.type == kind] for kind in ("text", "thinking", "tool_use", "image")}
    return Said(
        "".join(block.text for block in of["text"]),
        "".join(block.thinking for block in of["thinking"]),
        [citation.url for block in of["text"] for citation in block.citations or []],
        [base64.b64decode(block.source["data"]) for block in of["image"]],
        [(block.name, block.input) for block in of["tool_use"]],
        final.stop_reason == "max_tokens",
    )


async def google(url: str) -> Said:
    client = genai.Client(api_key=KEY, http_options={"base_url": url})
    chunks = [chunk async for chunk in await client.aio.models.generate_content_stream(model="house/small", contents="hi")]
    await client.aio.aclose()
    client.close()
    parts = [part for chunk in chunks for one in chunk.candidates or [] if one.content for part in one.content.parts or []]
    grounded = [one.grounding_metadata for chunk in chunks for one in chunk.candidates or [] if one.grounding_metadata]
    return Said(
        "".join(part.text for part in parts if part.text and not part.thought),
        "".join(part.text for part in parts if part.text and part.thought),
        [entry.web.uri for entry in (grounded[-1].grounding_chunks or [] if grounded else [])],
        [part.inline_data.data for part in parts if part.inline_data],
        [(part.function_call.name, part.function_call.args) for part in parts if part.function_call],
        chunks[-1].candidates[0].finish_reason.name == "MAX_TOKENS",
    )


async def local(url: str) -> Said:
    client = ollama.AsyncClient(host=url)
    parts = [part async for part in await client.chat(model="house/small", messages=ASKED, stream=True)]
    await client.close()
    return Said(
        "".join(part.message.content or "" for part in parts),
        "".join(part.message.thinking or "" for part in parts),
        [],
        [],
        [(call.function.name, call.function.arguments) for part in parts for call in part.message.tool_calls or []],
        parts[-1].done_reason == "length",
    )


ALL_OF_IT = ("openai-chat", "openai-responses")
"""Wires that can say each of these answers."""
SDKS: dict[str, Callable[[str], Awaitable[Said]]] = {
    "openai-chat": chat,
    "openai-responses": responses,
    "anthropic": messages,
    "gemini": google,
    "ollama": local,
}


@pytest.mark.parametrize("answer", [RICH, CUT, LONG], ids=["rich", "cut call", "cut text"])
@pytest.mark.parametrize("backend", names())
@pytest.mark.parametrize("dialect", names())
@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # theirs
async def test_their_helper_puts_together_what_we_read(dialect: str, backend: str, answer: list[Event]) -> None:
    """Two citations, an image, thoughts, parallel calls, a cut call, U+2028: what both wires can say reaches the program."""
    came = read(wire_named(backend), [written(wire_named(backend), answer, stream=True)])
    expected = said_in(read(wire_named(dialect), [written(wire_named(dialect), came, stream=True)]))
    if dialect in ALL_OF_IT and backend in ALL_OF_IT:
        assert expected == said_in(answer)
    if dialect == "ollama":
        expected.images = []  # their type for an answer has none
    if dialect == "anthropic":  # their helper gives the members that came whole
        expected.calls = [(name, complete_members(call) if isinstance(call, str) else call) for name, call in expected.calls]
    async with house(backend, [answer[:2], answer[2:5], answer[5:]]) as (here, _):
        got = await SDKS[dialect](here.url)
    assert got == expected

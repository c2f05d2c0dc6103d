"""Conversations by Hypothesis as a client holds them (tools called and answered), and their replies, made comparable."""

from __future__ import annotations

import json
import string
from copy import deepcopy
from dataclasses import fields
from typing import Any

from hypothesis import strategies as st

from polychat.events import Event, Finish, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.types import (
    ChatMessage,
    ChatRequest,
    FilePart,
    Format,
    HostedTool,
    ImagePart,
    Opaque,
    Part,
    ReasoningPart,
    TextPart,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from polychat.wire.contract import Wire
from polychat.wire.field import SupportTable
from polychat.wire.fields import plain_fields

from .random_requests import values_of

LETTERS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
"""Any text that is not empty."""
NAMES = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | LETTERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=3)
SCHEMAS = st.lists(NAMES, max_size=3, unique=True).map(
    lambda names: {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}
)
PNG = b"\x89PNG\r\n\x1a\n"


def tools() -> st.SearchStrategy[list[Tool]]:
    one = st.builds(Tool, NAMES, st.none() | LETTERS, SCHEMAS, st.none() | st.booleans())
    return st.lists(one, max_size=2, unique_by=lambda tool: tool.name)


_APART = ("max_tokens", "parallel_tool_calls", "stream_usage", "service_tier", "previous", "store")
"""Always said, said beside tools and streams only, or said otherwise on some wires than on others."""


@st.composite
def asks(draw: st.DrawFn, vendor: str = "openai", stream: bool | None = None) -> ChatRequest:
    """A valid ask: a system turn or none, users and assistants in turn, every call answered by a result."""
    offered = draw(tools())
    request = ChatRequest("some-model", _turns(draw, [tool.name for tool in offered], vendor), list(offered))
    request.stream = draw(st.booleans()) if stream is None else stream
    request.max_tokens = draw(st.integers(1, 9999))
    for row in plain_fields():
        if row.name not in _APART and (value := draw(st.none() | values_of(row))) is not None:
            setattr(request, row.name, value)
    request.reasoning = draw(st.none() | st.sampled_from(["low", "medium", "high"]).map(lambda effort: Thinking(effort=effort)))
    request.format = draw(st.none() | st.just(Format("json")) | SCHEMAS.map(lambda schema: Format("schema", schema, "answer")))
    if offered:
        names = st.sampled_from([tool.name for tool in offered]).map(lambda name: ToolChoice("named", name))
        request.tool_choice = draw(st.none() | names | st.sampled_from(["auto", "none", "required"]).map(ToolChoice))
        request.parallel_tool_calls = draw(st.none() | st.booleans())
    return request


def _turns(draw: st.DrawFn, names: list[str], vendor: str) -> list[ChatMessage]:
    turns: list[ChatMessage] = []
    if draw(st.booleans()):
        turns.append(ChatMessage("system", [TextPart(draw(LETTERS))]))
    last = draw(st.integers(0, 2))
    for number in range(last + 1):
        turns.append(ChatMessage("user", _said(draw)))
        if number < last:
            turns.append(ChatMessage("assistant", _answer(draw, names, number, vendor)))
            calls = [part for part in turns[-1].parts if isinstance(part, ToolCall)]
            if calls:
                turns.append(ChatMessage("tool", [_result(draw, call) for call in calls]))
                turns.append(ChatMessage("assistant", [TextPart(draw(LETTERS))]))
    return turns


def _said(draw: st.DrawFn) -> list[Part]:
    image = ImagePart(data=PNG + draw(st.binary(max_size=4)), media_type="image/png")
    others = [
        image,
        ImagePart(url="https://example.org/a.png"),
        FilePart(data=b"%PDF-1.7", media_type="application/pdf", name="a.pdf"),
    ]
    return [*draw(st.lists(st.sampled_from(others), max_size=2)), TextPart(draw(LETTERS))]


def _answer(draw: st.DrawFn, names: list[str], number: int, vendor: str) -> list[Part]:
    parts: list[Part] = []
    if draw(st.booleans()):
        parts.append(ReasoningPart(draw(LETTERS), Opaque(vendor, draw(NAMES))))
    parts.append(TextPart(draw(LETTERS)))
    if names and draw(st.booleans()):
        for place in range(draw(st.integers(1, 2))):
            arguments = json.dumps(draw(OBJECTS), separators=(",", ":"), ensure_ascii=False)
            parts.append(ToolCall(f"call_{number}_{place}", draw(st.sampled_from(names)), arguments))
    return parts


def _result(draw: st.DrawFn, call: ToolCall) -> ToolResult:
    return ToolResult(call.id, [TextPart(draw(LETTERS))], call.name, draw(st.booleans()))


def exact(request: ChatRequest, *tables: SupportTable) -> ChatRequest:
    """A copy without what any of the wires emulates: what comes close to it cannot be compared."""
    plain = deepcopy(request)
    for support_table in tables:
        close = {name for name, support in support_table.items() if support.kind == "emulated"}
        for name in close & set(vars_of(plain)):
            setattr(plain, name, None)
        if plain.format is not None and f"format.{plain.format.kind}" in close:
            plain.format = None
        if plain.tool_choice is not None and f"tool_choice.{plain.tool_choice.mode}" in close:
            plain.tool_choice = None
        if plain.reasoning is not None and close & {"reasoning.effort", "reasoning.budget"}:
            plain.reasoning = None
    return plain


def vars_of(request: ChatRequest) -> list[str]:
    return [field.name for field in fields(request) if getattr(request, field.name) is not None]


def comparable(request: ChatRequest, support_table: SupportTable, vendor: str) -> ChatRequest:
    """A copy without what the wire drops or emulates, and with calls numbered in their order: some wires have no ids."""
    plain = deepcopy(request)
    plain.wire = None
    plain.stream_usage = None

    def gone(name: str) -> bool:
        return support_table[name].kind in ("dropped", "emulated")

    for name in support_table:
        if gone(name) and hasattr(plain, name) and name not in ("model", "tools", "stream"):
            setattr(plain, name, [] if name == "stop" else None)
    if plain.tool_choice is not None and plain.tool_choice.mode == "none":
        plain.parallel_tool_calls = None  # says nothing where no tool may be called, and Anthropic has no place for it there
    if plain.tool_choice is not None and plain.tool_choice.mode == "auto":
        plain.tool_choice = None  # that is what it is where nothing is said, and some wires must say it
    if plain.tool_choice is not None and gone(f"tool_choice.{plain.tool_choice.mode}"):
        plain.tool_choice = None
    _plain_form(plain, gone)
    plain.messages = [turn for turn in (_plain_turn(turn, gone, vendor) for turn in plain.messages) if turn.parts]
    _numbered(plain)
    return plain


def _plain_form(plain: ChatRequest, gone: Any) -> None:
    form = plain.format
    if form is not None:
        form.name = form.description = None
        form.strict = None if gone("format.strict") else form.strict
        if form.kind == "text" or gone(f"format.{form.kind}"):
            plain.format = None
    for tool in plain.tools:
        assert not isinstance(tool, HostedTool)
        tool.strict = None if gone("tools.strict") else tool.strict or None  # not strict is what most are, and some must say
    thinking = plain.reasoning
    if thinking is not None:
        for name in ("effort", "budget", "summary"):
            if gone(f"reasoning.{name}"):
                setattr(thinking, name, None)
        thinking.summary = None  # some wires say it with every effort
        if thinking.effort is None and thinking.budget is None:
            plain.reasoning = None


def _plain_turn(turn: ChatMessage, gone: Any, vendor: str) -> ChatMessage:
    parts: list[Part] = []
    for part in turn.parts:
        match part:
            case ImagePart() if gone("parts.image.url" if part.url is not None else "parts.image.data"):
                continue
            case FilePart() if gone("parts.file.data"):
                continue
            case FilePart() if gone("parts.file.name"):
                part.name = None
            case ReasoningPart():
                if part.opaque is not None and (part.opaque.vendor != vendor or gone("parts.opaque")):
                    part.opaque = None
                part.text = "" if gone("parts.reasoning") else part.text
                if not part.text and part.opaque is None:
                    continue
            case ToolResult():
                part.is_error = False if gone("parts.result.error") else part.is_error
        parts.append(part)
    return ChatMessage(turn.role, parts, None if gone("messages.name") else turn.name, turn.extra)


def _numbered(plain: ChatRequest) -> None:
    """Calls by their order, and results by the order of their calls; arguments as values."""
    known: dict[str, str] = {}
    for turn in plain.messages:
        for part in turn.parts:
            if isinstance(part, ToolCall):
                known[part.id] = part.id = f"call {len(known)}"
                part.arguments = json.dumps(json.loads(part.arguments or "{}"), sort_keys=True)
            elif isinstance(part, ToolResult):
                part.id = known.get(part.id, part.id)


@st.composite
def replies(draw: st.DrawFn, vendor: str = "openai", thoughts: bool = True) -> list[Event]:
    """The events of one good reply: thoughts, text in pieces, calls in pieces, usage, end."""
    events: list[Event] = [Start("one", "some-model")]
    if thoughts and draw(st.booleans()):
        events += [Reasoning(piece) for piece in draw(st.lists(LETTERS, min_size=1, max_size=3))]
    events += [Text(piece) for piece in draw(st.lists(LETTERS, max_size=4))]
    calls = draw(st.lists(st.tuples(NAMES, OBJECTS), max_size=2))
    for number, (name, value) in enumerate(calls):
        arguments = json.dumps(value, ensure_ascii=False)
        cut = draw(st.integers(0, len(arguments)))
        events += [ToolCallPiece(number, f"call_{number}", name, arguments[:cut])]
        events += [ToolCallPiece(number, None, None, arguments[cut:])] if cut < len(arguments) else []
    if len(events) == 1:
        events.append(Text(draw(LETTERS)))
    prompt_tokens, answered = draw(st.integers(1, 999)), draw(st.integers(1, 999))
    reason = "tool_calls" if calls else draw(st.sampled_from(["stop", "length"]))
    return [*events, Usage(prompt_tokens, answered, prompt_tokens + answered), Finish("complete", reason)]


def summary_of(events: list[Event]) -> dict[str, Any]:
    """What a reply amounts to, however it was cut into pieces."""
    calls: dict[int, list[str]] = {}
    summary: dict[str, Any] = {"text": "", "reasoning": "", "usage": None, "finish": None}
    for event in events:
        match event:
            case Text():
                summary["text"] += event.text
            case Reasoning():
                summary["reasoning"] += event.text
            case ToolCallPiece():
                call = calls.setdefault(event.index, ["", ""])
                call[0] = event.name or call[0]
                call[1] += event.arguments
            case Usage():
                summary["usage"] = (event.prompt_tokens, event.completion_tokens)
            case Finish():
                assert summary["finish"] is None, "a reply ends once"
                summary["finish"] = (event.verdict, event.reason)
    summary["calls"] = [(name, json.loads(arguments or "{}")) for name, arguments in calls.values()]
    return summary


def ask_for(stream: bool) -> ChatRequest:
    """An ask to be answered, streamed or not, with its usage."""
    return ChatRequest("some-model", [ChatMessage("user", [TextPart("hi")])], stream=stream, stream_usage=stream or None)


def written(wire: Wire, events: list[Event], *, stream: bool) -> bytes:
    """A reply in a wire's bytes."""
    writer = wire.writer(ask_for(stream), "one", 1_700_000_000)
    return b"".join([writer.write([event]) for event in events]) + writer.end()


def read(wire: Wire, pieces: list[bytes], **how: Any) -> list[Event]:
    """The events of a streamed reply in these pieces."""
    reader = wire.Reader(**how)
    events = [event for piece in pieces for event in reader.feed(piece)] + reader.end()
    assert reader.done
    assert reader.feed(b"more") == reader.end() == []
    return events

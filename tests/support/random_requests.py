"""Requests and replies by Hypothesis with every field of the table, and what of them a wire has to bring back."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import fields, is_dataclass, replace
from typing import Any

from hypothesis import strategies as st

from polychat.events import (
    Citation,
    Event,
    Finish,
    Logprobs,
    Media,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCallPiece,
    Usage,
)
from polychat.types import (
    AudioPart,
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
from polychat.wire.contract import wire_named
from polychat.wire.field import COUNT, FLAG, NUMBER, PAIRS, TEXT, TEXT_OR_TEXTS, WEIGHTS, WHOLE, Field, SupportTable
from polychat.wire.fields import FIELDS, plain_fields

VENDORS = ("openai", "anthropic", "gemini", "deepseek")
LETTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(LETTERS, min_size=1, max_size=12) | st.sampled_from(
    ["Hello", " ", "é\u2028\n\r", '"\\/', "data: [DONE]\n\n", "🙂"]
)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1, max_size=8)
IDS = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789_-", min_size=1, max_size=10)
BLOBS = st.binary(min_size=1, max_size=12)
CACHES = st.none() | st.sampled_from(["5m", "1h"])
NUMBERS = st.sampled_from([0.0, 0.25, 0.5, 1.0])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=2)
SCHEMAS = st.builds(
    lambda names: {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
        "additionalProperties": False,
    },
    st.lists(NAMES, max_size=2, unique=True),
)
_EXTRAS = st.none() | st.dictionaries(
    NAMES.map(lambda name: f"x_{name}"), VALUES.filter(lambda value: value is not None), min_size=1, max_size=1
)


_VALUES: dict[Any, st.SearchStrategy[Any]] = {
    NUMBER.read: NUMBERS,
    WHOLE.read: st.integers(1, 99),
    COUNT.read: st.integers(0, 20),
    FLAG.read: st.booleans(),
    TEXT.read: IDS,
    TEXT_OR_TEXTS.read: st.lists(TEXTS, min_size=1, max_size=2, unique=True),
    PAIRS.read: st.dictionaries(NAMES, TEXTS, min_size=1, max_size=2),
    WEIGHTS.read: st.dictionaries(st.integers(0, 99).map(str), st.integers(-100, 100), min_size=1, max_size=2),
}


def values_of(row: Field) -> st.SearchStrategy[Any]:
    """Values of a plain field of the table that every wire that carries it carries as they are."""
    assert row.type is not None
    return st.sampled_from(row.values) if row.values else _VALUES[row.type.read]


class _Asks:
    """Draws one ask. ``without`` names fields of the ledger that it is not to use."""

    def __init__(self, draw: Any, without: Collection[str], wire: str | None, vendors: Collection[str]) -> None:
        unknown = [name for name in without if name not in FIELDS]
        assert not unknown, f"the ledger has no {unknown}"
        self.draw, self.without, self.wire, self.vendors = draw, frozenset(without), wire, tuple(vendors)
        self.ids = 0

    def has(self, name: str) -> bool:
        return name not in self.without

    def maybe(self, name: str, strategy: st.SearchStrategy[Any]) -> Any:
        """A value for a field, or ``None``."""
        return self.draw(st.none() | strategy) if self.has(name) else None

    def plain(self, ask: ChatRequest, row: Field) -> None:
        """A value for a plain field, or none."""
        value = self.maybe(row.name, values_of(row))
        if value is not None:
            setattr(ask, row.name, value)

    def cache(self) -> str | None:
        return self.draw(CACHES) if self.has("cache") else None

    def extra(self) -> dict[str, Any] | None:
        return self.draw(_EXTRAS) if self.wire is not None and self.has("extra") else None

    def opaque(self) -> Opaque | None:
        if not self.has("parts.opaque") or not self.vendors:
            return None
        return self.draw(st.none() | opaques(self.vendors))

    def text(self) -> TextPart:
        return TextPart(self.draw(TEXTS), self.cache(), self.extra())

    def image(self) -> ImagePart:
        detail = self.maybe("parts.image.detail", st.sampled_from(["low", "high", "auto"]))
        if self.has("parts.image.url") and (not self.has("parts.image.data") or self.draw(st.booleans())):
            return ImagePart(
                url=f"https://a.example/{self.draw(NAMES)}.png", detail=detail, cache=self.cache(), extra=self.extra()
            )
        media_type = self.draw(st.sampled_from(["image/png", "image/jpeg", "image/webp"]))
        return ImagePart(data=self.draw(BLOBS), media_type=media_type, detail=detail, cache=self.cache(), extra=self.extra())

    def audio(self) -> AudioPart:
        return AudioPart(self.draw(BLOBS), self.draw(st.sampled_from(["audio/wav", "audio/mpeg"])), self.extra())

    def file(self) -> FilePart:
        name = self.maybe("parts.file.name", NAMES.map(lambda name: f"{name}.pdf"))
        where = self.draw(st.sampled_from([one for one in ("url", "data", "id") if self.has(f"parts.file.{one}")]))
        part = FilePart(name=name, cache=self.cache(), extra=self.extra())
        if where == "url":
            part.url = f"https://a.example/{self.draw(NAMES)}.pdf"
        elif where == "id":
            part.id = f"file-{self.draw(NAMES)}"
        else:
            part.data, part.media_type = self.draw(BLOBS), "application/pdf"
        return part

    def kinds(self) -> list[Any]:
        """What a user's turn may hold."""
        kinds: list[Any] = [self.text, self.text]
        if self.has("parts.image.url") or self.has("parts.image.data"):
            kinds.append(self.image)
        if self.has("parts.audio"):
            kinds.append(self.audio)
        if any(self.has(f"parts.file.{one}") for one in ("url", "data", "id")):
            kinds.append(self.file)
        return kinds

    def name(self) -> str | None:
        return self.maybe("messages.name", NAMES)

    def said(self, role: Any) -> ChatMessage:
        """A system's or developer's turn."""
        return ChatMessage(role, [self.text() for _ in range(self.draw(st.integers(1, 2)))], self.name(), self.extra())

    def user(self) -> ChatMessage:
        kinds = self.draw(st.lists(st.sampled_from(self.kinds()), min_size=1, max_size=3))
        return ChatMessage("user", [kind() for kind in kinds], self.name(), self.extra())

    def assistant(self, last: bool) -> ChatMessage:
        """Thoughts, text, refusal, calls, in that order; at the conversation's end without calls."""
        parts: list[Any] = []
        if self.has("parts.reasoning"):
            parts += [self.thought() for _ in range(self.draw(st.integers(0, 2)))]
        parts += [self.text() for _ in range(self.draw(st.integers(0, 2)))]
        if self.has("parts.refusal") and self.draw(st.booleans()):
            parts.append(RefusalPart(self.draw(TEXTS)))
        if not last and self.has("parts.call"):
            parts += [self.call() for _ in range(self.draw(st.integers(0, 2)))]
        if not any(isinstance(part, (TextPart, ToolCall, RefusalPart)) for part in parts):
            parts.append(self.text())
        return ChatMessage("assistant", parts, self.name(), self.extra())

    def thought(self) -> ReasoningPart:
        opaque = self.opaque()
        return ReasoningPart("" if opaque is not None and opaque.redacted else self.draw(TEXTS), opaque)

    def call(self) -> ToolCall:
        self.ids += 1
        arguments = json.dumps(self.draw(OBJECTS), ensure_ascii=self.draw(st.booleans()))
        opaque = self.opaque()
        if opaque is not None:
            opaque.redacted, opaque.id = False, None
        return ToolCall(f"{self.draw(IDS)}_{self.ids}", self.draw(NAMES), arguments, opaque, self.cache(), self.extra())

    def result(self, call: ToolCall) -> ToolResult:
        kinds = [self.text]
        if self.has("parts.result.image") and (self.has("parts.image.url") or self.has("parts.image.data")):
            kinds.append(self.image)
        if self.has("parts.result.file") and any(self.has(f"parts.file.{one}") for one in ("url", "data", "id")):
            kinds.append(self.file)
        parts = [kind() for kind in self.draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=2))]
        failed = self.has("parts.result.error") and self.draw(st.booleans())
        return ToolResult(call.id, parts, call.name, failed, self.cache(), self.extra())

    def messages(self) -> list[ChatMessage]:
        roles = [role for role in ("system", "developer") if self.has(f"messages.{role}")]
        turns = [self.said(self.draw(st.sampled_from(roles)))] if roles and self.draw(st.booleans()) else []
        for _ in range(self.draw(st.integers(0, 2))):
            turns.append(self.user())
            turns += self.answered()
            if roles and self.has("messages.system.late") and self.draw(st.integers(0, 3)) == 0:
                turns.append(self.said(self.draw(st.sampled_from(roles))))
        turns.append(self.user())
        if self.has("messages.assistant.last") and self.draw(st.integers(0, 3)) == 0:
            turns.append(self.assistant(last=True))
        return turns

    def answered(self) -> list[ChatMessage]:
        """An assistant's turn, with the results of its calls and a last word behind them."""
        turn = self.assistant(last=False)
        calls = [part for part in turn.parts if isinstance(part, ToolCall)]
        if not calls:
            return [turn]
        return [turn, ChatMessage("tool", [self.result(call) for call in calls]), self.assistant(last=True)]

    def tools(self) -> list[Tool]:
        if not self.has("tools"):
            return []
        names = self.draw(st.lists(NAMES, max_size=2, unique=True))
        return [self.tool(name) for name in names]

    def tool(self, name: str) -> Tool:
        strict = self.maybe("tools.strict", st.booleans())
        schema = self.draw(st.none() | SCHEMAS)
        return Tool(name, self.draw(st.none() | TEXTS), schema, strict, self.cache(), self.extra())

    def tool_choice(self, tools: list[Tool]) -> ToolChoice | None:
        modes = [mode for mode in ("auto", "none", "required", "named") if self.has(f"tool_choice.{mode}")]
        if not tools or not modes or self.draw(st.booleans()):
            return None
        mode = self.draw(st.sampled_from(modes))
        return ToolChoice(mode, tools[0].name if mode == "named" else None)

    def format(self) -> Format | None:
        kinds = [kind for kind in ("json", "schema") if self.has(f"format.{kind}")]
        if not kinds or self.draw(st.booleans()):
            return None
        if self.draw(st.sampled_from(kinds)) == "json":
            return Format("json")
        strict = self.maybe("format.strict", st.booleans())
        return Format("schema", self.draw(SCHEMAS), self.draw(NAMES), self.draw(st.none() | TEXTS), strict)

    def thinking(self) -> Thinking | None:
        effort = self.maybe("reasoning.effort", st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh"]))
        budget = self.maybe("reasoning.budget", st.sampled_from([-1, 0, 1024, 8192])) if effort is None else None
        summary = self.maybe("reasoning.summary", st.sampled_from(["auto", "concise", "detailed", "none"]))
        return None if effort is budget is summary is None else Thinking(effort, budget, summary)

    def ask(self) -> ChatRequest:
        tools = self.tools()
        ask = ChatRequest("model-1", self.messages(), list(tools), self.tool_choice(tools), wire=self.wire)
        ask.parallel_tool_calls = self.maybe("parallel_tool_calls", st.booleans()) if tools else None
        ask.format, ask.reasoning = self.format(), self.thinking()
        for row in plain_fields():
            if row.name not in ("parallel_tool_calls", "stream_usage"):
                self.plain(ask, row)
        ask.stream = self.has("stream") and self.draw(st.booleans())
        ask.stream_usage = self.maybe("stream_usage", st.booleans()) if ask.stream else None
        ask.extra = self.extra() or {}
        return ask


@st.composite
def opaques(draw: Any, vendors: Collection[str] = VENDORS) -> Opaque:
    """A vendor's opaque part; a redacted one is there without text."""
    data = draw(st.text("abcdefgXYZ0189+/=", min_size=1, max_size=12))
    return Opaque(draw(st.sampled_from(list(vendors))), data, draw(st.none() | IDS), draw(st.booleans()))


@st.composite
def asks(draw: Any, without: Collection[str] = (), wire: str | None = None, vendors: Collection[str] = VENDORS) -> ChatRequest:
    """A valid ask, which uses no field of the ledger that is in ``without``.

    With ``wire`` it is one that was read on that wire, with extras (``x_…``) on it and its values. ``vendors``: whose opaque
    parts are in it. An assistant's turn is in the order thoughts, text, refusal, calls; results come behind their calls, in
    one turn, and an assistant's turn behind them.
    """
    return _Asks(draw, without, wire, vendors).ask()


_PARTS: dict[str, type] = {
    "parts.audio": AudioPart,
    "parts.reasoning": ReasoningPart,
    "parts.refusal": RefusalPart,
    "parts.call": ToolCall,
}


def plain(ask: ChatRequest, support_table: SupportTable, wire: str, vendor: str | None = None) -> ChatRequest:
    """``ask`` as it comes back from ``wire`` (spoken by ``vendor``, else its inventor): what the ledger drops is gone.

    Turns without parts go too. What is mapped or emulated comes as it was: normalize that where the wire does.
    """
    gone = frozenset(name for name, support in support_table.items() if support.kind == "dropped")
    own = ask.wire == wire
    whose = wire_named(wire).VENDOR if vendor is None else vendor
    turns = [_turn(turn, gone, own, whose) for turn in ask.messages]
    back = replace(
        ask,
        messages=[turn for turn in turns if turn.parts],
        tools=[]
        if "tools" in gone
        else [_tool(tool, gone, own) for tool in ask.tools if own or not isinstance(tool, HostedTool)],
        tool_choice=_choice(ask, gone),
        format=_format(ask.format, gone),
        reasoning=_thinking(ask.reasoning, gone),
        extra=ask.extra if own else {},
        wire=wire,
    )
    for name in gone & {field.name for field in fields(ChatRequest)} - {"tools", "tool_choice", "format", "reasoning", "extra"}:
        setattr(back, name, {"stop": [], "stream": False}.get(name))
    return back


def _choice(ask: ChatRequest, gone: frozenset[str]) -> ToolChoice | None:
    return None if ask.tool_choice is None or f"tool_choice.{ask.tool_choice.mode}" in gone else ask.tool_choice


def _format(form: Format | None, gone: frozenset[str]) -> Format | None:
    if form is None or f"format.{form.kind}" in gone:
        return None
    return replace(form, strict=None) if "format.strict" in gone else form


def _thinking(thinking: Thinking | None, gone: frozenset[str]) -> Thinking | None:
    if thinking is None:
        return None
    left = replace(thinking, **{name: None for name in ("effort", "budget", "summary") if f"reasoning.{name}" in gone})
    return None if left == Thinking() else left


def _tool(tool: Any, gone: frozenset[str], own: bool) -> Any:
    if isinstance(tool, HostedTool):
        return tool
    return _bare(replace(tool, strict=None) if "tools.strict" in gone else tool, gone, own)


def _bare(value: Any, gone: frozenset[str], own: bool) -> Any:
    """Without a mark of caching and without extras, where those are dropped."""
    change: dict[str, Any] = {}
    if "cache" in gone and getattr(value, "cache", None) is not None:
        change["cache"] = None
    if not own and getattr(value, "extra", None) is not None:
        change["extra"] = None
    return replace(value, **change)


def _turn(turn: ChatMessage, gone: frozenset[str], own: bool, vendor: str) -> ChatMessage:
    if (f"messages.{turn.role}") in gone:
        return replace(turn, parts=[])
    parts = [left for part in turn.parts if (left := _part(part, gone, own, vendor)) is not None]
    return _bare(replace(turn, parts=parts, name=None if "messages.name" in gone else turn.name), gone, own)


def _part(part: Any, gone: frozenset[str], own: bool, vendor: str) -> Any:
    part = _bare(part, gone, own)
    match part:
        case ReasoningPart():
            return _thought(part, gone, vendor)
        case ToolCall() if "parts.call" not in gone:
            return replace(part, opaque=_opaque(part.opaque, gone, vendor))
        case ImagePart():
            return _image(part, gone)
        case FilePart():
            return _file(part, gone)
        case ToolResult():
            return _result(part, gone, own, vendor)
    return None if any(name in gone and isinstance(part, kind) for name, kind in _PARTS.items()) else part


def _thought(part: ReasoningPart, gone: frozenset[str], vendor: str) -> ReasoningPart | None:
    left = replace(part, opaque=_opaque(part.opaque, gone, vendor), text="" if "parts.reasoning" in gone else part.text)
    return left if left.text or left.opaque is not None else None


def _opaque(opaque: Opaque | None, gone: frozenset[str], vendor: str) -> Opaque | None:
    if opaque is None:
        return None
    return None if ("parts.opaque" if opaque.vendor == vendor else "parts.opaque.foreign") in gone else opaque


def _image(part: ImagePart, gone: frozenset[str]) -> ImagePart | None:
    if ("parts.image.url" if part.url is not None else "parts.image.data") in gone:
        return None
    return replace(part, detail=None) if "parts.image.detail" in gone else part


def _file(part: FilePart, gone: frozenset[str]) -> FilePart | None:
    where = "url" if part.url is not None else "data" if part.data is not None else "id"
    if f"parts.file.{where}" in gone:
        return None
    return replace(part, name=None) if "parts.file.name" in gone else part


def _result(part: ToolResult, gone: frozenset[str], own: bool, vendor: str) -> ToolResult:
    kinds = {TextPart: "text", ImagePart: "image", FilePart: "file"}
    left = [_part(one, gone, own, vendor) for one in part.parts if f"parts.result.{kinds[type(one)]}" not in gone]
    failed = part.is_error and "parts.result.error" not in gone
    return replace(part, parts=[one for one in left if one is not None], is_error=failed)


@st.composite
def usages(draw: Any, cache_write: bool = True) -> Usage:
    """Counts that fit each other; the whole of each part is there."""
    fresh, cached, answer, thoughts = (draw(st.integers(0, 999)) for _ in range(4))
    written = draw(st.none() | st.integers(0, 99)) if cache_write else None
    prompt, completion = 1 + fresh + cached + (written or 0), 1 + answer + thoughts
    return Usage(prompt, completion, prompt + completion, cached, written, thoughts)


@st.composite
def replies(
    draw: Any,
    without: Collection[str] = (),
    vendors: Collection[str] = VENDORS,
    reasons: Collection[str] = ("stop", "length", "content_filter"),
) -> list[Event]:
    """The events of a complete reply of one choice: thoughts, text, sources, refusal, media, calls, usage, in that order.

    ``without`` names what is not to come: ``start``, ``text``, ``reasoning``, ``opaque``, ``source``, ``refusal``, ``media``,
    ``logprobs``, ``calls``, ``usage``. With calls the reason is ``tool_calls``. Something of an answer is always there.
    """

    def comes(name: str) -> bool:
        return name not in without and bool(draw(st.booleans()))

    events: list[Event] = [Start(f"id{draw(IDS)}", "model-1")] if comes("start") else []
    if comes("reasoning"):
        for block in range(draw(st.integers(1, 2))):
            events += draw(_thoughts(block, () if "opaque" in without else vendors))
    events += [Text(text) for text in draw(st.lists(TEXTS, max_size=3))] if "text" not in without else []
    if comes("logprobs") and any(isinstance(event, Text) for event in events):
        events.append(Logprobs([{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]))
    if comes("source") and any(isinstance(event, Text) for event in events):
        events += [Citation(draw(TEXTS), f"https://a.example/{draw(NAMES)}")]
    if comes("refusal"):
        events += [Refusal(text) for text in draw(st.lists(TEXTS, min_size=1, max_size=2))]
    if comes("media"):
        events.append(Media(draw(BLOBS), "image/png"))
    calls = draw(_calls(() if "opaque" in without else vendors)) if comes("calls") else []
    events += calls
    if not any(isinstance(event, (Text, Refusal, ToolCallPiece)) for event in events):
        events.append(Text("x"))
    if comes("usage"):
        events.append(draw(usages()))
    return [*events, Finish("complete", "tool_calls" if calls else draw(st.sampled_from(list(reasons))))]


@st.composite
def _thoughts(draw: Any, block: int, vendors: Collection[str]) -> list[Event]:
    opaque = draw(st.none() | opaques(vendors)) if vendors else None
    if opaque is not None and opaque.redacted:
        return [Reasoning("", opaque, block)]
    pieces: list[Event] = [Reasoning(text, None, block) for text in draw(st.lists(TEXTS, min_size=1, max_size=2))]
    return pieces if opaque is None else [*pieces, Reasoning("", opaque, block)]


@st.composite
def _calls(draw: Any, vendors: Collection[str]) -> list[Event]:
    events: list[Event] = []
    for index in range(draw(st.integers(1, 3))):
        text = json.dumps(draw(OBJECTS))
        cut = draw(st.integers(0, len(text)))
        opaque = draw(st.none() | opaques(vendors)) if vendors else None
        if opaque is not None:
            opaque.redacted, opaque.id = False, None
        first = ToolCallPiece(index, f"{draw(IDS)}_{index}", draw(NAMES), text[:cut], opaque)
        events += [first, ToolCallPiece(index, arguments=text[cut:])] if text[cut:] else [first]
    return events


def merged(events: list[Event]) -> list[Event]:
    """Neighbouring pieces of one text, thought, refusal or call joined, so that cuts do not show. New values, not the same."""
    joined: list[Any] = []
    for event in events:
        last = joined[-1] if joined else None
        if last is not None and _goes_on(last, event):
            _join(last, event)
        else:
            joined.append(replace(event) if is_dataclass(event) else event)
    return joined


def _goes_on(last: Any, event: Any) -> bool:
    if type(last) is not type(event) or getattr(last, "choice", None) != getattr(event, "choice", None):
        return False
    match event:
        case Text() | Refusal():
            return True
        case Reasoning():
            return bool(last.block == event.block)
        case ToolCallPiece():
            return bool(last.index == event.index)
        case Logprobs():
            return True
    return False


def _join(last: Any, event: Any) -> None:
    match event:
        case Text() | Refusal():
            last.text += event.text
        case Reasoning():
            last.text += event.text
            last.opaque = event.opaque or last.opaque
        case ToolCallPiece():
            last.arguments += event.arguments
            last.opaque = event.opaque or last.opaque
            last.name = last.name or event.name
        case Logprobs():
            last.tokens = [*last.tokens, *event.tokens]

"""What a translation does with each field of a request: kept, mapped, emulated, or dropped, and why.

The table of fields (``fields.py``) defines what happens to every field on every wire. ``losses`` lists the fields of one
request that its target wire does not carry, and ``apply_loss_policy`` applies the caller's choice to that list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, NamedTuple

from ..choices import OnLoss
from ..errors import BadInput, LossWarning
from ..types import (
    AudioPart,
    ChatRequest,
    FilePart,
    HostedTool,
    ImagePart,
    Opaque,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from ..warn import warn_caller
from .field import Kind, SupportTable
from .fields import FIELDS, SILENT, plain_fields

FORM = frozenset(row.name for row in FIELDS.values() if row.form)
"""Without these the answer has another form or answers another question: dropping one is refused unless it is allowed."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One field of a request whose meaning a wire does not fully carry."""

    field: str
    kind: Kind
    note: str
    detail: str = ""
    """Which of several values, if the field alone does not identify it."""

    def __str__(self) -> str:
        return f"{self.field}{f' ({self.detail})' if self.detail else ''} is {self.kind}: {self.note}"


def losses(request: ChatRequest, support_table: SupportTable, wire: str, vendor: str) -> list[Loss]:
    """The fields of ``request`` whose meaning ``wire``, as ``vendor`` implements it, does not fully carry; each field once."""
    unsupported = _unsupported_by(support_table)
    if unsupported.text_is_lossless and _is_plain(request) and unsupported.values_of(request) == unsupported.defaults:
        return []  # most requests are
    losses_by_field: dict[str, Loss] = {}
    for name, detail in used(request, wire, vendor, unsupported.settings):
        support = support_table[name]
        if support.kind in ("dropped", "emulated"):
            earlier = losses_by_field.get(name)
            if earlier is None:
                losses_by_field[name] = Loss(name, support.kind, support.note, detail)
            elif name in EACH and len(earlier.detail) < _NAMED and (further := _not_in(earlier.detail, detail)):
                losses_by_field[name] = replace(earlier, detail=f"{earlier.detail} {further}")
    return list(losses_by_field.values())


EACH = ("tools.hosted.foreign", "extra.foreign", "parts.opaque.foreign")
"""Fields of which each lost value is reported, not only the first: the field does not identify the value."""
_NAMED = 200
"""Approximate maximum characters of those names: a client may send any number."""


def _not_in(reported: str, detail: str) -> str:
    """The names of ``detail`` that were not reported yet."""
    names = reported.replace(",", "").split(" ")
    return " ".join(name for name in detail.split(", ") if name not in names)


class _Unsupported(NamedTuple):
    """The fields of a support table that are not carried."""

    support_table: SupportTable
    """The table itself: while it is referenced, its ``id`` is not reused."""
    settings: tuple[str, ...]
    """The plain fields among them, which are few."""
    text_is_lossless: bool
    """Whether a text-only request loses nothing."""
    values_of: Callable[[ChatRequest], Any]
    """Returns the settings' values of a request."""
    defaults: Any
    """Those values if a request sets none."""


_tables: dict[int, _Unsupported] = {}
"""By the table's identity."""
_TEXT_ONLY = ("model", "stream", "messages.system", "messages.user", "messages.assistant", "parts.text")
"""The fields that a text-only request uses."""


def _unsupported_by(support_table: SupportTable) -> _Unsupported:
    entry = _tables.get(id(support_table))
    if entry is None:
        unsupported = {name for name, support in support_table.items() if support.kind in ("dropped", "emulated")}
        settings = tuple(name for name in _SETTINGS if name in unsupported)
        values_of: Callable[[ChatRequest], Any] = attrgetter(*settings) if settings else _nothing
        entry = _Unsupported(
            support_table, settings, unsupported.isdisjoint(_TEXT_ONLY), values_of, values_of(ChatRequest("", []))
        )
        _tables[id(support_table)] = entry
    return entry


def _nothing(request: ChatRequest) -> None:
    return None


def _is_plain(request: ChatRequest) -> bool:
    """Whether the conversation is plain: at most one system message, then text of users and assistants, a user's last."""
    if (
        request.tools
        or request.extra
        or request.tool_choice is not None
        or request.format is not None
        or request.reasoning is not None
    ):
        return False
    for place, message in enumerate(request.messages):
        if message.name is not None or message.extra or message.role not in ("user", "assistant" if place else "system"):
            return False
        for part in message.parts:
            if type(part) is not TextPart or part.cache is not None or part.extra:
                return False
    return bool(request.messages) and request.messages[-1].role == "user"


def apply_loss_policy(losses: list[Loss], on_loss: OnLoss | None) -> None:
    """Refuse, warn or be silent. ``None`` refuses losses that change the answer's form and warns of other dropped fields.

    ``report`` refuses the same and leaves the rest to whoever reads the losses. Emulated fields are never refused, and cause a
    warning only with ``warn``. Raises ``BadInput`` naming the first refused field.
    """
    if on_loss == "allow" or not losses:
        return
    for loss in losses:
        if loss.kind == "dropped" and (on_loss == "refuse" or (on_loss != "warn" and loss.field in FORM)):
            raise BadInput(f'{loss}; omit it, use another backend, or pass on_loss="allow"', field=loss.field)
    for loss in losses if on_loss != "report" else ():
        if loss.kind == "dropped" or on_loss == "warn":
            warn_caller(str(loss), LossWarning)


_SETTINGS = tuple(row.name for row in plain_fields())


_HELD = ("conversation", "prompt")
"""Fields of the Responses API that refer to conversations or prompts stored at its backend."""


def used(request: ChatRequest, wire: str, vendor: str, settings: tuple[str, ...] = _SETTINGS) -> Iterator[tuple[str, str]]:
    """The fields that ``request`` uses, each with a detail; a field may occur more than once. Of the plain fields only
    ``settings``.
    """
    yield "model", ""
    yield from _message_losses(request, wire, vendor)
    for tool in request.tools:
        yield from _tool(tool, request, wire)
    if request.tool_choice is not None:
        yield f"tool_choice.{request.tool_choice.mode}", request.tool_choice.name or ""
    if request.format is not None and request.format.kind != "text":
        yield f"format.{request.format.kind}", ""
        if request.format.strict is not None:
            yield "format.strict", ""
    for name in settings:
        value = getattr(request, name)
        if value is not None and not is_default(name, value):
            yield name, ""
    if request.stream:
        yield "stream", ""
    if request.reasoning is not None:
        yield from _thinking(request.reasoning)
    if request.extra:
        yield from _common(None, request.extra, request, wire)
        if request.wire != wire:
            yield from (("previous", name) for name in _HELD if request.extra.get(name) is not None)


def _tool(tool: Tool | HostedTool, request: ChatRequest, wire: str) -> Iterator[tuple[str, str]]:
    if isinstance(tool, HostedTool):
        yield ("tools.hosted" if request.wire == wire else "tools.hosted.foreign"), tool.kind
        return
    yield "tools", tool.name
    if tool.kind == "custom":
        yield "tools.custom", tool.name
    if tool.strict is not None:
        yield "tools.strict", tool.name
    yield from _common(tool.cache, tool.extra, request, wire)


def _thinking(thinking: Thinking) -> Iterator[tuple[str, str]]:
    for name in ("effort", "budget", "summary"):
        if getattr(thinking, name) is not None:
            yield f"reasoning.{name}", ""


def _message_losses(request: ChatRequest, wire: str, vendor: str) -> Iterator[tuple[str, str]]:
    begun = False
    for message in request.messages:
        if message.role in ("system", "developer"):
            yield ("messages.system.late" if begun else f"messages.{message.role}"), ""
        else:
            begun = True
            yield f"messages.{message.role}", ""
        if message.name is not None:
            yield "messages.name", message.name
        if message.extra:
            yield from _common(None, message.extra, request, wire)
        for part in message.parts:
            if type(part) is TextPart and part.cache is None and not part.extra:
                yield "parts.text", ""  # the most frequent kind of part
            else:
                yield from _part(part, request, wire, vendor)
    if request.messages and request.messages[-1].role == "assistant":
        yield "messages.assistant.last", ""


def _part(part: Part, request: ChatRequest, wire: str, vendor: str) -> Iterator[tuple[str, str]]:
    match part:
        case TextPart():
            yield "parts.text", ""
        case ImagePart():
            yield from _image(part)
        case AudioPart():
            yield "parts.audio", part.media_type
        case FilePart():
            yield from _file(part, request, wire)
        case ReasoningPart():
            yield from _reasoning(part, vendor)
        case RefusalPart():
            yield "parts.refusal", ""
        case ToolCall():
            yield "parts.call", part.name
            yield from _opaque(part.opaque, vendor)
        case ToolResult():
            yield from _result(part, request, wire)
    yield from _common(getattr(part, "cache", None), getattr(part, "extra", None), request, wire)


def _image(image: ImagePart) -> Iterator[tuple[str, str]]:
    yield ("parts.image.url" if image.url is not None else "parts.image.data"), ""
    if image.detail is not None:
        yield "parts.image.detail", image.detail


_OPENAIS = ("openai-chat", "openai-responses")
"""Wires of one vendor, with the same files on both."""


def _file(file: FilePart, request: ChatRequest, wire: str) -> Iterator[tuple[str, str]]:
    source = "url" if file.url is not None else "data" if file.data is not None else "id"
    if source == "id" and request.wire not in (None, wire) and not (request.wire in _OPENAIS and wire in _OPENAIS):
        source = "id.foreign"
    yield f"parts.file.{source}", file.name or ""
    if file.name is not None:
        yield "parts.file.name", file.name


def _result(result: ToolResult, request: ChatRequest, wire: str) -> Iterator[tuple[str, str]]:
    for part in result.parts:
        kind = "text" if isinstance(part, TextPart) else "image" if isinstance(part, ImagePart) else "file"
        yield f"parts.result.{kind}", result.name or ""
        if isinstance(part, ImagePart):
            yield from _image(part)
        elif isinstance(part, FilePart):
            yield from _file(part, request, wire)
        yield from _common(part.cache, part.extra, request, wire)
    if result.is_error:
        yield "parts.result.error", result.name or ""


def _reasoning(part: ReasoningPart, vendor: str) -> Iterator[tuple[str, str]]:
    if part.text:
        yield "parts.reasoning", ""
    yield from _opaque(part.opaque, vendor)


_ITEM = re.compile(r'\{"type":"(?P<type>[\w.-]{1,60})"')
"""The beginning of a complete item of the Responses API, which only its vendor can read fully."""
_STAND_INS = ("compaction", "compaction_summary", "context_compaction", "item_reference")


def _opaque(opaque: Opaque | None, vendor: str) -> Iterator[tuple[str, str]]:
    if opaque is None:
        return
    if opaque.vendor == vendor:
        yield "parts.opaque", opaque.vendor
        return
    item = _ITEM.match(opaque.data)
    kind = opaque.vendor if item is None else item["type"]
    yield ("parts.item.foreign" if kind in _STAND_INS else "parts.opaque.foreign"), kind


def _common(
    cache: str | None, extra: Mapping[str, object] | None, request: ChatRequest, wire: str
) -> Iterator[tuple[str, str]]:
    if cache is not None:
        yield "cache", cache
    if extra and request.wire == wire:
        yield "extra", ", ".join(extra)
    elif extra and (unsupported := [name for name, value in extra.items() if not _is_understood(name, value)]):
        yield "extra.foreign", ", ".join(unsupported)


DEFAULTS: Mapping[str, tuple[object, ...]] = {
    **{at.name: row.default for row in plain_fields() for at in row.places() if at.by_code != "both"},
    **SILENT,
    **{row.name: row.default for row in plain_fields() if row.default},
}
"""Values of fields that have no effect, by common and by wire names: the answer is the same without them."""
_UNDERSTOOD = ("reasoning", "thinking")
"""Fields of one wire that are also read as common fields, and are kept for that wire."""
_OF_THINKING = frozenset(("type", "budget_tokens", "display", "effort", "max_tokens", "enabled", "exclude", "summary"))
"""The members of them that are read so."""
_KINDS = (None, "enabled", "adaptive", "disabled")
BILLING = "x-anthropic-billing-header"
"""The beginning of Claude Code's first system text, which is only for its vendor."""
_GROUPS = frozenset(at.within for row in plain_fields() for at in row.places() if at.within)
"""Fields that contain others: Gemini's ``generationConfig``, Ollama's ``options``."""


def is_default(name: str, value: object) -> bool:
    """Whether a value has no effect: a default stated explicitly is no loss. ``None`` is the default of every field."""
    if value is None:
        return True
    return any(value == default and (type(value) is bool) == (type(default) is bool) for default in DEFAULTS.get(name, ()))


def _is_understood(name: str, value: object) -> bool:
    match name, value:
        case "metadata", dict():
            return value.keys() == {"user_id"}  # a long name, which other vendors get as its hash
        case "system", str(text) | [{"text": str(text)}, *_]:
            return text.startswith(BILLING)
    if name in _GROUPS and isinstance(value, dict):
        return all(is_default(member, entry) for member, entry in value.items())
    if name in _UNDERSTOOD and isinstance(value, dict):
        return value.get("type") in _KINDS and _OF_THINKING.issuperset(value)
    return is_default(name, value)

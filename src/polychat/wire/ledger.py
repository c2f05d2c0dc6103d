"""What a translation does with each field of an ask: kept, mapped, emulated, or dropped and why.

Every wire declares a fate for every field (``FIELDS``); a test fails for one it forgot. ``losses`` then tells, of one ask, what
the wire it is about to be written in will not carry, and ``settle`` lets the caller's choice decide about that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from ..errors import BadInput, _warn
from ..types import (
    Ask,
    AudioPart,
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
    Turn,
)

Kind: TypeAlias = Literal["kept", "mapped", "emulated", "dropped"]
OnLoss: TypeAlias = Literal["refuse", "warn", "report", "allow"]


@dataclass(frozen=True, slots=True)
class Fate:
    """``kept`` as it is; ``mapped`` to the wire's own way of saying the same; ``emulated`` by something that comes close;
    ``dropped``. ``note`` says how or why; the last two have one."""

    kind: Kind
    note: str = ""


Fates: TypeAlias = Mapping[str, Fate]
KEPT = Fate("kept")


def mapped(note: str) -> Fate:
    return Fate("mapped", note)


def emulated(note: str) -> Fate:
    return Fate("emulated", note)


def dropped(note: str) -> Fate:
    return Fate("dropped", note)


FIELDS: dict[str, str] = {
    "model": "the model's name",
    "turns.system": "system turns before all others",
    "turns.system.late": "system and developer turns among the others",
    "turns.developer": "developer turns before all others",
    "turns.user": "user turns",
    "turns.assistant": "assistant turns",
    "turns.assistant.last": "an assistant turn at the end, to be gone on with",
    "turns.tool": "tool turns",
    "turns.name": "the name of who speaks",
    "parts.text": "text",
    "parts.image.url": "images by URL",
    "parts.image.data": "images by their bytes",
    "parts.image.detail": "how closely to look at an image",
    "parts.audio": "sound",
    "parts.file.url": "documents by URL",
    "parts.file.data": "documents by their bytes",
    "parts.file.id": "documents the backend holds",
    "parts.file.id.foreign": "documents that another vendor's backend holds",
    "parts.file.name": "the name of a document",
    "parts.reasoning": "earlier thoughts, as text",
    "parts.opaque": "a vendor's own signatures and encrypted thoughts, back to that vendor",
    "parts.opaque.foreign": "another vendor's signatures and encrypted thoughts",
    "parts.item.foreign": "items that stand for what another vendor keeps: a compaction, a reference",
    "parts.refusal": "earlier refusals",
    "parts.call": "earlier tool calls",
    "parts.result.text": "text in results of tools",
    "parts.result.image": "images in results of tools",
    "parts.result.file": "documents in results of tools",
    "parts.result.error": "whether a tool failed",
    "cache": "marks of what to cache",
    "tools": "tools",
    "tools.custom": "tools whose input is free text, or follows a grammar",
    "tools.strict": "tools whose arguments must follow the schema",
    "tools.hosted": "tools the backend runs, described in this wire's words",
    "tools.hosted.foreign": "tools another vendor's backend runs",
    "tool_choice.auto": "tools as the model likes",
    "tool_choice.none": "no tools now",
    "tool_choice.required": "some tool must be called",
    "tool_choice.named": "this tool must be called",
    "parallel_tool_calls": "whether several tools may be called at once",
    "format.json": "an answer that is any JSON",
    "format.schema": "an answer that follows a JSON schema",
    "format.strict": "whether the schema binds to the letter",
    "max_tokens": "",
    "temperature": "",
    "top_p": "",
    "top_k": "",
    "min_p": "",
    "frequency_penalty": "",
    "presence_penalty": "",
    "repetition_penalty": "",
    "seed": "",
    "stop": "texts that end the answer",
    "logprobs": "probabilities of tokens",
    "logit_bias": "",
    "n": "several answers to one question",
    "reasoning.effort": "how hard to think",
    "reasoning.budget": "tokens of thought at most",
    "reasoning.summary": "whether and how thoughts are told",
    "verbosity": "",
    "metadata": "",
    "user": "who asks",
    "service_tier": "",
    "store": "the backend may keep the reply",
    "previous": "going on from a stored reply",
    "stream": "",
    "stream_usage": "usage at a stream's end",
    "extra": "what only this wire knows",
    "extra.foreign": "what only another wire knows",
}
"""Every field a translation accounts for, and what it is where its name does not say it."""

FORM = frozenset(
    name
    for name in FIELDS
    if name.startswith(
        ("tools", "tool_choice.required", "tool_choice.named", "format.json", "format.schema", "parts.image.url")
    )
    or name.startswith(("parts.image.data", "parts.audio", "parts.file.url", "parts.file.data", "parts.file.id"))
    or name
    in (
        *("turns.tool", "parts.call", "parts.result.text", "parts.result.image", "parts.result.file", "parts.item.foreign"),
        *("previous", "n", "logprobs"),
    )
) - {"tools.strict"}
"""Without these the answer has another form, or answers something else: losing one is refused unless it is allowed."""

COVERS: dict[type, dict[str, tuple[str, ...]]] = {
    Ask: {
        "model": ("model",),
        "turns": ("turns.system",),
        "tools": ("tools",),
        "tool_choice": ("tool_choice.auto", "tool_choice.none", "tool_choice.required", "tool_choice.named"),
        "format": ("format.json", "format.schema", "format.strict"),
        "reasoning": ("reasoning.effort", "reasoning.budget", "reasoning.summary"),
        "wire": ("extra.foreign",),
        **{
            name: (name,)
            for name in (
                *("parallel_tool_calls", "max_tokens", "temperature", "top_p", "top_k", "min_p", "frequency_penalty"),
                *("presence_penalty", "repetition_penalty", "seed", "stop", "logprobs", "logit_bias", "n", "verbosity"),
                *("metadata", "user", "service_tier", "store", "previous", "stream", "stream_usage", "extra"),
            )
        },
    },
    Turn: {
        "role": ("turns.system", "turns.system.late", "turns.developer", "turns.user", "turns.assistant", "turns.tool"),
        "parts": ("turns.assistant.last",),
        "name": ("turns.name",),
        "extra": ("extra", "extra.foreign"),
    },
    TextPart: {"text": ("parts.text",), "cache": ("cache",), "extra": ("extra", "extra.foreign")},
    ImagePart: {
        "url": ("parts.image.url",),
        "data": ("parts.image.data",),
        "media_type": ("parts.image.data",),
        "detail": ("parts.image.detail",),
        "cache": ("cache",),
        "extra": ("extra", "extra.foreign"),
    },
    AudioPart: {"data": ("parts.audio",), "media_type": ("parts.audio",), "extra": ("extra", "extra.foreign")},
    FilePart: {
        "url": ("parts.file.url",),
        "data": ("parts.file.data",),
        "id": ("parts.file.id", "parts.file.id.foreign"),
        "media_type": ("parts.file.data",),
        "name": ("parts.file.name",),
        "cache": ("cache",),
        "extra": ("extra", "extra.foreign"),
    },
    ReasoningPart: {
        "text": ("parts.reasoning",),
        "opaque": ("parts.opaque", "parts.opaque.foreign", "parts.item.foreign"),
        "extra": ("extra", "extra.foreign"),
    },
    RefusalPart: {"text": ("parts.refusal",)},
    ToolCall: {
        "id": ("parts.call",),
        "name": ("parts.call",),
        "arguments": ("parts.call",),
        "kind": ("parts.call",),
        "opaque": ("parts.opaque", "parts.opaque.foreign", "parts.item.foreign"),
        "cache": ("cache",),
        "extra": ("extra", "extra.foreign"),
    },
    ToolResult: {
        "id": ("turns.tool",),
        "parts": ("parts.result.text", "parts.result.image", "parts.result.file"),
        "name": ("turns.tool",),
        "is_error": ("parts.result.error",),
        "cache": ("cache",),
        "extra": ("extra", "extra.foreign"),
    },
    Tool: {
        "name": ("tools",),
        "description": ("tools",),
        "parameters": ("tools",),
        "strict": ("tools.strict",),
        "kind": ("tools.custom",),
        "format": ("tools.custom",),
        "namespace": ("tools",),
        "cache": ("cache",),
        "extra": ("extra", "extra.foreign"),
    },
    HostedTool: {"kind": ("tools.hosted", "tools.hosted.foreign"), "spec": ("tools.hosted", "tools.hosted.foreign")},
}
"""Which fields of the ledger account for each field of the values, so that a new one cannot be forgotten."""


@dataclass(frozen=True, slots=True)
class Loss:
    """One field of an ask that a wire does not carry as it was meant."""

    field: str
    kind: Kind
    note: str
    detail: str = ""
    """Which of several, where the field alone does not say."""

    def __str__(self) -> str:
        return f"{self.field}{f' ({self.detail})' if self.detail else ''} is {self.kind}: {self.note}"


def losses(ask: Ask, fates: Fates, wire: str, vendor: str) -> list[Loss]:
    """What ``wire``, spoken by ``vendor``, does not carry of ``ask`` as it was meant; each field once."""
    settings, carries_words = _lost_of(fates)
    if carries_words and _is_plain(ask, settings):
        return []  # most asks are
    found: dict[str, Loss] = {}
    for name, detail in used(ask, wire, vendor, settings):
        fate = fates[name]
        if fate.kind in ("dropped", "emulated"):
            known = found.get(name)
            if known is None:
                found[name] = Loss(name, fate.kind, fate.note, detail)
            elif name in _EACH and detail not in known.detail.split(" "):
                found[name] = replace(known, detail=f"{known.detail} {detail}")
    return list(found.values())


_EACH = ("tools.hosted.foreign",)
"""Of these each is told, not just the first."""
_tables: dict[int, tuple[Fates, tuple[str, ...], bool]] = {}
"""By the table's identity, and with the table, so that the identity stays its own."""
_WORDS = ("model", "stream", "stop", "turns.system", "turns.user", "turns.assistant", "parts.text")
"""What an ask of words alone uses."""


def _lost_of(fates: Fates) -> tuple[tuple[str, ...], bool]:
    """The settings that a table drops or emulates, which are few; and whether it carries an ask of words alone."""
    known = _tables.get(id(fates))
    if known is None:
        lost = {name for name, fate in fates.items() if fate.kind in ("dropped", "emulated")}
        _tables[id(fates)] = known = (fates, tuple(name for name in _SETTINGS if name in lost), lost.isdisjoint(_WORDS))
    return known[1], known[2]


def _is_plain(ask: Ask, settings: tuple[str, ...]) -> bool:
    """Whether it is a system turn or none, then words of users and assistants, a user's last, and none of these settings."""
    if ask.tools or ask.extra or ask.tool_choice is not None or ask.format is not None or ask.reasoning is not None:
        return False
    for place, turn in enumerate(ask.turns):
        if turn.name is not None or turn.extra or turn.role not in ("user", "assistant" if place else "system"):
            return False
        for part in turn.parts:
            if type(part) is not TextPart or part.cache is not None or part.extra:
                return False
    if not ask.turns or ask.turns[-1].role != "user":
        return False
    return all(getattr(ask, name) is None for name in settings)


class LossWarning(UserWarning):
    """Something of an ask did not reach its backend."""


def settle(found: list[Loss], on_loss: OnLoss | None) -> None:
    """Refuse, warn or be silent. ``None`` refuses what changes the answer's form and warns of what else is dropped.

    ``report`` refuses the same and leaves the rest to whoever reads the losses. What is emulated is never refused, and warned
    of only with ``warn``. Raises ``BadInput`` naming the first that is refused.
    """
    if on_loss == "allow" or not found:
        return
    for loss in found:
        if loss.kind == "dropped" and (on_loss == "refuse" or (on_loss != "warn" and loss.field in FORM)):
            raise BadInput(f'{loss}; leave it out, ask another backend, or pass on_loss="allow"', field=loss.field)
    for loss in found if on_loss != "report" else ():
        if loss.kind == "dropped" or on_loss == "warn":
            _warn(str(loss), LossWarning)


_SETTINGS = (
    *("parallel_tool_calls", "max_tokens", "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty"),
    *("repetition_penalty", "seed", "logprobs", "logit_bias", "n", "verbosity", "metadata", "user", "service_tier", "store"),
    *("previous", "stream_usage"),
)


_HELD = ("conversation", "prompt")
"""Fields of the Responses API by which what was said before, or is to be said, is in its backend's store."""


def used(ask: Ask, wire: str, vendor: str, settings: tuple[str, ...] = _SETTINGS) -> Iterator[tuple[str, str]]:
    """The ledger's fields that ``ask`` uses, each with a detail; a field may come more than once. Of the settings, these."""
    yield "model", ""
    yield from _turns(ask, wire, vendor)
    for tool in ask.tools:
        yield from _tool(tool, ask, wire)
    if ask.tool_choice is not None:
        yield f"tool_choice.{ask.tool_choice.mode}", ask.tool_choice.name or ""
    if ask.format is not None and ask.format.kind != "text":
        yield f"format.{ask.format.kind}", ""
        if ask.format.strict is not None:
            yield "format.strict", ""
    for name in settings:
        value = getattr(ask, name)
        if value is not None and not is_default(name, value):
            yield name, ""
    if ask.stop:
        yield "stop", ""
    if ask.stream:
        yield "stream", ""
    if ask.reasoning is not None:
        yield from _thinking(ask.reasoning)
    if ask.extra:
        yield from _common(None, ask.extra, ask, wire)
        if ask.wire != wire:
            yield from (("previous", name) for name in _HELD if ask.extra.get(name) is not None)


def _tool(tool: Tool | HostedTool, ask: Ask, wire: str) -> Iterator[tuple[str, str]]:
    if isinstance(tool, HostedTool):
        yield ("tools.hosted" if ask.wire == wire else "tools.hosted.foreign"), tool.kind
        return
    yield "tools", tool.name
    if tool.kind == "custom":
        yield "tools.custom", tool.name
    if tool.strict is not None:
        yield "tools.strict", tool.name
    yield from _common(tool.cache, tool.extra, ask, wire)


def _thinking(thinking: Thinking) -> Iterator[tuple[str, str]]:
    for name in ("effort", "budget", "summary"):
        if getattr(thinking, name) is not None:
            yield f"reasoning.{name}", ""


def _turns(ask: Ask, wire: str, vendor: str) -> Iterator[tuple[str, str]]:
    begun = False
    for turn in ask.turns:
        if turn.role in ("system", "developer"):
            yield ("turns.system.late" if begun else f"turns.{turn.role}"), ""
        else:
            begun = True
            yield f"turns.{turn.role}", ""
        if turn.name is not None:
            yield "turns.name", turn.name
        if turn.extra:
            yield from _common(None, turn.extra, ask, wire)
        for part in turn.parts:
            if type(part) is TextPart and part.cache is None and not part.extra:
                yield "parts.text", ""  # most of all there is
            else:
                yield from _part(part, ask, wire, vendor)
    if ask.turns and ask.turns[-1].role == "assistant":
        yield "turns.assistant.last", ""


def _part(part: Part, ask: Ask, wire: str, vendor: str) -> Iterator[tuple[str, str]]:
    match part:
        case TextPart():
            yield "parts.text", ""
        case ImagePart():
            yield from _image(part)
        case AudioPart():
            yield "parts.audio", part.media_type
        case FilePart():
            yield from _file(part, ask, wire)
        case ReasoningPart():
            yield from _thought(part, vendor)
        case RefusalPart():
            yield "parts.refusal", ""
        case ToolCall():
            yield "parts.call", part.name
            yield from _opaque(part.opaque, vendor)
        case ToolResult():
            yield from _result(part, ask, wire)
    yield from _common(getattr(part, "cache", None), getattr(part, "extra", None), ask, wire)


def _image(image: ImagePart) -> Iterator[tuple[str, str]]:
    yield ("parts.image.url" if image.url is not None else "parts.image.data"), ""
    if image.detail is not None:
        yield "parts.image.detail", image.detail


_OPENAIS = ("openai-chat", "openai-responses")
"""Wires of one vendor, whose files are the same on both."""


def _file(file: FilePart, ask: Ask, wire: str) -> Iterator[tuple[str, str]]:
    where = "url" if file.url is not None else "data" if file.data is not None else "id"
    if where == "id" and ask.wire not in (None, wire) and not (ask.wire in _OPENAIS and wire in _OPENAIS):
        where = "id.foreign"
    yield f"parts.file.{where}", file.name or ""
    if file.name is not None:
        yield "parts.file.name", file.name


def _result(result: ToolResult, ask: Ask, wire: str) -> Iterator[tuple[str, str]]:
    for part in result.parts:
        kind = "text" if isinstance(part, TextPart) else "image" if isinstance(part, ImagePart) else "file"
        yield f"parts.result.{kind}", result.name or ""
        if isinstance(part, ImagePart):
            yield from _image(part)
        elif isinstance(part, FilePart):
            yield from _file(part, ask, wire)
        yield from _common(part.cache, part.extra, ask, wire)
    if result.is_error:
        yield "parts.result.error", result.name or ""


def _thought(part: ReasoningPart, vendor: str) -> Iterator[tuple[str, str]]:
    if part.text:
        yield "parts.reasoning", ""
    yield from _opaque(part.opaque, vendor)


_ITEM = re.compile(r'\{"type":"(?P<type>[a-z_]{1,60})"')
"""How a whole item of the Responses API begins, of which only its vendor knows more."""
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


def _common(cache: str | None, extra: Mapping[str, object] | None, ask: Ask, wire: str) -> Iterator[tuple[str, str]]:
    if cache is not None:
        yield "cache", cache
    if extra and ask.wire == wire:
        yield "extra", ", ".join(extra)
    elif extra and (lost := [name for name, value in extra.items() if not _is_understood(name, value)]):
        yield "extra.foreign", ", ".join(lost)


DEFAULTS: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "candidateCount": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "min_p": (0,),
    "top_logprobs": (0,),
    "logprobs": (False,),
    "logit_bias": ({},),
    "metadata": ({},),
    "store": (False,),
    "background": (False,),
    "echo": (False,),
    "parallel_tool_calls": (True,),
    "service_tier": ("auto", "default"),
    "verbosity": ("medium",),
    "truncation": ("disabled",),
    "modalities": (["text"],),
    "responseModalities": (["TEXT"],),
    "include": ([],),
    "functions": ([],),
    "user": ("",),
}
"""What a field says that says nothing: the answer is the same without it."""
_UNDERSTOOD = ("reasoning", "thinking")
"""Fields of one wire that are read as common words besides, and stay for their own wire's sake."""
_GROUPS = ("generationConfig",)
"""Fields that only hold others: Gemini's settings."""


def is_default(name: str, value: object) -> bool:
    """Whether a field says only what is so without it: a default said aloud is no loss. ``None`` is one of every field."""
    if value is None:
        return True
    return any(value == one and (type(value) is bool) == (type(one) is bool) for one in DEFAULTS.get(name, ()))


def _is_understood(name: str, value: object) -> bool:
    if name in _GROUPS and isinstance(value, dict):
        return all(is_default(member, one) for member, one in value.items())
    return name in _UNDERSTOOD or is_default(name, value)

"""Client side: ``ChatMessage`` objects as messages."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from ...types import (
    AudioPart,
    ChatMessage,
    FilePart,
    ImagePart,
    Opaque,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCall,
    ToolResult,
)
from ..checks import data_url
from ..extras import with_extra
from ..json_text import escaped
from .constants import AUDIO
from .reasoning import detail_of

Object = dict[str, Any]

BELOW = "(The user's next message shows the rest of this result.)"
ABOVE = "The rest of the result of"


def messages_of(messages: list[ChatMessage], vendor: str, *, native: bool) -> list[Object]:
    """The messages; ``native``: the request was read on this wire, so fields that only it has are written too."""
    body: list[Object] = []
    for message in messages:
        if message.role == "tool":
            body += _results([part for part in message.parts if isinstance(part, ToolResult)], native=native)
            continue
        written: Object = {"role": message.role}
        parts = message.parts
        if message.role == "assistant" and not (len(parts) == 1 and type(parts[0]) is TextPart):
            _assistant(parts, vendor, written, native=native)
        else:
            written["content"] = _content(parts, native=native)
        if parts and not native and not written.get("content") and not any(written.get(name) for name in _CONTENT_MEMBERS):
            continue  # none of it can be written on this wire, and servers reject an empty message
        if message.name is not None:
            written["name"] = message.name
        body.append(with_extra(written, message.extra, native=native) if message.extra else written)
    return body


_CONTENT_MEMBERS = ("content", "refusal", "tool_calls", "reasoning_content", "reasoning_details")
"""Members of a message that have content."""


def _results(results: list[ToolResult], *, native: bool) -> list[Object]:
    """One message for each result. Content that such a message cannot hold, unless it was read on this wire, follows in a user
    message.
    """
    messages: list[Object] = []
    shown: list[Object] = []
    for result in results:
        here = [part for part in result.parts if native or isinstance(part, TextPart)]
        others = [part for part in result.parts if not native and not isinstance(part, TextPart)]
        if others:
            here.append(TextPart(BELOW))
            shown.append({"type": "text", "text": f"{ABOVE} {result.name or result.id}:"})
            shown += _listed(others, native=native)
        message: Object = {"role": "tool", "tool_call_id": result.id, "content": _content(here, native=native)}
        messages.append(with_native_extra(message, result.extra, result.cache) if native else message)
    return [*messages, {"role": "user", "content": shown}] if shown else messages


def _assistant(parts: list[Part], vendor: str, message: Object, *, native: bool) -> None:
    thoughts = [part for part in parts if isinstance(part, ReasoningPart)]
    calls = [part for part in parts if isinstance(part, ToolCall)]
    rest = [part for part in parts if not isinstance(part, (ReasoningPart, ToolCall))]
    if len(rest) == 1 and isinstance(rest[0], RefusalPart):
        message |= {"content": None, "refusal": rest[0].text}
    else:
        message["content"] = _content(rest, native=native) if rest or not calls else None
    if thoughts:
        _reasoning(thoughts, vendor, message, native=native)
    if calls:
        message["tool_calls"] = [_call(call, vendor, native=native) for call in calls]


def _reasoning(thoughts: list[ReasoningPart], vendor: str, message: Object, *, native: bool) -> None:
    """Reasoning as one text under the most common name; as OpenRouter's separate blocks if one is signed."""
    pairs = [(part, part.opaque if part.opaque is not None and part.opaque.vendor == vendor else None) for part in thoughts]
    if any(opaque is not None or (native and part.extra) for part, opaque in pairs):
        details = [_detail(part, opaque, native=native) for part, opaque in pairs]
        message["reasoning_details"] = [detail for detail in details if len(detail) > 1]
    elif text := "\n\n".join(part.text for part in thoughts if part.text):
        message["reasoning_content"] = text


def _detail(part: ReasoningPart, opaque: Opaque | None, *, native: bool) -> Object:
    detail = detail_of(part.text, opaque)
    extra = part.extra if native and part.extra else {}
    if extra.get("type") == "reasoning.summary" and "text" in detail:
        detail["summary"] = detail.pop("text")
    if opaque is None and not part.text:
        detail = {"type": "reasoning.text"}
    return with_extra(detail, extra, native=native)


def _call(call: ToolCall, vendor: str, *, native: bool) -> Object:
    written: Object = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": escaped(call.arguments)}}
    if call.kind == "custom":
        written = {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    if call.opaque is not None and call.opaque.vendor == vendor:
        written["extra_content"] = signature_of(call.opaque.data)
    return with_native_extra(written, call.extra, call.cache) if native else written


def signature_of(data: str) -> Object:
    """The place of a tool call's signature: as in Gemini's OpenAI-compatible API."""
    return {"google": {"thought_signature": data}}


def _content(parts: list[Any], *, native: bool) -> str | list[Object]:
    if not parts:
        return ""
    first = parts[0]
    if len(parts) == 1 and isinstance(first, TextPart) and not (native and (first.extra or first.cache)):
        return first.text
    return _listed(parts, native=native)


def _listed(parts: list[Any], *, native: bool) -> list[Object]:
    return [written for part in parts if (written := _part(part, native=native)) is not None]


def _part(part: Part, *, native: bool) -> Object | None:
    match part:
        case TextPart():
            written: Object = {"type": "text", "text": part.text}
        case ImagePart():
            url = part.url if part.data is None else data_url(part.media_type, part.data)
            detail = {} if part.detail is None else {"detail": part.detail}
            written = {"type": "image_url", "image_url": {"url": url, **detail}}
        case AudioPart():
            form = AUDIO.get(part.media_type) or part.media_type.rpartition("/")[2]
            written = {"type": "input_audio", "input_audio": {"data": b64encode(part.data).decode(), "format": form}}
        case FilePart():
            written = {"type": "file", "file": _file(part)}
        case RefusalPart():
            return {"type": "refusal", "refusal": part.text}
        case _:
            return None
    if not native:
        return written
    return with_native_extra(written, part.extra, None if isinstance(part, AudioPart) else part.cache)


def _file(file: FilePart) -> Object:
    named: Object = {} if file.name is None else {"filename": file.name}
    if file.id is not None:
        return {"file_id": file.id, **named}
    return {"file_data": file.url if file.data is None else data_url(file.media_type, file.data), **named}


def with_native_extra(written: Object, extra: Object | None, cache: str | None) -> Object:
    """Adds the cache mark that OpenRouter and others accept, and the extra, for a request that was read on this wire."""
    if cache is not None:
        written["cache_control"] = {"type": "ephemeral"} if cache == "5m" else {"type": "ephemeral", "ttl": cache}
    return with_extra(written, extra, native=True) if extra else written

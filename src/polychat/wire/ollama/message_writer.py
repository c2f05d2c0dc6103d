"""Client side: turns as messages, or as the one prompt of ``/api/generate``."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from ...types import ChatMessage, ImagePart, Part, ReasoningPart, RefusalPart, TextPart, ToolCall, ToolResult
from ..checks import arguments_of
from ..extras import with_extra
from .constants import CALL_SIGNATURE, JOINED, THOUGHT_SIGNATURE

Object = dict[str, Any]


def prompt_of(turns: list[ChatMessage]) -> Object:
    """A system's and a user's turn as ``/api/generate`` has them: such a request was read there and has no others."""
    body: Object = {"prompt": JOINED.join(_text(turn.parts) for turn in turns if turn.role != "system")}
    if system := JOINED.join(_text(turn.parts) for turn in turns if turn.role == "system"):
        body["system"] = system
    if images := [image for turn in turns for image in _images(turn.parts)]:
        body["images"] = images
    return body


def messages_of(turns: list[ChatMessage], vendor: str, *, native: bool) -> list[Object]:
    """The messages. Raises ``BadInput`` for a call whose arguments are no JSON object."""
    messages: list[Object] = []
    for place, turn in enumerate(turns):
        if turn.role == "tool":
            messages += [_result(part, native=native) for part in turn.parts if isinstance(part, ToolResult)]
            continue
        message: Object = {"role": "system" if turn.role == "developer" else turn.role, "content": _text(turn.parts)}
        if images := _images(turn.parts):
            message["images"] = images
        if turn.role == "assistant":
            _think_back(turn.parts, vendor, message)
            if calls := [part for part in turn.parts if isinstance(part, ToolCall)]:
                where = f"messages[{place}]"
                message["tool_calls"] = [_call(call, number, vendor, where, native=native) for number, call in enumerate(calls)]
        if len(message) > 2 or message["content"] or (native and not turn.parts):
            messages.append(with_extra(message, turn.extra, native=native))
    return messages


def _text(parts: list[Part]) -> str:
    return JOINED.join(part.text for part in parts if isinstance(part, (TextPart, RefusalPart)) and part.text)


def _images(parts: list[Any]) -> list[str]:
    return [b64encode(part.data).decode() for part in parts if isinstance(part, ImagePart) and part.data is not None]


def _think_back(parts: list[Part], vendor: str, message: Object) -> None:
    thoughts = [part for part in parts if isinstance(part, ReasoningPart)]
    if text := JOINED.join(thought.text for thought in thoughts if thought.text):
        message["thinking"] = text
    if len(thoughts) == 1 and (opaque := thoughts[0].opaque) is not None and opaque.vendor == vendor:
        message[THOUGHT_SIGNATURE] = opaque.data  # a signature holds for its own thought alone, not for several joined


def _call(call: ToolCall, number: int, vendor: str, where: str, *, native: bool) -> Object:
    function = {"index": number, "name": call.name, "arguments": arguments_of(call, f"{where}.tool_calls[{number}]")}
    written: Object = {"id": call.id, "type": "function", "function": function}
    if call.opaque is not None and call.opaque.vendor == vendor:
        written[CALL_SIGNATURE] = call.opaque.data
    return with_extra(written, call.extra, native=native)


def _result(result: ToolResult, *, native: bool) -> Object:
    message: Object = {"role": "tool", "content": _text(list(result.parts))}
    if images := _images(result.parts):
        message["images"] = images
    if result.name is not None:
        message["tool_name"] = result.name
    message["tool_call_id"] = result.id
    return with_extra(message, result.extra, native=native)

"""Client side: messages in the API's format, or as the prompt of ``/api/generate``."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from ...types import ChatMessage, ImagePart, Part, ReasoningPart, RefusalPart, TextPart, ToolCall, ToolResult
from ..checks import arguments_of
from ..extras import with_extra
from .constants import CALL_SIGNATURE, JOINED, REASONING_SIGNATURE

Object = dict[str, Any]


def prompt_of(messages: list[ChatMessage]) -> Object:
    """A system and a user message for ``/api/generate``: a request that was read there has no others."""
    body: Object = {"prompt": JOINED.join(_text(message.parts) for message in messages if message.role != "system")}
    if system := JOINED.join(_text(message.parts) for message in messages if message.role == "system"):
        body["system"] = system
    if images := [image for message in messages for image in _images(message.parts)]:
        body["images"] = images
    return body


def messages_of(messages: list[ChatMessage], vendor: str, *, native: bool) -> list[Object]:
    """The messages. Raises ``BadInput`` for a call whose arguments are no JSON object."""
    body: list[Object] = []
    for place, message in enumerate(messages):
        if message.role == "tool":
            body += [_result(part, native=native) for part in message.parts if isinstance(part, ToolResult)]
            continue
        written: Object = {"role": "system" if message.role == "developer" else message.role, "content": _text(message.parts)}
        if images := _images(message.parts):
            written["images"] = images
        if message.role == "assistant":
            _think_back(message.parts, vendor, written)
            if calls := [part for part in message.parts if isinstance(part, ToolCall)]:
                path = f"messages[{place}]"
                written["tool_calls"] = [_call(call, number, vendor, path, native=native) for number, call in enumerate(calls)]
        if len(written) > 2 or written["content"] or (native and not message.parts):
            body.append(with_extra(written, message.extra, native=native))
    return body


def _text(parts: list[Part]) -> str:
    return JOINED.join(part.text for part in parts if isinstance(part, (TextPart, RefusalPart)) and part.text)


def _images(parts: list[Any]) -> list[str]:
    return [b64encode(part.data).decode() for part in parts if isinstance(part, ImagePart) and part.data is not None]


def _think_back(parts: list[Part], vendor: str, message: Object) -> None:
    thoughts = [part for part in parts if isinstance(part, ReasoningPart)]
    if text := JOINED.join(thought.text for thought in thoughts if thought.text):
        message["thinking"] = text
    if len(thoughts) == 1 and (opaque := thoughts[0].opaque) is not None and opaque.vendor == vendor:
        message[REASONING_SIGNATURE] = opaque.data  # a signature is valid for its own block only, not for several joined


def _call(call: ToolCall, number: int, vendor: str, path: str, *, native: bool) -> Object:
    function = {"index": number, "name": call.name, "arguments": arguments_of(call, f"{path}.tool_calls[{number}]")}
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

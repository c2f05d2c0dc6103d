"""Server side: a body's messages as ``ChatMessage`` objects, read strictly."""

from __future__ import annotations

from binascii import a2b_base64
from typing import Any, get_args

from ...errors import BadInput, redact
from ...types import ChatMessage, ImagePart, ReasoningPart, Role, TextPart, ToolCall, ToolResult
from ..checks import item, several, text
from ..extras import remaining
from ..json_text import encoded
from ..tags import untagged
from .constants import CALL_SIGNATURE, REASONING_SIGNATURE, VENDOR, image_type

Object = dict[str, Any]
_ROLES = get_args(Role)


def text_of(taken: Object, name: str, field: str | None = None) -> str:
    """A text that may be missing, removed from its object. Raises ``BadInput``."""
    value = taken.pop(name, None)
    return "" if value is None else text(value, field or name)


class _Calls:
    """The calls of a conversation: assigns ids to calls without one, and the same ids to their results."""

    def __init__(self, messages: Any) -> None:
        self._taken = {call_id for message in messages for call_id in _ids(message)}
        self._open: list[ToolCall] = []
        self._made = 0

    def named(self, call_id: str) -> str:
        return call_id or self._fresh()

    def made(self, calls: list[ToolCall]) -> None:
        """The calls of one message, which await results from here on."""
        self._open = calls.copy()

    def answered(self, call_id: str, name: str) -> tuple[str, str]:
        """The id and name of the call that a result answers: by its id, otherwise the first unanswered call of that name."""
        for call in self._open:
            if call.id == call_id if call_id else name in ("", call.name):
                self._open.remove(call)
                return call.id, name or call.name
        return self.named(call_id), name

    def _fresh(self) -> str:
        while (fresh := f"call_{self._made}") in self._taken:
            self._made += 1
        self._taken.add(fresh)
        return fresh


def _ids(message: Any) -> list[str]:
    """The ids in a message of any shape."""
    if not isinstance(message, dict):
        return []
    calls = message.get("tool_calls")
    named = [call.get("id") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    return [call_id for call_id in (*named, message.get("tool_call_id")) if isinstance(call_id, str)]


def messages_of(values: Any) -> list[ChatMessage]:
    """A conversation. Consecutive tool results become one message. Raises ``BadInput``."""
    messages: list[ChatMessage] = []
    calls = _Calls(values)
    for place, value in enumerate(values):
        message = _message(dict(item(value, f"messages[{place}]")), f"messages[{place}]", calls)
        if message.role == "tool" and messages and messages[-1].role == "tool":
            messages[-1].parts += message.parts
        else:
            messages.append(message)
    return messages


def _message(message: Object, field: str, calls: _Calls) -> ChatMessage:
    role = text(message.pop("role", None), f"{field}.role").lower()
    content = text_of(message, "content", f"{field}.content")
    parts: list[Any] = [*images_of(message.pop("images", None), f"{field}.images")]
    parts += [TextPart(content)] if content else []
    match role:
        case "tool":
            call_id = text_of(message, "tool_call_id", f"{field}.tool_call_id")
            name = text_of(message, "tool_name", f"{field}.tool_name") or text_of(message, "name", f"{field}.name")
            call, name = calls.answered(call_id, name)
            return ChatMessage("tool", [ToolResult(call, parts, name or None, extra=remaining(message))])
        case "assistant":
            parts = [*_reasoning(message, field), *parts]
            called = message.pop("tool_calls", None)
            path = f"{field}.tool_calls"
            if called is not None:
                made = [_call(call, f"{path}[{at}]", calls) for at, call in enumerate(several(called, path))]
                calls.made(made)
                parts += made
            return ChatMessage("assistant", parts, extra=remaining(message))
        case "system" | "developer" | "user":
            return ChatMessage(role, parts, extra=remaining(message))
    raise BadInput(f"{field}.role is {redact(role, 60)!r}; it must be one of {', '.join(_ROLES)}", field=f"{field}.role")


def _reasoning(message: Object, field: str) -> list[ReasoningPart]:
    thinking = text_of(message, "thinking", f"{field}.thinking")
    signature = text_of(message, REASONING_SIGNATURE, f"{field}.{REASONING_SIGNATURE}")
    opaque = untagged(signature, VENDOR) if signature else None
    return [ReasoningPart(thinking, opaque)] if thinking or opaque is not None else []


def _call(value: object, field: str, calls: _Calls) -> ToolCall:
    call = dict(item(value, field))
    function = dict(item(call.pop("function", None), f"{field}.function"))
    name = text(function.pop("name", None), f"{field}.function.name")
    path, arguments = f"{field}.function.arguments", function.pop("arguments", None)
    arguments = "{}" if arguments is None else _json(item(arguments, path), path)
    function.pop("index", None)
    call_id = text_of(call, "id", f"{field}.id")
    signature = text_of(call, CALL_SIGNATURE, f"{field}.{CALL_SIGNATURE}")
    call.pop("type", None)
    opaque = untagged(signature, VENDOR) if signature else None
    return ToolCall(calls.named(call_id), name, arguments, opaque, extra=remaining(call, "function", function))


def _json(value: Any, field: str) -> str:
    try:
        return encoded(value).decode()
    except (ValueError, OverflowError):
        raise BadInput(f"{field} contains a value that cannot be sent as JSON", field=field) from None


def images_of(value: object, field: str) -> list[ImagePart]:
    """Images, each as base64; ``None`` is no image. Raises ``BadInput``."""
    if value is None:
        return []
    return [_image(image, f"{field}[{place}]") for place, image in enumerate(several(value, field))]


def _image(value: object, field: str) -> ImagePart:
    try:
        data = a2b_base64(text(value, field), strict_mode=True)
    except ValueError:
        raise BadInput(f"{field} is not base64: send the data of the image", field=field) from None
    return ImagePart(data=data, media_type=image_type(data))

"""Server side: a body's messages as ``ChatMessage`` objects, read strictly. Messages of Python callers are read here too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...errors import BadInput, redact
from ...types import (
    AudioPart,
    ChatMessage,
    FilePart,
    ImagePart,
    Messages,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCall,
    ToolResult,
)
from ..checks import from_base64, from_data_url, item, several, text
from ..extras import remaining
from ..tags import untagged
from .constants import AUDIO_TYPES, VENDOR
from .reasoning import PLAIN, part_of

Object = dict[str, Any]


def read_messages(messages: Messages | object) -> list[ChatMessage]:
    """A conversation. Consecutive tool results become one message. Raises ``BadInput`` naming the field."""
    if not isinstance(messages, list) and (isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Iterable)):
        raise BadInput('messages must be a list of {"role": …, "content": …}', field="messages")
    conversation: list[ChatMessage] = []
    called: dict[str, str] = {}
    for place, value in enumerate(messages):
        message = value if isinstance(value, ChatMessage) else _message(value, f"messages[{place}]", called)
        for part in message.parts:
            if isinstance(part, ToolCall):
                called[part.id] = part.name
        if message.role == "tool" and conversation and conversation[-1].role == "tool":
            conversation[-1] = ChatMessage("tool", [*conversation[-1].parts, *message.parts])
        else:
            conversation.append(message)
    if not conversation:
        raise BadInput("messages is empty: add a user message", field="messages")
    return conversation


def _message(value: object, field: str, called: dict[str, str]) -> ChatMessage:
    if type(value) is dict and len(value) == 2:
        role, content = value.get("role"), value.get("content")
        if content and type(content) is str and role in _USUAL_ROLES:
            return ChatMessage(role, [TextPart(content)])
    message = dict(item(value, field))
    role, content = message.pop("role", None), message.pop("content", None)
    match role:
        case "tool" | "function":  # the latter from before tools existed
            return ChatMessage("tool", [_result(content, message, field, called)])
        case "system" | "developer" | "user":
            parts = _parts(content, f"{field}.content")
        case "assistant":
            parts = _assistant(content, message, field)
        case _:
            raise BadInput(
                f"{field}.role is {_shown(role)}; it must be system, developer, user, assistant or tool", field=f"{field}.role"
            )
    name = message.pop("name", None)
    return ChatMessage(role, parts, None if name is None else text(name, f"{field}.name"), remaining(message))


_USUAL_ROLES = ("user", "assistant", "system")


def _result(content: object, message: Object, field: str, called: dict[str, str]) -> ToolResult:
    parts: list[Any] = [] if content is None else _parts(content, f"{field}.content")
    for place, part in enumerate(parts):
        if not isinstance(part, (TextPart, ImagePart, FilePart)):
            path = f"{field}.content[{place}]"
            raise BadInput(f"{path} must be text, an image or a file: a tool result can contain nothing else", field=path)
    name = message.pop("name", None)
    name = None if name is None else text(name, f"{field}.name")
    call = message.pop("tool_call_id", None)
    if call is None and name is not None:  # a function's result, for the last call of that name
        call = next((call_id for call_id, called_name in reversed(called.items()) if called_name == name), None)
    call = text(call, f"{field}.tool_call_id")
    return ToolResult(call, parts, name or called.get(call), cache=cache_of(message), extra=remaining(message))


def _assistant(content: object, message: Object, field: str) -> list[Part]:
    parts: list[Part] = [*_reasoning(message, field)]
    parts += [] if content is None else _parts(content, f"{field}.content")
    refusal = message.pop("refusal", None)
    if refusal is not None:
        parts.append(RefusalPart(text(refusal, f"{field}.refusal")))
    calls = message.pop("tool_calls", None)
    if calls is not None:
        path = f"{field}.tool_calls"
        parts += [_call(call, f"{path}[{place}]") for place, call in enumerate(several(calls, path))]
    old = message.pop("function_call", None)
    if old is not None:
        parts.append(_call({"id": f"function_{field[9:-1]}", "function": old}, field, "function_call"))
    return parts


def _reasoning(message: Object, field: str) -> list[ReasoningPart]:
    details = message.pop("reasoning_details", None)
    plain = [message.pop(name) for name in PLAIN if isinstance(message.get(name), str)]
    if details:
        path = f"{field}.reasoning_details"
        return [part_of(entry, f"{path}[{place}]") for place, entry in enumerate(several(details, path))]
    return [ReasoningPart(thought) for thought in plain[:1] if thought]


def _custom(fields: Object, field: str) -> ToolCall:
    """The call of a free-text tool."""
    path = f"{field}.custom"
    custom = dict(item(fields.pop("custom", None), path))
    name, free = text(custom.pop("name", None), f"{path}.name"), text(custom.pop("input", None), f"{path}.input")
    call = text(fields.pop("id", None), f"{field}.id")
    for further in ("type", "index"):
        fields.pop(further, None)
    return ToolCall(call, name, free, extra=remaining(fields, "custom", custom), kind="custom")


def _call(value: object, field: str, inside: str = "function") -> ToolCall:
    fields = dict(item(value, field))
    if fields.get("type") == "custom":
        return _custom(fields, field)
    function = dict(item(fields.pop("function", None), f"{field}.{inside}"))
    if fields.pop("type", "function") != "function":
        raise BadInput(f"{field}.type must be function: calls of other tools are not supported", field=f"{field}.type")
    fields.pop("index", None)
    opaque = None
    match fields.get("extra_content"):
        case {"google": {"thought_signature": str(signature)}}:
            opaque = untagged(signature, VENDOR)
            del fields["extra_content"]
    name, arguments = text(function.pop("name", None), f"{field}.{inside}.name"), function.pop("arguments", None)
    return ToolCall(
        text(fields.pop("id", None), f"{field}.id"),
        name,
        "" if arguments is None else text(arguments, f"{field}.{inside}.arguments"),
        opaque,
        cache_of(fields),
        remaining(fields, "function", function),
    )


def _parts(content: object, field: str) -> list[Part]:
    if isinstance(content, str):
        return [TextPart(content)] if content else []
    if not isinstance(content, (list, tuple)):
        kind = "missing" if content is None else type(content).__name__
        raise BadInput(f"{field} is {kind}; it must be text or a list of parts", field=field)
    return [_part(part, f"{field}[{place}]") for place, part in enumerate(content)]


def _part(value: object, field: str) -> Part:
    fields = dict(item(value, field))
    match fields.pop("type", None):
        case "text" | "input_text" | "output_text":
            return TextPart(text(fields.pop("text", None), f"{field}.text"), cache_of(fields), remaining(fields))
        case "image_url":
            return _image(fields, field)
        case "input_audio":
            return _audio(fields, field)
        case "file":
            return _file(fields, field)
        case "refusal":
            return RefusalPart(text(fields.pop("refusal", None), f"{field}.refusal"))
        case "thinking":
            return _mistral(fields, field)
        case kind:
            raise BadInput(
                f"{field}.type is {_shown(kind)}; it must be text, image_url, input_audio or file", field=f"{field}.type"
            )


def _mistral(fields: Object, field: str) -> ReasoningPart:
    """Mistral's reasoning, which is part of the content."""
    path = f"{field}.thinking"
    thoughts = [item(thought, f"{path}[{place}]") for place, thought in enumerate(several(fields.get("thinking"), path))]
    return ReasoningPart("".join(text(thought.get("text"), f"{path}[{place}].text") for place, thought in enumerate(thoughts)))


def _image(fields: Object, field: str) -> ImagePart:
    inner, path = fields.pop("image_url", None), f"{field}.image_url"
    image = {"url": inner} if isinstance(inner, str) else dict(item(inner, path))
    url, detail = text(image.pop("url", None), f"{path}.url"), image.pop("detail", None)
    detail = None if detail is None else text(detail, f"{path}.detail")
    part = ImagePart(url, detail=detail, cache=cache_of(fields), extra=remaining(fields, "image_url", image))
    if url.startswith("data:"):
        part.url = None
        part.media_type, part.data = from_data_url(url, f"{path}.url")
    return part


def _audio(fields: Object, field: str) -> AudioPart:
    path = f"{field}.input_audio"
    audio = dict(item(fields.pop("input_audio", None), path))
    form = text(audio.pop("format", None), f"{path}.format")
    data = from_base64(audio.pop("data", None), f"{path}.data")
    return AudioPart(data, AUDIO_TYPES.get(form, f"audio/{form}"), remaining(fields, "input_audio", audio))


def _file(fields: Object, field: str) -> FilePart:
    path = f"{field}.file"
    file = dict(item(fields.pop("file", None), path))
    name, file_id, data = (file.pop(key, None) for key in ("filename", "file_id", "file_data"))
    part = FilePart(name=None if name is None else text(name, f"{path}.filename"), cache=cache_of(fields))
    part.extra = remaining(fields, "file", file)
    if file_id is not None:
        part.id = text(file_id, f"{path}.file_id")
        return part
    source = text(data, f"{path}.file_data")
    if source.startswith(("https://", "http://")):  # OpenRouter's format
        part.url = source
    elif source.startswith("data:"):
        part.media_type, part.data = from_data_url(source, f"{path}.file_data")
    else:
        part.data = from_base64(source, f"{path}.file_data")
        part.media_type = "application/pdf" if part.data.startswith(b"%PDF") else "application/octet-stream"
    return part


def cache_of(fields: Object) -> str | None:
    """The cache mark that OpenRouter and others accept; one of another shape stays in the fields of this wire only."""
    match fields.get("cache_control"):
        case {"type": "ephemeral", **more} if not more or more in ({"ttl": "5m"}, {"ttl": "1h"}):
            del fields["cache_control"]
            return str(more.get("ttl", "5m"))
    return None


def _shown(value: object) -> str:
    return "missing" if value is None else repr(redact(str(value), 40))

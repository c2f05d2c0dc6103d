"""Server side: messages and content blocks as ``ChatMessage`` objects and their parts."""

from __future__ import annotations

from typing import Any

from ...errors import BadInput
from ...types import ChatMessage, FilePart, ImagePart, Opaque, Part, ReasoningPart, TextPart, ToolCall, ToolResult
from ..checks import bad, from_base64, optional_flag, optional_text, record, several, text
from ..extras import rest
from ..json_text import encoded
from ..tags import untagged
from .caching import cache_of
from .constants import CALLER, VENDOR

Block = dict[str, Any]
_USER_BLOCKS = ("search_result", "container_upload", "tool_reference", "browser_state")
"""Blocks of user messages that exist on this wire only."""
_BACKEND_BLOCKS = ("server_tool_use", "mcp_tool_use", "compaction", "fallback", "container_upload")
"""Blocks of replies that the backend requires back unchanged, besides the results of tools that it ran."""


def texts(value: object, path: str) -> list[TextPart]:
    """Text, or a list of text blocks only. An empty text gives none."""
    if isinstance(value, str):
        return [TextPart(value)] if value else []
    blocks = []
    for at, item in enumerate(several(value, path)):
        block = record(item, f"{path}[{at}]")
        if block.get("type") != "text":
            raise bad(f"{path}[{at}].type", "text", block.get("type"))
        blocks.append(_text(block, f"{path}[{at}]"))
    return blocks


class ConversationReader:
    """Reads messages in their order. Tool results take their tool's name from the call they answer."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def messages(self, block: Block, path: str) -> list[ChatMessage]:
        """One message of the body; tool results become separate messages."""
        extra = rest(block, ("role", "content"))
        match block.get("role"):
            case "system":
                return [ChatMessage("system", list[Part](texts(block.get("content"), f"{path}.content")), extra=extra)]
            case "user":
                messages = self._user(block.get("content"), f"{path}.content")
            case "assistant":
                messages = [ChatMessage("assistant", self._assistant(block.get("content"), f"{path}.content"))]
            case role:
                raise bad(f"{path}.role", "user, assistant or system", role)
        messages[0].extra = extra
        return messages

    def _user(self, content: object, path: str) -> list[ChatMessage]:
        if isinstance(content, str):
            return [ChatMessage("user", list[Part](texts(content, path)))]
        messages: list[ChatMessage] = []
        for at, item in enumerate(several(content, path)):
            part = self._user_part(record(item, f"{path}[{at}]"), f"{path}[{at}]")
            role: Any = "tool" if isinstance(part, ToolResult) else "user"
            if messages and messages[-1].role == role:
                messages[-1].parts.append(part)
            else:
                messages.append(ChatMessage(role, [part]))
        return messages or [ChatMessage("user", [])]

    def _user_part(self, block: Block, path: str) -> Part:
        if block.get("type") == "tool_result":
            return self._result(block, path)
        return shared_part(block, path)

    def _result(self, block: Block, path: str) -> ToolResult:
        call_id = text(block.get("tool_use_id"), f"{path}.tool_use_id")
        content = block.get("content")
        parts: list[Any] = []
        if isinstance(content, str) or content is None:
            parts += texts(content or "", path)
        else:
            for at, item in enumerate(several(content, f"{path}.content")):
                parts.append(shared_part(record(item, f"{path}.content[{at}]"), f"{path}.content[{at}]"))
        failed = bool(optional_flag(block.get("is_error"), f"{path}.is_error"))
        cache, extra = cache_of(block, ("type", "tool_use_id", "content", "is_error"), path)
        return ToolResult(call_id, parts, self._names.get(call_id), failed, cache, extra)

    def _assistant(self, content: object, path: str) -> list[Part]:
        if isinstance(content, str):
            return list[Part](texts(content, path))
        parts: list[Part] = []
        waiting: Opaque | None = None
        for at, item in enumerate(several(content, path)):
            part = self._assistant_part(record(item, f"{path}[{at}]"), f"{path}[{at}]")
            if isinstance(part, ToolCall):
                part.opaque, waiting = waiting, None
            if waiting is not None:
                parts.append(ReasoningPart(opaque=waiting))
                waiting = None
            if isinstance(part, Opaque):
                waiting = part
            else:
                parts.append(part)
        return parts if waiting is None else [*parts, ReasoningPart(opaque=waiting)]

    def _assistant_part(self, block: Block, path: str) -> Part | Opaque:
        """One part; an ``Opaque`` without a text belongs to the call after it, because the writer puts it there."""
        match block.get("type"):
            case "thinking":
                signature = optional_text(block.get("signature"), f"{path}.signature")
                opaque = untagged(signature, VENDOR) if signature else None
                return ReasoningPart(text(block.get("thinking"), f"{path}.thinking"), opaque)
            case "redacted_thinking":
                data = text(block.get("data"), f"{path}.data")
                opaque = untagged(data, VENDOR)
                if opaque.data != data and not opaque.redacted:
                    return opaque
                opaque.redacted = True
                return ReasoningPart(opaque=opaque)
            case "tool_use":
                return self._call(block, path)
            case str(kind) if kind in _BACKEND_BLOCKS or kind.endswith("_tool_result"):
                return ReasoningPart(opaque=Opaque(VENDOR, _json(block, path), redacted=True))
        return shared_part(block, path)

    def _call(self, block: Block, path: str) -> ToolCall:
        call_id, name = text(block.get("id"), f"{path}.id"), text(block.get("name"), f"{path}.name")
        self._names[call_id] = name
        arguments = _json(record(block.get("input"), f"{path}.input"), f"{path}.input")
        direct = ("caller",) if block.get("caller") == CALLER else ()  # true of every call unless code that ran made it
        cache, extra = cache_of(block, ("type", "id", "name", "input", *direct), path)
        return ToolCall(call_id, name, arguments, None, cache, extra)


def shared_part(block: Block, path: str) -> TextPart | ImagePart | FilePart:
    """A part that is valid in user and in assistant messages."""
    match block.get("type"):
        case "text":
            return _text(block, path)
        case "image":
            return _image(block, path)
        case "document":
            return _document(block, path)
        case str(kind) if kind in _USER_BLOCKS:
            return TextPart(_text_of(block), extra={"block": block})
        case kind:
            raise bad(f"{path}.type", "text, image, document or another type of content that this API has", kind)


def _text(block: Block, path: str) -> TextPart:
    cache, extra = cache_of(block, ("type", "text", "citations"), path)
    # A citation by our writer has no index that the API would recognize.
    cited = [
        citation
        for citation in block.get("citations") or []
        if not isinstance(citation, dict) or citation.get("encrypted_index") != ""
    ]
    return TextPart(text(block.get("text"), f"{path}.text"), cache, {**(extra or {}), "citations": cited} if cited else extra)


def _image(block: Block, path: str) -> ImagePart | FilePart:
    cache, extra = cache_of(block, ("type", "source"), path)
    source = record(block.get("source"), f"{path}.source")
    match source.get("type"):
        case "url":
            return ImagePart(url=text(source.get("url"), f"{path}.source.url"), cache=cache, extra=extra)
        case "base64":
            data, kind = _bytes(source, f"{path}.source")
            return ImagePart(data=data, media_type=kind, cache=cache, extra=extra)
        case "file":
            held = text(source.get("file_id"), f"{path}.source.file_id")
            return FilePart(id=held, cache=cache, extra={**(extra or {}), "type": "image"})
        case kind:
            raise bad(f"{path}.source.type", "base64, url or file", kind)


def _document(block: Block, path: str) -> FilePart:
    cache, extra = cache_of(block, ("type", "source", "title"), path)
    part = FilePart(name=optional_text(block.get("title"), f"{path}.title"), cache=cache, extra=extra)
    source = record(block.get("source"), f"{path}.source")
    match source.get("type"):
        case "url":
            part.url = text(source.get("url"), f"{path}.source.url")
        case "base64":
            part.data, part.media_type = _bytes(source, f"{path}.source")
        case "text":
            part.data = text(source.get("data"), f"{path}.source.data").encode("utf-8", "replace")
            part.media_type = "text/plain"
        case "file":
            part.id = text(source.get("file_id"), f"{path}.source.file_id")
        case "content":
            part.data, part.media_type = _text_of(source).encode("utf-8", "replace"), "text/plain"
            part.extra = {**(extra or {}), "source": {"media_type": None, "data": None, **source}}
        case kind:
            raise bad(f"{path}.source.type", "base64, text, url, file or content", kind)
    return part


def _bytes(source: Block, path: str) -> tuple[bytes, str]:
    kind = text(source.get("media_type"), f"{path}.media_type")
    return from_base64(source.get("data"), f"{path}.data"), kind


def _text_of(block: Block) -> str:
    """The readable text of a block of unknown kind: titles, sources and texts, one per line."""
    texts = [value for name in ("title", "source", "text", "tool_name", "file_id") if isinstance(value := block.get(name), str)]
    content = block.get("content")
    if isinstance(content, str):
        texts.append(content)
    elif isinstance(content, list):
        texts += [item["text"] for item in content if isinstance(item, dict) and isinstance(item.get("text"), str)]
    return "\n".join(texts)


def _json(value: Block, path: str) -> str:
    try:
        return encoded(value).decode()
    except (ValueError, TypeError, OverflowError) as error:
        raise BadInput(f"{path} contains a value that cannot be sent as JSON: {error}", field=path) from error

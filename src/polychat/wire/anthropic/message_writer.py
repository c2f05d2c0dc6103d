"""Client side: ``ChatMessage`` objects as messages and content blocks."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any

from ...errors import BadInput
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
from ..call_ids import replacement_of
from ..checks import arguments_of
from ..extras import with_extra
from ..json_text import decoded
from .constants import VENDOR

Block = dict[str, Any]
_CALL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""Call ids that are sent unchanged. The API documents no length; Amazon Bedrock accepts 64 characters."""


def cached(block: Block, cache: str | None) -> Block:
    """``block`` with its cache mark, if it has one. Five minutes are the wire's default and are not written."""
    if cache is not None:
        block["cache_control"] = {"type": "ephemeral"} if cache == "5m" else {"type": "ephemeral", "ttl": cache}
    return block


def system_blocks(blocks: list[Block]) -> str | list[Block]:
    """Plain text as a string, which servers that support only a part of this wire understand too."""
    return blocks[0]["text"] if len(blocks) == 1 and set(blocks[0]) == {"type", "text"} else blocks


def wire_id(call_id: str) -> str:
    """A call id that the API accepts. An id that it rejects is replaced, always by the same id, which stands for no other."""
    return call_id if _CALL_ID.fullmatch(call_id) else replacement_of(call_id)


class Blocks:
    """Writes parts for one backend. ``vendor``: whose opaque parts it reads; ``native``: the request was read on this wire."""

    def __init__(self, vendor: str, *, native: bool) -> None:
        self._vendor = vendor
        self._native = native

    def messages(self, messages: list[ChatMessage]) -> tuple[list[Block], list[Block]]:
        """The system blocks, and the messages; adjacent messages of one role are joined."""
        system: list[Block] = []
        written: list[Block] = []
        for place, message in enumerate(messages):
            path = f"messages[{place}]"
            if message.role in ("system", "developer"):
                self._system(message, path, system, written)
                continue
            blocks = [block for at, part in enumerate(message.parts) for block in self._part(part, f"{path}.parts[{at}]")]
            if blocks:
                self._add("assistant" if message.role == "assistant" else "user", blocks, message, written)
        for block in written:
            block["content"] = system_blocks(block["content"])
        return system, written

    def _system(self, message: ChatMessage, path: str, system: list[Block], messages: list[Block]) -> None:
        blocks = []
        for part in message.parts:
            if not isinstance(part, TextPart):
                raise BadInput(
                    f"a message of role {message.role} can only contain text: move the rest to a user message", field=path
                )
            blocks += self._text(part)
        extra = self._native and message.extra
        if not blocks:
            return
        if not messages and not extra:
            system += blocks
        elif self._native:
            self._add("system", blocks, message, messages)
        else:
            text = "\n\n".join(block["text"] for block in blocks)
            self._add("user", [{"type": "text", "text": f"<system>\n{text}\n</system>"}], message, messages)

    def _add(self, role: str, blocks: list[Block], message: ChatMessage, messages: list[Block]) -> None:
        if messages and messages[-1]["role"] == role and not (self._native and message.extra):
            messages[-1]["content"] += blocks
        else:
            messages.append(self._with({"role": role, "content": blocks}, message.extra))

    def _part(self, part: Part, path: str) -> list[Block]:
        match part:
            case TextPart():
                return self._text(part)
            case ImagePart():
                return [self._image(part)]
            case FilePart():
                return [self._file(part, path)]
            case ReasoningPart():
                return self._reasoning(part)
            case RefusalPart():
                return [{"type": "text", "text": part.text}] if part.text else []
            case ToolCall():
                return [self._call(part, path)]
            case ToolResult():
                return [self._result(part, path)]
            case AudioPart():
                return []

    def _text(self, part: TextPart) -> list[Block]:
        if self._native and part.extra and isinstance(whole := part.extra.get("block"), dict):
            return [whole]
        if not part.text:
            return []  # the API rejects empty texts
        return [self._with(cached({"type": "text", "text": part.text}, part.cache), part.extra)]

    def _image(self, part: ImagePart) -> Block:
        source: Block = {"type": "url", "url": part.url}
        if part.data is not None:
            source = {"type": "base64", "media_type": part.media_type, "data": b64encode(part.data).decode()}
        return self._with(cached({"type": "image", "source": source}, part.cache), part.extra)

    def _file(self, part: FilePart, path: str) -> Block:
        image = part.media_type is not None and part.media_type.startswith("image/")
        block: Block = {"type": "image" if image else "document", "source": _source(part, path)}
        if part.name is not None and not image:
            block["title"] = part.name
        return self._with(cached(block, part.cache), part.extra)

    def _reasoning(self, part: ReasoningPart) -> list[Block]:
        opaque = part.opaque
        if opaque is not None and opaque.vendor == self._vendor:
            return [_opaque(part.text, opaque)]
        if self._vendor != VENDOR and part.text:
            # Other vendors on this wire sign nothing, and some still require reasoning to be returned.
            return [{"type": "thinking", "thinking": part.text, "signature": ""}]
        return []

    def _call(self, part: ToolCall, path: str) -> Block:
        block: Block = {"type": "tool_use", "id": wire_id(part.id), "name": part.name, "input": arguments_of(part, path)}
        return self._with(cached(block, part.cache), part.extra)

    def _result(self, part: ToolResult, path: str) -> Block:
        block: Block = {"type": "tool_result", "tool_use_id": wire_id(part.id)}
        content = [block for at, inner in enumerate(part.parts) for block in self._part(inner, f"{path}.parts[{at}]")]
        if content:
            block["content"] = system_blocks(content)
        if part.is_error:
            block["is_error"] = True
        return self._with(cached(block, part.cache), part.extra)

    def _with(self, block: Block, extra: dict[str, Any] | None) -> Block:
        return with_extra(block, extra, native=self._native) if extra else block


def _source(part: FilePart, path: str) -> Block:
    if part.url is not None:
        return {"type": "url", "url": part.url}
    if part.data is None:
        return {"type": "file", "file_id": part.id}
    if part.media_type is None or not part.media_type.startswith("text/"):
        return {"type": "base64", "media_type": part.media_type, "data": b64encode(part.data).decode()}
    try:
        return {"type": "text", "media_type": "text/plain", "data": part.data.decode()}
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is {part.media_type} but not UTF-8: convert it first", field=path) from error


def _opaque(text: str, opaque: Opaque) -> Block:
    if not opaque.redacted:
        return {"type": "thinking", "thinking": text, "signature": opaque.data}
    if opaque.data.startswith("{"):  # the complete block of a tool that the backend ran, from the reader; see reply_blocks.py
        try:
            block = decoded(opaque.data.encode())
        except ValueError:
            block = None
        if isinstance(block, dict):
            return block
    return {"type": "redacted_thinking", "data": opaque.data}

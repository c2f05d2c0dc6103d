"""Client side: messages of a conversation as items of ``input``."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence

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
from ..adapting import name_in_group
from ..checks import data_url
from ..extras import with_extra
from ..json_text import escaped
from ..tags import tagged
from .actions import ACTIONS, CUSTOM, RESULTS, result_of
from .actions import item_of as action_of
from .constants import VENDOR, Object
from .sealed import generated_id, item_of, of_call

AUDIO = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/x-wav": "wav", "audio/wave": "wav"}
_ENDINGS = {"application/pdf": "pdf", "text/plain": "txt", "text/markdown": "md", "application/json": "json"}


def split_instructions(messages: list[ChatMessage], *, native: bool) -> tuple[str | None, list[ChatMessage]]:
    """The instructions, and the remaining messages. A first system message of one text becomes the instructions.

    Unless the request was read on this wire (``native``) and the message has fields that instructions do not have.
    """
    match messages:
        case [ChatMessage(role="system", parts=[TextPart(text=str(text), extra=further)], extra=extra), _, *_] if not (
            native and (further or extra)
        ):
            return text, messages[1:]
    return None, messages


class Items:
    """Writes messages as items. ``native``: they were read on this wire, so fields that only it has are written too."""

    def __init__(self, vendor: str, *, native: bool) -> None:
        self._vendor = vendor
        self._native = native
        self._kinds: dict[str, str] = {}
        """The calls so far, by id, that are not functions: their results have their own item types."""

    def of(self, messages: list[ChatMessage]) -> list[Object]:
        return [item for message in messages for item in self._items(message)]

    def _items(self, message: ChatMessage) -> Iterator[Object]:
        if message.role == "tool":
            yield from (self._result(part) for part in message.parts if isinstance(part, ToolResult))
        elif message.role == "assistant":
            yield from self._assistant(message)
        else:
            yield self._message(message, message.parts)

    def _message(self, message: ChatMessage, parts: Sequence[Part]) -> Object:
        item: Object = {"type": "message", "role": message.role, "content": self._content(parts, message.role)}
        return self._with(message.extra, item)

    def _assistant(self, message: ChatMessage) -> Iterator[Object]:
        """Adjacent texts become one message; reasoning and calls are items between them."""
        content: list[Part] = []
        for part in message.parts:
            if isinstance(part, ReasoningPart | ToolCall):
                if content:
                    yield self._message(message, content)
                    content = []
                yield from self._reasoning(part) if isinstance(part, ReasoningPart) else self._call(part)
            else:
                content.append(part)
        if content or not message.parts:
            yield self._message(message, content)

    def _reasoning(self, part: ReasoningPart) -> Iterator[Object]:
        opaque = part.opaque if part.opaque is not None and part.opaque.vendor == self._vendor else None
        summary = [{"type": "summary_text", "text": part.text}] if part.text else []
        if opaque is None:
            # OpenAI accepts only reasoning that it encrypted; servers with open reasoning require it as text, with an id.
            if self._vendor != VENDOR and part.text:
                content = [{"type": "reasoning_text", "text": part.text}]
                yield {"type": "reasoning", "id": generated_id("", 0), "summary": [], "content": content}
        elif (item := item_of(opaque)) is not None:
            yield item
        else:
            named = {} if opaque.id is None else {"id": opaque.id}
            item = {"type": "reasoning", **named, "summary": summary, "encrypted_content": opaque.data}
            yield self._with(part.extra, item)

    def _call(self, call: ToolCall) -> Iterator[Object]:
        if call.opaque is not None and call.opaque.vendor == self._vendor:
            yield {"type": "reasoning", "summary": [], "encrypted_content": of_call(call.id, _signature(call.opaque))}
        if call.kind in ACTIONS:
            self._kinds[call.id] = call.kind
            yield self._with(call.extra, action_of(call))
            return
        name = name_in_group((call.extra or {}).get("namespace") if self._native else None, call.name)
        item: Object = {"type": "function_call", "call_id": call.id, "name": name, "arguments": escaped(call.arguments) or "{}"}
        if call.kind == "custom":
            self._kinds[call.id] = call.kind
            item = {"type": CUSTOM, "call_id": call.id, "name": name, "input": call.arguments}
        yield self._with(call.extra, item)

    def _result(self, result: ToolResult) -> Object:
        kind = self._kinds.get(result.id)
        if self._native and result.extra and result.extra.get("type") in RESULTS:
            return dict(result.extra)
        if kind in ACTIONS:
            return result_of(result, kind)
        output = self._content(result.parts, "tool")
        type_ = "function_call_output" if kind is None else f"{CUSTOM}_output"
        return self._with(result.extra, {"type": type_, "call_id": result.id, "output": output})

    def _content(self, parts: Sequence[Part], role: str) -> str | list[Object]:
        """Plain text, which every server understands, if there are no other parts; otherwise a list of parts."""
        match parts:
            case []:
                return ""
            case [TextPart(text=str(text), extra=extra)] if text and not (self._native and extra):
                return text
        return [self._part(part, role) for part in parts]

    def _part(self, part: Part, role: str) -> Object:
        match part:
            case TextPart() if role == "assistant":
                return self._with(part.extra, {"type": "output_text", "text": part.text, "annotations": []})
            case TextPart():
                return self._with(part.extra, {"type": "input_text", "text": part.text})
            case RefusalPart():
                return {"type": "refusal", "refusal": part.text}
            case ImagePart():
                url = part.url if part.data is None else data_url(part.media_type, part.data)
                return self._with(part.extra, {"type": "input_image", "image_url": url, "detail": part.detail or "auto"})
            case AudioPart():
                form = AUDIO.get(part.media_type) or part.media_type.rpartition("/")[2]
                audio = {"data": b64encode(part.data).decode(), "format": form}
                return self._with(part.extra, {"type": "input_audio", "input_audio": audio})
            case FilePart():
                return self._with(part.extra, self._file(part))
        raise TypeError(f"{type(part).__name__} in a message of the role {role}")  # types.py allows no other part here

    def _file(self, file: FilePart) -> Object:
        if file.data is not None:
            name = file.name or f"document.{_ENDINGS.get(file.media_type or '', 'txt')}"
            return {"type": "input_file", "filename": name, "file_data": data_url(file.media_type, file.data)}
        named = {"filename": file.name} if self._native and file.name is not None else {}
        held = {"file_url": file.url} if file.url is not None else {"file_id": file.id}
        return {"type": "input_file", **held, **named}

    def _with(self, extra: Object | None, written: Object) -> Object:
        return with_extra(written, extra, native=self._native) if extra else written


def _signature(opaque: Opaque) -> str:
    return opaque.data if opaque.id is None and not opaque.redacted else tagged(opaque, "")

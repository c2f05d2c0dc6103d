"""Client side: ``ChatMessage`` objects as this wire's contents."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field

from ...errors import BadInput, redact
from ...types import (
    AudioPart,
    ChatMessage,
    ChatRequest,
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
from ..checks import arguments_of
from ..extras import with_extra
from ..json_text import decoded, encoded
from .constants import NAME, SKIP_VALIDATION, Object, type_of

_SIGNED_CALLS = re.compile(r"gemini-(?![12]\b)")
"""Models that reject a call of an earlier message without a signature."""


def contents_of(request: ChatRequest, vendor: str) -> tuple[Object | None, list[Object]]:
    """The system instruction, and the contents. Raises ``BadInput``."""
    writing = _Writing(vendor, native=request.wire == NAME, skip=_SIGNED_CALLS.search(request.model) is not None)
    for place, message in enumerate(request.messages):
        writing.message(message, f"messages[{place}]")
    system, contents = writing.system, writing.contents
    if not system.get("parts"):
        return None, contents
    if not contents:
        return None, [{"role": "user", **system}]  # the API rejects a request without contents
    return system, contents


@dataclass(slots=True)
class _Writing:
    vendor: str
    native: bool
    """The request was read on this wire: ``extra`` has its fields."""
    skip: bool
    system: Object = field(default_factory=dict)
    contents: list[Object] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """The names of the called tools, by call id."""
    after_tool: bool = False
    first_call: bool = True
    """Whether the next call is the first of its message."""

    def message(self, message: ChatMessage, path: str) -> None:
        self.first_call = True
        parts = [
            part
            for place, source in enumerate(message.parts)
            if (part := self.part(source, f"{path}.parts[{place}]")) is not None
        ]
        if message.role in ("system", "developer"):
            self.system["parts"] = [*self.system.get("parts", []), *parts]
            self.with_extra(self.system, message.extra)
        elif parts or not message.parts:
            self.add(message, parts)

    def add(self, message: ChatMessage, parts: list[Object]) -> None:
        """Results of several messages become one content: the API requires as many results there as there were calls."""
        if message.role == "tool" and self.after_tool:
            self.contents[-1]["parts"] += parts
        else:
            role = "model" if message.role == "assistant" else "user"
            self.contents.append(self.with_extra({"role": role, "parts": parts}, message.extra))
        self.after_tool = message.role == "tool"

    def part(self, part: Part, path: str) -> Object | None:
        match part:
            case TextPart():
                return self.text(part)
            case ToolCall():
                return self.call(part, path)
            case ToolResult():
                return self.result(part, path)
            case ReasoningPart():
                return self.thought(part)
            case RefusalPart():
                return {"text": part.text}
            case _:
                return self.with_extra(_media(part), part.extra)

    def text(self, part: TextPart) -> Object:
        if self.native and not part.text and part.extra:
            return part.extra  # a part of a kind that has no common type
        return self.with_extra({"text": part.text}, part.extra)

    def thought(self, part: ReasoningPart) -> Object | None:
        signature = self.signature(part.opaque)
        if not part.text and signature is None:
            return None
        if signature is not None and part.opaque is not None and part.opaque.redacted and (whole := object_in(signature)):
            return whole  # a part of the model's that only this vendor reads
        written: Object = {"text": part.text}
        if part.text:
            written["thought"] = True
        if signature is not None:
            written["thoughtSignature"] = signature
        return self.with_extra(written, part.extra)

    def signature(self, opaque: Opaque | None) -> str | None:
        return opaque.data if opaque is not None and opaque.vendor == self.vendor else None

    def call(self, call: ToolCall, path: str) -> Object:
        self.names[call.id] = call.name
        function: Object = {"id": call.id, "name": call.name}
        if call.arguments.strip():
            function["args"] = arguments_of(call, path)
        written: Object = {"functionCall": function}
        signature = self.signature(call.opaque)
        if signature is None and self.skip and self.first_call:
            signature = SKIP_VALIDATION
        self.first_call = False
        if signature is not None:
            written["thoughtSignature"] = signature
        return self.with_extra(written, call.extra)

    def result(self, result: ToolResult, path: str) -> Object:
        name = result.name or self.names.get(result.id)
        if not name:
            raise BadInput(
                f"{path} answers the call {redact(result.id, 60)!r}, which no earlier message made: this API requires "
                "the name of its tool; send the call too, or the name",
                field=f"{path}.name",
            )
        response: Object = {"id": result.id, "name": name, "response": _response(result)}
        media = [self.with_extra(_media(part), part.extra) for part in result.parts if not isinstance(part, TextPart)]
        if media:
            response["parts"] = media
        return self.with_extra({"functionResponse": response}, result.extra)

    def with_extra(self, written: Object, extra: Object | None) -> Object:
        """Fields that only this wire has are added to the part, and to the object within it."""
        return with_extra(written, extra, native=self.native) if extra else written


def _response(result: ToolResult) -> Object:
    """A text that is a JSON object in canonical form (no spaces) is sent as that object, so that it is returned unchanged."""
    texts = [part.text for part in result.parts if isinstance(part, TextPart)]
    if not texts:
        return {"error": ""} if result.is_error else {}
    text = "\n".join(texts)
    whole = object_in(text)
    if result.is_error:
        return {"error": text if whole is None else whole}
    return {"output": text} if not whole or whole.keys() & {"output", "error"} else whole


def object_in(text: str) -> Object | None:
    """The object whose canonical JSON ``text`` is; ``None`` for any other text."""
    if not text.startswith("{"):
        return None
    try:
        raw = text.encode()
        value = decoded(raw)
        return value if isinstance(value, dict) and encoded(value) == raw else None
    except ValueError:
        return None


def _media(part: ImagePart | AudioPart | FilePart) -> Object:
    if isinstance(part, AudioPart) or part.data is not None:
        return {"inlineData": {"mimeType": part.media_type or "", "data": b64encode(part.data or b"").decode()}}
    place = part.url or (part.id if isinstance(part, FilePart) else None) or ""
    kind = part.media_type or (type_of(part.url) if part.url else None)
    return {"fileData": {"fileUri": place, **({} if kind is None else {"mimeType": kind})}}

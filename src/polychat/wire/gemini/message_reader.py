"""Server side: this wire's contents as ``ChatMessage`` objects, read strictly."""

from __future__ import annotations

from binascii import Error as NotBase64
from binascii import a2b_base64
from collections import deque
from typing import Any, cast

from ...errors import BadInput, redact
from ...types import AudioPart, ChatMessage, FilePart, ImagePart, Opaque, Part, ReasoningPart, TextPart, ToolCall, ToolResult
from ..checks import flag, item, several, text
from ..extras import remaining
from ..json_text import encoded
from .constants import SKIP_VALIDATION, VENDOR, Object, carried, fields, opaque_of, repeated, type_of

_ROLES = ("user", "model", "function")


def turns_of(system: object, contents: object, path: str = "") -> list[ChatMessage]:
    """The messages. ``where`` is the prefix of field names in errors. Raises ``BadInput``."""
    reading = _Reading()
    if system is not None:
        reading.system(system, f"{path}systemInstruction")
    entry = several(repeated(contents), f"{path}contents")
    if not entry:
        raise BadInput(f"{path}contents is empty: add a user message", field=f"{path}contents")
    for place, content in enumerate(entry):
        reading.content(content, f"{path}contents[{place}]")
    for part, pieces in reading.grown.values():
        part.text = "".join(pieces)
    for message in reading.messages if reading.carried else ():
        reading.think(message)
    return reading.messages


class _Reading:
    def __init__(self) -> None:
        self.messages: list[ChatMessage] = []
        self.calls = 0
        self.waiting: dict[str, deque[str]] = {}
        """The ids of unanswered calls by their tool's name, oldest first; those in ``with_result`` are removed when they are
        found.
        """
        self.with_result: set[str] = set()
        """The ids of answered calls."""
        self.grown: dict[int, tuple[TextPart | ReasoningPart, list[str]]] = {}
        """Parts that continue over several contents, by identity, with their pieces, which are joined once at the end."""
        self.carried: dict[int, list[ReasoningPart]] = {}
        """Reasoning from a call's signature, by the call's identity."""

    def system(self, value: object, path: str) -> None:
        content = fields(value, path)
        content.pop("role", None)
        parts = self.parts(content, path, "system")
        self.messages.append(ChatMessage("system", parts, extra=remaining(content)))

    def content(self, value: object, path: str) -> None:
        content = fields(value, path)
        role = text(content.pop("role", "user"), f"{path}.role")
        if role not in _ROLES:
            raise BadInput(f"{path}.role is {redact(role)!r}; it must be user or model", field=f"{path}.role")
        parts = self.parts(content, path, role)
        if role == "model":
            self.add(ChatMessage("assistant", parts, extra=remaining(content)))
            return
        # On every wire results directly follow their calls, so the other parts of this content come after them.
        results: list[Part] = [part for part in parts if isinstance(part, ToolResult)]
        others: list[Part] = [part for part in parts if not isinstance(part, ToolResult)]
        if results:
            self.add(ChatMessage("tool", results, extra=remaining(content)))
        if others or not results:
            self.messages.append(ChatMessage("user", others, extra=None if results else remaining(content)))

    def add(self, message: ChatMessage) -> None:
        """Add a message, or extend the last one: some clients keep every piece of a streamed answer as a separate content."""
        last = self.messages[-1] if self.messages else None
        if last is None or last.role != message.role:
            self.messages.append(message)
            return
        for number, part in enumerate(message.parts):
            if part != TextPart("") and (number or not self.continues(last.parts, part)):
                last.parts.append(part)
        if message.extra:
            last.extra = {**(last.extra or {}), **message.extra}

    def think(self, message: ChatMessage) -> None:
        """Insert reasoning from a call's signature at the beginning of its message, unless the client kept it there."""
        seals = {_seal(part) for part in message.parts if isinstance(part, ReasoningPart)}
        brought = [thought for part in message.parts for thought in self.carried.get(id(part), ())]
        message.parts[:0] = [thought for thought in brought if _seal(thought) not in seals]

    def parts(self, content: Object, path: str, role: str) -> list[Part]:
        parts: list[Part] = []
        for place, part in enumerate(several(repeated(content.pop("parts", [])), f"{path}.parts")):
            self.part(fields(part, f"{path}.parts[{place}]"), parts, f"{path}.parts[{place}]", role)
        return parts

    def part(self, entry: Object, parts: list[Part], path: str, role: str) -> None:
        if role == "model" and entry.get("thought") is False:
            del entry["thought"]
        match entry:
            case {"functionCall": _}:
                parts.append(self.call(entry, path, role))
            case {"functionResponse": _}:
                parts.append(self.result(entry, path, role))
            case {"inlineData": _} | {"fileData": _}:
                parts.append(media_of(entry, path))
            case {"text": _} if role == "model":
                _thought_or_text(entry, parts, path)
            case {"text": _}:
                parts.append(TextPart(text(entry.pop("text"), f"{path}.text"), extra=remaining(entry)))
            case _ if entry and role == "model":  # code that the backend ran, calls of its own tools
                parts.append(ReasoningPart(opaque=Opaque(VENDOR, _json(entry, path), redacted=True)))
            case _ if entry:
                parts.append(TextPart("", extra=entry))
            case _:
                raise BadInput(
                    f"{path} is empty; it must contain text, inlineData, fileData, functionCall or functionResponse",
                    field=path,
                )

    def call(self, entry: Object, path: str, role: str) -> ToolCall:
        if role != "model":
            raise BadInput(
                f"{path}.functionCall is in a content of role user; it must be in one of role model",
                field=f"{path}.functionCall",
            )
        here = f"{path}.functionCall"
        function = fields(entry.pop("functionCall"), here)
        call_id = text(function.pop("id", ""), f"{here}.id")
        call = ToolCall(call_id or f"call_{self.calls}", text(function.pop("name", None), f"{here}.name"))
        if "args" in function:
            call.arguments = _json(item(function.pop("args"), f"{here}.args"), f"{here}.args")
        signature = text(entry.pop("thoughtSignature", ""), f"{path}.thoughtSignature")
        if signature and signature != SKIP_VALIDATION:
            call.opaque, thoughts = carried(signature, VENDOR)
            if thoughts:
                self.carried[id(call)] = thoughts
        call.extra = remaining(entry, "functionCall", function)
        self.calls += 1
        self.waiting.setdefault(call.name, deque()).append(call.id)
        self.with_result.discard(call.id)
        return call

    def result(self, entry: Object, path: str, role: str) -> ToolResult:
        if role not in ("user", "function"):
            raise BadInput(
                f"{path}.functionResponse is in a content of role {role}; it must be in one of role user",
                field=f"{path}.functionResponse",
            )
        here = f"{path}.functionResponse"
        function = fields(entry.pop("functionResponse"), here)
        name = text(function.pop("name", None), f"{here}.name")
        call_id = text(function.pop("id", ""), f"{here}.id")
        result = ToolResult(call_id or self.answered(name), name=name)
        self.with_result.add(result.id)
        _response(function.pop("response", {}), result, f"{here}.response")
        for place, element in enumerate(several(repeated(function.pop("parts", [])), f"{here}.parts")):
            part = media_of(fields(element, f"{here}.parts[{place}]"), f"{here}.parts[{place}]")
            result.parts.append(cast(Any, part))
        result.extra = remaining(entry, "functionResponse", function)
        return result

    def answered(self, name: str) -> str:
        """The id of the call that a result without an id answers: the oldest unanswered call of its name."""
        waiting = self.waiting.get(name)
        while waiting and waiting[0] in self.with_result:
            waiting.popleft()
        return waiting[0] if waiting else f"call_{name}"

    def continues(self, parts: list[Part], part: Part) -> bool:
        """Whether ``part`` continues the last of ``parts``; their texts are then joined at the end."""
        match parts[-1:], part:
            case [TextPart(extra=None) as last], TextPart(extra=None) if last.text and part.text:
                self.grow(last, part.text)
                return True
            case [ReasoningPart(opaque=None, extra=None) as thought], ReasoningPart(extra=None) if thought.text:
                self.grow(thought, part.text)
                thought.opaque = part.opaque
                return True
        return False

    def grow(self, part: TextPart | ReasoningPart, text: str) -> None:
        self.grown.setdefault(id(part), (part, [part.text]))[1].append(text)


def _seal(thought: ReasoningPart) -> tuple[str, str, str | None] | None:
    opaque = thought.opaque
    return None if opaque is None else (opaque.vendor, opaque.data, opaque.id)


def _thought_or_text(entry: Object, parts: list[Part], path: str) -> None:
    """A text and its signature become two parts; a signature without text belongs to the reasoning before it."""
    content = text(entry.pop("text"), f"{path}.text")
    signature = text(entry.pop("thoughtSignature", ""), f"{path}.thoughtSignature")
    opaque = opaque_of(signature, VENDOR) if signature else None
    thought = flag(entry.pop("thought", False), f"{path}.thought")
    extra = remaining(entry)
    if not thought and (content or opaque is None):
        parts.append(TextPart(content, extra=extra))
        if opaque is not None:
            parts.append(ReasoningPart("", opaque))
        return
    last = parts[-1] if parts else None
    if thought and not content and isinstance(last, ReasoningPart) and last.opaque is None and not extra:
        last.opaque = opaque
    else:
        parts.append(ReasoningPart(content, opaque, extra))


def _response(value: object, result: ToolResult, path: str) -> None:
    match dict(item(value, path)):
        case {"output": str(output), **rest} if not rest:
            result.parts.append(TextPart(output))
        case {"error": str(entry) | dict(entry), **rest} if not rest:
            result.is_error = True
            if entry != "":
                result.parts.append(TextPart(entry if isinstance(entry, str) else _json(entry, path)))
        case {"output": dict(entry), **rest} if not rest and entry.keys() - {"output", "error"}:
            result.parts.append(TextPart(_json(entry, path)))
        case whole if whole:
            result.is_error = whole.get("error") is not None
            result.parts.append(TextPart(_json(whole, path)))


def _json(value: object, path: str) -> str:
    try:
        return encoded(value).decode()
    except ValueError:
        raise BadInput(f"{path} contains text that is not valid Unicode", field=path) from None


def media_of(entry: Object, path: str) -> ImagePart | AudioPart | FilePart:
    """An image, audio or a document, by its media type. Raises ``BadInput``."""
    if "inlineData" in entry:
        return _inline(entry, f"{path}.inlineData")
    here = f"{path}.fileData"
    data = fields(entry.pop("fileData", None), here)
    place = text(data.pop("fileUri", None), f"{here}.fileUri")
    kind = text(data.pop("mimeType", ""), f"{here}.mimeType") or None
    extra = remaining(entry, "fileData", data)
    if "://" not in place:
        return FilePart(id=place, media_type=kind, extra=extra)
    guessed = type_of(place)
    if (kind or guessed or "").startswith("image/"):
        return ImagePart(url=place, media_type=None if kind == guessed else kind, extra=extra)
    return FilePart(url=place, media_type=None if kind == guessed else kind, extra=extra)


def _inline(entry: Object, path: str) -> ImagePart | AudioPart | FilePart:
    data = fields(entry.pop("inlineData"), path)
    kind = text(data.pop("mimeType", None), f"{path}.mimeType")
    content = _bytes(text(data.pop("data", ""), f"{path}.data"), f"{path}.data")
    extra = remaining(entry, "inlineData", data)
    if kind.startswith("image/"):
        return ImagePart(data=content, media_type=kind, extra=extra)
    if kind.startswith("audio/"):
        return AudioPart(content, kind, extra)
    return FilePart(data=content, media_type=kind, extra=extra)


def _bytes(base64: str, path: str) -> bytes:
    try:
        return base64_of(base64)
    except (NotBase64, ValueError):
        raise BadInput(f"{path} is not base64", field=path) from None


def base64_of(base64: str) -> bytes:
    """Bytes from base64 in JSON, in either alphabet, with or without padding. Raises ``ValueError``."""
    plain = base64.replace("-", "+").replace("_", "/")
    return a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)

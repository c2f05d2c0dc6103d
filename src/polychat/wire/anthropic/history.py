"""Makes a conversation acceptable to the API: no blank texts, each call followed by its result, media with their true types."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, TypeVar, cast

from ...errors import BadInput
from ...types import (
    AudioPart,
    ChatMessage,
    FilePart,
    ImagePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCall,
    ToolResult,
)
from ..losses import Loss
from ..media import is_text, type_named, type_of_bytes
from .constants import VENDOR
from .generations import GenerationRules

IMAGES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
_HELD = re.compile(r"(?!https?:)[a-z0-9+.-]+:|https://generativelanguage\.googleapis\.com/", re.IGNORECASE)
"""Schemes of URLs that only their own vendor can read."""
_DOCUMENTS = "the API accepts PDF and text documents"
_Placed = TypeVar("_Placed", ImagePart, FilePart)
_SYSTEM = ("system", "developer")
GO_ON = "Go on from where your last message ends."
NO_RESULT = "There is no result: the call was not carried out."


def is_plain(messages: list[ChatMessage]) -> bool:
    """Whether no change is needed: only text, none of it blank, by the system and other roles, ending with a user's message."""
    if not messages or messages[-1].role != "user":
        return False
    for message in messages:
        if message.role == "tool" or not message.parts:
            return False
        for part in message.parts:
            if type(part) is not TextPart or not part.text or part.text.isspace():
                return False
    return True


class History:
    """Corrects the messages of one request. Each change of meaning is added to ``losses``."""

    def __init__(self, vendor: str, rules: GenerationRules | None, losses: list[Loss], *, native: bool) -> None:
        self._vendor, self._rules, self._losses, self._native = vendor, rules, losses, native
        self._foreign_files = False
        self._ids: set[str] = set()

    def messages(self, messages: list[ChatMessage], *, foreign_files: bool) -> list[ChatMessage]:
        """The corrected messages. ``foreign_files``: file ids are another vendor's. Raises ``BadInput`` if none is left."""
        self._foreign_files = foreign_files
        allowed = [better for message in messages if (better := self._message(message)) is not None]
        if not allowed and messages:
            raise BadInput("messages has no content that this API accepts: add a text that is not blank", field="messages")
        return self._with_valid_end(self._with_user_message(self._paired(allowed)))

    # Parts

    def _message(self, message: ChatMessage) -> ChatMessage | None:
        """The message without blank parts; ``None`` if nothing is left."""
        parts = [better for part in message.parts if (better := self._part(part)) is not None]
        if not parts and message.parts and not (self._native and message.extra):
            return None
        if len(parts) == len(message.parts) and all(
            before is other for before, other in zip(parts, message.parts, strict=True)
        ):
            return message
        return replace(message, parts=parts)

    def _part(self, part: Part) -> Part | None:
        match part:
            case TextPart():
                return None if not part.text.strip() and not (self._native and part.extra) else part
            case ImagePart():
                return self._image(part)
            case FilePart():
                return self._file(part)
            case RefusalPart():
                return part if part.text.strip() else None
            case AudioPart():
                return None  # ``losses`` reports it, and reasoning too
            case ReasoningPart() if self._vendor == VENDOR and (part.opaque is None or part.opaque.vendor != VENDOR):
                return None
            case ToolResult():
                parts = [better for inner in part.parts if (better := self._part(inner)) is not None]
                return part if parts == part.parts else replace(part, parts=cast(Any, parts))
        return part

    def _image(self, part: ImagePart) -> ImagePart | FilePart | None:
        if part.data is None:
            return self._at("parts.image.url", part)
        kind = type_of_bytes(part.data) or type_named(part.media_type or "")
        if kind == "application/pdf":
            return FilePart(data=part.data, media_type=kind, cache=part.cache)
        if kind not in IMAGES:
            self._drop("parts.image.data", "the API accepts JPEG, PNG, GIF and WebP", kind)
            return None
        return part if kind == part.media_type else replace(part, media_type=kind)

    def _file(self, part: FilePart) -> FilePart | ImagePart | None:
        named = type_named(part.media_type or "")
        kind = (type_of_bytes(part.data) if part.data is not None else None) or named
        if part.id is not None:
            if not self._foreign_files:
                return part
            self._drop("parts.file.id", "another vendor stores the file", part.id)
        elif kind.startswith(("video/", "audio/")):
            self._drop(f"parts.file.{'url' if part.data is None else 'data'}", _DOCUMENTS, kind)
        elif part.data is None:
            return self._at("parts.file.url", part)
        elif kind in IMAGES:
            return ImagePart(data=part.data, media_type=kind, cache=part.cache, extra=part.extra)
        elif kind == "application/pdf" or kind.startswith("text/"):
            return part if kind == part.media_type else replace(part, media_type=kind)
        elif is_text(kind):
            return replace(part, media_type="text/plain")
        else:
            self._drop("parts.file.data", _DOCUMENTS, kind)
        return None

    def _at(self, field: str, part: _Placed) -> _Placed | None:
        """The part, unless only its own vendor can read its URL."""
        url = part.url or ""
        if _HELD.match(url) is None:
            return part
        self._drop(field, "only the vendor that stores it can read it", _place(url))
        return None

    def _drop(self, field: str, why: str, detail: str = "") -> None:
        self._losses.append(Loss(field, "dropped", why, detail))

    # Calls and results

    def _paired(self, messages: list[ChatMessage]) -> list[ChatMessage]:
        """Each run of assistant messages is followed by the results of exactly its calls, and then by the other messages."""
        paired: list[ChatMessage] = []
        at = 0
        while at < len(messages):
            start = at
            while at < len(messages) and messages[at].role == "assistant":
                at += 1
            calls = self._calls(messages[start:at], paired)
            start = at
            while at < len(messages) and messages[at].role != "assistant":
                at += 1
            self._answered(messages[start:at], calls, paired)
        return paired

    def _calls(self, messages: list[ChatMessage], paired: list[ChatMessage]) -> list[tuple[str, ToolCall]]:
        """The calls of these messages by the ids that their results name; a call whose id was used before gets a new one."""
        calls: list[tuple[str, ToolCall]] = []
        for message in messages:
            parts = list(message.parts)
            for place, part in enumerate(parts):
                if isinstance(part, ToolCall):
                    parts[place] = call = self._named(part)
                    calls.append((part.id, call))
            paired.append(message if parts == message.parts else replace(message, parts=parts))
        return calls

    def _named(self, call: ToolCall) -> ToolCall:
        name, number = call.id, 1
        while name in self._ids:
            number += 1
            name = f"{call.id}_{number}"
        self._ids.add(name)
        return call if name == call.id else replace(call, id=name)

    def _answered(self, messages: list[ChatMessage], calls: list[tuple[str, ToolCall]], paired: list[ChatMessage]) -> None:
        open_calls, results, rest = list(calls), [], list[ChatMessage]()
        extra = None
        for message in messages:
            if message.role != "tool":
                rest.append(message)
                continue
            extra = message.extra or extra
            for part in message.parts:
                call = next(
                    (open_call for open_call in open_calls if isinstance(part, ToolResult) and open_call[0] == part.id), None
                )
                if call is not None:
                    open_calls.remove(call)
                    results.append(replace(cast(ToolResult, part), id=call[1].id))
                elif isinstance(part, ToolResult):
                    rest.append(self._orphan(part))
        for _, lone in open_calls:
            self._losses.append(Loss("parts.call", "emulated", "a call without a result is sent as a failed one", lone.name))
            results.append(ToolResult(lone.id, [TextPart(NO_RESULT)], lone.name, is_error=True))
        if results:
            paired.append(ChatMessage("tool", list[Part](results), extra=extra))
        paired += rest

    def _orphan(self, result: ToolResult) -> ChatMessage:
        self._losses.append(
            Loss(
                "messages.tool",
                "emulated",
                "a result without its call is sent as a user message",
                result.name or result.id,
            )
        )
        return ChatMessage("user", [TextPart(f"The result of {result.name or 'a tool'}:"), *result.parts])

    # Beginning and end

    def _with_user_message(self, messages: list[ChatMessage]) -> list[ChatMessage]:
        """A conversation that consists of a system text only becomes a user message."""
        if not messages or any(message.role not in _SYSTEM for message in messages):
            return messages
        self._losses.append(Loss("messages.system", "emulated", "there is no other message: it is sent as a user message"))
        return [replace(message, role="user") for message in messages]

    def _with_valid_end(self, messages: list[ChatMessage]) -> list[ChatMessage]:
        """An assistant message at the end loses its trailing blanks; if the model requires it, a user message is added."""
        if not messages or messages[-1].role != "assistant" or _paused(messages[-1]):
            return messages
        if self._rules is not None and not self._rules.prefill:
            note = "the model cannot continue an assistant message: a user message asks it to continue"
            self._losses.append(Loss("messages.assistant.last", "emulated", note))
            return [*messages, ChatMessage("user", [TextPart(GO_ON)])]
        last = messages[-1].parts[-1] if messages[-1].parts else None
        if isinstance(last, (TextPart, RefusalPart)) and last.text != last.text.rstrip():
            bare = replace(last, text=last.text.rstrip())
            return [*messages[:-1], replace(messages[-1], parts=[*messages[-1].parts[:-1], bare])]
        return messages


def _paused(message: ChatMessage) -> bool:
    """Whether the message holds blocks of tools that the backend runs: its reply may be paused, and has to be continued."""
    opaque = (part.opaque for part in message.parts if isinstance(part, ReasoningPart))
    return any(seal is not None and seal.redacted and seal.data.startswith("{") for seal in opaque)


def _place(url: str) -> str:
    """The origin of the URL, without parts that may be secret."""
    scheme, _, rest = url.partition(":")
    return f"{scheme}:{'//' + rest[2:].partition('/')[0] if rest.startswith('//') else ''}"[:60]

"""One answer of a reply: its deltas, or its complete message, as events."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import Any

from ...errors import BackendError
from ...events import Citation, Event, Media, Refusal, Text
from ...types import Opaque
from ..json_text import json_of
from ..limits import ReaderLimits
from ..sites.deltas import ToolCalls, TooMany
from ..tags import untagged
from .audio import audio_type
from .reasoning import PLAIN, ReasoningBlocks

Object = dict[str, Any]


SHAPES = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""Exceptions of reading a value of another shape."""


class ReplyChoice:
    """One answer. Raises ``TooMany`` past a limit, and one of ``SHAPES`` for text or calls of another shape.

    Additional data (citations, images, audio, signatures, results of the backend's tools) never costs the answer: parts of it
    that cannot be read are skipped.
    """

    __slots__ = (
        "_audio_data",
        "_audio_size",
        "_calls",
        "_limits",
        "_vendor",
        "ended",
        "has_content",
        "number",
        "reason",
        "reasoning",
    )

    def __init__(self, number: int, vendor: str, limits: ReaderLimits) -> None:
        self.number = number
        self.has_content = False
        """Whether any content of the answer was received."""
        self.ended = False
        self.reason: str | None = None
        self.reasoning: ReasoningBlocks | None = None
        self._vendor, self._limits = vendor, limits
        self._calls: ToolCalls | None = None
        self._audio_data: list[str] = []
        self._audio_size = 0

    def take(self, delta: Object) -> list[Event]:
        """The events of a delta or a message."""
        events = self._reasoning(delta)
        after = self._answered(delta)
        if after and self.reasoning is not None:
            events += self.reasoning.rest()
        events += after
        self.has_content = self.has_content or bool(events)
        return events

    def _answered(self, delta: Object) -> list[Event]:
        events: list[Event] = []
        content = delta.get("content")
        if content:
            events += [Text(content, self.number)] if isinstance(content, str) else self._parts(content)
        for name, value in delta.items():
            if value and name in _READERS:
                events += _READERS[name](self, value)
            elif value and name in _DECORATION:
                for entry in value if isinstance(value, list) else [value]:
                    try:
                        events += _DECORATION[name](self, entry)
                    except SHAPES as error:
                        if isinstance(error, TooMany):
                            raise
        return events

    def _reasoning(self, delta: Object) -> list[Event]:
        if details := delta.get("reasoning_details"):
            events = self._detailed(details if isinstance(details, list) else [details])
            if events:
                return events
        for name in PLAIN:
            reasoning = delta.get(name)
            if reasoning and isinstance(reasoning, str):
                return self._reasoning_blocks().plain(reasoning)
        return []

    def _detailed(self, details: list[Any]) -> list[Event]:
        events: list[Event] = []
        for detail in details:
            if isinstance(detail, dict) and all(isinstance(detail.get(name) or "", str) for name in ("text", "summary")):
                events += self._reasoning_blocks().detail(detail)
        return events

    def _reasoning_blocks(self) -> ReasoningBlocks:
        if self.reasoning is None:
            self.reasoning = ReasoningBlocks(self._vendor, self._limits, self.number)
        return self.reasoning

    def _parts(self, content: Any) -> list[Event]:
        """Content as a list of parts, as Mistral has it; some send one part without a list, or texts among the parts."""
        events: list[Event] = []
        for part in [content] if isinstance(content, dict) else content:
            match part:
                case str(text) | {"type": "text" | "output_text", "text": str(text)}:
                    events += [Text(text, self.number)] if text else []
                case {"type": "thinking", "thinking": str(text)}:
                    events += self._reasoning_blocks().plain(text) if text else []
                case {"type": "thinking", "thinking": list(thoughts)}:
                    text = "".join(thought["text"] for thought in thoughts if _has_text(thought))
                    events += self._reasoning_blocks().plain(text) if text else []
                case {"type": "refusal", "refusal": str(text)}:
                    events += [Refusal(text, self.number)] if text else []
                case {"type": "image_url", "image_url": str(url) | {"url": str(url)}}:
                    events += self._image(url)
                case {"type": str()}:
                    pass  # Mistral's references to tool results, and unknown kinds
                case _:
                    raise TypeError
        return events

    def _refused(self, refusal: Any) -> list[Event]:
        return [Refusal(refusal, self.number)] if isinstance(refusal, str) else []

    def _called(self, calls: list[Object]) -> list[Event]:
        return [event for call in calls for event in self._call(call)]

    def _called_of_old(self, function: Object) -> list[Event]:
        return self._call({"index": 0, "function": function})

    def _call(self, call: Object) -> list[Event]:
        custom = call.get("type") == "custom" or ("custom" in call and "function" not in call)
        inner, member = ("custom", "input") if custom else ("function", "arguments")
        function = call.get(inner) or {}
        arguments = function.get(member)
        if isinstance(arguments, (dict, list)):  # as JSON in place of text
            arguments = json_of(arguments)
        index, call_id, name = call.get("index"), call.get("id"), _text(function.get("name") or "")
        call_id = str(call_id) if type(call_id) is int else call_id if isinstance(call_id, str) else ""
        opaque = self._signature(call.get("extra_content"))
        if self._calls is None:
            if not (call_id or name or arguments or opaque):
                return []  # some servers write an empty call with every text
            self._calls = ToolCalls(self._limits, self.number)
        piece = self._calls.take(
            index=index if type(index) is int else None,
            call_id=call_id or None,
            name=name or None,
            arguments=_text(arguments or ""),
            opaque=opaque,
            kind="custom" if custom else "function",
        )
        return [] if piece is None else [piece]

    def _signature(self, extra: Any) -> Opaque | None:
        match extra:
            case {"google": {"thought_signature": str(data)}}:
                return untagged(data, self._vendor) if data.startswith("pc1.") else Opaque(self._vendor, data)
        return None

    def _picture(self, image: Object) -> list[Event]:
        inner = image["image_url"]
        return self._image(inner if isinstance(inner, str) else inner["url"])

    def _image(self, url: str) -> list[Event]:
        head, comma, body = url.partition(",")
        if not comma or not head.startswith("data:"):
            return [Citation("an image of the answer", url, choice=self.number)]
        try:
            return [Media(b64decode(body, validate=True), head[5:].partition(";")[0], self.number)]
        except ValueError:
            return []

    def _audio(self, audio: Object) -> list[Event]:
        data, transcript = audio.get("data"), audio.get("transcript")
        if data and isinstance(data, str):
            self._audio_size += len(data)
            if self._audio_size > self._limits.event:
                raise TooMany(f"more than {self._limits.event:,} characters of audio in one reply")
            self._audio_data.append(data)
            self.has_content = True
        return [Text(transcript, self.number)] if transcript and isinstance(transcript, str) else []

    def _noted(self, note: Object) -> list[Event]:
        match note.get("type", "url_citation"):
            case "url_citation":
                inner = note.get("url_citation", note)  # some servers write it flat
                return [self._cited(inner)]
            case "file" | "file_citation" | "file_path" as kind:
                file = note.get(kind, note)
                name = next((file[key] for key in ("name", "filename", "file_id") if isinstance(file.get(key), str)), "")
                return [Citation(name, "", choice=self.number)] if name else []
        return []

    def _cited(self, citation: Object) -> Citation:
        start, end = citation.get("start_index"), citation.get("end_index")
        placed = type(start) is int and type(end) is int and end > 0  # both are required, and are 0 if unknown
        title, about = citation.get("title"), citation.get("content")
        return Citation(
            title if isinstance(title, str) else "",
            _text(citation["url"]),
            about if isinstance(about, str) else "",
            start if placed else None,
            end if placed else None,
            self.number,
        )

    def _ran(self, tool: Object) -> list[Event]:
        """The results of tools that the backend ran (Groq's ``executed_tools``), unchanged: only the vendor reads them."""
        if not isinstance(tool, dict):
            raise TypeError
        return self._reasoning_blocks().opaque_block(json_of({"type": "executed_tools", **tool}))

    def rest(self, *, complete: bool) -> list[Event]:
        """The events at the end: the opaque part of the last reasoning block, and audio if it is complete."""
        events = [] if self.reasoning is None else self.reasoning.rest()
        if self._audio_data and complete:
            try:
                data = b"".join(b64decode(piece, validate=True) for piece in self._pieces())
            except ValueError:
                return events  # its text was returned before
            events.append(Media(data, audio_type(data), self.number))
        return events

    def _pieces(self) -> list[str]:
        """Decodes audio: each piece may be separate base64, or all of them together one."""
        alone = all(len(piece) % 4 == 0 for piece in self._audio_data)
        return self._audio_data if alone else ["".join(self._audio_data)]

    def wrong(self) -> BackendError | None:
        """The error in its calls, after the last piece; ``None`` if there is none."""
        return None if self._calls is None else self._calls.end(self.reason)

    def why(self) -> str | None:
        """The finish reason: many servers report ``stop`` after calls too."""
        return "tool_calls" if self._calls and self.reason == "stop" else self.reason


_READERS: dict[str, Callable[[ReplyChoice, Any], list[Event]]] = {
    "refusal": ReplyChoice._refused,
    "tool_calls": ReplyChoice._called,
    "function_call": ReplyChoice._called_of_old,
}
_DECORATION: dict[str, Callable[[ReplyChoice, Any], list[Event]]] = {
    "images": ReplyChoice._picture,
    "audio": ReplyChoice._audio,
    "annotations": ReplyChoice._noted,
    "executed_tools": ReplyChoice._ran,
}


def _has_text(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("text"), str)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value

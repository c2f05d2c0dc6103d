"""Client side: one message of a reply, assembled from stream events or read whole."""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from typing import Any

from ...errors import EmptyReply
from ...events import Citation, Event, Finish, Media, Reasoning, Refusal, Start, Text, ToolCallPiece
from ...types import Opaque
from ..faults import error_of
from ..json_text import json_of, object_in
from ..limits import ReaderLimits
from ..reading import complete, failed, truncated, two_replies
from ..sites.deltas import ToolCalls, TooMany
from ..stream import BadShape, Ended, Framing, StreamReader
from .constants import COUNTED, REASONS, usage_of
from .errors import fault_in

_NOT_ITS_SHAPE = "not this wire's shape"
_HELD = 64
"""Maximum citations of one text that are held until the end of the text is known."""


class Message(StreamReader):
    """One message while it is received."""

    def __init__(self, vendor: str, limits: ReaderLimits, framing: Framing) -> None:
        super().__init__(framing, limits)
        self.reason: str | None = None
        self._vendor = vendor
        self._calls = ToolCalls(limits)
        self._counts: dict[str, Any] = {}
        self._counted = False  # the final usage was received
        self._started = False
        self._id: object = None
        self._has_content = False
        self._stop_sequence: str | None = None
        self._reasoning_blocks = -1  # reasoning blocks that were opened
        self._signature: str | None = None
        self._length = 0  # of the answer's text
        self._text_start = 0  # offset in it where the current text block begins
        self._sources: list[Citation] = []
        self._backend_block: _BackendBlock | None = None
        self._without_arguments: dict[int | None, None] = {}  # indexes of the calls that have no arguments yet

    def take(self, value: Any, events: list[Event]) -> None:
        if isinstance(value, dict) and value.get("type") == "content_block_delta":
            delta = value.get("delta")
            if isinstance(delta, dict) and delta.get("type") == "text_delta" and isinstance(text := delta.get("text"), str):
                if text:
                    self.grow(text)
                    events.append(Text(text))
                return
        self._event(value, events)

    def grow(self, text: str) -> None:
        """Record that text of the answer was received."""
        self._has_content = True
        self._length += len(text)

    def _event(self, value: Any, events: list[Event]) -> None:
        named = value.get("type") if type(value) is dict else None
        if named == "message_stop":  # the two that each reply has are recognized without the patterns
            self._close(events)
            raise Ended(self._completed())
        if named == "content_block_stop":
            self._fill(_place(value.get("index")), events)
            self._close(events)
            return
        match value:
            case {"type": "content_block_delta", "delta": {"type": str(kind)} as delta}:
                self._delta(value.get("index"), kind, delta, events)
            case {"type": "content_block_start", "content_block": {"type": str(kind)} as block}:
                self._close(events)
                self._open(value.get("index"), kind, block, events)
            case {"type": "message_start", "message": dict(message)}:
                self._start(message, events)
            case {"type": "message_delta", "delta": dict(delta)}:
                self._stop(delta, value.get("usage"), events)
            case {"type": "error"} | {"error": _}:
                raise error_of(fault_in(value))
            case {"type": "content_block_delta" | "content_block_start", "delta": None} | {"content_block": None}:
                pass
            case {"type": "content_block_delta" | "content_block_start" | "message_start" | "message_delta"}:
                raise BadShape(_NOT_ITS_SHAPE)
            case {"type": str()}:
                pass  # a ping, or a type that does not exist yet
            case _:
                raise BadShape("not an event of this wire")

    def whole(self, value: Any, events: list[Event]) -> Finish:
        match value:
            case {"type": "error"} | {"error": _}:
                raise error_of(fault_in(value))
            case {"content": list(blocks)} as message:
                self._start(message, events)
            case _:
                raise BadShape("not a message")
        for index, block in enumerate(blocks):
            if not isinstance(block, dict) or not isinstance(kind := block.get("type"), str):
                raise BadShape("content that has no type")
            self._open(index, kind, block, events)
            self._fill(index, events)
            self._close(events)
        self._stop(message, None, events)
        self._counted = True
        if self.reason is None and (self._has_content or self._calls):
            return truncated("it has no stop_reason")
        return self._completed()

    def over(self, broken: str) -> Finish:
        return truncated("message_stop is missing") if self.reason is None else self._completed()

    def rest(self, finish: Finish) -> list[Event]:
        events: list[Event] = []
        self._flush(events)
        if not self._counted:  # the count at the start does not include the completion
            self._counts.pop("output_tokens", None)
        if (usage := usage_of(self._counts)) is not None:
            events.append(usage)
        return events

    def _completed(self) -> Finish:
        """The end as the wire reports it, unless the events received contradict it."""
        reason = None if self.reason is None else REASONS.get(self.reason, self.reason)
        if (error := self._calls.end(reason)) is not None:
            return failed(error)
        if self.reason is None and not self._has_content and not self._calls:
            return failed(EmptyReply("the backend ended its reply without content and without a stop reason"))
        # Some servers send end_turn with calls: agents would stop there.
        finish = complete("tool_calls" if reason == "stop" and self._calls and self._stop_sequence is None else reason)
        finish.stop_sequence = self._stop_sequence
        return finish

    def _start(self, message: dict[str, Any], events: list[Event]) -> None:
        self._count(message.get("usage"))
        name, model = message.get("id"), message.get("model")
        if self._started:
            if name != self._id:
                raise two_replies()
            return
        self._started = True
        self._id = name
        events.append(Start(name if isinstance(name, str) else None, model if isinstance(model, str) else None))

    def _open(self, index: object, kind: str, block: dict[str, Any], events: list[Event]) -> None:
        match kind, block:
            case "text", {"text": str() | None as text}:
                self._text_start = self._length
                self._text(text or "", events)
                citations = block.get("citations")
                for citation in citations if isinstance(citations, list) else []:
                    self._cite(citation, events)
            case "thinking", _:
                self._reasoning_blocks += 1
                self._think(block.get("thinking"), events)
                self._sign(block.get("signature"))
            case "redacted_thinking", _:
                self._reasoning_blocks += 1
                if isinstance(data := block.get("data"), str):
                    self._opaque(Opaque(self._vendor, data, redacted=True), events)
            case "tool_use", {"name": str(name)}:
                call = block["id"] if isinstance(block.get("id"), str) else None
                input_object = block.get("input")
                arguments = json_of(input_object) if isinstance(input_object, dict) and input_object else ""
                if not arguments:
                    self._without_arguments[_place(index)] = None
                self._call(self._calls.take(index=_place(index), call_id=call, name=name, arguments=arguments), events)
            case (("text" | "tool_use"), _):
                raise BadShape(_NOT_ITS_SHAPE)
            case "image", {"source": {"type": "base64", "media_type": str(media), "data": str(data)}}:
                self._image(media, data, events)
            case _:
                self._reasoning_blocks += 1
                self._backend_block = _BackendBlock(block, self._limits.arguments)

    def _delta(self, index: object, kind: str, delta: dict[str, Any], events: list[Event]) -> None:
        match kind, delta:
            case "input_json_delta", {"partial_json": str(piece)}:
                if self._backend_block is not None:
                    self._backend_block.add(piece)
                else:
                    if piece:
                        self._without_arguments.pop(_place(index), None)
                    self._call(self._calls.take(index=_place(index), arguments=piece), events)
            case "thinking_delta", _:
                self._think(delta.get("thinking"), events)
            case "signature_delta", _:
                self._sign(delta.get("signature"))
            case "citations_delta", _:
                self._cite(delta.get("citation"), events)
            case "compaction_delta", {"content": str(text)} if self._backend_block is not None:
                self._backend_block.add_text("content", text)
            case ("text_delta", {"text": None}) | ("input_json_delta", {"partial_json": None}):
                pass
            case (("text_delta" | "input_json_delta"), _):
                raise BadShape(_NOT_ITS_SHAPE)
            case _:
                if self._backend_block is not None:
                    self._backend_block.broken = True  # if a part were not understood, it would be missing in the next request

    def _stop(self, delta: dict[str, Any], usage: object, events: list[Event]) -> None:
        self._count(usage)
        self._counted = self._counted or isinstance(usage, dict)
        if isinstance(reason := delta.get("stop_reason"), str):
            self.reason = reason
        if isinstance(sequence := delta.get("stop_sequence"), str):
            self._stop_sequence = sequence
        match delta.get("stop_details"):
            case {"explanation": str(explanation)} if explanation:
                self._has_content = True
                events.append(Refusal(explanation))

    def _close(self, events: list[Event]) -> None:
        if self._signature is not None or self._sources:
            self._flush(events)
        if (block := self._backend_block) is not None:
            self._backend_block = None
            if (data := block.json()) is not None:
                self._opaque(Opaque(self._vendor, data, redacted=True), events)

    def _fill(self, place: int | None, events: list[Event]) -> None:
        """If the block that ends is a call without arguments, write an empty object, which clients of other wires require."""
        if place in self._without_arguments:
            del self._without_arguments[place]
            self._call(self._calls.take(index=place, arguments="{}"), events)

    def _flush(self, events: list[Event]) -> None:
        if self._signature is not None:
            self._opaque(Opaque(self._vendor, self._signature), events)
            self._signature = None
        for source in self._sources:
            source.start, source.end = self._text_start, self._length
            events.append(source)
        self._sources.clear()

    def _text(self, text: str, events: list[Event]) -> None:
        if text:
            self._has_content = True
            self._length += len(text)
            events.append(Text(text))

    def _think(self, text: object, events: list[Event]) -> None:
        if isinstance(text, str) and text:
            self._has_content = True
            events.append(Reasoning(text, None, max(0, self._reasoning_blocks)))

    def _sign(self, signature: object) -> None:
        if isinstance(signature, str) and signature:
            self._signature = signature

    def _opaque(self, opaque: Opaque, events: list[Event]) -> None:
        self._has_content = True
        events.append(Reasoning("", opaque, max(0, self._reasoning_blocks)))

    def _call(self, piece: ToolCallPiece | None, events: list[Event]) -> None:
        if piece is not None:
            events.append(piece)

    def _image(self, media_type: str, data: str, events: list[Event]) -> None:
        """An image block, which Anthropic does not have: gateways whose models make images send it."""
        with suppress(ValueError):
            events.append(Media(b64decode(data, validate=True), media_type))
            self._has_content = True

    def _cite(self, citation: object, events: list[Event]) -> None:
        if isinstance(citation, dict):
            self._sources.append(_source(citation))
        if len(self._sources) >= _HELD:
            self._flush(events)

    def _count(self, usage: object) -> None:
        if isinstance(usage, dict) and usage.get("estimated") is not True:  # our own gateway marks estimates so
            # Counts are cumulative; a missing field keeps its value.
            for name in COUNTED:
                if usage.get(name) is not None:
                    self._counts[name] = usage[name]


class _BackendBlock:
    """A block of a tool that the backend ran, or of an unknown kind, until it is complete."""

    def __init__(self, block: dict[str, Any], limit: int) -> None:
        self.broken = False
        self._block = block
        self._pieces: list[str] = []
        self._size = 0
        self._limit = limit

    def add(self, piece: str) -> None:
        """Add a piece of its input's JSON. Raises ``TooMany``."""
        self._size += len(piece)
        if self._size > self._limit:
            raise TooMany(f"more than {self._limit:,} characters of input of a tool that the backend ran")
        self._pieces.append(piece)

    def add_text(self, name: str, text: str) -> None:
        """Add a piece of one of its texts. Raises ``TooMany``."""
        self._size += len(text)
        if self._size > self._limit:
            raise TooMany(f"more than {self._limit:,} characters of a block that only its vendor reads")
        before = self._block.get(name)
        self._block[name] = (before if isinstance(before, str) else "") + text

    def json(self) -> str | None:
        """The complete block; ``None`` if part of it was not understood."""
        if text := "".join(self._pieces):
            self._block["input"] = object_in(text)
            if self._block["input"] is None:
                return None
        return None if self.broken else json_of(self._block)


def _place(index: object) -> int | None:
    return index if isinstance(index, int) else None


def _source(citation: dict[str, Any]) -> Citation:
    """A citation of a page, or of a document in the request, which has no URL."""

    def text_of(*names: str) -> str:
        return next((value for name in names if isinstance(value := citation.get(name), str)), "")

    return Citation(text_of("title", "document_title"), text_of("url", "source"), text_of("cited_text"))

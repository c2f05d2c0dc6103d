"""Server side: events as the output items of a response, written while they grow."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, ClassVar

from ...events import Citation, Event, Logprobs, Media, Reasoning, Refusal, Text, ToolCallPiece, Usage
from ...types import Opaque, Tool, ToolCall
from ..json_text import encoded, escaped
from .actions import ACTIONS, CUSTOM, SEARCH, read
from .actions import item_of as item_of_action
from .constants import VENDOR, Object
from .sealed import generated_id, item_of, of_call, sealed
from .tools import client_name, searches

TEXT = "output_text"
_GROWING = {
    "function_call": "response.function_call_arguments.delta",
    CUSTOM: "response.custom_tool_call_input.delta",
}
"""Calls that are written while they grow; all others are written when they are complete."""


@dataclass(slots=True)
class Open:
    """An item that still grows: its index in the output, and the pieces of the part that grows."""

    place: int
    item: Object
    pieces: list[str] = field(default_factory=list)
    block: int = 0


class Output:
    """The items of one answer. ``reply`` is the reply's id, from which item ids are made; ``emit`` is called for each event.

    ``tools`` are those of the request, by their full names.
    """

    announces: ClassVar[bool] = False
    """The ids of items are sent before the items are complete, and must not change."""

    def __init__(self, reply: str, tools: Mapping[str, Tool] | None = None) -> None:
        self.items: list[Object] = []
        self.usage: Usage | None = None
        self.head = b""
        """The beginning of every event of the text that grows now; empty if none does."""
        self.text: list[str] = []
        """The pieces of that text."""
        self._reply = reply
        self._tools = tools or {}
        self._message: Open | None = None
        self._reasoning: Open | None = None
        self._calls: dict[int, Open] = {}
        self._sources: list[Object] = []
        """Annotations that wait for a text."""

    def emit(self, kind: str, **fields: Any) -> None:
        """The default: no events are needed."""

    def take(self, event: Event) -> None:
        """Add one event. Those of choices other than the first cannot be written in this API."""
        if getattr(event, "choice", 0):
            return
        match event:
            case Text():
                self._text(TEXT, event.text, logprobs=[])
            case Refusal():
                self._text("refusal", event.text)
            case Reasoning():
                self._think(event)
            case ToolCallPiece():
                self._call(event)
            case Citation():
                self._cite(event)
            case Logprobs():
                self._weigh(event)
            case Media() if event.media_type.startswith("image/"):
                self._image(event)
            case Usage():
                self.usage = event

    def close(self, status: str = "completed") -> None:
        """End the answer. An empty one becomes a message without text."""
        if self._sources or not self.items:
            self._part(TEXT)
        self._close_open(status)
        for call in self._calls.values():
            self._end_call(call)
            self._done(call, status)
        self._calls.clear()

    def _end_call(self, call: Open) -> None:
        text, name = "".join(call.pieces), {"name": call.item.get("name", "")}
        match call.item["type"]:
            case "function_call":
                call.item["arguments"] = text
                self._emit_for(call, "response.function_call_arguments.done", **name, arguments=text)
            case "custom_tool_call":
                call.item["input"] = text
                self._emit_for(call, "response.custom_tool_call_input.done", input=text)
            case "tool_search_call":
                call.item["arguments"] = read(text)

    def _add(self, item: Object, **more: Any) -> Open:
        opened = Open(len(self.items), item, **more)
        self.items.append(item)
        self.emit("response.output_item.added", output_index=opened.place, item=item)
        return opened

    def _done(self, opened: Open, status: str | None = "completed") -> None:
        if status is not None:
            opened.item["status"] = status
        self.emit("response.output_item.done", output_index=opened.place, item=opened.item)

    def _emit_for(self, opened: Open, kind: str, **fields: Any) -> None:
        self.emit(kind, item_id=opened.item["id"], output_index=opened.place, **fields)

    def _id(self, kind: str) -> str:
        return f"{kind}_{self._reply}_{len(self.items)}"

    def _close_open(self, status: str = "completed") -> None:
        """End the open message or reasoning item, because another item begins."""
        if self._reasoning is not None:
            self._end_reasoning(self._reasoning)
        if self._message is not None:
            message, self._message = self._message, None
            self._end_part(message)
            self._done(message, status)

    def _text(self, kind: str, text: str, **more: Any) -> None:
        message, place = self._part(kind)
        message.pieces.append(text)
        self._emit_for(message, f"response.{kind}.delta", content_index=place, delta=text, **more)

    def _part(self, kind: str) -> tuple[Open, int]:
        """The growing message, and the index in it of its part of this kind."""
        message = self._message
        if message is None:
            self._close_open()
            item = {"id": self._id("msg"), "type": "message", "status": "in_progress", "role": "assistant", "content": []}
            message = self._message = self._add(item)
        elif message.item["content"][-1]["type"] == kind:
            return message, len(message.item["content"]) - 1
        else:
            self._end_part(message)
        place = len(message.item["content"])
        part = {"type": TEXT, "annotations": [], "logprobs": [], "text": ""} if kind == TEXT else {"type": kind, kind: ""}
        message.item["content"].append(part)
        message.pieces = []
        self._emit_for(message, "response.content_part.added", content_index=place, part=part)
        if kind == TEXT:
            self._open_text(message, place)
        return message, place

    def _open_text(self, message: Open, place: int) -> None:
        location = b'"item_id":%b,"output_index":%d,"content_index":%d' % (quoted(message.item["id"]), message.place, place)
        kind = b"response.output_text.delta"
        self.head = b'event: %b\ndata: {"type":"%b",%b,"delta":' % (kind, kind, location)
        self.text = message.pieces
        waiting, self._sources = self._sources, []
        for annotation in waiting:
            self._annotate(annotation)

    def _end_part(self, message: Open) -> None:
        self.head = b""
        content = message.item["content"]
        part, text = content[-1], "".join(message.pieces)
        kind = "text" if part["type"] == TEXT else "refusal"
        part[kind] = text
        logprobs = {"logprobs": part["logprobs"]} if kind == "text" else {}
        place = len(content) - 1
        self._emit_for(message, f"response.{part['type']}.done", content_index=place, **{kind: text}, **logprobs)
        self._emit_for(message, "response.content_part.done", content_index=place, part=part)

    def _weigh(self, event: Logprobs) -> None:
        """Probabilities of text that was sent before are sent with an empty piece of text."""
        message, place = self._part(TEXT)
        message.item["content"][place]["logprobs"] += event.tokens
        delta = {"content_index": place, "delta": "", "logprobs": event.tokens}
        self._emit_for(message, "response.output_text.delta", **delta)

    def _cite(self, source: Citation) -> None:
        place = {"start_index": source.start or 0, "end_index": source.end or 0}
        annotation = {"type": "url_citation", **place, "url": source.url, "title": source.title}
        if self.head:
            self._annotate(annotation)
        else:
            self._sources.append(annotation)

    def _annotate(self, annotation: Object) -> None:
        message, place = self._part(TEXT)
        annotations = message.item["content"][place]["annotations"]
        annotations.append(annotation)
        location = {"content_index": place, "annotation_index": len(annotations) - 1}
        self._emit_for(message, "response.output_text.annotation.added", **location, annotation=annotation)

    def _think(self, event: Reasoning) -> None:
        reasoning = self._reasoning
        if reasoning is not None and reasoning.block != event.block:
            self._end_reasoning(reasoning)
            reasoning = None
        if reasoning is None:
            if event.opaque is not None and event.opaque.vendor == VENDOR and (item := item_of(event.opaque)) is not None:
                self._close_open()
                self._done(self._add(item), None)
                return
            reasoning = self._reasoning = self._begin_reasoning(event)
        if event.text:
            if not reasoning.pieces:
                part = {"type": "summary_text", "text": ""}
                self._emit_for(reasoning, "response.reasoning_summary_part.added", summary_index=0, part=part)
            reasoning.pieces.append(event.text)
            self._emit_for(reasoning, "response.reasoning_summary_text.delta", summary_index=0, delta=event.text)
        if event.opaque is not None:
            self._seal(reasoning, event.opaque)

    def _begin_reasoning(self, event: Reasoning) -> Open:
        self._close_open()
        own_id = event.opaque is not None and event.opaque.vendor == VENDOR and event.opaque.id
        name = own_id or generated_id(self._reply, len(self.items))
        return self._add({"id": name, "type": "reasoning", "summary": []}, block=event.block)

    def _seal(self, reasoning: Open, opaque: Opaque) -> None:
        if opaque.vendor == VENDOR and opaque.id and not self.announces:
            reasoning.item["id"] = opaque.id
        reasoning.item["encrypted_content"] = sealed(opaque, reasoning.item["id"])
        self._end_reasoning(reasoning)

    def _end_reasoning(self, reasoning: Open) -> None:
        self._reasoning = None
        if reasoning.pieces:
            part = {"type": "summary_text", "text": "".join(reasoning.pieces)}
            reasoning.item["summary"].append(part)
            self._emit_for(reasoning, "response.reasoning_summary_text.done", summary_index=0, text=part["text"])
            self._emit_for(reasoning, "response.reasoning_summary_part.done", summary_index=0, part=part)
        self._done(reasoning, None)

    def _call(self, piece: ToolCallPiece) -> None:
        call = self._calls.get(piece.index)
        if call is None:
            self._close_open()
            name = piece.id or f"call_{self._reply}_{piece.index}"
            if piece.opaque is not None:
                self._sign(name, piece.opaque)
            call = self._calls[piece.index] = self._add(self._begun(piece, name))
        elif piece.opaque is not None:
            self._close_open()
            self._sign(call.item["call_id"], piece.opaque)
        if piece.arguments:
            text = piece.arguments if call.item["type"] == CUSTOM else escaped(piece.arguments)
            call.pieces.append(text)
            if (kind := _GROWING.get(call.item["type"])) is not None:
                self._emit_for(call, kind, delta=text)

    def _begun(self, piece: ToolCallPiece, call: str) -> Object:
        """The item of a call that begins, of the type that belongs to its tool."""
        name, tool = piece.name or "", self._tools.get(piece.name or "")
        if piece.kind in ACTIONS:
            action = item_of_action(ToolCall(call, name, piece.arguments, kind=piece.kind))
            return {"id": self._id("act"), **action, "status": "in_progress"}
        if searches(tool):
            search = {"execution": "client", "call_id": call, "arguments": {}}
            return {"id": self._id("tsc"), "type": SEARCH, "status": "in_progress", **search}
        group = None if tool is None else tool.namespace
        name = name if tool is None else client_name(tool)
        named = {"call_id": call, "name": name, **({} if group is None else {"namespace": group})}
        if piece.kind == "custom":
            return {"id": self._id("ctc"), "type": CUSTOM, "status": "in_progress", "input": "", **named}
        return {"id": self._id("fc"), "type": "function_call", "status": "in_progress", "arguments": "", **named}

    def _sign(self, call: str, opaque: Opaque) -> None:
        """A call's signature, as a separate item, because calls have no member for one."""
        name = generated_id(self._reply, len(self.items))
        item = {"id": name, "type": "reasoning", "summary": [], "encrypted_content": of_call(call, sealed(opaque))}
        self._done(self._add(item), None)

    def _image(self, media: Media) -> None:
        self._close_open()
        form = media.media_type.partition("/")[2]
        item = {"id": self._id("ig"), "type": "image_generation_call", "status": "completed", "output_format": form}
        self._done(self._add({**item, "result": b64encode(media.data).decode()}))


def quoted(value: object) -> bytes:
    """JSON; an unpaired surrogate, which UTF-8 cannot contain, becomes a question mark."""
    try:
        return encoded(value)
    except ValueError:
        return encoded(_without_lone_surrogates(value))


def _without_lone_surrogates(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_without_lone_surrogates(name): _without_lone_surrogates(item) for name, item in value.items()}
        case list() | tuple():
            return [_without_lone_surrogates(item) for item in value]
        case float():
            return value if isfinite(value) else None
    return value

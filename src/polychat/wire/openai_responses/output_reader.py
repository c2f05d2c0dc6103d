"""Client side: output items, whole or in pieces, as events."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass

from ...errors import BadInput, BadReply, redact
from ...events import Citation, Event, Logprobs, Media, Reasoning, Refusal, Text, ToolCallPiece
from ...types import Opaque
from ..adapting import full_name
from ..json_text import json_of
from ..limits import ReaderLimits
from ..reading import unreadable
from ..sites.deltas import ToolCalls, TooMany
from .actions import ACTIONS, arguments_of, call_id_of, is_action
from .constants import Object, count
from .sealed import call_of, item_id, whole_item

Place = int | None
"""The ``output_index`` of an item; some servers send none."""


@dataclass(slots=True)
class _ReasoningItem:
    """A reasoning item. Of its summary and its full text only the one that arrives first is read."""

    block: int
    kind: str | None = None
    part: int | None = None


class Pieces:
    """The known items of one reply. Methods append to ``events``; they raise ``BadReply`` and ``TooMany``."""

    def __init__(self, vendor: str, limits: ReaderLimits) -> None:
        self.begun = False
        """Whether the reply has items, even empty ones."""
        self.calls = ToolCalls(limits)
        self.refused = self.answered = False
        self._vendor = vendor
        self._limits = limits
        self._streamed: set[Place] = set()
        """Items that arrived in pieces, whose text is not emitted again when the complete item arrives."""
        self._cited: set[Place] = set()
        self._argued: set[Place] = set()
        self._reasoning_items: dict[Place, _ReasoningItem] = {}
        self._blocks = 0
        self._signatures: dict[str, str] = {}
        self._ids: set[str] = set()

    @property
    def has_content(self) -> bool:
        return bool(self._streamed)

    def has(self, place: Place) -> bool:
        """Whether anything of this item was emitted."""
        return place in self._streamed

    def text_began(self, place: Place) -> None:
        """A piece of the answer's text, in this item."""
        self._note(place)
        self.answered = True

    def added(self, item: Object, place: Place, events: list[Event]) -> None:
        """An item begins. Only a call emits an event here: other items arrive in pieces, or when they are complete."""
        self.begun = True
        if place is None:
            for places in (self._streamed, self._cited, self._argued):
                places.discard(None)
            self._reasoning_items.pop(None, None)
        if (of := _CALLS.get(str(item.get("type")))) is not None:
            self._call(item, place, events, *of)

    def done(self, item: Object, place: Place, events: list[Event]) -> None:
        """An item is complete: emits what was not emitted before. Of an item without a type only the text is read."""
        kind = item.get("type")
        if not isinstance(kind, str):
            kind = "message" if item.get("content") else None
        self.begun = self.begun or kind is not None
        match kind:
            case "message":
                self._message(item, place, events)
            case "function_call" | "custom_tool_call" as kind:
                self._call(item, place, events, *_CALLS[kind])
            case "reasoning":
                self._reasoning(item, place, events)
            case "image_generation_call" if isinstance(item.get("result"), str):
                self._note(place)
                events.append(_image(item))
            case str() if is_action(item):
                self._action(item, place, events)
            case str():
                self._hosted(item, place, events)

    def refusal(self, text: str, place: Place, events: list[Event]) -> None:
        self._note(place)
        self.refused = True
        if text:
            events.append(Refusal(text))

    def reasoning(self, kind: str, part: int | None, text: str, place: Place, events: list[Event]) -> None:
        """A piece of the summary or of the full text; parts are separated by a blank line."""
        state = self._reasoning_item(place)
        if not text or state.kind not in (None, kind):
            return
        is_new_part = state.kind is not None and part != state.part
        state.kind, state.part = kind, part
        events.append(Reasoning(f"\n\n{text}" if is_new_part else text, None, state.block))

    def arguments(self, text: str, place: Place, events: list[Event], *, whole: bool = False) -> None:
        """A piece of a call's arguments, or all of them, which are skipped if pieces arrived before."""
        if not text or (whole and place in self._argued):
            return
        self._note(place)
        self._argued.add(place)
        self._append(self.calls.take(index=place, arguments=text), events)

    def citation(self, annotation: object, place: Place, events: list[Event]) -> None:
        """A page that supports the answer; or a file, by its name, because it has no URL."""
        match annotation:
            case {"type": "url_citation", "url_citation": {"url": str()} as page}:  # in the format of Chat Completions
                self.citation({**page, "type": "url_citation"}, place, events)
            case {"type": "url_citation", "url": str(url), **more}:
                start, end = count(more.get("start_index")), count(more.get("end_index"))
                title = more.get("title")
                span = (start, end) if start or end else (None, None)
                self._cite(Citation(title if isinstance(title, str) else "", url, "", *span), place, events)
            case {"type": "file_citation" | "container_file_citation" | "file_path", **more}:
                name = next((name for key in ("filename", "file_id") if isinstance(name := more.get(key), str) and name), "")
                if name:
                    self._cite(Citation(name, ""), place, events)

    def _cite(self, source: Citation, place: Place, events: list[Event]) -> None:
        if len(self._cited) <= 4 * self._limits.calls:
            self._cited.add(place)
        events.append(source)

    def _note(self, place: Place) -> None:
        if place not in self._streamed:
            if len(self._streamed) >= 4 * self._limits.calls:
                raise TooMany(f"more than {4 * self._limits.calls} items in one reply")
            self._streamed.add(place)

    def _reasoning_item(self, place: Place) -> _ReasoningItem:
        self._note(place)
        if place not in self._reasoning_items:
            self._reasoning_items[place] = _ReasoningItem(self._blocks)
            self._blocks += 1
        return self._reasoning_items[place]

    def _message(self, item: Object, place: Place, events: list[Event]) -> None:
        content = item.get("content")
        is_streamed, cited = place in self._streamed, place in self._cited
        if isinstance(content, str):
            content = [{"type": "output_text", "text": content}]
        for part in content if isinstance(content, list) else []:
            match part:
                case {"type": "output_text" | "text", "text": str(text)}:
                    if not is_streamed and text:
                        self.text_began(place)
                        events.append(Text(text))
                        logprobs(part.get("logprobs"), events)
                    annotations = part.get("annotations")
                    for annotation in annotations if isinstance(annotations, list) and not cited else []:
                        self.citation(annotation, place, events)
                case {"type": "refusal", "refusal": str(text)} if not is_streamed:
                    self.refusal(text, place, events)

    def _call(self, item: Object, place: Place, events: list[Event], of: str, kind: str) -> None:
        """A call, when it begins and again when it is complete; its arguments are in the field ``of``."""
        call_id, name, arguments, group = (item.get(field) for field in ("call_id", "name", of, "namespace"))
        if isinstance(arguments, dict):
            arguments = json_of(arguments)
        if not isinstance(call_id, str) or not isinstance(name, str) or not isinstance(arguments, str | None):
            raise unreadable(f"a {item['type']} of the reply is not in order: {redact(repr(item))}", {"item": item})
        if group and isinstance(group, str):
            name = full_name(group, name)
        if arguments and place in self._argued:
            arguments = None
        if arguments:
            self._argued.add(place)
        is_begun = place is not None and place in self._streamed
        self._note(place)
        self._ids.add(call_id)
        signature = self._signatures.pop(call_id, None)
        opaque = None if signature is None else Opaque(self._vendor, signature)
        if is_begun:
            piece = self.calls.take(index=place, arguments=arguments, opaque=opaque)
        else:
            piece = self.calls.take(index=place, call_id=call_id, name=name, arguments=arguments, opaque=opaque, kind=kind)
        self._append(piece, events)

    def _action(self, item: Object, place: Place, events: list[Event]) -> None:
        """An action for the client: a call that is always complete."""
        self._note(place)
        call, kind = call_id_of(item), item["type"]
        try:
            arguments = arguments_of(item)
        except (ValueError, TypeError) as error:
            raise unreadable(f"an item of the reply cannot be kept: {redact(str(error))}", {"item": item}) from error
        self._append(self.calls.take(index=place, call_id=call, name=ACTIONS[kind], arguments=arguments, kind=kind), events)

    def _reasoning(self, item: Object, place: Place, events: list[Event]) -> None:
        content = item.get("encrypted_content")
        if isinstance(content, str) and (signed := call_of(content)) is not None:
            self._note(place)
            self._signed(*signed, events)
            return
        state = self._reasoning_item(place)
        if state.kind is None:
            texts = _texts(item.get("content")) or _texts(item.get("summary"))
            if texts:
                events.append(Reasoning("\n\n".join(texts), None, state.block))
        if isinstance(content, str) and content:
            events.append(Reasoning("", Opaque(self._vendor, content, item_id(item.get("id"))), state.block))

    def _signed(self, call: str, signature: str, events: list[Event]) -> None:
        """The signature of a call, which may arrive before or after it."""
        if call in self._ids:
            self._append(self.calls.take(call_id=call, opaque=Opaque(self._vendor, signature)), events)
        elif len(self._signatures) >= self._limits.calls:
            raise TooMany(f"more than {self._limits.calls} signatures of tool calls in one reply")
        else:
            self._signatures[call] = signature

    def _hosted(self, item: Object, place: Place, events: list[Event]) -> None:
        """An item that only the backend understands: it is returned unchanged, in its position among the reasoning."""
        state = self._reasoning_item(place)
        try:
            events.append(Reasoning("", whole_item(item, "output", self._vendor), state.block))
        except BadInput as error:
            raise unreadable(f"an item of the reply cannot be kept: {redact(str(error))}", {"item": item}) from error

    @staticmethod
    def _append(piece: ToolCallPiece | None, events: list[Event]) -> None:
        if piece is not None:
            events.append(piece)


_CALLS = {"function_call": ("arguments", "function"), "custom_tool_call": ("input", "custom")}
"""Calls that may arrive in pieces: the member with their arguments, and their common kind."""


def logprobs(value: object, events: list[Event]) -> None:
    """Probabilities, if there are any."""
    if isinstance(value, list) and value:
        tokens = [{"bytes": None, **token, "top_logprobs": _weighed(token.get("top_logprobs"))} for token in _weighed(value)]
        if tokens:
            events.append(Logprobs(tokens))


def _weighed(value: object) -> list[Object]:
    """The entries that are a token and a number."""
    entries = value if isinstance(value, list) else []
    return [
        entry
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("token"), str) and isinstance(entry.get("logprob"), int | float)
    ]


def _texts(value: object) -> list[str]:
    parts = value if isinstance(value, list) else []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str) and part["text"]]


def _image(item: Object) -> Media:
    form = item.get("output_format")
    head, _, data = item["result"].rpartition(";base64,")  # some servers write a data: URL
    kind = head.removeprefix("data:") or f"image/{form if isinstance(form, str) and form else 'png'}"
    try:
        return Media(b64decode(data, validate=True), kind)
    except ValueError as error:
        raise BadReply("an image of the reply is not in base64") from error

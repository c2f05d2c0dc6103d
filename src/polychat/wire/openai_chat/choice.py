"""One answer of a reply as it is read: deltas, or a message whole, into events."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import Any

from ...errors import BackendError
from ...events import Event, Media, Refusal, Source, Text
from ...types import Opaque
from .._json import encoded
from ..deltas import ToolCalls, TooMany
from ..limits import Limits
from ..tags import untagged
from .sounds import sound_type
from .thoughts import PLAIN, Thoughts

Object = dict[str, Any]


class Choice:
    """Raises ``TooMany`` past a limit, and ``TypeError``, ``KeyError`` or ``ValueError`` for what has another shape."""

    __slots__ = ("_calls", "_heard", "_limits", "_sound", "_vendor", "came", "ended", "number", "reason", "thoughts")

    def __init__(self, number: int, vendor: str, limits: Limits) -> None:
        self.number = number
        self.came = False
        """Something of an answer came."""
        self.ended = False
        self.reason: str | None = None
        self.thoughts: Thoughts | None = None
        self._vendor, self._limits = vendor, limits
        self._calls: ToolCalls | None = None
        self._sound: list[str] = []
        self._heard = 0

    def said(self, said: Object) -> list[Event]:
        """The events of a delta or a message."""
        events = self._thought(said)
        after = self._answered(said)
        if after and self.thoughts is not None:
            events += self.thoughts.rest()
        events += after
        self.came = self.came or bool(events)
        return events

    def _answered(self, said: Object) -> list[Event]:
        events: list[Event] = []
        content = said.get("content")
        if content:
            events += [Text(content, self.number)] if isinstance(content, str) else self._parts(content)
        for name, more in said.items():
            if more and name in _READERS:
                events += _READERS[name](self, more)
        return events

    def _thought(self, said: Object) -> list[Event]:
        if details := said.get("reasoning_details"):
            return [event for detail in details for event in self._thoughts().detail(detail)]
        for name in PLAIN:
            words = said.get(name)
            if words:
                return self._thoughts().plain(_text(words))
        return []

    def _thoughts(self) -> Thoughts:
        if self.thoughts is None:
            self.thoughts = Thoughts(self._vendor, self._limits, self.number)
        return self.thoughts

    def _parts(self, parts: list[Object]) -> list[Event]:
        """Content as a list of parts, as Mistral has it."""
        events: list[Event] = []
        for part in parts:
            match part:
                case {"type": "text", "text": str(words)}:
                    events += [Text(words, self.number)] if words else []
                case {"type": "thinking", "thinking": list(thoughts)}:
                    words = "".join(_text(thought.get("text", "")) for thought in thoughts)
                    events += self._thoughts().plain(words) if words else []
                case {"type": "refusal", "refusal": str(words)}:
                    events += [Refusal(words, self.number)] if words else []
                case {"type": "image_url"}:
                    events += self._images([part])
                case {"type": str()}:
                    pass  # Mistral's references to the results of tools, and what else may come
                case _:
                    raise TypeError
        return events

    def _refused(self, words: Any) -> list[Event]:
        return [Refusal(_text(words), self.number)]

    def _called(self, calls: list[Object]) -> list[Event]:
        return [event for call in calls for event in self._call(call)]

    def _called_of_old(self, function: Object) -> list[Event]:
        return self._call({"index": 0, "function": function})

    def _call(self, call: Object) -> list[Event]:
        function = call.get("function") or {}
        arguments = function.get("arguments")
        if isinstance(arguments, (dict, list)):  # as JSON, where text is due
            arguments = encoded(arguments).decode()
        index = call.get("index")
        if self._calls is None:
            self._calls = ToolCalls(self._limits, self.number)
        piece = self._calls.take(
            index=index if type(index) is int else None,
            call_id=_text(call.get("id") or "") or None,
            name=_text(function.get("name") or "") or None,
            arguments=_text(arguments or ""),
            opaque=self._signature(call.get("extra_content")),
        )
        return [] if piece is None else [piece]

    def _signature(self, extra: Any) -> Opaque | None:
        match extra:
            case {"google": {"thought_signature": str(data)}}:
                return untagged(data, self._vendor) if data.startswith("pc1.") else Opaque(self._vendor, data)
        return None

    def _images(self, images: list[Object]) -> list[Event]:
        return [self._image(image["image_url"]["url"]) for image in images]

    def _image(self, url: str) -> Event:
        head, comma, body = url.partition(",")
        if not comma or not head.startswith("data:"):
            return Source("an image of the answer", url, choice=self.number)
        return Media(b64decode(body, validate=True), head[5:].partition(";")[0], self.number)

    def _hear(self, audio: Object) -> list[Event]:
        data = _text(audio.get("data") or "")
        if data:
            self._heard += len(data)
            if self._heard > self._limits.event:
                raise TooMany(f"more than {self._limits.event:,} characters of sound in one reply")
            self._sound.append(data)
            self.came = True
        words = _text(audio.get("transcript") or "")
        return [Text(words, self.number)] if words else []

    def _noted(self, notes: list[Object]) -> list[Event]:
        return [self._cited(note["url_citation"]) for note in notes if note.get("type") == "url_citation"]

    def _cited(self, citation: Object) -> Source:
        start, end = citation.get("start_index"), citation.get("end_index")
        placed = type(start) is int and type(end) is int and end > 0  # both must be there, and are 0 where nobody knew
        return Source(
            _text(citation.get("title") or ""),
            _text(citation["url"]),
            _text(citation.get("content") or ""),
            start if placed else None,
            end if placed else None,
            self.number,
        )

    def rest(self, *, complete: bool) -> list[Event]:
        """What is told only at the end: what must go back of the last thought, and sound, if it is whole."""
        events = [] if self.thoughts is None else self.thoughts.rest()
        if self._sound and complete:
            data = b"".join(b64decode(piece, validate=True) for piece in self._pieces())
            events.append(Media(data, sound_type(data), self.number))
        return events

    def _pieces(self) -> list[str]:
        """Each piece may be base64 of its own, or all of them together are."""
        alone = all(len(piece) % 4 == 0 for piece in self._sound)
        return self._sound if alone else ["".join(self._sound)]

    def wrong(self) -> BackendError | None:
        """What is wrong with its calls, now that no more comes."""
        return None if self._calls is None else self._calls.end()


_READERS: dict[str, Callable[[Choice, Any], list[Event]]] = {
    "refusal": Choice._refused,
    "tool_calls": Choice._called,
    "function_call": Choice._called_of_old,
    "images": Choice._images,
    "audio": Choice._hear,
    "annotations": Choice._noted,
}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value

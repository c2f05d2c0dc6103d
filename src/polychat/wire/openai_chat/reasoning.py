"""Reasoning, and its parts that a vendor requires back.

Most dialects have one text, ``reasoning_content`` or ``reasoning``. OpenRouter's ``reasoning_details`` hold blocks, each with
its signature, its encrypted data and other fields that must be returned unchanged.
"""

from __future__ import annotations

from typing import Any

from ...events import Event, Reasoning
from ...types import Opaque, ReasoningPart
from ..checks import item
from ..extras import remaining
from ..json_text import decoded, json_of
from ..limits import ReaderLimits
from ..sites.deltas import TooMany
from ..tags import tagged, untagged
from .constants import VENDOR

Object = dict[str, Any]

PLAIN = ("reasoning_content", "reasoning")
_TEXT = {"reasoning.text": "text", "reasoning.summary": "summary"}
"""The member with the text, for each kind of detail."""
_KNOWN = ("type", "text", "summary", "signature", "data", "id", "index")


def detail_of(text: str, opaque: Opaque | None, tag: str | None = None) -> Object:
    """One of ``reasoning_details``. ``tag`` returns the data to write for another vendor's opaque part."""
    if opaque is None:
        return {"type": "reasoning.text", "text": text}
    data = opaque.data if tag is None else tag
    whole = _whole(data)
    if whole is not None:
        field = _TEXT.get(whole["type"])
        return whole if field is None else {**whole, field: text}
    name = {} if opaque.id is None else {"id": opaque.id}
    if opaque.redacted:
        return {"type": "reasoning.encrypted", "data": data, **name}
    return {"type": "reasoning.text", "text": text, "signature": data, **name}


def _whole(data: str) -> Object | None:
    """A detail that was kept with all its fields; see ``opaque_of``."""
    if not data.startswith('{"'):
        return None
    try:
        detail = decoded(data.encode())
    except ValueError:
        return None
    return detail if isinstance(detail, dict) and str(detail.get("type")).startswith("reasoning.") else None


def opaque_of(detail: Object, vendor: str) -> Opaque | None:
    """The parts of a detail that must be returned: its signature, or all of it but the text if it has unknown fields."""
    encrypted = detail.get("type") == "reasoning.encrypted"
    data, name = detail.get("data" if encrypted else "signature"), detail.get("id")
    if isinstance(data, str) and data.startswith("pc1."):
        return untagged(data, vendor)  # from a backend that is a gateway of ours
    name = name if isinstance(name, str) else None
    if any(value is not None and field not in _KNOWN for field, value in detail.items()):
        members = {"type": "reasoning.text", **{key: value for key, value in detail.items() if key not in ("text", "summary")}}
        return Opaque(vendor, json_of(members), name, encrypted)
    return Opaque(vendor, data, name, encrypted) if isinstance(data, str) and data else None


def part_of(value: object, field: str) -> ReasoningPart:
    """A detail of a request. Fields that only this wire has stay with the part. Raises ``BadInput``."""
    detail = dict(item(value, field))
    kind = detail.get("type")
    reasoning = detail.pop(_TEXT.get(kind, "text") if isinstance(kind, str) else "text", None)
    sealed = {name: detail.get(name) for name in ("type", "id", "signature", "data")}
    opaque = opaque_of(sealed, VENDOR)
    for name in ("signature", "data", "id") if opaque is not None else ():
        detail.pop(name, None)
    if kind == "reasoning.text" or opaque is not None:
        detail.pop("type", None)
    return ReasoningPart(reasoning if isinstance(reasoning, str) else "", opaque, remaining(detail))


class ReasoningBlocks:
    """The reasoning of one choice while it is received. A block's opaque part is emitted once the block is known to be
    complete.
    """

    __slots__ = ("_about", "_choice", "_limit", "_opaque_sent", "_open", "_size", "_texts", "_vendor", "block")

    def __init__(self, vendor: str, limits: ReaderLimits, choice: int) -> None:
        self.block = 0
        self._vendor, self._limit, self._choice = vendor, limits.event, choice
        self._open = False
        """Whether the block has any content."""
        self._texts: list[str] = []
        """Its plain pieces; a detail may repeat all of them."""
        self._size = 0
        self._about: Object | None = None
        """Its detail without the text."""
        self._opaque_sent = False
        """Whether its opaque part was emitted."""

    def plain(self, text: str) -> list[Event]:
        """Add a piece of the text."""
        before = self._next() if self._about is not None else []
        self._open = True
        self._texts.append(text)
        self._size += len(text)
        if self._size > self._limit:
            raise TooMany(f"more than {self._limit:,} characters in one reasoning block")
        return [*before, Reasoning(text, None, self.block, self._choice)]

    def detail(self, detail: Object) -> list[Event]:
        """Add one of ``reasoning_details``. Raises ``TypeError`` for one of another shape."""
        text = detail.get("text") or detail.get("summary") or ""
        if not isinstance(text, str):
            raise TypeError
        events = [] if self._belongs(detail, text) else self._next()
        if self._about is None and self._texts:
            text = ""  # it closes a block whose text is known
        self._open = True
        self._about = self._about or {}  # extended in place: each of many details may add a field
        self._about.update((name, value) for name, value in detail.items() if value is not None)
        if text:
            events.append(Reasoning(text, None, self.block, self._choice))
        return [*events, *self.rest()] if detail.get("signature") or detail.get("data") else events

    def opaque_block(self, data: str) -> list[Event]:
        """A separate block that only its vendor reads. One that repeats the block before it, extended, is kept besides it."""
        before = self._next()
        self._open = self._opaque_sent = True
        self._about = {"type": "kept"}
        return [*before, Reasoning("", Opaque(self._vendor, data, redacted=True), self.block, self._choice)]

    def rest(self) -> list[Event]:
        """The part of the last block that must be returned, if it was not emitted yet."""
        if self._about is None or (self._opaque_sent and not self._about.get("signature")):
            return []
        opaque = opaque_of(self._about, self._vendor)
        self._about.pop("signature", None)
        self._opaque_sent = True
        return [] if opaque is None else [Reasoning("", opaque, self.block, self._choice)]

    def _belongs(self, detail: Object, text: str) -> bool:
        about = self._about
        if about is None:
            return not self._texts or "".join(self._texts) == text
        if about.get("type") != detail.get("type") or about.get("index") != detail.get("index"):
            return False
        return detail.get("index") is not None or not (self._opaque_sent and text)

    def _next(self) -> list[Event]:
        events = self.rest()
        if self._open:
            self.block += 1
        self._open = self._opaque_sent = False
        self._about = None
        self._texts.clear()
        self._size = 0
        return events


class ReasoningWriter:
    """Writes the reasoning of one choice: text as it arrives, and each block as a whole once it is complete.

    A client that returns ``reasoning_details`` unchanged then returns every block with its signature.
    """

    __slots__ = ("_block", "_detailed", "_texts", "_whole")

    def __init__(self) -> None:
        self._block = 0
        self._texts: list[str] = []
        self._detailed = False
        """Whether a block was sent as a detail, after which all must be."""
        self._whole = True
        """Whether this block was."""

    def deltas(self, event: Reasoning) -> list[Object]:
        deltas: list[Object] = []
        if event.block != self._block:
            if not self._whole:
                deltas.append(self._detail(None))
            self._block = event.block
            self._texts.clear()
        if event.text:
            self._texts.append(event.text)
            self._whole = False
            deltas.append({"reasoning_content": event.text})
        if event.opaque is not None:
            deltas.append(self._detail(event.opaque))
        return deltas

    def end(self) -> list[Object]:
        return [self._detail(None)] if self._detailed and not self._whole else []

    def _detail(self, opaque: Opaque | None) -> Object:
        self._detailed = self._whole = True
        tag = None if opaque is None else tagged(opaque, VENDOR)
        return {"reasoning_details": [{**detail_of("".join(self._texts), opaque, tag), "index": self._block}]}


def message_fields(blocks: list[tuple[str, Opaque | None]]) -> Object:
    """The reasoning of a whole message: one text, and the blocks if they are several or signed."""
    fields: Object = {}
    text = "\n\n".join(text for text, _ in blocks if text)
    if text:
        fields["reasoning_content"] = text
    if len(blocks) > 1 or any(opaque is not None for _, opaque in blocks):
        fields["reasoning_details"] = [
            {**detail_of(text, opaque, None if opaque is None else tagged(opaque, VENDOR)), "index": place}
            for place, (text, opaque) in enumerate(blocks)
        ]
    return fields

"""The events of one reply assembled: the parts of each answer in order of arrival, and how the reply ended.

Text is held once: pieces are joined when they are read, and joined text is not copied again. The parts of a message are
offsets into that text, so that a piece of text costs no more than an append.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from msgspec import Struct, field

from ..events import Citation, Event, Finish, Logprobs, Media, Reasoning, Refusal, Start, Text, ToolCallPiece, Usage
from ..types import Opaque, ReasoningPart, ToolCall
from ..values import Value


class Growing(Struct):
    """Text that arrives in pieces and can be read after each of them without copying all of it each time."""

    pieces: list[str] = field(default_factory=list)
    """The pieces since the last read."""
    _text: str = ""

    @property
    def text(self) -> str:
        if self.pieces:
            text, self._text = self._text, ""
            text += "".join(self.pieces)  # extended in place if no other name refers to it
            self.pieces.clear()
            self._text = text
        return self._text


class TextRun(Value):
    """Text without another part within it: its offsets in the message's text, and its citations."""

    start: int
    end: int
    citations: list[Citation] = field(default_factory=list)


class ReasoningRun(Value):
    """Uninterrupted reasoning of one block. Nothing is added after its ``opaque``."""

    block: int
    pieces: list[str] = field(default_factory=list)
    opaque: Opaque | None = None


AssembledPart: TypeAlias = TextRun | ReasoningRun | ToolCall | Media


class AssembledMessage(Struct):
    """One answer while it is assembled."""

    answer: Growing = field(default_factory=Growing)
    """Its text; a stream's reader may append pieces directly."""
    _calls: list[ToolCall] = field(default_factory=list)
    _arguments: list[list[str]] = field(default_factory=list)
    """Of each call, the pieces of its arguments since the last read."""
    citations: list[Citation] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    _parts: list[AssembledPart] = field(default_factory=list)
    _refusals: list[tuple[int, str]] = field(default_factory=list)
    """Each piece, and the length of the text before it."""
    _placed: int = 0
    """Characters of the text that belong to a part already."""
    _thinking: Growing | None = None
    """The text of all reasoning, with a blank line between blocks; not valid after blocks arrived out of order."""
    _block: int | None = None
    """The last block that had text; -1 if an earlier block continued after it."""

    def take(self, event: Event) -> None:
        """Add one event of this answer; ``Start``, ``Usage`` and ``Finish`` belong to the reply."""
        match event:
            case Text():
                self.answer.pieces.append(event.text)
            case Reasoning():
                self._think(event)
            case ToolCallPiece():
                self._call(event)
            case Citation():
                self.citations.append(event)
                self._text_run().citations.append(event)
            case Refusal():
                self._refusals.append((len(self.answer.text), event.text))
            case Media():
                self._place()
                self._parts.append(event)
            case Logprobs():
                self.logprobs += event.tokens

    @property
    def parts(self) -> list[AssembledPart]:
        """The parts, each at the position of its first piece."""
        self._place()
        if self._calls:
            self._join_arguments()
        return self._parts

    @property
    def calls(self) -> list[ToolCall]:
        """By index, each with its arguments so far."""
        if self._calls:
            self._join_arguments()
        return self._calls

    @property
    def text(self) -> str:
        return self.answer.text

    @property
    def only_text(self) -> str:
        """The text of an answer that has nothing else, as most; empty for any other."""
        if self._parts or self._refusals or self.citations or self.logprobs:
            return ""
        return self.answer.text

    @property
    def refusal(self) -> str:
        """The model's text that explains why it refuses."""
        return "".join(piece for _, piece in self._refusals) if self._refusals else ""

    @property
    def text_with_refusal(self) -> str:
        """The text with the refusals at their positions, for wires where a refusal is text."""
        text, pieces, start = self.text, [], 0
        for place, refusal in self._refusals:
            pieces += [text[start:place], refusal]
            start = place
        return "".join([*pieces, text[start:]])

    @property
    def media(self) -> list[Media]:
        return [part for part in self._parts if type(part) is Media] if self._parts else []

    @property
    def reasoning(self) -> str:
        """The text of all reasoning, with a blank line between blocks."""
        if self._block != -1:
            return "" if self._thinking is None else self._thinking.text
        return "\n\n".join(thought.text for thought in self.thoughts if thought.text)

    @property
    def thoughts(self) -> list[ReasoningPart]:
        """The reasoning blocks, each with its last opaque part."""
        if not self._parts:
            return []  # as of most answers
        blocks: dict[int, list[ReasoningRun]] = {}
        for part in self._parts:
            if type(part) is ReasoningRun:
                blocks.setdefault(part.block, []).append(part)
        return [
            ReasoningPart(
                "".join(piece for part in parts for piece in part.pieces),
                next((part.opaque for part in parts if part.opaque is not None), None),
            )
            for _, parts in sorted(blocks.items())
        ]

    def _place(self) -> None:
        """Add the text since the last part to a part."""
        if self.answer.pieces or self._placed < len(self.answer.text):
            self._text_run()

    def _text_run(self) -> TextRun:
        """The current part of the text, extended by all text received."""
        last = self._parts[-1] if self._parts else None
        if type(last) is not TextRun:
            last = TextRun(self._placed, self._placed)
            self._parts.append(last)
        last.end = self._placed = len(self.answer.text)
        return last

    def _think(self, piece: Reasoning) -> None:
        self._place()
        is_apart = piece.opaque is not None and piece.opaque.redacted  # a redacted block is separate reasoning
        if piece.text or (piece.opaque is not None and not is_apart):
            thought = self._reasoning_run(piece.block)
            if piece.text:
                thought.pieces.append(piece.text)
                self._spell(piece)
            if not is_apart:
                thought.opaque = piece.opaque
        if is_apart:
            self._parts.append(ReasoningRun(piece.block, [], piece.opaque))

    def _reasoning_run(self, block: int) -> ReasoningRun:
        last = self._parts[-1] if self._parts else None
        if type(last) is not ReasoningRun or last.block != block or last.opaque is not None:
            last = ReasoningRun(block)
            self._parts.append(last)
        return last

    def _spell(self, piece: Reasoning) -> None:
        last = self._block
        if self._thinking is None:
            self._thinking = Growing()
        if last is not None and last != piece.block:
            self._thinking.pieces.append("\n\n")
        self._block = piece.block if last is None or 0 <= last <= piece.block else -1
        self._thinking.pieces.append(piece.text)

    def _call(self, piece: ToolCallPiece) -> None:
        if len(self._calls) <= piece.index:
            self._place()
            while len(self._calls) <= piece.index:
                self._calls.append(ToolCall("", ""))
                self._arguments.append([])
                self._parts.append(self._calls[-1])
        call = self._calls[piece.index]
        call.id = piece.id or call.id
        call.name = piece.name or call.name
        call.kind = piece.kind
        if piece.arguments:
            self._arguments[piece.index].append(piece.arguments)
        call.opaque = piece.opaque or call.opaque

    def _join_arguments(self) -> None:
        for call, pieces in zip(self._calls, self._arguments, strict=True):
            if pieces:
                call.arguments = "".join([call.arguments, *pieces])
                pieces.clear()


class AssembledReply(Struct):
    """A reply while it is assembled: its answers by index, and what belongs to all of them."""

    first: AssembledMessage = field(default_factory=AssembledMessage)
    start: Start = field(default_factory=Start)
    usage: Usage | None = None
    finish: Finish | None = None
    _others: dict[int, AssembledMessage] | None = None

    @property
    def choices(self) -> dict[int, AssembledMessage]:
        """The answers by index."""
        return {0: self.first} if self._others is None else {0: self.first, **self._others}

    def take(self, event: Event) -> None:
        """Add one event."""
        self.take_all((event,))

    def take_all(self, events: Iterable[Event]) -> None:
        """Add several events."""
        for event in events:
            kind = type(event)  # a match statement takes several times as long
            if kind is Text and event.choice == 0:  # type: ignore[union-attr]  # it is a text
                self.first.answer.pieces.append(event.text)  # type: ignore[union-attr]
            elif kind is Usage:
                self.usage = event  # type: ignore[assignment]
            elif kind is Finish:
                self.finish = event  # type: ignore[assignment]
            elif kind is Start:
                self.start = event  # type: ignore[assignment]
            else:
                self._of(event.choice).take(event)  # type: ignore[union-attr]  # all others have one

    def _of(self, number: int) -> AssembledMessage:
        if number == 0:
            return self.first
        if self._others is None:
            self._others = {}
        choice = self._others.get(number)
        if choice is None:
            choice = self._others[number] = AssembledMessage()
        return choice

    def reasons(self, finish: Finish) -> dict[int, str | None]:
        """Why each answer ended, by index in ascending order, including answers without any other event."""
        if not (self._others or finish.others):
            return {0: finish.reason}
        reasons: dict[int, str | None] = dict.fromkeys(self.choices)
        reasons |= {**(finish.others or {}), 0: finish.reason}
        return dict(sorted(reasons.items()))

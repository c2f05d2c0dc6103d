"""The half that answers: a reply's events as one message."""

from __future__ import annotations

from math import ceil
from typing import Any

from ...errors import BadReply, redact
from ...events import Citation, Event, Finish, Media, Reasoning, Refusal, Text, ToolCallPiece, Usage
from ..json_text import encoded
from ..reading import failed
from ..sites.deltas import arguments_of, is_finished, kept_of
from ..tags import tagged
from .constants import CALLER, VENDOR, counts_of
from .errors import write_fault
from .reply_words import call_block, citation_of, fault_of_end, media_block, redacted_block, stop_of

Block = dict[str, Any]


class Whole:
    """Holds everything; ``end`` gives the message, or the error with its status."""

    def __init__(self, name: str, model: str, request_id: str | None = None) -> None:
        self.streams = False
        self.status = 200
        self.content_type = "application/json"
        self.headers: list[tuple[str, str]] = []
        self._head = {"id": f"msg_{name}", "type": "message", "role": "assistant", "model": model}
        self._request_id = request_id
        self._content = _Content()
        self._refusal: list[str] = []
        self._usage: Usage | None = None
        self._finish = Finish("truncated")

    def write(self, events: list[Event]) -> bytes:
        """Nothing yet."""
        for event in events:
            match event:
                case Text(choice=0) | Reasoning(choice=0) | ToolCallPiece(choice=0) | Citation(choice=0) | Media(choice=0):
                    self._content.add(event)
                case Refusal(choice=0):
                    self._refusal.append(event.text)
                case Usage():
                    self._usage = event
                case Finish():
                    self._finish = event
        return b""

    def end(self) -> bytes:
        """The body."""
        if self._finish.verdict != "complete":
            fault = fault_of_end(self._finish)
            self.status = fault.status
            if fault.retry_after is not None:
                self.headers.append(("retry-after", str(ceil(fault.retry_after))))
            return write_fault(fault, self._request_id)
        try:
            content = self._content.blocks(finished=is_finished(self._finish.reason))
        except ValueError as error:
            self._finish = failed(BadReply(str(error)))
            return self.end()
        stop = stop_of(self._finish, any(block["type"] == "tool_use" for block in content), "".join(self._refusal))
        return encoded({**self._head, "content": content, **stop, "usage": counts_of(self._usage)})


class _Content:
    """Blocks as pieces make them grow."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._pieces: list[list[str]] = []
        """Of each block's text or arguments, to be joined at the end."""
        self._open: str | int | None = None
        self._calls: dict[int, int] = {}

    def add(self, event: Text | Reasoning | ToolCallPiece | Citation | Media) -> None:
        match event:
            case Text():
                self._text().append(event.text)
            case Citation():
                self._text()
                self._blocks[-1]["citations"] = [*(self._blocks[-1]["citations"] or []), citation_of(event)]
            case Reasoning():
                self._think(event)
            case ToolCallPiece():
                self._piece(event)
            case Media():
                self._begin(media_block(event), None)

    def blocks(self, *, finished: bool = True) -> list[Block]:
        """The blocks, each with all of its text. Raises ``ValueError`` for a call whose arguments are no JSON object.

        Of a call that was cut in a reply that is not ``finished`` there are the members that came whole, as Anthropic has it.
        """
        for block, pieces in zip(self._blocks, self._pieces, strict=True):
            match block["type"]:
                case "text" | "thinking" as kind if pieces:
                    block[kind] = "".join(pieces)
                case "tool_use":
                    block["input"] = _input(block["name"], "".join(pieces), finished=finished)
        return self._blocks

    def _begin(self, block: Block, as_what: str | int | None) -> None:
        self._blocks.append(block)
        self._pieces.append([])
        self._open = as_what

    def _text(self) -> list[str]:
        if self._open != "text":
            self._begin({"type": "text", "text": "", "citations": None}, "text")
        return self._pieces[-1]

    def _think(self, event: Reasoning) -> None:
        opaque = event.opaque
        if event.text or (opaque is not None and not opaque.redacted):
            if self._open != event.block:
                self._begin({"type": "thinking", "thinking": "", "signature": ""}, event.block)
            self._pieces[-1].append(event.text)
        if opaque is None:
            return
        if opaque.redacted:
            self._begin(redacted_block(opaque), None)
        else:
            self._blocks[-1]["signature"] = tagged(opaque, VENDOR)
            self._open = None

    def _piece(self, piece: ToolCallPiece) -> None:
        place = self._calls.get(piece.index)
        if place is None:
            if piece.opaque is not None:
                self._begin(call_block(piece.opaque), None)
            block = {"type": "tool_use", "id": piece.id or f"toolu_{piece.index}", "name": piece.name or "", "caller": CALLER}
            self._begin(block, None)
            self._calls[piece.index] = place = len(self._blocks) - 1
        self._pieces[place].append(piece.arguments)


def _input(name: str, arguments: str, *, finished: bool) -> dict[str, Any]:
    value = arguments_of(arguments)
    if value is None and finished:
        raise ValueError(f"the arguments for the tool {redact(name, 60)} are not a JSON object")
    return kept_of(arguments) if value is None else value

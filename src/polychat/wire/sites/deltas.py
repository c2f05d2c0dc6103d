"""The new piece of data that services repeat, split or omit."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ...errors import BackendError, BadReply, redact
from ...events import ToolCallPiece
from ...types import Opaque
from ..json_text import DEEPEST, object_in
from ..limits import LIMITS, ReaderLimits


class Cumulative:
    """For services that repeat the whole reply in every message."""

    __slots__ = ("whole",)

    def __init__(self) -> None:
        self.whole = ""

    def take(self, whole: str) -> str:
        """The part of ``whole`` after the text seen before; raises ``ValueError`` if it does not begin with that."""
        if not whole.startswith(self.whole):
            raise ValueError("the reply so far was changed after it was sent")
        new = whole[len(self.whole) :]
        self.whole = whole
        return new


class TooMany(ValueError):
    """The reply exceeds the limit of tool calls, or of their arguments."""


@dataclass(slots=True)
class _Slot:
    place: int
    id: str
    has_own_id: bool
    """Whether the backend sent the id."""
    name: str
    kind: str = "function"
    arguments: list[str] = field(default_factory=list)
    size: int = 0
    """Characters of ``arguments``."""

    @property
    def text(self) -> str:
        return "".join(self.arguments)


class ToolCalls:
    """Assembles the tool calls of one choice from pieces in any dialect. Only this class assigns pieces to calls.

    A piece belongs to the call of its ``index``, else of its ``id``, else to the last one; a new id with a name, or a name
    without index and id, begins another call. A complete call that is repeated is skipped.
    """

    def __init__(self, limits: ReaderLimits = LIMITS, choice: int = 0) -> None:
        self._limits = limits
        self._choice = choice
        self._slots: list[_Slot] = []
        self._by_index: dict[int, _Slot] = {}
        self._by_id: dict[str, _Slot] = {}
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._slots)

    def take(
        self,
        *,
        index: int | None = None,
        call_id: str | None = None,
        name: str | None = None,
        arguments: str | None = None,
        opaque: Opaque | None = None,
        kind: str = "function",
    ) -> ToolCallPiece | None:
        """The event for one piece; ``None`` if it adds nothing. Raises ``TooMany``. The first event of a call has its ``kind``.

        The event's ``index`` counts calls in the order in which they began. A call without an id gets ``limits.id_prefix`` and
        that number.
        """
        slot = self._slot(index, call_id, name)
        if arguments == "null" and kind == "function" and (slot is None or not slot.arguments):
            arguments = ""  # some servers write it for a call without arguments
        if slot is not None:
            return self._more(slot, name, arguments, opaque)
        slot = self._begin(index, call_id, name or "", kind)
        self._grow(slot, arguments)
        return ToolCallPiece(slot.place, slot.id, slot.name or None, arguments or "", opaque, self._choice, kind)

    def _more(self, slot: _Slot, name: str | None, arguments: str | None, opaque: Opaque | None) -> ToolCallPiece | None:
        """The event of a further piece of a call."""
        late = None
        if not slot.name and name:
            late = slot.name = name
        elif arguments and name and len(arguments) == slot.size and arguments == slot.text and _is_json(arguments):
            return None
        self._grow(slot, arguments)
        if late is None and not arguments and opaque is None:
            return None
        return ToolCallPiece(slot.place, None, late, arguments or "", opaque, self._choice, slot.kind)

    def end(self, reason: str | None = None) -> BackendError | None:
        """The error in the calls, after the last piece: a call without a name, or arguments that are no JSON object.

        There is none if ``reason``, by its common name, marks the reply as unfinished, because a call may then be cut.
        """
        if not is_finished(reason):
            return None
        for slot in self._slots:
            if not slot.name:
                return BadReply(f"tool call {slot.place + 1} of the reply names no tool")
            text = slot.text
            if slot.kind == "function" and text.strip() and not _is_object(text, self._limits.depth):
                return BadReply(f"the arguments for the tool {redact(slot.name, 60)} are not a JSON object: {redact(text)}")
        return None

    def _slot(self, index: int | None, call_id: str | None, name: str | None) -> _Slot | None:
        if index is not None:
            slot = self._by_index.get(index)
            # Some servers number every call 0. A new id with a name is a new call; without a name it is to be ignored.
            return None if slot and call_id and name and slot.has_own_id and call_id != slot.id else slot
        if call_id:
            return self._by_id.get(call_id)
        if name and (not self._slots or self._slots[-1].name):
            # Without index and id, a name begins a call; a complete call that is repeated is recognized by its arguments.
            return None
        return self._slots[-1] if self._slots else None

    def _begin(self, index: int | None, call_id: str | None, name: str, kind: str) -> _Slot:
        if len(self._slots) >= self._limits.calls:
            raise TooMany(f"more than {self._limits.calls} tool calls in one reply")
        slot = _Slot(len(self._slots), call_id or f"{self._limits.id_prefix}{len(self._slots)}", bool(call_id), name, kind)
        self._slots.append(slot)
        if index is not None:
            self._by_index[index] = slot
        self._by_id.setdefault(slot.id, slot)
        return slot

    def _grow(self, slot: _Slot, arguments: str | None) -> None:
        if not arguments:
            return
        self._size += len(arguments)
        if self._size > self._limits.arguments:
            raise TooMany(f"more than {self._limits.arguments:,} characters of tool arguments in one reply")
        slot.arguments.append(arguments)
        slot.size += len(arguments)


_FINISHED = (None, "stop", "tool_calls")


def is_finished(reason: str | None) -> bool:
    """Whether this finish reason means that the reply and its calls are complete. With any other, calls may be cut."""
    return reason in _FINISHED


def arguments_of(text: str) -> Any:
    """The arguments of a complete call as ``object_in`` returns them; ``None`` if they are no object, or were cut."""
    return object_in(text) if text.strip() else {}


_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}:,]|[^\s"\[\]{}:,]+|"', re.DOTALL)


def complete_members(text: str) -> Any:
    """The complete members of arguments that were cut: members and elements known to be complete. Takes linear time."""
    closers: list[str] = []
    end, before = 0, ""
    for token in _TOKENS.finditer(text):
        sign = token[0]
        if sign in _CLOSERS:
            closers.append(_CLOSERS[sign])
            end = token.end()
            if len(closers) > DEEPEST:
                break
        elif sign in ("}", "]"):
            if not closers or closers[-1] != sign:
                break
            closers.pop()
            end = token.end()
        elif sign == ",":
            end = token.start()
        elif sign == '"':  # a string that was cut
            break
        elif sign[0] == '"' and closers and (before == ":" or closers[-1] == "]"):
            end = token.end()
        before = sign
    return arguments_of(text[:end] + "".join(reversed(closers))) or {}


_CLOSERS = {"{": "}", "[": "]"}


def _is_object(text: str, depth: int) -> bool:
    return object_in(text, depth) is not None


def _is_json(text: str) -> bool:
    return _is_object(text, LIMITS.depth)

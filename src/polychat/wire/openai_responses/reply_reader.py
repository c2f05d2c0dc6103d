"""Client side: a reply, as a stream of events or as one response."""

from __future__ import annotations

from typing import Any

from ...errors import EmptyReply, ReplyFailed
from ...events import Event, Finish, Start, Text, Usage
from ..faults import error_of
from ..framing import Events
from ..limits import LIMITS, ReaderLimits
from ..reading import complete, failed, truncated, two_replies
from ..stream import BadShape, Ended, StreamReader
from .constants import REASONS, VENDOR, Object, count, usage_of
from .errors import fault_of_error
from .output_reader import Pieces, Place, logprobs

_TEXT = "response.output_text.delta"
_NOWHERE = object()
_UNFINISHED = ("", "in_progress", "queued")
"""Statuses of a response that did not end. Any other, even an unknown one, is an end."""


def read_reply(body: bytes, vendor: str = VENDOR, limits: ReaderLimits = LIMITS) -> list[Event]:
    """The events of a whole response; the last is its ``Finish``."""
    return Reader(vendor, limits).read(body)


class Reader(StreamReader):
    """Reads a streamed reply. ``vendor`` is the vendor of its opaque parts."""

    SHAPE = "an event that is not in this API's format"
    NAMED = True

    def __init__(self, vendor: str = VENDOR, limits: ReaderLimits = LIMITS) -> None:
        super().__init__(Events(limits.line, limits.event), limits)
        self._pieces = Pieces(vendor, limits)
        self._text_index: object = _NOWHERE
        """The index of the item with the latest text: more text of it needs no checks."""
        self._started = False
        self._latest: Any = None
        """The last event."""
        self._usage: Usage | None = None
        self.response: Object = {}
        """The response, from its first event."""

    @property
    def number(self) -> int | None:
        """The last event's sequence number, if it has one."""
        return count(self._latest.get("sequence_number")) if isinstance(self._latest, dict) else None

    def take(self, value: Any, events: list[Event]) -> None:
        self._latest = value
        if type(value) is dict and value.get("type") == _TEXT and value.get("output_index") == self._text_index:
            delta = value.get("delta")
            if type(delta) is str and delta and not value.get("logprobs"):
                events.append(Text(delta))
                return
        if isinstance(value, dict):
            self._event(value, events)
        elif value is not None and not self._started:  # else it says nothing about the reply
            raise BadShape("an event of the reply is not an object")

    def whole(self, value: Any, events: list[Event]) -> Finish:
        if not isinstance(value, dict):
            raise BadShape("the reply is not a response")
        if not isinstance(value.get("output"), list):
            if not (value.get("error") or value.get("status") == "failed"):
                raise BadShape("the reply has no output")
            raise error_of(fault_of_error(value.get("error")))
        status = value.get("status")
        return self._last(status if isinstance(status, str) else "", value, events)

    def over(self, broken: str) -> Finish:
        return truncated(broken or "response.completed is missing")

    def rest(self, finish: Finish) -> list[Event]:
        return [] if self._usage is None else [self._usage]

    def _event(self, value: Object, events: list[Event]) -> None:
        kind = value.get("type")
        match kind if isinstance(kind, str) else self.name:
            case "response.created" if self._is_another(value.get("response")):
                raise two_replies()
            case "response.created" | "response.in_progress" | "response.queued":
                self._start(value.get("response"), events)
            case "response.output_item.added" | "response.output_item.done" as kind:
                self._item(kind, value, events)
            case "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" as kind:
                # Some servers omit the response that this event should repeat.
                response = value.get("response")
                raise Ended(self._last(kind.removeprefix("response."), response if isinstance(response, dict) else {}, events))
            case kind if kind.endswith((".delta", ".done")):
                self._piece(kind, value, events)
            case "response.output_text.annotation.added":
                self._pieces.citation(value.get("annotation"), count(value.get("output_index")), events)
            case "error":
                raise error_of(fault_of_error(value.get("error") or value))
            case _ if value.get("error"):
                raise error_of(fault_of_error(value["error"]))
            case "message" if value and not self._started:
                raise BadShape("an event of the reply has no type")

    def _piece(self, kind: str, value: Object, events: list[Event]) -> None:
        place = count(value.get("output_index"))
        match kind:
            case "response.output_text.delta":
                self._text(value, place, events)
            case "response.refusal.delta":
                self._pieces.refusal(_delta(value), place, events)
            case "response.reasoning_summary_text.delta":
                self._pieces.reasoning("summary", count(value.get("summary_index")), _reasoning_text(value), place, events)
            case "response.reasoning_text.delta":
                self._pieces.reasoning("content", count(value.get("content_index")), _reasoning_text(value), place, events)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                self._pieces.arguments(_delta(value), place, events)
            case "response.function_call_arguments.done" if isinstance(value.get("arguments"), str):
                self._pieces.arguments(value["arguments"], place, events, whole=True)
            case "response.custom_tool_call_input.done" if isinstance(value.get("input"), str):
                self._pieces.arguments(value["input"], place, events, whole=True)

    def _text(self, value: Object, place: Place, events: list[Event]) -> None:
        if delta := _delta(value):
            self._pieces.text_began(place)
            self._text_index = value.get("output_index")
            events.append(Text(delta))
        logprobs(value.get("logprobs"), events)

    def _item(self, kind: str, value: Object, events: list[Event]) -> None:
        item, place = value.get("item"), count(value.get("output_index"))
        if kind.endswith("added"):
            self._text_index = _NOWHERE
            if isinstance(item, dict):  # some servers announce an item and send no data for it
                self._pieces.added(item, place, events)
        elif isinstance(item, dict):
            self._pieces.done(item, place, events)
        elif not self._pieces.has(place):  # else all of it arrived in pieces
            raise BadShape("an event of the reply has no item")

    def _is_another(self, response: object) -> bool:
        """Whether a response that begins is another one than the current one, by its id."""
        if not self._started or not isinstance(response, dict):
            return False
        earlier, name = self.response.get("id"), response.get("id")
        return bool(earlier and name and earlier != name)

    def _start(self, response: object, events: list[Event]) -> None:
        if self._started or not isinstance(response, dict) or not response:
            return
        self._started, self.response = True, response
        reply, model = response.get("id"), response.get("model")
        events.append(Start(reply if isinstance(reply, str) else None, model if isinstance(model, str) else None))

    def _last(self, status: str, response: Object, events: list[Event]) -> Finish:
        """The finish for a response of this status, which may repeat all items, or contain them for the first time."""
        self._start(response, events)
        output = response.get("output")
        if isinstance(output, list) and not self._pieces.has_content:
            for place, item in enumerate(output):
                self._pieces.done(item if isinstance(item, dict) else {}, place, events)
        self._usage = usage_of(response.get("usage"))
        return self._finish(status, response)

    def _finish(self, status: str, response: Object) -> Finish:
        if status == "failed" or (status in _UNFINISHED and response.get("error")):
            return failed(error_of(fault_of_error(response.get("error"))))
        if status == "cancelled":
            return failed(ReplyFailed("the backend cancelled the reply"))
        if status in _UNFINISHED:
            return truncated(f"its status is still {status}" if status else "it has no status")
        if status == "incomplete":
            details = response.get("incomplete_details")
            reason = details.get("reason") if isinstance(details, dict) else None
            return complete(REASONS.get(reason, reason) if isinstance(reason, str) else "incomplete")
        if (error := self._pieces.calls.end()) is not None:
            return failed(error)
        if not (self._pieces.begun or self._pieces.has_content):
            return failed(EmptyReply("the reply is complete and has no output"))
        if self._pieces.calls:
            return complete("tool_calls")
        return complete("refusal" if self._pieces.refused and not self._pieces.answered else "stop")


def _delta(value: Object) -> str:
    delta = value.get("delta")
    if isinstance(delta, str):
        return delta
    if delta is None and "delta" in value:
        return ""
    raise BadShape("an event of the reply has no delta")


def _reasoning_text(value: Object) -> str:
    """A piece of reasoning; parts other than text are skipped."""
    delta = value.get("delta")
    return delta if isinstance(delta, str) else ""

"""The half that hears the answer: a stream of events, or one response."""

from __future__ import annotations

from typing import Any

from ...errors import BadReply, EmptyReply, ReplyFailed, redact
from ...events import Event, Finish, Start, Text
from ..faults import error_of
from ..framing import Events, LineTooLong
from ..json_text import Halves, decoded
from ..limits import LIMITS, Limits
from ..reading import complete, failed, truncated, two_replies, unreadable
from ..sites.deltas import TooMany
from .constants import REASONS, VENDOR, Object, count, usage_of
from .errors import fault_of_error
from .output_reader import Pieces, Place, logprobs

_TEXT = "response.output_text.delta"
_NOWHERE = object()
_UNFINISHED = ("", "in_progress", "queued")
"""What a response says of itself that did not come to an end. Any other word, be it unknown, is an end."""


def read_reply(body: bytes, vendor: str = VENDOR, limits: Limits = LIMITS) -> list[Event]:
    """The events of a whole response; the last is its ``Finish``."""
    return Reader(vendor, limits).whole(body)


class Reader:
    """Reads a streamed reply. ``vendor`` is whose the opaque parts are."""

    def __init__(self, vendor: str = VENDOR, limits: Limits = LIMITS) -> None:
        self.done = False
        self._cut = Events(limits.line, limits.event)
        self._depth = limits.depth
        self._pieces = Pieces(vendor, limits)
        self._halves = Halves()
        self._speaking: object = _NOWHERE
        """The place of the item whose text came last: further text of it needs no looking at."""
        self._started = self._over = False
        self._latest: Any = None
        """The last event."""
        self.response: Object = {}
        """The response as its first event told it."""

    @property
    def number(self) -> int | None:
        """Of the last event, where it tells one."""
        return count(self._latest.get("sequence_number")) if isinstance(self._latest, dict) else None

    def feed(self, data: bytes) -> list[Event]:
        if self.done:
            return []
        try:
            found = self._cut.feed(data)
        except LineTooLong as error:
            return self._end([], failed(BadReply(f"the reply has {error}")))
        return self._take(found)

    def end(self) -> list[Event]:
        if self.done:
            return []
        self._over = True
        try:
            events = self._take(self._cut.end())
        except LineTooLong as error:
            return self._end([], failed(BadReply(f"the reply has {error}")))
        return events if self.done else self._end(events, truncated("no response.completed came"))

    def whole(self, body: bytes) -> list[Event]:
        """``read_reply``, for one who has read nothing yet."""
        events: list[Event] = []
        try:
            response = self._value(body)
        except ValueError:
            return self._end(events, failed(BadReply(f"the reply is not JSON: {redact(body)}")))
        try:
            return self._response(response, body, events)
        except (BadReply, TooMany) as error:
            return self._end(events, failed(error if isinstance(error, BadReply) else BadReply(str(error))))

    def _take(self, found: list[tuple[str, bytes]]) -> list[Event]:
        events: list[Event] = []
        for name, payload in found:
            try:
                self._latest = value = self._value(payload)
                if type(value) is dict and value.get("type") == _TEXT and value.get("output_index") == self._speaking:
                    delta = value.get("delta")
                    if type(delta) is str and delta and not value.get("logprobs"):
                        events.append(Text(delta))
                        continue
                self._heard(name, value, payload, events)
            except (BadReply, TooMany) as error:
                return self._end(events, failed(error if isinstance(error, BadReply) else BadReply(str(error))))
            except ValueError:
                if payload.strip() != b"[DONE]":
                    return self._end(events, self._unreadable(payload))
            if self.done:
                break
        return events

    def _value(self, payload: bytes) -> Any:
        try:
            return decoded(payload, self._depth)
        except ValueError:
            return self._halves.decoded(payload, self._depth)

    def _unreadable(self, payload: bytes) -> Finish:
        if self._over:
            return truncated(f"its last event broke off: {redact(payload)}")
        return failed(BadReply(f"an event of the reply is not JSON: {redact(payload)}"))

    def _heard(self, name: str, value: Any, payload: bytes, events: list[Event]) -> None:
        if not isinstance(value, dict):
            if value is None or self._started:
                return  # it says nothing of the reply
            raise BadReply(f"an event of the reply is not an object: {redact(payload)}")
        kind = value.get("type")
        match kind if isinstance(kind, str) else name:
            case "response.created" if self._is_another(value.get("response")):
                raise two_replies()
            case "response.created" | "response.in_progress" | "response.queued":
                self._start(value.get("response"), events)
            case "response.output_item.added" | "response.output_item.done" as kind:
                self._item(kind, value, payload, events)
            case "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" as kind:
                self._last(kind.removeprefix("response."), value, events)
            case kind if kind.endswith((".delta", ".done")):
                self._piece(kind, value, payload, events)
            case "response.output_text.annotation.added":
                self._pieces.citation(value.get("annotation"), count(value.get("output_index")), events)
            case "error":
                self._end(events, failed(error_of(fault_of_error(value.get("error") or value))))
            case _ if value.get("error"):
                self._end(events, failed(error_of(fault_of_error(value["error"]))))
            case "message" if value and not self._started:
                raise unreadable(f"an event of the reply has no type: {redact(payload)}", payload)

    def _piece(self, kind: str, value: Object, payload: bytes, events: list[Event]) -> None:
        place = count(value.get("output_index"))
        match kind:
            case "response.output_text.delta":
                self._text(value, place, payload, events)
            case "response.refusal.delta":
                self._pieces.refusal(_delta(value, payload), place, events)
            case "response.reasoning_summary_text.delta":
                self._pieces.thought("summary", count(value.get("summary_index")), _aside(value), place, events)
            case "response.reasoning_text.delta":
                self._pieces.thought("content", count(value.get("content_index")), _aside(value), place, events)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                self._pieces.arguments(_delta(value, payload), place, events)
            case "response.function_call_arguments.done" if isinstance(value.get("arguments"), str):
                self._pieces.arguments(value["arguments"], place, events, whole=True)
            case "response.custom_tool_call_input.done" if isinstance(value.get("input"), str):
                self._pieces.arguments(value["input"], place, events, whole=True)

    def _text(self, value: Object, place: Place, payload: bytes, events: list[Event]) -> None:
        if delta := _delta(value, payload):
            self._pieces.speaks(place)
            self._speaking = value.get("output_index")
            events.append(Text(delta))
        logprobs(value.get("logprobs"), events)

    def _item(self, kind: str, value: Object, payload: bytes, events: list[Event]) -> None:
        item, place = value.get("item"), count(value.get("output_index"))
        if kind.endswith("added"):
            self._speaking = _NOWHERE
            if isinstance(item, dict):  # some servers announce an item and say nothing of it
                self._pieces.added(item, place, events)
        elif isinstance(item, dict):
            self._pieces.done(item, place, events)
        elif not self._pieces.has(place):  # else all of it was told in pieces
            raise unreadable(f"an event of the reply has no item: {redact(payload)}", payload)

    def _is_another(self, response: object) -> bool:
        """Whether a response that begins is another than the one that is read, by its id."""
        if not self._started or not isinstance(response, dict):
            return False
        known, name = self.response.get("id"), response.get("id")
        return bool(known and name and known != name)

    def _start(self, response: object, events: list[Event]) -> None:
        if self._started or not isinstance(response, dict) or not response:
            return
        self._started, self.response = True, response
        reply, model = response.get("id"), response.get("model")
        events.append(Start(reply if isinstance(reply, str) else None, model if isinstance(model, str) else None))

    def _response(self, response: Any, body: bytes, events: list[Event]) -> list[Event]:
        if not isinstance(response, dict):
            raise BadReply(f"the reply is not a response: {redact(body)}")
        if not isinstance(response.get("output"), list):
            if not (response.get("error") or response.get("status") == "failed"):
                raise BadReply(f"the reply has no output: {redact(body)}")
            return self._end(events, failed(error_of(fault_of_error(response.get("error")))))
        status = response.get("status")
        self._last(status if isinstance(status, str) else "", {"response": response}, events)
        return events

    def _last(self, status: str, value: Object, events: list[Event]) -> None:
        """The event that ends the reply. Some servers leave out the response it is to repeat."""
        response = value.get("response")
        response = response if isinstance(response, dict) else {}
        self._start(response, events)
        output = response.get("output")
        if isinstance(output, list) and not self._pieces.said:
            for place, item in enumerate(output):
                self._pieces.done(item if isinstance(item, dict) else {}, place, events)
        if (usage := usage_of(response.get("usage"))) is not None:
            events.append(usage)
        self._end(events, self._finish(status, response))

    def _finish(self, status: str, response: Object) -> Finish:
        if status == "failed" or (status in _UNFINISHED and response.get("error")):
            return failed(error_of(fault_of_error(response.get("error"))))
        if status == "cancelled":
            return failed(ReplyFailed("the backend says that the reply was cancelled there"))
        if status in _UNFINISHED:
            return truncated(f"its status is still {status}" if status else "it has no status")
        if status == "incomplete":
            details = response.get("incomplete_details")
            reason = details.get("reason") if isinstance(details, dict) else None
            return complete(REASONS.get(reason, reason) if isinstance(reason, str) else "incomplete")
        if (error := self._pieces.calls.end()) is not None:
            return failed(error)
        if not (self._pieces.begun or self._pieces.said):
            return failed(EmptyReply("the reply is complete and has no output"))
        if self._pieces.calls:
            return complete("tool_calls")
        return complete("refusal" if self._pieces.refused and not self._pieces.answered else "stop")

    def _end(self, events: list[Event], finish: Finish) -> list[Event]:
        self.done = True
        events.append(finish)
        return events


def _delta(value: Object, payload: bytes) -> str:
    delta = value.get("delta")
    if isinstance(delta, str):
        return delta
    if delta is None and "delta" in value:
        return ""
    raise unreadable(f"an event of the reply has no delta: {redact(payload)}", payload)


def _aside(value: Object) -> str:
    """A piece of a thought; what is no text is left out."""
    delta = value.get("delta")
    return delta if isinstance(delta, str) else ""

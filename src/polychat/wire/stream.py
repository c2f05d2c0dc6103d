"""What every reader of a reply does, on any wire: bytes are split, decoded and read one value at a time, up to one end.

A wire's reader is a ``StreamReader`` that interprets the values; everything else is here, once:

bytes --framing--> payloads --JSON--> values --take--> events ... rest and one Finish

Input           Result
--------------  ---------------------------------------------------------------------------------------------
a value         ``take`` adds its events; it raises ``Ended`` with the wire's own end
``[DONE]``      ``terminated`` returns whether that is an end on this wire; blank payloads are skipped
no JSON         failed: a ``BadReply`` that shows the payload. Half an emoji is accepted: see ``LenientJSON``
another shape   failed: ``take`` raised one of ``SHAPES``
past a limit    failed: the line, its depth, its calls
the body's end  ``over`` decides; it is passed what is missing in the body: a last line that is not JSON was cut
anything more   nothing is read after an end
--------------  ---------------------------------------------------------------------------------------------
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from ..errors import BackendError, BadReply, redact
from ..events import Event, Finish, Text
from ..values import mypyc_attr
from .framing import CutShort, FramingError, WholeBody
from .json_text import LenientJSON, TooDeep, decoded
from .limits import LIMITS, ReaderLimits
from .reading import failed, truncated, unreadable
from .repeats import MAX_TEMPLATES, EventTemplate, record_nothing
from .sites.deltas import TooMany

SHAPES = (LookupError, TypeError, ValueError, AttributeError, OverflowError)
"""Exceptions of reading a value of another shape."""
BLANK = b"\xef\xbb\xbf \t\r\n"
"""Characters that may precede a body."""
_HEAD_SIZE = 1_000
"""Bytes of a body's beginning that are kept for the error that shows it."""
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_DONE = b"[DONE]"
_NOTHING = object()


class Ended(Exception):
    """The reply is over; carries its ``Finish``."""

    def __init__(self, finish: Finish) -> None:
        super().__init__()
        self.finish = finish


class BadShape(ValueError):
    """A value does not have the wire's shape: the message says why, and is followed by the payload."""


ENDS = (Ended, BackendError, *SHAPES)
"""Exceptions that a reader's ``take`` raises: each ends the reply."""


class Framing(Protocol):
    """Splits bytes into payloads: ``DataLines``, ``Events``, ``JSONLines``, ``WholeBody``, or a wire's own."""

    def feed(self, data: bytes) -> list[Any]:
        """The payloads that ``data`` completes. Raises ``FramingError``, such as ``LineTooLong`` past its limit."""

    def end(self) -> list[Any]:
        """The data after the last payload. Raises the same, and ``CutShort`` if the body is incomplete."""


@mypyc_attr(allow_interpreted_subclasses=True)
class StreamReader:
    """A reader of replies; subclasses for wires and services interpret its values in ``take`` and ``over``.

    A reader that detects whether a body is a stream passes no ``framing``, and implements ``framing_for`` instead.
    """

    SHAPE: ClassVar[str] = "a line that is not in this service's format"
    """The error's text for a value that ``take`` could not read."""
    PREFIX: ClassVar[bytes] = b""
    """The bytes before a payload in its line, so that an error can show the whole line."""
    NAMED: ClassVar[bool] = False
    """Whether the framing returns pairs of a name and a payload, as ``Events`` does; ``name`` is that of the current value."""

    def __init__(self, framing: Framing | None = None, limits: ReaderLimits = LIMITS) -> None:
        self.done = False
        self.name = ""
        self.may_be_usual = False
        """Whether ``take_usual`` is tried first."""
        self.silent = True
        """No payload was received yet."""
        self._framing = framing
        self._limits = limits
        self._lenient: LenientJSON | None = None
        """Made for the first value that is not strict JSON."""
        self._head = b""
        """The beginning of the body, until more of it is received."""
        self._is_over = False
        """The body is over: a payload that is not JSON may have been cut."""
        self._template: EventTemplate | None = None
        """The bytes around the text of the last value, if the next may differ from it only in its text."""
        self._record: Callable[[str], None] = record_nothing
        self._plain_texts = 0
        """How many values with one text and nothing else were read: the first is not used, because most replies are short."""

    # For a wire to implement.

    def take_usual(self, payload: bytes, events: list[Event]) -> bool:
        """Add the events of a payload in one of the wire's most common forms, without examining each member.

        ``False``: it has another form, and ``take`` must read it. Only called while ``may_be_usual``.
        """
        raise NotImplementedError

    def take(self, value: Any, events: list[Event]) -> None:
        """Add the events of one value. Raises ``Ended`` with the end that it reports, and otherwise one of ``ENDS``."""
        raise NotImplementedError

    def over(self, broken: str) -> Finish:
        """The end, if the body ended without the wire's own. ``broken`` names what is missing in the body, if anything."""
        raise NotImplementedError

    def whole(self, value: Any, events: list[Event]) -> Finish:
        """Add the events of a reply that was received whole; returns its end. Raises as ``take`` does."""
        self.take(value, events)
        return self.over("")

    def terminated(self) -> Finish | None:
        """The end that ``[DONE]`` is; ``None`` on a wire without it, where some servers add it all the same."""
        return None

    def rest(self, finish: Finish) -> list[Event]:
        """The events before the end, whatever ``finish`` is: usage, citations."""
        return []

    def text_recorder(self) -> Callable[[str], None] | None:
        """See ``RecordsText``: records a text that ``take`` does not get; ``None`` if each value must be read."""
        return None

    def framing_for(self, body: bytes) -> Framing:
        """The framing for a body with this first byte."""
        raise NotImplementedError

    def is_cut(self, payload: bytes) -> bool:
        """Whether the last payload of a body is only a part of one: not JSON in any reading, at any depth."""
        try:
            LenientJSON().decoded(payload, len(payload))
        except TooDeep:
            return False
        except ValueError:
            return payload.strip()[:6] != _DONE
        return False

    # The same for all wires.

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes; it may be cut anywhere."""
        if self.done:
            return []
        framing = self._framing
        if framing is None:
            data = data.lstrip(BLANK)
            if not data:
                return []
            framing = self._framing = self.framing_for(data)
        try:
            payloads = framing.feed(data)
        except FramingError as error:
            return self._ended([], failed(BadReply(f"the reply holds {error}")))
        if self.silent:
            if payloads:
                self.silent = False
            elif len(self._head) < _HEAD_SIZE:
                self._head += data[:_HEAD_SIZE]
        return self._read(payloads) if payloads else []

    def end(self) -> list[Event]:
        """The last events, after the end of the body. They end with a ``Finish`` unless one was returned before."""
        if self.done:
            return []
        self._is_over = True
        try:
            payloads = [] if self._framing is None else self._framing.end()
        except CutShort as cut:
            return self._ended([], self.over(str(cut)))
        except FramingError as error:
            return self._ended([], failed(BadReply(f"the reply holds {error}")))
        if isinstance(self._framing, WholeBody):
            return self.read(payloads[0])
        self.silent = self.silent and not payloads
        events = self._read(payloads)
        return events if self.done else self._ended(events, self.over(""))

    def read(self, body: bytes) -> list[Event]:
        """The events of a whole reply, by a reader that was not used before; the last is its ``Finish``."""
        body = body.lstrip(BLANK)
        try:
            try:
                value = decoded(body, self._limits.depth)
            except ValueError:
                value = self._leniently(body)
        except ValueError as error:
            if self._is_over and body[:1] in (b"{", b"[") and self.is_cut(body):
                return self._ended([], self.over("the body ends within its JSON"))
            bad = BadReply(f"the reply is not valid JSON ({error}): {redact(body) or 'it is empty'}")
            return self._ended([], failed(bad))
        self.silent = False
        events: list[Event] = []
        try:
            finish = self.whole(value, events)
        except ENDS as ended:
            finish = self._end_of(ended, value, body)
        return self._ended(events, finish)

    def _read(self, payloads: list[Any]) -> list[Event]:
        events: list[Event] = []
        take, depth, named = self.take, self._limits.depth, self.NAMED
        value: Any = None
        payload = b""
        try:
            for item in payloads:
                if named:
                    self.name, payload = item
                else:
                    payload = item
                if self._template is not None:
                    if (text := self._template.text_in(payload)) is not None:
                        self._record(text)
                        events.append(Text(text))
                        continue
                    self._template = None
                if payload[:6] == _DONE and (finish := self.terminated()) is not None:
                    return self._ended(events, finish)
                count = len(events)
                if not (self.may_be_usual and self.take_usual(payload, events)):
                    try:
                        value = decoded(payload, depth)
                    except ValueError:
                        value = self._second_reading(payload)
                        if value is _NOTHING:
                            continue
                    take(value, events)
                if len(events) == count + 1 and type(events[-1]) is Text:
                    self._learn(payload, events[-1])
        except ENDS as error:
            return self._ended(events, self._end_of(error, value, self.PREFIX + payload))
        return events

    def _learn(self, payload: bytes, piece: Text) -> None:
        """Keep the bytes around the text of a value without other content, if the reader can record further text by itself."""
        self._plain_texts += 1
        if 1 < self._plain_texts <= MAX_TEMPLATES and piece.choice == 0 and (note := self.text_recorder()) is not None:
            self._template, self._record = EventTemplate.of(payload, piece.text, b'"}'), note

    def _second_reading(self, payload: bytes) -> Any:
        """A payload that is not strict JSON. Raises ``Ended``."""
        if self._is_over and self.is_cut(payload):
            raise Ended(self.over("the body ends within a line"))
        if (text := payload.strip())[:6] == _DONE:
            if (finish := self.terminated()) is not None:
                raise Ended(finish)
            return _NOTHING
        try:
            return self._leniently(payload) if text else _NOTHING
        except ValueError as error:
            bad = BadReply(f"a line of the reply cannot be read ({error}): {redact(self.PREFIX + payload)}")
            raise Ended(failed(bad)) from None

    def _leniently(self, payload: bytes) -> Any:
        """A value with half an emoji, or a number that is none. Raises ``ValueError``."""
        if self._lenient is None:
            self._lenient = LenientJSON()
        return self._lenient.decoded(payload, self._limits.depth)

    def _end_of(self, error: Exception, value: Any, payload: bytes) -> Finish:
        """The finish for an exception of ``take``."""
        if isinstance(error, Ended):
            return error.finish
        if isinstance(error, BackendError):
            return failed(error)
        if isinstance(error, TooMany):
            return failed(BadReply(str(error)))
        why = str(error) if isinstance(error, BadShape) else self.SHAPE
        return failed(unreadable(f"{why}: {redact(payload)}", value))

    def _ended(self, events: list[Event], finish: Finish) -> list[Event]:
        self.done = True
        events += self.rest(finish)
        events.append(finish)
        return events

    def empty_body(self, missing: str) -> Finish:
        """The end of a body without any payload; ``missing`` names what it should begin with."""
        head = self._head[:_HEAD_SIZE]
        if not head:
            return truncated("an empty body")
        if any(head.startswith(field) or field.startswith(head) for field in _FIELDS):
            return truncated(missing)
        return failed(BadReply(f"the reply is not in this service's format: {redact(head)}"))

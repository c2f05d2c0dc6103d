"""The half that asks reads the answer: a whole one, and a stream as events or as one JSON array, told apart by its first byte.

Code that the backend ran, and what came of it, are opaque parts, as are calls of its own tools. Images among the thoughts are
passed over.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ...errors import BackendError, BadReply, EmptyReply, redact
from ...events import Event, Finish, Start, Text
from ..faults import Fault, error_of
from ..framing import Events, LineTooLong
from ..json_text import Halves, TooDeep, decoded, encoded
from ..limits import LIMITS, Limits
from ..reading import failed, truncated, two_replies, unreadable
from ..sites.deltas import TooMany
from .array import NoArray, Objects
from .choice import SHAPES, Choice
from .constants import VENDOR, Object
from .errors import fault_of_error
from .metadata import usage_of

_BLANK = b"\xef\xbb\xbf \t\r\n"
"""What may stand before a body."""
_BREAKS = (b"\n\n", b"\n\r\n")
"""What ends an event."""
_SHOWN = 400
"""Bytes of a body's beginning that are kept for the error that shows it."""
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
_USUAL = frozenset(("content", "index"))
_CHUNK = frozenset(("candidates", "usageMetadata", "modelVersion", "responseId", "createTime"))


def read_reply(body: bytes, vendor: str = VENDOR, limits: Limits = LIMITS) -> list[Event]:
    """The events of a whole reply; the last is its ``Finish``. Never raises."""
    try:
        value = _value(body.lstrip(_BLANK), limits.depth)
    except ValueError as error:
        return [failed(BadReply(f"the reply is not JSON that can be read ({error}): {redact(body) or 'it is empty'}"))]
    reading = _Reading(vendor, limits)
    events: list[Event] = []
    for chunk in value if isinstance(value, list) else [value]:
        events += reading.take(chunk)
        if reading.done:
            return events
    return events + reading.end()


def _value(body: bytes, depth: int) -> Any:
    try:
        return decoded(body, depth)
    except TooDeep:
        raise
    except ValueError:
        return Halves().decoded(body, depth)


def read_count(body: bytes, limits: Limits = LIMITS) -> int:
    """How many tokens an ask is. Raises ``BadReply``."""
    try:
        match decoded(body, limits.depth):
            case {"totalTokens": int(tokens)} if not isinstance(tokens, bool):
                return tokens
            case dict(said) if not said.keys() - {"promptTokensDetails"}:
                return 0  # the wire leaves zeros out
    except ValueError:
        pass
    raise BadReply(f"an answer that is no count of tokens: {redact(body)}")


class Reader:
    """The reader of a stream. The wire has no terminator for events: every candidate's reason and the body's end are it."""

    def __init__(self, vendor: str = VENDOR, limits: Limits = LIMITS) -> None:
        self.done = False
        self._limits = limits
        self._reading = _Reading(vendor, limits)
        self._halves = Halves()
        self._begin = b""
        self._objects: Objects | None = None
        self._events: _Events | None = None
        self._between = False
        """A stream of events stands between two of them."""

    def feed(self, data: bytes) -> list[Event]:
        if self.done:
            return []
        if self._between and (payload := self._one_event(data)) is not None:
            return self._read([payload])
        self._between = False
        if self._events is None and self._objects is None:
            data = self._told_apart(data)
        if not self._reading.heard and len(self._begin) < _SHOWN:
            self._begin += data[:_SHOWN]
        try:
            if self._events is not None:
                self._between = data.endswith(_BREAKS)
                return self._read([payload for _, payload in self._events.feed(data)])
            return [] if self._objects is None else self._read(self._objects.feed(data))
        except (LineTooLong, NoArray) as error:
            return self._end([failed(BadReply(f"the reply holds {error}" if isinstance(error, LineTooLong) else str(error)))])

    def end(self) -> list[Event]:
        if self.done:
            return []
        if self._objects is not None:
            why = "" if self._objects.closed else "its JSON is not closed"
            return self._end(self._reading.end(why))
        payloads = [] if self._events is None else [payload for _, payload in self._events.end()]
        if any(not _is_json(payload) for payload in payloads):
            return self._end(self._reading.end("it was cut within a line"))
        events = self._read(payloads)
        return events if self.done else events + self._end(self._last())

    def _last(self) -> list[Event]:
        if self._reading.heard:
            return self._reading.end()
        begin = self._begin
        if not begin:
            return [truncated("an empty body")]
        if any(begin.startswith(field) or field.startswith(begin) for field in _FIELDS):
            return [truncated("no candidate came")]
        return [failed(BadReply(f"an answer that is no stream of this API: {redact(begin)}"))]

    def _one_event(self, data: bytes) -> bytes | None:
        """The payload, where ``data`` is one event of one line: the usual read."""
        end = data.find(b"\n")
        if data[end:] in _BREAKS and data[:6] == b"data: " and end <= self._limits.line and data.find(b"\r", 0, end - 1) < 0:
            return data[6:end]
        return None

    def _told_apart(self, data: bytes) -> bytes:
        body = data.lstrip(_BLANK)
        if body:
            if body[:1] in b"[{":
                self._objects = Objects(self._limits.event)
            else:
                self._events = _Events(self._limits.line, self._limits.event)
        return body

    def _read(self, payloads: list[bytes]) -> list[Event]:
        events: list[Event] = []
        take, depth = self._reading.take, self._limits.depth
        for payload in payloads:
            try:
                value = decoded(payload, depth)
            except ValueError:
                if payload.strip() in (b"", b"[DONE]"):  # of servers that speak other APIs too
                    continue
                try:
                    value = self._halves.decoded(payload, depth)
                except ValueError as error:
                    bad = BadReply(f"a chunk that cannot be read ({error}): {redact(payload)}")
                    return events + self._end([failed(bad)])
            events += take(value)
            if self._reading.done:
                return self._end(events)
        return events

    def _end(self, events: list[Event]) -> list[Event]:
        self.done = True
        return events


def _is_json(payload: bytes) -> bool:
    """Whether it can be read at all, however deep: only then it was not cut."""
    try:
        decoded(payload, len(payload))
    except (ValueError, RecursionError):
        return payload.strip() in (b"", b"[DONE]")
    return True


class _Events(Events):
    """Events, and JSON that stands amid them by itself, as the API tells an error there."""

    __slots__ = ()

    def _events(self, lines: list[bytes]) -> list[tuple[str, bytes]]:
        return super()._events([b"data:" + line if line[:1] in _BARE else line for line in lines])


_BARE = (b"{", b"}", b"[", b"]", b" ", b"\t")
"""How the lines of JSON begin, and no field of an event."""


class _Reading:
    """What was read of one reply so far, chunk by chunk; a whole reply is one chunk."""

    def __init__(self, vendor: str, limits: Limits) -> None:
        self.done = False
        self.heard = False
        self._vendor, self._limits = vendor, limits
        self._choices: dict[int, Choice] = {}
        self._usage: Any = None
        self._id: object = None
        """The ``responseId`` of the latest chunk."""
        self._is_one_id = False
        """Whether two chunks had the same: a server that gives each its own says nothing by a new one."""
        self._plain: Choice | None = None
        """The first candidate, where nothing of it is open that a text would end."""

    def take(self, chunk: Any) -> list[Event]:
        """The events of one chunk. Never raises."""
        try:
            name = chunk.get("responseId")
            if name == self._id:
                self._is_one_id = name is not None
            elif name:
                if self._is_one_id:
                    return self._fail(two_replies())
                self._id = name
            return self._usual(chunk) or self._take(chunk)
        except TooMany as error:
            return self._fail(BadReply(str(error)))
        except SHAPES:
            return self._fail(unreadable(f"a chunk of another shape than this API's: {_seen(chunk)}", chunk))

    def _usual(self, chunk: Any) -> list[Event] | None:
        """The usual chunk, straight: a piece of the first candidate's text and nothing else."""
        plain = self._plain
        if plain is None or not chunk.keys() <= _CHUNK:
            return None
        candidates = chunk.get("candidates")
        if not candidates or len(candidates) != 1 or not candidates[0].keys() <= _USUAL or candidates[0].get("index"):
            return None
        parts = (candidates[0].get("content") or {}).get("parts")
        if not parts or len(parts) != 1 or len(parts[0]) != 1:
            return None
        text = parts[0].get("text")
        if type(text) is not str or not text:
            return None
        self._usage = chunk.get("usageMetadata") or self._usage
        plain.answer.add(text)
        return [Text(text)]

    def _take(self, chunk: Object) -> list[Event]:
        if "error" in chunk:
            return self._fail(error_of(fault_of_error(chunk["error"])))
        events: list[Event] = []
        if not self.heard:
            self.heard = True
            name, model = chunk.get("responseId"), chunk.get("modelVersion")
            if name or model:
                events.append(Start(_text_or_none(name), _text_or_none(model)))
        self._usage = chunk.get("usageMetadata") or self._usage
        candidates = chunk.get("candidates") or ()
        feedback = chunk.get("promptFeedback") or {}
        if not candidates and (feedback.get("blockReason") or feedback.get("blockReasonMessage")):
            return events + self._fail(_blocked(feedback))
        for said in candidates:
            events += self._choice(said, chunk).take(said)
        first = self._choices.get(0)
        self._plain = first if first is not None and first.came and not first.thinking else None
        return events

    def _choice(self, said: Object, chunk: Object) -> Choice:
        index = said.get("index") or 0
        choice = self._choices.get(index)
        if choice is None:
            if type(index) is not int or index < 0 or len(self._choices) >= self._limits.calls:
                raise ValueError("candidates without end")
            self._choices[index] = choice = Choice(index, self._vendor, self._limits, chunk.get("responseId"))
        return choice

    def end(self, broken: str = "") -> list[Event]:
        """The reply is over; ``broken`` says what of it is missing. Never raises."""
        self.done = True
        try:
            return [*self._rest(), self._verdict(broken)]
        except SHAPES:
            return [failed(BadReply("what the reply tells of its sources and tokens has another shape than this API's"))]

    def _verdict(self, broken: str) -> Finish:
        if not self._choices and not broken:
            return failed(EmptyReply("the API answered without a candidate, and gave no reason"))
        if broken or any(choice.reason is None for choice in self._choices.values()):
            return truncated(broken or "no finishReason")
        for choice in self._choices.values():
            if (error := choice.error()) is not None:
                return failed(error)
        reasons = {index: choice.why() for index, choice in sorted(self._choices.items())}
        return Finish("complete", reasons.pop(0, None), others=reasons or None)

    def _rest(self) -> list[Event]:
        rest: list[Event] = [source for _, choice in sorted(self._choices.items()) for source in choice.sources()]
        if self._usage is not None:
            with suppress(*SHAPES):  # counts of any shape cost no words
                rest.append(usage_of(self._usage))
        return rest

    def _fail(self, error: BackendError) -> list[Event]:
        return [*self.end("")[:-1], failed(error)]


def _seen(chunk: Any) -> str:
    try:
        return redact(encoded(chunk))
    except (ValueError, TypeError):
        return redact(str(chunk))


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _blocked(feedback: Object) -> BackendError:
    """The prompt was not answered: nothing of it would be with another try."""
    why = feedback.get("blockReason")
    message = feedback.get("blockReasonMessage")
    said = f"the prompt was blocked{f': {message}' if message else ''}"
    return error_of(Fault(said, "invalid_request", 400, code=why if isinstance(why, str) else None))

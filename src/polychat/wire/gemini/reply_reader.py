"""Client side: reads a whole reply, and a stream of events or of one JSON array; the first byte decides which.

Code that the backend ran, its results, and calls of the backend's own tools are opaque parts. Images in the reasoning are
skipped.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ...errors import BackendError, BadReply, EmptyReply, redact
from ...events import Event, Finish, Start, Text
from ..faults import Fault, error_of
from ..framing import Events
from ..json_text import decoded
from ..limits import LIMITS, ReaderLimits
from ..reading import failed, truncated, two_replies
from ..stream import SHAPES, Framing, StreamReader
from .array import Objects
from .choice import ReplyChoice
from .constants import VENDOR, Object
from .errors import fault_of_error
from .metadata import usage_of

_USUAL = frozenset(("content", "index"))
_CHUNK = frozenset(("candidates", "usageMetadata", "modelVersion", "responseId", "createTime"))


def read_reply(body: bytes, vendor: str = VENDOR, limits: ReaderLimits = LIMITS) -> list[Event]:
    """The events of a whole reply; the last is its ``Finish``. Never raises."""
    return Reader(vendor, limits).read(body)


def read_count(body: bytes, limits: ReaderLimits = LIMITS) -> int:
    """The token count in a response. Raises ``BadReply``."""
    try:
        match decoded(body, limits.depth):
            case {"totalTokens": int(tokens)} if not isinstance(tokens, bool):
                return tokens
            case dict(reply) if not reply.keys() - {"promptTokensDetails"}:
                return 0  # the wire omits zeros
    except ValueError:
        pass
    raise BadReply(f"the reply is not a token count: {redact(body)}")


class _Payloads(Events):
    """The data of events, and bare JSON between them, which is how the API sends an error there."""

    __slots__ = ("_between",)

    def __init__(self, line: int, event: int) -> None:
        super().__init__(line, event)
        self._between = True
        """Whether the input so far ends between two events."""

    def feed(self, data: bytes) -> list[Any]:
        if self._between:  # the usual read is one event of one line
            end = data.find(b"\n")
            is_one = data[end:] in _BREAKS and data[:6] == b"data: " and end <= self._lines.limit
            if is_one and data.find(b"\r", 0, end - 1) < 0:
                return [data[6:end]]
        self._between = data.endswith(_BREAKS)
        return [payload for _, payload in super().feed(data)]

    def end(self) -> list[Any]:
        return [payload for _, payload in super().end()]

    def _events(self, lines: list[bytes]) -> list[tuple[str, bytes]]:
        return super()._events([b"data:" + line if line[:1] in _BARE else line for line in lines])


_BREAKS = (b"\n\n", b"\n\r\n")
"""The ends of an event."""
_BARE = (b"{", b"}", b"[", b"]", b" ", b"\t")
"""Characters at the beginning of lines of JSON, with which no field of an event begins."""


class Reader(StreamReader):
    """The reader. Event streams have no terminator: a finish reason of each candidate and the end of the body are the end."""

    SHAPE = "a chunk that is not in this API's format"

    def __init__(self, vendor: str = VENDOR, limits: ReaderLimits = LIMITS) -> None:
        super().__init__(None, limits)
        self._begun = False
        self._vendor = vendor
        self._choices: dict[int, ReplyChoice] = {}
        self._usage: Any = None
        self._id: object = None
        """The ``responseId`` of the latest chunk."""
        self._is_one_id = False
        """Whether two chunks had the same id: on a server that gives each chunk its own, a new id means nothing."""
        self._plain: ReplyChoice | None = None
        """The first candidate, unless it has something open that a text would end."""

    def framing_for(self, body: bytes) -> Framing:
        is_json = body[:1] in b"[{"
        return Objects(self._limits.event) if is_json else _Payloads(self._limits.line, self._limits.event)

    def take(self, value: Any, events: list[Event]) -> None:
        name = value.get("responseId")
        if name == self._id:
            self._is_one_id = name is not None
        elif name:
            if self._is_one_id:
                raise two_replies()
            self._id = name
        if (text := self._usual(value)) is not None:
            events.append(text)
            return
        if "error" in value:
            raise error_of(fault_of_error(value["error"]))
        if not self._begun:
            self._begun = True
            model = value.get("modelVersion")
            if name or model:
                events.append(Start(_text_or_none(name), _text_or_none(model)))
        self._usage = value.get("usageMetadata") or self._usage
        candidates = value.get("candidates") or ()
        feedback = value.get("promptFeedback") or {}
        if not candidates and (feedback.get("blockReason") or feedback.get("blockReasonMessage")):
            raise _blocked(feedback)
        for candidate in candidates:
            events += self._choice(candidate, value).take(candidate)
        first = self._choices.get(0)
        self._plain = first if first is not None and first.has_content and not first.thinking else None

    def whole(self, value: Any, events: list[Event]) -> Finish:
        for chunk in value if isinstance(value, list) else [value]:
            self.take(chunk, events)
        return self._verdict()

    def over(self, broken: str) -> Finish:
        if broken:
            return truncated(broken)
        if self._begun or isinstance(self._framing, Objects):
            return self._verdict()
        return self.empty_body("no candidate was received") if self.silent else truncated("no candidate was received")

    def rest(self, finish: Finish) -> list[Event]:
        rest: list[Event] = [event for _, choice in sorted(self._choices.items()) for event in choice.unfinished()]
        rest += [source for _, choice in sorted(self._choices.items()) for source in choice.sources()]
        if self._usage is not None:
            with suppress(*SHAPES):  # counts of an unknown shape must not cost the answer
                rest.append(usage_of(self._usage))
        return rest

    def _usual(self, chunk: Any) -> Text | None:
        """The usual chunk, on a short path: a piece of the first candidate's text and nothing else."""
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
        return Text(text)

    def _choice(self, candidate: Object, chunk: Object) -> ReplyChoice:
        index = candidate.get("index") or 0
        choice = self._choices.get(index)
        if choice is None:
            if type(index) is not int or index < 0 or len(self._choices) >= self._limits.calls:
                raise ValueError("candidates without end")
            self._choices[index] = choice = ReplyChoice(index, self._vendor, self._limits, chunk.get("responseId"))
        return choice

    def _verdict(self) -> Finish:
        if not self._choices:
            return failed(EmptyReply("the API returned no candidate and no reason"))
        if any(choice.reason is None for choice in self._choices.values()):
            return truncated("no finishReason")
        for choice in self._choices.values():
            if (error := choice.error()) is not None:
                return failed(error)
        reasons = {index: choice.why() for index, choice in sorted(self._choices.items())}
        return Finish("complete", reasons.pop(0, None), others=reasons or None)


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _blocked(feedback: Object) -> BackendError:
    """The prompt was blocked: retrying would not help."""
    why = feedback.get("blockReason")
    message = feedback.get("blockReasonMessage")
    text = f"the prompt was blocked{f': {message}' if message else ''}"
    return error_of(Fault(text, "invalid_request", 400, code=why if isinstance(why, str) else None))

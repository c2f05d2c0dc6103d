"""Server side: a reply's events as one response, or as a stream of responses, in events or in one JSON array.

The wire has no partial calls: a call is written when the reply is complete. It has no refusals: they are written as text.
"""

from __future__ import annotations

from base64 import b64encode

from ...errors import BadReply, PolychatError, Truncated, redact
from ...events import Citation, Event, Finish, Logprobs, Media, Reasoning, Refusal, Text, ToolCallPiece, Usage
from ...types import ChatRequest, Opaque, ReasoningPart
from ..contract import Writer
from ..faults import Fault, fault_of
from ..framing import MAX_LINE
from ..json_text import encoded
from ..sites.deltas import arguments_of, is_finished
from .constants import VENDOR, WRITTEN, Object, carrying, signature_of
from .errors import error_value, write_fault
from .message_writer import object_in
from .metadata import AnswerText, grounding_value, logprobs_value, usage_value


def writer(
    request: ChatRequest,
    id: str,  # noqa: A002  # the protocol's name
    created: int,
    model: str | None = None,
    *,
    array: bool = False,
) -> Writer:
    """The writer of the answer to ``request``. ``array``: stream as a JSON array, for a path without ``alt=sse``.

    The wire has no timestamp: ``created`` is ignored.
    """
    about = {"modelVersion": request.model if model is None else model, "responseId": id}
    return StreamWriter(about, array=array) if request.stream else WholeWriter(about)


def write_count(tokens: int) -> bytes:
    """The response of countTokens."""
    return encoded({"totalTokens": tokens})


class _Candidate:
    """The parts of one candidate so far, and those that are written at its end."""

    __slots__ = ("answer", "blocks", "calls", "foreign", "logprobs", "parts", "sources", "thought")

    def __init__(self) -> None:
        self.parts: list[Object] = []
        """Parts since the last chunk."""
        self.calls: dict[int, _Call] = {}
        self.blocks: set[int] = set()
        """The reasoning blocks that have text."""
        self.thought: list[str] = []
        """The text of the current thoughts, until their signature arrives."""
        self.foreign: list[ReasoningPart] = []
        """Thoughts that another vendor signed."""
        self.answer = AnswerText(MAX_LINE)
        self.sources: list[Citation] = []
        self.logprobs: list[Object] = []

    def take(self, event: Event) -> None:
        match event:
            case Text() | Refusal():
                self.answer.add(event.text)
                self.parts.append({"text": event.text})
            case Reasoning():
                self._think(event)
            case ToolCallPiece():
                self.calls.setdefault(event.index, _Call(event.index)).take(event)
            case Media():
                data = {"mimeType": event.media_type, "data": b64encode(event.data).decode()}
                self.parts.append({"inlineData": data})
            case Citation():
                self.sources.append(event)
            case Logprobs():
                self.logprobs += event.tokens

    def _think(self, event: Reasoning) -> None:
        opaque = event.opaque
        if opaque is not None and opaque.redacted and opaque.vendor == VENDOR and (whole := object_in(opaque.data)):
            self.parts.append(whole)
            return
        part: Object = {"text": event.text}
        if event.text:
            self.blocks.add(event.block)
            self.thought.append(event.text)
        if event.block in self.blocks:
            part["thought"] = True
        if opaque is not None:
            part["thoughtSignature"] = signature_of(opaque)
            if opaque.vendor != VENDOR:
                self.foreign.append(ReasoningPart("".join(self.thought), opaque))
            self.thought.clear()
        self.parts.append(part)

    def candidate(self, index: int) -> Object:
        """The parts since the last call; empty if there are none."""
        if not self.parts and not self.logprobs:
            return {}
        # Without a part the official client's chat takes the whole answer for invalid, and discards it.
        candidate: Object = {"content": {"parts": _joined(self.parts) or [{"text": ""}], "role": "model"}}
        if self.logprobs:
            candidate["logprobsResult"] = logprobs_value(self.logprobs)
        self.parts, self.logprobs = [], []
        return {**candidate, "index": index}

    def last(self, index: int, reason: str | None) -> Object:
        """The remaining parts, with the finish reason. Raises ``BadReply`` for a call whose arguments are no object.

        A call that was cut in an unfinished reply is omitted: this API sends only complete ones.
        """
        finished = is_finished(reason)
        calls = [call for _, call in sorted(self.calls.items()) if finished or call.is_whole()]
        if calls and self.foreign:
            calls[0].carry(self.foreign)
        self.parts += [call.part() for call in calls] or ([] if self.parts else [{"text": ""}])
        candidate = self.candidate(index)
        candidate["finishReason"] = WRITTEN.get(reason or "stop", "OTHER")
        if self.sources:
            candidate["groundingMetadata"] = grounding_value(self.sources, self.answer)
        return candidate


def _one_line(data: bytes) -> bytes:
    """JSON with U+2028, U+2029 and U+0085 escaped, at which some clients split lines."""
    if data.isascii():
        return data
    return data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029").replace(b"\xc2\x85", b"\\u0085")


def _joined(parts: list[Object]) -> list[Object]:
    """Pieces of one text, and of one block of thoughts, as one part."""
    joined: list[tuple[Object, list[str]]] = []
    for part in parts:
        last = joined[-1][0].keys() if joined else None
        texts = [part["text"]] if "text" in part else []
        if last == {"text"} == part.keys() or (last == {"text", "thought"} and "thought" in part):
            _, before = joined.pop()
            before += texts
            texts = before
        joined.append((part, texts))
    return [part if len(texts) < 2 else {**part, "text": "".join(texts)} for part, texts in joined]


class _Call:
    __slots__ = ("_arguments", "_id", "_name", "_opaque", "_signature")

    def __init__(self, index: int) -> None:
        self._id = f"call_{index}"
        self._name = ""
        self._arguments: list[str] = []
        self._opaque: Opaque | None = None
        self._signature: str | None = None

    def take(self, piece: ToolCallPiece) -> None:
        self._id = piece.id or self._id
        self._name = piece.name or self._name
        self._arguments.append(piece.arguments)
        if piece.opaque is not None:
            self._opaque = piece.opaque
            self._signature = signature_of(piece.opaque)

    def carry(self, thoughts: list[ReasoningPart]) -> None:
        """Add other vendors' thoughts to the signature; this vendor's own signature is not changed."""
        if self._opaque is None or self._opaque.vendor != VENDOR:
            self._signature = carrying(thoughts, self._opaque)

    def is_whole(self) -> bool:
        """Whether nothing is known to be missing."""
        return bool(self._name) and arguments_of("".join(self._arguments)) is not None

    def part(self) -> Object:
        call: Object = {"id": self._id, "name": self._name}
        text = "".join(self._arguments)
        if text.strip():
            call["args"] = arguments_of(text)
            if call["args"] is None:
                raise BadReply(f"the arguments for the tool {redact(self._name, 60)} are not a JSON object")
        return (
            {"functionCall": call} if self._signature is None else {"functionCall": call, "thoughtSignature": self._signature}
        )


class _Choices:
    """The candidates of an answer."""

    def __init__(self, about: Object) -> None:
        self.about = about
        self.usage: Usage | None = None
        self.candidates: dict[int, _Candidate] = {}

    def of(self, choice: int) -> _Candidate:
        return self.candidates.setdefault(choice, _Candidate())

    def take(self, event: Event) -> None:
        if isinstance(event, Usage):
            self.usage = event
        elif not isinstance(event, Finish) and hasattr(event, "choice"):
            self.of(event.choice).take(event)

    def response(self, candidates: list[Object]) -> Object:
        usage = {} if self.usage is None else {"usageMetadata": usage_value(self.usage)}
        return {"candidates": candidates, **usage, **self.about}

    def finished(self, finish: Finish) -> Object:
        """The last response. Raises the error of a failed reply, and ``BadReply``."""
        if finish.verdict != "complete":
            raise finish.error or Truncated("the reply ended early")
        reasons = {0: finish.reason, **(finish.others or {})}
        for index in self.candidates:
            reasons.setdefault(index, None)
        return self.response([self.of(index).last(index, reason) for index, reason in sorted(reasons.items())])


class WholeWriter:
    """One response, written at the end, so that a failure can set its status."""

    def __init__(self, about: Object) -> None:
        self.streams = False
        self.status = 200
        self.content_type = "application/json; charset=UTF-8"
        self.headers: list[tuple[str, str]] = []
        self._choices = _Choices(about)
        self._finish = Finish("truncated")

    def write(self, events: list[Event]) -> bytes:
        """Nothing yet."""
        for event in events:
            if isinstance(event, Finish):
                self._finish = event
            else:
                self._choices.take(event)
        return b""

    def end(self) -> bytes:
        """The body; sets the status."""
        try:
            return encoded(self._choices.finished(self._finish))
        except PolychatError as error:
            fault = fault_of(error)
        self.status = fault.status
        if fault.retry_after is not None:
            self.headers.append(("retry-after", f"{fault.retry_after:.0f}"))
        return write_fault(fault)


class StreamWriter:
    """A response for each piece; the last has the finish reasons."""

    def __init__(self, about: Object, *, array: bool) -> None:
        self.streams = True
        self.status = 200
        self.content_type = "application/json; charset=UTF-8" if array else "text/event-stream"
        self.headers: list[tuple[str, str]] = [] if array else [("cache-control", "no-cache")]
        self._open, self._close = (b",\r\n", b"") if array else (b"data: ", b"\r\n\r\n")
        self._first: bytes | None = b"[" if array else None
        """The separator before the first response, in place of the usual one."""
        self._array = array
        self._done = False
        self._choices = _Choices(about)
        self._tail = b'}],"role":"model"},"index":%d}],' + encoded(about)[1:].replace(b"%", b"%%") + self._close
        self._ends: dict[int, bytes] = {}

    def write(self, events: list[Event]) -> bytes:
        """The bytes of these events, ``b""`` if none yet."""
        out: list[bytes] = []
        for event in events:
            if type(event) is Text:
                out.append(self._text(event))
            elif isinstance(event, Finish):
                out.append(self._finish(event))
            else:
                self._choices.take(event)
                choice = getattr(event, "choice", None)
                if choice is not None and (candidate := self._choices.of(choice).candidate(choice)):
                    out.append(self._framed({"candidates": [candidate], **self._choices.about}))
        return b"".join(out)

    def end(self) -> bytes:
        """The end of the body; an answer without a ``Finish`` ends with an error."""
        rest = b"" if self._done else self._finish(Finish("truncated"))
        return rest + b"]" if self._array else rest

    def _text(self, event: Text) -> bytes:
        choice = event.choice
        self._choices.of(choice).answer.add(event.text)
        tail = self._ends.get(choice)
        if tail is None:
            tail = self._ends[choice] = self._tail % choice
        return self._begin() + b'{"candidates":[{"content":{"parts":[{"text":' + _one_line(encoded(event.text)) + tail

    def _begin(self) -> bytes:
        if self._first is None:
            return self._open
        first, self._first = self._first, None
        return first

    def _framed(self, value: Object) -> bytes:
        return self._begin() + _one_line(encoded(value)) + self._close

    def _finish(self, finish: Finish) -> bytes:
        self._done = True
        try:
            return self._framed(self._choices.finished(finish))
        except PolychatError as error:
            fault: Fault = fault_of(error)
        # Bare JSON, as the API sends it: Google's JavaScript client ignores an error in a ``data:`` line.
        return self._framed(error_value(fault)) if self._array else encoded(error_value(fault)) + b"\r\n"

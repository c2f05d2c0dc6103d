"""The half that answers: events as lines of JSON, or as one object."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ...errors import BadReply, PolychatError, Truncated, redact
from ...events import Event, Finish, Logprobs, Media, Reasoning, Refusal, Text, ToolCallPiece, Usage
from ...types import ChatRequest, Opaque
from ..contract import Writer
from ..faults import fault_of
from ..json_text import encoded
from ..reading import nearest
from ..sites.deltas import arguments_of, is_finished
from ..tags import tagged
from .constants import CALL_SIGNATURE, THOUGHT_SIGNATURE, VENDOR
from .errors import error_value, write_fault

Object = dict[str, Any]


def writer(request: ChatRequest, id: str, created: int, model: str | None = None) -> Writer:  # noqa: A002  # the wires' own word
    """What writes the answer to ``request`` as ``/api/chat`` does. This wire has no place for ``id``."""
    return _writer(request, created, model, Chat())


def generate_writer(request: ChatRequest, id: str, created: int, model: str | None = None) -> Writer:  # noqa: A002
    """The same as ``/api/generate`` does."""
    return _writer(request, created, model, Generate())


def _writer(request: ChatRequest, created: int, model: str | None, shape: Chat | Generate) -> Writer:
    moment = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    frame = {"model": request.model if model is None else model, "created_at": moment}
    return Chunks(frame, shape) if request.stream else Whole(frame, shape)


class Chat:
    """What is said, in a message."""

    def around(self, text: bytes) -> bytes:
        return b'"message":{"role":"assistant","content":' + text + b"}"

    def said(self, what: Object) -> Object:
        # Beside the message: Ollama's Python client fails at a message that holds them.
        images = {"images": what["images"]} if "images" in what else {}
        rest = {name: value for name, value in what.items() if name != "images"}
        return {"message": {"role": "assistant", "content": "", **rest}, **images}


class Generate:
    """What is said, among the line's own fields."""

    def around(self, text: bytes) -> bytes:
        return b'"response":' + text

    def said(self, what: Object) -> Object:
        rest = {name: value for name, value in what.items() if name not in ("content", "images")}
        image = {"image": what["images"][0]} if what.get("images") else {}
        return {"response": what.get("content", ""), **rest, **image}


class _Calls:
    """The calls of an answer, put together: this wire writes each whole, its arguments as an object."""

    def __init__(self) -> None:
        self._calls: dict[int, Object] = {}
        self._arguments: dict[int, list[str]] = {}

    def add(self, piece: ToolCallPiece) -> None:
        call = self._calls.setdefault(piece.index, {"id": "", "function": {"index": piece.index, "name": "", "arguments": {}}})
        call["id"] = piece.id or call["id"]
        call["function"]["name"] = piece.name or call["function"]["name"]
        self._arguments.setdefault(piece.index, []).append(piece.arguments)
        if piece.opaque is not None:
            call[CALL_SIGNATURE] = tagged(piece.opaque, VENDOR)

    def written(self, reason: str | None) -> list[Object]:
        """Raises ``BadReply`` for arguments that are no object.

        A call that was cut in a reply whose ``reason`` says that it is unfinished is left out: a server tells whole ones only.
        """
        written = []
        for index in sorted(self._calls):
            call, text = self._calls[index], "".join(self._arguments[index])
            name, value = call["function"]["name"], arguments_of(text)
            if value is None and is_finished(reason):
                raise BadReply(f"the arguments for the tool {redact(name, 60)} are not a JSON object: {redact(text)}")
            if value is not None and (name or is_finished(reason)):
                call["function"]["arguments"] = value
                written.append(call)
        return written


def _of(event: Event) -> Object:
    """What one piece is in a message; a refusal is text here; sources and sound have no place."""
    match event:
        case Text() | Refusal():
            return {"content": event.text}
        case Reasoning():
            return _thought(event.text, event.opaque)
        case Media() if event.media_type.startswith("image/"):
            return {"images": [b64encode(event.data).decode()]}
    return {}


def _thought(text: str, opaque: Opaque | None) -> Object:
    return {"thinking": text} if opaque is None else {"thinking": text, THOUGHT_SIGNATURE: tagged(opaque, VENDOR)}


def _ending(finish: Finish, usage: Usage | None, durations: dict[str, int]) -> Object:
    """What the last line says beside the message. Calls end with a plain stop on this wire."""
    reason = "stop" if finish.reason in (None, "tool_calls") else nearest(finish.reason)
    counts = {} if usage is None else {"prompt_eval_count": usage.prompt_tokens, "eval_count": usage.completion_tokens}
    known = {name: count for name, count in {**durations, **counts}.items() if count is not None}
    return {"done": True, "done_reason": reason, **known}


def _line_of(value: Any) -> bytes:
    """JSON in which no reader of lines finds an end of one: some cut at these three letters too."""
    written = encoded(value)
    if written.isascii():
        return written
    for letter, escaped in _LINE_ENDS:
        if letter in written:
            written = written.replace(letter, escaped)
    return written


_LINE_ENDS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))
"""In UTF-8 these bytes stand for nothing else."""


def _measured(writer: Chunks | Whole) -> dict[str, int]:
    return writer.durations if writer.measure is None else {**writer.measure(), **writer.durations}


def _error(finish: Finish | None) -> PolychatError:
    return finish.error if finish is not None and finish.error is not None else Truncated("the answer was cut")


class Chunks:
    """A streamed answer. A failure is a line with ``error`` in place of the end: none says ``done`` then."""

    streams = True
    status = 200
    content_type = "application/x-ndjson"

    def __init__(self, frame: Object, shape: Chat | Generate) -> None:
        self.headers: list[tuple[str, str]] = [("cache-control", "no-cache")]
        self.durations: dict[str, int] = {}
        """Nanoseconds by the wire's names, for the last line, where whoever measures them sets them before the ``Finish``."""
        self.measure: Callable[[], dict[str, int]] | None = None
        """Gives them, asked for when the last line is written."""
        self._frame, self._shape = frame, shape
        around, mark = shape.around(b"\0"), b"\0"
        before, _, behind = around.partition(mark)
        self._head = encoded(frame)[:-1] + b"," + before
        self._tail = behind + b',"done":false}\n'
        self._calls = _Calls()
        self._usage: Usage | None = None

    def write(self, events: list[Event]) -> bytes:
        written: list[bytes] = []
        for event in events:
            if type(event) is Text and event.choice == 0:
                written += (self._head, _line_of(event.text), self._tail)
            elif not getattr(event, "choice", 0):  # of several answers this wire tells the first
                written.append(self._write(event))
        return b"".join(written)

    def end(self) -> bytes:
        return b""

    def _write(self, event: Event) -> bytes:
        match event:
            case Usage():
                self._usage = event
            case ToolCallPiece():
                self._calls.add(event)
            case Logprobs():
                return self._line({}, {"done": False, "logprobs": event.tokens})
            case Finish():
                return self._finish(event)
            case _:
                return self._line(said, {"done": False}) if (said := _of(event)) else b""
        return b""

    def _line(self, said: Object, beside: Object) -> bytes:
        return _line_of({**self._frame, **self._shape.said(said), **beside}) + b"\n"

    def _finish(self, finish: Finish) -> bytes:
        try:
            if finish.verdict != "complete":
                raise _error(finish)
            calls = self._calls.written(finish.reason)
        except PolychatError as error:
            return _line_of(error_value(fault_of(error))) + b"\n"
        called = self._line({"tool_calls": calls}, {"done": False}) if calls else b""
        return called + self._line({}, _ending(finish, self._usage, _measured(self)))


class Whole:
    """An answer in one object, which is made at its end."""

    streams = False
    status = 200
    content_type = "application/json; charset=utf-8"

    def __init__(self, frame: Object, shape: Chat | Generate) -> None:
        self.headers: list[tuple[str, str]] = []
        self.durations: dict[str, int] = {}
        """As of ``Chunks``."""
        self.measure: Callable[[], dict[str, int]] | None = None
        self._frame, self._shape = frame, shape
        self._texts: list[str] = []
        self._thoughts: list[Reasoning] = []
        self._images: list[str] = []
        self._logprobs: list[Object] = []
        self._calls = _Calls()
        self._usage: Usage | None = None
        self._finish: Finish | None = None

    def write(self, events: list[Event]) -> bytes:
        for event in events:
            if getattr(event, "choice", 0):
                continue
            match event:
                case Text() | Refusal():
                    self._texts.append(event.text)
                case Reasoning():
                    self._thoughts.append(event)
                case ToolCallPiece():
                    self._calls.add(event)
                case Media() if event.media_type.startswith("image/"):
                    self._images.append(b64encode(event.data).decode())
                case Logprobs():
                    self._logprobs += event.tokens
                case Usage():
                    self._usage = event
                case Finish():
                    self._finish = event
        return b""

    def end(self) -> bytes:
        finish = self._finish
        try:
            if finish is None or finish.verdict != "complete":
                raise _error(finish)
            said = self._said(finish.reason)
        except PolychatError as error:
            fault = fault_of(error)
            self.status = fault.status
            return write_fault(fault)
        beside = _ending(finish, self._usage, _measured(self)) | ({"logprobs": self._logprobs} if self._logprobs else {})
        return encoded({**self._frame, **self._shape.said(said), **beside})

    def _said(self, reason: str | None) -> Object:
        said: Object = {"content": "".join(self._texts)}
        if self._thoughts:
            said |= self._thought()
        if self._images:
            said["images"] = self._images
        if calls := self._calls.written(reason):
            said["tool_calls"] = calls
        return said

    def _thought(self) -> Object:
        """All thoughts as one; with a signature where there was but one, for it holds for no other text."""
        text = "".join(thought.text for thought in self._thoughts)
        single = len({thought.block for thought in self._thoughts}) == 1
        opaque = next((thought.opaque for thought in self._thoughts if thought.opaque is not None), None)
        return _thought(text, opaque if single else None)

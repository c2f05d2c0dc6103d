"""Server side: events as lines of JSON, or as one object."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ...errors import BadReply, PolychatError, Truncated, redact
from ...events import Event, Finish, Logprobs, Media, Reasoning, Refusal, Text, ToolCallPiece, Usage
from ...types import ChatRequest, Opaque, ToolCall
from ..assembly import AssembledMessage, AssembledReply
from ..contract import Writer
from ..faults import fault_of
from ..json_text import encoded
from ..reading import nearest
from ..sites.deltas import arguments_of, is_finished
from ..tags import tagged
from .constants import CALL_SIGNATURE, REASONING_SIGNATURE, VENDOR
from .errors import error_value, write_fault

Object = dict[str, Any]


def writer(request: ChatRequest, id: str, created: int, model: str | None = None) -> Writer:  # noqa: A002  # the wires' name
    """The writer of the answer to ``request`` as ``/api/chat`` has it. This wire has no ``id``."""
    return _writer(request, created, model, ChatForm())


def generate_writer(request: ChatRequest, id: str, created: int, model: str | None = None) -> Writer:  # noqa: A002
    """The writer of the answer to ``request`` as ``/api/generate`` has it."""
    return _writer(request, created, model, GenerateForm())


def _writer(request: ChatRequest, created: int, model: str | None, shape: ChatForm | GenerateForm) -> Writer:
    moment = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    frame = {"model": request.model if model is None else model, "created_at": moment}
    return StreamWriter(frame, shape) if request.stream else WholeWriter(frame, shape)


class ChatForm:
    """The text is in a message."""

    def around(self, text: bytes) -> bytes:
        return b'"message":{"role":"assistant","content":' + text + b"}"

    def members(self, fields: Object) -> Object:
        # Beside the message: Ollama's Python client rejects a message that contains them.
        images = {"images": fields["images"]} if "images" in fields else {}
        rest = {name: value for name, value in fields.items() if name != "images"}
        return {"message": {"role": "assistant", "content": "", **rest}, **images}


class GenerateForm:
    """The text is in fields of the line."""

    def around(self, text: bytes) -> bytes:
        return b'"response":' + text

    def members(self, fields: Object) -> Object:
        rest = {name: value for name, value in fields.items() if name not in ("content", "images")}
        image = {"image": fields["images"][0]} if fields.get("images") else {}
        return {"response": fields.get("content", ""), **rest, **image}


def _calls(calls: list[ToolCall], reason: str | None) -> list[Object]:
    """The calls of an answer: this wire has only complete ones, with an object as arguments. Raises ``BadReply`` for others.

    A call that was cut in a reply whose ``reason`` marks it as unfinished is omitted.
    """
    written: list[Object] = []
    for index, call in enumerate(calls):
        arguments = arguments_of(call.arguments)
        if arguments is None and is_finished(reason):
            tool, text = redact(call.name, 60), redact(call.arguments)
            raise BadReply(f"the arguments for the tool {tool} are not a JSON object: {text}")
        if arguments is not None and (call.name or is_finished(reason)):
            signature = {} if call.opaque is None else {CALL_SIGNATURE: tagged(call.opaque, VENDOR)}
            function = {"index": index, "name": call.name, "arguments": arguments}
            written.append({"id": call.id, "function": function, **signature})
    return written


def _of(event: Event) -> Object:
    """The members of a message for one piece; a refusal is text here; the wire has no citations and no audio."""
    match event:
        case Text() | Refusal():
            return {"content": event.text}
        case Reasoning():
            return _reasoning(event.text, event.opaque)
        case Media() if event.media_type.startswith("image/"):
            return {"images": [b64encode(event.data).decode()]}
    return {}


def _reasoning(text: str, opaque: Opaque | None) -> Object:
    return {"thinking": text} if opaque is None else {"thinking": text, REASONING_SIGNATURE: tagged(opaque, VENDOR)}


def _ending(finish: Finish, usage: Usage | None, durations: dict[str, int]) -> Object:
    """The members of the last line besides the message. Replies with calls end with a plain stop on this wire."""
    reason = "stop" if finish.reason in (None, "tool_calls") else nearest(finish.reason)
    counts = {} if usage is None else {"prompt_eval_count": usage.prompt_tokens, "eval_count": usage.completion_tokens}
    numbers = {name: count for name, count in {**durations, **counts}.items() if count is not None}
    return {"done": True, "done_reason": reason, **numbers}


def _line_of(value: Any) -> bytes:
    """JSON without U+2028, U+2029 and U+0085, at which some clients split lines."""
    written = encoded(value)
    if written.isascii():
        return written
    for letter, escaped in _LINE_ENDS:
        if letter in written:
            written = written.replace(letter, escaped)
    return written


_LINE_ENDS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))
"""In UTF-8 these byte sequences have no other meaning."""


def _measured(writer: StreamWriter | WholeWriter) -> dict[str, int]:
    return writer.durations if writer.measure is None else {**writer.measure(), **writer.durations}


def _error(finish: Finish | None) -> PolychatError:
    return finish.error if finish is not None and finish.error is not None else Truncated("the answer was cut")


class StreamWriter:
    """A streamed answer. A failure is a line with ``error`` in place of the last one; no line has ``done`` then."""

    streams = True
    status = 200
    content_type = "application/x-ndjson"

    def __init__(self, frame: Object, shape: ChatForm | GenerateForm) -> None:
        self.headers: list[tuple[str, str]] = [("cache-control", "no-cache")]
        self.durations: dict[str, int] = {}
        """Nanoseconds by the wire's names, for the last line; the caller sets them before the ``Finish``."""
        self.measure: Callable[[], dict[str, int]] | None = None
        """Returns the durations when the last line is written."""
        self._frame, self._shape = frame, shape
        around, mark = shape.around(b"\0"), b"\0"
        before, _, after = around.partition(mark)
        self._head = encoded(frame)[:-1] + b"," + before
        self._tail = after + b',"done":false}\n'
        self._calls = AssembledMessage()
        self._usage: Usage | None = None

    def write(self, events: list[Event]) -> bytes:
        written: list[bytes] = []
        for event in events:
            if type(event) is Text and event.choice == 0:
                written += (self._head, _line_of(event.text), self._tail)
            elif not getattr(event, "choice", 0):  # this wire has only one answer
                written.append(self._write(event))
        return b"".join(written)

    def end(self) -> bytes:
        return b""

    def _write(self, event: Event) -> bytes:
        match event:
            case Usage():
                self._usage = event
            case ToolCallPiece():
                self._calls.take(event)
            case Logprobs():
                return self._line({}, {"done": False, "logprobs": event.tokens})
            case Finish():
                return self._finish(event)
            case _:
                return self._line(message, {"done": False}) if (message := _of(event)) else b""
        return b""

    def _line(self, message: Object, more: Object) -> bytes:
        return _line_of({**self._frame, **self._shape.members(message), **more}) + b"\n"

    def _finish(self, finish: Finish) -> bytes:
        try:
            if finish.verdict != "complete":
                raise _error(finish)
            calls = _calls(self._calls.calls, finish.reason)
        except PolychatError as error:
            return _line_of(error_value(fault_of(error))) + b"\n"
        called = self._line({"tool_calls": calls}, {"done": False}) if calls else b""
        return called + self._line({}, _ending(finish, self._usage, _measured(self)))


class WholeWriter:
    """An answer in one object, written at the end."""

    streams = False
    status = 200
    content_type = "application/json; charset=utf-8"

    def __init__(self, frame: Object, shape: ChatForm | GenerateForm) -> None:
        self.headers: list[tuple[str, str]] = []
        self.durations: dict[str, int] = {}
        """See ``StreamWriter.durations``."""
        self.measure: Callable[[], dict[str, int]] | None = None
        self._frame, self._shape = frame, shape
        self._reply = AssembledReply()

    def write(self, events: list[Event]) -> bytes:
        for event in events:
            self._reply.take(event)
        return b""

    def end(self) -> bytes:
        finish, logprobs = self._reply.finish, self._reply.first.logprobs
        try:
            if finish is None or finish.verdict != "complete":
                raise _error(finish)
            message = _message(self._reply.first, finish.reason)
        except PolychatError as error:
            fault = fault_of(error)
            self.status = fault.status
            return write_fault(fault)
        more = _ending(finish, self._reply.usage, _measured(self)) | ({"logprobs": logprobs} if logprobs else {})
        return encoded({**self._frame, **self._shape.members(message), **more})


def _message(answer: AssembledMessage, reason: str | None) -> Object:
    """A complete answer; a refusal is text here. Raises ``BadReply`` for a call whose arguments are no object."""
    message: Object = {"content": answer.text_with_refusal}
    if thoughts := answer.thoughts:
        # All reasoning as one text; with a signature only if there was one block, because it is valid for that text alone.
        opaque = thoughts[0].opaque if len(thoughts) == 1 else None
        message |= _reasoning("".join(thought.text for thought in thoughts), opaque)
    if images := [b64encode(image.data).decode() for image in answer.media if image.media_type.startswith("image/")]:
        message["images"] = images
    if calls := _calls(answer.calls, reason):
        message["tool_calls"] = calls
    return message

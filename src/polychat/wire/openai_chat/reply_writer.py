"""Server side: events as a reply, whole or streamed."""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from math import ceil
from typing import Any

from ...errors import Truncated
from ...events import Citation, Event, Finish, Logprobs, Media, Reasoning, Refusal, Start, Text, ToolCallPiece, Usage
from ...types import ChatRequest, ToolCall
from ...values import mypyc_attr
from ..assembly import AssembledMessage, AssembledReply
from ..checks import data_url
from ..contract import TextStream, Writer
from ..faults import Fault, fault_of
from ..framing import data_line
from ..json_text import encoded, escaped
from ..plain_reply import PlainReply
from ..reading import nearest
from ..sites.deltas import is_finished
from ..tags import tagged
from .constants import VENDOR
from .errors import error_object, write_fault
from .message_writer import signature_of
from .reasoning import ReasoningWriter, message_fields
from .usage import usage_object, usage_text

Object = dict[str, Any]

_ENDS = {"refusal": "content_filter", "pause": "length"}
"""What to write for ends that this wire has no name for: after a pause too, clients are made to continue."""


def writer(request: ChatRequest, id: str, created: int, model: str | None = None) -> Writer:  # noqa: A002  # the wire's name
    """The writer of the answer to ``request``: chunks if it asked for a stream, otherwise one object."""
    head = (f"chatcmpl-{id}", created, request.model if model is None else model)
    if request.stream:
        return StreamWriter(*head, usage=bool(request.stream_usage))
    return ChatWriter(id, created, head[2])


_TEXT = b'{"index":0,"delta":{"content":'
"""The beginning of the choice of a chunk that is a text of the first answer."""
_OPENED = b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
"""The choice of the chunk that opens the first answer."""
_DONE = b"data: [DONE]\n\n"
_BEFORE = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":['
"""What is before a chunk's choice."""
_AFTER, _AFTER_IF_COUNTED = b"]}\n\n", b'],"usage":null}\n\n'
"""What is after it; the second in a stream that ends with its counts."""
_TAIL = b'},"logprobs":null,"finish_reason":null}'
"""The end of the choice of such a text."""
_COUNTS, _COUNTED = b'],"usage":', b"}\n\n"
"""What is around the counts in a chunk without a choice."""


class StreamWriter:
    """A streamed answer. A failure is an error in place of the end: there is no ``[DONE]`` then."""

    streams = True
    status = 200
    content_type = "text/event-stream"

    def __init__(self, id: str, created: int, model: str, *, usage: bool) -> None:  # noqa: A002
        self.headers: list[tuple[str, str]] = [("cache-control", "no-cache")]
        self._before = _BEFORE % (encoded(id), created, encoded(model))
        self._after = _AFTER_IF_COUNTED if usage else _AFTER
        """What is before and after a chunk's choice."""
        self._tail = _TAIL + self._after
        self._wants_usage = usage
        self._usage: Usage | None = None
        self._begun: set[int] = set()
        self._called: dict[int, set[int]] = {}
        """By choice, the calls that have no arguments yet."""
        self._citation_counts: dict[int, int] = {}
        """By choice, its number of annotations."""
        self._images: dict[int, int] = {}
        self._reasoning: dict[int, ReasoningWriter] = {}

    def write(self, events: list[Event]) -> bytes:
        written: list[bytes] = []
        for event in events:
            if type(event) is Text and event.choice == 0:
                if 0 not in self._begun:
                    written.append(self._opened(0))
                written += (self._before, _TEXT, encoded(event.text), self._tail)
            elif type(event) is Usage:
                self._usage = event
            elif type(event) is Finish:
                written.append(self._finish(event))
            elif type(event) is not Start:
                written.append(self._piece(event))
        return b"".join(written)

    def text_piece(self, text: str) -> bytes:
        """See ``WritesTextPieces``."""
        if 0 not in self._begun:
            return self.write([Text(text)])
        return b"".join((self._before, _TEXT, encoded(text), self._tail))

    def end(self) -> bytes:
        return b""

    def _piece(self, event: Any) -> bytes:
        return self._opened(event.choice) + self._content(event)

    def _opened(self, choice: int) -> bytes:
        if choice in self._begun:
            return b""
        self._begun.add(choice)
        if choice == 0:
            return b"%b%b%b" % (self._before, _OPENED, self._after)
        return self._chunk({"role": "assistant", "content": ""}, choice)

    def _content(self, event: Any) -> bytes:
        match event:
            case Logprobs():
                return self._chunk({}, event.choice, logprobs={"content": event.tokens, "refusal": None})
            case Reasoning():
                deltas = self._reasoning.setdefault(event.choice, ReasoningWriter()).deltas(event)
                return b"".join(self._chunk(delta, event.choice) for delta in deltas)
            case ToolCallPiece():
                bare = self._called.setdefault(event.choice, set())
                if event.arguments or event.kind != "function":
                    bare.discard(event.index)
                elif event.id is not None:
                    bare.add(event.index)
            case Citation():
                place = self._citation_counts.get(event.choice, 0)
                self._citation_counts[event.choice] = place + 1
                # OpenAI's client joins entries of lists by ``index``, and fails without one.
                return self._chunk({"annotations": [{"index": place, **_citation(event)}]}, event.choice)
            case Media() if event.media_type.startswith("image/"):
                place = self._images.get(event.choice, 0)
                self._images[event.choice] = place + 1
                return self._chunk({"images": [{"index": place, **_image(event)}]}, event.choice)
        return self._chunk(delta_of(event), event.choice)

    def _chunk(self, delta: Object, choice: int, reason: str | None = None, logprobs: Object | None = None) -> bytes:
        entry = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._before + encoded(entry) + self._after

    def _finish(self, finish: Finish) -> bytes:
        if finish.verdict != "complete":
            return data_line(encoded(error_object(error_of_finish(finish))))
        if self._begun == {0} and not (finish.others or self._called or self._reasoning):
            return b"".join(
                (self._before, _ended(reason_of(finish.reason, called=False)), self._after, *self._counted(), _DONE)
            )
        chunks = []
        reasons = {**dict.fromkeys(sorted(self._begun)), **(finish.others or {}), 0: finish.reason}
        for choice, reason in reasons.items():
            chunks.append(self._opened(choice))
            if choice in self._reasoning:
                chunks += [self._chunk(delta, choice) for delta in self._reasoning[choice].end()]
            bare = self._called.get(choice, ()) if is_finished(reason) else ()
            # Clients parse the arguments as JSON, so a call without arguments needs an object too.
            chunks += [
                self._chunk({"tool_calls": [piece_of(ToolCallPiece(index, None, None, "{}"))]}, choice) for index in bare
            ]
            chunks.append(self._chunk({}, choice, reason_of(reason, called=choice in self._called)))
        return b"".join([*chunks, *self._counted(), _DONE])

    def _counted(self) -> tuple[bytes, ...]:
        """The chunk with the counts of tokens, if the client wants it."""
        return (self._before, _COUNTS, usage_text(self._usage), _COUNTED) if self._wants_usage else ()


def write_text_stream(stream: TextStream, id: str, created: int, model: str, *, usage: bool) -> bytes:  # noqa: A002
    """What ``StreamWriter`` writes of a stream; ``usage``: whether the client wants its counts."""
    before = _BEFORE % (encoded(f"chatcmpl-{id}"), created, encoded(model))
    after = _AFTER_IF_COUNTED if usage else _AFTER
    written = [before, _OPENED, after]
    for text in stream.texts:
        written += (before, _TEXT, encoded(text), _TAIL, after)
    written += (before, _ended(reason_of(stream.reason, called=False)), after)
    if usage:
        written += (before, _COUNTS, usage_text(stream.usage), _COUNTED)
    written.append(_DONE)
    return b"".join(written)


@lru_cache(maxsize=64)
def _ended(reason: str) -> bytes:
    """The choice of the chunk that ends the first answer."""
    return encoded({"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason})


def delta_of(event: Event) -> Object:
    """The delta of a chunk for one piece."""
    match event:
        case Text():
            return {"content": event.text}
        case ToolCallPiece():
            return {"tool_calls": [piece_of(event)]}
        case Refusal():
            return {"refusal": event.text}
        case Media() if not event.media_type.startswith("image/"):
            return {"audio": _audio(event)}
        case Media():
            return {"images": [_image(event)]}
        case Citation():
            return {"annotations": [_citation(event)]}
    return {}


def piece_of(piece: ToolCallPiece) -> Object:
    """A piece of a call, of a function or of a free-text tool."""
    custom = piece.kind == "custom"
    kind, member = ("custom", "input") if custom else ("function", "arguments")
    call: Object = {"index": piece.index}
    if piece.id is not None:
        call |= {"id": piece.id, "type": kind}
    name = {} if piece.name is None else {"name": piece.name}
    call[kind] = {**name, member: piece.arguments if custom else escaped(piece.arguments)}
    if piece.opaque is not None:
        call["extra_content"] = signature_of(tagged(piece.opaque, VENDOR))
    return call


def _image(media: Media) -> Object:
    return {"type": "image_url", "image_url": {"url": data_url(media.media_type, media.data)}}


def _audio(media: Media) -> Object:
    return {"id": "audio", "data": b64encode(media.data).decode(), "transcript": "", "expires_at": 0}


def _citation(source: Citation) -> Object:
    place = {"start_index": source.start or 0, "end_index": source.end or 0}
    citation = {"url": source.url, "title": source.title, **place, **({"content": source.snippet} if source.snippet else {})}
    return {"type": "url_citation", "url_citation": citation}


def reason_of(reason: str | None, *, called: bool) -> str:
    """The finish reason in OpenAI's terms, of which there are four; ``stop`` if the backend reported none.

    Clients run tools if it is ``tool_calls``: a ``stop`` after calls becomes that.
    """
    if reason is None or reason == "stop":
        return "tool_calls" if called else "stop"
    common = nearest(reason)
    if common == "stop" and called:
        return "tool_calls"
    return _ENDS.get(common, common)


def refusal_headers(fault: Fault) -> list[tuple[str, str]]:
    return [] if fault.retry_after is None else [("retry-after", str(max(0, ceil(fault.retry_after))))]


def error_of_finish(finish: Finish | None) -> Fault:
    """The fault of an unfinished or failed answer."""
    return fault_of(finish.error if finish is not None and finish.error is not None else Truncated("the answer was cut"))


def _choice(number: int, message: AssembledMessage, reason: str | None) -> Object:
    """A complete answer, as one of the reply's choices."""
    end = reason_of(reason, called=bool(message.calls))
    if text := message.only_text:
        return _text_choice(number, text, end)
    media = message.media
    fields: Object = {"role": "assistant", "content": message.text or None}
    if thoughts := message.thoughts:
        fields |= message_fields([(thought.text, thought.opaque) for thought in thoughts])
    fields["refusal"] = message.refusal or None
    audio_parts = [part for part in media if not part.media_type.startswith("image/")]
    further = {
        "annotations": [_citation(source) for source in message.citations],
        "images": [_image(part) for part in media if part.media_type.startswith("image/")],
        "audio": _audio(audio_parts[-1]) if audio_parts else None,
        "tool_calls": [_call(call, reason) for call in message.calls],
    }
    fields |= {name: value for name, value in further.items() if value}
    logprobs = {"content": message.logprobs, "refusal": None} if message.logprobs else None
    return {"index": number, "message": fields, "logprobs": logprobs, "finish_reason": end}


def _text_choice(number: int, text: str, end: str) -> Object:
    message = {"role": "assistant", "content": text, "refusal": None}
    return {"index": number, "message": message, "logprobs": None, "finish_reason": end}


def _call(call: ToolCall, reason: str | None) -> Object:
    """A complete call."""
    kind, member, arguments = "custom", "input", call.arguments
    if call.kind != "custom":  # clients parse it as JSON at once
        kind, member, arguments = "function", "arguments", escaped(call.arguments) or ("{}" if is_finished(reason) else "")
    signature = {} if call.opaque is None else {"extra_content": signature_of(tagged(call.opaque, VENDOR))}
    return {"id": call.id, "type": kind, kind: {"name": call.name, member: arguments}, **signature}


@mypyc_attr(allow_interpreted_subclasses=True)
class WholeWriter:
    """An answer in one object, written at its end; a failure is an error with its own status."""

    streams = False
    content_type = "application/json"

    def __init__(self, frame: Object) -> None:
        self.status = 200
        self.headers: list[tuple[str, str]] = []
        self._frame = frame
        self._reply: AssembledReply | None = None

    def write(self, events: list[Event]) -> bytes:
        if self._reply is None:
            self._reply = AssembledReply()
        self._reply.take_all(events)
        return b""

    def end(self) -> bytes:
        reply = self._reply or AssembledReply()
        finish = reply.finish
        if finish is None or finish.verdict != "complete":
            fault = error_of_finish(finish)
            self.status = fault.status
            self.headers += refusal_headers(fault)
            return write_fault(fault)
        choices = [
            self.choice(number, reply.choices.get(number) or AssembledMessage(), reason)
            for number, reason in reply.reasons(finish).items()
        ]
        usage = usage_object(reply.usage)
        return encoded({**self._frame, "choices": choices, **({} if usage is None else {"usage": usage})})

    def choice(self, number: int, message: AssembledMessage, reason: str | None) -> Object:
        """One of the answers, in this endpoint's format."""
        return _choice(number, message, reason)


class ChatWriter(WholeWriter):
    """That of chat completions."""

    def __init__(self, id: str, created: int, model: str) -> None:  # noqa: A002
        super().__init__({"id": f"chatcmpl-{id}", "object": "chat.completion", "created": created, "model": model})
        self._id, self._created, self._model = id, created, model

    def plain(self, reply: PlainReply) -> bytes:
        """See ``WritesPlain``."""
        return write_text(reply.text, reply.usage, reply.finish, self._id, self._created, self._model)


def write_text(text: str, usage: Usage, finish: Finish, id: str, created: int, model: str) -> bytes:  # noqa: A002
    """See ``WritesText``."""
    return _WHOLE % (
        encoded(f"chatcmpl-{id}"),
        created,
        encoded(model),
        encoded(text),
        encoded(reason_of(finish.reason, called=False)),
        usage_text(usage),
    )


_WHOLE = (
    b'{"id":%b,"object":"chat.completion","created":%d,"model":%b,"choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":%b,"refusal":null},"logprobs":null,"finish_reason":%b}],"usage":%b}'
)

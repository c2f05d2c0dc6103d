"""Server side: a reply's events as this wire's stream, or as one message.

The wire has no probabilities and only one answer; images that a model made are written in the format of user images.
"""

from __future__ import annotations

from functools import lru_cache

from ...events import Citation, Event, Finish, Media, Reasoning, Refusal, Start, Text, ToolCallPiece, Usage
from ...types import ChatRequest
from ..contract import TextStream, Writer
from ..estimating import BYTES_A_TOKEN, estimated_prompt
from ..framing import event as framed
from ..json_text import encoded, escaped, object_in
from ..tags import tagged
from .constants import CALLER, VENDOR, counts_text
from .errors import error_value
from .reply_parts import call_block, citation_of, fault_of_end, media_block, redacted_block, stop_of, stop_text
from .whole_reply_writer import WholeWriter


def writer(
    request: ChatRequest,
    id: str,  # noqa: A002  # the protocol's name
    created: int,
    model: str | None = None,
    *,
    request_id: str | None = None,
    text_aside: int = 0,
) -> Writer:
    """The writer of the answer to ``request``. ``request_id`` is the request's id, which errors contain; ``text_aside`` is how
    many bytes longer its texts are than in ``request``, where placeholders replace them.

    The wire has no timestamp: ``created`` is ignored.
    """
    name = request.model if model is None else model
    return StreamWriter(id, name, request, request_id, text_aside) if request.stream else WholeWriter(id, name, request_id)


def write_count(tokens: int) -> bytes:
    """The response of count_tokens."""
    return encoded({"input_tokens": tokens})


STREAM_TYPE = "text/event-stream; charset=utf-8"
"""The content type of a streamed answer."""


class StreamWriter:
    """Blocks are written one after another; only calls whose pieces alternate are open at the same time."""

    def __init__(self, name: str, model: str, request: ChatRequest, request_id: str | None = None, text_aside: int = 0) -> None:
        self.streams = True
        self.status = 200
        self.content_type = STREAM_TYPE
        self.headers: list[tuple[str, str]] = [("cache-control", "no-cache")]
        self._name = name
        self._model = model
        self._ask, self._text_aside = request, text_aside
        self._request_id = request_id
        self._written = 0
        """Approximate bytes of the answer."""
        self._started = False
        self._done = False
        self._blocks = 0
        self._open: str | int | None = None
        """The open block: ``text``, or the number of a reasoning block."""
        self._prefix = b""
        """The beginning of each delta of the current text."""
        self._calls: dict[int, _Call] = {}
        self._refusal: list[str] = []
        self._usage: Usage | None = None

    def write(self, events: list[Event]) -> bytes:
        """The bytes of these events, ``b""`` if none yet."""
        out: list[bytes] = []
        for event in events:
            if type(event) is Text:
                if event.choice == 0:
                    if self._open != "text":
                        self._begin_text(out)
                    self._written += len(event.text)
                    out.append(self._prefix + encoded(event.text) + _TEXT_END)
            elif type(event) is Usage:
                self._usage = event
            elif type(event) is Finish:
                self._finish(event, out)
            elif type(event) is not Start:
                self._rare(event, out)
        return b"".join(out)

    def text_piece(self, text: str) -> bytes:
        """See ``WritesTextPieces``."""
        if self._open != "text":
            return self.write([Text(text)])
        self._written += len(text)
        return self._prefix + encoded(text) + b"}}\n\n"

    def end(self) -> bytes:
        """The end of the body; an answer without a ``Finish`` ends with an error."""
        return b"" if self._done else self.write([Finish("truncated")])

    def _rare(self, event: Event, out: list[bytes]) -> None:
        if isinstance(event, (Start, Usage, Finish)) or event.choice != 0:
            return
        if isinstance(event, Reasoning):
            self._think(event, out)
        elif isinstance(event, ToolCallPiece):
            self._piece(event, out)
        elif isinstance(event, Citation):
            if self._open != "text":
                self._begin_text(out)
            self._delta(self._blocks - 1, {"type": "citations_delta", "citation": citation_of(event)}, out)
        elif isinstance(event, Media):
            self._begin(media_block(event), None, out)
            _emit("content_block_stop", {"index": self._blocks - 1}, out)
        elif isinstance(event, Refusal):
            self._refusal.append(event.text)

    def _think(self, event: Reasoning, out: list[bytes]) -> None:
        opaque = event.opaque
        if event.text or (opaque is not None and not opaque.redacted):
            if self._open != event.block:
                self._begin({"type": "thinking", "thinking": "", "signature": ""}, event.block, out)
            if event.text:
                self._written += len(event.text)
                self._delta(self._blocks - 1, {"type": "thinking_delta", "thinking": event.text}, out)
        if opaque is not None:
            if opaque.redacted:
                self._begin(redacted_block(opaque), None, out)
                _emit("content_block_stop", {"index": self._blocks - 1}, out)
            else:
                self._delta(self._blocks - 1, {"type": "signature_delta", "signature": tagged(opaque, VENDOR)}, out)
                self._close(out)

    def _piece(self, piece: ToolCallPiece, out: list[bytes]) -> None:
        call = self._calls.get(piece.index)
        if call is None:
            call = self._begin_call(piece, out)
        if piece.arguments:
            text = escaped(piece.arguments)
            call.arguments.append(text)
            self._written += len(text)
            self._delta(call.block, {"type": "input_json_delta", "partial_json": text}, out)

    def _begin_call(self, piece: ToolCallPiece, out: list[bytes]) -> _Call:
        if piece.opaque is not None:
            self._begin(call_block(piece.opaque), None, out)
            _emit("content_block_stop", {"index": self._blocks - 1}, out)
        block: dict[str, object] = {"type": "tool_use"}
        block |= {"id": piece.id or f"toolu_{piece.index}", "name": piece.name or "", "input": {}, "caller": CALLER}
        self._begin(block, None, out)
        self._calls[piece.index] = call = _Call(self._blocks - 1)
        return call

    def _begin_text(self, out: list[bytes]) -> None:
        start, self._prefix = _text_block(self._blocks)
        self._start(out)
        self._close(out)
        out.append(start)
        self._blocks += 1
        self._open = "text"

    def _begin(self, block: dict[str, object], as_what: str | int | None, out: list[bytes]) -> None:
        self._start(out)
        self._close(out)
        _emit("content_block_start", {"index": self._blocks, "content_block": block}, out)
        self._blocks += 1
        self._open = as_what

    def _close(self, out: list[bytes]) -> None:
        if self._open is not None:
            out.append(_block_stop(self._blocks - 1))
            self._open = None
        for call in self._calls.values():
            if call.open and call.whole():
                call.open = False
                _emit("content_block_stop", {"index": call.block}, out)

    def _delta(self, block: int, delta: dict[str, object], out: list[bytes]) -> None:
        _emit("content_block_delta", {"index": block, "delta": delta}, out)

    def _start(self, out: list[bytes]) -> None:
        if self._started:
            return
        self._started = True
        out.append(_MESSAGE_START % (encoded(f"msg_{self._name}"), encoded(self._model), self._counts(last=False)))

    def _counts(self, *, last: bool) -> bytes:
        """The backend's counts once it reported them; before that an estimate of the prompt's tokens, marked as one."""
        if self._usage is not None:
            return counts_text(self._usage)
        written = -(-self._written // BYTES_A_TOKEN) if last else 0
        return counts_text(Usage(estimated_prompt(self._ask, self._text_aside), written, estimated=True))

    def _finish(self, finish: Finish, out: list[bytes]) -> None:
        self._done = True
        if finish.verdict != "complete":
            out.append(framed("error", encoded(error_value(fault_of_end(finish), self._request_id))))
            return
        self._start(out)
        self._close(out)
        for call in self._calls.values():
            if call.open:
                _emit("content_block_stop", {"index": call.block}, out)
        if self._calls or self._refusal:
            stop = encoded(stop_of(finish, bool(self._calls), "".join(self._refusal)))
        else:
            stop = stop_text(finish)
        out.append(_MESSAGE_DELTA % (stop, self._counts(last=True)))
        out.append(_MESSAGE_STOP)


def write_text_stream(stream: TextStream, id: str, model: str, prompt_size: int) -> bytes:  # noqa: A002
    """What ``StreamWriter`` writes of a stream; ``prompt_size``: as ``estimating.prompt_size`` of the request."""
    begin, prefix = _text_block(0)
    prompt, usage = -(-prompt_size // BYTES_A_TOKEN), stream.usage
    counts = counts_text(Usage(prompt, 0, estimated=True))
    written = [_MESSAGE_START % (encoded(f"msg_{id}"), encoded(model), counts), begin]
    for text in stream.texts:
        written += (prefix, encoded(text), _TEXT_END)
    if usage is None:
        usage = Usage(prompt, -(-sum(map(len, stream.texts)) // BYTES_A_TOKEN), estimated=True)
    stop = stop_text(Finish("complete", stream.reason))
    written += (_block_stop(0), _MESSAGE_DELTA % (stop, counts_text(usage)), _MESSAGE_STOP)
    return b"".join(written)


class _Call:
    """A call that was opened in a stream."""

    __slots__ = ("arguments", "block", "open")

    def __init__(self, block: int) -> None:
        self.block = block
        self.open = True
        self.arguments: list[str] = []
        """The pieces of its arguments."""

    def whole(self) -> bool:
        """Whether its arguments are complete."""
        return object_in("".join(self.arguments)) is not None


def _emit(name: str, value: dict[str, object], out: list[bytes]) -> None:
    out.append(_event(name, value))


def _event(name: str, value: dict[str, object]) -> bytes:
    return framed(name, encoded({"type": name, **value}))


_MESSAGE_START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":%b,"type":"message","role":"assistant","model":%b,'
    b'"content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null,"container":null,"usage":%b}}\n\n'
)
_TEXT_END = b"}}\n\n"
"""What follows a text in its delta."""
_MESSAGE_DELTA = b'event: message_delta\ndata: {"type":"message_delta","delta":%b,"usage":%b}\n\n'
_MESSAGE_STOP = _event("message_stop", {})


@lru_cache(maxsize=64)
def _block_stop(index: int) -> bytes:
    return _event("content_block_stop", {"index": index})


@lru_cache(maxsize=64)
def _text_block(index: int) -> tuple[bytes, bytes]:
    """The event that begins a text, and the beginning of each of its deltas."""
    block = {"type": "text", "text": "", "citations": None}
    delta = _event("content_block_delta", {"index": index, "delta": {"type": "text_delta", "text": ""}})
    return _event("content_block_start", {"index": index, "content_block": block}), delta.removesuffix(b'""}}\n\n')

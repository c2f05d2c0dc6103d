"""Sends a chat's response to the client: its head, its pieces in the client's format, and its end in every case."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING

from ...calls.info import CallInfo
from ...costs import cost_of
from ...errors import BackendError, BadInput, PolychatError, Truncated, redact
from ...events import Event, Finish, Text, Usage
from ...http.server.asgi import Headers
from ...http.server.cycle import header_lines
from ...routing import Target
from ...routing.resolve import LONGEST
from ...types import ChatRequest
from ...wire.contract import Writer
from ...wire.losses import EACH, Loss
from ...wire.passthrough import StreamMonitor
from ...wire.reading import finish_of, truncated
from ..context import RequestContext, reason_of
from ..dialects.dialect import InboundChat
from ..observe.record import Record, passed_over
from ..responder import Refused, Responder, end_of, usual_lines
from .replies import EventReply, OpenReply, Outcome, PassthroughBody, PassthroughStream
from .translation import writer_for

if TYPE_CHECKING:
    from ...http.pool.event_pipe import EventPipe
    from ...routing.facts import TargetState
    from ..runtime import Runtime

HEADER = 4096
"""Maximum bytes of a client's header that is sent to a backend, and of the losses in a response header."""
_PASSED, _REASON = 10, 200
"""Maximum number of skipped targets in a header, and maximum characters of each with its reason."""
_NO_END = "the backend's events ended without a finish"


class EventSink:
    """Sends each batch of a reply to the client, in its format, within ``take``."""

    __slots__ = ("_keep", "_reply", "_responder", "_writer", "failure", "finish")

    def __init__(
        self, responder: Responder, writer: Writer, reply: EventReply, keep: Callable[[list[Event]], None] | None
    ) -> None:
        """``keep`` gets each batch too."""
        self._responder, self._writer, self._reply, self._keep = responder, writer, reply, keep
        self.finish: Finish | None = None
        self.failure: PolychatError | None = None
        """Why a batch cannot be written."""

    def take(self, batch: list[Event]) -> bool:
        """Whether nothing more is accepted."""
        try:
            data = self._writer.write(batch)
        except PolychatError as error:
            self.failure = error
            return True
        if data:
            self._responder.push(data)
        if self._keep is not None:
            self._keep(batch)
        if type(batch[-1]) is not Text:
            self.finish = self._reply.look(batch)
        return self.finish is not None


class Delivery:
    """Created with the chat; ``ChatRun`` sets the facts that the head and the record report."""

    def __init__(self, context: RequestContext, inbound: InboundChat) -> None:
        self.context, self.inbound = context, inbound
        self.called_at = self.answered_at = 0.0
        self.call_info: CallInfo | None = None
        self.api_url = ""
        """The URL that the backend was requested at; empty for its configured one."""
        self.limits: Headers = []
        self.error: PolychatError | None = None
        """The error that cut off a response which had begun."""
        self.attempts = 0
        self.target: Target | None = None
        """The target that answers; ``None`` if no backend was called."""
        self.text: list[str] | None = [] if context.runtime.gateway.log_text else None
        """The answer's text, if it is to be logged."""
        self._writer: Writer | None = None
        """The writer of a response that is translated."""

    # If nothing follows a call, its awaitable is returned and not awaited: this saves a coroutine.

    def send(self, reply: OpenReply) -> Awaitable[None]:
        """Send the whole response to the client."""
        if isinstance(reply, PassthroughStream):
            return self._stream(reply)
        if isinstance(reply, PassthroughBody):
            return self._body(reply)
        assert isinstance(reply, EventReply)
        self._writer = writer = reply.writer or self.writer()
        return self._events(reply, writer) if writer.streams else self._whole(reply, writer)

    async def _events(self, reply: EventReply, writer: Writer) -> None:
        context, responder = self.context, self.context.responder
        if not responder.started:
            await responder.start(200, self.head(writer.content_type, stream=True))
        context.record.first = context.record.first or monotonic()
        batch, reply.first = reply.first, []
        self._keep_text(batch)
        data = writer.write(batch) if batch else b""
        finish = reply.look(batch)
        if finish is None:
            batch = []  # what is not needed any more is not held as long as the stream is open
            if data:
                await responder.piece(data)
                data = b""
            try:
                if reply.pipe is not None and responder.pushes:
                    finish = await self._written(reply, reply.pipe, writer)
                else:
                    async for batch in reply.batches:
                        if written := writer.write(batch):
                            await responder.piece(written)
                        if self.text is not None:
                            self._keep_text(batch)
                        if type(batch[-1]) is not Text and (finish := reply.look(batch)) is not None:
                            break
            except PolychatError as error:
                finish = finish_of(error)
                await responder.piece(writer.write([finish]))
        if finish is None:
            finish = truncated(_NO_END)
            await responder.piece(writer.write([finish]))
        reply.end(finish)
        self._note(reply.outcome)
        await responder.last(data + writer.end())  # a short reply is complete and is sent in one write

    async def _written(self, reply: EventReply, pipe: EventPipe, writer: Writer) -> Finish | None:
        """The rest of a stream: each read of the backend's connection is parsed, written and sent in the same call; then its
        end.
        """
        responder = self.context.responder
        sink = EventSink(responder, writer, reply, None if self.text is None else self._keep_text)
        responder.couple(pipe)
        try:
            await pipe.pipe(sink.take)
        finally:
            responder.couple(None)
        if sink.failure is not None:
            raise sink.failure
        return sink.finish

    def _whole(self, reply: EventReply, writer: Writer) -> Awaitable[None]:
        batch = reply.first
        writer.write(batch)
        if self.text is not None:
            self._keep_text(batch)
        if reply.look(batch) is None:  # a backend's is complete; another's may not be
            return self._rest(reply, writer)
        body = writer.end()
        return self._sent_whole(reply.outcome, writer.status, writer.content_type, body)

    async def _rest(self, reply: EventReply, writer: Writer) -> None:
        async for batch in reply.batches:
            writer.write(batch)
            self._keep_text(batch)
            reply.look(batch)
        if reply.outcome.finish is None:
            raise Truncated(_NO_END)
        body = writer.end()
        await self._sent_whole(reply.outcome, writer.status, writer.content_type, body)

    def _body(self, reply: PassthroughBody) -> Awaitable[None]:
        self.context.record.passthrough = True
        if self.text is not None:
            self._keep_text(self.inbound.dialect.wire.read_reply(reply.body))
        return self._sent_whole(reply.outcome, 200, reply.content_type, reply.body)

    def _sent_whole(self, outcome: Outcome, status: int, content_type: str, body: bytes) -> Awaitable[None]:
        record = self.context.record
        record.first = monotonic()
        self._note(outcome)
        lines = self.head(content_type, stream=False) + cost_line(record.cost)
        return self.context.responder.whole(status, lines, body)

    async def _stream(self, reply: PassthroughStream) -> None:
        responder, monitor, record = self.context.responder, reply.monitor, self.context.record
        record.passthrough = True
        passing = self._passing(reply)
        content_type = reply.response.header(b"content-type").decode("latin-1")
        if not responder.started:
            await responder.start(200, self.head(content_type, stream=True))
        record.first = record.first or monotonic()
        held = b""
        if monitor.finish is None:
            if reply.first:  # else it was sent already
                await responder.piece(reply.first)
            await self._passed_on(reply, passing)
        else:
            held = reply.first  # a short reply is complete: it is sent with its end, in one write
        outcome, rest = self._end(reply, content_type, held or responder.latest)
        self._note(outcome)
        await responder.last(held + rest)

    async def _passed_on(self, reply: PassthroughStream, passing: Callable[[bytes], bytes]) -> None:
        """The pieces after the first one, as they arrive."""
        responder, monitor, response = self.context.responder, reply.monitor, reply.response
        try:
            if responder.pushes:
                await self._pushed(reply, passing)
            else:
                while monitor.finish is None and (data := await response.piece()):
                    if passed := passing(data):
                        await responder.piece(passed)
        except BackendError as error:
            reply.connection_lost(error)

    def _end(self, reply: PassthroughStream, content_type: str, latest: bytes) -> tuple[Outcome, bytes]:
        """The outcome of a stream that is over, and what still has to be sent of it, after ``latest``."""
        monitor, naming = reply.monitor, reply.naming
        rest = reply.rest()
        outcome = reply.outcome
        finish = outcome.finish
        assert finish is not None
        if finish.verdict != "complete" and not monitor.error_forwarded:
            failure = self.failure(finish, monitor)
            if naming is not None:
                failure = naming.renamed(failure)
            rest += self._break(end_of(latest, rest)) + failure
        else:
            rest += closing(content_type, end_of(latest, rest))
        return outcome, rest

    async def _pushed(self, reply: PassthroughStream, passing: Callable[[bytes], bytes]) -> None:
        """The rest of a stream: each read of the backend's connection is written to the client's in the same call."""
        responder, monitor = self.context.responder, reply.monitor
        push = responder.push

        def sink(data: bytes) -> bool:
            if passed := passing(data):
                push(passed)
            return monitor.finish is not None

        responder.couple(reply.response)
        try:
            await reply.response.pipe(sink)
        finally:
            responder.couple(None)

    def _passing(self, reply: PassthroughStream) -> Callable[[bytes], bytes]:
        """The part of each read that is forwarded."""
        passing = reply.passing()
        if self.text is None:
            return passing
        reader = self.inbound.dialect.wire.Reader()
        self._keep_text(reader.feed(reply.first))

        def keeping(data: bytes) -> bytes:
            self._keep_text(reader.feed(data))
            return passing(data)

        return keeping

    def cut(self, reply: OpenReply | None, finish: Finish) -> bytes:
        """The end of a stream that has begun and failed with this error."""
        if isinstance(reply, PassthroughStream):
            return self._break() + self.failure(finish)
        writer = self._writer
        return self.failure(finish) if writer is None else writer.write([finish]) + writer.end()

    def _break(self, latest: bytes = b"") -> bytes:
        """The end of a piece in the dialect's format, if the last one (``latest``, or what was sent) was cut within it."""
        end = self.inbound.dialect.piece_end
        return b"" if (latest or self.context.responder.latest).endswith(end) else end

    def _keep_text(self, events: list[Event]) -> None:
        """Keep the text that is to be logged."""
        if self.text is not None:
            self.text += [event.text for event in events if type(event) is Text and event.choice == 0]

    # The facts for the head and the record

    def head(self, content_type: str, *, stream: bool) -> bytes:
        """The ``header_lines`` of a response that begins now: which target answers, and what led to it."""
        context, target = self.context, self.target
        overhead = (self.called_at - context.record.start) + (monotonic() - (self.answered_at or self.called_at))
        meter = context.record.meter
        limits = self.limits if meter is None else meter.headers(context.record)
        lines = head_lines(
            context.dialect.id_header, context.record.request_id, content_type, target, self.attempts, overhead, stream=stream
        )
        if limits:
            lines += header_lines(limits)
        if passed := passed_over(context.record):
            reasons = "; ".join(redact(f"{name}: {reason}", _REASON) for name, reason in islice(passed.items(), _PASSED))
            lines += header_lines([(b"x-polychat-passed-over", _sendable(reasons))])
        losses = () if self.call_info is None else self.call_info.losses
        return lines + losses_line(context.record, losses, self.inbound.lost) if losses or self.inbound.lost else lines

    def _note(self, outcome: Outcome) -> None:
        """Record what the response took, and how it ended."""
        note_usage(self.context.record, self.context.runtime, outcome, self.target, self.called_at, self.api_url)
        if outcome.finish is not None:
            self.ended(outcome.finish)

    def ended(self, finish: Finish) -> None:
        """The verdict, for the record."""
        record = self.context.record
        record.verdict, record.reason = finish.verdict, finish.reason
        if finish.error is not None:
            self.error = finish.error
            record.error = reason_of(finish.error)

    def writer(self) -> Writer:
        """The writer. Raises ``BadInput``."""
        return writer_for(self.inbound, self.inbound.request())

    def failure(self, finish: Finish, monitor: StreamMonitor | None = None) -> bytes:
        """The end of a stream that failed; ``monitor``: of one that was passed through until then."""
        try:
            writer = self.writer()
        except (BadInput, Refused):  # the forwarded part was the backend's own
            writer = writer_for(self.inbound, ChatRequest(self.inbound.model, [], stream=self.inbound.stream))
        if monitor is not None:
            self.inbound.dialect.continue_stream(writer, monitor)
        return writer.write([finish]) + writer.end()


def note_usage(
    record: Record,
    runtime: Runtime,
    outcome: Outcome,
    target: Target | None,
    called_at: float,
    api_url: str,
    state: TargetState | None = None,
) -> None:
    """Record the usage and the source of an answer, and the target's speed for the choice of later targets.

    ``state``: the target's state, from callers that have it already; otherwise it is looked up.
    """
    served, usage = outcome.model, outcome.usage
    if served:
        served = record.served = served[:LONGEST]  # a backend's own text: what is kept of it is bounded
    if usage is not None:
        record.note_usage(usage)
        if target is not None:
            cost = settled_cost(runtime, usage, served, target, called_at, api_url, state)
            record.cost = usage.cost if record.seams else cost  # each part has its own target's price


def settled_cost(
    runtime: Runtime,
    usage: Usage,
    served: str | None,
    target: Target,
    called_at: float,
    api_url: str,
    state: TargetState | None = None,
) -> float | None:
    """US dollars for an answer of this ``usage``, ``None`` if that is unknown. It also counts for the choice of later targets.

    ``served``: the model's name in the reply. ``state``: see ``note_usage``.
    """
    runtime.router.chooser.settled(target.name, usage, monotonic() - called_at, state)
    url, model, prices = target.backend.url, target.model, runtime.configured.prices
    is_elsewhere = api_url not in ("", url)
    return cost_of(prices, target.label, url, served or model, usage, requested=model, is_elsewhere=is_elsewhere)


def head_lines(
    id_header: bytes,
    request_id: str,
    content_type: str,
    target: Target | None,
    attempts: int,
    overhead: float,
    *,
    stream: bool,
) -> bytes:
    """The ``header_lines`` of an answer: the ``usual_lines``, the target and the number of ``attempts``, and the seconds that
    the gateway itself took.
    """
    label, model = (target.label, target.model) if target is not None else ("", "")
    form, name = head_form(id_header, content_type, stream, label, model, attempts), request_id.encode()
    return form % ((name, name, overhead * 1000) if id_header else (name, overhead * 1000))


def losses_line(record: Record, losses: Sequence[Loss], lost: Sequence[str] = ()) -> bytes:
    """The header line with the fields of a request that its backend did not get, including ``lost`` routing fields.

    They are also added to the record.
    """
    record.losses = names = [*lost, *(_lost(loss) for loss in losses)]
    record.fields_dropped = len(names)
    # A client may send any number of fields.
    return header_lines([(b"x-polychat-losses", _sendable(", ".join(dict.fromkeys(names))[:HEADER]))])


def cost_line(cost: float | None) -> bytes:
    """The header line with the cost of a complete answer; empty if it is unknown."""
    return b"" if cost is None else b"x-polychat-cost: %.8f\r\n" % cost


_BLANK_LINE = {
    b"\n\n": b"",
    b"\r\r": b"",
    b"\n\r\n": b"",
    b"\n\r": b"\n",
    b"\r\n": b"\r\n",
    b"\n": b"\n",
    b"\r": b"\n\r\n",
}
"""The possible ends of a complete event, and what is then missing of its blank line; the first match counts."""


def closing(content_type: str, latest: bytes) -> bytes:
    """The missing part of the blank line after the last event, without which clients ignore that event.

    A reply is known to be complete by its last line, and nothing after it is read: ``latest`` may end within the blank line.
    """
    if not content_type.startswith("text/event-stream"):
        return b""
    for end, missing in _BLANK_LINE.items():
        if latest.endswith(end):
            return missing
    return b""


@lru_cache(maxsize=256)
def head_form(id_header: bytes, content_type: str, stream: bool, label: str, model: str, attempts: int) -> bytes:
    """The lines of ``head_lines``, in which the request's id and the time are to be filled in."""
    names = [(b"x-polychat-provider", label.encode()), (b"x-polychat-model", _sendable(model))] if label else []
    lines = header_lines([*names, (b"x-polychat-attempts", b"%d" % attempts)])
    usual = usual_lines(id_header, "\0", content_type, stream=stream)  # no header contains that
    return (usual + lines).replace(b"%", b"%%").replace(b"\0", b"%b") + b"x-polychat-overhead-ms: %.2f\r\n"


def _lost(loss: Loss) -> str:
    """The field, with its value if the field alone does not identify the loss."""
    return f"{loss.field} ({redact(loss.detail.replace(',', ''), 200)})" if loss.field in EACH else loss.field


def _sendable(text: str) -> bytes:
    """As text that a header can contain."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text).encode()

"""The usual chat, answered within the calls that receive its bytes: without a task, a wait or a timer.

What a request's head decides (its endpoint, its key, its origin, its settings) is determined once for each head, whatever
identifies the request in it, and what the model's name decides once for each name: ``prepared.py`` holds it while one
configuration is in force. A ``FastChat`` then does the rest: it is admitted, sends the body on an idle connection or a new
one, and answers from the call in which the reply is completed, or, if the reply is a stream, leaves that to a ``FastStream``
from its first piece on. A chat is passed through, changed for its vendor, or translated both ways (``PreparedPlan.written``).
All verdicts, counts and headers come from the same functions as on the ordinary path.

step                 usual                                  else
===================  =====================================  ==================================================================
``begin``            the request is sent                    nothing was done, and a task answers it: another head or
                                                            configuration than is prepared, a guard or a limit that refuses, a
                                                            route whose choice differs or that holds back the beginning of
                                                            a stream, an unhealthy target, or a connection that has to be
                                                            waited for: one that may be opened at once is (``Opening``)
the reply arrives    it is read when it is complete         ``continue_in_task``: another status than 200, a failure, a loss, a
                                                            timeout, too much, no answer, or none in a second with more targets
a stream begins      its first piece is sent                ``continue_in_task``: a failure before it, or no first piece within
                                                            ``MAX_TRIES`` reads or the interval of heartbeats
the client leaves                                           ``continue_in_task``, by the cycle
the server ends                                             ``continue_in_task``
===================  =====================================  ==================================================================

``continue_in_task`` loses nothing: the task counts the sent request as its first attempt, and takes the reply, or the failure,
from the connection as if it had waited for it there. So unusual cases are handled in one place, ``run.py``.

Bounds: those of the ordinary path; a body by ``WRITE_SIZE``, the reply by what a connection holds for a caller.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from ...backends.relay import known_rate_limits, rate_limits_in, rate_limits_on
from ...errors import PolychatError
from ...http.pool.pool import PooledResponse
from ...http.server.asgi import Headers, Receive, Scope, Send, received_body
from ...http.server.cycle import STREAM, WHOLE, RequestCycle, header_lines
from ...http.server.timeout_queue import TimeoutQueue
from ...routing import Plan
from ...routing.clocks import Kind
from ...routing.constant import ConstantOutcome
from ...routing.facts import Facts
from ...routing.resolve import LONGEST
from ...routing.straight import StraightAttempt
from ...tracebacks import release_locals
from ...values import mypyc_attr
from ..admission.bodies import Share
from ..admission.demand import ChatDemand
from ..admission.guards import Guards
from ..context import EarlyAttempt, EarlyStream, RequestContext, id_in, reason_of
from ..dialects.bodies import Opened
from ..dialects.dialect import InboundChat
from ..endpoint import Endpoint, answer, failing
from ..observe.record import Record
from .beginnings import Beginning, PassedBeginning, TranslatedBeginning
from .delivery import cost_line, head_lines, losses_line, note_usage
from .fast_stream import MAX_TRIES, FastStream
from .heartbeat import Ringing, heartbeats
from .passing import passed_stream, passed_whole
from .prepared import PreparedHead, PreparedPlan, Unusual
from .replies import Outcome, WholeReply
from .traits import kind_in

if TYPE_CHECKING:
    from ...http.pool.known_replies import KnownReply
    from ..service import Service


@mypyc_attr(allow_interpreted_subclasses=True)
class ChatFastPath(PreparedHead):
    """The ``FastPath`` of all requests with one head."""

    def begin(self, cycle: RequestCycle, body: bytes) -> bool:
        """See ``FastPath``."""
        return self.admits(body) and FastChat(self, cycle, body).begin()


class IdentifiedFastPath:
    """The ``FastPath`` of requests whose heads have ``IDENTIFYING`` headers besides those of ``head``."""

    __slots__ = ("_head",)

    def __init__(self, head: ChatFastPath) -> None:
        self._head = head

    def begin(self, cycle: RequestCycle, body: bytes) -> bool:
        """See ``FastPath``."""
        return self._head.admits(body) and FastChat(self._head, cycle, body, cycle.scope["polychat.fields"]).begin()


class FastChat:
    """One request, from its body to its response. The dialect reads the chat from it."""

    __slots__ = (
        *("body", "opened", "runtime"),
        *("_attempt", "_called_at", "_chat", "_connection", "_cycle", "_facts", "_head", "_heartbeats", "_id", "_inbound"),
        *("_key", "_kind", "_outcome", "_plan", "_record", "_routed_at", "_size", "_start", "_trace", "_tries", "_written"),
    )
    # Set by ``begin``. Declared in ``__init__``, each would cost a step.
    _plan: PreparedPlan
    _chat: InboundChat
    _kind: Kind | None
    """What its time is learned for, if the plan has several targets."""
    _outcome: ConstantOutcome
    _facts: Facts
    _routed_at: float
    """When the target was called, by the router's clock."""
    _tries: int
    """How many reads were looked at for the beginning of a stream."""

    def __init__(
        self, head: ChatFastPath, cycle: RequestCycle, body: bytes, fields: Mapping[bytes, bytes] | None = None
    ) -> None:
        """``fields``: the request's headers, if some identify it."""
        assert head.runtime is not None  # it is prepared
        self.runtime, self.body = head.runtime, body
        self.opened: Opened | None = None
        self._head, self._cycle = head, cycle
        self._start = monotonic()
        if fields is None:
            self._id, self._trace = head.service.next_id(), b""
        else:
            self._id, self._trace = id_in(fields) or head.service.next_id(), fields.get(b"traceparent", b"")
        self._key = head.context.record.key
        self._record: Record | None = None
        """Most have none: see ``UsualRequest``."""
        self._size = len(body)
        self._called_at = 0.0
        """When the target was called; 0 before."""
        self._inbound: InboundChat | None = None
        """The chat, if its reply is a stream."""
        self._heartbeats: TimeoutQueue[Ringing] | None = None
        self._attempt: StraightAttempt | None = None
        """Of a request whose reply is unusual, or does not come whole; else there is only its ``_outcome``."""

    @property
    def service(self) -> Service:
        return self._head.service

    @property
    def path(self) -> str:
        return self._head.path

    @property
    def query(self) -> str:
        return self._head.query

    @property
    def request_id(self) -> str:
        return self._id

    @property
    def record(self) -> Record:
        """Its record, with what is known so far."""
        if self._record is None:
            head = self._head
            self._record = record = Record(self._id, head.dialect.name, "POST", head.path, self._start)
            record.key = self._key
            if self._called_at:
                self._note_call(record)
        return self._record

    def _note_call(self, record: Record) -> None:
        prepared, is_traced = self._plan, bool(self._trace) and self._head.service.is_traced
        record.model, record.plan, record.route = prepared.model, prepared.plan, prepared.plan.route
        record.called_at, record.stream = self._called_at, self._inbound is not None
        if is_traced:
            record.traceparent = self._trace.decode("latin-1")

    def begin(self) -> bool:
        """Send the request; returns whether it was sent."""
        head, runtime = self._head, self.runtime
        service, bodies = head.service, head.service.bodies
        bodies.held += self._size
        inbound: InboundChat | None = None
        try:
            if bodies.held > runtime.limits.body_total:
                raise Unusual
            inbound = head.dialect.inbound(self)
            if (
                inbound.models is not None  # it does not leave the choice of a target to its model's name
                or inbound.preferences is not None
                or inbound.placeholders is not None
                or inbound.lost
                or (head.answer_of is not None and head.answer_of(self, inbound) is not None)
            ):
                raise Unusual
            self._plan = prepared = head.plan(inbound.model)
            if not (prepared.is_alone or prepared.suits(inbound)):
                raise Unusual
            self._kind = None if prepared.is_alone else kind_in(inbound)
            written, sent = prepared.written(inbound, self._trace)
            if head.is_recorded:
                self._reserve(prepared.plan, inbound)
            called_at = monotonic()
            if (outcome := prepared.outcome(runtime.router, called_at)) is None:
                raise Unusual
            self._outcome, self._facts = outcome, outcome.facts
            if (connection := head.pool.begin(written.request, sent, written.timeouts, self._check)) is None:
                raise Unusual
        except Exception:  # noqa: BLE001  # it is raised again, where the client is told, and defects logged
            return self._answer_in_task(inbound)
        self._called_at, self._written, self._connection = called_at, written, connection
        self._chat = inbound
        self._routed_at = outcome.called(called_at)
        service.running += 1
        if inbound.stream:
            self._inbound, self._heartbeats, self._tries = inbound, heartbeats(runtime, head.dialect), 0
            connection.listener, connection.taker = self._stream_changed, self._taken
            if self._heartbeats is not None:
                self._heartbeats.start(self)
        else:
            connection.listener, connection.taker = self._changed, self._taken
        if not prepared.is_alone:
            head.slow(connection.loop).start(self)
        self._cycle.fast_run = self
        if self._record is not None:
            self._show(self._record)
        return True

    def _reserve(self, plan: Plan, inbound: InboundChat) -> None:
        """Have what the chat needs of limits and budgets reserved. Raises ``Refused``."""
        head, record = self._head, self.record
        record.ownership = head.context.record.ownership
        for guard in head.guards.model:
            guard.reserve(record, plan, ChatDemand(inbound))

    def _show(self, record: Record) -> None:
        """The request is in progress, for those who look at these or end them."""
        service = self._head.service
        self._note_call(record)
        if (in_progress := service.in_progress) is not None:
            in_progress[record] = None
        if record.ownership is not None:
            service.of_people.add(record.key, self)

    def stop(self, error: PolychatError) -> None:
        """See ``Stoppable``: a task is stopped as soon as it runs."""
        if (running := self._cycle.fast_run) is not None:
            running.continue_in_task()

    def _answer_in_task(self, inbound: InboundChat | None) -> bool:
        """Let a task answer the request, which need not read the chat again if it was read."""
        self._head.service.bodies.held -= self._size
        if inbound is None:
            return False
        head, runtime, record = self._head, self.runtime, self.record  # not this object: as many are kept as streams are open
        guards = head.guards  # those of this moment: a reload may come before the task

        def answered(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            context = RequestContext(head.service, head.dialect, head.path, scope, send, runtime=runtime, record=record)
            context.chat = inbound
            return answer(head.endpoint, context, receive, guards)

        self._cycle.connection.answer_in_task(self._cycle, answered)
        return True

    def _check(self) -> None:
        """Raises ``Resting`` if the target sent a retry time while a connection was opened."""
        if self._attempt is None:
            self._facts.check(self.runtime.router.clock())
        else:
            self._attempt.check()

    def _changed(self) -> None:
        connection = self._connection
        if connection.done:
            self._answer()
        elif connection.error is not None or connection.holds_much or (connection.has_head and connection.status != 200):
            self.continue_in_task()
        elif connection.holds_some:
            timer = connection.timer
            timer.wait("idle", connection.loop.time(), timer.timeouts.idle)

    # A stream

    def _stream_changed(self) -> None:
        connection = self._connection
        if connection.done:
            self._answer()
            return
        is_refused = connection.has_head and connection.status != 200
        if not (connection.holds_some or connection.error is not None or is_refused):
            return
        reply = self._beginning()
        if reply is not None:
            self._begin_stream(reply)
        elif self._tries == MAX_TRIES:
            self.continue_in_task()
        else:
            timer = connection.timer
            timer.wait("idle", connection.loop.time(), timer.timeouts.idle)

    def _beginning(self) -> Beginning | None:
        """The reply, if its first piece is there, which is taken. Otherwise nothing is: an unusual one is not tried again."""
        connection, tries = self._connection, self._tries + 1
        self._tries = MAX_TRIES
        is_usual = connection.status == 200 and not (connection.coding or connection.error or connection.holds_much)
        if not is_usual or self._cycle.connection.write_paused:
            return None
        try:
            assert self._inbound is not None  # it is a stream
            reply = self._read_beginning(self._inbound, connection.held)
        except Exception as error:  # noqa: BLE001  # it is raised again in the task, where the client is told, and defects logged
            release_locals(error)
            return None
        if reply.ending.finish is None and not reply.is_ready:
            self._tries = tries
            return None
        return reply if reply.is_ready and self._is_taken(reply) else None

    def _read_beginning(self, inbound: InboundChat, data: bytes) -> Beginning:
        """Raises ``PolychatError`` for what cannot be translated."""
        written = self._written
        secrets = written.request.secrets
        if written.translation is None:
            return PassedBeginning(inbound, data, secrets, self._plan.name)
        return TranslatedBeginning(inbound, data, secrets, written.translation.direct)

    def _is_taken(self, reply: Beginning) -> bool:
        """Take the first piece, of a reply that may be sent as it is."""
        connection, written = self._connection, self._written
        if self._is_held_back():
            return False
        sent_at, label = connection.sent_at, self._plan.target.label
        return reply.take(PooledResponse(self._head.pool, connection, written.request, sent_at=sent_at, provider=label))

    def _is_held_back(self) -> bool:
        """Whether the beginning of the stream is held back for a while, since another target could be tried."""
        return not self._plan.is_alone and self._facts.hold(self.runtime.router.clock()) is not None

    def _begin_stream(self, reply: Beginning) -> None:
        connection, answered_at = self._connection, monotonic()
        self._let_go()
        connection.timer.stop()
        try:
            limits = rate_limits_in(reply.response.raw_headers)
            self._begun_attempt().answered(limits, self._kind)
            self._note_answer(answered_at)
            self.body = self._cycle.body = b""
            stream = FastStream(self, self._cycle, connection, reply, self._heartbeats, self._counting())
            stream.begin(self._head_lines(reply.content_type, limits, answered_at, stream=True))
        except Exception as error:  # noqa: BLE001  # it is raised again in the task
            self._fail(error)

    def _begun_attempt(self) -> StraightAttempt:
        """The attempt that began when the target was called, for what is not over with a whole reply."""
        outcome = self._outcome
        self._attempt = attempt = StraightAttempt(
            self.runtime.router, self._plan.plan, outcome.facts, outcome.budget, self._routed_at
        )
        return attempt

    def _counting(self) -> Callable[[bytes], bytes] | None:
        """What counts the pieces of a stream; ``None`` if its key has no limits."""
        meter = None if self._record is None else self._record.meter
        return None if meter is None or self._inbound is None else meter.reader(self._head.dialect.piece_end)

    def ended(self, outcome: Outcome) -> None:
        record, finish, target = self.record, outcome.finish, self._plan.target
        assert finish is not None  # it is over
        note_usage(record, self.runtime, outcome, target, self._called_at, self._written.url, self._facts.shared)
        record.verdict, record.reason = finish.verdict, finish.reason
        if finish.error is not None:
            record.error = reason_of(finish.error)
        elif finish.verdict == "complete" and not self._written.losses:
            record.kind = self._plan.kind(
                record.key, record.served, finish.reason, record.passthrough, record.stream, "", self._written.url
            )

    def over(self, error: PolychatError | None = None) -> None:
        """The request is over. ``error``: what cut its stream off."""
        record, service, attempt = self.record, self._head.service, self._attempt
        try:
            if attempt is not None:
                if record.verdict == "complete":
                    attempt.completed()
                else:
                    attempt.end(error)
        except Exception as defect:  # noqa: BLE001  # the answer is out, and the request must still be counted as over
            service.bug(defect, record)
        if error is not None:
            release_locals(error)
        service.bodies.held -= self._size
        if record.ownership is not None:
            service.of_people.discard(record.key, self)
        record.over = monotonic()
        service.ended(record)

    def continue_stream(self, stream: FastStream, *, is_silent: bool) -> None:
        assert self._attempt is not None  # the answer has begun
        early = EarlyStream(partial(stream.reply.resumed, stream.error), self._attempt, stream.latest, self._written.url)
        self._go_on(EarlyAttempt(self._plan.target, self._connection, self._called_at, is_silent, early), self._head.endpoint)

    def ring(self) -> None:
        """See ``Ringing``: a heartbeat begins the response."""
        self.continue_in_task(is_silent=True)

    # A whole reply

    def _answer(self) -> None:
        """The reply is complete, perhaps a stream of which nothing was sent: send it to the client, if possible."""
        connection = self._connection
        is_usual = connection.status == 200 and not connection.coding
        if not is_usual or not self._answered(connection.held, connection.content_type, rate_limits_on(connection)):
            self.continue_in_task()

    def _taken(self, known: KnownReply, values: tuple[bytes, ...], body: bytes) -> bool:
        """See ``Taker``."""
        limits: Headers = [] if known.places == () else known_rate_limits(known, values)
        if self._answered(body, b"" if self._inbound is None else known.content_type(values), limits):
            return True
        self._connection.listener = self.continue_in_task
        return False

    def _answered(self, body: bytes, content_type: bytes, limits: Headers) -> bool:
        """Send the client a complete reply; returns whether that was possible. ``limits``: its headers about rate limits."""
        written, cycle = self._written, self._cycle
        if cycle.connection.write_paused:
            return False
        try:
            if (secrets := written.request.secrets) is not None:
                body = secrets.whole(body)
                if limits:
                    limits = secrets.headers(limits)
            if self._inbound is None and written.translation is None:
                reply: WholeReply | None = passed_whole(self._head.dialect, body, self._plan.name)
            else:
                reply = self._read(body, content_type)
        except Exception as error:  # noqa: BLE001  # it is raised again, where failures are told, and defects logged
            release_locals(error)
            return False
        if reply is None or (finish := reply[1]).error is not None:
            return False
        answered_at, is_complete, connection = monotonic(), finish.verdict == "complete", self._connection
        self._let_go()
        connection.timer.stop()
        try:
            if self._record is not None and (counting := self._counting()) is not None:
                counting(reply[0])
            if is_complete:
                self._outcome.answered_whole(self._routed_at, limits, self._kind, answered_at)
            else:
                self._begun_attempt().answered(limits, self._kind)
            self._head.pool.give_back(connection)
            cycle.body = b""  # its connection would refer to it until the next request
            if self._record is None and is_complete and not written.losses:
                self._end_usually(reply, limits, answered_at)
                return True
            lines = self._noted(reply, limits, answered_at)
        except Exception as error:  # noqa: BLE001  # it is raised again in the task
            self._fail(error)
            return True
        self._respond(lines, reply[0])
        self.over()
        return True

    def _respond(self, lines: bytes, body: bytes) -> None:
        """Send a whole response."""
        cycle = self._cycle
        try:
            if self._inbound is None:
                cycle.respond_now(200, lines, body)
            else:
                cycle.respond_stream_now(lines, body)
        except Exception as error:  # noqa: BLE001  # the counts go down all the same
            self.broken_off(error)

    def broken_off(self, error: Exception) -> None:
        """A defect came up while the response was sent: no other can be, so the connection ends. ``over`` follows."""
        self.service.bug(error, self.record)
        self._cycle.connection.transport.close()

    def _end_usually(self, reply: WholeReply, limits: Headers, answered_at: float) -> None:
        """Send the complete reply of a request that needs no record. What it raises comes before that."""
        plan, written, called_at, cost = self._plan, self._written, self._called_at, None
        body, finish, usage, served, content_type = reply
        target = plan.target
        served = served[:LONGEST] if served else target.model
        is_stream, passthrough = self._inbound is not None, written.translation is None
        kind = plan.kind(self._key, served, finish.reason, passthrough, is_stream, content_type, written.url)
        if usage is not None:
            self.runtime.router.chooser.settled(target.name, usage, answered_at - called_at, self._facts.shared)
            cost = kind.prices.of(usage)
        start, request_id, service, over = self._start, self._id, self._head.service, monotonic()
        name = request_id.encode()
        overhead = ((called_at - start) + (over - answered_at)) * 1000
        lines = kind.head_form % ((name, name, overhead) if kind.has_own_id else (name, overhead))
        if limits:
            lines += header_lines(limits)
        if cost is not None and not is_stream:
            lines += cost_line(cost)
        try:
            if not self._cycle.respond_at_once(STREAM if is_stream else WHOLE, lines, body):
                self._respond(lines, body)
        except Exception as error:  # noqa: BLE001  # as in ``_respond``
            self.broken_off(error)
        service.bodies.held -= self._size
        service.ended_usually((kind, request_id, start, called_at, answered_at, over, usage, cost))

    def _read(self, body: bytes, content_type: bytes) -> WholeReply | None:
        """The reply in the client's format; ``None`` if it is no answer. Raises if it reports a failure, or cannot be read."""
        translation, inbound, name = self._written.translation, self._inbound, self._plan.name
        if inbound is None:
            assert translation is not None  # see ``_answered``
            return translation.answer(self._chat, body)
        if self._is_held_back():
            return None
        if translation is None:
            return passed_stream(inbound, content_type, body, self._written.request.secrets, name)
        return translation.answer_stream(inbound, body)

    def _noted(self, reply: WholeReply, limits: Headers, answered_at: float) -> bytes:
        """The header lines of the response, whose facts are also recorded."""
        _, finish, usage, served, content_type = reply
        record, outcome = self.record, Outcome(finish, usage, served)
        self._note_answer(answered_at)
        if record.stream:
            lines = self._head_lines(content_type, limits, answered_at, stream=True)  # with what is left before the end
            self.ended(outcome)
            return lines
        self.ended(outcome)
        return self._head_lines(content_type, limits, answered_at, stream=False) + cost_line(record.cost)

    def _note_answer(self, answered_at: float) -> None:
        """Record which target answers, and that the response begins."""
        record, target = self.record, self._plan.target
        record.passthrough, record.attempts, record.status = self._written.translation is None, 1, 200
        record.provider, record.served, record.answered = target.label, target.model, target.name
        record.first = answered_at

    def _head_lines(self, content_type: str, limits: Headers, answered_at: float, *, stream: bool) -> bytes:
        """The header lines of the response, whose reply was there ``answered_at``."""
        record, losses = self.record, self._written.losses
        overhead = (self._called_at - record.start) + (monotonic() - answered_at)
        if record.meter is not None:
            limits = record.meter.headers(record)
        id_header, target = self._head.dialect.id_header, self._plan.target
        lines = head_lines(id_header, record.request_id, content_type, target, 1, overhead, stream=stream)
        if limits:
            lines += header_lines(limits)
        return lines + losses_line(record, losses) if losses else lines

    def _let_go(self) -> None:
        """Stop all callbacks to this object."""
        if self._kind is not None:
            self._head.slow(self._connection.loop).stop(self)
        if self._heartbeats is not None:
            self._heartbeats.stop(self)
        self._cycle.fast_run = None
        self._connection.listener = self._connection.taker = None

    def continue_in_task(self, *, is_silent: bool = False) -> None:
        """A task continues the request. ``is_silent``: a heartbeat is due."""
        if self._cycle.fast_run is not self:
            return
        self._let_go()
        self._begun_attempt().failed()
        self._go_on(EarlyAttempt(self._plan.target, self._connection, self._called_at, is_silent), self._head.endpoint)

    def _fail(self, error: Exception) -> None:
        """A defect came up after ``_let_go``, and nothing was sent: a task refuses the request, as any that meets a defect."""
        attempt, connection = self._attempt, self._connection
        if attempt is not None:
            attempt.end()
        elif connection.in_use:
            self._begun_attempt().failed()
        if connection.in_use:  # it was not given back
            self._head.pool.give_back(connection)
        self._go_on(None, failing(self._head.endpoint, error))

    def _go_on(self, early: EarlyAttempt | None, endpoint: Endpoint) -> None:
        """Let a task answer as ``endpoint`` does. ``early``: the attempt that it continues."""
        if self.record.ownership is not None:
            self.service.of_people.discard(self.record.key, self)
        self._cycle.connection.answer_in_task(self._cycle, partial(self._run, early, endpoint))

    async def _run(self, early: EarlyAttempt | None, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
        head = self._head
        context = RequestContext(self.service, head.dialect, head.path, scope, send, runtime=self.runtime, record=self.record)
        context.body, context.early, context.chat = self.body, early, self._inbound
        try:
            if early is not None and (counting := self._counting()) is not None:
                context.responder.tap(counting)
        except Exception as error:  # noqa: BLE001  # it is raised again below
            endpoint = failing(endpoint, error)
        received_body(receive)  # it was read
        share = Share(self.service.bodies, self.runtime.limits.body_total, self._size)
        try:
            await answer(endpoint, context, receive, Guards(), share)
        finally:
            if (unused := context.take_early_connection()) is not None:  # its target was not called
                self._head.pool.give_back(unused)
                if self._attempt is not None:
                    self._attempt.end()

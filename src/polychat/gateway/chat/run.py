"""A chat at the gateway: read by one wire, routed, and written by another, or passed through if both are the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from ...backends.relay import rate_limits
from ...calls.info import CallInfo
from ...errors import BackendError, BadInput, PolychatError, Truncated
from ...events import Finish, Usage
from ...routing import Plan, Target
from ...routing.attempts import Attempts
from ...routing.clocks import Kind
from ...routing.continuation import Part, can_continue, continuation_of, continued
from ...routing.hedged import hedged
from ...routing.holding import OpeningHold, Pumped
from ...routing.resolve import LONGEST
from ...routing.traits import UNKNOWN, Traits
from ...tracebacks import release_locals
from ...types import ChatRequest, HostedTool, TextPart
from ...wire.faults import fault_of
from ...wire.naming import Naming
from ...wire.reading import failure_in, finish_of
from ...worker_threads import in_thread
from ..admission.demand import ChatDemand
from ..context import EarlyStream, RequestContext, reason_of
from ..dialects.bodies import open_body
from ..dialects.dialect import Dialect, InboundChat, InboundRequest
from ..responder import Refused
from .candidates import plan_of
from .delivery import Delivery
from .heartbeat import Heartbeat
from .opening import LARGE, after_opening, needs_opening
from .passing import forwarded, name_for_client, passed_whole
from .preferences import hosted_tools, on_loss
from .replies import EventReply, OpenReply, Outcome, PassthroughBody, open_events, open_stream
from .shadowing import mirror
from .traits import ChatTraits, kind_in

if TYPE_CHECKING:
    from ...backends.relay import Relay
    from ...http.pool.body import RequestBody
    from ...http.pool.response import PooledResponse
    from ...wire.contract import Wire

MAX_REPLY = 64 * 1024 * 1024
"""Maximum bytes of a whole reply that is passed through."""


Answers: TypeAlias = Callable[[RequestContext, InboundChat], Awaitable[None]]


class Chats:
    """Answers at an endpoint for one dialect's chats: without a task, if possible."""

    __slots__ = ("_dialect", "answer_of")

    def __init__(
        self, dialect: Dialect, answer_of: Callable[[InboundRequest, InboundChat], Answers | None] | None = None
    ) -> None:
        """``answer_of`` returns what answers a request that is no usual chat; ``None`` for one that is."""
        self._dialect, self.answer_of = dialect, answer_of

    def __call__(self, context: RequestContext) -> Awaitable[None]:
        if needs_opening(context):
            return after_opening(context, self)
        inbound = context.chat or self._dialect.inbound(context)
        if self.answer_of is not None and (answer := self.answer_of(context, inbound)) is not None:
            return answer(context, inbound)
        return ChatRun(context, inbound).run()

    async def opened(self, context: RequestContext) -> InboundChat | None:
        """The chat of a request that waits to be answered; ``None`` if it is no usual one. Raises as its reader."""
        if needs_opening(context):
            context.opened = await in_thread(open_body, context.body, context.runtime.limits)
        context.chat = inbound = context.chat or self._dialect.inbound(context)
        return inbound if self.answer_of is None or self.answer_of(context, inbound) is None else None


class ChatRun:
    """One chat: from the request to the last byte of its response."""

    def __init__(self, context: RequestContext, inbound: InboundChat) -> None:
        self.context, self.inbound = context, inbound
        self.attempts = Attempts()
        if (early := context.early) is not None:
            self.attempts.called_first, self.attempts.called_before = early.target, early.called_at
        self.delivery = Delivery(context, inbound)
        self.plan: Plan
        self.traits: Traits
        context.chat = inbound
        record = context.record
        record.model, record.stream = inbound.model[:LONGEST], inbound.stream

    async def run(self) -> None:
        context, inbound, record = self.context, self.inbound, self.context.record
        early = context.early
        stream = None if early is None else early.stream
        self.plan = plan = await plan_of(context, inbound) if stream is None else stream.attempt.plan
        record.plan, record.route = plan, plan.route
        for guard in context.model_guards:
            if (waiting := guard.before(context, plan, ChatDemand(inbound))) is not None:
                await waiting
        if stream is not None:
            self._resume(stream)
        heartbeat = self._heartbeat(is_due=early is not None and early.is_silent) if inbound.stream else None
        reply: OpenReply | None = None
        try:
            if stream is not None:
                reply = stream.resumed()
            elif context.guards:
                reply = await self._guarded()
            if reply is None:
                reply = await self._routed()
            self._credit()
            await self.delivery.send(reply)
        except PolychatError as error:
            await self._failed(error)
        except asyncio.CancelledError:
            await self._stopped(reply)
            raise
        finally:
            self._over(heartbeat)
            if reply is not None:
                await reply.close()
            else:
                self._credit()  # of an earlier request whose client left
            if plan.shadow is not None and self.attempts.count:
                mirror(context, inbound, plan)

    def _resume(self, stream: EarlyStream) -> None:
        """Continue with a stream whose beginning was sent."""
        context, delivery = self.context, self.delivery
        assert context.early is not None
        delivery.called_at, delivery.api_url = context.early.called_at, stream.api_url
        context.early = self.attempts.called_first = None
        stream.attempt.continue_in(self.attempts)
        context.responder.resume(stream.latest)

    def _heartbeat(self, *, is_due: bool) -> Heartbeat | None:
        heartbeat = Heartbeat.of(self.context, self.inbound)
        if heartbeat is not None and is_due:
            heartbeat.ring()
        return heartbeat

    def _routed(self) -> Awaitable[OpenReply]:
        """The reply of a backend, once it has begun."""
        context, plan = self.context, self.plan
        is_plain = len(plan.targets) == 1 and not plan.rules.conditions and plan.rules.concurrency is None
        self.traits = UNKNOWN if is_plain else ChatTraits(context, self.inbound, plan)
        if plan.rules.continuation and (request := self._continuable()) is not None:
            return self._continued(request)
        return self._hedged(ChatRun._ask) if plan.rules.hedge else self._first_of(self._ask)

    def _first_of(self, ask: Callable[[Target], Awaitable[OpenReply]], **more: Any) -> Awaitable[OpenReply]:
        """The reply of the first target that begins to answer; ``more`` are arguments of ``Router.run``."""
        context, plan, attempts = self.context, self.plan, self.attempts
        run, times, until = context.runtime.router.run, context.repeated, context.deadline
        return run(plan, ask, attempts, repeated=times, traits=self.traits, kind=self._kind, deadline=until, **more)

    async def _hedged(self, ask: Callable[[ChatRun, Target], Awaitable[OpenReply]]) -> OpenReply:
        """The reply of the target that begins first, if a second one may be called."""
        other = self

        def second(plan: Plan) -> tuple[Attempts, Awaitable[OpenReply]]:
            nonlocal other
            other = ChatRun(self.context, self.inbound)
            other.plan, other.traits, other.attempts.is_continued = plan, self.traits, self.attempts.is_continued
            return other.attempts, other._first_of(partial(ask, other), is_extra=True)

        reply, attempts = await hedged(
            self.context.runtime.router,
            self.plan,
            self.traits,
            self._kind(),
            attempts=self.attempts,
            first=self._first_of(partial(ask, self)),
            second=second,
            may_hedge=self._may_hedge,
            discard=OpenReply.close,
        )
        if attempts is not self.attempts:
            self.attempts, self.delivery = attempts, other.delivery
        return reply

    def _may_hedge(self) -> bool:
        """Whether the request may be sent twice: no vendor runs tools for it, and another task may read the reply."""
        with suppress(BadInput, Refused):
            tools = self.inbound.request().tools
            are_ours = not any(isinstance(tool, HostedTool) for tool in tools)
            return are_ours and all(target.backend.restores for target in self.plan.targets)
        return False

    # A reply that another target continues: see ``routing/continuation.py``

    def _continuable(self) -> ChatRequest | None:
        """The request, if its reply may be continued."""
        inbound = self.inbound
        if not inbound.stream or inbound.size > LARGE:
            return None
        with suppress(BadInput, Refused):
            request = inbound.with_media()
            return request if can_continue(request) else None
        return None

    async def _continued(self, request: ChatRequest) -> OpenReply:
        hedges = self.plan.rules.hedge
        self.attempts.is_continued = True
        reply = await (self._hedged(ChatRun._translated) if hedges else self._first_of(self._translated))
        assert isinstance(reply, EventReply)
        batches = continued(reply.first, reply.batches, request, self._part_after, self._price)
        return EventReply(batches, reply.first[:-1] if failure_in(reply.first) else reply.first)

    def _price(self, usage: Usage) -> float | None:
        """What the part of the reply at hand costs, which this target gave."""
        target = self.attempts.target
        return None if target is None else self.context.runtime.pricing(target, usage)

    async def _part_after(self, error: PolychatError, text: str) -> Part:
        """The reply of the target that continues after ``text``, where the last one was cut off."""
        attempts, record, responder = self.attempts, self.context.record, self.context.responder
        attempts.cut(error)
        reply = await self._first_of(partial(self._translated, text=text), after=error)
        assert isinstance(reply, EventReply)
        assert attempts.target is not None
        note = f"by {attempts.target.name} after {len(text):,} characters"
        record.seams = (*record.seams, note)
        self._credit()
        if seam := self.inbound.dialect.seam(f"continued {note}"):
            await responder.heartbeat(seam)
        return Part(reply.first, reply.batches)

    async def _failed(self, error: PolychatError) -> None:
        """Send the error to the client."""
        record, responder, delivery = self.context.record, self.context.responder, self.delivery
        self._credit()
        record.verdict = "truncated" if isinstance(error, Truncated) else "failed"
        fault = fault_of(error)
        record.error, record.billed = reason_of(error), isinstance(error, BackendError) and error.paid
        release_locals(error)
        if not responder.started:
            await responder.refuse(fault, delivery.limits if delivery.call_info is None else delivery.call_info.limits)
        else:  # a heartbeat was sent first: the stream reports the failure
            await responder.last(delivery.failure(finish_of(error)))

    async def _stopped(self, reply: OpenReply | None) -> None:
        """The client left, or the gateway ends the request: a client that is still connected gets the end of its stream."""
        responder, delivery = self.context.responder, self.delivery
        error: BackendError | None = responder.stopped
        if error is None and self.context.service.draining:
            error = Truncated("the gateway is shutting down: retry the request")
        if error is not None and responder.streams:
            finish = Finish("truncated", error=error)
            delivery.ended(finish)
            await responder.last(delivery.cut(reply, finish))

    def _over(self, heartbeat: Heartbeat | None) -> None:
        """Complete the record."""
        delivery = self.delivery
        if self.context.record.verdict == "complete":
            self.attempts.completed()
        self.attempts.end(delivery.error)
        if delivery.error is not None:
            release_locals(delivery.error)
        if heartbeat is not None:
            heartbeat.stop()
        if delivery.text is not None:
            self.context.record.text = (self._last_text(), "".join(delivery.text))

    async def _guarded(self) -> OpenReply | None:
        """The answer of a guard in place of a backend."""
        for guard in self.context.guards:
            waiting = guard.before(self.context)
            if waiting is not None and (reply := await waiting) is not None:
                return reply
        return None

    def _last_text(self) -> str:
        """The text of the last message."""
        with suppress(BadInput, Refused):
            turns = self.inbound.with_media().messages
            return "".join(part.text for part in turns[-1].parts if isinstance(part, TextPart)) if turns else ""
        return ""

    def _credit(self) -> None:
        """Record which target answers, or was the last to fail."""
        self.delivery.attempts = self.attempts.count
        self.context.record.called_at = self.delivery.called_at or None
        target = self.context.credit(self.attempts)
        if target is not None:
            self.delivery.target = target

    def _ask(self, target: Target) -> Awaitable[OpenReply]:
        """One attempt; returns a reply that has begun. Raises ``PolychatError``."""
        inbound = self.inbound
        early = self.context.early
        self.delivery.called_at = monotonic() if early is None else early.called_at
        relay = target.backend.relay(inbound.dialect.wire.NAME) if inbound.may_pass else None
        if relay is not None and relay.takes(inbound.fields):
            return self._relayed(target, relay)
        return self._translated(target)

    async def _translated(self, target: Target, text: str = "") -> OpenReply:
        """``text``: the part of the reply that the client has, which is to be continued."""
        rules, delivery = self.plan.rules, self.delivery
        inbound, whole = self.inbound, bool(text) or not target.backend.restores
        is_large = inbound.size > LARGE
        if is_large:
            request = await in_thread(inbound.request_for, target.model, whole=whole)
        else:
            request = inbound.request_for(target.model, whole=whole)
        if text:
            request = continuation_of(request, text, continues=target.backend.continues(target.model))
        delivery.call_info = call_info = CallInfo(on_loss(self.context, rules), hosted_tools(self.context, rules))
        call_info.is_large, call_info.take_early_connection = is_large, self.context.take_early_connection
        if not whole:
            call_info.placeholders = inbound.placeholders
            call_info.whole = partial(inbound.request_for, target.model, whole=True)
        batches = target.backend.answers(request, call_info, timeout=self.attempts.timeouts)
        hold = None if text else self._hold(inbound.dialect.wire)
        if hold is not None and whole:
            batches, hold = (Pumped(batches), hold) if self.attempts.hold() else (batches, None)
        try:
            reply = await open_events(batches, call_info, whole=not inbound.stream, hold=hold)
        finally:
            self.attempts.limits = call_info.limits
        delivery.answered_at = monotonic()
        delivery.limits, delivery.api_url = call_info.limits, call_info.url
        return reply

    async def _relayed(self, target: Target, relay: Relay) -> OpenReply:
        inbound, delivery = self.inbound, self.delivery
        dialect, stream = inbound.dialect, inbound.stream
        call_info = fields = None
        if relay.fit is not None:
            call_info = CallInfo(on_loss(self.context, self.plan.rules))
            fields = relay.fit(inbound.fields, call_info)
        body: RequestBody
        body = short = dialect.relayed(inbound, target.model, usage=relay.usage, fields=fields)
        if (aside := inbound.placeholders) is not None:
            body = await in_thread(aside.sent, short) if inbound.size > LARGE else aside.sent(short)
        path = dialect.path(target.model, stream=stream)
        headers = forwarded(dialect, self.context.headers)
        early = self.context.take_early_connection()
        response = await relay.ask(path, body, headers, timeouts=self.attempts.timeouts, provider=target.label, sent_on=early)
        del body, short  # the body may be large, and the reply may take long
        try:
            delivery.answered_at = monotonic()
            delivery.call_info, delivery.api_url = call_info, relay.url
            delivery.limits = self.attempts.limits = rate_limits(response)
            if not response.ok:
                raise await relay.refusal(response)
            if not stream:
                whole, finish, usage, served, _ = passed_whole(
                    dialect, await response.read(MAX_REPLY), self._name_for_client(target)
                )
                return PassthroughBody(whole, Outcome(finish, usage, served))
            reply = await self._relayed_stream(response, target, call_info)
        except BaseException:
            response.close()
            raise
        delivery.answered_at = monotonic()
        return reply

    async def _relayed_stream(self, response: PooledResponse, target: Target, call_info: CallInfo | None) -> OpenReply:
        dialect = self.inbound.dialect
        if response.content_type != dialect.stream_type:
            # It answers whole all the same: for a client that gets a stream, the reply is read, and written as one.
            return await open_events(response.events(dialect.wire.Reader()), call_info, whole=False)
        name = self._name_for_client(target)
        naming = None if name is None else Naming(dialect.model_member, name, dialect.piece_end)
        return await open_stream(response, dialect.monitor(self.inbound), naming, self._hold(dialect.wire))

    def _hold(self, wire: Wire) -> OpeningHold | None:
        """What may be held back of the current attempt."""
        attempts = self.attempts
        return OpeningHold(attempts.hold, attempts.begins, wire.Reader) if self.inbound.stream and attempts.may_hold else None

    def _name_for_client(self, target: Target) -> str | None:
        """See ``name_for_client``. A client that lists several models needs to know which of them answered."""
        models = self.inbound.models
        return (
            None
            if models is not None and len(models) > 1
            else name_for_client(self.inbound.dialect, self.inbound.model, target)
        )

    def _kind(self) -> Kind:
        return kind_in(self.inbound)

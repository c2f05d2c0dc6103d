"""A chat at the gateway: read by one wire, routed, and written by another, or let pass where both are the same."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable
from contextlib import suppress
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING

from ...backends.relay import rate_limits
from ...costs import cost_of
from ...errors import BadInput, PolychatError, Truncated, shown
from ...events import Event, Finish, Text, Usage
from ...http.server.asgi import Headers
from ...http.timeouts import Timeouts
from ...providers import Notes
from ...routing import Plan, Target
from ...routing.resolve import LONGEST
from ...routing.router import Attempts
from ...types import Ask, TextPart
from ...wire.answering import Writer
from ...wire.faults import fault_of
from ...wire.ledger import Loss
from ...wire.naming import Naming, named_body
from ...wire.passing import StreamMonitor
from ...wire.reading import finish_of
from ..context import Refused, RequestContext
from ..dialects.dialect import InboundChat
from ..listing import planned
from .heartbeat import Heartbeat
from .preferences import hosted_tools, on_loss
from .replies import OpenReply, PassthroughBody, PassthroughStream, judged, translated

if TYPE_CHECKING:
    from ...backends.relay import Relay

MAX_REPLY = 64 * 1024 * 1024
"""Bytes of a reply that passes through whole."""


def answered(context: RequestContext) -> Awaitable[None]:
    """The endpoint of every chat."""
    return Chat(context, context.dialect.inbound(context)).run()


class Chat:
    """One chat: from the question to the last byte of its answer."""

    def __init__(self, context: RequestContext, inbound: InboundChat) -> None:
        self.context, self.inbound = context, inbound
        self.attempts = Attempts()
        self.asked_at = self.answered_at = 0.0
        self.notes: Notes | None = None
        self.asked_url = ""
        """Where the backend was asked; empty where that is its own place."""
        self.limits: Headers = []
        self.said: list[str] | None = [] if context.runtime.gateway.log_text else None
        """The answer's text, where the log is to hold it."""
        self._timeouts: Timeouts | None = None
        self.plan: Plan
        self.target: Target
        record = context.record
        record.model, record.stream = inbound.model[:LONGEST], inbound.stream

    async def run(self) -> None:
        context, inbound, record = self.context, self.inbound, self.context.record
        self.plan = plan = await planned(context, *(inbound.models or (inbound.model,)))
        record.route = plan.route
        seconds = context.runtime.heartbeat
        beats = Heartbeat(context, seconds) if inbound.stream and seconds and inbound.dialect.beat else None
        begun: OpenReply | None = None
        try:
            begun = await context.runtime.router.run(plan, self._ask, self.attempts, repeated=context.repeated)
            self._credit()
            await begun.send(self)
        except PolychatError as error:
            self._credit()
            record.verdict = "truncated" if isinstance(error, Truncated) else "failed"
            fault = fault_of(error)
            record.error = context.reason(error)
            if not context.started:
                await context.refuse(fault, self.limits if self.notes is None else self.notes.limits)
            else:  # a heartbeat came first: the stream tells of the failure
                await self._fail(error)
        except asyncio.CancelledError:
            if context.gateway.draining and context.streams:
                finish = Finish("truncated", error=Truncated("the gateway is stopping: ask again, and another will answer"))
                self.ended(finish)
                await context.last(self.failure(finish) if begun is None else begun.cut(self, finish))
            raise
        finally:
            if beats is not None:
                beats.stop()
            if self.said is not None:
                record.text = (self._asked(), "".join(self.said))
            if begun is not None:
                await begun.close()
            else:
                self._credit()  # of one whose client left before

    def heard(self, events: list[Event]) -> None:
        """Keep what the log is to hold."""
        if self.said is not None:
            self.said += [event.text for event in events if type(event) is Text and event.choice == 0]

    def _asked(self) -> str:
        """The last turn's text."""
        with suppress(BadInput, Refused):
            turns = self.inbound.ask().turns
            return "".join(part.text for part in turns[-1].parts if isinstance(part, TextPart)) if turns else ""
        return ""

    def _credit(self) -> None:
        """Who answers, or was the last that did not."""
        target = self.context.credit(self.attempts)
        if target is not None:
            self.target = target

    def _ask(self, target: Target) -> Awaitable[OpenReply]:
        """One attempt; what it gives has begun to answer. Raises ``PolychatError``."""
        inbound = self.inbound
        dialect = inbound.dialect
        self.asked_at = monotonic()
        relay = target.backend.relay(dialect.wire.NAME) if inbound.may_pass else None
        if relay is not None and relay.takes(inbound.fields):
            return self._relayed(target, relay)
        return self._translated(target)

    async def _translated(self, target: Target) -> OpenReply:
        rules = self.plan.rules
        whole = self.inbound.placeholders is not None and not target.backend.restores
        ask = self.inbound.ask_for(target.model, whole=whole)
        self.notes = notes = Notes(on_loss(self.context, rules), hosted_tools(self.context, rules))
        if not whole:
            notes.placeholders = self.inbound.placeholders
        batches = target.backend.answers(ask, notes, timeout=rules.timeout or None, timeouts=self.timeouts)
        return await translated(batches, whole=not self.inbound.stream, chat=self)

    async def _relayed(self, target: Target, relay: Relay) -> OpenReply:
        inbound = self.inbound
        dialect, stream = inbound.dialect, inbound.stream
        notes = fields = None
        if relay.fit is not None:
            notes = Notes(on_loss(self.context, self.plan.rules))
            fields = relay.fit(inbound.fields, notes)
        body = dialect.relayed(inbound, target.model, usage=relay.usage, fields=fields)
        if inbound.placeholders is not None:
            body = inbound.placeholders.restored(body)
        path = dialect.path(target.model, stream=stream)
        response = await relay.ask(
            path, body, self._forwarded(), timeouts=self.timeouts, total=self.plan.rules.timeout or None, provider=target.label
        )
        del body  # which may be large, and the answer may take its time
        try:
            self.answered_at = monotonic()
            self.notes, self.asked_url = notes, relay.url
            self.limits = rate_limits(response)
            if not response.ok:
                raise await relay.refusal(response)
            if not stream:
                return self._passed_whole(await response.read(MAX_REPLY), self._asked_as(target))
            if response.content_type != dialect.stream_type:
                # It answers whole all the same: what the client is to get as a stream is read, and written as one.
                return await translated(response.events(dialect.wire.Reader()), whole=False, chat=self)
            name = self._asked_as(target)
            naming = None if name is None else Naming(dialect.model_member, name, dialect.piece_end)
            return await PassthroughStream.begun(response, dialect.monitor(inbound), self, naming)
        except BaseException:
            response.close()
            raise

    def _asked_as(self, target: Target) -> str | None:
        """The name that an answer which passes is to tell, where the backend was asked by another.

        Whoever lists several models wants to know which of them answered.
        """
        asked, models = self.inbound.model, self.inbound.models
        return None if asked == target.model or (models is not None and len(models) > 1) else asked

    def _passed_whole(self, body: bytes, name: str | None) -> OpenReply:
        dialect = self.inbound.dialect
        finish, usage, served = dialect.ending(body)
        if finish.error is not None and not (finish.verdict == "truncated" and body.rstrip().endswith(b"}")):
            raise judged(finish.error, [], body)
        # A whole reply that names no end says so itself, where it passes as it came.
        if name is not None:
            body = named_body(body, dialect.model_member, served, name)
        return PassthroughBody(body, finish, usage, served)

    @property
    def timeouts(self) -> Timeouts:
        if self._timeouts is None:
            rules = self.plan.rules
            self._timeouts = Timeouts(rules.connect_timeout, rules.first_timeout, rules.idle_timeout)
        return self._timeouts

    def _forwarded(self) -> dict[str, str]:
        headers, found = self.context.headers, {}
        for name in self.inbound.dialect.forwards:
            value = headers.get(name.encode())
            if value is not None:
                if len(value) > _FORWARDED:
                    said = f"the header {name} has {len(value):,} bytes; at most {_FORWARDED:,} are passed on"
                    raise BadInput(said, field=name)
                found[name] = value.decode("latin-1")
        if (trace := headers.get(b"traceparent")) is not None and len(trace) <= _FORWARDED:
            found["traceparent"] = trace.decode("latin-1")
        return found

    # What goes to the client

    def headers(self, content_type: str, *, stream: bool) -> Headers:
        """Of an answer that begins now: who answers, and what that took."""
        context, target = self.context, self.target
        now = monotonic()
        overhead = (self.asked_at - context.record.start) + (now - (self.answered_at or self.asked_at))
        said = [
            *(context.stream_headers(content_type) if stream else context.whole_headers(content_type)),
            *_told_of(target.label, target.model),
            _FIRST if self.attempts.count == 1 else (b"x-polychat-attempts", b"%d" % self.attempts.count),
            (b"x-polychat-overhead-ms", b"%.2f" % (overhead * 1000)),
            *self.limits,
        ]
        lost = [*self.inbound.lost, *(() if self.notes is None else (_lost(loss) for loss in self.notes.losses))]
        if lost:
            context.record.losses = len(lost)
            told = ", ".join(dict.fromkeys(lost))
            said.append((b"x-polychat-losses", _sendable(told[:_FORWARDED])))  # a client may name fields without end
        return said

    def counted(self, usage: Usage | None, served: str | None) -> None:
        """What the answer took, for the record."""
        record = self.context.record
        if served:
            served = record.served = served[:LONGEST]  # a backend says it: what is kept by it is bounded
        if usage is None:
            return
        record.prompt_tokens, record.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        record.cached_tokens = usage.cached_tokens
        url, model = self.target.backend.url, self.target.model
        is_elsewhere = self.asked_url not in ("", url)
        prices = self.context.runtime.configured.prices
        record.cost = cost_of(prices, self.target.label, url, served or model, usage, asked=model, is_elsewhere=is_elsewhere)

    def ended(self, finish: Finish) -> None:
        record = self.context.record
        record.verdict, record.reason = finish.verdict, finish.reason
        if finish.error is not None:
            record.error = self.context.reason(finish.error)

    def writer(self) -> Writer:
        """Raises ``BadInput``."""
        return self._writer(self.inbound.ask())

    def _writer(self, ask: Ask) -> Writer:
        return self.inbound.dialect.writer(self.inbound, ask, secrets.token_hex(12), int(time.time()))

    def failure(self, finish: Finish, monitor: StreamMonitor | None = None) -> bytes:
        """The end of a stream that failed; ``monitor``: of one that passed until then."""
        try:
            writer = self.writer()
        except (BadInput, Refused):  # what passed was the backend's to understand
            writer = self._writer(Ask(self.inbound.model, [], stream=self.inbound.stream))
        if monitor is not None:
            self.inbound.dialect.go_on(writer, monitor)
        return writer.write([finish]) + writer.end()

    async def _fail(self, error: PolychatError) -> None:
        """A stream that only a heartbeat has begun ends with what went wrong."""
        await self.context.last(self.failure(finish_of(error)))


_FIRST = (b"x-polychat-attempts", b"1")
_FORWARDED = 4096
"""Bytes of a client's header that goes to a backend, and of the losses that a header tells."""


@lru_cache(maxsize=4096)
def _told_of(label: str, model: str) -> tuple[tuple[bytes, bytes], ...]:
    return (b"x-polychat-provider", label.encode()), (b"x-polychat-model", _sendable(model))


def _lost(loss: Loss) -> str:
    """The field, with what it was where clients send that unasked and want to know."""
    return f"{loss.field} ({shown(loss.detail, 200)})" if loss.field == "tools.hosted.foreign" else loss.field


def _sendable(text: str) -> bytes:
    """As a header can carry it."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text).encode()

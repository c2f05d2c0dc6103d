"""A chat at a front door: read by one wire, routed, and written by another, or let pass where both are the same."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable
from contextlib import suppress
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING

from ..costs import cost_of
from ..errors import BadInput, PolychatError, Truncated, shown
from ..events import Event, Finish, Text, Usage
from ..providers import Notes
from ..providers._relay import rate_limits
from ..routing import Plan, Target
from ..routing.names import LONGEST
from ..routing.router import Attempts
from ..transport._timer import Waits
from ..types import Ask, TextPart
from ..wire.answering import Writer
from ..wire.faults import fault_of
from ..wire.ledger import Loss
from ..wire.passing import Watch
from ..wire.reading import finish_of
from .answers import Begun, PassedWhole, Passing, judged, translated
from .asgi import Headers
from .beats import Beats
from .door import Question
from .listing import planned
from .preferences import hosted_tools, on_loss
from .visit import Refused, Visit

if TYPE_CHECKING:
    from ..providers._relay import Relay

MAX_REPLY = 64 * 1024 * 1024
"""Bytes of a reply that passes through whole."""


def answered(visit: Visit) -> Awaitable[None]:
    """The endpoint of every chat door."""
    return Chat(visit, visit.door.question(visit)).run()


class Chat:
    """One chat: from the question to the last byte of its answer."""

    def __init__(self, visit: Visit, question: Question) -> None:
        self.visit, self.question = visit, question
        self.attempts = Attempts()
        self.asked_at = self.answered_at = 0.0
        self.notes: Notes | None = None
        self.asked_url = ""
        """Where the backend was asked; empty where that is its own place."""
        self.limits: Headers = []
        self.said: list[str] | None = [] if visit.setup.gateway.log_text else None
        """The answer's text, where the log is to hold it."""
        self._waits: Waits | None = None
        self.plan: Plan
        self.target: Target
        record = visit.record
        record.model, record.stream = question.model[:LONGEST], question.stream

    async def run(self) -> None:
        visit, question, record = self.visit, self.question, self.visit.record
        names = visit.setup.names
        models = question.models
        self.plan = plan = await planned(visit, question.model) if models is None else names.joined(models)
        record.route = plan.route
        seconds = visit.setup.heartbeat
        beats = Beats(visit, seconds) if question.stream and seconds and question.door.beat else None
        begun: Begun | None = None
        try:
            begun = await visit.setup.router.run(plan, self._ask, self.attempts, repeated=visit.repeated)
            self._credit()
            await begun.send(self)
        except PolychatError as error:
            self._credit()
            record.verdict = "truncated" if isinstance(error, Truncated) else "failed"
            fault = fault_of(error)
            record.error = visit.reason(error)
            if not visit.started:
                await visit.refuse(fault, self.limits if self.notes is None else self.notes.limits)
            else:  # a heartbeat came first: the stream tells of the failure
                await self._fail(error)
        except asyncio.CancelledError:
            if visit.gateway.draining and visit.streams:
                finish = Finish("truncated", error=Truncated("the gateway is stopping: ask again, and another will answer"))
                self.ended(finish)
                await visit.last(self.failure(finish) if begun is None else begun.cut(self, finish))
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
            turns = self.question.ask().turns
            return "".join(part.text for part in turns[-1].parts if isinstance(part, TextPart)) if turns else ""
        return ""

    def _credit(self) -> None:
        """Who answers, or was the last that did not."""
        target = self.visit.credit(self.attempts)
        if target is not None:
            self.target = target

    def _ask(self, target: Target) -> Awaitable[Begun]:
        """One attempt; what it gives has begun to answer. Raises ``PolychatError``."""
        setup, question = self.visit.setup, self.question
        door = question.door
        self.asked_at = monotonic()
        relay = setup.relay(target, door.wire.NAME) if question.may_pass else None
        if relay is not None and relay.takes(question.fields):
            return self._relayed(target, relay)
        return self._translated(target)

    async def _translated(self, target: Target) -> Begun:
        rules = self.plan.rules
        ask = self.question.ask_for(target.model)
        self.notes = notes = Notes(on_loss(self.visit, rules), hosted_tools(self.visit, rules))
        batches = target.provider.answers(ask, notes, timeout=rules.timeout or None, waits=self.waits)
        return await translated(batches, whole=not self.question.stream, chat=self)

    async def _relayed(self, target: Target, relay: Relay) -> Begun:
        question = self.question
        door, stream = question.door, question.stream
        notes = fields = None
        if relay.fit is not None:
            notes = Notes(on_loss(self.visit, self.plan.rules))
            fields = relay.fit(question.fields, notes)
        body = door.relayed(question, target.model, usage=relay.usage, fields=fields)
        path = door.path(target.model, stream=stream)
        response = await relay.ask(
            path, body, self._forwarded(), waits=self.waits, total=self.plan.rules.timeout or None, provider=target.label
        )
        try:
            self.answered_at = monotonic()
            self.notes, self.asked_url = notes, relay.url
            self.limits = rate_limits(response)
            if not response.ok:
                raise await relay.refusal(response)
            if not stream:
                return self._passed_whole(await response.read(MAX_REPLY))
            if response.content_type != door.stream_type:
                # It answers whole all the same: what the client is to get as a stream is read, and written as one.
                return await translated(response.events(door.wire.Reader()), whole=False, chat=self)
            return await Passing.begun(response, door.watch(question), self)
        except BaseException:
            response.close()
            raise

    def _passed_whole(self, body: bytes) -> Begun:
        finish, usage, served = self.question.door.ending(body)
        if finish.error is not None and not (finish.verdict == "truncated" and body.rstrip().endswith(b"}")):
            raise judged(finish.error, [], body)
        # A whole reply that names no end says so itself, where it passes as it came.
        return PassedWhole(self.question.door.named(self.question, body), finish, usage, served)

    @property
    def waits(self) -> Waits:
        if self._waits is None:
            rules = self.plan.rules
            self._waits = Waits(rules.connect_timeout, rules.first_timeout, rules.idle_timeout)
        return self._waits

    def _forwarded(self) -> dict[str, str]:
        headers, found = self.visit.headers, {}
        for name in self.question.door.forwards:
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
        visit, target = self.visit, self.target
        now = monotonic()
        overhead = (self.asked_at - visit.record.start) + (now - (self.answered_at or self.asked_at))
        said = [
            *(visit.stream_headers(content_type) if stream else visit.whole_headers(content_type)),
            *_told_of(target.label, target.model),
            _FIRST if self.attempts.count == 1 else (b"x-polychat-attempts", b"%d" % self.attempts.count),
            (b"x-polychat-overhead-ms", b"%.2f" % (overhead * 1000)),
            *self.limits,
        ]
        lost = [*self.question.lost, *(() if self.notes is None else (_lost(loss) for loss in self.notes.losses))]
        if lost:
            visit.record.losses = len(lost)
            told = ", ".join(dict.fromkeys(lost))
            said.append((b"x-polychat-losses", _sendable(told[:_FORWARDED])))  # a client may name fields without end
        return said

    def counted(self, usage: Usage | None, served: str | None) -> None:
        """What the answer took, for the record."""
        record = self.visit.record
        if served:
            served = record.served = served[:LONGEST]  # a backend says it: what is kept by it is bounded
        if usage is None:
            return
        record.prompt_tokens, record.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        record.cached_tokens = usage.cached_tokens
        url, model = self.target.provider.url, self.target.model
        is_elsewhere = self.asked_url not in ("", url)
        record.cost = cost_of(self.target.label, url, served or model, usage, asked=model, is_elsewhere=is_elsewhere)

    def ended(self, finish: Finish) -> None:
        record = self.visit.record
        record.verdict, record.reason = finish.verdict, finish.reason
        if finish.error is not None:
            record.error = self.visit.reason(finish.error)

    def writer(self) -> Writer:
        """Raises ``BadInput``."""
        return self._writer(self.question.ask())

    def _writer(self, ask: Ask) -> Writer:
        return self.question.door.writer(self.question, ask, secrets.token_hex(12), int(time.time()))

    def failure(self, finish: Finish, watch: Watch | None = None) -> bytes:
        """The end of a stream that failed; ``watch``: of one that passed until then."""
        try:
            writer = self.writer()
        except (BadInput, Refused):  # what passed was the backend's to understand
            writer = self._writer(Ask(self.question.model, [], stream=self.question.stream))
        if watch is not None:
            self.question.door.go_on(writer, watch)
        return writer.write([finish]) + writer.end()

    async def _fail(self, error: PolychatError) -> None:
        """A stream that only a heartbeat has begun ends with what went wrong."""
        await self.visit.last(self.failure(finish_of(error)))


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

"""Calls without a ``RoutedCall``: a text or a plain conversation to one healthy target, sent at once on an idle connection.

``DirectAsk`` does for ``ask`` with the same model and options what ``RoutedCall`` and ``Stream`` do for any call, and
``DirectStream`` (``beginning.py``) begins a ``Stream`` so.

step                 usual                                  else: ``RoutedCall``
===================  =====================================  ==================================================================
it is called         the request is sent                    a target that is not healthy, no idle connection, no key, a large
                                                            prompt: nothing was done
the reply arrives    whole: all of it in one read, after    it takes the reply from the connection as if it had sent the
                     its head or with it; a stream: its     request: another status than 200, compressed, failed, or cut
                     first events                           off; a whole reply in many reads
the stream goes on                                          it reads what follows
the caller leaves    the connection is closed
===================  =====================================  ==================================================================

So errors, retries and unusual replies are handled in one place, and a reply costs a third of what it would cost there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from ..backends.compiled import CompiledRequest
from ..backends.relay import rate_limits_on
from ..calls.plain_conversation import PlainPrompt
from ..costs import cost_of
from ..errors import PolychatError
from ..events import Event, Finish
from ..wire.assembly import AssembledReply
from .prepared import PreparedCall, check_prompt
from .reply import Reply, estimated, reply_from
from .streaming import Stream

if TYPE_CHECKING:
    from ..backends.ready import ReadyRequest
    from ..http.pool.connection import PoolConnection
    from ..http.pool.pool import Pool
    from ..routing.constant import ConstantOutcome
    from ..routing.straight import StraightAttempt
    from ..wire.contract import TextAnswer
    from .routed import RoutedCall
    from .targets import Targets


@cache
def _get_pool() -> Callable[[], Pool]:
    """Imported by the first request: importing the client loads no HTTP client."""
    from ..http.pool.pool import pool

    return pool


class DirectCalls:
    """Calls with the model and options of the kept call ``prepared``, with any prompts that ``compiled`` is for."""

    __slots__ = (
        *("_body", "_options", "backend", "compiled", "get_pool", "model", "name", "prepared", "straight", "target"),
        "targets",
    )

    def __init__(
        self, targets: Targets, prepared: PreparedCall, compiled: CompiledRequest, body: Callable[[Any], bytes | None]
    ) -> None:
        """``body`` gives the request's body with a prompt: see ``CompiledRequest.body``."""
        self.target = prepared.plan.targets[0]
        self.targets, self.prepared, self.compiled, self._body = targets, prepared, compiled, body
        self._options, self.straight, self.get_pool = prepared.options, prepared.straight, _get_pool()
        self.backend, self.model = self.target.backend, self.target.model or None
        self.name = self.backend.name

    def send(self, prompt: PlainPrompt) -> tuple[ConstantOutcome, float, Pool, ReadyRequest, PoolConnection] | None:
        """Send the request, if that needs no wait; returns by which outcome, when it was called, and where; else ``None``."""
        body = self._body(prompt)
        if body is None or (outcome := self.straight.current_outcome()) is None:
            return None
        try:
            ready = self.backend.ready(self.compiled, self._options)
            pool = self.get_pool()
            connection = pool.begin(ready.request, body, ready.timeouts)
        except PolychatError:  # it is raised once more, where errors are judged
            return None
        return None if connection is None else (outcome, outcome.called(), pool, ready, connection)

    def routed(self, prompt: PlainPrompt) -> RoutedCall:
        """The call with this prompt, not sent yet, that reads any reply."""
        return self.targets.prepared_call(self.prepared, None, prompt)


class SentRequest:
    """A connection on which a request was sent, until it is taken: see ``CallInfo.take_early_connection``."""

    __slots__ = ("_connection",)

    def __init__(self, connection: PoolConnection | None) -> None:
        self._connection = connection

    def take(self) -> PoolConnection | None:
        """The connection at the first call, ``None`` afterwards."""
        connection, self._connection = self._connection, None
        return connection


class DirectAsk(DirectCalls):
    """``ask`` with one of these calls, whose replies are not streamed."""

    __slots__ = ("_prices", "_url")

    def __init__(
        self, targets: Targets, prepared: PreparedCall, compiled: CompiledRequest, body: Callable[[Any], bytes | None]
    ) -> None:
        super().__init__(targets, prepared, compiled, body)
        self._prices, self._url = targets.config.prices, self.backend.url

    async def ask(self, prompt: PlainPrompt) -> Reply[Any]:
        """Raises as ``ask``."""
        sent = self.send(prompt)
        if sent is None:
            return await self._asked(prompt, None, None)
        outcome, called_at, pool, ready, connection = sent
        answer: TextAnswer | None = None
        finish: Event | None = None
        try:
            await connection.next_change()
            while not (connection.done or connection.holds_some or connection.error is not None):
                await connection.next_change()
            if connection.done and connection.status == 200 and not connection.coding:
                raw, limits, secrets = connection.held, rate_limits_on(connection), ready.request.secrets
                if secrets is not None:
                    raw, limits = secrets.whole(raw), secrets.headers(limits)
                compiled = self.compiled
                if compiled.text_answer is None or (answer := compiled.text_answer(raw)) is None:
                    events = compiled.whole(raw)
                    finish = events[-1]
        except BaseException:
            outcome.failed()
            pool.give_back(connection)
            raise
        if answer is None and (type(finish) is not Finish or finish.error is not None):
            return await self._asked(prompt, self.straight.attempt_at(outcome, called_at), connection)
        connection.timer.stop()
        pool.give_back(connection)
        outcome.answered_whole(called_at, limits)
        is_elsewhere = ready.base_url != self._url
        return self._assembled(events, raw, prompt, is_elsewhere) if answer is None else self._usual(answer, raw, is_elsewhere)

    def _usual(self, answer: TextAnswer, raw: bytes, is_elsewhere: bool) -> Reply[Any]:  # every call pays for a name
        """The reply with this answer and body."""
        text, model, served, usage, name = answer.text, self.model, answer.model, answer.usage, self.name
        cost = cost_of(self._prices, name, self._url, served or model, usage, requested=model, is_elsewhere=is_elsewhere)
        return Reply(
            name,
            model,
            text,
            "complete",
            answer.reason,
            usage=usage,
            id=answer.id,
            served=served,
            choices=[text],
            raw=raw,
            cost=cost,
        )

    def _assembled(self, events: list[Event], raw: bytes, prompt: PlainPrompt, is_elsewhere: bool) -> Reply[Any]:
        """The reply of these events, which end with a ``Finish``."""
        assembled = AssembledReply()
        assembled.take_all(events)
        assert assembled.finish is not None  # it is the last event
        usage = assembled.usage or estimated(self.prepared.request(prompt)[0], assembled)
        name, model = self.name, self.model
        served = assembled.start.model or model
        cost = cost_of(self._prices, name, self._url, served, usage, requested=model, is_elsewhere=is_elsewhere)
        return reply_from(assembled, name, model, assembled.finish.verdict, usage, cost, raw)

    async def _asked(
        self, prompt: PlainPrompt, attempt: StraightAttempt | None, connection: PoolConnection | None
    ) -> Reply[Any]:
        """The reply, asked as any other. ``attempt`` is continued if there is one, on ``connection``."""
        check_prompt(prompt)
        call, sent = self.routed(prompt), SentRequest(connection)
        if attempt is not None:
            call.resume(attempt, sent.take)
        try:
            return await Stream(self.targets, call).whole()
        finally:
            if (unused := sent.take()) is not None:
                self.get_pool().give_back(unused)


def asking(targets: Targets, prepared: PreparedCall, roles: tuple[str, ...] = ()) -> Callable[[Any], Awaitable[Reply[Any]]]:
    """``ask`` with any prompt, or any conversation whose messages have these ``roles``, for a call that is kept."""
    compiled = prepared.compiled(roles)
    if compiled is None:
        ask: Callable[[Any], Awaitable[Reply[Any]]] = partial(_asked, targets, prepared)
    else:
        ask = DirectAsk(targets, prepared, compiled, prepared.body(compiled, roles)).ask
    prepared.starts[roles] = ask
    return ask


def _asked(targets: Targets, prepared: PreparedCall, prompt: PlainPrompt) -> Awaitable[Reply[Any]]:
    """The reply with a ``Stream``. Raises ``BadInput``."""
    check_prompt(prompt)
    return Stream(targets, targets.prepared_call(prepared, None, prompt)).whole()

"""``ask`` without a ``Stream``: a text or a plain conversation to one healthy target, whose reply is read when all is there.

A ``DirectAsk`` does for calls with the same model and options what ``RoutedCall`` and ``Stream`` do for any call.

step                 usual                                  else: ``RoutedCall`` and ``Stream``
===================  =====================================  ==================================================================
it is called         the request is sent                    a target that is not healthy, no idle connection, no key, a large
                                                            prompt: nothing was done
the reply arrives    all of it in one read, after its head  they take the reply from the connection as if they had sent the
                     or with it                             request: another status than 200, compressed, in many reads,
                                                            failed, or cut off
the caller leaves    the connection is closed
===================  =====================================  ==================================================================

So errors, retries and unusual replies are handled in one place, and a reply costs a third of what it would cost there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..backends.compiled import CompiledRequest
from ..backends.relay import rate_limits_on
from ..calls.plain_conversation import PlainConversation, PlainPrompt
from ..costs import cost_of
from ..errors import PolychatError
from ..events import Event, Finish, Start, Text, Usage
from ..wire.assembly import AssembledReply
from .beginning import EarlyConnection, get_pool
from .prepared import PreparedCall, check_prompt
from .reply import Reply, estimated, reply_from
from .streaming import Stream

if TYPE_CHECKING:
    from ..http.pool.connection import PoolConnection
    from ..routing.straight import StraightAttempt
    from .targets import Targets


class DirectAsk:
    """``ask`` with any prompt that ``compiled`` is for, by the kept call ``prepared``, whose replies are not streamed."""

    __slots__ = (
        "_backend",
        "_body",
        "_compiled",
        "_model",
        "_options",
        "_pool",
        "_prepared",
        "_prices",
        "_straight",
        "_targets",
    )

    def __init__(
        self,
        targets: Targets,
        prepared: PreparedCall,
        compiled: CompiledRequest,
        body: Callable[[Any], bytes | None],
    ) -> None:
        """``body`` is that of the request with a prompt: see ``CompiledRequest.body``."""
        target = prepared.plan.targets[0]
        self._targets, self._prepared, self._compiled, self._body = targets, prepared, compiled, body
        self._options, self._straight = prepared.options, prepared.straight
        self._backend, self._model = target.backend, target.model or None
        self._prices, self._pool = targets.config.prices, get_pool()

    async def ask(self, prompt: PlainPrompt) -> Reply[Any]:
        """Raises as ``ask``."""
        body, compiled = self._body(prompt), self._compiled
        if body is None or (attempt := self._straight.constant_attempt()) is None:
            return await self._asked(prompt, None, None)
        try:
            ready = self._backend.ready(compiled, self._options)
            pool = self._pool()
            connection = pool.begin(ready.request, body, ready.timeouts)
        except PolychatError:  # it is raised once more, where errors are judged
            connection = None
        if connection is None:
            return await self._asked(prompt, attempt, None)
        finish: Event | None = None
        try:
            await connection.next_change()
            while not (connection.done or connection.holds_some or connection.error is not None):
                await connection.next_change()
            if connection.done and connection.status == 200 and not connection.coding:
                raw, limits, secrets = connection.held, rate_limits_on(connection), ready.request.secrets
                if secrets is not None:
                    raw, limits = secrets.whole(raw), secrets.headers(limits)
                events = compiled.whole(raw)
                finish = events[-1]
        except BaseException:
            attempt.failed()
            pool.give_back(connection)
            raise
        if type(finish) is not Finish or finish.error is not None:
            return await self._asked(prompt, attempt, connection)
        connection.timer.stop()
        pool.give_back(connection)
        attempt.answered_whole(limits)
        return self._reply(events, finish, raw, prompt, ready.base_url)

    def _reply(self, events: list[Event], finish: Finish, raw: bytes, prompt: PlainPrompt, address: str) -> Reply[Any]:
        """The reply of these events, the last of which is ``finish``; most replies have four."""
        if len(events) != 4:
            return self._unusual(events, raw, prompt, address)
        start, answer, usage, _ = events
        if type(answer) is not Text or type(usage) is not Usage or type(start) is not Start or answer.choice:
            return self._unusual(events, raw, prompt, address)
        text, model, backend = answer.text, self._model, self._backend
        name, url = backend.name, backend.url
        cost = cost_of(self._prices, name, url, start.model or model, usage, requested=model, is_elsewhere=address != url)
        return Reply(
            name,
            model,
            text,
            finish.verdict,
            finish.reason,
            usage=usage,
            id=start.id,
            served=start.model,
            choices=[text],
            raw=raw,
            cost=cost,
        )

    def _unusual(self, events: list[Event], raw: bytes, prompt: PlainPrompt, address: str) -> Reply[Any]:
        """As ``_reply``, of any events."""
        assembled = AssembledReply()
        assembled.take_all(events)
        assert assembled.finish is not None  # it is the last event
        usage = assembled.usage or estimated(self._prepared.request(prompt)[0], assembled)
        name, url, model = self._backend.name, self._backend.url, self._model
        served = assembled.start.model or model
        cost = cost_of(self._prices, name, url, served, usage, requested=model, is_elsewhere=address != url)
        return reply_from(assembled, name, model, assembled.finish.verdict, usage, cost, raw)

    async def _asked(
        self, prompt: PlainPrompt, attempt: StraightAttempt | None, connection: PoolConnection | None
    ) -> Reply[Any]:
        """The reply, asked as any other. ``attempt`` is continued if there is one, with ``connection`` if that was used."""
        check_prompt(prompt)
        call = self._targets.prepared_call(self._prepared, None, prompt)
        early = EarlyConnection(connection)
        if attempt is not None:
            call.resume(attempt, early.take)
        try:
            return await Stream(self._targets, call).whole()
        finally:
            if (unused := early.take()) is not None:
                self._pool().give_back(unused)


def asking(targets: Targets, prepared: PreparedCall) -> Callable[[str], Awaitable[Reply[Any]]]:
    """``ask`` with any prompt, for a call that is kept."""
    compiled = prepared.compiled()
    if compiled is None:
        prepared.ask = partial(_asked, targets, prepared)
    else:
        prepared.ask = DirectAsk(targets, prepared, compiled, compiled.body).ask
    return prepared.ask


def asking_in(
    targets: Targets, prepared: PreparedCall, roles: tuple[str, ...]
) -> Callable[[PlainConversation], Awaitable[Reply[Any]]]:
    """``ask`` with any conversation whose messages have these roles, for a call that is kept."""
    compiled = prepared.compiled(roles)
    if compiled is None:
        ask: Callable[[PlainConversation], Awaitable[Reply[Any]]] = partial(_asked, targets, prepared)
    else:
        ask = DirectAsk(targets, prepared, compiled, partial(prepared.body, compiled)).ask
    prepared.asks[roles] = ask
    return ask


def _asked(targets: Targets, prepared: PreparedCall, prompt: PlainPrompt) -> Awaitable[Reply[Any]]:
    """The reply with a ``Stream``. Raises ``BadInput``."""
    check_prompt(prompt)
    return Stream(targets, targets.prepared_call(prepared, None, prompt)).whole()

"""A call to a plan of several targets: the router asks them, and the first that begins to answer is read to its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from ..calls.info import CallInfo
from ..errors import BadInput
from ..events import Event, Finish, Start, Usage
from ..http.timeouts import Timeouts
from ..routing import Plan, Router, Target
from ..routing.clocks import Kind, kind_of, timeouts_of
from ..routing.router import Attempts
from ..routing.traits import RequestTraits
from ..types import ChatRequest, TextPart
from ..wire.reading import failure_in

_PRIVATE = ("api_key", "base_url", "cookies", "headers")
"""Options that are meant for one provider: no other may get them."""


class BegunReply(NamedTuple):
    """The reply of a target that has begun to answer."""

    target: Target
    call_info: CallInfo
    batches: AsyncGenerator[list[Event], None]
    first: list[list[Event]]
    """The batches that were read already: those up to the first piece."""


class RoutedCall:
    """One request to the targets of ``plan``. ``call_info`` has the caller's policy; each attempt records in one of its own.

    Raises ``BadInput`` for a ``timeout`` that is invalid, and for options that only one of several providers may get.
    """

    def __init__(self, router: Router, plan: Plan, request: ChatRequest, call_info: CallInfo, options: dict[str, Any]) -> None:
        _check_private(plan, options)
        self._router, self._plan = router, plan
        self._request, self._on_loss, self._options = request, call_info.on_loss, options
        self._has_timeout = "timeout" in options
        if self._has_timeout:
            Timeouts.of(options["timeout"], timeouts_of(plan.rules))  # checked before any target is asked
        self._attempts = Attempts()

    async def events(self, chosen: Callable[[Target, CallInfo], None]) -> AsyncGenerator[list[Event], None]:
        """The events of the first target that begins to answer, in batches.

        ``chosen`` is called with this target, and with what its backend records, before the first batch. Raises
        ``PolychatError`` if no target begins to answer.
        """
        router, attempts = self._router, self._attempts
        kind = None if self._has_timeout else partial(_kind, self._request)
        traits = RequestTraits(self._request, self._on_loss)
        reply = await router.run(self._plan, self._ask, attempts, traits=traits, kind=kind)
        batch = list[Event]()
        try:
            chosen(reply.target, reply.call_info)
            async with aclosing(reply.batches) as batches:
                for batch in reply.first:
                    yield batch
                async for batch in batches:
                    yield batch
        finally:
            attempts.end(failure_in(batch))
            for event in batch:
                if type(event) is Usage:
                    router.chooser.settled(reply.target.name, event)

    async def _ask(self, target: Target) -> BegunReply:
        """One attempt: the reply of ``target``, which has begun. Raises ``PolychatError``."""
        attempts, call_info = self._attempts, CallInfo(self._on_loss)
        timeouts = attempts.timeouts
        if self._has_timeout:
            timeouts = Timeouts.of(self._options["timeout"], timeouts)
        request = replace(self._request, model=target.model)
        batches = target.backend.answers(request, call_info, **{**self._options, "timeout": timeouts})
        try:
            return BegunReply(target, call_info, batches, await _first(batches))
        except BaseException:
            await batches.aclose()
            raise
        finally:
            attempts.limits = call_info.limits


def _check_private(plan: Plan, options: dict[str, Any]) -> None:
    """Raises ``BadInput`` for options that only one of several providers may get."""
    if len({target.label for target in plan.targets}) > 1:
        for name in _PRIVATE:
            if options.get(name):
                raise BadInput(f"{name} applies to one provider only, but {plan.route or 'the chain'} has several", field=name)


def _kind(request: ChatRequest) -> Kind:
    """The kind of request that the time to its first token is learned for."""
    size = sum(len(part.text) for message in request.turns for part in message.parts if isinstance(part, TextPart))
    return kind_of(streamed=bool(request.stream), size=size, reasons=request.reasoning is not None)


async def _first(batches: AsyncGenerator[list[Event], None]) -> list[list[Event]]:
    """The batches up to the first one with more than a ``Start``. Raises the error of a reply that failed before that."""
    held: list[list[Event]] = []
    async for batch in batches:
        held.append(batch)
        for event in batch:
            if type(event) is Finish and event.error is not None:
                raise event.error
            if type(event) is not Start:
                return held
    return held

"""A request to the targets of a plan, through the router, which owns retries and tracks the health of targets across calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..calls.info import CallInfo
from ..calls.plain_conversation import PlainPrompt
from ..errors import BadInput, PolychatError
from ..events import Event, Finish, Text, Usage
from ..http.sending import last_check
from ..http.timeouts import Timeouts
from ..routing import Plan, Router, Target
from ..routing.attempts import Attempts
from ..routing.clocks import Kind, kind_of, timeouts_of
from ..routing.continuation import Part, can_continue, continuation_of, continued
from ..routing.hedged import hedged
from ..routing.holding import OpeningHold, Pumped
from ..routing.straight import StraightAttempt, StraightPlan
from ..routing.traits import UNKNOWN, RequestTraits, Traits
from ..types import ChatRequest, HostedTool, TextPart
from ..wire.billing import has_piece, opening_failure
from ..wire.embeddings import Embed, Embeddings
from ..wire.reading import failure_in
from .prepared import PreparedCall

if TYPE_CHECKING:
    from ..http.pool.connection import PoolConnection

PRIVATE = ("api_key", "base_url", "cookies", "headers")
"""Options for one provider only: no other may get them."""


class RoutedCall:
    """One chat to the targets of ``plan``: ``begin`` it, read ``batches``, then ``completed`` or ``end``.

    ``call_info`` has the caller's policy; a backend's records are in ``call_info`` of this object, which is new for each
    attempt. Raises ``BadInput`` for a ``timeout`` that is invalid, and for options that only one of several providers may get.
    """

    __slots__ = (
        *(
            "_attempts",
            "_begun",
            "_begun_attempt",
            "_failure",
            "_kind",
            "_options",
            "_plan",
            "_prepared",
            "_prompt",
            "_request",
            "_router",
        ),
        *("_straight", "_traits", "batches", "call_info", "seams", "target"),
    )

    def __init__(
        self,
        router: Router,
        plan: Plan,
        request: ChatRequest | None,
        call_info: CallInfo,
        options: dict[str, Any],
        prepared: PreparedCall | None = None,
        prompt: PlainPrompt = "",
    ) -> None:
        """``request`` is ``None`` if ``prepared``, a call that is kept, makes it from ``prompt``."""
        self._prepared, self._prompt = prepared, prompt
        self._straight: StraightAttempt | None = None
        self._begun_attempt: StraightAttempt | None = None
        """The attempt that ``resume`` named."""
        self._begun: tuple[AsyncGenerator[list[Event], None], list[list[Event]]] | None = None
        """Its reply, if that has begun."""
        self._attempts: Attempts | None = None
        self._traits: Traits
        """The traits for the choice of a target and for its times, once the router is used."""
        self._kind: Callable[[], Kind] | None
        self._failure: PolychatError | None = None
        """Why the attempt failed that was made before the router was used."""
        self._router, self._plan, self._request, self._options = router, plan, request, options
        self.call_info = call_info
        self.target = plan.targets[0]
        """The target that was called last."""
        self.batches: AsyncGenerator[list[Event], None]
        """The events after those that ``begin`` returned."""
        self.seams: list[str] = []
        """Where another target continued a text that was cut off."""
        if plan.route or len(plan.targets) > 1:
            check_options(plan, options)

    async def begin(self) -> list[list[Event]]:
        """Try targets until one begins to answer; returns the batches of its events up to the first piece. Raises
        ``PolychatError``.
        """
        prepared = self._prepared
        plan = StraightPlan(self._router, self._plan) if prepared is None else prepared.straight
        straight, self._begun_attempt = self._begun_attempt or plan.attempt(), None
        self._straight = straight
        if straight is None:
            return await self._routed()
        self.call_info.check = straight.check
        try:
            first = await (self._continued_answer() or self._compiled_answer() or self._checked_answer(straight.check))
        except PolychatError as error:
            straight.failed()
            self._failure = error
        except BaseException:
            straight.failed()
            raise
        else:
            straight.answered(self.call_info.limits)
            return first
        return await self._routed()

    def resume(
        self,
        attempt: StraightAttempt,
        take_early_connection: Callable[[], PoolConnection | None] | None = None,
        begun: tuple[AsyncGenerator[list[Event], None], list[list[Event]]] | None = None,
    ) -> None:
        """``begin`` will continue this attempt, whose request was sent already on the connection that this returns, if any.

        ``begun``: its reply, and the batches that were read of it.
        """
        self._straight = self._begun_attempt = attempt
        self._begun, self.call_info.take_early_connection = begun, take_early_connection

    def completed(self, usage: Usage | None) -> None:
        """The reply is complete. ``end`` may follow."""
        if self._straight is not None:
            self._straight.completed()
            self._straight = None
        if self._attempts is not None:
            self._attempts.completed()
            if usage is not None:
                self._router.chooser.settled(self.target.name, usage)

    def end(self, error: PolychatError | None = None) -> None:
        """The reply is over: cut off by ``error``, or not needed any more. Only the first call has an effect."""
        if self._straight is not None:
            self._straight.end(error)
        if self._attempts is not None:
            self._attempts.end(error)

    def __del__(self) -> None:
        # Streams that are neither read to their end nor closed: their target would count as busy, or under probe, for ever.
        if self._straight is not None or self._attempts is not None:
            self.end()

    async def _routed(self) -> list[list[Event]]:
        plan, request = self._plan, self.request
        self._attempts, self._traits, self._kind = Attempts(), UNKNOWN, None
        if len(plan.targets) > 1 or plan.rules.conditions:
            self._traits = RequestTraits(request, self.call_info.on_loss)
            self._kind = None if "timeout" in self._options else partial(_kind, request)
        if not (plan.rules.continuation and request.stream and can_continue(request)):
            return await (self._hedged() if plan.rules.hedge else self._first_of(self._ask))
        self._attempts.is_continued = True
        first = [
            event for batch in await (self._hedged() if plan.rules.hedge else self._first_of(self._ask)) for event in batch
        ]
        self.batches = continued(first, self.batches, request, self._part_after, self._price)
        return [first[:-1] if failure_in(first) is not None else first]

    def _first_of(self, ask: Callable[[Target], Awaitable[list[list[Event]]]], **more: Any) -> Awaitable[list[list[Event]]]:
        """The result of ``ask`` for the first target that begins to answer; ``more`` are arguments of ``Router.run``."""
        assert self._attempts is not None  # set before
        return self._router.run(self._plan, ask, self._attempts, traits=self._traits, kind=self._kind, **more)

    def _price(self, usage: Usage) -> float | None:
        """What the part of the reply at hand costs, which this target gave."""
        return self._router.pricing(self.target, usage)

    async def _part_after(self, error: PolychatError, text: str) -> Part:
        """The reply of the target that continues after ``text``, where the last one was cut off."""
        attempts = self._attempts
        assert attempts is not None  # there was an answer
        attempts.cut(error)
        first = await self._first_of(partial(self._ask, text=text), after=error)
        self.seams.append(f"by {self.target.name} after {len(text):,} characters")
        return Part([event for batch in first for event in batch], self.batches)

    async def _hedged(self) -> list[list[Event]]:
        """The reply of the target that begins first, if a second one may be called."""
        own = self._attempts
        assert own is not None  # set before

        def second(plan: Plan) -> tuple[Attempts, Awaitable[tuple[RoutedCall, list[list[Event]]]]]:
            other = RoutedCall(self._router, plan, self.request, self.call_info.fresh(), self._options)
            attempts = other._attempts = Attempts()
            attempts.is_continued = own.is_continued
            other._traits, other._kind = self._traits, self._kind
            return attempts, other._begun_by(is_extra=True)

        (call, first), attempts = await hedged(
            self._router,
            self._plan,
            self._traits,
            _kind(self.request),
            attempts=own,
            first=self._begun_by(),
            second=second,
            may_hedge=self._may_hedge,
            discard=_discarded,
        )
        if call is not self:
            call._attempts = None  # they are this call's from now on
            self._attempts, self.batches, self.call_info, self.target = attempts, call.batches, call.call_info, call.target
        return first

    async def _begun_by(self, **more: Any) -> tuple[RoutedCall, list[list[Event]]]:
        """This call, and the beginning of its reply."""
        return self, await self._first_of(self._ask, **more)

    def _may_hedge(self) -> bool:
        """Whether the request may be sent twice: no vendor runs tools for it, and another task may read the reply."""
        are_ours = not any(isinstance(tool, HostedTool) for tool in self.request.tools)
        return are_ours and all(target.backend.restores for target in self._plan.targets)

    async def _ask(self, target: Target, text: str = "") -> list[list[Event]]:
        """One attempt by the router; ``text`` is the part of the reply that is to be continued. Raises
        ``PolychatError``.
        """
        attempts = self._attempts
        assert attempts is not None  # the router has begun one
        try:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            self.target, self.call_info = target, self.call_info.fresh()
            return await self._answer(target, options_for(self._plan, self._options, attempts), text)
        finally:
            attempts.limits = self.call_info.limits

    @property
    def request(self) -> ChatRequest:
        """The request, made at first use."""
        request = self._request
        if request is None:
            assert self._prepared is not None  # else there is a request
            self._request = request = self._prepared.request(self._prompt)[0]
        return request

    def _continued_answer(self) -> Awaitable[list[list[Event]]] | None:
        """``_answer`` of which the beginning was read before ``resume``; ``None`` if nothing was."""
        begun, self._begun = self._begun, None
        return None if begun is None else self._begin(begun[0], whole=False, first=begun[1])

    def _compiled_answer(self) -> Awaitable[list[list[Event]]] | None:
        """``_answer`` of the only target with its compiled request; ``None`` if this one must be written."""
        prepared = self._prepared
        if prepared is None or self._request is not None or (written := prepared.compiled_with(self._prompt)) is None:
            return None
        compiled, body = written
        batches = self.target.backend.answers_compiled(compiled, body, self.call_info, self._options)
        return self._begin(batches, whole=not compiled.streamed)

    async def _checked_answer(self, check: Callable[[], None]) -> list[list[Event]]:
        """``_answer`` of the only target, unless ``check`` prevents the call: see ``http/sending.py``."""
        token = last_check.set(check)
        try:
            return await self._answer(self.target, self._options)
        finally:
            last_check.reset(token)

    def _answer(self, target: Target, options: dict[str, Any], text: str = "") -> Awaitable[list[list[Event]]]:
        """As ``_begin``. Raises the failure of a reply that another target may still answer."""
        request = self.request
        if request.model != target.model:
            request = replace(request, model=target.model)
        if text:
            request = continuation_of(request, text, continues=target.backend.continues(target.model))
        batches, attempts = target.backend.answers(request, self.call_info, **options), self._attempts
        may_hold = not text and attempts is not None and request.stream and attempts.may_hold
        if may_hold and attempts is not None and not target.backend.restores and (may_hold := attempts.hold() is not None):
            batches = Pumped(batches)
        return self._begin(batches, whole=not request.stream, may_hold=may_hold)

    async def _begin(
        self,
        batches: AsyncGenerator[list[Event], None],
        *,
        whole: bool,
        may_hold: bool = False,
        first: list[list[Event]] | None = None,
    ) -> list[list[Event]]:
        """The batches up to the first piece and what is held after it, or, with ``whole``, all of them; ``first`` were read."""
        self.batches = batches
        if first and has_piece(first[-1]):
            return first
        first = [] if first is None else first
        try:
            async for batch in batches:
                first.append(batch)
                if type(batch[-1]) is Finish or (not whole and has_piece(batch)):
                    break
            if may_hold and first and type(first[-1][-1]) is not Finish:
                assert self._attempts is not None  # it is the router's attempt
                first = [[event for batch in first for event in batch]]
                hold = OpeningHold(self._attempts.hold, self._attempts.begins)
                await hold.more_events(first[0], self.call_info.pipe, batches)
            if first and type(finish := first[-1][-1]) is Finish and finish.error is not None:
                self._check(first, whole=whole, held=may_hold)
        except BaseException:
            await batches.aclose()
            raise
        return first

    def _check(self, first: list[list[Event]], *, whole: bool, held: bool) -> None:
        """Raises the failure at the end of these batches, if another target may be tried."""
        events = [event for batch in first for event in batch]
        error = opening_failure(events, self.call_info.raw or b"", whole=whole, held=held)
        if error is not None:
            error.text = error.text or "".join(event.text for event in events if type(event) is Text)
            raise error


async def _discarded(begun: tuple[RoutedCall, list[list[Event]]]) -> None:
    """Close a reply that began too late."""
    call, _ = begun
    await call.batches.aclose()
    call.end()


async def routed_vectors(router: Router, plan: Plan, request: Embed, options: dict[str, Any]) -> Embeddings:
    """The vectors of the first target of ``plan`` that answers. Raises as ``RoutedCall`` does, and as ``Backend.embed``."""
    if plan.route or len(plan.targets) > 1:
        check_options(plan, options)
    attempts = Attempts()

    async def ask(target: Target) -> Embeddings:
        return await target.backend.embed(replace(request, model=target.model), **options_for(plan, options, attempts))

    vectors = await router.run(plan, ask, attempts)
    attempts.completed()
    return vectors


def check_options(plan: Plan, options: dict[str, Any]) -> None:
    """Raises ``BadInput`` for an invalid ``timeout``, and for options that only one of several providers may get."""
    if len({target.label for target in plan.targets}) > 1:
        for name in PRIVATE:
            if options.get(name):
                raise BadInput(f"{name} applies to one provider only, but {plan.route or 'the chain'} has several", field=name)
    if "timeout" in options:
        Timeouts.of(options["timeout"], timeouts_of(plan.rules))


def options_for(plan: Plan, options: dict[str, Any], attempts: Attempts) -> dict[str, Any]:
    """The options of one attempt: those of the call, with the attempt's timeouts where the plan's rules set them."""
    if not plan.route and len(plan.targets) == 1:
        return options  # for a target that a caller names the backend's defaults are valid
    timeouts = attempts.timeouts
    if "timeout" in options:
        timeouts = Timeouts.of(options["timeout"], timeouts)
    return {**options, "timeout": timeouts}


def _kind(request: ChatRequest) -> Kind:
    """The kind of request for which the time to its first token is learned."""
    size = sum(len(part.text) for message in request.messages for part in message.parts if isinstance(part, TextPart))
    return kind_of(streamed=bool(request.stream), size=size, reasons=request.reasoning is not None)

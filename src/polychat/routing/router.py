"""Asks the targets of a plan, one after the other, until one begins to answer: the one owner of retries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic
from typing import TypeVar

from ..errors import BackendError, Failure, PolychatError, redact
from ..wire.faults import fault_of
from .facts import Facts
from .health import Health
from .order import Chooser
from .policy import CONSEQUENCES, attribution_of, most_telling, outcome_of, pause_before, step_after
from .resolve import Plan, Target
from .traits import UNKNOWN, Traits

T = TypeVar("T")
_REASON, _WHOLE = 200, 400
"""Characters of a target's reason that a client is told, and whoever runs the gateway, who is to read what to do about it."""
_TOLD = 8
"""Targets whose reasons are told."""


class Attempts:
    """What one run did."""

    __slots__ = ("_facts", "answered", "count", "failures", "target")

    def __init__(self) -> None:
        self.count = 0
        """How many times a target was asked."""
        self.target: Target | None = None
        """The target that was asked last, or, where all rest, the first that may be asked again."""
        self.answered = False
        """Whether ``target`` began to answer."""
        self.failures: list[Failure] = []
        """Each attempt that failed, in order."""
        self._facts: Facts | None = None
        """Of the target that answers, until its answer is over."""

    def begin(self, facts: Facts) -> None:
        """A target is asked."""
        self.count += 1
        self._facts = facts
        facts.asked()

    def end(self) -> None:
        """The answer is over, or the attempt at one: nothing is in flight any more. May be called again."""
        facts, self._facts = self._facts, None
        if facts is not None:
            facts.over()


class Router:
    """``health`` outlives it. Clock, sleep and rng can be replaced in tests."""

    def __init__(
        self,
        health: Health,
        *,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
    ) -> None:
        self.health = health
        self._clock, self._sleep = clock, sleep
        self._rng = rng or Random()  # noqa: S311  # which of several answers is no secret
        self.chooser = Chooser(health, self._rng)

    async def run(
        self,
        plan: Plan,
        ask: Callable[[Target], Awaitable[T]],
        attempts: Attempts,
        *,
        repeated: int = 0,
        traits: Traits = UNKNOWN,
    ) -> T:
        """What ``ask`` gives for the first target that begins to answer. Whoever calls this calls ``attempts.end`` when that
        answer is over.

        ``ask`` returns when the first piece is there, and raises ``PolychatError`` before it. Raises the most telling of these
        when the plan's attempts, targets or seconds are used up, with ``failures`` where several targets were tried, and
        ``Resting`` where every target said to come back later.

        ``repeated`` is how many times the client sent this request before: there are as many fewer attempts, and no target is
        asked twice, for else its retries and ours would multiply. ``traits`` is what of the request counts in choosing.
        """
        begun = self._clock()
        most = max(1, plan.rules.attempts - repeated)
        run, now = _Run(plan, begun), begun
        for target in self.chooser.choose(plan, begun, traits).targets:
            if self._facts(plan, target).rest_of(now):
                run.resting.append(target)
                continue
            outcome = await self._try(plan, target, ask, attempts)
            if not isinstance(outcome, PolychatError):
                return outcome
            step = run.failed(target, outcome)
            if step == "give up":
                raise run.verdict(outcome)
            if self._is_over(run, attempts, most):
                raise run.verdict()
            now = self._clock()
        if run.resting:
            self._rest(run, attempts)
        while run.retryable and not repeated and not self._is_over(run, attempts, most):
            pauses = {target: self._pause(plan, target, error, attempts) for target, error in run.retryable.items()}
            target = min(pauses, key=pauses.__getitem__)
            if not self._is_worth(run, target, pauses[target]):
                break
            await self._sleep(pauses[target])
            if self._facts(plan, target).rest_of(self._clock()):
                continue  # another request was told meanwhile that it is to be left alone for longer
            outcome = await self._try(plan, target, ask, attempts)
            if not isinstance(outcome, PolychatError):
                return outcome
            del run.retryable[target]
            if run.failed(target, outcome) == "give up":
                raise run.verdict(outcome)
        raise run.verdict()

    def _facts(self, plan: Plan, target: Target) -> Facts:
        return self.health.facts(plan.route, target.name)

    def _pause(self, plan: Plan, target: Target, error: PolychatError, attempts: Attempts) -> float:
        return max(self._facts(plan, target).rest_of(self._clock()), pause_before(attempts.count + 1, error, self._rng))

    def _is_worth(self, run: _Run, target: Target, pause: float) -> bool:
        """Whether waiting so long is better than telling the client at once."""
        now, rules = self._clock(), run.plan.rules
        is_told = run.retryable[target].retry_after is not None or self._facts(run.plan, target).rest_of(now) > 0
        return now + pause - run.begun <= rules.budget and not (is_told and pause > rules.max_wait)

    def _is_over(self, run: _Run, attempts: Attempts, most: int) -> bool:
        return attempts.count >= most or self._clock() - run.begun > run.plan.rules.budget

    def _rest(self, run: _Run, attempts: Attempts) -> None:
        """Those that said to come back later may be waited for if others were asked. Raises ``Resting`` if nobody was."""
        now = self._clock()
        resting: dict[Target, PolychatError] = {target: self._facts(run.plan, target).resting(now) for target in run.resting}
        nobody = not run.errors
        run.errors |= resting
        run.retryable |= resting
        if nobody:
            attempts.target = min(resting, key=lambda target: resting[target].retry_after or 0.0)
            raise run.verdict(resting[attempts.target])

    async def _try(
        self, plan: Plan, target: Target, ask: Callable[[Target], Awaitable[T]], attempts: Attempts
    ) -> T | PolychatError:
        facts = self._facts(plan, target)
        attempts.begin(facts)
        attempts.target = target
        begun = self._clock()
        try:
            answer = await ask(target)
        except PolychatError as error:
            attempts.end()
            consequence = CONSEQUENCES[attribution_of(error)]
            if consequence.at_fault:
                failure = error if isinstance(error, BackendError) else None
                facts.failed(self._clock(), plan.rules.cooldown, failure, at_once=consequence.at_once)
            attempts.failures.append(failure_of(target.name, error))
            return error
        except BaseException as error:
            attempts.end()
            if isinstance(error, asyncio.CancelledError):
                attempts.failures.append(Failure(target.name, "cancelled", "", ""))
            raise
        now = self._clock()
        facts.answered(now - begun, now)
        attempts.answered = True
        return answer


class _Run:
    """The failures of one run, the last one of each target."""

    def __init__(self, plan: Plan, begun: float) -> None:
        self.plan, self.begun = plan, begun
        self.errors: dict[Target, PolychatError] = {}
        self.retryable: dict[Target, PolychatError] = {}
        """Targets that may do better after a pause."""
        self.resting: list[Target] = []
        """Targets that were not asked, for they said to come back later."""

    def failed(self, target: Target, error: PolychatError) -> str:
        self.errors.pop(target, None)
        self.errors[target] = error
        step = step_after(error)
        if step == "again":
            self.retryable[target] = error
        return step

    def verdict(self, error: PolychatError | None = None) -> PolychatError:
        """The error to raise: ``error``, or else the most telling, with the reasons of all where there are several."""
        errors = list(self.errors.values())
        chosen = error or most_telling(errors)
        soonest = [one.retry_after for one in errors if one.retry_after is not None]
        if error is None and chosen.retry_after is not None:
            chosen.retry_after = min(soonest)
        if len(errors) > 1:
            chosen.failures = tuple(failure_of(target.name, one) for target, one in list(self.errors.items())[:_TOLD])
        return chosen


def failure_of(target: str, error: PolychatError) -> Failure:
    """What became of an attempt at ``target``, fit to be shown."""
    return Failure(target, outcome_of(error), redact(fault_of(error).message, _REASON), redact(str(error), _WHOLE))

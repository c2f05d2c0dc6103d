"""Asks the targets of a plan, one after the other, until one begins to answer: the one owner of retries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic
from typing import TypeVar

from ..errors import PolychatError
from .health import Health
from .names import Plan, Target
from .policy import is_target_at_fault, order, pause_before, step_after

T = TypeVar("T")


class Attempts:
    """What one run did: how often it asked, and whom last."""

    __slots__ = ("count", "target")

    def __init__(self) -> None:
        self.count = 0
        self.target: Target | None = None


class Router:
    """``health`` outlives it. Clock, sleep and dice are given for tests."""

    def __init__(
        self,
        health: Health,
        *,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        dice: Random | None = None,
    ) -> None:
        self.health = health
        self._clock, self._sleep = clock, sleep
        self._dice = dice or Random()  # noqa: S311  # which of several answers is no secret
        self._turns: dict[str, int] = {}

    async def run(self, plan: Plan, ask: Callable[[Target], Awaitable[T]], attempts: Attempts) -> T:
        """What ``ask`` gives for the first target that begins to answer.

        ``ask`` returns when the first piece is there, and raises ``PolychatError`` before it. Raises the last of these when the
        plan's attempts, targets or seconds are used up.
        """
        begun = self._clock()
        hopeful: dict[Target, PolychatError] = {}
        error: PolychatError | None = None
        for target in self._ordered(plan, begun):
            found = await self._try(plan, target, ask, attempts)
            if not isinstance(found, PolychatError):
                return found
            error, step = found, step_after(found)
            if step == "give up" or self._is_over(plan, attempts, begun):
                raise error
            if step == "again":
                hopeful[target] = error
        while hopeful and not self._is_over(plan, attempts, begun):
            pauses = {target: pause_before(attempts.count + 1, known, self._dice) for target, known in hopeful.items()}
            target = min(pauses, key=pauses.__getitem__)
            if self._clock() + pauses[target] - begun > plan.rules.budget:
                break
            await self._sleep(pauses[target])
            found = await self._try(plan, target, ask, attempts)
            if not isinstance(found, PolychatError):
                return found
            error, step = found, step_after(found)
            if step == "give up":
                break
            del hopeful[target]
            if step == "again":
                hopeful[target] = error
        assert error is not None  # a plan has targets
        raise error

    def _is_over(self, plan: Plan, attempts: Attempts, begun: float) -> bool:
        return attempts.count >= plan.rules.attempts or self._clock() - begun > plan.rules.budget

    def _ordered(self, plan: Plan, now: float) -> list[Target]:
        if len(plan.targets) == 1:
            return [plan.targets[0]]
        turn = self._turns.get(plan.route, 0)
        self._turns[plan.route] = turn + 1
        return order(plan, self.health, now, turn, self._dice)

    async def _try(
        self, plan: Plan, target: Target, ask: Callable[[Target], Awaitable[T]], attempts: Attempts
    ) -> T | PolychatError:
        attempts.count += 1
        attempts.target = target
        begun = self._clock()
        try:
            found = await ask(target)
        except PolychatError as error:
            if is_target_at_fault(error):
                self.health.failed(target.name, self._clock(), plan.rules.cooldown, error.retry_after)
            return error
        self.health.answered(target.name, self._clock() - begun)
        return found

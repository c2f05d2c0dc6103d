"""Hedged requests: a second target is called if the first one is slow, for the gateway and the library."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from .attempts import Attempts
from .clocks import Kind
from .hedging import HedgeBudget, raced
from .resolve import Plan, Target
from .router import Router
from .traits import Traits

T = TypeVar("T")


async def hedged(
    router: Router,
    plan: Plan,
    traits: Traits,
    kind: Kind,
    *,
    attempts: Attempts,
    first: Awaitable[T],
    second: Callable[[Plan], tuple[Attempts, Awaitable[T]]],
    may_hedge: Callable[[], bool],
    discard: Callable[[T], Awaitable[None]],
) -> tuple[T, Attempts]:
    """The answer of the target that begins first, with its attempts, which have those of the other one too.

    ``first`` sends the request, and records in ``attempts``. ``second`` does the same for a plan, when a second target is due
    and ``may_hedge`` allows to send the request twice. An answer that comes too late goes to ``discard``.
    """
    budget = router.hedges.setdefault(plan.route, HedgeBudget())
    budget.count_request(router.clock())
    others: list[Attempts] = []

    def due() -> float | None:
        current = attempts.target
        return None if current is None or len(plan.targets) < 2 else router.facts(plan, current).usual_first(kind)

    def begun() -> Awaitable[T] | None:
        beside = None if attempts.target is None else plan_beside(router, plan, traits, attempts.target)
        if attempts.count != 1 or beside is None or not may_hedge() or not budget.take(router.clock()):
            return None
        other, answer = second(beside)
        others.append(other)
        return answer

    winner: Attempts | None = None
    try:
        answer, is_second = await raced(first, due, begun, discard)
        winner = others[0] if is_second else attempts
    finally:
        for each in (attempts, *others):
            if each is not winner:
                each.end()
    for each in (attempts, *others):
        if each is not winner:
            winner.join(each)
    return answer, winner


def plan_beside(router: Router, plan: Plan, traits: Traits, first: Target) -> Plan | None:
    """The plan of one attempt at another target than ``first``, which is healthy; ``None`` where there is none."""
    now = router.clock()
    choice = router.chooser.choose(plan, now, traits, is_turn=False)
    behind = {over.target.name for over in choice.passed}
    for target in choice.targets:
        if target is not first and target.name not in behind and router.facts(plan, target).is_reliable(now):
            return Plan(plan.route, (target,), plan.rules.replace(attempts=1, weights=(), priorities=(), conditions=()))
    return None

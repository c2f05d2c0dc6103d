"""Plans whose choice is the same for every plain request, so that it need not be made anew each time.

A plan has a constant outcome while it calls its only target, or the first of those that are called in order, whatever the
request is, and that target is healthy. The router would make the same choice; this finds it sooner.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic, time

from .budget import RetryBudget
from .clocks import Kind
from .facts import Alarms, Facts
from .resolve import Plan, Target
from .router import Router
from .waiting import MOST


class ConstantOutcome:
    """The target that a plan asks first, for as long as ``holds`` is true. Made by ``constant_outcome``."""

    __slots__ = (
        *("_alarms", "_clock", "_evictions", "_first", "_generation", "_is_monotonic", "_outcomes", "_router", "_shared"),
        *("_waiting", "budget", "facts", "is_alone", "target"),
    )

    def __init__(self, router: Router, target: Target, facts: Facts, budget: RetryBudget, *, is_alone: bool) -> None:
        self.target, self.facts, self.budget = target, facts, budget
        self.is_alone = is_alone
        """Whether it is the plan's only target: with no other left to ask, it has all the time there is."""
        self._alarms: Alarms = router.health.alarms
        self._generation = self._alarms.count
        self._router, self._evictions = router, router.health.evictions
        self._waiting, self._shared, self._first, self._clock = facts.waiting, facts.shared, facts.shared.first, router.clock
        self._is_monotonic = router.clock is monotonic
        self._outcomes = facts.plain_outcomes()
        """Where an answer is counted, if it changes nothing else of the target's health."""

    def called(self, moment: float | None = None) -> float:
        """A request is sent to it, while it ``is_current``; returns when. ``answered_whole`` or ``failed`` follows, or an
        attempt.

        ``moment``: now by ``time.monotonic``, for who has it: that is not read again if it is the router's clock.
        """
        now = moment if moment is not None and self._is_monotonic else self._clock()
        self._shared.in_flight += 1  # its breaker is closed, and it is not on probation: see ``Facts.called``
        self._waiting.called(now)
        return now

    def answered_whole(
        self,
        called_at: float,
        limits: Sequence[tuple[bytes, bytes]],
        kind: Kind | None = None,
        moment: float | None = None,
    ) -> None:
        """An answer to a request that was ``called`` then came as a whole; ``limits`` are its headers about rate limits.

        ``kind``: what its time is learned for, where the plan has other targets. ``moment``: see ``called``.
        """
        now = moment if moment is not None and self._is_monotonic else self._clock()
        self.budget.count_request(now)
        if self._outcomes is not None and self._generation == self._alarms.count:
            self._waiting.answered(now)
            self._outcomes.add_first(now)
            self._first.observe(now - called_at, now)
            self._shared.in_flight -= 1
        else:
            self.facts.answered_whole(called_at, now)
            self._outcomes = self.facts.plain_outcomes()
        if kind is not None:
            self.facts.learn(kind, now - called_at)
        if limits:
            self.facts.note_limits(limits, now, time())

    def failed(self) -> None:
        """A request that was ``called`` ended before it was answered."""
        self.facts.over(was_answered=False)

    @property
    def is_current(self) -> bool:
        """Whether ``holds`` would say so but for a stall, which a caller looks for itself where many requests wait."""
        return self._generation == self._alarms.count and self._evictions == self._router.health.evictions

    def holds(self) -> bool:
        """Whether the router would still choose it, of a request that is not choosy (``Traits.is_choosy``).

        Once this is false it stays so: ask ``constant_outcome`` anew.
        """
        if self._generation != self._alarms.count or self._evictions != self._router.health.evictions:
            return False
        return self.is_alone or self._waiting.count < MOST


def is_constant(plan: Plan) -> bool:
    """Whether a plan has a constant outcome while nothing speaks against its targets."""
    rules = plan.rules
    if plan.members or rules.conditions or rules.concurrency is not None:
        return False
    return len(plan.targets) == 1 or (plan.strategy == "ordered" and len(set(rules.priorities)) <= 1)


def constant_outcome(router: Router, plan: Plan) -> ConstantOutcome | None:
    """For a plan without conditions and concurrency limits, whose first tier is tried in order; ``None`` for any other, and
    while its first target is not healthy. Strategies that choose anew for each request have
    none.
    """
    if not is_constant(plan):
        return None
    target = plan.targets[0]
    facts = router.facts(plan, target)
    if not facts.is_untroubled(router.clock()):
        return None
    budget = router.health.budget(plan.route or target.name)
    return ConstantOutcome(router, target, facts, budget, is_alone=len(plan.targets) == 1)

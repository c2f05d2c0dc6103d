"""One attempt at a healthy target that is tried first: what ``Router.run`` keeps of it, without its choices.

Nearly every request to a target that is named as such is one of these. One that fails is not repeated here: the router takes it
from there, and its first attempt is then the one that failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import time

from ..errors import PolychatError
from .attempts import Attempts
from .budget import RetryBudget
from .clocks import Kind
from .constant import ConstantOutcome, constant_outcome
from .facts import Facts
from .resolve import Plan
from .router import Router


class StraightAttempt:
    """Begun by ``StraightPlan``; then ``answered`` and ``completed`` or ``end``, or ``failed``, once each."""

    __slots__ = ("_answered_at", "_budget", "_called_at", "_facts", "_router", "plan")

    def __init__(
        self, router: Router, plan: Plan, facts: Facts, budget: RetryBudget | None = None, called_at: float | None = None
    ) -> None:
        """``budget`` is the plan's, where the caller knows it. ``called_at``: when the target was called, if that was noted."""
        self._router, self.plan, self._budget = router, plan, budget
        self._facts: Facts | None = facts
        self._called_at = self._answered_at = router.clock() if called_at is None else called_at
        if called_at is None:
            facts.called(self._called_at)

    def check(self) -> None:
        """Raises ``Resting`` if the target sent a retry time since it was chosen: see ``http/sending.py``."""
        if self._facts is not None:
            self._facts.check(self._router.clock())

    def answered(self, limits: Sequence[tuple[bytes, bytes]], kind: Kind | None = None) -> None:
        """The answer begins; ``limits`` are its headers that tell of the target's limits.

        ``kind``: what its time is learned for, where the plan has other targets.
        """
        router, facts = self._router, self._facts
        assert facts is not None  # it is not over
        self._answered_at = now = router.clock()
        (self._budget or self._plans_budget()).count_request(now)
        facts.answered(now - self._called_at, now)
        if kind is not None:
            facts.learn(kind, now - self._called_at)
        if limits:
            facts.note_limits(limits, now, time())

    def _plans_budget(self) -> RetryBudget:
        return self._router.health.budget(self.plan.route or self.plan.targets[0].name)

    def failed(self) -> None:
        """It ended before the answer began. The caller lets the router know why."""
        facts, self._facts = self._facts, None
        if facts is not None:
            facts.over(was_answered=False)

    def continue_in(self, attempts: Attempts) -> None:
        """The answer has begun, and ``attempts`` records how it ends."""
        facts, self._facts = self._facts, None
        assert facts is not None  # it is not over
        target = self.plan.targets[0]
        attempts.resume(self._router, self.plan.rules, target, facts, self._called_at, self._answered_at)

    def completed(self) -> None:
        """The answer came to its end. ``end`` may follow."""
        facts, self._facts = self._facts, None
        if facts is not None:
            facts.completed(self._called_at)
            facts.over()

    def end(self, error: PolychatError | None = None) -> None:
        """The answer is over: cut off by ``error``, or no more of it is wanted. Only the first call counts."""
        facts, self._facts = self._facts, None
        if facts is not None:
            if error is not None:
                self._router.note(facts, self.plan.rules, error, self._called_at, self._answered_at)
            facts.over()


class StraightPlan:
    """Makes straight attempts at the only target of ``plan``, for one request or for any number of them."""

    __slots__ = ("_constant", "_is_direct", "_plan", "_router")

    def __init__(self, router: Router, plan: Plan) -> None:
        self._router, self._plan = router, plan
        rules = plan.rules
        self._is_direct = not (len(plan.targets) > 1 or plan.route or rules.conditions or rules.concurrency is not None)
        self._constant: ConstantOutcome | None = None
        """The outcome that holds until something changes after an earlier attempt."""

    def current_outcome(self) -> ConstantOutcome | None:
        """The target, if ``attempt`` has been made before and nothing has changed since; else ``None``.

        A caller may call it by ``ConstantOutcome.called``, and need no attempt if all goes well.
        """
        constant = self._constant  # it is alone: ``holds`` looks for nothing else
        return constant if constant is not None and constant.is_current else None

    def attempt_at(self, constant: ConstantOutcome, called_at: float) -> StraightAttempt:
        """The attempt that began with ``constant.called()``, which returned this moment."""
        return StraightAttempt(self._router, self._plan, constant.facts, constant.budget, called_at)

    def attempt(self) -> StraightAttempt | None:
        """The next attempt; ``None`` where the router must decide, or the target is not well."""
        constant = self._constant
        if constant is not None and constant.holds():
            return StraightAttempt(self._router, self._plan, constant.facts, constant.budget)
        if not self._is_direct:
            return None
        router, plan = self._router, self._plan
        self._constant = constant_outcome(router, plan)
        facts = router.facts(plan, plan.targets[0])
        return StraightAttempt(router, plan, facts) if facts.is_clear(router.clock()) else None

"""What the requests of one router share: health, clock, sleep, random numbers; and what it records about their targets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic, time
from typing import TYPE_CHECKING

from ..errors import PolychatError
from .attempts import Attempts
from .facts import Facts
from .health import Health
from .hedging import HedgeBudget
from .order import Chooser
from .policy import CONSEQUENCES, attribution_of
from .resolve import Plan, Target
from .spending import Pricing, unpriced
from .watchdogs import Watchdogs

if TYPE_CHECKING:
    from ..config.settings import Route


class RoutingContext:
    """``health`` outlives it. Tests can replace ``clock``, ``sleep`` and ``rng``."""

    def __init__(
        self,
        health: Health,
        *,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
        pricing: Pricing = unpriced,
    ) -> None:
        self.health = health
        self.clock, self.sleep = clock, sleep
        self.rng = rng or Random()  # noqa: S311  # which of several answers is no secret
        self.chooser = Chooser(health, self.rng, pricing)
        self.pricing = pricing
        self.hedges: dict[str, HedgeBudget] = {}
        """The budgets of routes that hedge, by route."""
        self.watchdogs = Watchdogs()

    def facts(self, plan: Plan, target: Target) -> Facts:
        """What is known of a target in the plan's route."""
        facts = self.health.facts(plan.route, target.name)
        if facts.domain is None:
            facts.belongs_to(self.health.domain(target.backend.quota_domain()))
        return facts

    def note_limits(self, facts: Facts, attempts: Attempts) -> None:
        """Keep an answer's headers about its target's limits."""
        facts.note_limits(attempts.limits, self.clock(), time())
        attempts.limits = ()

    def note(
        self,
        facts: Facts,
        rules: Route,
        error: PolychatError,
        called_at: float,
        answered_at: float | None = None,
        *,
        kept_back_at: float | None = None,
    ) -> None:
        """Record the failure of an attempt in its target's facts.

        ``answered_at``: when the reply began that was cut off. ``kept_back_at``: of one that its client got nothing of.
        """
        attribution = attribution_of(error)
        rests = CONSEQUENCES[attribution].rests
        if rests == "nothing":
            return
        now = self.clock()
        seconds = error.retry_after or 0.0
        if seconds:
            facts.note_retry_after(error, seconds, now)
        began_at = kept_back_at if answered_at is None else answered_at
        if began_at is not None:
            facts.cut(called_at, now, now - began_at)
        if rests == "probation":
            facts.not_set_up(error, now)
        elif rests != "domain":
            at_once = rests == "breaker at once"
            facts.failed(
                called_at, now, rules.cooldown, self.rng, at_once=at_once, answered_at=answered_at, retry_after=seconds
            )
        elif not seconds:
            facts.down(error, now, rules.cooldown, self.rng)

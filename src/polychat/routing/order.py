"""The order in which the targets of a plan are tried.

A plan's members are targets, and routes with a strategy of their own. They form tiers by their priority; within a tier the
plan's strategy decides. So the requests of a member that fails go to the others of its tier first. After all members that are
able come those that were passed over, each with the reason: they are still better than nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from random import Random

from ..errors import BadInput
from ..events import Usage
from .choice import Choice, PassedOver, Strategy
from .conditions import ANY, condition
from .facts import Alarms, Facts, TargetState
from .health import Health
from .provider_preferences import Rates
from .resolve import Plan, Target
from .spending import Pricing, Spending, rates_of, unpriced
from .strategies import strategy
from .traits import UNKNOWN, Traits
from .waiting import MOST

_PLANS = 1024
"""Plans whose members are kept ready: clients may name chains without end."""
_NAMED = 8
"""Targets whose reasons an error names."""
LIMITED = "its own headers say that nothing is left of a limit"
FAILED = "its last request failed"
OPEN = "it failed several times recently"
UNMET = "this request does not meet its condition"
RESTING = "it asked to be retried later"
NOT_SET_UP = "it was not set up when it was last tried"
_BEHIND = {LIMITED: 0, FAILED: 2, OPEN: 3, RESTING: 4, NOT_SET_UP: 5}
"""The order in which skipped targets are tried; those that are unfit for the request have 1."""


class Chooser:
    """Orders targets for one router, and keeps the state of its strategies."""

    def __init__(self, health: Health, rng: Random, pricing: Pricing = unpriced) -> None:
        self._health, self._rng, self._pricing = health, rng, pricing
        self._spending: dict[str, Spending] = {}
        self._groups: OrderedDict[int, _Group] = OrderedDict()
        self._strategies: dict[tuple[str, str, int], Strategy] = {}

    def choose(self, plan: Plan, now: float, traits: Traits = UNKNOWN, *, is_turn: bool = True) -> Choice:
        """The targets of the plan, each once, as they are to be called.

        ``is_turn``: the first of them is going to be called; else it is just to be known who would be. Raises ``BadInput``
        where the conditions of all targets exclude this request.
        """
        if len(plan.targets) == 1 and not plan.rules.conditions:
            return Choice(plan.targets[0], [])
        group = self._groups.get(id(plan))
        if group is None or group.plan is not plan:
            group = self._made(plan)
        elif len(self._groups) == _PLANS:
            self._groups.move_to_end(id(plan))
        if group.evictions != self._health.evictions:
            group.evictions = self._health.evictions
            group.well_at = -1
            for member in group.every():
                member.follow(self._health.facts(plan.route, member.name))
        if is_turn and not traits.is_choosy and group.is_well(now, self._health.alarms):
            return Choice(group.pick(now, traits), lambda: self.choose(plan, now, traits, is_turn=False).targets)
        behind: list[_Member] = []
        able = group.order(now, traits, behind, first=is_turn)
        if group.repeats:
            able = list(dict.fromkeys(able))
        if not behind:
            return Choice(able[0], able[1:])
        behind.sort(key=_rank)
        passed = [PassedOver(member.target, member.reason) for member in behind]
        targets = [*able, *(member.target for member in behind if not member.is_out)]
        if not targets:
            raise _no_target(plan, passed)
        if group.repeats:
            targets = list(dict.fromkeys(targets))
        return Choice(targets[0], targets[1:], passed)

    def settled(self, target: str, usage: Usage, seconds: float = 0.0, state: TargetState | None = None) -> None:
        """An answer of ``target`` used so much, and was over ``seconds`` after it was requested; 0: not known.

        ``state``: what is known of the target, from callers that have it already; else it is looked up.
        """
        if (spending := self._spending.get(target)) is not None:
            spending.note(usage)
        if seconds and usage.completion_tokens and (state := state or self._health.target(target)) is not None:
            state.note_speed(usage.completion_tokens, seconds)

    # As ``Measured``

    def first_token(self, target: Target, now: float) -> float:
        """Seconds until a target begins to answer, measured recently; 0 where that is not known."""
        state = self._health.target(target.name)
        return 0.0 if state is None else state.first.at(now)

    def throughput(self, target: Target) -> float:
        """Tokens of a target's answers per second, from the request to the end; 0 where that is not known."""
        state = self._health.target(target.name)
        return 0.0 if state is None else state.speed

    def rates(self, target: Target) -> Rates | None:
        """A target's prices; ``None`` where they are not known."""
        return rates_of(target, self._pricing)

    def spending(self, target: Target) -> Spending:
        """The spending of a target; kept only for routes whose strategy goes by costs."""
        spending = self._spending.get(target.name)
        if spending is None:
            spending = self._spending[target.name] = Spending(target, self._pricing)
        return spending

    def strategy_of(self, plan: Plan, priority: int) -> Strategy:
        """What keeps the turns of one tier: the same for all plans of a route, also where a request narrows them."""
        name = plan.strategy
        key = plan.route, name, priority
        chosen = self._strategies.get(key)
        if chosen is None:
            chosen = self._strategies[key] = strategy(name)(self._rng)
        return chosen

    def _made(self, plan: Plan) -> _Group:
        if len(self._groups) >= _PLANS:
            self._groups.popitem(last=False)
        group = self._groups[id(plan)] = _Group(self, plan, self._health, plan.route)
        return group


class _Member:
    """A target in its tier."""

    __slots__ = (
        "_kept",
        "_spending",
        "condition",
        "facts",
        "is_out",
        "known",
        "name",
        "reason",
        "seed",
        "target",
        "waiting",
        "weight",
    )

    def __init__(self, target: Target, weight: float, known: Facts, spending: Callable[[Target], Spending]) -> None:
        self._spending = spending
        self._kept: Spending | None = None
        self.target, self.name, self.weight = target, target.name, weight
        self.seed = seed_of(target.name)
        self.follow(known)
        self.condition = ANY
        self.reason = ""
        """Why it is passed over."""
        self.is_out = False
        """Whether it is never tried for this request."""

    def follow(self, known: Facts) -> None:
        """Use ``known`` as its facts from now on."""
        self.known, self.facts, self.waiting = known, known.shared, known.waiting

    def is_able(self, now: float, traits: Traits) -> bool:
        """Whether it is tried before those that are skipped; ``reason`` is why not."""
        facts, self.reason, self.is_out = self.known, "", False
        if self.condition is not ANY and (term := self.condition.unmet(traits)):
            self.reason, self.is_out = f"{UNMET} {term}", True
            return False
        if not facts.is_well(now):
            doubt = NOT_SET_UP if facts.missing else FAILED
            self.reason = RESTING if facts.rest_of(now) else doubt if facts.is_left(now) else OPEN
        elif facts.is_at_limit(now):
            self.reason = LIMITED
        elif traits.is_choosy:
            self.reason = traits.unfit(self.target)
        return not self.reason

    def cost(self, traits: Traits, now: float) -> float | None:
        spending = self._kept
        if spending is None:
            spending = self._kept = self._spending(self.target)
        return spending.expected(traits.prompt_tokens, self.known.failed_share(now))


class _Group:
    """A plan's members in their tiers; a member itself, where the plan is of a route among another route's targets."""

    __slots__ = ("_first", "condition", "evictions", "members", "name", "plan", "repeats", "seed", "tiers", "weight", "well_at")

    def __init__(self, chooser: Chooser, plan: Plan, health: Health, route: str, weight: float = 1.0) -> None:
        self.plan, self.name, self.weight = plan, plan.route, weight
        self.seed = seed_of(plan.route)
        self.evictions = health.evictions
        self.condition = ANY
        members = plan.members or plan.targets
        weights = plan.rules.weights or (1.0,) * len(members)
        priorities = plan.rules.priorities or (0,) * len(members)
        conditions = plan.rules.conditions or ("",) * len(members)
        tiers: dict[int, list[_Member | _Group]] = {priority: [] for priority in sorted(set(priorities))}
        for member, weighs, priority, text in zip(members, weights, priorities, conditions, strict=True):
            made = (
                _Group(chooser, member, health, route, weighs)
                if isinstance(member, Plan)
                else _Member(member, weighs, health.facts(route, member.name), chooser.spending)
            )
            made.condition = condition(text)
            tiers[priority].append(made)
        self.tiers = [(chooser.strategy_of(plan, priority), tier) for priority, tier in tiers.items()]
        self.members = [member for _, tier in self.tiers for member in tier]
        self.repeats = len({member.name for member in self.every()}) < len(self.every())
        self.well_at = -1
        """The count of alarms at which all its targets were last found healthy."""
        self._first = tuple(member for member in self.tiers[0][1] if isinstance(member, _Member))
        """The members of the first tier, where all are targets that take every request; else none."""
        if plan.rules.conditions or len(self._first) < len(self.tiers[0][1]):
            self._first = ()

    def is_well(self, now: float, alarms: Alarms) -> bool:
        """Whether all of its first tier are healthy: then the strategy alone decides."""
        if self.well_at != alarms.count:
            if not self._first or not all(member.known.is_untroubled(now) for member in self.every()):
                return False
            self.well_at = alarms.count
        for member in self._first:  # noqa: SIM110  # a generator would take longer
            if member.waiting.count >= MOST and member.known.is_stalled(now):
                return False
        return True

    def pick(self, now: float, traits: Traits) -> Target:
        """The target that is tried first if all are healthy."""
        first = self._first
        return first[0].target if len(first) == 1 else self.tiers[0][0].pick(first, now, traits).target

    def every(self) -> list[_Member]:
        """The members of its targets, and those of its routes; a target may occur twice."""
        return [one for member in self.members for one in (member.every() if isinstance(member, _Group) else (member,))]

    def is_able(self, now: float, traits: Traits) -> bool:
        """Whether any of its members is."""
        if self.condition is not ANY and (term := self.condition.unmet(traits)):
            for one in self.every():
                one.reason, one.is_out = f"{UNMET} {term}", True
            return False
        return any(member.is_able(now, traits) for member in self.members)

    def order(self, now: float, traits: Traits, behind: list[_Member], *, first: bool) -> list[Target]:
        """The targets that are able; the others' members go to ``behind``."""
        targets: list[Target] = []
        for chosen, tier in self.tiers:
            able = []
            for member in tier:
                if member.is_able(now, traits):
                    able.append(member)
                else:
                    behind += (member,) if isinstance(member, _Member) else member.every()
            ordered = chosen.order(able, now, traits, first=first) if len(able) > 1 else able
            for member in ordered:
                if isinstance(member, _Member):
                    targets.append(member.target)
                else:
                    targets += member.order(now, traits, behind, first=first)
                first = False
        return targets

    @property
    def facts(self) -> _Group:
        return self

    # As ``Reads``, for the strategy of the route that it is in

    @property
    def in_flight(self) -> int:
        return sum(member.facts.in_flight for member in self.members)

    def first_token(self, now: float) -> float:
        """Of the fastest that is known."""
        return min((time for member in self.members if (time := member.facts.first_token(now))), default=0.0)

    def cost(self, traits: Traits, now: float) -> float | None:
        """Of the cheapest that is known."""
        return min((cost for member in self.members if (cost := member.cost(traits, now)) is not None), default=None)


def _rank(member: _Member) -> int:
    return _BEHIND.get(member.reason, 1)


def _no_target(plan: Plan, passed: list[PassedOver]) -> BadInput:
    reasons = "; ".join(f"{target.name}: {reason}" for target, reason in passed[:_NAMED])
    return BadInput(f"no target of {plan.route or 'the chain'} takes this request: {reasons}", field="model")


def seed_of(name: str) -> int:
    """64 bits that depend on a name alone, the same in every process."""
    return int.from_bytes(blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "big")

"""Which targets of a tier are not called at all: those whose breakers are open, but never more than half of the tier's weight.

Where more fail the fault may lie elsewhere, and those that are left could not carry the load: the rest of the sick ones is
called as before, and where all that may be called are sick, all of them are. ``throttle`` keeps that from hurting them.
"""

from __future__ import annotations

from collections.abc import Sequence

from .facts import Facts
from .resolve import Plan, Target


def ejected(members: Sequence[Facts], weights: Sequence[float], now: float) -> frozenset[Facts]:
    """The members that get no request now, those that rest longest first. ``weights``: of each member; none: all alike."""
    sick = [(facts.breaker_rest(now), place) for place, facts in enumerate(members) if not facts.admits(now)]
    if not sick or all(facts.breaker(now) != "closed" or facts.rest_of(now) for facts in members):
        return frozenset()
    shares = weights or (1.0,) * len(members)
    most, weight = sum(shares) / 2, 0.0
    out = []
    for _, place in sorted(sick, reverse=True):
        if weight + shares[place] <= most:
            weight += shares[place]
            out.append(members[place])
    return frozenset(out)


def tiers(plan: Plan) -> list[tuple[list[Target], list[float]]]:
    """The targets of each tier of a plan, with their weights; a route in it shares its weight out evenly."""
    members = plan.members or plan.targets
    weights = plan.rules.weights or (1.0,) * len(members)
    priorities = plan.rules.priorities or (0,) * len(members)
    made: dict[int, tuple[list[Target], list[float]]] = {}
    for member, weight, priority in zip(members, weights, priorities, strict=True):
        targets, shares = made.setdefault(priority, ([], []))
        within = member.targets if isinstance(member, Plan) else (member,)
        targets += within
        shares += [weight / len(within)] * len(within)
    return list(made.values())

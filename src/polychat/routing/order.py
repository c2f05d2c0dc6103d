"""In which order the targets of a plan are asked."""

from __future__ import annotations

from random import Random

from .health import Health
from .resolve import Plan, Target


def order(plan: Plan, health: Health, now: float, turn: int, rng: Random) -> list[Target]:
    """The targets as they are to be asked: those that are not well come last, for they are still better than nothing."""
    targets = list(plan.targets)
    if len(targets) == 1:
        return targets
    of = {target: health.facts(plan.route, target.name) for target in targets}
    match plan.rules.strategy:
        case "random":
            targets = _drawn(targets, plan.rules.weights, rng)
        case "round-robin":
            start = turn % len(targets)
            targets = targets[start:] + targets[:start]
        case "fastest":
            targets.sort(key=lambda target: of[target].first_token(now))
    return sorted(targets, key=lambda target: not of[target].is_well(now))


def _drawn(targets: list[Target], weights: tuple[float, ...], rng: Random) -> list[Target]:
    """In an order drawn by weight; those of weight 0 are for when nobody else answers."""
    weighted = list(zip(targets, weights or (1.0,) * len(targets), strict=True))
    drawn = []
    while any(weight for _, weight in weighted):
        chosen = rng.choices(range(len(weighted)), [weight for _, weight in weighted])[0]
        drawn.append(weighted.pop(chosen)[0])
    return drawn + [target for target, _ in weighted]

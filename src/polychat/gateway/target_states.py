"""The state of each target of each route, for ``GET /admin/targets``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from ..errors import PolychatError, redact
from ..routing import Facts, Health, Plan, Target
from ..routing.choice import UNLISTED
from ..routing.strategies import strategy
from .observe.attempts import AttemptCounts
from .observe.route_states import RouteTargetState, state_in_route
from .runtime import Runtime

_Outcomes: TypeAlias = dict[str, dict[str, dict[str, int]]]
"""How many attempts there were, by route, target and outcome."""
_Elsewhere: TypeAlias = dict[tuple[str, str], list[RouteTargetState]]
"""What other workers know, by route and target."""


def target_states(
    runtime: Runtime, health: Health, counts: AttemptCounts, now: float, others: Iterable[RouteTargetState] = ()
) -> list[dict[str, Any]]:
    """Every target of every route, in the order of the configuration; then those that clients named themselves.

    ``others`` are the targets of routes in the other workers; of targets without a route only this worker is known.
    """
    states: list[dict[str, Any]] = []
    outcomes, elsewhere = _by_target(counts), _by_name(others)
    for name in runtime.configured.routes:
        try:
            plan = runtime.resolver.plan(name)
        except PolychatError as error:  # depends on the backends' lists, which change
            states.append({"route": name, "error": redact(str(error), 400)})
            continue
        states += _of_route(plan, health, outcomes, now, elsewhere)
    known = [facts for facts in health.every() if not facts.route]
    return states + [{"route": "", **_state(facts, now, ())} for facts in known]


def _by_target(counts: AttemptCounts) -> _Outcomes:
    found: _Outcomes = {}
    for (route, target, outcome), number in counts.items():
        found.setdefault(route, {}).setdefault(target, {})[outcome] = number
    return found


def _by_name(others: Iterable[RouteTargetState]) -> _Elsewhere:
    found: _Elsewhere = {}
    for other in others:
        found.setdefault((other.route, other.target), []).append(other)
    return found


def _of_route(plan: Plan, health: Health, counts: _Outcomes, now: float, elsewhere: _Elsewhere) -> Iterator[dict[str, Any]]:
    outcomes = counts.get(plan.route, {})
    attempts = {target: sum(numbers.values()) for target, numbers in outcomes.items()}
    total = sum(attempts.values())
    expected = _expected(plan)
    for target in plan.targets:
        yield {
            "route": plan.route,
            **_state(health.facts(plan.route, target.name), now, elsewhere.get((plan.route, target.name), ())),
            "attempts": attempts.get(target.name, 0),
            "failures": {outcome: number for outcome, number in outcomes.get(target.name, {}).items() if outcome != "answered"},
            "share_expected": round(expected[target], 4) if expected else None,
            "share_actual": round(attempts.get(target.name, 0) / total, 4) if total else None,
        }
    for name in plan.unlisted:
        yield {"route": plan.route, "target": name, "state": "unlisted", "reason": UNLISTED}


def _state(facts: Facts, now: float, others: Sequence[RouteTargetState]) -> dict[str, Any]:
    """``resting``: not to be called before ``seconds``; otherwise the state of its breaker, ``closed`` if it is healthy.

    With several workers the state is the one that most of those have that differ from ``closed``, with its reason where it
    lasts longest; requests and their limits are those of all workers.
    """
    every, remaining = [state_in_route(facts, now), *others], facts.remaining(now)
    workers = Counter(one.state for one in every)
    state = max((count, name) for name, count in workers.items() if name != "closed" or len(workers) == 1)[1]
    longest = max((one for one in every if one.state == state), key=lambda one: one.until)
    return {
        "target": redact(facts.name, 256),
        "state": state,
        "workers": dict(workers),
        "reason": longest.reason,
        "seconds": round(max(0.0, longest.until - now), 1),
        "in_flight": sum(one.in_flight for one in every),
        "limit": sum(one.limit for one in every) or None,
        "queued": sum(one.queued for one in every),
        "time_to_first_token": round(facts.first_token(now), 3) or None,
        "remaining": {"requests": round(remaining.requests, 4), "tokens": round(remaining.tokens, 4)},
        "limits": _limits(facts, now),
    }


def _limits(facts: Facts, now: float) -> list[dict[str, Any]]:
    """The limits that the target's latest answer named, as its backend puts them; ``seconds``: until all of it is there."""
    limits, passed = facts.shared.limits(now)
    return [
        {
            "name": limit.name,
            "unit": limit.unit,
            "remaining": limit.remaining,
            "limit": limit.limit,
            "seconds": None if limit.reset is None else round(max(0.0, limit.reset - passed), 1),
        }
        for limit in limits
    ]


def _expected(plan: Plan) -> dict[Target, float]:
    """The expected share of each target while all are healthy; of none if a strategy decides by measurements."""
    rules, members = plan.rules, plan.members or plan.targets
    priorities = rules.priorities or (0,) * len(members)
    weights = rules.weights or (1.0,) * len(members)
    first = [
        (member, weight) for member, weight, rank in zip(members, weights, priorities, strict=True) if rank == min(priorities)
    ]
    parts_of_tier = strategy(plan.strategy).shares([weight for _, weight in first]) if len(first) > 1 else [1.0]
    if parts_of_tier is None or not (total := sum(parts_of_tier)):
        return {}
    shares: dict[Target, float] = dict.fromkeys(plan.targets, 0.0)
    for (member, _), weight in zip(first, parts_of_tier, strict=True):
        if not weight:
            continue  # for any number of its requests
        parts = _expected(member) if isinstance(member, Plan) else {member: 1.0}
        if not parts:
            return {}
        for target, part in parts.items():
            shares[target] += part * weight / total
    return shares

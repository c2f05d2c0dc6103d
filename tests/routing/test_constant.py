"""Plans that have the same first target for every plain request."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.config.strategy_names import STRATEGIES
from polychat.errors import ConnectionFailed, RateLimited
from polychat.routing import Plan, Router
from polychat.routing.constant import constant_outcome
from polychat.routing.waiting import MOST

from ..support.simulated_route import SimulatedRoute, target
from ..support.simulated_route import plan as plan_of

NOW = 1000.0


def plan(*members: str | Plan, **rules: Any) -> Plan:
    return plan_of(*(target(member) if isinstance(member, str) else member for member in members), **rules)


def router_of(route: Plan) -> Router:
    return Router(SimulatedRoute(route).health, clock=lambda: NOW, rng=Random(1))


@pytest.mark.parametrize("route", [plan("a"), plan("a", route=""), plan("a", "b"), plan("a", "b", strategy="ordered")])
def test_the_routers_own_choice(route: Plan) -> None:
    """The only target, or the first of those asked in order, is what the router chooses too."""
    router = router_of(route)
    outcome = constant_outcome(router, route)
    assert outcome is not None
    assert outcome.holds()
    assert outcome.target is router.chooser.choose(route, NOW).first
    assert outcome.is_alone == (len(route.targets) == 1)


@pytest.mark.parametrize(
    "route",
    [
        *(plan("a", "b", strategy=name) for name in STRATEGIES if name != "ordered"),
        plan("a", conditions=("tools",)),
        plan("a", "b", conditions=("tools", "")),
        plan("a", concurrency=2),
        plan("a", "b", priorities=(2, 1)),
        plan(plan("a", "b", route="inner"), "c"),
    ],
)
def test_none(route: Plan) -> None:
    """A choice that depends on the request, or on what happens, is not constant."""
    assert constant_outcome(router_of(route), route) is None


def test_until_anything_speaks_against_it() -> None:
    """It does not hold after any failure, and there is another one once the target is well, or none while it rests."""
    route = plan("a", "b")
    router = router_of(route)
    outcome = constant_outcome(router, route)
    assert outcome is not None
    outcome.facts.failed(NOW, NOW, 15.0, Random(1))
    assert not outcome.holds()
    assert constant_outcome(router, route) is None
    outcome.facts.answered(0.1, NOW)
    outcome = constant_outcome(router, route)
    assert outcome is not None
    assert outcome.holds()
    outcome.facts.note_retry_after(RateLimited("too many"), 5.0, NOW)
    assert not outcome.holds()
    assert constant_outcome(router, route) is None
    for _ in range(5):
        router.facts(route, route.targets[1]).failed(NOW, NOW, 15.0, Random(1))
    assert constant_outcome(router, route) is None


def test_while_requests_wait() -> None:
    """Where another target is there, many requests that wait end it; where none is, they change nothing."""
    for route, holds in ((plan("a", "b"), False), (plan("a"), True)):
        outcome = constant_outcome(router_of(route), route)
        assert outcome is not None
        for _ in range(MOST):
            assert outcome.holds()
            outcome.facts.called(NOW)
        assert outcome.holds() is holds


def test_other_facts() -> None:
    """Facts that were given up for others' end it: it would read what nobody writes any more."""
    route = plan("a")
    router = router_of(route)
    outcome = constant_outcome(router, route)
    assert outcome is not None
    router.health.evictions += 1
    assert not outcome.holds()


def test_another_target_fails() -> None:
    """Whatever target failed: it is looked at anew, for both may share a key."""
    route = plan("a")
    router = router_of(route)
    outcome = constant_outcome(router, route)
    assert outcome is not None
    router.health.facts("other", "x/1").down(ConnectionFailed("no"), NOW, 15.0, Random(1))
    assert not outcome.holds()


def test_a_moment_counts_only_by_the_routers_own_clock() -> None:
    """One that a caller has read is taken for now by a router on that clock, and by no other."""
    route = plan("a")
    for router, moments in ((router_of(route), (NOW, NOW)), (Router(SimulatedRoute(route).health), (5.0, 5.5))):
        outcome = constant_outcome(router, route)
        assert outcome is not None
        assert outcome.called(5.0) == moments[0]
        outcome.answered_whole(moments[0], (), None, 5.5)
        assert outcome.facts.first_token(moments[1]) == moments[1] - moments[0]


STEPS = st.lists(st.tuples(st.sampled_from(["call", "call", "answer", "answer", "give up", "fail", "down"]), st.floats(0, 9)))


@given(STEPS)
def test_what_is_learned_of_requests(steps: list[tuple[str, float]]) -> None:
    """As much as where every fact of a request is noted for itself, whatever happens before its call and before its answer."""
    now = [NOW]
    route = plan("a")
    routers = [Router(SimulatedRoute(route).health, clock=lambda: now[0], rng=Random(1)) for _ in range(2)]
    facts, others = [router.facts(route, route.targets[0]) for router in routers]
    budgets = [router.health.budget(route.route) for router in routers]
    outcome = constant_outcome(routers[0], route)
    calls: list[tuple[Any, float]] = []
    for step, passed in steps:
        now[0] += passed
        if step == "call":
            if outcome is None or not outcome.is_current:
                outcome = constant_outcome(routers[0], route)
            if outcome is not None:
                calls.append((outcome, outcome.called()))
                others.called(now[0])
        elif step == "answer" and calls:
            by, called_at = calls.pop(0)
            limits = [(b"x-ratelimit-remaining-requests", b"5")]
            by.answered_whole(called_at, limits)
            budgets[1].count_request(now[0])
            others.answered_whole(called_at, now[0])
            others.note_limits(limits, now[0], now[0])
        elif step == "give up" and calls:
            calls.pop(0)[0].failed()
            others.over(was_answered=False)
        elif step in ("fail", "down"):
            for each in (facts, others):
                if step == "fail":
                    each.failed(now[0], now[0], 60.0, Random(1))
                else:
                    each.down(RateLimited("x"), now[0], 60.0, Random(1))
        known = [
            (
                (each.in_flight, each.waiting.count, each.first_token(now[0]), each.outcomes(now[0]), each.rest_of(now[0])),
                (each.breaker(now[0]), each.is_well(now[0]), each.is_untroubled(now[0]), budget.left(now[0])),
            )
            for each, budget in zip((facts, others), budgets, strict=True)
        ]
        assert known[0] == known[1]

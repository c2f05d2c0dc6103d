"""The fewest requests in flight."""

from __future__ import annotations

from collections import Counter

from ...support.simulated_route import SimulatedRoute, plan, target


def test_the_fewest_in_flight() -> None:
    """Requests at once are spread evenly, and by weight where there are weights: one of weight 0 gets none."""
    route = SimulatedRoute(plan(*map(target, "ab"), strategy="least-busy"))
    assert Counter(route.ask() for _ in range(100)) == {"a": 50, "b": 50}
    weighted = SimulatedRoute(plan(*map(target, "abc"), strategy="least-busy", weights=(3.0, 1.0, 0.0)))
    assert Counter(weighted.ask() for _ in range(100)) == {"a": 75, "b": 25}
    assert weighted.order()[-1] == "c"


def test_a_route_among_targets() -> None:
    """Counts as one, with the requests of all of its targets."""
    inner = plan(*map(target, "ab"), route="inner", strategy="round-robin")
    route = SimulatedRoute(plan(inner, target("c"), strategy="least-busy"))
    assert Counter(route.ask() for _ in range(100)) == {"a": 25, "b": 25, "c": 50}


def test_a_slow_one_gets_less() -> None:
    """Who holds its requests ten times as long is asked a tenth as often."""
    route = SimulatedRoute(plan(*map(target, "ab"), strategy="least-busy"), lambda name, now: 2.0 if name == "a" else 0.2)
    route.load(60, 40)
    assert 0.05 < route.shares(10)["a"] < 0.15


def test_of_equals_any() -> None:
    """Where nothing is in flight all are asked alike."""
    route = SimulatedRoute(plan(*map(target, "ab"), strategy="least-busy"))
    for _ in range(1000):
        route.ask()
        route.pass_time(2)
    assert 0.45 < route.shares()["a"] < 0.55

"""Drawn by weight."""

from __future__ import annotations

from collections import Counter

from ...support.simulated_route import SimulatedRoute, plan, target


def test_by_weight() -> None:
    """Who weighs three times as much begins three times as often; without weights all do alike."""
    route = SimulatedRoute(plan(*map(target, "ab"), strategy="random", weights=(3.0, 1.0)), seed=4)
    assert 0.72 < sum(route.order()[0] == "a" for _ in range(4000)) / 4000 < 0.78
    route = SimulatedRoute(plan(*map(target, "abc"), strategy="random"), seed=4)
    first = Counter(route.order()[0] for _ in range(3000))
    assert all(900 < count < 1100 for count in first.values())


def test_weight_nothing() -> None:
    """A target that weighs nothing is asked when nobody else answers."""
    route = SimulatedRoute(plan(*map(target, "abc"), strategy="random", weights=(0.0, 1.0, 1.0)))
    assert {route.order()[-1] for _ in range(50)} == {"a"}
    route = SimulatedRoute(plan(*map(target, "ab"), strategy="random", weights=(0.0, 0.0)))
    assert route.order() == "ab"

"""Power of two choices on the time to the first token and requests in flight."""

from __future__ import annotations

from collections import Counter

import pytest

from ...support.simulated_route import SimulatedRoute, plan, target


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("known", [True, False])
def test_two_equal_targets(seed: int, known: bool) -> None:
    """A hundred requests at once do not all go to one: 45 to 55 each, also where nothing is known of either."""
    route = SimulatedRoute(plan(*map(target, "ab"), strategy="fastest"), seed=seed)
    if known:
        route.load(5, 5)
        route.pass_time(5)
    counts = Counter(route.ask() for _ in range(100))
    assert 45 <= counts["a"] <= 55


def test_times_that_differ_by_chance() -> None:
    """Few milliseconds are noise, be one several times as long as the other: both targets get half."""
    route = SimulatedRoute(plan(*map(target, "ab"), strategy="fastest"), seed=1)
    route.facts("a").answered(0.002, route.now)
    route.facts("b").answered(0.02, route.now)
    counts = Counter(route.ask() for _ in range(100))
    assert 45 <= counts["a"] <= 55


@pytest.mark.parametrize("seed", range(8))
def test_one_slow_of_three(seed: int) -> None:
    """Within 5 s its share is below a tenth, it is asked now and then, and when it is fast again it has its share."""

    def takes(name: str, now: float) -> float:
        return 2.0 if name == "c" and 20 <= now < 60 else 0.2

    route = SimulatedRoute(plan(*map(target, "abc"), strategy="fastest"), takes, seed=seed)
    route.load(120, 40)
    assert all(0.25 < share < 0.42 for share in route.shares(5, 20).values())
    assert 0 < route.shares(25, 60)["c"] < 0.1
    assert route.shares(25, 30).get("c", 0) < 0.1
    assert all(0.25 < share < 0.42 for share in route.shares(90, 120).values())


@pytest.mark.parametrize("seed", range(8))
def test_one_that_recovers(seed: int) -> None:
    """A failure counts as a large time, but once it may be asked it gets a floor share, and with good answers its part."""
    route = SimulatedRoute(plan(*map(target, "abc"), strategy="fastest"), lambda name, now: 0.2, seed=seed)
    route.load(10, 40)
    route.rest("c", 15.0)
    route.load(110, 40)
    assert route.shares(10, 24.9).get("c", 0) == 0
    assert 0.004 < route.shares(26, 46)["c"] < 0.3
    assert route.shares(90, 120)["c"] > 0.25


def test_who_was_never_asked() -> None:
    """Is tried before all, once; while that answer is awaited it counts as the fastest that is known."""
    route = SimulatedRoute(plan(*map(target, "ab"), strategy="fastest"), seed=3)
    route.facts("a").answered(0.5, route.now)
    assert [route.ask() for _ in range(3)] == ["b", "a", "a"] or route.facts("b").in_flight <= 2
    assert route.facts("b").in_flight >= 1


def test_the_others_follow_by_cost() -> None:
    """After the chosen one come the others, the cheapest in time first."""
    route = SimulatedRoute(plan(*map(target, "abcd"), strategy="fastest"))
    for name, seconds in zip("abcd", (0.8, 0.4, 0.2, 0.1), strict=True):
        route.facts(name).answered(seconds, route.now)
    for _ in range(50):
        order = route.order()
        assert list(order[1:]) == sorted(order[1:], reverse=True)

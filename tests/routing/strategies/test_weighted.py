"""Smooth weighted round robin."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ...support.simulated_route import SimulatedRoute, plan, target


@given(st.lists(st.integers(0, 40), min_size=2, max_size=6).filter(any), st.integers(1, 3))
def test_shares_are_exact(weights: list[int], rounds: int) -> None:
    """Of as many requests as all weights together each target has exactly its weight; one of weight 0 has none."""
    names = "abcdef"[: len(weights)]
    route = SimulatedRoute(plan(*map(target, names), strategy="weighted", weights=tuple(map(float, weights))))
    counts = Counter(route.ask() for _ in range(sum(weights) * rounds))
    assert [counts[name] for name in names] == [weight * rounds for weight in weights]


def test_shares_are_smooth() -> None:
    """70 and 30 of any 100 in a row, give or take one at the edges, and the lesser one never twice in a row."""
    route = SimulatedRoute(plan(*map(target, "ab"), strategy="weighted", weights=(70.0, 30.0)))
    order = "".join(route.ask() for _ in range(1000))
    assert all(69 <= order[place : place + 100].count("a") <= 71 for place in range(900))
    assert "bb" not in order
    assert order.count("a") == 700


def test_without_weights() -> None:
    """All weigh the same."""
    route = SimulatedRoute(plan(*map(target, "abc"), strategy="weighted"))
    assert Counter(route.ask() for _ in range(30)) == {"a": 10, "b": 10, "c": 10}


def test_weights_of_nothing() -> None:
    """Where all weigh nothing, they are asked in the order of the file."""
    route = SimulatedRoute(plan(*map(target, "ab"), strategy="weighted", weights=(0.0, 0.0)))
    assert [route.order() for _ in range(2)] == ["ab"] * 2


def test_one_that_comes_back() -> None:
    """While one is not able the others share what it would get by their weights; later it gets its share, and no more."""
    route = SimulatedRoute(plan(*map(target, "abc"), strategy="weighted", weights=(2.0, 1.0, 1.0)))
    route.rest("a", 10.0)
    assert Counter(route.ask() for _ in range(100)) == {"b": 50, "c": 50}
    route.pass_time(20)
    while route.ask() != "a":  # one request tries it
        pass
    route.pass_time(2)
    back = Counter(route.ask() for _ in range(100))
    assert abs(back["a"] - 50) <= 1

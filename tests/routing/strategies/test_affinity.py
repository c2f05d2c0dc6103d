"""A conversation stays with its target."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from polychat.routing.traits import Traits, key_of

from ...support.simulated_route import SimulatedRoute, plan, target


class Conversation(Traits):
    def __init__(self, name: object) -> None:
        self.__dict__["affinity"] = key_of(str(name).encode())


def test_a_conversation_has_one_target() -> None:
    """The same for every process: no process knows more than the names of the targets."""
    routes = [SimulatedRoute(plan(*map(target, "abcd"), strategy="affinity"), seed=seed) for seed in range(3)]
    for number in range(100):
        orders = {route.order(Conversation(number)) for route in routes for _ in range(3)}
        assert len(orders) == 1


@pytest.mark.parametrize("weights", [(), (2.0, 1.0, 1.0, 0.0)])
def test_conversations_are_spread(weights: tuple[float, ...]) -> None:
    """By weight; one of weight 0 has none."""
    route = SimulatedRoute(plan(*map(target, "abcd"), strategy="affinity", weights=weights))
    first = Counter(route.order(Conversation(number))[0] for number in range(8000))
    for name, weight in zip("abcd", weights or (1.0,) * 4, strict=True):
        share = weight / sum(weights or (4.0,))
        assert abs(first[name] / 8000 - share) < 0.02


def test_who_goes_takes_no_other_along() -> None:
    """While a target is away only its conversations move, each to the one that stood second; and they come back."""
    route = SimulatedRoute(plan(*map(target, "abcd"), strategy="affinity"))
    before = [route.order(Conversation(number)) for number in range(500)]
    route.rest("b", 15.0)
    assert [route.order(Conversation(number))[:3] for number in range(500)] == [order.replace("b", "") for order in before]
    route.pass_time(20)
    assert [route.order(Conversation(number)) for number in range(500)] == before


def test_a_busy_target_gives_away() -> None:
    """However many requests one conversation has at once, no target has much more than its part of all."""
    route = SimulatedRoute(plan(*map(target, "abcd"), strategy="affinity"))
    counts = Counter(route.ask(Conversation("one of a thousand branches")) for _ in range(100))
    assert max(counts.values()) <= 1.25 * 25 + 2 * 5 + 1


def test_a_request_of_no_conversation() -> None:
    """Goes to the least busy."""
    route = SimulatedRoute(plan(*map(target, "ab"), strategy="affinity"))
    assert Counter(route.ask() for _ in range(100)) == {"a": 50, "b": 50}


def test_caches_are_hit() -> None:
    """Of conversations that take turns at random nearly every later request finds its prefix, and the load is even."""
    rng = Random(7)
    route = SimulatedRoute(plan(*map(target, "abcd"), strategy="affinity"), lambda name, now: rng.uniform(0.2, 2.0))
    cached: dict[str, set[int]] = {name: set() for name in "abcd"}
    hits = later = 0
    for _ in range(6000):
        number = rng.randrange(600)
        known = any(number in held for held in cached.values())
        name = route.ask(Conversation(number))
        later, hits = later + known, hits + (known and number in cached[name])
        cached[name].add(number)
        route.pass_time(rng.expovariate(40))
    assert hits / later > 0.95
    assert max(route.shares().values()) < 0.25 * 1.25

"""In which order targets are asked."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.backends.service import ServiceBackend
from polychat.config import Config
from polychat.config.settings import Route, Strategy
from polychat.errors import RateLimited
from polychat.providers import Provider
from polychat.routing import Health, Plan, Target
from polychat.routing.order import order

BACKEND = ServiceBackend(Provider, Config())


def target(name: str) -> Target:
    return Target(name, BACKEND, name.partition("/")[0], name.partition("/")[2])


A, B, C = target("a/1"), target("b/1"), target("c/1")


def plan(*targets: Target, **rules: Any) -> Plan:
    return Plan("route", targets, Route(targets=tuple(one.name for one in targets), **rules))


def test_ordered() -> None:
    """As the route says, whatever the turn."""
    assert [order(plan(A, B, C), Health(), 0, turn, Random(1)) for turn in range(2)] == [[A, B, C]] * 2


def test_round_robin() -> None:
    """Each begins once in as many turns as there are targets, and the others follow in their order."""
    found = [order(plan(A, B, C, strategy="round-robin"), Health(), 0, turn, Random(1)) for turn in range(4)]
    assert found == [[A, B, C], [B, C, A], [C, A, B], [A, B, C]]


def test_random_by_weight() -> None:
    """Who weighs three times as much begins three times as often; without weights all do alike."""
    rng = Random(4)
    first = Counter(order(plan(A, B, strategy="random", weights=(3, 1)), Health(), 0, 0, rng)[0].name for _ in range(4000))
    assert 0.72 < first["a/1"] / 4000 < 0.78
    first = Counter(order(plan(A, B, C, strategy="random"), Health(), 0, 0, rng)[0].name for _ in range(3000))
    assert all(900 < count < 1100 for count in first.values())


def test_weight_nothing() -> None:
    """A target that weighs nothing is asked when nobody else answers."""
    for seed in range(50):
        assert order(plan(A, B, C, strategy="random", weights=(0, 1, 1)), Health(), 0, 0, Random(seed))[-1] is A
    assert order(plan(A, B, strategy="random", weights=(0, 0)), Health(), 0, 0, Random(1)) == [A, B]


def test_fastest() -> None:
    """Who began to answer soonest of late goes first; who was never asked is tried before all."""
    health = Health()
    for name, seconds in (("a/1", 0.5), ("b/1", 0.2)):
        health.facts("route", name).answered(seconds, 0.0)
    assert order(plan(A, B, C, strategy="fastest"), health, 0, 0, Random(1)) == [C, B, A]
    for _ in range(20):
        health.facts("route", "b/1").answered(2.0, 0.0)
    health.facts("route", "c/1").answered(1.0, 0.0)
    assert order(plan(A, B, C, strategy="fastest"), health, 0, 0, Random(1)) == [A, C, B]


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_the_ill_come_last(strategy: Any) -> None:
    """Three failures in a row, or a word about when to come again, and a target is asked after all that are well."""
    health = Health()
    for _ in range(3):
        health.facts("route", "a/1").failed(100.0, 15.0)
    health.facts("route", "b/1").failed(100.0, 15.0, RateLimited("wait", status=429, retry_after=40.0))
    health.facts("route", "c/1").failed(100.0, 15.0)
    rules = plan(A, B, C, strategy=strategy)
    assert order(rules, health, 101.0, 0, Random(1))[0] is C
    assert {*order(rules, health, 101.0, 0, Random(1))[1:]} == {A, B}
    assert order(rules, health, 115.0, 0, Random(1))[-1] is B, "the cooldown of the first is over"
    assert order(rules, health, 139.9, 0, Random(1))[-1] is B, "it said when to come again: not before"
    assert all(health.facts("route", one.name).is_well(140.0) for one in (A, B, C))


@given(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True),
    st.sampled_from(get_args(Strategy)),
    st.integers(0, 100),
    st.integers(0, 2**32),
    st.sets(st.sampled_from("abcdef")),
)
def test_nobody_is_left_out(names: list[str], strategy: Any, turn: int, seed: int, ill: set[str]) -> None:
    """Whatever the strategy, every target stands in the order once, and none that is well behind one that is not."""
    health = Health()
    for name in ill:
        health.facts("route", f"{name}/1").failed(0.0, 15.0, RateLimited("wait", status=429, retry_after=10.0))
    targets = [target(f"{name}/1") for name in names]
    found = order(plan(*targets, strategy=strategy), health, 1.0, turn, Random(seed))
    assert Counter(found) == Counter(targets)
    if len(found) > 1:
        wells = [one.label not in ill for one in found]
        assert wells == sorted(wells, reverse=True)

"""In which order the targets of a plan are asked, whatever the strategy."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.config.strategy_names import STRATEGIES
from polychat.errors import RateLimited
from polychat.routing import Health, Plan, Target
from polychat.routing.clocks import Kind
from polychat.routing.order import LIMITED, OPEN, RESTING, Choice, Chooser
from polychat.routing.traits import UNKNOWN, Traits

from ..support.simulated_route import SimulatedRoute, plan, target

A, B, C, D = map(target, "abcd")
KIND = Kind(streamed=True, size=0, reasons=False)
WAIT = RateLimited("wait", status=429, retry_after=40.0)


def rest(health: Health, *names: str) -> None:
    for name in names:
        health.facts("route", f"{name}/1").note_retry_after(WAIT, 40.0, 0.0)


def chosen(of: Plan, health: Health, now: float = 1.0, seed: int = 1, traits: Traits = UNKNOWN) -> Choice:
    return Chooser(health, Random(seed)).choose(of, now, traits)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_ill_come_last(strategy: str) -> None:
    """Five failures in a row, or a word about when to come again, and a target is asked after all that are well."""
    health = Health()
    for _ in range(5):
        health.facts("route", "a/1").failed(100.0, 100.0, 15.0, Random(1))
    health.facts("route", "b/1").note_retry_after(WAIT, 40.0, 100.0)
    health.facts("route", "c/1").failed(100.0, 100.0, 15.0, Random(1))
    rules = plan(A, B, C, strategy=strategy)
    choice = chosen(rules, health, 100.0)
    assert choice.targets == [C, A, B]
    assert choice.passed == [(A, OPEN), (B, RESTING)]
    assert chosen(rules, health, 115.0).targets[-1] is B, "the rest of the first is over"
    assert chosen(rules, health, 139.9).targets[-1] is B, "it said when to come again: not before"
    assert chosen(rules, health, 140.0).passed == []


@given(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True),
    st.sampled_from(STRATEGIES),
    st.data(),
    st.integers(0, 2**32),
    st.sets(st.sampled_from("abcdef")),
)
def test_nobody_is_left_out(names: list[str], strategy: str, data: Any, seed: int, ill: set[str]) -> None:
    """Whatever the strategy, weights and tiers, every target is in the order once, none that is well behind one that is
    not, and none of the well behind one of a later tier."""
    health = Health()
    rest(health, *ill)
    numbers = st.lists(st.integers(0, 3), min_size=len(names), max_size=len(names)) | st.just([])
    priorities, weights = tuple(data.draw(numbers)), tuple(map(float, data.draw(numbers)))
    targets = [target(name) for name in names]
    of = plan(*targets, strategy=strategy, priorities=priorities, weights=weights)
    choice = chosen(of, health, seed=seed)
    assert Counter(choice.targets) == Counter(targets)
    if len(targets) > 1:
        assert {passed.target.label for passed in choice.passed} == ill & set(names)
        tiers = dict(zip(names, priorities or (0,) * len(names), strict=True))
        keys = [(one.label in ill, tiers[one.label] if one.label not in ill else 0) for one in choice.targets]
        assert keys == sorted(keys)


def test_a_failed_members_traffic_goes_to_its_own_tier() -> None:
    """The second tier gets nothing while any target of the first one is well, and everything once none is."""
    route = SimulatedRoute(plan(A, B, C, D, strategy="weighted", weights=(3, 1, 1, 1), priorities=(1, 1, 2, 1)))
    route.load(10, 10)
    assert route.shares() == {"a": 0.6, "b": 0.2, "d": 0.2}
    route.facts("a").note_retry_after(WAIT, 40.0, route.now)
    route.load(10, 10)
    assert route.shares(10, 20) == {"b": 0.5, "d": 0.5}
    assert route.order()[2:] == "ca"
    for name in "bd":
        route.facts(name).note_retry_after(WAIT, 40.0, route.now)
    route.load(1, 10)
    assert route.shares(20, 21) == {"c": 1.0}


def test_a_route_in_a_route_keeps_its_strategy() -> None:
    """The outer weights are for the inner route as a whole, and its own say who of it is asked: no share of one disturbs the
    other."""
    inner = plan(A, B, route="inner", strategy="weighted", weights=(1, 1))
    route = SimulatedRoute(plan(inner, C, strategy="weighted", weights=(2, 2)))
    route.load(10, 10)
    assert route.shares() == {"a": 0.25, "b": 0.25, "c": 0.5}
    ordered = SimulatedRoute(plan(inner, C))
    assert [ordered.order() for _ in range(3)] == ["abc", "bac", "abc"]


def test_a_route_in_a_route_is_able_while_any_of_it_is() -> None:
    """Those of it that are not come after all others, and once where they are in the other route too."""
    inner = plan(A, B, route="inner", strategy="round-robin")
    route = SimulatedRoute(plan(inner, C, A))
    route.facts("a").note_retry_after(WAIT, 40.0, route.now)
    assert route.order() == "bca"
    route.facts("b").note_retry_after(WAIT, 40.0, route.now)
    assert route.order() == "cab"


@pytest.mark.parametrize("unit", [b"requests", b"tokens"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_target_at_its_limit_is_left_alone(strategy: str, unit: bytes) -> None:
    """It is asked behind those that have something left, and before those that asked to be retried later."""
    health = Health()
    headers = [(b"x-ratelimit-remaining-" + unit, b"0"), (b"x-ratelimit-reset-" + unit, b"30s")]
    health.facts("route", "a/1").note_limits(headers, 1.0, 0.0)
    rest(health, "b")
    choice = chosen(plan(A, B, C, strategy=strategy), health)
    assert choice.targets == [C, A, B]
    assert choice.passed == [(A, LIMITED), (B, RESTING)]
    assert A not in [passed.target for passed in chosen(plan(A, B, C, strategy=strategy), health, 31.0).passed]


class Unfit(Traits):
    is_choosy = True

    def unfit(self, target: Target) -> str:
        return "it has no tools" if target.label == "a" else ""


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_who_is_unfit_for_the_request(strategy: str) -> None:
    """Is asked when nobody else is well, and the reason is reported."""
    choice = chosen(plan(A, B, C, strategy=strategy), Health(), traits=Unfit())
    assert choice.targets[-1] is A
    assert choice.passed == [(A, "it has no tools")]
    alone = chosen(plan(A), Health(), traits=Unfit())
    assert (alone.targets, alone.passed) == ([A], []), "there is nothing to choose"


def test_plans_without_end() -> None:
    """Chains that clients name do not fill the memory, and a route keeps its turn meanwhile."""
    chooser = Chooser(Health(), Random(1))
    first = plan(A, B, strategy="round-robin")
    assert chooser.choose(first, 0.0).targets == [A, B]
    plans = [plan(A, B, C) for _ in range(2000)]
    for each in plans:
        assert chooser.choose(each, 0.0).targets == [A, B, C]
    assert chooser.choose(first, 0.0).targets == [B, A]
    assert len(chooser._groups) == 1024
    assert len(chooser._strategies) == 2


def test_facts_that_were_forgotten() -> None:
    """What is known of a target is looked up anew: clients' names without end may have pushed it out meanwhile."""
    health = Health()
    chooser, of = Chooser(health, Random(1)), plan(A, B)
    assert chooser.choose(of, 0.0).targets == [A, B]
    for number in range(5000):
        health.facts("", str(number))
    rest(health, "a")
    assert chooser.choose(of, 1.0).targets == [B, A]


def test_who_would_be_asked() -> None:
    """To look takes nobody's turn."""
    for strategy in ("weighted", "round-robin"):
        of = plan(A, B, C, strategy=strategy)
        chooser = Chooser(Health(), Random(1))
        assert {chooser.choose(of, 0.0, is_turn=False).targets[0] for _ in range(5)} == {A}
        assert [chooser.choose(of, 0.0).targets[0] for _ in range(3)] == [A, B, C]


NEWS = st.sampled_from(["failed", "told", "down", "short", "plenty", "asked", "answered", "later", "kept"])


@given(st.sampled_from(STRATEGIES), st.lists(st.tuples(NEWS, st.sampled_from("abc")), max_size=30))
def test_what_speaks_against_a_target_is_known_to_the_next_choice(strategy: str, news: list[tuple[str, str]]) -> None:
    """A chooser that found all to be well before passes over whom one passes over that looks at each for the first time."""
    health, now = Health(), 100.0
    chooser, of = Chooser(health, Random(1)), plan(A, B, C, strategy=strategy)
    for name in "abc":
        health.facts("route", f"{name}/1").belongs_to(health.domain("key"))
    for what, name in news:
        facts = health.facts("route", f"{name}/1")
        match what:
            case "failed":
                facts.failed(now, now, 15.0, Random(1), at_once=True)
            case "told":
                facts.note_retry_after(WAIT, 40.0, now)
            case "down":
                facts.down(WAIT, now, 15.0, Random(1))
            case "short" | "plenty":
                left = b"0" if what == "short" else b"9"
                headers = [(b"x-ratelimit-remaining-requests", left), (b"x-ratelimit-reset-requests", b"30s")]
                facts.note_limits(headers, now, 0.0)
            case "asked":
                facts.called(now)
            case "answered" if facts.waiting.count:
                facts.learn(KIND, 0.1)
                facts.answered(0.1, now)
            case "later":
                now += 7.0
        choice, anew = chooser.choose(of, now), Chooser(health, Random(1)).choose(of, now, is_turn=False)
        assert choice.passed == anew.passed
        passed = [over.target for over in anew.passed]
        assert len(passed) == 3 or choice.first not in passed
        assert sorted(choice.targets, key=id) == sorted(of.targets, key=id)

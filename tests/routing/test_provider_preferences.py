"""OpenRouter's ``provider`` on a plan."""

from __future__ import annotations

from typing import Any

import pytest

from polychat.errors import UnknownTarget
from polychat.routing import Plan, Target
from polychat.routing.provider_preferences import ProviderPreferences, Rates, preferred

from ..support.simulated_route import plan, target

A, B, C = map(target, "abc")


class Known:
    """What is known of ``a``, ``b`` and ``c``; of ``d`` nothing is."""

    def first_token(self, target: Target, now: float) -> float:
        return {"a": 3.0, "b": 1.0, "c": 2.0}.get(target.label, 0.0)

    def throughput(self, target: Target) -> float:
        return {"a": 30.0, "b": 10.0, "c": 20.0}.get(target.label, 0.0)

    def rates(self, target: Target) -> Rates | None:
        return {"a": Rates(1, 5), "b": Rates(3, 9), "c": Rates(2, 2)}.get(target.label)


def preferred_labels(of: Plan, carries: str = "abcd", **members: Any) -> tuple[str, list[str]]:
    """The labels of the targets that are left, in order, and what is not known."""
    result = preferred(of, ProviderPreferences(**members), Known(), 0.0, lambda target: target.label in carries)
    return "".join(target.label for target in result.plan.targets), result.unknown


@pytest.mark.parametrize(
    ("members", "labels"),
    [
        ({"order": ("c", "a")}, "cab"),
        ({"order": ("c", "nobody")}, "cab"),
        ({"order": ("c", "a"), "allow_fallbacks": False}, "ca"),
        ({"only": ("c", "b")}, "bc"),
        ({"ignore": ("a",)}, "bc"),
        ({"order": ("c", "a"), "ignore": ("a",)}, "cb"),
        ({"sort": "price"}, "cab"),
        ({"sort": "latency"}, "bca"),
        ({"sort": "throughput"}, "acb"),
        ({"order": ("b",), "sort": "price"}, "bca"),
        ({"max_prompt": 2.0}, "ac"),
        ({"max_completion": 4.0}, "c"),
        ({"max_latency": 1.5}, "bac"),
        ({"min_throughput": 15.0}, "acb"),
        ({"require_parameters": True}, "ab"),
    ],
)
def test_the_targets_that_are_wanted(members: dict[str, Any], labels: str) -> None:
    """Those that may be asked, in the order asked for; a preference only puts a target behind."""
    assert preferred_labels(plan(A, B, C), carries="ab", **members) == (labels, [])


@pytest.mark.parametrize(
    ("members", "labels", "unknown"),
    [
        ({"sort": "price"}, "cabd", ["sort"]),
        ({"sort": "throughput"}, "acbd", ["sort"]),
        ({"max_prompt": 2.0}, "acd", ["max_price"]),
        ({"max_latency": 1.5}, "bdac", ["preferred_max_latency"]),
        ({"min_throughput": 15.0}, "acdb", ["preferred_min_throughput"]),
    ],
)
def test_what_is_not_known_of_a_target_is_reported(members: dict[str, Any], labels: str, unknown: list[str]) -> None:
    """It comes after those with known facts, and is tried all the same."""
    assert preferred_labels(plan(A, B, C, target("d")), **members) == (labels, unknown)


@pytest.mark.parametrize(
    "members", [{"only": ("nobody",)}, {"ignore": ("a", "b", "c")}, {"max_prompt": 0.1}, {"require_parameters": True}]
)
def test_nobody_is_asked_against_the_clients_word(members: dict[str, Any]) -> None:
    """Where no target is left the request names nobody: 404, as at OpenRouter."""
    with pytest.raises(UnknownTarget) as raised:
        preferred_labels(plan(A, B, C), carries="", **members)
    assert raised.value.field == "provider"


def test_a_route_keeps_its_rules_where_no_order_is_wanted() -> None:
    """Its strategy, and each remaining target's weight, tier and conditions; an order goes before all but the conditions."""
    declared: dict[str, Any] = {
        "strategy": "weighted",
        "weights": (1, 2, 3),
        "priorities": (0, 1, 1),
        "conditions": ("", "tools", ""),
    }
    route = plan(A, B, C, **declared)
    narrowed = preferred(route, ProviderPreferences(ignore=("a",)), Known(), 0.0, lambda _: True).plan
    rules = narrowed.rules
    assert (rules.strategy, rules.weights, rules.priorities, rules.conditions) == (
        "weighted",
        (2, 3),
        (1, 1),
        ("tools", ""),
    )
    rules = preferred(route, ProviderPreferences(order=("c", "b")), Known(), 0.0, lambda _: True).plan.rules
    assert (rules.strategy, rules.weights, rules.priorities, rules.conditions) == (
        "ordered",
        (),
        (),
        ("", "tools", ""),
    )
    assert preferred(route, ProviderPreferences(allow_fallbacks=False), Known(), 0.0, lambda _: True).plan.rules.attempts == 1
    same = preferred(route, ProviderPreferences(only=("a", "b", "c")), Known(), 0.0, lambda _: True).plan
    assert same is route


def test_a_route_among_a_routes_targets_is_narrowed_too() -> None:
    """Its own targets alone count, and it has the place of the first of them."""
    inner = plan(A, B, route="inner", strategy="weighted", weights=(1, 2))
    narrowed = preferred(plan(C, inner), ProviderPreferences(order=("b",), ignore=("a",)), Known(), 0.0, lambda _: True).plan
    member = narrowed.members[0]
    assert isinstance(member, Plan)
    assert (narrowed.targets, member.targets, narrowed.members[1]) == ((B, C), (B,), C)

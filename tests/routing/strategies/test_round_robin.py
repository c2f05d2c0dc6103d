"""Each in its turn."""

from __future__ import annotations

from ...support.simulated_route import SimulatedRoute, plan, target


def test_turns() -> None:
    """Each begins once in as many turns as there are targets, and the others follow in their order."""
    route = SimulatedRoute(plan(*map(target, "abc"), strategy="round-robin"))
    assert [route.order() for _ in range(4)] == ["abc", "bca", "cab", "abc"]

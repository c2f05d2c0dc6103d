"""As the file says."""

from __future__ import annotations

from ...support.simulated_route import SimulatedRoute, plan, target


def test_ordered() -> None:
    """The same for every request, however many are in flight."""
    route = SimulatedRoute(plan(*map(target, "abc"), strategy="ordered"))
    route.ask()
    assert [route.order() for _ in range(2)] == ["abc"] * 2

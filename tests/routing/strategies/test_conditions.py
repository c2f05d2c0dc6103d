"""The most particular condition first."""

from __future__ import annotations

from ...support.simulated_route import Known, SimulatedRoute, plan, target


def test_the_most_particular_first() -> None:
    """Of the targets that take a request the one with the most terms, of equals the first of the file."""
    conditions = ("", "images", "images prompt>1000", "tools")
    route = SimulatedRoute(plan(*map(target, "abcd"), strategy="conditions", conditions=conditions))
    assert route.order() == "a"
    assert route.order(Known(["images"], 10)) == "ba"
    assert route.order(Known(["images", "tools"], 2000)) == "cbda"

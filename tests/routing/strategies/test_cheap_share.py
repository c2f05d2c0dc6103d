"""By the inverse square of the expected cost."""

from __future__ import annotations

from ...support.simulated_route import SimulatedRoute, plan, target


def test_by_the_inverse_square() -> None:
    """At half the cost four times the requests; who has no price is asked when the others fail."""
    prices = {"a": 1.0, "b": 2.0}
    route = SimulatedRoute(
        plan(*map(target, "abc"), strategy="cheap-share"), pricing=lambda target, usage: prices.get(target.label)
    )
    orders = [route.order() for _ in range(4000)]
    assert 0.77 < sum(order[0] == "a" for order in orders) / 4000 < 0.83
    assert {order[2] for order in orders} == {"c"}

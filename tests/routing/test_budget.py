"""How many retries a route may make."""

from __future__ import annotations

import pytest

from polychat.routing.budget import RetryBudget


@pytest.mark.parametrize(("rate", "allowed"), [(10, 30), (300, 30), (1000, 100)])
def test_a_tenth(rate: int, allowed: int) -> None:
    """A tenth of the requests of ten seconds, and three a second at least."""
    budget = RetryBudget()
    for number in range(rate):
        budget.asked(100.0 + 9.0 * number / rate)
    assert budget.left(109.0) == allowed
    assert sum(budget.take(109.0) for _ in range(1000)) == allowed
    assert budget.left(109.0) == 0
    assert budget.take(125.0), "ten seconds later there is a new one"

"""How many retries a route may make."""

from __future__ import annotations

import pytest

from polychat.routing.budget import RetryBudget


@pytest.mark.parametrize(("rate", "allowed"), [(10, 30), (300, 30), (1000, 100)])
def test_a_tenth(rate: int, allowed: int) -> None:
    """A tenth of the requests of ten seconds, and three a second at least."""
    budget = RetryBudget()
    for number in range(rate):
        budget.count_request(100.0 + 9.0 * number / rate)
    assert budget.left(109.0) == allowed
    assert sum(budget.take(109.0) for _ in range(1000)) == allowed
    assert budget.left(109.0) == 0
    assert budget.take(125.0), "ten seconds later there is a new one"


@pytest.mark.parametrize(("rate", "allowed"), [(10, 180), (300, 180), (1000, 600)])
def test_what_is_kept(rate: int, allowed: int) -> None:
    """A minute's budget may be used at once for a target that is reliable; on the long run there is no more than a tenth."""
    budget = RetryBudget()
    for number in range(rate):
        budget.count_request(100.0 + 9.0 * number / rate)
    assert sum(budget.take(109.0, is_reliable=True) for _ in range(1000)) == allowed
    assert not budget.take(109.0), "others had their share too"
    for _ in range(rate):
        budget.count_request(119.0)
    assert sum(budget.take(119.0, is_reliable=True) for _ in range(1000)) == allowed / 6

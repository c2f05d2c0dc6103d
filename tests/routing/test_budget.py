"""How many retries a route may make."""

from __future__ import annotations

import pytest

from polychat.routing.budget import DEBT, EARNED, OVER, RetryBudget


@pytest.mark.parametrize(("rate", "allowed", "later"), [(10, 30, 10), (300, 30, 30), (1000, 100, 100)])
def test_a_tenth(rate: int, allowed: int, later: int) -> None:
    """A tenth of the requests of ten seconds, and three a second at least; one, while many more were made than a tenth."""
    budget = RetryBudget()
    for number in range(rate):
        budget.count_request(100.0 + 9.0 * number / rate)
    assert budget.left(109.0) == allowed
    assert sum(budget.take(109.0) for _ in range(1000)) == max(later, EARNED + OVER)
    assert budget.left(109.0) == 0
    for number in range(rate):
        budget.count_request(125.0 + 9.0 * number / rate)
    assert sum(budget.take(134.0) for _ in range(1000)) == later, "ten seconds later there is a new one"


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


def test_what_is_spare() -> None:
    """Each request earns a tenth of a retry, for few of them only; each retry uses one, and a debt is bounded too."""
    budget = RetryBudget()
    for _ in range(1000):
        budget.count_request(100.0)
    for _ in range(int(EARNED)):
        assert budget.take(100.0)
    assert not budget.is_overdrawn()
    assert budget.take(100.0)
    assert budget.is_overdrawn(), "what a thousand requests earned is not kept for later"
    for number in range(1000):
        budget.take(101.0 + number, is_reliable=True)
    for _ in range(int(9.8 * DEBT)):
        budget.count_request(1101.0)
    assert budget.is_overdrawn()
    for _ in range(20):
        budget.count_request(1101.0)
    assert not budget.is_overdrawn()

"""What every strategy holds to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from polychat.config.strategy_names import STRATEGIES
from polychat.routing.strategies import strategy

from ..support.simulated_route import SimulatedRoute, plan, target

WEIGHTS = {"a": 5.0, "b": 3.0, "c": 2.0, "d": 0.0}
ASKED = 2000


def _asked(name: str) -> Mapping[str, int]:
    route = SimulatedRoute(plan(*map(target, WEIGHTS), strategy=name, weights=tuple(WEIGHTS.values())))
    return Counter(route.ask() for _ in range(ASKED))


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_shares_that_a_strategy_names_are_those_it_gives(name: str) -> None:
    """Operators compare the named shares with the actual ones: a difference then tells of failures, and of nothing else."""
    shares = strategy(name).shares(list(WEIGHTS.values()))
    if shares is not None:
        counts = _asked(name)
        measured = {target: counts[target] / ASKED for target in WEIGHTS}
        assert measured == pytest.approx(dict(zip(WEIGHTS, [share / sum(shares) for share in shares], strict=True)), abs=0.05)


def test_some_strategies_name_their_shares() -> None:
    """Else the test above would compare nothing."""
    assert len([name for name in STRATEGIES if strategy(name).shares([1.0, 1.0]) is not None]) > 1

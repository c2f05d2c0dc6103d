"""Fewer requests to a target the more of them it fails."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from polychat.routing.throttle import Throttle, held_back


def test_the_share() -> None:
    """Nothing is held back while half is answered; nearly all is where nothing is."""
    assert held_back(0) == 0.0
    assert held_back(100, 50) == 0.0
    assert held_back(100, 40) > 0.15
    assert held_back(100) > 0.98


def test_a_sick_target() -> None:
    """Of a hundred requests a second it gets a few, and one a second at least: so soon it shows that it is well again."""
    throttle, rng, let = Throttle(), Random(1), []
    for number in range(1000):
        now = 50.0 + number / 100
        if throttle.admits(now, rng.random()):
            let.append(now)
    assert 10 <= len(let) <= 40
    assert max(after - before for before, after in pairwise(let)) <= 1.02

"""Drawn by the inverse square of the expected cost: one at half the cost is asked four times as often."""

from __future__ import annotations

from math import log

from ..choice import C, Strategy
from ..traits import Traits


class CheapShare(Strategy):
    """As OpenRouter does it. Those whose price is not known come behind those that have one."""

    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        random = self.rng.random
        ranked = []
        for place, candidate in enumerate(able):
            cost = candidate.cost(traits, now)
            # An exponential of the rate 1 / cost² is the least of all with that share; what costs nothing is the first.
            ranked.append((_UNPRICED, place) if cost is None else (-log(1.0 - random()) * cost * cost, place))
        ranked.sort()
        return [able[place] for _, place in ranked]


_UNPRICED = float("inf")

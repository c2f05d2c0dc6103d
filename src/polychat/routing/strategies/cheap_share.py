"""Drawn by the inverse square of the expected cost: one at half the cost is chosen four times as often."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import log

from ..choice import C, Strategy
from ..traits import Traits


class CheapShare(Strategy):
    """As OpenRouter does it. Targets whose price is not known come after those that have one."""

    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        random = self.rng.random
        ranked = []
        for place, candidate in enumerate(able):
            cost = candidate.cost(traits, now)
            # An exponential of the rate 1 / cost² is the least of all with that share; what costs nothing is the first.
            ranked.append((_UNPRICED, place) if cost is None else (-log(1.0 - random()) * cost * cost, place))
        ranked.sort()
        return [able[place] for _, place in ranked]

    def pick(self, able: Sequence[C], now: float, traits: Traits) -> C:
        sums: list[float] = []
        total = 0.0
        for candidate in able:
            cost = candidate.cost(traits, now)
            if cost == 0.0:
                return candidate
            if cost is not None:
                total += 1.0 / (cost * cost)
            sums.append(total)
        place = bisect_right(sums, self.rng.random() * total)
        if place < len(able):
            return able[place]
        return self.order(list(able), now, traits, first=True)[0]  # no price is known, or what rounding leaves


_UNPRICED = float("inf")

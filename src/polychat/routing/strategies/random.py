"""Drawn by weight, each request anew."""

from __future__ import annotations

from collections.abc import Sequence

from ..choice import C, Strategy
from ..traits import Traits


class Drawn(Strategy):
    """Those of weight 0 are for when no other answers."""

    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        random = self.rng.random
        # The greatest of u ** (1 / weight) is each one with the share of its weight (Efraimidis and Spirakis, 2006).
        ranked = [
            (-(random() ** (1 / candidate.weight)) if candidate.weight else 1.0, place) for place, candidate in enumerate(able)
        ]
        ranked.sort()
        return [able[place] for _, place in ranked]

    def pick(self, able: Sequence[C], now: float, traits: Traits) -> C:
        total = 0.0
        for candidate in able:
            total += candidate.weight
        drawn = self.rng.random() * total
        for candidate in able:
            drawn -= candidate.weight
            if drawn < 0.0:
                return candidate
        return self.order(list(able), now, traits, first=True)[0]  # all of weight 0, or what rounding leaves

    @classmethod
    def shares(cls, weights: Sequence[float]) -> Sequence[float]:
        return weights

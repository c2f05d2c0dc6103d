"""In shares that are exact: with the weights 70 and 30, of 100 requests one gets 70, spread evenly among the other's 30."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ..choice import C, Strategy
from ..traits import Traits


class Weighted(Strategy):
    """Smooth weighted round robin, as nginx has it: each turn all credits grow by the weights, and the chosen one pays for all.

    Of requests as many as all weights together each has exactly its weight. Those of weight 0 are for when no other answers.
    """

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self._credits: dict[str, float] = {}

    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        kept, total = self._credits, 0.0
        ranked = []
        for place, candidate in enumerate(able):
            weight, name = candidate.weight, candidate.name
            total += weight
            credit = kept.get(name, 0.0) + weight
            if first:
                kept[name] = credit
            ranked.append((-credit if weight else _LAST, place))
        ranked.sort()
        if first:
            kept[able[ranked[0][1]].name] -= total
        return [able[place] for _, place in ranked]

    def pick(self, able: Sequence[C], now: float, traits: Traits) -> C:
        kept, total, most, chosen = self._credits, 0.0, -_LAST, able[0]
        for candidate in able:
            if weight := candidate.weight:
                total += weight
                credit = kept[candidate.name] = kept.get(candidate.name, 0.0) + weight
                if credit > most:
                    most, chosen = credit, candidate
        kept[chosen.name] = kept.get(chosen.name, 0.0) - total
        return chosen

    @classmethod
    def shares(cls, weights: Sequence[float]) -> Sequence[float]:
        return weights


_LAST = float("inf")

"""The one where the request is expected to cost least, by price, by what its cache has, and by the attempts that fail."""

from __future__ import annotations

from collections.abc import Sequence

from ..choice import C, Strategy
from ..traits import Traits


class Cheapest(Strategy):
    """Targets whose price is not known come after those that have one, in the order of the file."""

    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        ranked = []
        for place, candidate in enumerate(able):
            cost = candidate.cost(traits, now)
            ranked.append((_UNPRICED if cost is None else cost, place))
        ranked.sort()
        return [able[place] for _, place in ranked]

    def pick(self, able: Sequence[C], now: float, traits: Traits) -> C:
        least, chosen = _UNPRICED, able[0]
        for candidate in able:
            cost = candidate.cost(traits, now)
            if cost is not None and cost < least:
                least, chosen = cost, candidate
        return chosen


_UNPRICED = float("inf")

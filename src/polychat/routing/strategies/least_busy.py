"""The one with the fewest requests in flight for its weight."""

from __future__ import annotations

from collections.abc import Sequence

from ..choice import C, Strategy
from ..traits import Traits


class LeastBusy(Strategy):
    """Of equals any. Those of weight 0 are for when no other answers."""

    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        random = self.rng.random
        ranked = [
            ((candidate.facts.in_flight + 1) / candidate.weight if candidate.weight else _NEVER, random(), place)
            for place, candidate in enumerate(able)
        ]
        ranked.sort()
        return [able[place] for _, _, place in ranked]

    def pick(self, able: Sequence[C], now: float, traits: Traits) -> C:
        least, chosen, ties = _NEVER, able[0], 0
        for candidate in able:
            load = (candidate.facts.in_flight + 1) / candidate.weight if candidate.weight else _NEVER
            if load < least:
                least, chosen, ties = load, candidate, 1
            elif load == least:
                ties += 1
                if self.rng.random() * ties < 1.0:
                    chosen = candidate
        return chosen


_NEVER = float("inf")

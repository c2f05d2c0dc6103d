"""The one that begins to answer soonest, by its last answers and by what it has in flight."""

from __future__ import annotations

from ..choice import C, Strategy
from ..traits import Traits

FLOOR = 0.01
"""The share of requests that each target gets at least while it is able: one that was slow is found to be fast again."""


class Fastest(Strategy):
    """The better of two drawn at random (power of two choices), by seconds to the first token times requests in flight.

    The best of all would get every request until its next answer tells that it is not the best any more. One that was never
    asked counts as 0 seconds while it has nothing in flight, and then as the fastest that is known.
    """

    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        random, count = self.rng.random, len(able)
        times = [candidate.facts.first_token(now) for candidate in able]
        loads = [candidate.facts.in_flight for candidate in able]
        best = min(times) or min((seconds for seconds in times if seconds), default=1.0)
        costs = [(seconds or best) * (load + 1) if seconds or load else 0.0 for seconds, load in zip(times, loads, strict=True)]
        one = int(random() * count)
        if random() >= FLOOR * count:
            other = int(random() * (count - 1))
            other += other >= one
            if costs[other] < costs[one]:
                one = other
        rest = sorted(range(count), key=costs.__getitem__)
        rest.remove(one)
        return [able[one], *[able[place] for place in rest]]

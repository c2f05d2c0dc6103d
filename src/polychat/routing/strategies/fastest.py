"""The one that begins to answer soonest, by its last answers and by what it has in flight."""

from __future__ import annotations

from collections.abc import Sequence

from ..choice import C, Strategy
from ..traits import Traits

FLOOR = 0.01
"""The share of requests that each target gets at least while it is able: one that was slow is found to be fast again."""
LEAST = 0.05
"""Seconds that shorter times count as: what differs among those is mostly what else this machine does."""


class Fastest(Strategy):
    """The better of two drawn at random (power of two choices), by seconds to the first token times requests in flight.

    The best of all would get every request until its next answer shows that it is not the best any more. One that was never
    called counts as 0 seconds while it has nothing in flight, and then as the fastest that is known.
    """

    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        by_cost = sorted(able, key=lambda candidate: _cost(candidate, able, now))
        if not first:
            return by_cost
        picked = self.pick(able, now, traits)
        return [picked, *(candidate for candidate in by_cost if candidate is not picked)]

    def pick(self, able: Sequence[C], now: float, traits: Traits) -> C:
        random, count = self.rng.random, len(able)
        drawn = int(random() * count)
        one = able[drawn]
        if random() < FLOOR * count:
            return one
        place = int(random() * (count - 1))
        other = able[place + (place >= drawn)]
        return other if _cost(other, able, now) < _cost(one, able, now) else one


def _cost(candidate: C, able: Sequence[C], now: float) -> float:
    facts = candidate.facts
    seconds, load = facts.first_token(now), facts.in_flight
    if not seconds:
        if not load:
            return 0.0
        seconds = min((known for other in able if (known := other.facts.first_token(now))), default=1.0)
    return (seconds if seconds > LEAST else LEAST) * (load + 1)  # max would take several times as long

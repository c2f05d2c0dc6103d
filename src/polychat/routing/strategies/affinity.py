"""The one that had the conversation's earlier requests, whose prompt cache has them; another one when it has too much to do."""

from __future__ import annotations

from math import ceil, log, sqrt
from random import Random

from ..choice import C, Strategy
from ..traits import Traits
from .least_busy import LeastBusy

BOUND = 1.25
"""How many times its part of all requests in flight, by its weight, a target may have before others are asked."""
SLACK = 2.0
"""How many times the square root of that part it may have besides: so far it strays by chance, and a move costs the cache."""


class Affinity(Strategy):
    """Weighted rendezvous hashing with bounded load: every process comes to the same target without asking anybody, and where
    targets come or go only the conversations of those move. A request of no known conversation goes to the least busy.
    """

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self._least_busy = LeastBusy(rng)

    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        key = traits.affinity
        if key is None:
            return self._least_busy.order(able, now, traits, first=first)
        loads = [candidate.facts.in_flight for candidate in able]
        even = (sum(loads) + 1) / (sum([candidate.weight for candidate in able]) or 1.0)
        ranked = []
        for place, candidate in enumerate(able):
            weight = candidate.weight
            if weight:
                mixed = (key ^ candidate.seed) * 0x9E3779B97F4A7C15 & _BITS
                mixed = (mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93 & _BITS
                part = even * weight
                is_full = loads[place] >= ceil(BOUND * part + SLACK * sqrt(part))
                ranked.append((is_full, -log((mixed + 1) / (_BITS + 1)) / weight, place))
            else:
                ranked.append((True, _NEVER, place))
        ranked.sort()
        return [able[place] for _, _, place in ranked]


_BITS = 2**64 - 1
_NEVER = float("inf")

"""The one that had the conversation's earlier requests, whose prompt cache has them; another one when it has too much to do."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log, sqrt
from random import Random

from ..choice import C, Candidate, Strategy
from ..traits import Traits
from .least_busy import LeastBusy

BOUND = 1.25
"""How many times its part of all requests in flight, by its weight, a target may have before others are used."""
SLACK = 1.0
"""How many times the square root of that part it may have besides: so far it strays by chance, and a move costs the cache."""


class Affinity(Strategy):
    """Weighted rendezvous hashing with bounded load: every process comes to the same target without asking another, and where
    targets come or go only the conversations of those move. A request of no known conversation goes to the least busy.
    """

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self._least_busy = LeastBusy(rng)

    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        key = traits.affinity
        if key is None:
            return self._least_busy.order(able, now, traits, first=first)
        even = _even(able)
        ranked = [
            (not candidate.weight or _is_full(candidate, even), -_score(key, candidate), place)
            for place, candidate in enumerate(able)
        ]
        ranked.sort()
        return [able[place] for _, _, place in ranked]

    def pick(self, able: Sequence[C], now: float, traits: Traits) -> C:
        key = traits.affinity
        if key is None:
            return self._least_busy.pick(able, now, traits)
        chosen, most, weight, total = able[0], -_HALF, able[0].weight, 1
        for candidate in able:
            if candidate.weight != weight:
                return self.order(list(able), now, traits, first=True)[0]
            total += candidate.facts.in_flight
            seed = candidate.seed
            if (drawn := hash((key ^ seed, seed, key))) > most:  # as ``_score`` has it
                most, chosen = drawn, candidate
        if not weight or _is_full(chosen, total / (weight * len(able))):
            return self.order(list(able), now, traits, first=True)[0]
        return chosen


_NEVER = float("-inf")


def _even(able: Sequence[C]) -> float:
    """Requests for each unit of weight, with the one that comes, if all were spread evenly."""
    weights = sum(candidate.weight for candidate in able)
    return (sum(candidate.facts.in_flight for candidate in able) + 1) / (weights or 1.0)


def _score(key: int, candidate: Candidate) -> float:
    """The conversation is the candidate's with the greatest."""
    weight, seed = candidate.weight, candidate.seed
    # Python hashes whole numbers the same way in every process; of key and seed alone it would mix the bits too little.
    return log((hash((key ^ seed, seed, key)) + _HALF) / (2.0 * _HALF)) / weight if weight else _NEVER


_HALF = 2**63 + 1


def _is_full(candidate: Candidate, even: float) -> bool:
    part = even * candidate.weight
    return candidate.facts.in_flight >= ceil(BOUND * part + SLACK * sqrt(part))

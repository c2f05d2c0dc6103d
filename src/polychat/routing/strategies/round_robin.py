"""Each in its turn, without regard to weights."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ..choice import C, Strategy
from ..traits import Traits


class RoundRobin(Strategy):
    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self._turn = 0

    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        start = self._turn % len(able)
        self._turn += first
        return able[start:] + able[:start]

    def pick(self, able: Sequence[C], now: float, traits: Traits) -> C:
        turn = self._turn
        self._turn = turn + 1
        return able[turn % len(able)]

    @classmethod
    def shares(cls, weights: Sequence[float]) -> Sequence[float]:
        return [1.0] * len(weights)

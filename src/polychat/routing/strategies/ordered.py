"""The first one that is able; the others when it fails, in the order of the file."""

from __future__ import annotations

from collections.abc import Sequence

from ..choice import C, Strategy
from ..traits import Traits


class Ordered(Strategy):
    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        return able

    def pick(self, able: Sequence[C], now: float, traits: Traits) -> C:
        return able[0]

    @classmethod
    def shares(cls, weights: Sequence[float]) -> Sequence[float]:
        return [float(place == 0) for place in range(len(weights))]

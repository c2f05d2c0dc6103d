"""The one whose conditions say most about the request: of those that take it, the one with the most terms."""

from __future__ import annotations

from ..choice import C, Strategy
from ..traits import Traits


class Conditions(Strategy):
    """Of equals the first of the file. Who does not take the request is not among them, whatever the strategy."""

    def order(self, able: list[C], now: float, traits: Traits, *, first: bool) -> list[C]:
        return sorted(able, key=lambda candidate: -candidate.condition.count)

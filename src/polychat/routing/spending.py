"""What a request is expected to cost at a target, by its prices and by what its last answers used."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from ..events import Usage
from .provider_preferences import Rates
from .resolve import Target

Pricing: TypeAlias = Callable[[Target, Usage], float | None]
"""US dollars that tokens cost at a target; ``None`` where that is not known."""


def unpriced(target: Target, usage: Usage) -> float | None:
    """Where no prices are known."""
    return None


_WEIGHT = 0.1
"""How much the last answer counts in what answers usually use."""
_PROMPT, _COMPLETION = 1_000, 500
"""Tokens of a request of which nothing is known."""
_MANY = 1_000
_MILLION = 1_000_000
_WORST = 0.9
"""The greatest share of failed attempts that counts."""
_FEW = 5
"""Attempts below which their failures tell nothing."""


def rates_of(target: Target, pricing: Pricing) -> Rates | None:
    """A target's prices; ``None`` where they are not known."""
    prompt, completion = pricing(target, Usage(_MANY, 0)), pricing(target, Usage(0, _MANY))
    if prompt is None or completion is None:
        return None
    return Rates(prompt * _MILLION / _MANY, completion * _MILLION / _MANY)


class _Rates(NamedTuple):
    """US dollars a token."""

    prompt: float
    cached: float
    completion: float


class Spending:
    """Of one target."""

    __slots__ = ("_cached", "_completion", "_rates")

    def __init__(self, target: Target, pricing: Pricing) -> None:
        usages = (Usage(_MANY, 0), Usage(_MANY, 0, cached_tokens=_MANY), Usage(0, _MANY))
        prices = [pricing(target, usage) for usage in usages]
        rates = [price / _MANY for price in prices if price is not None]
        self._rates = _Rates(*rates) if len(rates) == len(usages) else None
        self._cached = 0.0
        self._completion = float(_COMPLETION)

    def note(self, usage: Usage) -> None:
        """An answer used so much."""
        if usage.prompt_tokens:
            share = min(1.0, (usage.cached_tokens or 0) / usage.prompt_tokens)
            self._cached += _WEIGHT * (share - self._cached)
        if usage.completion_tokens is not None:
            self._completion += _WEIGHT * (usage.completion_tokens - self._completion)

    def expected(self, prompt: int, outcomes: tuple[int, int]) -> float | None:
        """US dollars for a prompt of so many tokens (0: unknown), where so many attempts of late were answered, and failed.

        ``None`` where the price is not known: that is not 0.
        """
        if self._rates is None:
            return None
        cached = self._cached
        rate = self._rates.prompt * (1.0 - cached) + self._rates.cached * cached
        dollars = (prompt or _PROMPT) * rate + self._completion * self._rates.completion
        answered, failed = outcomes
        return dollars / (1.0 - min(_WORST, failed / (answered + failed))) if answered + failed >= _FEW else dollars

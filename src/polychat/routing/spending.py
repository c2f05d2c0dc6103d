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

    __slots__ = ("_cached", "_completion", "_fixed", "_of_token", "_rates")

    def __init__(self, target: Target, pricing: Pricing) -> None:
        usages = (Usage(_MANY, 0), Usage(_MANY, 0, cached_tokens=_MANY), Usage(0, _MANY))
        prices = [pricing(target, usage) for usage in usages]
        rates = [price / _MANY for price in prices if price is not None]
        self._rates = _Rates(*rates) if len(rates) == len(usages) else None
        self._cached = 0.0
        self._completion = float(_COMPLETION)
        self._work_out()

    def _work_out(self) -> None:
        """What a token of the prompt costs, and the answer."""
        rates, cached = self._rates or _Rates(0.0, 0.0, 0.0), self._cached
        self._of_token = rates.prompt * (1.0 - cached) + rates.cached * cached
        self._fixed = self._completion * rates.completion

    def note(self, usage: Usage) -> None:
        """An answer used so much."""
        if usage.prompt_tokens:
            share = min(1.0, (usage.cached_tokens or 0) / usage.prompt_tokens)
            self._cached += _WEIGHT * (share - self._cached)
        if usage.completion_tokens is not None:
            self._completion += _WEIGHT * (usage.completion_tokens - self._completion)
        self._work_out()

    def expected(self, prompt: int, failed: float = 0.0) -> float | None:
        """US dollars for a prompt of so many tokens (0: unknown), where such a share of the recent attempts failed.

        ``None`` where the price is not known: that is not 0.
        """
        if self._rates is None:
            return None
        dollars = (prompt or _PROMPT) * self._of_token + self._fixed
        return dollars / (1.0 - min(_WORST, failed)) if failed else dollars

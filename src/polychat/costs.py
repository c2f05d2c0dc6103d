"""What an ask cost, by the prices that genai-prices knows: an extra, loaded when a reply is whole; it asks no network."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

from .events import Usage


def cost_of(provider: str, url: str, model: str | None, usage: Usage | None) -> float | None:
    """US dollars; ``None`` where the price is unknown, the package (extra ``prices``) is not here, or nothing was counted.

    A vendor is known by its name or by its API's ``url``.
    """
    if usage is None or not model or usage.prompt_tokens is None:
        return None
    prices = _prices()
    if prices is None:
        return None
    counted = prices.Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        input_audio_tokens=usage.audio_prompt_tokens,
        output_audio_tokens=usage.audio_completion_tokens,
    )
    for known_by in ({"provider_id": provider}, {"provider_api_url": url}):
        # LookupError: no such vendor, or no such model of it. ValueError: counts that do not fit each other.
        with suppress(LookupError, ValueError):
            return float(prices.calc_price(counted, model_ref=model, **known_by).total_price)
    return None


@cache
def _prices() -> Any:
    try:
        import genai_prices
    except ImportError:
        return None
    return genai_prices

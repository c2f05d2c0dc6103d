"""What a request cost: by the configuration's ``[prices]``, else by genai-prices, an extra that is loaded when a reply is
whole.

No network is asked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from .errors import NotReady
from .events import Usage

if TYPE_CHECKING:
    from .config.settings import Price
    from .routing import Target

_MANY = 100_000
"""Tokens; beyond more than so many some models cost more a token."""


class _Rates(NamedTuple):
    """US dollars a token."""

    prompt: float
    completion: float
    cached: float


def cost_of(
    prices: Mapping[str, Price],
    provider: str,
    url: str,
    model: str | None,
    usage: Usage | None,
    *,
    requested: str | None = None,
    is_elsewhere: bool = False,
) -> float | None:
    """US dollars; ``None`` where the price is unknown, the package (extra ``prices``) is not here, or nothing was counted.

    What the vendor itself reports as billed goes first, then what ``prices`` (``Config.prices``) has for ``model``, or for the
    name by which it was ``requested``. A vendor is known by its name or by its API's ``url``; where the request went
    ``is_elsewhere``, the same model may cost anything, and the vendor's price is none.
    """
    if usage is None:
        return None
    if usage.cost is not None or usage.prompt_tokens is None:
        return usage.cost
    return ModelPrices(prices, provider, url, model or "", requested=requested, is_elsewhere=is_elsewhere).of(usage)


class ModelPrices:
    """``cost_of`` one model, for many usages: what does not depend on these is looked up once."""

    __slots__ = ("_own", "_rates", "_where")

    def __init__(
        self,
        prices: Mapping[str, Price],
        provider: str,
        url: str,
        model: str,
        *,
        requested: str | None = None,
        is_elsewhere: bool = False,
    ) -> None:
        self._own = _own_price(prices, provider, model, requested) if prices else None
        self._where = provider, url, model
        self._rates: _Rates | None = _UNKNOWN if is_elsewhere or not model else _NOT_LOOKED_UP

    def of(self, usage: Usage) -> float | None:
        """US dollars; see ``cost_of``."""
        if usage.cost is not None or usage.prompt_tokens is None:
            return usage.cost
        if self._own is not None:
            return _by_own_price(self._own, usage)
        if self._rates is _UNKNOWN:
            return None
        if self._rates is _NOT_LOOKED_UP:
            self._rates = _rates(*self._where)
        return _by_list_price(self._rates, *self._where, usage, usage.prompt_tokens)


def _by_list_price(rates: _Rates | None, provider: str, url: str, model: str, usage: Usage, prompt_tokens: int) -> float | None:
    if rates is _UNKNOWN:
        return None
    cached = usage.cached_tokens or 0
    prompt, completion = prompt_tokens - cached, usage.completion_tokens or 0
    is_plain = not (usage.cache_write_tokens or usage.audio_prompt_tokens or usage.audio_completion_tokens)
    if rates is None or not is_plain or prompt < 0 or prompt_tokens > _MANY or completion > _MANY:
        return _priced(provider, url, model, usage)
    return prompt * rates.prompt + cached * rates.cached + completion * rates.completion


def pricing_of(prices: Mapping[str, Price]) -> Callable[[Target, Usage], float | None]:
    """What tokens cost at a target, with these ``[prices]``: US dollars, ``None`` where that is not known."""

    def pricing(target: Target, usage: Usage) -> float | None:
        backend = target.backend
        try:
            is_elsewhere = backend.address() != backend.url
        except NotReady:
            is_elsewhere = False
        return cost_of(prices, target.label, backend.url, target.model, usage, is_elsewhere=is_elsewhere)

    return pricing


def _own_price(prices: Mapping[str, Price], provider: str, *models: str | None) -> Price | None:
    for model in models:
        price = prices.get(f"{provider.lower()}/{model}")
        if price is not None:
            return price
    return None


def _by_own_price(price: Price, usage: Usage) -> float:
    cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    plain = max((usage.prompt_tokens or 0) - cached - written, 0)
    dollars = plain * price.prompt + (usage.completion_tokens or 0) * price.completion
    dollars += cached * (price.prompt if price.cached is None else price.cached)
    dollars += written * (price.prompt if price.cache_write is None else price.cache_write)
    return dollars / 1_000_000


_UNKNOWN, _NOT_LOOKED_UP = _Rates(0.0, 0.0, 0.0), _Rates(0.0, 0.0, 0.0)


@lru_cache(maxsize=1024)
def _rates(provider: str, url: str, model: str) -> _Rates | None:
    """The price of a token if it is the same for few and for ``_MANY``, else ``None``. The package takes long to compute it."""
    if _is_own(url) or _priced(provider, url, model, Usage(1, 1)) is None:
        return _UNKNOWN
    many, few = (_each(provider, url, model, tokens) for tokens in (_MANY, 1000))
    if any(abs(rate - other) > 1e-15 for rate, other in zip(many, few, strict=True)):
        return None
    return _Rates(*many)


def _is_own(url: str) -> bool:
    """Whether it is one's own machine, which has no price: the package, slow to load, is not used."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or (bool(host) and ipaddress.ip_address(host) is not None)
    except ValueError:
        return False


def _each(provider: str, url: str, model: str, tokens: int) -> list[float]:
    usages = (Usage(tokens, 0), Usage(0, tokens), Usage(tokens, 0, cached_tokens=tokens))
    return [(_priced(provider, url, model, usage) or 0.0) / tokens for usage in usages]


def _priced(provider: str, url: str, model: str, usage: Usage) -> float | None:
    prices = _prices()
    if prices is None:
        return None
    hour = {} if usage.cache_write_1h_tokens is None else {"cache_write_1h_tokens": usage.cache_write_1h_tokens}
    counted = prices.Usage(
        **hour,
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


@lru_cache(maxsize=64)
def listed_context(provider: str, url: str, model: str) -> int | None:
    """Tokens of a model's context by the list of prices; ``None`` where it does not have the model, or is not installed."""
    prices = None if _is_own(url) else _prices()
    if prices is not None:
        for known_by in ({"provider_id": provider}, {"provider_api_url": url}):
            with suppress(LookupError, ValueError):
                window = prices.calc_price(prices.Usage(input_tokens=1), model_ref=model, **known_by).model.context_window
                return window if isinstance(window, int) else None
    return None


def warm() -> None:
    """Load the package now: what asks for a price later does not wait for it."""
    _prices()


@cache
def _prices() -> Any:
    try:
        import genai_prices
    except ImportError:
        return None
    return genai_prices

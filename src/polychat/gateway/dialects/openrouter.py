"""OpenRouter's ``models`` and ``provider`` in a request: who may answer it, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, get_args
from urllib.parse import urlsplit

from ...errors import BadInput
from ...routing import Target
from ...routing.provider_preferences import ProviderPreferences, Sort
from ...routing.resolve import ModelResolver
from ...wire import checks
from ...wire.json_text import encoded
from .dialect import InboundChat, Object, value_of

_MOST = 64
"""Names that one list may have."""
_SORTS = get_args(Sort)
_PERCENTILES = ("p50", "p75", "p90", "p99")
_UNPRICED = ("request", "image", "audio")
"""Members of ``max_price`` whose prices are not known here."""
_DEFAULTS: Mapping[str, Any] = {
    "data_collection": "allow",
    "zdr": False,
    "enforce_distillable_text": False,
    "quantizations": [],
}
"""Members that ask for what is known of no backend, and the value of each that asks for nothing."""
_OBEYED = (
    *("order", "only", "ignore", "allow_fallbacks", "sort", "require_parameters", "max_price"),
    *("preferred_max_latency", "preferred_min_throughput"),
)


def prefer(inbound: InboundChat, resolver: ModelResolver) -> None:
    """Take ``models`` and ``provider`` out of the request, as who may answer it. Raises ``BadInput``.

    A request that only OpenRouter itself may answer keeps them: there they mean OpenRouter's own.
    """
    if _is_for_openrouter(inbound.model, resolver):
        return
    fields = dict(inbound.fields)
    further = checks.several(value_of(fields, "models") or [], "models")
    wanted = checks.item(value_of(fields, "provider") or {}, "provider")
    fields.pop("models", None), fields.pop("provider", None)
    if len(further) > _MOST:
        raise BadInput(f"models has {len(further):,} names; the limit is {_MOST}: send fewer", field="models")
    names = [inbound.model, *(checks.text(name, f"models[{place}]") for place, name in enumerate(further))]
    inbound.models = list(dict.fromkeys(names))
    inbound.lost = tuple(f"provider.{name}" for name in _lost(wanted))
    inbound.preferences = preferences_in(wanted)
    inbound.fields, inbound.body = fields, encoded(fields)


def _is_for_openrouter(name: str, resolver: ModelResolver) -> bool:
    try:
        return all(map(_is_openrouter, resolver.plan(name).targets))
    except BadInput:  # the router reports what is wrong
        return False


def _is_openrouter(target: Target) -> bool:
    return target.label == "openrouter" or urlsplit(target.backend.url).hostname == "openrouter.ai"


def _lost(wanted: Object | Mapping[str, Any]) -> list[str]:
    """The members that ask for something that is not known here of a backend."""
    asked = {name: value for name, value in wanted.items() if name not in _OBEYED and value is not None}
    lost = [name for name, value in asked.items() if value != _DEFAULTS.get(name)]
    prices = wanted.get("max_price")
    if isinstance(prices, Mapping):
        lost += [f"max_price.{name}" for name in _UNPRICED if prices.get(name) is not None]
    sort = wanted.get("sort")
    if isinstance(sort, Mapping) and sort.get("partition") not in (None, "model"):
        lost.append("sort.partition")
    return lost


def preferences_in(wanted: Mapping[str, Any]) -> ProviderPreferences | None:
    """What ``provider`` says; ``None`` where that is nothing. Raises ``BadInput``."""
    prices = checks.item(wanted.get("max_price") or {}, "provider.max_price")
    preferences = ProviderPreferences(
        order=_providers(wanted, "order"),
        only=_providers(wanted, "only"),
        ignore=_providers(wanted, "ignore"),
        allow_fallbacks=_flag(wanted, "allow_fallbacks", default=True),
        sort=_sort(wanted.get("sort")),
        require_parameters=_flag(wanted, "require_parameters", default=False),
        max_prompt=_price(prices, "prompt"),
        max_completion=_price(prices, "completion"),
        max_latency=_least(wanted, "preferred_max_latency"),
        min_throughput=_least(wanted, "preferred_min_throughput"),
    )
    return None if preferences == ProviderPreferences() else preferences


def _flag(wanted: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = wanted.get(name)
    return default if value is None else checks.flag(value, f"provider.{name}")


def _providers(wanted: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Each without its variant, as in ``deepinfra/turbo``."""
    listed = checks.several(wanted.get(name) or [], f"provider.{name}")
    if len(listed) > _MOST:
        raise BadInput(f"provider.{name} has {len(listed):,} names; the limit is {_MOST}: send fewer", field=f"provider.{name}")
    names = (checks.text(provider, f"provider.{name}").lower().partition("/")[0] for provider in listed)
    return tuple(dict.fromkeys(names))


def _sort(value: object) -> Sort | None:
    """A word, or an object with it as ``by``; what OpenRouter may add to them later asks for nothing here."""
    word = value.get("by") if isinstance(value, Mapping) else value
    return next((sort for sort in _SORTS if sort == word), None)


def _price(prices: Mapping[str, Any], name: str) -> float | None:
    """Numbers may be text: OpenRouter takes both."""
    value = prices.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        with suppress(ValueError):
            value = float(value)
    return checks.number(value, f"provider.max_price.{name}")


def _least(wanted: Mapping[str, Any], name: str) -> float | None:
    """A number, or one for each of several percentiles: the average that is known is held to that of the smallest."""
    value = wanted.get(name)
    if isinstance(value, Mapping):
        value = next((value[percentile] for percentile in _PERCENTILES if value.get(percentile) is not None), None)
    return None if value is None else checks.number(value, f"provider.{name}")

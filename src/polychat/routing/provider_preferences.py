"""Which of a plan's targets a client wants for one request, and in which order, in the form of OpenRouter's ``provider``.

`openrouter.ai/docs/guides/routing/provider-selection` has the members; a provider's name there is a backend's label here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args
from urllib.parse import urlsplit

from ..errors import BadInput, UnknownTarget
from ..wire import checks
from .resolve import IN_ORDER, ModelResolver, Plan, Target

Sort: TypeAlias = Literal["price", "latency", "throughput"]
_UNKNOWN = float("inf")
_FIELD = "provider"
MOST = 64
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


class Rates(NamedTuple):
    """US dollars per million tokens."""

    prompt: float
    completion: float


class Measured(Protocol):
    """What is known of targets, of any route."""

    def first_token(self, target: Target, now: float) -> float:
        """Seconds until it begins to answer, measured recently; 0 where that is not known."""

    def throughput(self, target: Target) -> float:
        """Tokens of its answers per second, from the request to the end, measured recently; 0 where that is not known."""

    def rates(self, target: Target) -> Rates | None:
        """Its prices; ``None`` where they are not known."""


@dataclass(frozen=True, slots=True)
class ProviderPreferences:
    """Providers are labels of backends."""

    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    sort: Sort | None = None
    require_parameters: bool = False
    max_prompt: float | None = None
    """US dollars per million tokens, and ``max_completion`` too."""
    max_completion: float | None = None
    max_latency: float | None = None
    """Seconds to the first token above which a target is called after the others."""
    min_throughput: float | None = None
    """Tokens per second below which a target is called after the others."""

    @property
    def named(self) -> tuple[str, ...]:
        """The providers that it wants, in order."""
        return self.order or self.only

    @property
    def _arranges(self) -> bool:
        return bool(
            self.order or self.sort or self._has_max_price or self.max_latency is not None or self.min_throughput is not None
        )

    @property
    def _has_max_price(self) -> bool:
        return self.max_prompt is not None or self.max_completion is not None

    def admits(self, target: Target) -> bool:
        """Whether the target's provider may be called at all."""
        if self.order and not self.allow_fallbacks and target.label not in self.order:
            return False
        return (not self.only or target.label in self.only) and target.label not in self.ignore

    def is_too_dear(self, rates: Rates) -> bool:
        """Whether a price is above what it allows."""
        return (self.max_prompt is not None and rates.prompt > self.max_prompt) or (
            self.max_completion is not None and rates.completion > self.max_completion
        )


def is_for_openrouter(plan: Plan) -> bool:
    """Whether OpenRouter alone may answer: preferences are its own then."""
    return all(each.label == "openrouter" or urlsplit(each.backend.url).hostname == "openrouter.ai" for each in plan.targets)


class Preferred(NamedTuple):
    """What preferences make of a plan."""

    plan: Plan
    unknown: list[str]
    """The members that could not be obeyed for all targets, for what they ask is not known of one."""


def preferred(
    plan: Plan, wanted: ProviderPreferences, measured: Measured, now: float, carries: Callable[[Target], bool]
) -> Preferred:
    """The plan with those targets alone that may be called, in the order that is wanted.

    The route's own strategy decides where no order is asked for; where one is, the client's goes before weights and tiers, and
    conditions hold. ``carries`` is whether a target supports all fields of the request. Raises ``UnknownTarget`` where no
    target is left.
    """
    unknown: list[str] = []
    keys: dict[Target, tuple[float, ...]] = {}
    for place, target in enumerate(plan.targets):
        if wanted.admits(target) and (key := _key(target, wanted, measured, now, unknown)) is not None:
            keys[target] = (*key, place)
    if not keys:
        raise _no_target(f"{_FIELD} excludes every target: relax only, ignore, order or max_price")
    if wanted.require_parameters:
        keys = {target: key for target, key in keys.items() if carries(target)}
        if not keys:
            raise _no_target(f"no target supports all fields of the request: leave out {_FIELD}.require_parameters")
    narrowed = plan
    if wanted._arranges or len(keys) < len(plan.targets):
        narrowed = _narrowed(plan, keys, arranges=wanted._arranges)
    if not wanted.allow_fallbacks and not wanted.order:
        narrowed = replace(narrowed, rules=narrowed.rules.replace(attempts=1))
    if len(keys) == 1:  # it is in order, whatever is known of it
        unknown = [name for name in unknown if name == "max_price"]
    return Preferred(narrowed, list(dict.fromkeys(unknown)))


def _key(
    target: Target, wanted: ProviderPreferences, measured: Measured, now: float, unknown: list[str]
) -> tuple[float, ...] | None:
    """The rank of a target, the least first; ``None`` where it is too expensive."""
    place = wanted.order.index(target.label) if target.label in wanted.order else len(wanted.order)
    rates = measured.rates(target) if wanted._has_max_price or wanted.sort == "price" else None
    is_unpriced = wanted._has_max_price and rates is None
    if is_unpriced:
        unknown.append("max_price")
    elif rates is not None and wanted.is_too_dear(rates):
        return None
    first, speed = measured.first_token(target, now), measured.throughput(target)
    is_late = wanted.max_latency is not None and first > wanted.max_latency
    if wanted.max_latency is not None and not first:
        unknown.append("preferred_max_latency")
    is_slow = wanted.min_throughput is not None and 0 < speed < wanted.min_throughput
    if wanted.min_throughput is not None and not speed:
        unknown.append("preferred_min_throughput")
    value = 0.0
    if wanted.sort is not None:
        known = {"price": rates and rates.prompt + rates.completion, "latency": first or None, "throughput": -speed or None}
        sorted_by = known[wanted.sort]
        if sorted_by is None:
            unknown.append("sort")
        value = _UNKNOWN if sorted_by is None else sorted_by
    return float(is_unpriced), float(place), float(is_late or is_slow), value


def _narrowed(plan: Plan, keys: dict[Target, tuple[float, ...]], *, arranges: bool) -> Plan:
    """The plan with these targets alone, in the order of their keys where that is asked for."""
    rules, members = plan.rules, plan.members or plan.targets
    kept: list[tuple[tuple[float, ...], int, Target | Plan]] = []
    for place, member in enumerate(members):
        leaves = [leaf for leaf in (member.targets if isinstance(member, Plan) else (member,)) if leaf in keys]
        if leaves:
            narrowed = _narrowed(member, keys, arranges=arranges) if isinstance(member, Plan) else member
            kept.append((min(keys[leaf] for leaf in leaves), place, narrowed))
    if arranges:
        kept.sort(key=lambda entry: entry[:2])
    places = [place for _, place, _ in kept]
    rules = rules.replace(
        weights=tuple(rules.weights[place] for place in places) if rules.weights else (),
        priorities=tuple(rules.priorities[place] for place in places) if rules.priorities else (),
        conditions=tuple(rules.conditions[place] for place in places) if rules.conditions else (),
    )
    if arranges:
        rules = rules.replace(**{**IN_ORDER, "conditions": rules.conditions})
    targets = tuple(sorted(keys.keys() & set(plan.targets), key=keys.__getitem__ if arranges else plan.targets.index))
    return replace(plan, targets=targets, rules=rules, members=tuple(member for _, _, member in kept) if plan.members else ())


def _no_target(reason: str) -> UnknownTarget:
    error = UnknownTarget(reason)
    error.field = _FIELD
    return error


def with_named(plan: Plan, model: str, wanted: ProviderPreferences, resolver: ModelResolver) -> Plan:
    """A model that is named by itself is also asked for at the providers that the client names, as far as these are known."""
    provider, _, rest = model.partition("/")
    named = rest if provider.lower() in (*wanted.order, *wanted.only) else model
    targets: list[Target] = []
    for label in wanted.named:
        with suppress(BadInput):
            targets += resolver.plan(f"{label}/{named}").targets
    return resolver.extended(plan, targets)


def unknown_members(wanted: Mapping[str, Any]) -> list[str]:
    """The members that ask for something that is not known here of a backend."""
    requested = {name: value for name, value in wanted.items() if name not in _OBEYED and value is not None}
    lost = [name for name, value in requested.items() if value != _DEFAULTS.get(name)]
    prices = wanted.get("max_price")
    if isinstance(prices, Mapping):
        lost += [f"max_price.{name}" for name in _UNPRICED if prices.get(name) is not None]
    sort = wanted.get("sort")
    if isinstance(sort, Mapping) and sort.get("partition") not in (None, "model"):
        lost.append("sort.partition")
    return lost


def preferences_in(wanted: Mapping[str, Any]) -> ProviderPreferences | None:
    """The preferences of ``provider``; ``None`` where it has none. Raises ``BadInput``."""
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
    if len(listed) > MOST:
        raise BadInput(f"provider.{name} has {len(listed):,} names; the limit is {MOST}: send fewer", field=f"provider.{name}")
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

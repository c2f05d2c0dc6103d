"""How much a request may use, before it is sent: its prompt as estimated, and the longest reply that it may get."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ...errors import BadInput
from ...events import Usage
from ...state.ledger import NANO
from ...wire.estimating import BYTES_A_TOKEN
from ...wire.field import At
from ...wire.fields import FIELDS
from ..dialects.bodies import value_of
from ..dialects.dialect import InboundChat

if TYPE_CHECKING:
    from ...routing import Plan, Target
    from ..catalog import ModelCatalog

ASSUMED_COMPLETION = 4_096
"""Tokens of a reply whose length neither the request nor what is known of the model limits."""
_MOST_REPLIES = 128


class Demand(Protocol):
    """What is asked of a model. Nothing is computed before it is asked for."""

    def prompt_tokens(self) -> int: ...
    def completion_tokens(self, plan: Plan, catalog: ModelCatalog) -> int: ...
    def user(self) -> str | None:
        """The end user that the request names."""


class ChatDemand:
    """Of a chat."""

    __slots__ = ("_inbound",)

    def __init__(self, inbound: InboundChat) -> None:
        self._inbound = inbound

    def prompt_tokens(self) -> int:
        """By the length of the body without its media, which is more than that of the texts in it."""
        aside = self._inbound.placeholders
        return (len(self._inbound.body) + (0 if aside is None else aside.text_size)) // BYTES_A_TOKEN + 1

    def completion_tokens(self, plan: Plan, catalog: ModelCatalog) -> int:
        """Of all replies that it asks for: the smaller of what the request allows each and of what the models can."""
        asked, longest = _whole(self._inbound, "max_tokens"), _longest(plan, catalog)
        each = min((limit for limit in (asked, longest) if limit), default=ASSUMED_COMPLETION)
        replies = _whole(self._inbound, "n") or 1
        return each * min(replies, _MOST_REPLIES)

    def user(self) -> str | None:
        user = _value(self._inbound, "user")
        return user if isinstance(user, str) else None


class TextDemand(NamedTuple):
    """Of texts to embed, to be counted or to be compacted."""

    size: int
    """Bytes of the texts; 0 where no model reads them."""
    name: str | None = None
    reply: int = 0
    """Tokens that are generated, at most."""

    def prompt_tokens(self) -> int:
        return -(-self.size // BYTES_A_TOKEN)

    def completion_tokens(self, plan: Plan, catalog: ModelCatalog) -> int:
        return self.reply

    def user(self) -> str | None:
        return self.name


def _longest(plan: Plan, catalog: ModelCatalog) -> int | None:
    """The longest reply that any target can give; ``None`` if that of one is unknown."""
    outputs = [None if (info := catalog.known(target.name)) is None else info.output for target in plan.targets]
    known = [output for output in outputs if output]
    return max(known) if known and len(known) == len(outputs) else None


def _whole(inbound: InboundChat, name: str) -> int | None:
    value = _value(inbound, name)
    return value if isinstance(value, int) and value > 0 else None


def _value(inbound: InboundChat, name: str) -> Any:
    """The value of a row of the table of fields, from the body as it came; ``None`` where it is absent or unreadable."""
    for spelling, inner in _places(name, inbound.dialect.wire.NAME):
        if spelling not in inbound.fields:
            continue
        with suppress(BadInput, AttributeError):
            value = value_of(inbound.fields, spelling)
            for member in inner:
                value = value.get(member, value.get(_snake(member)))
            if value is not None:
                return value
    return None


@cache
def _places(name: str, wire: str) -> list[tuple[str, list[str]]]:
    """Where a row's value may be in a body: the name of a field, and of its member, and so on."""
    place = FIELDS[name].on(wire)
    if not isinstance(place, At):
        return []
    paths = [path.split(".") for path in (place.path, *place.older)]
    return [(spelling, inner) for top, *inner in paths for spelling in dict.fromkeys((top, _snake(top)))]  # Gemini reads both


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


class TokenRates(NamedTuple):
    """Nanodollars of one token."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Nanodollars, rounded up."""
        return ceil(prompt_tokens * self.prompt + completion_tokens * self.completion)


FREE = TokenRates(0.0, 0.0)
_FEW, _MANY, _LONG = 1_000, 1_000_000, 100_000
"""Tokens that rates are computed from; and the prompt beyond which a token of some models costs more."""


class Prices:
    """What tokens cost at targets, kept for the life of one configuration."""

    def __init__(self, pricing: Callable[[Target, Usage], float | None]) -> None:
        self._pricing = pricing
        self._kept: dict[tuple[str, bool], TokenRates | None] = {}

    def of(self, target: Target, prompt_tokens: int) -> TokenRates | None:
        """The rates for a prompt of this length; ``None`` where they are unknown."""
        place = target.name, prompt_tokens > _LONG
        if place not in self._kept:
            if len(self._kept) >= 4096:
                self._kept.clear()
            self._kept[place] = self._rates(target, _MANY if place[1] else _FEW)
        return self._kept[place]

    def highest(self, plan: Plan, prompt_tokens: int) -> TokenRates | None:
        """The highest rates of the targets that may answer; ``None`` where those of one are unknown."""
        targets = plan.targets
        if len(targets) == 1:
            return self.of(targets[0], prompt_tokens)
        each = [self.of(target, prompt_tokens) for target in targets]
        known = [rates for rates in each if rates is not None]
        if len(known) < len(each):
            return None
        return TokenRates(max(rates.prompt for rates in known), max(rates.completion for rates in known))

    def _rates(self, target: Target, count: int) -> TokenRates | None:
        prompt, completion = self._pricing(target, Usage(count, 0)), self._pricing(target, Usage(0, count))
        if prompt is None or completion is None:
            return None
        return TokenRates(prompt * NANO / count, completion * NANO / count)

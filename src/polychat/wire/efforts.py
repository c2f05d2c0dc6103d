"""Reasoning efforts, the token budgets that correspond to them, and the nearest effort that a model supports."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from ..types import Effort, Thinking
from .losses import Loss


class Budgets(NamedTuple):
    """The reasoning tokens of an effort."""

    most: int
    """The largest budget that becomes this effort, for models that support efforts only."""
    anthropic: int
    """The budget of this effort for a Claude model that supports budgets only."""
    gemini: int
    """The budget of this effort for a Gemini model that supports budgets only: as in Google's OpenAI-compatible API."""


BUDGETS: Mapping[Effort, Budgets] = {
    "none": Budgets(0, 0, 0),
    "minimal": Budgets(1_024, 1_024, 1_024),
    "low": Budgets(2_048, 2_048, 1_024),
    "medium": Budgets(8_192, 8_192, 8_192),
    "high": Budgets(sys.maxsize, 16_384, 24_576),
    "xhigh": Budgets(sys.maxsize, 24_576, 32_768),
}
ORDER: tuple[Effort, ...] = tuple(BUDGETS)
"""From the lowest to the highest."""
_LOW: tuple[Effort, ...] = ("low", "medium", "high")
_XHIGH: tuple[Effort, ...] = (*_LOW, "xhigh")


def effort_named(value: object) -> Effort | None:
    """The effort of this name; ``max``, the highest of some APIs, is our highest. ``None`` for an unknown name."""
    return "xhigh" if value == "max" else next((effort for effort in ORDER if effort == value), None)


def effort_of(thinking: Thinking, available: tuple[Effort, ...] = ORDER) -> Effort | None:
    """The effort, or the one of ``available`` nearest to a budget; ``None`` if the model decides how much to think."""
    if thinking.effort is not None or thinking.budget is None or thinking.budget < 0:
        return thinking.effort
    budget = thinking.budget
    return next((effort for effort in available if budget <= BUDGETS[effort].most), available[-1])


def nearest(wanted: Effort, available: tuple[Effort, ...]) -> Effort:
    """The lowest of ``available`` that is at least ``wanted``, otherwise the highest."""
    least = ORDER.index(wanted)
    return next((effort for effort in available if ORDER.index(effort) >= least), available[-1])


_OPENAI: tuple[tuple[str, tuple[Effort, ...]], ...] = (
    (r"gpt-5(\.\d+)?-chat", ("medium",)),
    (r"gpt-5-pro", ("high",)),
    (r"gpt-5\.\d+-pro", ("medium", "high", "xhigh")),
    (r"gpt-5(\.1)?-codex(?!-max)", _LOW),
    (r"gpt-5\.\d+-codex", _XHIGH),
    (r"gpt-5\.1(?!\d)", ("none", *_LOW)),
    (r"gpt-5\.\d+", ("none", *_XHIGH)),
    (r"gpt-5(?![.\d])", ("minimal", *_LOW)),
    (r"o\d(-mini|-pro)?-deep-research", ("medium",)),
    (r"o1-(mini|preview)", ()),
    (r"o\d", _LOW),
    (r"(chat)?gpt-(3|4)", ()),
)
"""Efforts by the beginning of a model's name; the first match counts. None for models without reasoning.

From https://platform.openai.com/docs/api-reference/chat/create (``reasoning_effort``: ``none`` since gpt-5.1, ``xhigh`` after
gpt-5.1-codex-max, gpt-5-pro ``high`` alone), the models' pages at https://developers.openai.com/api/docs/models, and what the
API's errors list as "Supported values": of gpt-5.1, gpt-5.1-codex, gpt-5.4, gpt-5.1-chat-latest, gpt-5.2-chat-2025-12-11.
"""


@lru_cache(maxsize=256)
def openai_efforts(model: str) -> tuple[Effort, ...] | None:
    """The efforts that a model of OpenAI's accepts; empty if it accepts none, ``None`` if its name is unknown."""
    name = model.rpartition("/")[2]
    fine = re.fullmatch(r"ft:([^:]+):.*", name)
    name = name if fine is None else fine[1]
    return next((efforts for pattern, efforts in _OPENAI if re.match(pattern, name)), None)


def supported_thinking(thinking: Thinking, effort: Effort | None, model: str) -> tuple[Thinking | None, list[Loss]]:
    """The thinking as this model of OpenAI's accepts it. ``effort`` is the name that would be sent for it."""
    available = openai_efforts(model)
    if available is None or effort in available:
        return thinking, []
    field = "reasoning.effort" if thinking.effort is not None else "reasoning.budget"
    if not available:
        losses = [] if effort in (None, "none") else [Loss(field, "dropped", "the model does not support reasoning")]
        return None, losses
    if effort is None:
        return thinking, []
    better = nearest(effort, available)
    return replace(thinking, effort=better, budget=None), [
        Loss(field, "emulated", f"the model supports {', '.join(available)}: {effort} is sent as {better}")
    ]

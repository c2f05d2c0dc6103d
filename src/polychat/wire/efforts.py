"""Efforts of thought that a model knows, and which of them comes next to one that it lacks."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from ..types import Effort, Thinking
from .losses import Loss

ORDER: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh")
_LOW: tuple[Effort, ...] = ("low", "medium", "high")
_XHIGH: tuple[Effort, ...] = (*_LOW, "xhigh")


def nearest(wanted: Effort, available: tuple[Effort, ...]) -> Effort:
    """The least of ``available`` that is as much as ``wanted``, else the most there is."""
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
"""Efforts by the beginning of a model's name; the first that fits. None are of a model that does not think.

From https://platform.openai.com/docs/api-reference/chat/create (``reasoning_effort``: ``none`` since gpt-5.1, ``xhigh`` after
gpt-5.1-codex-max, gpt-5-pro ``high`` alone), the models' pages at https://developers.openai.com/api/docs/models, and what the
API's errors list as "Supported values": of gpt-5.1, gpt-5.1-codex, gpt-5.4, gpt-5.1-chat-latest, gpt-5.2-chat-2025-12-11.
"""


@lru_cache(maxsize=256)
def openai_efforts(model: str) -> tuple[Effort, ...] | None:
    """What a model of OpenAI's takes; nothing where it takes no effort at all. ``None``: it is not known by its name."""
    name = model.rpartition("/")[2]
    fine = re.fullmatch(r"ft:([^:]+):.*", name)
    name = name if fine is None else fine[1]
    return next((efforts for pattern, efforts in _OPENAI if re.match(pattern, name)), None)


def fitting(thinking: Thinking, effort: Effort | None, model: str) -> tuple[Thinking | None, list[Loss]]:
    """The thinking as this model of OpenAI's takes it. ``effort`` is the word that would go out for it."""
    available = openai_efforts(model)
    if available is None or effort in available:
        return thinking, []
    field = "reasoning.effort" if thinking.effort is not None else "reasoning.budget"
    if not available:
        losses = [] if effort in (None, "none") else [Loss(field, "dropped", "the model does not think first")]
        return None, losses
    if effort is None:
        return thinking, []
    better = nearest(effort, available)
    return replace(thinking, effort=better, budget=None), [
        Loss(field, "emulated", f"the model takes {', '.join(available)}: {effort} is asked for as {better}")
    ]

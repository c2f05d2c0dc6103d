"""An ask of another wire as OpenAI's own chat API takes it: an effort that its model lacks is changed, which is told."""

from __future__ import annotations

from dataclasses import replace

from ...types import Ask
from ..efforts import fitting
from ..ledger import Loss
from .names import NAME, VENDOR
from .request import effort_of

_OPENAIS = (VENDOR, "azure-openai")
"""Others that speak this wire have models and words of their own."""


def adjusted(ask: Ask, vendor: str = VENDOR) -> tuple[Ask, list[Loss]]:
    """The ask with what the API refuses changed, and what of its meaning that cost. ``ask`` itself stays as it is."""
    if ask.wire == NAME or ask.reasoning is None or vendor not in _OPENAIS:
        return ask, []
    thinking, losses = fitting(ask.reasoning, effort_of(ask.reasoning), ask.model)
    return (ask if thinking is ask.reasoning else replace(ask, reasoning=thinking)), losses

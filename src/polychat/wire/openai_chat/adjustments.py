"""A request of another wire as OpenAI's own chat API takes it: an effort that its model lacks is changed and reported."""

from __future__ import annotations

from dataclasses import replace

from ...types import ChatRequest
from ..efforts import effort_of, fitting
from ..losses import Loss
from .constants import NAME, VENDOR

_OPENAIS = (VENDOR, "azure-openai")
"""Others that speak this wire have models and words of their own."""


def adjusted(request: ChatRequest, vendor: str = VENDOR) -> tuple[ChatRequest, list[Loss]]:
    """The request with what the API refuses changed, and what of its meaning that cost. ``request`` itself stays as it is."""
    if request.wire == NAME or request.reasoning is None or vendor not in _OPENAIS:
        return request, []
    thinking, losses = fitting(request.reasoning, effort_of(request.reasoning), request.model)
    return (request if thinking is request.reasoning else replace(request, reasoning=thinking)), losses

"""Makes a request of another wire acceptable to OpenAI's chat API: efforts that the model lacks are changed and reported."""

from __future__ import annotations

from dataclasses import replace

from ...types import ChatRequest
from ..efforts import effort_of, supported_thinking
from ..losses import Loss
from .constants import NAME, VENDOR

_OPENAIS = (VENDOR, "azure-openai")
"""Other vendors on this wire have models and values of their own."""


def adjusted(request: ChatRequest, vendor: str = VENDOR) -> tuple[ChatRequest, list[Loss]]:
    """The request without what the API rejects, and the losses that this causes. ``request`` itself is not changed."""
    if request.wire == NAME or request.reasoning is None or vendor not in _OPENAIS:
        return request, []
    thinking, losses = supported_thinking(request.reasoning, effort_of(request.reasoning), request.model)
    return (request if thinking is request.reasoning else replace(request, reasoning=thinking)), losses

"""Ollama's server ignores fields that it does not know, so that no request needs a change."""

from __future__ import annotations

from ...types import ChatRequest
from ..losses import Loss
from .constants import VENDOR


def adjusted(request: ChatRequest, vendor: str = VENDOR) -> tuple[ChatRequest, list[Loss]]:
    """``request`` unchanged, without losses."""
    return request, []


def continues(model: str) -> bool:
    """Whether a model continues an assistant message: the server leaves the last one open for all models."""
    return True

"""A request of another wire as Ollama takes it: its server passes over what it does not know, so nothing is changed."""

from __future__ import annotations

from ...types import ChatRequest
from ..losses import Loss
from .constants import VENDOR


def adjusted(request: ChatRequest, vendor: str = VENDOR) -> tuple[ChatRequest, list[Loss]]:
    """``request`` as it is, without a loss."""
    return request, []


def goes_on(model: str) -> bool:
    """Whether a model takes the beginning of its answer: the server leaves an assistant's last message open for all."""
    return True

"""What a reply consists of. Readers turn bytes into these, writers turn these into bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from .errors import BackendError

Verdict: TypeAlias = Literal["complete", "truncated", "failed", "cancelled"]
"""How a reply ended. Every reply has exactly one, and nothing invents one."""


@dataclass(slots=True)
class Text:
    """The next piece of the answer; never empty."""

    text: str


@dataclass(slots=True)
class Source:
    """A page the backend says its answer rests on."""

    title: str
    url: str
    snippet: str = ""


@dataclass(slots=True)
class Usage:
    """What the ask cost in tokens, as the backend counted it; ``None`` where it did not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


@dataclass(slots=True)
class Finish:
    """The last event of every reply.

    ``reason`` is the backend's own word for the end (``stop``, ``length``, …) where it gave one. ``error`` is what a caller
    is to see raised; it is there exactly when ``verdict`` is not ``complete``.
    """

    verdict: Verdict
    reason: str | None = None
    error: BackendError | None = None


Event: TypeAlias = Text | Source | Usage | Finish

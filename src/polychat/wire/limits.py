"""How much of a reply is held at a time."""

from __future__ import annotations

from dataclasses import dataclass

from .framing import MAX_LINE


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    line: int = MAX_LINE
    """Bytes of a line."""
    event: int = MAX_LINE
    """Bytes of an event of several lines."""
    depth: int = 64
    """Arrays and objects inside each other."""
    calls: int = 256
    """Tool calls of a reply."""
    arguments: int = 8 * 1024 * 1024
    """Characters of the arguments of all its tool calls."""
    made_up: str = "call_"
    """What the id of a call begins with that came without one; no limit, but as much an argument of every reader."""

    raw_schemas: bool = False
    """Whether large schemas of a request stay JSON, for code that handles that: ``raw_schemas.py``."""


LIMITS = ReaderLimits()

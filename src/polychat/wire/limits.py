"""Limits on how much of a reply is held at a time."""

from __future__ import annotations

from dataclasses import dataclass

from .framing import MAX_LINE


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    line: int = MAX_LINE
    """Maximum bytes of a line."""
    event: int = MAX_LINE
    """Maximum bytes of an event of several lines."""
    depth: int = 64
    """Maximum nesting of arrays and objects."""
    calls: int = 256
    """Maximum tool calls of a reply."""
    arguments: int = 8 * 1024 * 1024
    """Maximum characters of the arguments of all its tool calls."""
    id_prefix: str = "call_"
    """The prefix of ids for calls without one. Not a limit, but an argument of every reader all the same."""

    raw_schemas: bool = False
    """Whether large schemas of a request stay JSON, for code that supports that: see ``raw_schemas.py``."""


LIMITS = ReaderLimits()

"""Counts of tokens in a reply, within bounds: prices and metrics are computed with them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

MOST = 2**53
"""Maximum of a count: no reply uses as many tokens, and larger numbers do not fit into those of metrics and databases."""
Count: TypeAlias = Annotated[int, Meta(ge=0, le=MOST)]


def token_count(value: object) -> int | None:
    """The count in ``value``; ``None`` if that is none, or cannot be true."""
    return value if type(value) is int and 0 <= value <= MOST else None

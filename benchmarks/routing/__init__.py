"""What routing costs beside a direct target, and where requests go on a virtual clock: shares, herds, prompt caches."""

from __future__ import annotations

from collections.abc import Iterator

from ..report import Table
from . import caches, cost, shares


def measure(part: str = "") -> Iterator[Table]:
    """``part``: ``cost``, ``shares`` or ``caches`` alone."""
    for module in (cost, shares, caches):
        if part in ("", module.__name__.rpartition(".")[2]):
            yield module.table()

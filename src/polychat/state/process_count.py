"""How many processes spend the same limits: what each needs to know for the time when their store is away."""

from __future__ import annotations

_ASSUMED = 16
"""Processes, where no store was ever reached. There may be any number; so many new ones spend no more than a cap together."""
_BELIEVED = 60.0
"""Seconds for which a store must report fewer processes: one that is back after a while hears of them one after the other."""


class ProcessCount:
    """What one process knows, from each store that it asks."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        """By source."""
        self._fewer_since: dict[str, float] = {}

    def learn(self, source: str, count: int, now: float) -> None:
        if count < self._counts.get(source, 0) and now - self._fewer_since.setdefault(source, now) < _BELIEVED:
            return
        self._fewer_since.pop(source, None)
        self._counts[source] = count

    @property
    def known(self) -> int:
        """At least 1, and never fewer than there are, as far as any store knew."""
        return max(1, *self._counts.values()) if self._counts else _ASSUMED

"""How long a target takes to begin: an average that rises at once and falls slowly (a peak EWMA, as Finagle has it)."""

from __future__ import annotations

from math import exp

DECAY = 10.0
"""Seconds in which the weight of what was seen falls to 1/e."""


class PeakEwma:
    """Seconds. A value above the average replaces it, for a target that got slow is to be known as such from its first slow
    answer on; values below it pull it down over ``DECAY`` seconds. Without news it falls to 0: a target that was slow, or
    failed, is tried again some time.
    """

    __slots__ = ("_seconds", "_seen_at")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._seen_at = 0.0

    def observe(self, seconds: float, now: float) -> None:
        """An answer began after ``seconds``; a failure counts as a large time."""
        if seconds >= self._seconds:
            self._seconds = seconds
        else:
            kept = exp((self._seen_at - now) / DECAY)
            self._seconds = kept * self._seconds + (1.0 - kept) * seconds
        self._seen_at = now

    def at(self, now: float) -> float:
        """The average at a moment; 0 where nothing was seen."""
        return self._seconds * exp((self._seen_at - now) / DECAY) if self._seconds else 0.0

"""Counts of what happened in the last seconds."""

from __future__ import annotations

_STEPS = 6
"""A window moves in steps of a sixth of its length: it may cover up to that much less than its length."""


class Window:
    """How often each of ``kinds`` things happened in the last ``seconds``. A kind is its number, from 0."""

    __slots__ = ("_begins", "_counts", "_ends", "_kinds", "_latest", "_steps", "_uncounted", "_width", "latest")

    def __init__(self, seconds: float, kinds: int) -> None:
        self._width = seconds / _STEPS
        self._kinds = kinds
        self._latest = 0
        self.clear()

    def clear(self) -> None:
        """Nothing has happened."""
        self._steps = [[0] * self._kinds for _ in range(_STEPS)]
        self.latest = [0] * self._kinds
        """The counts as of the latest look: never too few, but of kind 0."""
        self._counts, self._begins, self._ends = self._steps[0], 0.0, 0.0
        """Of the step that was added to last, and its moments."""
        self._uncounted = 0
        """How often kind 0, by far the most frequent, happened in that step and is not in the counts yet."""

    def add_first(self, now: float) -> None:
        """``add`` of kind 0."""
        if self._begins <= now < self._ends:
            self._uncounted += 1
        else:
            self.add(0, now)

    def add(self, kind: int, now: float) -> None:
        is_same_step = self._begins <= now < self._ends
        if is_same_step and not kind:
            self._uncounted += 1
            return
        if self._uncounted:
            self._count()
        if not is_same_step:
            step = int(now / self._width)
            if step != self._latest:
                self._move(step)
            self._counts, self._begins, self._ends = self._steps[step % _STEPS], step * self._width, (step + 1) * self._width
        self._counts[kind] += 1
        self.latest[kind] += 1

    def take_back(self, kind: int, moment: float, now: float) -> None:
        """What was counted at ``moment`` did not happen after all; nothing changes where that is forgotten."""
        self.totals(now)
        step = int(moment / self._width)
        counts = self._steps[step % _STEPS]
        if self._latest - step < _STEPS and counts[kind]:
            counts[kind] -= 1
            self.latest[kind] -= 1

    def totals(self, now: float) -> list[int]:
        """The count of each kind."""
        if self._uncounted:
            self._count()
        step = int(now / self._width)
        if step != self._latest:
            self._move(step)
        return self.latest

    def _count(self) -> None:
        more, self._uncounted = self._uncounted, 0
        self._counts[0] += more
        self.latest[0] += more

    def _move(self, step: int) -> None:
        for passed in range(self._latest + 1, min(step, self._latest + _STEPS) + 1):
            counts = self._steps[passed % _STEPS]
            for kind, count in enumerate(counts):
                if count:
                    self.latest[kind] -= count
                    counts[kind] = 0
        self._latest = max(step, self._latest)

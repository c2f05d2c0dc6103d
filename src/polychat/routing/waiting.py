"""Whether a target has stopped to answer, before the first of its requests has waited long enough to be given up.

| nothing is answered for more than                     | requests wait | then                                              |
|-------------------------------------------------------|---------------|---------------------------------------------------|
| 0.3 s, and three times what half of its replies take  | 3             | others are called first: it has *stalled*         |
| 1.5 s, and what 95 % of its replies take              | 5             | those that wait are given up if another target is |
|                                                       |               | left, and few new ones call it: it is *silent*    |

The target's next answer ends both. Of a target whose times are not known yet it takes some seconds to tell that it has stalled,
and silence is no sign: its model may think for long.
"""

from __future__ import annotations

MOST = 3
"""Requests that wait at the same time."""
TIMES, LEAST = 3.0, 0.3
"""How many times the usual seconds nothing was answered, and the least of seconds."""
MANY = 5
"""Requests that wait at the same time before they are given up: that so many are slow ones is improbable."""
UNKNOWN = 1.5
"""The least of seconds while it is not known what is usual."""


class Waiting:
    """Of one target of one route. Moments are seconds on the caller's clock."""

    __slots__ = ("_most", "_since", "count")

    def __init__(self) -> None:
        self.count = 0
        """Requests that wait for their first token."""
        self._most = 0
        """The most that waited at once since the last answer, or since none waited."""
        self._since = 0.0

    def called(self, now: float) -> None:
        """A request waits from now on."""
        if not self.count:
            self._since = now
            self._most = self.count = 1
            return
        self.count += 1
        if self.count > self._most:  # noqa: PLR1730  # max takes several times as long
            self._most = self.count

    def answered(self, now: float) -> None:
        """One of them is answered."""
        self.count -= 1
        self._since, self._most = now, self.count

    def ended(self) -> None:
        """One of them ended without an answer."""
        self.count -= 1

    def may_be_stalled(self, now: float) -> bool:
        """Whether nothing is answered for so long that it counts, if even that is not usual."""
        return self.count >= MOST and now - self._since > LEAST

    def is_stalled(self, now: float, usual: float, *, is_known: bool = True) -> bool:
        """Whether nothing is answered though it should be.

        ``usual``: seconds to the first token; where that is not known, the most it took so far.
        """
        return self.count >= MOST and now - self._since > max(LEAST if is_known else UNKNOWN, TIMES * usual)

    @property
    def may_be_silent(self) -> bool:
        """Whether so many waited that it counts if none of them is answered."""
        return self._most >= MANY and self.count > 0

    def is_silent(self, now: float, longest: float) -> bool:
        """Whether nothing is answered for more than ``longest`` seconds, in which nearly every request should have been.

        It stays so while those are given up that waited.
        """
        return self.may_be_silent and now - self._since > longest

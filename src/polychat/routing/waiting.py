"""Whether a target has stopped to answer, before the first of its requests has waited long enough to be given up.

Five requests that wait while nothing was answered for much longer than usual tell as much as five that failed. Then others are
called first; the target's next answer ends it. Of a target whose times are not known yet it takes some seconds to tell.
"""

from __future__ import annotations

MOST = 3
"""Requests that wait at the same time."""
TIMES, LEAST = 3.0, 0.3
"""How many times the usual seconds nothing was answered, and the least of seconds."""
UNKNOWN = 1.5
"""The least of seconds while it is not known what is usual."""


class Waiting:
    """Of one target of one route. Moments are seconds on the caller's clock."""

    __slots__ = ("_since", "count")

    def __init__(self) -> None:
        self.count = 0
        """Requests that wait for their first token."""
        self._since = 0.0

    def called(self, now: float) -> None:
        """A request waits from now on."""
        if not self.count:
            self._since = now
        self.count += 1

    def answered(self, now: float) -> None:
        """One of them is answered."""
        self.count -= 1
        self._since = now

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

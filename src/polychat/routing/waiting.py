"""Whether a target has stopped to answer, before the first of its requests has waited long enough to be given up.

Five requests that wait while nothing was answered for much longer than usual tell as much as five that failed. Others are asked
first then; the target's next answer ends it.
"""

from __future__ import annotations

MOST = 5
"""Requests that wait at the same time."""
TIMES, LEAST = 3.0, 0.3
"""How many times the usual seconds nothing was answered, and the least of seconds."""


class Waiting:
    """Of one target of one route. Moments are seconds on the caller's clock."""

    __slots__ = ("_since", "count")

    def __init__(self) -> None:
        self.count = 0
        """Requests that wait for their first token."""
        self._since = 0.0

    def asked(self, now: float) -> None:
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

    def is_stalled(self, now: float, usual: float | None) -> bool:
        """Whether nothing is answered though it should be; ``usual``: seconds to the first token, ``None``: not known."""
        return usual is not None and self.count >= MOST and now - self._since > max(LEAST, TIMES * usual)

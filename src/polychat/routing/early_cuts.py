"""Whether replies of a route were cut off soon after they began: its streams are kept back for a moment then, for a while.

The first reply that a target cuts off comes without a warning, and so do those that are under way at that moment: probation
protects only the requests after them. Backends of one route often share what makes them fail (a proxy, a region, a vendor that
is overloaded), so one that cuts off replies early is a sign for the others too. As long as no reply is cut off early nothing
is kept back, and no text comes later than it could. Replies that are cut off late are no such sign: a beginning that is long
enough to save them would keep every reader waiting.
"""

from __future__ import annotations

from .hold import ANY, Hold

EARLY = 0.5
"""Seconds from a reply's beginning up to which a cut is early, and the most that are kept back."""
RECENT = 30.0
"""Seconds after the latest early cut in which streams are kept back."""
_LEAST, _FURTHER = 0.25, 1.25
"""The least seconds that are kept back, and how many times those after which replies were cut off."""


class EarlyCuts:
    """Of one route. Moments are seconds on the caller's clock."""

    __slots__ = ("__weakref__", "_hold", "_until")

    def __init__(self) -> None:
        self._until = 0.0
        self._hold = Hold(ANY, _LEAST)

    def cut(self, now: float, after: float) -> None:
        """A reply was cut off, so many seconds after its beginning."""
        if after > EARLY:
            return
        seconds = min(EARLY, max(_LEAST, _FURTHER * after))
        if now >= self._until or seconds > self._hold.seconds:
            self._hold = Hold(ANY, seconds)
        self._until = now + RECENT

    def hold(self, now: float) -> Hold | None:
        """What is kept back of a stream; ``None``: nothing."""
        return self._hold if now < self._until else None

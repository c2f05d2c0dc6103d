"""Whether a target's last request failed: others are tried first then, until it has answered again.

| its last request      | it is on probation until                                                    |
|-----------------------|-----------------------------------------------------------------------------|
| failed                | it begins to answer any other one                                           |
| was cut off           | a reply that was requested since comes to its end, or has come much further |

A breaker needs some failures before it opens. Each costs a retry, or, after the first piece, a reply that its client loses.
Probation costs nothing: the target comes after the healthy ones, and one request tries it at once, then one after each
rest. Of a target with many requests the next answer comes within milliseconds, so it stays there for no longer than the share
of its requests that fail.

A stream that asks a target on probation is kept back until it has come further, in seconds, than those that were cut off (see
``hold``): where it is cut off too it is requested anew elsewhere, unseen. Moments are seconds on the caller's clock.
"""

from __future__ import annotations

from .hold import ANY, Hold

FIRST, MOST = 2.0, 4.0
"""Seconds of the first rest, which doubles each time, and of the longest."""
FLOWS = 2.0
"""Seconds after which a reply that has begun counts as complete, at least: it may take minutes."""
_FURTHER, _LEAST = 2.0, 0.25
"""How many times the seconds after which replies were cut off is much further, and the least of seconds kept back."""


class Probation:
    """Of one target of one route."""

    __slots__ = ("_called_at", "_cut_after", "_flows_since", "_next", "_rest", "is_on")

    def __init__(self) -> None:
        self.is_on = False
        self._called_at = 0.0
        """When the request was sent that was cut off."""
        self._cut_after: float | None = None
        """The most seconds from a reply's beginning until it was cut off; ``None`` where none was."""
        self._flows_since: float | None = None
        self._next = self._rest = 0.0

    def failed(self, now: float) -> None:
        """A request failed, be it before its first piece or after."""
        if not self.is_on:
            self.is_on, self._cut_after = True, None
            self._next, self._rest = now, FIRST

    def cut(self, called_at: float, now: float, after: float) -> None:
        """A reply was cut off, so many seconds after its beginning."""
        self.failed(now)
        if self._cut_after is None:
            self._called_at, self._cut_after = called_at, after
        self._cut_after, self._flows_since = max(self._cut_after, after), None

    def may_ask(self, now: float) -> bool:
        """Whether a request may try it now."""
        return not self.is_on or now >= self._next or self._flows(now)

    def called(self, now: float) -> None:
        """A request tries it, or uses it because no other target is left."""
        if self._flows(now):
            self.is_on = False
        elif now >= self._next:
            self._next, self._rest = now + self._rest, min(MOST, 2.0 * self._rest)

    def answered(self, called_at: float, now: float) -> None:
        """It begins to answer."""
        if self._cut_after is None:
            self.is_on = False
        elif called_at > self._called_at and self._flows_since is None:
            self._flows_since = now

    def completed(self, called_at: float) -> None:
        """A reply is complete. Requests begun before the one that was cut off are no sign of its state since."""
        if self._cut_after is not None and called_at > self._called_at:
            self.is_on = False

    def hold(self) -> Hold:
        """How much of a stream that is requested now is held back."""
        return Hold(ANY, min(FLOWS, max(_LEAST, _FURTHER * (self._cut_after or 0.0))))

    def _flows(self, now: float) -> bool:
        since, cut_after = self._flows_since, self._cut_after
        return since is not None and cut_after is not None and now - since >= max(FLOWS, _FURTHER * cut_after)

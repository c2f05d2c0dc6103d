"""When a target that fails is left alone, and when it is tried again.

| state     | until                                                              | who asks the target                      |
|-----------|--------------------------------------------------------------------|------------------------------------------|
| closed    | 5 failures in a row, or half of at least 5 attempts within 30 s    | every request                            |
| open      | its rest is over: 1 s at first, twice as long each time, with jitter | no request, unless it may not be ejected |
| half-open | the one request that is let through is answered, or fails          | that one request, the probe              |

An attempt that is answered to its end, or flows for 2 s, closes the breaker; a probe that fails opens it again. A probe that
ends as neither (its client leaves, or the request itself was wrong) leaves it half-open, for the next. What was called before
it opened adds nothing new. In the window an attempt counts once: as answered when it begins to be, also if its client leaves
then, and as failed if it is cut off. An open breaker's target is called all the same where too many others of its tier are
open too (see ``ejection``). Moments are seconds on the caller's clock.
"""

from __future__ import annotations

from random import Random
from typing import Literal, TypeAlias

from .windows import Window

BreakerState: TypeAlias = Literal["closed", "open", "half-open"]
STREAK = 5
"""Failures in a row that open it."""
WINDOW, LEAST, RATE = 30.0, 5, 0.5
"""Seconds, attempts in them, and the share of these that failed, which open it."""
FIRST_REST = 1.0
FLOWS = 2.0
"""Seconds after which an answer that has begun counts as complete: it may take minutes."""
_ANSWERED, FAILED = 0, 1


class Breaker:
    __slots__ = ("_flows_since", "_is_probed", "_opened_at", "_openings", "_streak", "_streak_since", "outcomes", "until")

    def __init__(self) -> None:
        self.until: float | None = None
        """When its rest is over; ``None`` while it is closed."""
        self.outcomes = Window(WINDOW, 2)
        self._opened_at = 0.0
        self._flows_since: float | None = None
        self._is_probed = False
        self._openings = self._streak = 0
        self._streak_since = 0.0
        """When the first of the failures in a row was sent."""

    def state(self, now: float) -> BreakerState:
        if self.until is None:
            return "closed"
        return "open" if now < self.until else "half-open"

    def admits(self, now: float) -> bool:
        """Whether a request may be sent: any while it is closed, one while it is half-open."""
        return self.until is None or (now >= self.until and not self._is_probed) or self._flows(now)

    def probe(self, now: float) -> bool:
        """A request is sent. Whether it is the probe, at whose end ``probed`` is called."""
        if self.until is None:
            return False
        if self._flows(now):
            self._close()
            return False
        if now < self.until or self._is_probed:
            return False
        self._is_probed = True
        return True

    def probed(self) -> None:
        """The probe is over, however it ended; ``answered`` or ``failed``, if either, was called before."""
        self._is_probed = False

    def answered(self, called_at: float, now: float) -> None:
        """An attempt began to be answered."""
        self.outcomes.add_first(now)
        if self.until is not None and called_at >= self._opened_at and self._flows_since is None:
            self._flows_since = now

    def completed(self, called_at: float) -> None:
        """An answer came to its end: failures are counted anew, but for the first one after it was open.

        One that began before those failures is no sign of the target's present state.
        """
        if self.until is None:
            if self._streak and called_at >= self._streak_since:
                self._openings = self._streak = 0
        elif called_at >= self._opened_at:
            self._close()

    def answered_whole(self, called_at: float, now: float) -> None:
        """``answered`` and ``completed``, of an answer that came as a whole."""
        if self.until is None and not self._streak:
            self.outcomes.add_first(now)
        else:
            self.answered(called_at, now)
            self.completed(called_at)

    def plain_outcomes(self) -> Window | None:
        """Where ``answered_whole`` counts an attempt, if it does nothing else until one fails; else ``None``."""
        return None if self.until is not None or self._streak else self.outcomes

    def failed(
        self,
        called_at: float,
        now: float,
        longest: float,
        rng: Random,
        *,
        answered_at: float | None = None,
        retry_after: float = 0.0,
    ) -> None:
        """An attempt failed; ``longest``: seconds that a rest may last.

        ``retry_after``: seconds that the target named itself. If it opens now it rests for these: its target knows better.
        ``answered_at``: when the answer began that was cut off. It counts as a failure instead of an answer.
        """
        if answered_at is not None:
            self.outcomes.take_back(_ANSWERED, answered_at, now)
        if not self._streak:
            self._streak_since = called_at
        self._streak += 1
        self.outcomes.add(FAILED, now)
        if self.until is not None:
            if called_at >= self._opened_at:
                self._flows_since = None
                if now >= self.until:
                    self.open(now, longest, rng, retry_after)
        elif self._streak >= STREAK or is_rate_high(*self.outcomes.totals(now)):
            self.open(now, longest, rng, retry_after)

    def open(self, now: float, longest: float, rng: Random, retry_after: float = 0.0) -> None:
        """It rests from now on: for ``retry_after`` seconds, or for twice as long as the last time at most."""
        self.until = now + (retry_after or rest_after(self._openings, longest, rng))
        self._opened_at, self._flows_since = now, None
        self._openings += not retry_after

    def _flows(self, now: float) -> bool:
        return self._flows_since is not None and now - self._flows_since >= FLOWS

    def _close(self) -> None:
        """Closed on trial: the next failure opens it again, for longer, unless another answer comes to its end before."""
        self.until = self._flows_since = None
        self._streak, self._streak_since = STREAK - 1, self._opened_at
        self.outcomes.clear()


def is_rate_high(answered: int, failed: int) -> bool:
    """Whether so many of a window's attempts failed that the target is better left alone."""
    return failed + answered >= LEAST and failed >= RATE * (failed + answered)


def rest_after(openings: int, longest: float, rng: Random) -> float:
    """Seconds of the rest after so many before it: doubled each time, up to ``longest``, and up to half of that less by chance.

    Each probe of a target that is still sick costs its request a retry, so rests are not drawn from 0 on.
    """
    return min(longest, FIRST_REST * 2.0 ** min(openings, 20)) * (0.5 + 0.5 * rng.random())

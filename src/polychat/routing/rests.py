"""How long a target, or all that share its key, must not be called, and why.

*Retry-after*: the backend named a moment. No request is sent before it, in any case.
*Down*: the key was refused, the quota is used up, the host is unknown: asking again soon is of no use, and may do harm.
"""

from __future__ import annotations

from random import Random

from ..errors import BackendError, FaultKind, PolychatError, redact

_LONGEST = 86_400.0
"""Seconds of the longest retry-after that is obeyed: a target is tried once a day in any case."""
_DOWN, _DOWN_MOST = 2.0, 20.0
"""How many cooldowns what is down rests at first, and at most: each further failure doubles it."""


class Rest:
    """Moments are seconds on the caller's clock."""

    __slots__ = ("__weakref__", "_times", "down_until", "kind", "retry_at", "status", "why")

    def __init__(self) -> None:
        self.retry_at = 0.0
        """The time before which the backend must not be called again; 0 if it sent none."""
        self.down_until = 0.0
        """The moment until which it counts as down."""
        self.kind: FaultKind | None = None
        self.status: int | None = None
        self.why = ""
        """The error's message, redacted."""
        self._times = 0

    def forget(self) -> None:
        """Another backend has its name now."""
        Rest.__init__(self)

    def left(self, now: float) -> float:
        """Seconds until it may be called; 0 if it may be now."""
        until = self.retry_at if self.retry_at > self.down_until else self.down_until
        return until - now if now < until else 0.0

    def note_retry_after(self, error: PolychatError, seconds: float, now: float) -> None:
        """The backend asked for no request for this many seconds. Of several times the latest counts."""
        until = now + min(seconds, _LONGEST)
        if until > self.retry_at:
            self.retry_at = until
            self._keep(error)

    def go_down(self, error: PolychatError, now: float, cooldown: float, rng: Random) -> None:
        """It failed in a way that lasts. The rest is twice as long each time, and half of it by chance."""
        longest = cooldown * min(_DOWN * 2.0 ** min(self._times, 20), _DOWN_MOST)
        self._times += 1
        until = now + longest * (0.5 + 0.5 * rng.random())
        if until > self.down_until:
            self.down_until = until
            self._keep(error)

    def answered(self) -> None:
        """It is not down after all. ``retry_at`` stays: this answer may have been asked for before the backend named it."""
        if self._times:
            self.down_until, self._times = 0.0, 0

    def _keep(self, error: PolychatError) -> None:
        self.why = redact(str(error), 160)
        self.kind, self.status = error.kind if isinstance(error, BackendError) else None, error.status
        if self.kind is None and error.status == 429:
            self.kind = "rate_limit"

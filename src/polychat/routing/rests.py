"""For how long somebody is not to be asked at all, and why: by their own word, or since what failed is going to last.

*Told*: a target, or all that share its limit, said when to come back. Nobody asks it before that, in whatever case.
*Down*: its key was refused, its quota is used up, its host is unknown: asking again soon is no use, and may do harm.
"""

from __future__ import annotations

from random import Random

from ..errors import BackendError, FaultKind, PolychatError, redact

_LONGEST = 86_400.0
"""Seconds: a target that says it will be longer is asked once a day all the same."""
_DOWN, _DOWN_MOST = 2.0, 20.0
"""How many cooldowns what is down rests at first, and at most: each further failure doubles it."""


class Rest:
    """Moments are seconds on the caller's clock."""

    __slots__ = ("__weakref__", "_times", "down", "kind", "status", "told", "why")

    def __init__(self) -> None:
        self.told = 0.0
        """Until when it said that it is not to be asked."""
        self.down = 0.0
        """Until when it is taken to be down."""
        self.kind: FaultKind | None = None
        self.status: int | None = None
        self.why = ""
        """What it said with that."""
        self._times = 0

    def forget(self) -> None:
        """Another backend has its name now."""
        Rest.__init__(self)

    def left(self, now: float) -> float:
        """Seconds until it may be asked; 0 where it may be now."""
        until = self.told if self.told > self.down else self.down
        return until - now if now < until else 0.0

    def tell(self, error: PolychatError, seconds: float, now: float) -> None:
        """It said that it is not to be asked for so long; the latest moment that it named holds."""
        until = now + min(seconds, _LONGEST)
        if until > self.told:
            self.told = until
            self._keep(error)

    def go_down(self, error: PolychatError, now: float, cooldown: float, rng: Random) -> None:
        """It failed in a way that lasts. The rest is twice as long each time, and half of it by chance."""
        longest = cooldown * min(_DOWN * 2.0 ** min(self._times, 20), _DOWN_MOST)
        self._times += 1
        until = now + longest * (0.5 + 0.5 * rng.random())
        if until > self.down:
            self.down = until
            self._keep(error)

    def answered(self) -> None:
        """It is not down, whatever was thought. What it told holds: that answer was asked for before."""
        if self._times:
            self.down, self._times = 0.0, 0

    def _keep(self, error: PolychatError) -> None:
        self.why = redact(str(error), 160)
        self.kind, self.status = error.kind if isinstance(error, BackendError) else None, error.status
        if self.kind is None and error.status == 429:
            self.kind = "rate_limit"

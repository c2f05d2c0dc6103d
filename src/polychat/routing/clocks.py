"""How long an attempt may take: as configured, else as measured of its target, and never longer than the client waits.

The wait for the first token is learned only while another target is left to ask. The last one gets all the time that the route
has, for a model that thinks for minutes must not be cut off. A target that has become silent is given up before (``waiting``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ..http.timeouts import Timeouts

if TYPE_CHECKING:
    from ..config.settings import Rules

KNOWN = 20
"""Answers after which a target's times count in full; of fewer the limit is so many times as long as there are too few."""
BEFORE = 30.0
"""Seconds for a target whose times are not known yet, and the most while too few are."""
TIMES, LEAST = 5.0, 1.5
"""How many times its 95th percentile a target may take, and the least seconds."""
LAST = 600.0
"""Seconds for the last target that is left, where the file does not say."""
_KEPT = 64
_EVERY = 8
"""Answers after which the percentile is worked out anew."""
_SIZES = (4_096, 32_768, 262_144)


class Kind(NamedTuple):
    """Requests that take about the same time to their first token."""

    streamed: bool
    size: int
    """0 to 3, by the bytes of the request."""
    reasons: bool
    """Whether it asks the model to reason."""


def kind_of(*, streamed: bool, size: int, reasons: bool) -> Kind:
    """The kind of a request of ``size`` bytes."""
    return Kind(streamed, sum(size >= most for most in _SIZES), reasons)


class FirstTokenTimes:
    """The last seconds to the first token of a target's requests of one kind."""

    __slots__ = ("_count", "_median", "_p95", "_times", "limit")

    def __init__(self) -> None:
        self._times: list[float] = []
        self._count = 0
        self._median = self._p95 = 0.0
        self.limit = BEFORE
        """Seconds to wait for the next one, while there is another target to ask."""

    def add(self, seconds: float) -> None:
        """An answer began after so long; or it did not, and would have taken longer still."""
        if len(self._times) < _KEPT:
            self._times.append(seconds)
        else:
            self._times[self._count % _KEPT] = seconds
        self._count += 1
        if self._count < KNOWN:
            self.limit = min(BEFORE, max(LEAST, TIMES * max(self._times)) * KNOWN / self._count)
        elif (self._count - KNOWN) % _EVERY == 0:
            times = sorted(self._times)
            self._median, self._p95 = times[len(times) // 2], times[int(len(times) * 0.95)]
            self.limit = max(LEAST, TIMES * self._p95)

    @property
    def p95(self) -> float | None:
        """The 95th percentile in seconds; ``None`` while too few answers are known."""
        return self._p95 if self._count >= KNOWN else None

    @property
    def median(self) -> float | None:
        """The median in seconds; ``None`` while too few answers are known."""
        return self._median if self._count >= KNOWN else None

    @property
    def longest(self) -> float:
        """The most seconds of those that are kept; 0 where there are none."""
        return max(self._times, default=0.0)


@lru_cache(maxsize=256)
def timeouts(connect: float, first: float | None, idle: float, total: float) -> Timeouts:
    """Of a route's rules; ``total`` 0: none."""
    return Timeouts(connect, LAST if first is None else first, idle, total or None)


class Deadline(NamedTuple):
    """When a client has to have an answer."""

    moment: float
    of_all: bool = False
    """Whether all of the reply is to be there by then, and not its beginning alone."""


def timeouts_of(rules: Rules, patience: float | None = None, *, of_all: bool = False) -> Timeouts:
    """The timeouts of an attempt.

    ``patience``: seconds that its client still waits for the reply to begin, or, with ``of_all``, to be there.
    """
    steps = timeouts(rules.connect_timeout, rules.first_timeout, rules.idle_timeout, rules.timeout)
    if patience is None:
        return steps
    seconds = rounded(patience)
    first, total = steps.first or seconds, rules.timeout
    if seconds >= first and not of_all:
        return steps
    if of_all:
        total = min(total, seconds) if total else seconds
    return timeouts(rules.connect_timeout, min(first, seconds), rules.idle_timeout, total)


def rounded(seconds: float) -> float:
    """In few steps: what is made ready for each is kept."""
    return max(0.05, float(int(seconds)) if seconds >= 20.0 else int(seconds * 20.0) / 20.0)


def patience_of(seconds: float) -> float:
    """Seconds within which a client that waits ``seconds`` is answered, be it by an error: a little before it gives up."""
    return seconds - min(0.5, 0.05 * seconds)

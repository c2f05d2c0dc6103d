"""What is known of one target of one route: what decides which target a request is to ask.

Strategies read it, and never write it: the router does. Two things keep a target from being asked. *Resting*: it said when to
come back, and no request of any route asks it before that. *Open*: it failed in a row, or refused its key or its quota.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from ..errors import BackendError, FaultKind, Resting, redact
from .latency import PeakEwma

BreakerState: TypeAlias = Literal["closed", "open", "half-open"]
_FAILURES = 3
"""Failures in a row after which a target is passed over."""
_LONGEST = 86_400.0
"""Seconds: a target that says it will be longer is asked once a day all the same."""
_PENALTY = 30.0
"""Seconds to the first token that a failure counts as."""


class Remaining(NamedTuple):
    """How much more may be asked of a target, by its own word, as shares from 0 to 1; 1 where it says nothing."""

    requests: float = 1.0
    tokens: float = 1.0


UNLIMITED = Remaining()


class TargetState:
    """What holds for a target in every route. Moments are seconds on the caller's clock."""

    __slots__ = ("__weakref__", "first", "in_flight", "kind", "rests", "status", "until", "why")

    def __init__(self) -> None:
        self.in_flight = 0
        self.first = PeakEwma()
        """Until it begins to answer."""
        self.forget()

    def forget(self) -> None:
        """Another backend has its name now; what is in flight goes on."""
        self.first = PeakEwma()
        self.rests = 0.0
        """Until when it said that it is not to be asked."""
        self.until = 0.0
        """Until when it is passed over, for it refused its key or its quota."""
        self.kind: FaultKind | None = None
        self.status: int | None = None
        self.why = ""
        """What it said with that."""

    def rest(self, error: BackendError, seconds: float, now: float) -> None:
        """It said that it is not to be asked for so long; the latest moment that it named holds."""
        until = now + min(seconds, _LONGEST)
        if until > self.rests:
            self.rests, self.why = until, redact(str(error), 160)
            self.kind, self.status = error.kind or ("rate_limit" if error.status == 429 else None), error.status


class Facts:
    """What is known of one target of one route."""

    __slots__ = ("_failures", "_until", "name", "route", "shared")

    def __init__(self, route: str, name: str, shared: TargetState) -> None:
        self.route, self.name, self.shared = route, name, shared
        self.forget()

    def forget(self) -> None:
        """Another backend has its name now."""
        self._failures = 0
        self._until = 0.0

    # What is read

    @property
    def in_flight(self) -> int:
        """Requests of all routes that it was asked and that are not over: they wait, or stream."""
        return self.shared.in_flight

    def first_token(self, now: float) -> float:
        """Peak EWMA of its seconds to the first token, where a failure counts as a large time; 0 where nothing is known."""
        return self.shared.first.at(now)

    def remaining(self, now: float) -> Remaining:
        """How much more it may be asked, by what it said of late."""
        return UNLIMITED

    def breaker(self, now: float) -> BreakerState:
        """``open``: it is passed over for its failures."""
        return "open" if now < self._until or now < self.shared.until else "closed"

    def rest_of(self, now: float) -> float:
        """Seconds until it may be asked, by its own word; 0 where it may be now."""
        rests = self.shared.rests
        return 0.0 if now >= rests else rests - now

    def is_well(self, now: float) -> bool:
        """Whether it neither rests nor is passed over."""
        shared = self.shared
        return now >= self._until and now >= shared.until and now >= shared.rests

    def resting(self, now: float) -> Resting:
        """The failure that a request has which would ask it before the time it named."""
        shared = self.shared
        seconds = max(0.0, shared.rests - now)
        error = Resting(f"{self.name} is skipped for another {seconds:.3g} s: {shared.why}", retry_after=seconds)
        error.kind, error.status = shared.kind, shared.status
        return error

    # What the router writes

    def asked(self) -> None:
        """A request goes to it; ``over`` follows, once."""
        self.shared.in_flight += 1

    def over(self) -> None:
        """A request is over, however it ended."""
        self.shared.in_flight -= 1

    def answered(self, first: float, now: float) -> None:
        """It began to answer after ``first`` seconds. One that rests goes on resting: that answer was asked for before."""
        self._failures = 0
        self.shared.first.observe(first, now)

    def failed(self, now: float, cooldown: float, error: BackendError | None = None, *, at_once: bool = False) -> None:
        """It failed; ``error`` may say when to come back. ``at_once``: it is passed over from the first failure on."""
        self._failures += 1
        self.shared.first.observe(_PENALTY, now)
        if error is not None and error.retry_after:
            self.shared.rest(error, error.retry_after, now)
        elif at_once:
            self.shared.until = max(self.shared.until, now + cooldown)
        elif self._failures >= _FAILURES:
            self._until = max(self._until, now + cooldown)

"""What is known of one target of one route: what decides which target a request is to ask.

Strategies read it, and never write it: the router does. What a route's own requests show of a target (its breaker) is kept for
each route; requests in flight, time to the first token, and ``retry-after``, for the target; what all models of a backend with
its key share (a refused key, a quota that is used up), for these together, its *domain*.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal, NamedTuple

from ..errors import PolychatError, Resting, redact
from ..values import mypyc_attr
from ..wire.rate_limits import Limit, is_used_up, limits_of
from .breaker import FAILED, Breaker, BreakerState
from .budget import LATE, RetryBudget
from .clocks import BEFORE, LEAST, FirstTokenTimes, Kind
from .early_cuts import EarlyCuts
from .hold import Hold
from .latency import PeakEwma
from .probation import Probation
from .rests import Rest
from .slots import SLOTS_LOCK, Slots
from .throttle import Throttle
from .waiting import Waiting
from .windows import Window

_RECENT = 0.1
"""How much the last answer counts in a target's tokens per second."""
_FEW = 5
"""Fewest attempts whose share of failures counts."""
_PENALTY = 30.0
"""Seconds to the first token that a failure counts as."""
_UNRELIABLE = 0.2
"""Failures for each answer, in 30 s, above which a target is not reliable."""


class Remaining(NamedTuple):
    """What is left of a target's limits by its own headers, as shares from 0 to 1; 1 where it names none."""

    requests: float = 1.0
    tokens: float = 1.0


UNLIMITED = Remaining()


@mypyc_attr(native_class=False)  # it is referred to weakly
class TargetState:
    """What holds for a target in every route."""

    __slots__ = (
        "__weakref__",
        "_latest_headers",
        "_limits",
        "first",
        "in_flight",
        "is_short",
        "rest",
        "slots",
        "speed",
        "times",
    )

    def __init__(self) -> None:
        self.in_flight = 0
        self.first = PeakEwma()
        """Until it begins to answer."""
        self.rest = Rest()
        self.times: dict[Kind, FirstTokenTimes] = {}
        """Of each kind of request, to its first token."""
        self._latest_headers: tuple[Sequence[tuple[bytes, bytes]], float, float] | None = None
        self._limits: list[Limit] | None = None
        self.slots: Slots | None = None
        """Where a route limits its requests at once."""
        self.speed = 0.0
        """Tokens of its answers per second, from the request to the end; 0 where nothing is known."""
        self.is_short = False
        """Whether its latest headers say that a limit is nearly or fully used."""

    def slots_of(self, concurrency: int | Literal["auto"] | None) -> Slots:
        """Its slots, for a route that limits them so."""
        slots = self.slots or self._first_slots()
        if concurrency is not None:
            slots.set(concurrency)
        return slots

    def _first_slots(self) -> Slots:
        with SLOTS_LOCK:  # another thread may be making them too, and its requests have to count
            if self.slots is None:
                self.slots = Slots()
            return self.slots

    def first_token(self, now: float) -> float:
        """Peak EWMA of its seconds to the first token, where a failure counts as a large time; 0 where nothing is known."""
        return self.first.at(now)

    def forget(self) -> None:
        """Another backend has its name now; requests in flight are not affected."""
        self.first = PeakEwma()
        self.times.clear()
        self.rest.forget()
        self._latest_headers = self._limits = None
        self.is_short = False
        self.speed = 0.0

    def note_speed(self, tokens: int, seconds: float) -> None:
        """An answer of so many tokens ended this many seconds after its request."""
        speed = tokens / seconds
        self.speed += _RECENT * (speed - self.speed) if self.speed else speed

    def note_limits(self, headers: Sequence[tuple[bytes, bytes]], now: float, wall: float) -> None:
        """Keep an answer's headers about limits. They are parsed when ``limits`` is called."""
        self._latest_headers, self._limits = (headers, now, wall), None
        self.is_short = is_used_up(headers)

    def limits(self, now: float) -> tuple[list[Limit], float]:
        """The limits that its latest answer named, and seconds since then."""
        if self._latest_headers is None:
            return [], 0.0
        headers, noted_at, wall = self._latest_headers
        if self._limits is None:
            self._limits = limits_of(headers, wall)
        return self._limits, now - noted_at


class Alarms:
    """Counts the events that make any target of the process less healthy.

    A target that was healthy at one count stays so while the count is the same, but for requests that wait (``Facts.waiting``).
    """

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Facts:
    """What is known of one target of one route. Moments are seconds on the caller's clock."""

    __slots__ = (
        "_alarms",
        "_breaker",
        "_budget",
        "_early_cuts",
        "_missing",
        "_throttle",
        "domain",
        "name",
        "probation",
        "route",
        "shared",
        "waiting",
    )

    def __init__(
        self, route: str, name: str, shared: TargetState, alarms: Alarms, early_cuts: EarlyCuts, budget: RetryBudget
    ) -> None:
        """``early_cuts`` and ``budget`` are the route's."""
        self.route, self.name, self.shared, self._alarms = route, name, shared, alarms
        self._early_cuts, self._budget = early_cuts, budget
        self.waiting = Waiting()
        self.domain: Rest | None = None
        """Shared by all targets with its key, once one of them was called."""
        self.forget()

    def forget(self) -> None:
        """Another backend has its name now."""
        self._breaker = Breaker()
        self.probation = Probation()
        self._missing = ""
        self._throttle: Throttle | None = None
        self._alarms.count += 1

    # What is read

    @property
    def in_flight(self) -> int:
        """Requests of all routes to it that are not over: they wait, or stream."""
        return self.shared.in_flight

    def first_token(self, now: float) -> float:
        """Peak EWMA of its seconds to the first token, where a failure counts as a large time; 0 where nothing is known."""
        return self.shared.first.at(now)

    def usual_first(self, kind: Kind) -> float | None:
        """Seconds within which 95 % of its requests of this kind begin to be answered; ``None`` while that is not known."""
        times = self.shared.times.get(kind)
        return None if times is None else times.p95

    def first_limit(self, kind: Kind) -> float:
        """Seconds to wait for the first token of such a request while another target is left to ask."""
        times = self.shared.times.get(kind)
        return BEFORE if times is None else times.limit

    def remaining(self, now: float) -> Remaining:
        """What is left of its limits by its latest headers: of several limits the one with the least left."""
        limits, passed = self.shared.limits(now)
        if not limits:
            return UNLIMITED
        requests = tokens = 1.0
        for limit in limits:
            share = limit.share(passed)
            if limit.unit == "requests":
                requests = min(requests, share)
            else:
                tokens = min(tokens, share)
        return Remaining(requests, tokens)

    def is_at_limit(self, now: float) -> bool:
        """Whether nothing is left of one of its limits, by its own headers."""
        if not self.shared.is_short:
            return False
        requests, tokens = self.remaining(now)
        return not (requests > 0 < tokens)

    def limits(self, now: float) -> list[Limit]:
        """Its limits as its last answer has them."""
        return self.shared.limits(now)[0]

    def breaker(self, now: float) -> BreakerState:
        """``open``: its failures let it rest; ``half-open``: one request is to show how it is."""
        return self._breaker.state(now)

    @property
    def missing(self) -> str:
        """What its last request found missing here, such as a key, so that it was not sent; redacted; else empty."""
        return self._missing if self.probation.is_on else ""

    def breaker_rest(self, now: float) -> float:
        """Seconds until an open breaker lets a request through."""
        until = self._breaker.until
        return 0.0 if until is None or now >= until else until - now

    def outcomes(self, now: float) -> tuple[int, int]:
        """Attempts of the last 30 s that were answered, and that failed."""
        answered, failed = self._breaker.outcomes.totals(now)
        return answered, failed

    def failed_share(self, now: float) -> float:
        """The share of the attempts of the last 30 s that failed; 0 where there were too few."""
        if not self._breaker.outcomes.latest[FAILED]:
            return 0.0
        answered, failed = self.outcomes(now)
        return failed / (answered + failed) if answered + failed >= _FEW else 0.0

    def rest_of(self, now: float) -> float:
        """Seconds in which it must not be called, by its ``retry-after`` or because it is down; 0: it may be called now."""
        left = self.shared.rest.left(now)
        if self.domain is not None and (others := self.domain.left(now)) > left:
            return others
        return left

    def retry_after_left(self, now: float) -> float:
        """Seconds until the moment that the backend named in ``retry-after`` or a reset; 0 where it is past."""
        moment = self.shared.rest.retry_at
        if self.domain is not None:
            moment = max(moment, self.domain.retry_at)
        return max(0.0, moment - now)

    def check(self, now: float) -> None:
        """Raises ``Resting`` where the backend named a moment that has not come."""
        if self.retry_after_left(now):
            raise self.resting(now)

    def admits(self, now: float) -> bool:
        """Whether its breaker lets a request through."""
        return self._breaker.admits(now)

    def is_clear(self, now: float) -> bool:
        """Whether it may be called without restriction: it does not rest, and its breaker is closed."""
        rest, domain = self.shared.rest, self.domain
        return (
            self._breaker.until is None and rest.retry_at <= now >= rest.down_until and (domain is None or not domain.left(now))
        )

    def is_left(self, now: float) -> bool:
        """Whether it may be called, its breaker lets a request through, and it goes on answering."""
        return not self.rest_of(now) and self._breaker.admits(now) and not self.is_stalled(now)

    def is_well(self, now: float) -> bool:
        """Whether it ``is_left``, and its last request did not fail, or it is time to find out how it is.

        It is that later where the route has no retries to spare.
        """
        if not self.is_left(now):
            return False
        if not self.probation.is_on and self._breaker.until is None:
            return True
        due = now - LATE if self._budget.is_overdrawn() else now
        return self.probation.may_ask(due) and self._breaker.admits(due)

    def hold(self, now: float, *, is_continued: bool = False) -> Hold | None:
        """What is kept back of a stream that begins now: of a target that failed recently, until it has shown how it is,
        and of all targets of a route whose replies were cut off early, unless another target continues it then.
        """
        if self.probation.is_on or self._breaker.until is not None:
            return self.probation.hold()
        return None if is_continued else self._early_cuts.hold(now)

    def is_untroubled(self, now: float) -> bool:
        """Whether it is healthy, and stays so until the next alarm, but for a stall."""
        is_doubtful = self.probation.is_on or self._breaker.until is not None or self._early_cuts.hold(now) is not None
        return not is_doubtful and not self.shared.is_short and not self.rest_of(now)

    def plain_outcomes(self) -> Window | None:
        """Where an answer that came to its end is counted, if that is all it changes of its health until the next alarm, but
        for the time to its first token; else ``None``.
        """
        domain = self.domain
        is_plain = not (self.probation.is_on or self.shared.rest.down_until or (domain is not None and domain.down_until))
        return self._breaker.plain_outcomes() if is_plain and self._throttle is None else None

    def is_stalled(self, now: float) -> bool:
        """Whether many of its requests wait, and nothing is answered for much longer than usual."""
        if not self.waiting.may_be_stalled(now):
            return False
        times = self.shared.times.values()
        # The slowest of its kinds of requests counts: which of them wait is not known.
        usual = max((median for each in times if (median := each.median) is not None), default=None)
        if usual is not None:
            return self.waiting.is_stalled(now, usual)
        longest = max((each.longest for each in times), default=0.0)
        return self.waiting.is_stalled(now, longest, is_known=False)

    def is_silent(self, now: float) -> bool:
        """Whether many of its requests wait, and nothing is answered for longer than 95 % of them take.

        Then the wait for the first token need not be as long as for a single request, which may be a slow one. Not known of a
        target with few answers.
        """
        if not self.waiting.may_be_silent:
            return False
        times = self.shared.times.values()
        usual = max((p95 for each in times if (p95 := each.p95) is not None), default=None)
        return usual is not None and self.waiting.is_silent(now, max(LEAST, usual))

    def is_reliable(self, now: float) -> bool:
        """Whether it is well, and answered nearly all recent requests: a retry there is going to be the last."""
        answered, failed = self._breaker.outcomes.totals(now)
        return self._breaker.until is None and failed <= _UNRELIABLE * answered and self.is_well(now)

    def resting(self, now: float) -> Resting:
        """The failure that a request has which would ask it while it rests."""
        seconds = self.rest_of(now)
        rest = self.shared.rest
        if self.domain is not None and self.domain.left(now) > rest.left(now):
            rest = self.domain
        if not seconds:
            seconds = self.breaker_rest(now)
            error = Resting(f"{self.name} is skipped for now: too many requests to it failed")
            error.retry_after = seconds or None
            error.kind = "overloaded"
            return error
        error = Resting(f"{self.name} is skipped for another {seconds:.3g} s: {rest.why}", retry_after=seconds)
        error.kind, error.status = rest.kind, rest.status
        return error

    # What the router writes

    def called(self, now: float) -> bool:
        """A request is sent to it; ``over`` follows, once. Whether it is the probe of a half-open breaker."""
        self.shared.in_flight += 1
        self.waiting.called(now)
        if self.probation.is_on:
            self.probation.called(now)
        return self._breaker.until is not None and self._breaker.probe(now)

    def over(self, *, is_probe: bool = False, was_answered: bool = True) -> None:
        """A request is over, however it ended."""
        self.shared.in_flight -= 1
        if not was_answered:
            self.waiting.ended()
        if is_probe:
            self._breaker.probed()

    def answered(self, first: float, now: float) -> None:
        """It began to answer, ``first`` seconds after its request. Its ``retry-after`` holds: the request may be older."""
        self.waiting.answered(now)
        self._breaker.answered(now - first, now)
        if self.probation.is_on:
            self.probation.answered(now - first, now)
            self._missing = ""
        self._throttle = None
        shared, domain = self.shared, self.domain
        shared.first.observe(first, now)
        if shared.rest.down_until:
            shared.rest.answered()
        if domain is not None and domain.down_until:
            domain.answered()

    def answered_whole(self, called_at: float, now: float) -> None:
        """``answered``, ``completed`` and ``over``, of an answer that came as a whole."""
        shared, domain = self.shared, self.domain
        if self.probation.is_on or shared.rest.down_until or (domain is not None and domain.down_until):
            self.answered(now - called_at, now)
            self.completed(called_at)
        else:
            self.waiting.answered(now)
            self._breaker.answered_whole(called_at, now)
            self._throttle = None
            shared.first.observe(now - called_at, now)
        shared.in_flight -= 1

    def cut(self, called_at: float, now: float, after: float) -> None:
        """An answer was cut off, so many seconds after its beginning."""
        self.probation.cut(called_at, now, after)
        self._early_cuts.cut(now, after)

    def learn(self, kind: Kind, seconds: float) -> None:
        """A request of this kind was answered after so long, or not even then."""
        times = self.shared.times.get(kind)
        if times is None:
            times = self.shared.times[kind] = FirstTokenTimes()
        times.add(seconds)

    def completed(self, called_at: float) -> None:
        """An answer came to its end."""
        if self.probation.is_on:
            self.probation.completed(called_at)
        self._breaker.completed(called_at)

    def failed(
        self,
        called_at: float,
        now: float,
        cooldown: float,
        rng: Random,
        *,
        at_once: bool = False,
        answered_at: float | None = None,
        retry_after: float = 0.0,
    ) -> None:
        """An attempt failed. ``at_once``: its breaker opens whatever there was before. ``retry_after``: see ``Breaker.failed``.

        ``answered_at``: when the answer began that was cut off; ``cut`` is called too.
        """
        self._alarms.count += 1
        self._missing = ""
        self.shared.first.observe(_PENALTY, now)
        self.probation.failed(now)
        self._breaker.failed(called_at, now, cooldown, rng, answered_at=answered_at, retry_after=retry_after)
        if at_once and self._breaker.until is None:
            self._breaker.open(now, cooldown, rng)

    def not_set_up(self, error: PolychatError, now: float) -> None:
        """An attempt failed before it was sent: something is missing here. That says nothing of the backend."""
        self._alarms.count += 1
        self._missing = redact(str(error), 160)
        self.probation.failed(now)

    def try_set_up(self) -> None:
        """What was missing here may be there now: its next request is not tried after the others."""
        if self.missing:
            self._alarms.count += 1
            self.probation, self._missing = Probation(), ""

    def note_retry_after(self, error: PolychatError, seconds: float, now: float) -> None:
        """The backend asked for no request for this many seconds."""
        self._alarms.count += 1
        self.shared.rest.note_retry_after(error, seconds, now)

    def down(self, error: PolychatError, now: float, cooldown: float, rng: Random) -> None:
        """It failed in a way that lasts, for all that share its key."""
        self._alarms.count += 1
        self._missing = ""
        self.shared.first.observe(_PENALTY, now)
        rest = self.shared.rest if self.domain is None else self.domain
        rest.go_down(error, now, cooldown, rng)

    def note_limits(self, headers: Sequence[tuple[bytes, bytes]], now: float, wall: float) -> None:
        """Keep an answer's headers about limits."""
        self.shared.note_limits(headers, now, wall)
        self._alarms.count += self.shared.is_short

    def belongs_to(self, domain: Rest) -> None:
        """It shares its key with the others of ``domain``."""
        self.domain = domain
        self._alarms.count += 1

    def let_through(self, now: float, draw: float) -> bool:
        """Whether a request may ask it though its breaker is open; ``draw`` is drawn by chance, from 0 to 1."""
        if self._throttle is None:
            self._throttle = Throttle()
        return self._throttle.admits(now, draw)

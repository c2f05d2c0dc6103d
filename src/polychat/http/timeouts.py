"""How long a request may take: ``Timeouts``, as callers give them, and the timer of one exchange with an API."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import inf
from sys import float_info
from typing import NamedTuple

from ..errors import Clock, TimedOut
from ..wire.checks import bad
from .alarms import Alarm, LoopAlarms


class Timeouts(NamedTuple):
    """Seconds that a request and its steps may take, ``None`` for no limit; ``TimedOut.clock`` names the one that ran out."""

    connect: float | None = 30.0
    """Until there is a connection: waiting for a free one, name resolution, proxy and TLS included."""
    first: float | None = 600.0
    """From the request's last byte until the reply begins. A reply that is not streamed begins when all of it is written."""
    idle: float | None = 300.0
    """Between two reads of the reply, and until the server takes more of a large request."""
    total: float | None = 600.0
    """For the whole request, its redirects and the reading of its reply included."""

    @classmethod
    def of(cls, timeout: object, steps: Timeouts) -> Timeouts:
        """The value of a ``timeout=`` argument: itself, or seconds for the total, with the other limits as in ``steps``.

        Raises ``BadInput`` for a value that is not a number above 0.
        """
        timeouts = timeout if isinstance(timeout, cls) else steps._replace(total=timeout)  # type: ignore[arg-type]  # it is checked below
        values: tuple[object, ...] = timeouts
        for seconds in values:
            if seconds is not None and not are_seconds(seconds):
                wanted = "a number of seconds above 0, None for no limit, or polychat.transport.Timeouts of these"
                raise bad("timeout", wanted, timeout)
        return timeouts


def are_seconds(value: object) -> bool:
    """Whether it is a number above 0 that a clock can count."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and (0 < value <= _LONGEST or value == inf)


_LONGEST = float_info.max
STEPS = Timeouts(total=None)
"""The limits of each step, and none of the whole."""


@lru_cache(maxsize=64)
def with_total(steps: Timeouts, total: float | None) -> Timeouts:
    """``steps`` with this limit of the whole."""
    return steps._replace(total=total)


class ExchangeTimeouts:
    """Seconds, ``inf`` for no limit; ``end`` is a moment on the loop's clock. Not to be changed.

    ``first`` counts from the request's last byte to the first byte of the reply's body: a head alone does not show whether
    the model has begun. ``idle`` is for each wait after that, and for the server to take more of a large request.
    """

    __slots__ = ("connect", "end", "first", "idle", "total")  # which are read sooner than those of a tuple

    def __init__(self, connect: float, first: float, idle: float, total: float, end: float) -> None:
        self.connect, self.first, self.idle, self.total, self.end = connect, first, idle, total, end

    def until(self, end: float, total: float | None = None) -> ExchangeTimeouts:
        """The same limits, with this end, and with this ``total`` if there is one."""
        return ExchangeTimeouts(self.connect, self.first, self.idle, self.total if total is None else total, end)

    def past(self) -> TimedOut:
        """The error of a request that is not over in time."""
        return TimedOut("total", max(self.total, 0))


UNLIMITED = ExchangeTimeouts(inf, inf, inf, inf, inf)


@lru_cache(maxsize=64)
def exchange_timeouts(timeouts: Timeouts) -> ExchangeTimeouts:
    """The same limits for a request whose end is not known as a moment yet."""
    connect, first, idle, total = (inf if seconds is None else seconds for seconds in timeouts)
    return ExchangeTimeouts(connect, first, idle, total, inf)


def _ignore(error: TimedOut) -> None: ...


_TICKS = 16
"""How often in the idle time is checked whether bytes still arrive."""


class ExchangeTimer:
    """One timer for all waits of a connection. It keeps running, from one exchange to the next too, and checks when it fires,
    which is cheaper than a timer for each wait. ``timeouts`` are those of the current exchange, which is over by ``end``.

    While bytes are pushed, not even the time is read for each of them: ``flow`` begins one long wait, and receiving bytes
    sets ``received``, which is checked every ``_TICKS``-th part of the idle time; silence is detected later by that at most.
    """

    __slots__ = (
        *("_alarm", "_alarms", "_clock", "_due", "_late", "_rings", "_seconds", "_silent_since", "end", "received"),
        "timeouts",
    )

    def __init__(self, alarms: LoopAlarms, late: Callable[[TimedOut], None], timeouts: ExchangeTimeouts = UNLIMITED) -> None:
        self._alarms = alarms
        self._late = late
        self.timeouts, self.end = timeouts, timeouts.end
        self._alarm: Alarm | None = None
        self._clock: Clock = "first"
        self._seconds = self._due = self._rings = inf
        """What is waited for, until when, and when the alarm rings."""
        self._silent_since: float | None = None
        """The last check that found bytes, while they are pushed; ``None`` in any other wait."""
        self.received = False
        """Whether bytes were received since that check."""

    def begin(self, timeouts: ExchangeTimeouts, now: float) -> None:
        """An exchange begins, whose reply is waited for: it may be over as late as ``timeouts.total`` seconds from ``now``."""
        self.timeouts, self.end = timeouts, (end := now + timeouts.total)
        self._clock, self._seconds = "first", (first := timeouts.first)
        self._due = due = now + first if first < timeouts.total else end
        if due < self._rings:
            self._set()

    def wait(self, clock: Clock, since: float, seconds: float) -> None:
        """A wait begins, which may last until ``seconds`` after ``since``, and never beyond the total."""
        self._clock = clock
        self._seconds = seconds
        due, end = since + seconds, self.end
        self._due = due = due if due < end else end  # min takes several times as long
        if due < self._rings:
            self._set()

    def flow(self, now: float) -> None:
        """Bytes are pushed from here on: no gap may exceed the idle time, and all must arrive before the total."""
        self._clock, self._seconds = "idle", self.timeouts.idle
        self._silent_since, self.received = now, False
        self._wait_for_tick(now, now)

    def stop(self) -> None:
        """The wait, or the push, is over."""
        self._due = inf
        self._silent_since = None

    def close(self) -> None:
        """Ends all waiting and cancels the timer for ever."""
        self._late = _ignore  # what is late refers to the timer, and would wait for the garbage collector
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._due = self._rings = inf
        self._silent_since = None

    def _set(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._rings = self._due
        self._alarm = self._alarms.call_at(self._due, self._ring)

    def _ring(self) -> None:
        rang, self._rings, self._alarm = self._rings, inf, None
        if self._due > rang:
            if self._due != inf:
                self._set()  # another wait began since
        elif self._due == self.end:
            self._late(self.timeouts.past())
        elif self._silent_since is not None:
            self._tick(self._silent_since, self._alarms.time())
        else:
            self._late(TimedOut(self._clock, self._seconds))

    def _tick(self, silent_since: float, now: float) -> None:
        if self.received:
            self._silent_since = silent_since = now
            self.received = False
        elif now - silent_since > self._seconds - 0.001:  # uvloop's clock counts in whole milliseconds
            self._late(TimedOut(self._clock, self._seconds))
            return
        self._wait_for_tick(silent_since, now)

    def _wait_for_tick(self, silent_since: float, now: float) -> None:
        self._due = min(now + self._seconds / _TICKS, silent_since + self._seconds, self.end)
        if self._due < self._rings:
            self._set()

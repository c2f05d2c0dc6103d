"""The clocks of an exchange, by a loop whose time a test sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from polychat.errors import TimedOut
from polychat.http.timeouts import ExchangeTimeouts, ExchangeTimer


class Handle:
    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when, self.call, self.cancelled = when, call, False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Time goes on only in ``go``; ``rung`` counts the alarms."""

    def __init__(self) -> None:
        self.now, self.rung = 100.0, 0
        self.handles: list[Handle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> Handle:
        self.handles.append(Handle(when, call))
        return self.handles[-1]

    def go(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [handle for handle in self.handles if not handle.cancelled and handle.when <= end]:
            first = min(due, key=lambda handle: handle.when)
            self.handles.remove(first)
            self.now = max(self.now, first.when)
            self.rung += 1
            first.call()
        self.now = end


def timed(idle: float, total: float = float("inf")) -> tuple[Any, ExchangeTimer, list[TimedOut]]:
    loop, late = Loop(), list[TimedOut]()
    end = loop.now + total
    timer = ExchangeTimer(loop, late.append, ExchangeTimeouts(1.0, 1.0, idle, total, end))  # type: ignore[arg-type]
    return loop, timer, late


def test_a_flow_that_falls_silent_is_late_after_the_idle_time() -> None:
    """Never sooner, and by a sixteenth of it at most later."""
    loop, timer, late = timed(16.0)
    timer.flow(loop.now)
    for _ in range(100):
        loop.go(7.3)
        timer.received = True
    loop.go(15.9)
    assert not late
    loop.go(1.2)
    assert [(error.clock, error.seconds) for error in late] == [("idle", 16.0)]


def test_a_flow_that_never_brought_a_byte() -> None:
    """Is late after the idle time, to the moment."""
    loop, timer, late = timed(16.0)
    timer.flow(loop.now)
    loop.go(15.99)
    assert not late
    loop.go(0.02)
    assert len(late) == 1


def test_bytes_cost_no_alarm() -> None:
    """However many come: it rings sixteen times in the idle time, and the clock is not asked between."""
    loop, timer, late = timed(16.0)
    timer.flow(loop.now)
    for _ in range(16_000):
        timer.received = True
        loop.go(0.01)
    assert loop.rung <= 161
    assert not late


def test_a_flow_ends_with_the_total_to_the_moment() -> None:
    """Though bytes come all the time."""
    loop, timer, late = timed(16.0, total=40.0)
    timer.flow(loop.now)
    for _ in range(399):
        timer.received = True
        loop.go(0.1)
    assert not late
    loop.go(0.2)
    assert [(error.clock, error.seconds) for error in late] == [("total", 40.0)]


def test_no_limit_sets_no_alarm() -> None:
    loop, timer, late = timed(float("inf"))
    timer.flow(loop.now)
    loop.go(1e6)
    assert (loop.rung, late) == (0, [])


@pytest.mark.parametrize("ends", ["stop", "close", "wait"])
def test_a_flow_that_is_over_is_late_no_more(ends: str) -> None:
    """Nor does its alarm tell of the wait that comes after it."""
    loop, timer, late = timed(16.0)
    timer.flow(loop.now)
    loop.go(5.0)
    if ends == "close":
        timer.close()
    else:
        timer.stop()
    if ends == "wait":
        timer.wait("first", loop.now, 30.0)
        loop.go(29.0)
        assert not late
        loop.go(2.0)
        assert [error.clock for error in late] == ["first"]
    else:
        loop.go(1000.0)
        assert not late

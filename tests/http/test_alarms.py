"""Alarms that share one timer of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from polychat.http.alarms import LoopAlarms


class Clock:
    """The loop's, which stands still until a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.loop = 1000.0, asyncio.get_running_loop()
        monkeypatch.setattr(self.loop, "time", lambda: self.now)
        self.alarms = LoopAlarms()
        self.rang: list[str] = []

    def set(self, seconds: float, name: str) -> Any:
        return self.alarms.call_at(self.now + seconds, lambda: self.rang.append(name))

    async def go(self, seconds: float, turns: int = 3) -> list[str]:
        """What rings until then."""
        self.rang.clear()
        self.now += seconds
        for _ in range(turns):
            await asyncio.sleep(0)
        return list(self.rang)

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        """Those of the loop's that are set."""
        return [timer for timer in self.loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]  # asyncio's own


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Clock]:
    clock = Clock(monkeypatch)
    yield clock
    await clock.alarms.close()
    assert clock.timers == []


async def test_each_rings_once_when_it_is_due(clock: Clock) -> None:
    """In the order of their times, those of one time as they were set; the loop has one timer for all."""
    for seconds, name in ((3, "third"), (1, "first"), (2, "second"), (2, "also second"), (9, "last")):
        clock.set(seconds, name)
    clock.set(2, "cancelled").cancel()
    assert len(clock.timers) == 1
    assert [await clock.go(1) for _ in range(4)] == [["first"], ["second", "also second"], ["third"], []]
    assert (len(clock.timers), await clock.go(5), clock.timers) == (1, ["last"], [])


async def test_what_rings_may_set_and_cancel_others(clock: Clock) -> None:
    """One that is due too does not ring if it is cancelled; one that is set anew waits for another turn of the loop."""

    def first() -> None:
        second.cancel()
        clock.rang.append("first")
        clock.alarms.call_at(clock.now - 1, first)

    clock.alarms.call_at(clock.now + 1, first)
    second = clock.set(1, "second")
    rang = await clock.go(1, turns=10)
    assert set(rang) == {"first"}
    assert 1 < len(rang) <= 10
    assert len(clock.alarms) == 1


async def test_a_callback_that_fails_hinders_no_other(clock: Clock) -> None:
    """Its exception goes to the loop's handler."""
    told: list[Any] = []
    clock.loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    clock.alarms.call_at(clock.now + 1, lambda: 1 / 0)
    clock.set(1, "second")
    clock.set(2, "third")
    assert [await clock.go(1), await clock.go(1)] == [["second"], ["third"]]
    assert [type(error) for error in told] == [ZeroDivisionError]


async def test_what_is_cancelled_is_not_held_for_long(clock: Clock) -> None:
    """Of ten thousand that are cancelled a few are left, and none when no other is set: nor does the loop's timer run then."""
    kept = [clock.set(1000, f"kept {number}") for number in range(3)]
    for number in range(10_000):
        clock.set(600 + number, "cancelled").cancel()
    assert len(clock.alarms) < 200
    assert await clock.go(1000) == ["kept 0", "kept 1", "kept 2"]
    for alarm in [*kept, *(clock.set(5, "cancelled") for _ in range(3))]:
        alarm.cancel()
    assert (len(clock.alarms), clock.timers) == (0, [])


async def test_what_ctrl_c_interrupts_rings_when_the_loop_goes_on(clock: Clock) -> None:
    """As a notebook's loop does: those that were due with the one that it met, those that are due later, and none twice."""

    def interrupted() -> None:
        cancelled.cancel()
        raise KeyboardInterrupt

    clock.set(1, "first")
    clock.alarms.call_at(clock.now + 1, interrupted)
    cancelled = clock.set(1, "cancelled")
    again = clock.set(1, "second")
    clock.set(1, "third")
    clock.set(2, "fourth")
    clock.now += 1
    with pytest.raises(KeyboardInterrupt):
        clock.alarms._ring()
    assert clock.rang == ["first"]
    again.cancel()
    assert [await clock.go(0), await clock.go(1), len(clock.alarms)] == [["third"], ["fourth"], 0]


async def test_after_its_end_nothing_rings(clock: Clock) -> None:
    """What is cancelled then is not counted, and takes nothing with it that is set after it."""
    old = [clock.set(1, f"old {number}") for number in range(3)]
    await clock.alarms.close()
    assert await clock.go(1) == []
    for alarm in old:
        alarm.cancel()
    alarms = [clock.set(1, f"new {number}") for number in range(4)]
    alarms[0].cancel()
    assert len(clock.alarms) == 4

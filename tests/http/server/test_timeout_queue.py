"""Timeouts of thousands of connections by one timer."""

from __future__ import annotations

from typing import Any, cast

import pytest

from polychat.http.server.timeout_queue import TimeoutQueue


class Clock:
    """A loop of which only the time is used, and how it reports failures."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[tuple[float, Any]] = []

        self.failures: list[Any] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Any) -> Any:
        self.calls.append((self.now + seconds, call))
        return self

    def cancel(self) -> None:
        self.calls.clear()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context["exception"])

    def go(self, to: float) -> None:
        while self.calls and self.calls[0][0] <= to:
            self.now, call = self.calls.pop(0)
            call()
        self.now = to


def test_each_is_late_in_its_own_time_by_one_timer() -> None:
    """Whoever came later is late later, who stopped waiting is not, and who waits already gets no more time."""
    clock, late = Clock(), list[tuple[str, float]]()
    seconds = [10.0]
    waiting: TimeoutQueue[str] = TimeoutQueue(cast(Any, clock), lambda: seconds[0], lambda who: late.append((who, clock.now)))
    for who, moment in (("a", 100), ("b", 103), ("c", 104), ("a", 105), ("d", 107)):
        clock.go(moment)
        waiting.start(who)
        assert len(clock.calls) == 1
    waiting.stop("c")
    clock.go(130)
    assert [who for who, _ in late] == ["a", "b", "d"]
    assert [moment for _, moment in late] == pytest.approx([110, 113, 117], abs=0.01)
    assert clock.calls == []
    waiting.start("e")
    seconds[0] = 2.0  # the configuration was read anew: at the next look it holds for all
    clock.go(150)
    assert late[-1][0] == "e"
    assert len(waiting) == 0


def test_a_callback_that_fails_costs_the_others_nothing() -> None:
    """Those that are late with it are told, those that are late after it too, and the loop gets to know of the failure."""
    clock, late = Clock(), list[str]()
    failure = RuntimeError("a")

    def tell(who: str) -> None:
        late.append(who)
        if who == "a":
            raise failure

    waiting: TimeoutQueue[str] = TimeoutQueue(cast(Any, clock), lambda: 10.0, tell)
    for who, moment in (("a", 100), ("b", 100), ("c", 104)):
        clock.go(moment)
        waiting.start(who)
    clock.go(111)
    assert (late, clock.failures) == (["a", "b"], [failure])
    clock.go(130)
    assert (late, len(waiting), clock.calls) == (["a", "b", "c"], 0, [])


@pytest.mark.parametrize("anew", [False, True])
def test_a_callback_may_stop_another_that_is_late_too(anew: bool) -> None:
    """It is not told then, or in its new time if it was started anew; who is told may be started again too."""
    clock, late = Clock(), list[str]()

    def tell(who: str) -> None:
        late.append(who)
        if late == ["a"]:
            waiting.stop("b")
            for each in ("b", "a") if anew else ():
                waiting.start(each)

    waiting: TimeoutQueue[str] = TimeoutQueue(cast(Any, clock), lambda: 10.0, tell)
    for who in ("a", "b", "c"):
        waiting.start(who)
    clock.go(111)
    assert late == ["a", "c"]
    clock.go(130)
    assert late == (["a", "c", "b", "a"] if anew else ["a", "c"])
    assert (len(waiting), clock.calls) == (0, [])

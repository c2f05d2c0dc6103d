"""The measure of routing counts what it says: its schedules and its figures, without running it."""

from __future__ import annotations

import pytest
from benchmarks.chaos.backends import Ask
from benchmarks.chaos.figures import figures, outage
from benchmarks.chaos.load import Reply
from benchmarks.chaos.schedule import BACKENDS, FAULTS, all_sick, drawn, length, well_at
from benchmarks.chaos.schedule import outage as outage_schedule


@pytest.mark.parametrize("seed", range(5))
def test_one_backend_is_always_well(seed: int) -> None:
    """At each change of phase; every kind of fault comes up, and a seed gives the same schedule each time."""
    schedule = drawn(seed, 120.0)
    moments = sorted({phase.begin for phases in schedule for phase in phases if phase.begin < 120.0})
    assert len(schedule) == BACKENDS
    assert min(well_at(schedule, moment) for moment in moments) == 1
    assert {phase.fault for phases in schedule for phase in phases} >= set(FAULTS)
    assert schedule == drawn(seed, 120.0) != drawn(seed + 1, 120.0)


@pytest.mark.parametrize("seed", range(5))
def test_an_outage_is_of_all_backends(seed: int) -> None:
    """For so long as it says; they come back one after the other."""
    schedule = outage_schedule(seed, 30.0)
    begin, end = all_sick(schedule)
    assert end - begin == 30.0
    assert [well_at(schedule, moment) for moment in (begin - 1, begin, end - 1, end)] == [5, 0, 0, 1]
    assert well_at(schedule, length(schedule) - 1) == 5


def reply(number: int, **more: object) -> Reply:
    made = Reply(number, sent=float(number), over=number + 0.5, outcome="complete", pieces=[0, 1], first=0.1)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_figures_count_what_their_columns_say() -> None:
    """Those that left are neither complete nor failed; an ask that outlives its client by half a second is an orphan."""
    replies = [
        reply(0),
        reply(1, outcome="silent", pieces=[0]),
        reply(2, outcome="left"),
        reply(3, outcome="timeout", pieces=[0, 1, 1], first=None),
    ]
    asks = [
        Ask(0, 0, 0.0, early=False, ended=0.5),
        Ask(1, 0, 0.1, early=True, ended=0.9),
        Ask(0, 2, 2.0, early=False, ended=3.1),
        Ask(0, 3, 3.0, early=False),
    ]
    has = figures(replies, asks, end=10.0)
    assert (has.requests, has.silent, has.repeated, has.early, has.orphans, has.timeouts) == (4, 1, 1, 1, 2, 1)
    assert has.complete == pytest.approx(1 / 3)
    assert has.amplification == 1.0
    assert has.first == (0.1, 0.1)


def test_back_is_when_ten_in_a_row_are_complete() -> None:
    """From the end of the outage; one that fails among them begins the row anew."""
    replies = [reply(number, outcome="error" if number < 12 or number == 15 else "complete") for number in range(40)]
    has = outage(replies, [Ask(0, 5, 5.0, early=False)], 0.0, 10.0)
    assert (has.amplification, has.back) == (0.1, 6.0)
    assert outage(replies[:20], [], 0.0, 10.0).back is None

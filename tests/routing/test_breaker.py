"""When a target that fails is left alone, and when it is tried again."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.routing.breaker import STREAK, Breaker, is_rate_high, rest_after

RNG = Random(1)


def opened(now: float = 0.0, longest: float = 15.0) -> Breaker:
    breaker = Breaker()
    for _ in range(STREAK):
        breaker.failed(now, now, longest, RNG)
    return breaker


def test_a_streak() -> None:
    """Five failures in a row open it, four do not; an answer that comes to its end begins the count anew."""
    breaker = Breaker()
    for _ in range(30):
        breaker.answered(0.0, 0.0)
    for _ in range(4):
        breaker.failed(0.0, 0.0, 15.0, RNG)
    breaker.completed(0.0)
    for _ in range(4):
        breaker.failed(0.0, 0.0, 15.0, RNG)
    assert breaker.state(0.0) == "closed"
    breaker.failed(0.0, 0.0, 15.0, RNG)
    assert breaker.state(0.0) == "open"


def test_answers_from_before() -> None:
    """What was asked before the first of the failures in a row, and ends among them, does not begin their count anew."""
    breaker = Breaker()
    for _ in range(20):
        breaker.answered(10.0, 11.0)
    for number in range(STREAK):
        assert breaker.state(20.0) == "closed"
        breaker.failed(19.0 + number / 10, 20.0, 15.0, RNG)
        breaker.completed(10.0)
    assert breaker.state(20.0) == "open"


def test_answers_that_are_cut_off() -> None:
    """Count once, as failures: where every second answer is cut off, half of the attempts failed, which opens it."""
    breaker = Breaker()
    for number in range(6):
        assert breaker.state(9.0) == "closed"
        breaker.answered(0.0, 0.0)
        if number % 2:
            breaker.failed(0.0, 9.0, 15.0, RNG, answered_at=0.0)
        else:
            breaker.completed(0.0)
    assert (breaker.outcomes.totals(9.0), breaker.state(9.0)) == ([3, 3], "open")
    breaker.failed(0.0, 60.0, 15.0, RNG, answered_at=0.0)
    assert breaker.outcomes.totals(60.0) == [0, 1], "its beginning was forgotten"


def test_a_rate() -> None:
    """Half of at least five attempts within thirty seconds open it; older ones are forgotten."""
    assert not is_rate_high(0, 4)
    assert is_rate_high(3, 3)
    assert not is_rate_high(4, 3)
    breaker = Breaker()
    for moment in range(5):
        breaker.failed(moment, moment, 15.0, RNG)
        breaker.completed(moment) if moment < 4 else None
    assert breaker.state(4.0) == "open"
    breaker = Breaker()
    for moment in range(0, 201, 40):
        breaker.failed(moment, moment, 15.0, RNG)
        breaker.completed(moment)
    assert breaker.state(200.0) == "closed"


def test_what_was_asked_before() -> None:
    """Neither closes a breaker that opened since, nor makes its rest longer."""
    breaker = opened(10.0)
    until = breaker.until
    assert until is not None
    breaker.answered(9.0, 10.1)
    breaker.completed(9.0)
    assert breaker.state(10.2) != "closed"
    breaker.failed(9.0, until + 1.0, 15.0, RNG)
    assert breaker.until == until


def test_an_answer_that_goes_on() -> None:
    """Flows for two seconds, and the target is asked by all again; one that is cut off before does not count."""
    breaker = opened()
    now = 1.0
    assert breaker.probe(now)
    breaker.answered(now, now)
    assert not breaker.admits(now + 1.9)
    breaker.failed(now, now + 1.9, 15.0, Random(4))
    breaker.probed()
    assert not breaker.admits(now + 1.91)
    now = 30.0
    assert breaker.probe(now)
    breaker.answered(now, now)
    assert breaker.admits(now + 2.0)
    assert not breaker.probe(now + 2.0)
    assert breaker.state(now + 2.0) == "closed"


def test_one_probe() -> None:
    """Half-open it lets one request through, and the next only once that one is over; an answer closes it."""
    breaker = opened()
    assert breaker.until is not None
    assert not breaker.admits(breaker.until - 0.001)
    now = breaker.until
    assert breaker.state(now) == "half-open"
    assert breaker.admits(now)
    assert breaker.probe(now)
    assert not breaker.admits(now)
    assert not breaker.probe(now)
    breaker.probed()
    assert breaker.admits(now), "the client of the probe left: the next one is let through"
    breaker.answered(now, now)
    breaker.completed(now)
    assert breaker.state(now) == "closed"
    breaker.completed(now)
    breaker.failed(now, now, 15.0, RNG)
    assert breaker.state(now) == "closed", "what was before does not count any more"


def test_a_moment_that_the_target_named() -> None:
    """Is when it is tried, however long its rests had become; a failure after that makes them no longer than before."""
    breaker = opened()
    for _ in range(6):
        now = 20.0 + (breaker.until or 0.0)
        breaker.failed(now, now, 15.0, RNG)
    assert breaker.until is not None
    now = breaker.until
    assert breaker.probe(now)
    breaker.failed(now, now, 15.0, RNG, retry_after=3.0)
    breaker.probed()
    assert (breaker.state(now + 2.9), breaker.state(now + 3.0)) == ("open", "half-open")
    assert breaker.until == now + 3.0


def test_closed_on_trial() -> None:
    """The failure that follows the answer that closed it opens it again, for longer: its client may have been lucky."""
    breaker = opened()
    for _ in range(6):
        now = 20.0 + (breaker.until or 0.0)
        breaker.answered(now, now)
        breaker.completed(now)
        assert breaker.state(now) == "closed"
        breaker.failed(now, now, 15.0, Random(7))
        assert breaker.state(now) == "open"
    assert breaker.until is not None
    assert breaker.until - now == pytest.approx(rest_after(6, 15.0, Random(7)))


def test_rests_grow() -> None:
    """A probe that fails makes the rest twice as long, up to the cap, half of each drawn by chance; 0 is no rest at all."""
    rests = [max(rest_after(openings, 15.0, Random(seed)) for seed in range(200)) for openings in range(30)]
    assert [round(rest) for rest in rests[:6]] == [1, 2, 4, 8, 15, 15]
    assert max(rests) <= 15.0
    assert 4.0 <= min(rest_after(3, 15.0, Random(seed)) for seed in range(200)) < 4.2
    assert rest_after(9, 0.0, RNG) == 0.0


@given(
    st.lists(st.tuples(st.sampled_from(["answered", "failed", "completed", "probe", "probed"]), st.floats(0, 40))),
    st.integers(),
)
def test_every_breaker_comes_back(steps: list[tuple[str, float]], seed: int) -> None:
    """Whatever happened, a minute later it lets a request through, if its probe is over; and never two probes at a time."""
    breaker, rng, now, probes = Breaker(), Random(seed), 0.0, 0
    for step, passed in steps:
        now += passed
        if step == "failed":
            breaker.failed(now, now, 15.0, rng)
        elif step == "answered":
            breaker.answered(now, now)
        elif step == "completed":
            breaker.completed(now)
        elif step == "probe":
            probes += breaker.probe(now)
            assert probes <= 1
        else:
            breaker.probed()
            probes = 0
    breaker.probed()
    assert breaker.admits(now + 60.0)

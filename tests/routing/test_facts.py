"""What is known of targets: what strategies read."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

import pytest

from polychat.errors import ConnectionFailed, PolychatError, RateLimited
from polychat.routing import Health, Target
from polychat.routing.attempts import Attempts
from polychat.routing.latency import PeakEwma

from ..support.scripted_router import World, again, good


def test_the_average_peaks() -> None:
    """A slow answer counts in full at once; fast ones bring the average down over ten seconds, and silence does too."""
    first = PeakEwma()
    assert first.at(5.0) == 0.0
    first.observe(0.2, 0.0)
    first.observe(4.0, 1.0)
    assert first.at(1.0) == 4.0
    first.observe(0.2, 1.0)
    assert first.at(1.0) == 4.0, "no time has passed"
    first.observe(0.2, 11.0)
    assert 1.5 < first.at(11.0) < 1.7
    assert first.at(100.0) < 0.001


def test_what_routes_share() -> None:
    """When a target asked to be retried, and what is in flight, holds in every route; its failures are a route's own."""
    health = Health()
    one, other = health.facts("one", "a/1"), health.facts("other", "a/1")
    for _ in range(5):
        one.failed(0.0, 0.0, 15.0, Random(1))
    assert (one.is_well(0.1), other.is_well(0.1)) == (False, True)
    assert (one.breaker(0.1), other.breaker(0.1)) == ("open", "closed")
    one.note_retry_after(RateLimited("wait", status=429), 40.0, 1.0)
    assert (one.rest_of(2.0), other.rest_of(2.0)) == (39.0, 39.0)
    one.called(1.0)
    assert other.in_flight == 1
    one.over(is_probe=False)
    assert other.in_flight == 0
    health.forget({"a"})
    assert one.is_well(2.0)
    assert other.is_well(2.0)


async def test_in_flight_until_the_answer_is_over() -> None:
    """An attempt that fails is over at once, one that answers when its caller says so, however often."""
    world = World({"a": [again], "b": [good]})
    await world.run()
    first, second = world.facts("a"), world.facts("b")
    assert (first.in_flight, second.in_flight) == (0, 1)
    world.attempts.end()
    world.attempts.end()
    assert second.in_flight == 0


@pytest.mark.parametrize("error", [ConnectionFailed("no"), ZeroDivisionError(), asyncio.CancelledError()])
async def test_nothing_in_flight_after_whatever_ends_an_attempt(error: BaseException) -> None:
    """A failure, a defect or a client that leaves: what was asked is over."""
    world = World({"a": [good]}, attempts=1)
    seen: list[int] = []

    async def ask(_: Target) -> str:
        seen.append(world.facts("a").in_flight)
        raise error

    with suppress(PolychatError, ZeroDivisionError, asyncio.CancelledError):
        await world.router.run(world.plan, ask, Attempts())
    assert (seen, world.facts("a").in_flight) == ([1], 0)

"""How long an attempt may take."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.config.settings import Route
from polychat.errors import PolychatError, TimedOut
from polychat.http.timeouts import Timeouts
from polychat.routing import Router, Target
from polychat.routing.attempts import Attempts
from polychat.routing.clocks import Deadline, FirstTokenTimes, kind_of, patience_of, rounded, timeouts_of

from ..support.scripted_router import KIND, World, good
from ..support.virtual_time import run as run_virtually


def test_what_is_learned() -> None:
    """Five times the 95th percentile, and a second and a half at least, once twenty answers are known.

    Until then five times the longest, and the longer the fewer there are: thirty seconds at first.
    """
    times = FirstTokenTimes()
    assert times.limit == 30.0
    limits = []
    for _ in range(20):
        times.add(0.5)
        limits.append(times.limit)
    assert limits == sorted(limits, reverse=True)
    assert (limits[0], limits[9], limits[19]) == (30.0, 5.0, 2.5)
    for _ in range(100):
        times.add(0.01)
    assert times.limit == 1.5


def test_one_that_became_slower() -> None:
    """Is not cut off for good: what was cut off counts as having taken so long, and the limit rises."""
    times = FirstTokenTimes()
    for _ in range(64):
        times.add(1.0)
    for _ in range(12):
        times.add(times.limit)
    assert times.limit >= 25.0


def test_kinds() -> None:
    """Streamed or whole, the size of the prompt, reasoning or not: each has times of its own."""
    kinds = {
        kind_of(streamed=streamed, size=size, reasons=reasons)
        for streamed in (False, True)
        for size in (0, 5_000, 50_000, 5_000_000)
        for reasons in (False, True)
    }
    assert len(kinds) == 16
    assert kind_of(streamed=True, size=10, reasons=False) == KIND


def test_the_files_word() -> None:
    """What the file sets holds; what it does not is 5, 600, 120 and no seconds, as far as the client has the patience."""
    assert timeouts_of(Route(("a/1",))) == Timeouts(5.0, 600.0, 120.0, None)
    assert timeouts_of(Route(("a/1",), first_timeout=7.0, timeout=9.0), 60.0) == Timeouts(5.0, 7.0, 120.0, 9.0)
    assert timeouts_of(Route(("a/1",)), 60.4).first == 60.0
    assert timeouts_of(Route(("a/1",)), 0.001).first == 0.05
    assert timeouts_of(Route(("a/1",)), 60.4, of_all=True) == Timeouts(5.0, 60.0, 120.0, 60.0)
    assert timeouts_of(Route(("a/1",), timeout=9.0), 700.0, of_all=True) == Timeouts(5.0, 600.0, 120.0, 9.0)


@given(st.floats(0.1, 1e5))
def test_before_the_client_gives_up(seconds: float) -> None:
    """It gets an error a little before, and no timeout is longer than that."""
    assert 0.9 * seconds <= patience_of(seconds) < seconds
    assert rounded(seconds) <= seconds


def hanging(*labels: str, first_timeout: float | None = None, deadline: float | None = None, known: int = 64) -> World:
    """What becomes of a request where these of ``a``, ``b``, ``c`` never answer; the others take 0.2 seconds."""

    async def main() -> World:
        loop = asyncio.get_running_loop()
        world = World({name: [good] for name in "abc"}, first_timeout=first_timeout)
        world.router = Router(world.health, clock=loop.time, rng=Random(5))
        for label in "abc":
            for _ in range(known):
                world.facts(label).learn(KIND, 0.4)

        async def ask(target: Target) -> str:
            world.asked.append((target.label, loop.time() - 1000.0))
            seconds = 1e6 if target.label in labels else 0.2
            first = world.attempts.timeouts.first or 1e6
            await asyncio.sleep(min(seconds, first))
            if seconds > first:
                raise TimedOut("first", first)
            return "answer"

        world.attempts = Attempts()
        until = None if deadline is None else Deadline(loop.time() + deadline)
        try:
            await world.router.run(world.plan, ask, world.attempts, kind=lambda: KIND, deadline=until)
        except PolychatError as error:
            world.error = error
        world.now = loop.time()
        return world

    return run_virtually(main())


def test_while_others_are_left() -> None:
    """A target that never answers is given up after five times what it usually takes, and the next one is asked."""
    world = hanging("a", "b")
    assert [(label, round(moment, 3)) for label, moment in world.asked] == [("a", 0.0), ("b", 2.0), ("c", 4.0)]
    assert [failure.outcome for failure in world.attempts.failures] == ["timeout", "timeout"]
    assert world.attempts.answered
    unknown = hanging("a", known=3)
    assert [(label, round(moment, 3)) for label, moment in unknown.asked] == [("a", 0.0), ("b", 13.333)], (
        "2 s, for a seventh of 20"
    )


def test_the_last_one_left() -> None:
    """Has all the time that the route gives: a model that thinks for minutes is not cut off."""
    world = hanging("a", "b", "c")
    assert [(label, round(moment, 3)) for label, moment in world.asked] == [("a", 0.0), ("b", 2.0), ("c", 4.0)]
    assert round(world.now - 1000.0) == 604


def test_what_the_file_sets_wins() -> None:
    """Where it sets the timeout to the first token, nothing is learned."""
    world = hanging("a", first_timeout=50.0)
    assert [(label, round(moment, 3)) for label, moment in world.asked] == [("a", 0.0), ("b", 50.0)]


@pytest.mark.parametrize("known", [3, 64])
def test_a_client_hears_in_time(known: int) -> None:
    """Whatever hangs, it gets an error before its own deadline, and half of what is left is kept for the next target."""
    world = hanging("a", "b", "c", deadline=10.0, known=known)
    assert world.now - 1000.0 <= 10.0
    assert len(world.asked) == 3
    assert hanging("a", deadline=10.0, known=known).attempts.answered


def test_one_that_was_the_last() -> None:
    """An attempt that began while nobody else was well is given up, after its time, as soon as another one is."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        world = World({name: [good] for name in "ab"})
        world.router = Router(world.health, clock=loop.time, rng=Random(5))
        for label in "ab":
            for _ in range(64):
                world.facts(label).learn(KIND, 0.4)
        world.facts("b").note_retry_after(TimedOut("first", 1.0), 5.0, loop.time())

        async def ask(target: Target) -> str:
            world.asked.append((target.label, loop.time() - 1000.0))
            await asyncio.sleep(1e6 if target.label == "a" else 0.2)
            return "answer"

        await world.router.run(world.plan, ask, world.attempts, kind=lambda: KIND)
        assert [label for label, _ in world.asked] == ["a", "b"]
        assert 5.0 <= world.asked[1][1] <= 5.5
        assert world.facts("a").first_limit(KIND) == 2.0, "one that hangs has not become slow"

    run_virtually(main())


def test_many_that_wait_for_one_that_hangs() -> None:
    """Do not make the next ones wait for longer: each is given up after the same time, however many were."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        world = World({name: [good] for name in "ab"})
        router = Router(world.health, clock=loop.time, rng=Random(5))
        for label in "ab":
            for _ in range(64):
                world.facts(label).learn(KIND, 0.4)
        begun = loop.time()

        async def ask(target: Target) -> str:
            await asyncio.sleep(1e6 if target.label == "a" else 0.2)
            return target.label

        async def one() -> float:
            attempts = Attempts()
            assert await router.run(world.plan, ask, attempts, kind=lambda: KIND) == "b"
            attempts.completed()
            return loop.time() - begun

        await asyncio.gather(*(one() for _ in range(50)))
        assert world.facts("a").first_limit(KIND) == 2.0

    run_virtually(main())


def test_probes_of_one_that_became_slower() -> None:
    """Wait for longer each time some of them were cut off, until they are answered."""
    world = hanging()
    facts = world.facts("a")

    async def main() -> float:
        loop = asyncio.get_running_loop()
        router = Router(world.health, clock=loop.time, rng=Random(5))

        async def ask(target: Target) -> str:
            await asyncio.sleep(5.0 if target.label == "a" else 0.2)
            return target.label

        for _ in range(600):
            attempts = Attempts()
            if await router.run(world.plan, ask, attempts, kind=lambda: KIND) == "a":
                break
            attempts.completed()
            await asyncio.sleep(1.0)
        return facts.first_limit(KIND)

    assert run_virtually(main()) > 5.0

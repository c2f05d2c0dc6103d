"""A target whose last request failed comes after the others until it answers."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from polychat.errors import ConnectionFailed, RateLimited, Truncated
from polychat.routing.budget import LATE
from polychat.routing.probation import FLOWS, Probation

from ..support.scripted_router import World, again, good
from ..support.simulated_route import SimulatedRoute, plan, target

NOW = 1000.0


def tries(probation: Probation, seconds: float) -> list[float]:
    """The moments, from 0, at which a request tries the target, looked for each tenth of a second."""
    moments = []
    for step in range(int(seconds * 10)):
        if probation.may_ask(NOW + step / 10):
            probation.called(NOW + step / 10)
            moments.append(step / 10)
    return moments


def test_a_failure() -> None:
    """One request tries the target at once, then one after each rest; any answer ends it."""
    probation = Probation()
    probation.failed(NOW)
    assert tries(probation, 13.0) == [0.0, 2.0, 6.0, 10.0]
    probation.answered(NOW - 0.3, NOW + 13.0)
    assert not probation.is_on


def test_a_cut() -> None:
    """Only the end of a reply that was asked for later ends it: those of before were well anyway."""
    probation = Probation()
    probation.cut(NOW - 5.0, NOW, 3.0)
    probation.answered(NOW - 1.0, NOW)
    probation.completed(NOW - 6.0)
    assert probation.is_on
    probation.completed(NOW - 1.0)
    assert not probation.is_on


def test_a_cut_after_a_failure() -> None:
    """Counts as a cut from then on."""
    probation = Probation()
    probation.failed(NOW)
    probation.cut(NOW + 1.0, NOW + 2.0, 1.0)
    probation.answered(NOW + 1.5, NOW + 2.0)
    assert probation.is_on


def test_one_that_flows() -> None:
    """One that came much further than those that were cut off, and for two seconds at least, is as good as one that ended."""
    for after, seconds in ((0.2, FLOWS), (30.0, 60.0)):
        probation = Probation()
        probation.cut(NOW - after, NOW, after)
        probation.called(NOW)
        probation.answered(NOW + 0.1, NOW + 0.1)
        probation.called(NOW + seconds)
        assert probation.is_on
        probation.called(NOW + 0.2 + seconds)
        assert not probation.is_on


def test_what_is_kept_back() -> None:
    """Twice as long as those took that were cut off, a quarter of a second at least and two at most."""
    probation = Probation()
    probation.failed(NOW)
    assert probation.hold().seconds == 0.25
    for after, seconds in ((0.01, 0.25), (0.4, 0.8), (0.1, 0.8), (60.0, 2.0)):
        probation.cut(NOW, NOW, after)
        assert probation.hold().seconds == seconds


def test_shares_with_some_failures() -> None:
    """Where one in a hundred fails and many are asked, the target has its share all the same."""
    route = SimulatedRoute(plan(*map(target, "ab"), strategy="weighted", weights=(1.0, 1.0)), lambda name, now: 0.3)
    for second in range(20):
        route.load(1.0, 200.0)
        route.facts("a").failed(route.now, route.now, 15.0, Random(second))
        route.facts("a").failed(route.now, route.now, 15.0, Random(second))
    assert 0.47 <= route.shares()["a"] <= 0.53


@pytest.mark.parametrize(("targets", "is_held"), [("a", False), ("ab", True)])
async def test_where_no_other_is_left(targets: str, is_held: bool) -> None:
    """It is asked all the same. Its streams are kept back where another could answer in its place, not where none exists."""
    world = World({name: [good] for name in targets})
    for name in targets[1:]:
        world.facts(name).note_retry_after(RateLimited("later", status=429), 60.0, world.now)
    for cuts in range(3):
        await world.run()
        assert (world.attempts.hold() is not None) == (is_held and cuts > 0)
        world.now += 1.0
        world.attempts.end(Truncated("cut"))
    assert world.targets_asked == "aaa"
    world.facts("a").completed(world.now + 1.0)
    await world.run()
    assert world.attempts.hold() is None


async def test_others_first() -> None:
    """All of the others that are well, whatever the strategy says."""
    world = World({"a": [good], "b": [good], "c": [good]}, strategy="round-robin")
    facts = world.facts("b")
    for _ in range(2):
        world.router.note(facts, world.plan.rules, ConnectionFailed("no"), world.now)
    facts.called(world.now)
    for _ in range(6):
        await world.run()
        world.attempts.completed()
    assert set(world.targets_asked) == {"a", "c"}
    assert [passed.reason for passed in world.attempts.passed] == ["its last request failed"]


async def test_few_tries() -> None:
    """Of failing targets take no more than a tenth of the requests in the long run, but each is tried in the end."""
    world = World({name: [again] for name in "abcd"} | {"e": [good]}, strategy="ordered")
    for number in range(4000):
        world.now = 1000.0 + number / 20
        if number % 60 == 0:  # each was well for a moment
            for name in "abcd":
                world.health.forget([name])
        await world.run()
        world.attempts.completed()
    assert len(world.asked) < 1.1 * 4000 + 10
    counts = Counter(name for name, _ in world.asked)
    assert min(counts.values()) > 10
    quiet = World({"a": [again], "b": [good]})
    for _ in range(30):
        quiet.now += 10.0
        await quiet.run()
        quiet.attempts.completed()
    moments = [moment for name, moment in quiet.asked if name == "a"]
    assert max(after - before for before, after in pairwise(moments)) <= 15.0 + LATE + 10.0

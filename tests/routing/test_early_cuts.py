"""A reply that is cut off soon after it began lets all streams of its route be kept back for a moment, for half a minute."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from polychat.errors import PolychatError, StatusError, Truncated
from polychat.routing import Target
from polychat.routing.constant import constant_outcome
from polychat.routing.early_cuts import EARLY, RECENT, EarlyCuts

from ..support.scripted_router import World, good, hopeless

NOW = 1000.0


def kept_back(world: World) -> float | None:
    """Seconds of the stream of the attempt at hand."""
    hold = world.attempts.hold()
    return None if hold is None else round(hold.seconds, 6)


def test_how_long() -> None:
    """A quarter longer than the longest of the recent ones took, in bounds; late cuts are no sign, old ones are forgotten."""
    cuts = EarlyCuts()
    assert cuts.hold(NOW) is None
    cuts.cut(NOW, EARLY + 0.01)
    assert cuts.hold(NOW) is None
    now = NOW
    for after, seconds in ((0.02, 0.25), (0.3, 0.375), (0.1, 0.375), (EARLY, EARLY)):
        now += 1.0
        cuts.cut(now, after)
        hold = cuts.hold(now + RECENT - 0.01)
        assert hold is not None
        assert hold.seconds == seconds
        assert not hold.is_over(65536), "only its time ends it"
    assert cuts.hold(now + RECENT) is None
    cuts.cut(now + RECENT, 0.02)
    hold = cuts.hold(now + RECENT)
    assert hold is not None
    assert hold.seconds == 0.25, "the longer ones are forgotten"


async def test_the_streams_of_its_route() -> None:
    """A stream at another target that never failed is kept back too; one of another route is not."""
    world = World({"a": [good], "b": [good]})
    await world.run()
    assert kept_back(world) is None
    assert constant_outcome(world.router, world.plan) is not None, "nothing is to be decided"
    world.now += 0.1
    world.attempts.end(Truncated("cut"))
    world.facts("a").completed(world.now + 1.0)
    assert not world.facts("a").probation.is_on
    assert constant_outcome(world.router, world.plan) is None
    await world.run()
    assert (world.targets_asked, kept_back(world)) == ("aa", 0.25)
    assert world.facts("b").hold(world.now) is not None
    assert world.health.facts("another", "a/1").hold(world.now) is None
    assert world.health.facts("", "a/1").hold(world.now) is None
    world.now += RECENT
    assert kept_back(world) is None
    assert constant_outcome(world.router, world.plan) is not None


async def test_one_that_is_under_way() -> None:
    """What is learned until its first piece is there counts: it was asked before another's reply was cut off."""
    world = World({"a": [good], "b": [good]})
    facts = world.facts("a")
    world.attempts.begin(world.router, world.plan.rules, world.plan.targets[0], facts, world.now)
    assert kept_back(world) is None
    facts.cut(world.now - 0.1, world.now, 0.1)
    assert kept_back(world) == 0.25


@pytest.mark.parametrize(("failure", "seconds"), [(lambda: Truncated("cut"), 0.25), (hopeless, None)])
async def test_one_that_was_kept_back(failure: Callable[[], PolychatError], seconds: float | None) -> None:
    """Counts as cut off though its client saw nothing of it, unless the request itself was at fault."""
    world = World({"a": [good], "b": [good]})

    async def ask(target: Target) -> str:
        if target.label == "b":
            return "answer"
        world.attempts.begins()
        world.now += 0.2
        raise failure()

    try:
        await world.router.run(world.plan, ask, world.attempts)
    except StatusError:
        world.attempts.begin(world.router, world.plan.rules, world.plan.targets[0], world.facts("a"), world.now)
    assert kept_back(world) == seconds
    facts = world.facts("a")
    facts.answered(0.0, world.now)
    assert facts.probation.is_on == (seconds is not None), "the beginning of a reply is no sign that one comes to its end"


async def test_one_that_is_continued() -> None:
    """Is kept back only at a target that failed itself: if it is cut off, another target goes on."""
    world = World({"a": [good], "b": [good]})
    world.facts("b").cut(world.now - 1.0, world.now, 0.1)
    await world.run()
    assert kept_back(world) == 0.25
    world.attempts.is_continued = True
    assert kept_back(world) is None
    world.facts("a").cut(world.now - 1.0, world.now, 0.4)
    assert kept_back(world) == 0.8


async def test_where_nothing_is_kept_back() -> None:
    """A route may say that its streams are not, whatever failed; a hold that it sets is kept all the same."""
    world = World({"a": [good], "b": [good]}, hold_after_failures=False)
    for name in "ab":
        world.facts(name).cut(world.now - 1.0, world.now, 0.1)
    await world.run()
    assert (world.attempts.may_hold, kept_back(world)) == (False, None)
    world = World({"a": [good], "b": [good]}, hold_after_failures=False, hold=40, hold_seconds=0.5)
    await world.run()
    assert (world.attempts.may_hold, kept_back(world)) == (True, 0.5)


async def test_the_last_attempt() -> None:
    """Is not kept back: no other target would be asked in its place."""
    world = World({"a": [good], "b": [good]}, attempts=1)
    world.facts("b").cut(world.now - 1.0, world.now, 0.1)
    await world.run()
    assert (world.attempts.may_hold, kept_back(world)) == (False, None)

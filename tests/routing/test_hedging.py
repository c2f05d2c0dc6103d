"""A second target for a request whose first one takes longer than usual."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from polychat.errors import ConnectionFailed, TimedOut
from polychat.events import Text
from polychat.routing.attempts import Attempts
from polychat.routing.hedged import plan_beside
from polychat.routing.hedging import HedgeBudget, raced
from polychat.routing.traits import UNKNOWN

from ..support.scripted_router import World, again, good
from ..support.virtual_time import run as run_virtually


def test_one_in_fifty() -> None:
    """Of the requests of a minute; without fifty there is none."""
    budget = HedgeBudget()
    for number in range(1000):
        budget.count_request(100.0 + number / 100)
        budget.take(100.0 + number / 100)
    assert not budget.take(110.0)
    assert sum(budget.take(300.0) for _ in range(10)) == 0
    fresh = HedgeBudget()
    granted = 0
    for _ in range(1000):
        fresh.count_request(100.0)
        granted += fresh.take(100.0)
    assert granted == 20


class Race:
    """Two that take so long, and give their names or fail; what was discarded, and who was cancelled."""

    def __init__(self) -> None:
        self.discarded: list[str] = []
        self.cancelled: list[str] = []

    async def one(self, name: str, seconds: float, *, fails: bool = False) -> str:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        if fails:
            raise ConnectionFailed("no") if name == "first" else TimedOut("first", 1.0)
        return name

    async def discard(self, name: str) -> None:
        self.discarded.append(name)

    async def run(self, first: tuple[float, bool], second: tuple[float, bool] | None) -> tuple[str, bool]:
        def second_attempt() -> Awaitable[str] | None:
            return None if second is None else self.one("second", second[0], fails=second[1])

        return await raced(self.one("first", first[0], fails=first[1]), lambda: 1.0, second_attempt, self.discard)


@pytest.mark.parametrize(
    ("first", "second", "answer", "seconds", "cancelled"),
    [
        ((0.5, False), (0.1, False), "first", 0.5, []),
        ((5.0, False), (0.1, False), "second", 1.1, ["first"]),
        ((1.5, False), (9.0, False), "first", 1.5, ["second"]),
        ((5.0, False), None, "first", 5.0, []),
        ((5.0, False), (0.1, True), "first", 5.0, []),
        ((1.5, True), (3.0, False), "second", 4.0, []),
        ((0.5, True), (3.0, False), None, 0.5, []),
        ((1.5, True), (3.0, True), None, 4.0, []),
    ],
)
def test_who_begins_first(
    first: tuple[float, bool], second: tuple[float, bool] | None, answer: str | None, seconds: float, cancelled: list[str]
) -> None:
    """Answers; the other one is cancelled, and over. A failure of one leaves the other; of both, the first one's is raised."""

    async def main() -> None:
        race, loop = Race(), asyncio.get_running_loop()
        begun = loop.time()
        if answer is None:
            with pytest.raises(ConnectionFailed):
                await race.run(first, second)
        else:
            assert await race.run(first, second) == (answer, answer == "second")
        assert loop.time() - begun == pytest.approx(seconds)
        assert (race.cancelled, race.discarded) == (cancelled, [])
        assert len(asyncio.all_tasks()) == 1

    run_virtually(main())


def test_both_at_once() -> None:
    """What the other one gave at the same moment is discarded, once."""

    async def main() -> None:
        race = Race()
        assert await race.run((2.0, False), (1.0, False)) == ("first", False)
        assert race.discarded == ["second"]

    run_virtually(main())


def test_a_client_that_leaves() -> None:
    """Ends both."""

    async def main() -> None:
        race = Race()
        task = asyncio.ensure_future(race.run((20.0, False), (20.0, False)))
        await asyncio.sleep(5.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(race.cancelled) == ["first", "second"]

    run_virtually(main())


def test_a_client_that_leaves_as_both_begin() -> None:
    """What both gave is discarded, though it leaves while the slower one is still being closed."""

    async def main() -> None:
        race = Race()
        slow = race.discard

        async def discard(name: str) -> None:
            await asyncio.sleep(1.0)
            await slow(name)

        race.discard = discard  # type: ignore[method-assign]  # takes its time
        task = asyncio.ensure_future(race.run((2.0, False), (1.0, False)))
        await asyncio.sleep(2.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(race.discarded) == ["first", "second"]

    run_virtually(main())


async def test_whom_it_asks() -> None:
    """One other target that is well; no one that fails or rests, and nobody where all others do."""
    world = World({"a": [good], "b": [again], "c": [good]})
    router, plan = world.router, world.plan
    for _ in range(5):
        world.facts("b").failed(world.now, world.now, 15.0, router.rng)
    beside = plan_beside(router, plan, UNKNOWN, plan.targets[0])
    assert beside is not None
    assert [target.label for target in beside.targets] == ["c"]
    assert beside.rules.attempts == 1
    world.facts("c").note_retry_after(ConnectionFailed("later"), 10.0, world.now)
    assert plan_beside(router, plan, UNKNOWN, plan.targets[0]) is None


async def test_what_is_reported() -> None:
    """The attempts of both, and which of them was given up."""
    world = World({"a": [again], "b": [good]})
    await world.run()
    second_asked = asyncio.Event()

    async def forever(_: object) -> Text:
        second_asked.set()
        await asyncio.Event().wait()
        return Text("never")

    left = Attempts()
    task = asyncio.ensure_future(world.router.run(world.plan, forever, left, is_extra=True))
    await second_asked.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    world.attempts.join(left)
    assert world.attempts.count == 3
    assert [(failure.target, failure.outcome) for failure in world.attempts.failures] == [
        ("a/1", "hedged"),
        ("a/1", "connection"),
    ]
    assert len(world.attempts.times) == 2

"""Whether a target has stopped to answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random

from polychat.errors import PolychatError
from polychat.routing import Router, Target
from polychat.routing.attempts import Attempts
from polychat.routing.waiting import Waiting

from ..support.scripted_router import KIND, World, again, good
from ..support.virtual_time import run as run_virtually


def test_three_that_wait() -> None:
    """Longer than three times the usual: it has stopped, until it answers one of them; with fewer nothing is known."""
    waiting = Waiting()
    for _ in range(2):
        waiting.called(10.0)
    assert not waiting.is_stalled(20.0, 0.2)
    waiting.called(10.5)
    assert not waiting.is_stalled(10.6, 0.2)
    assert waiting.is_stalled(10.7, 0.2)
    assert not waiting.is_stalled(11.5, 0.2, is_known=False), "of one that is not known yet the first second tells nothing"
    assert waiting.is_stalled(11.6, 0.2, is_known=False)
    assert not waiting.is_stalled(20.0, 8.0, is_known=False), "its first answers took that long"
    waiting.answered(10.8)
    waiting.called(10.8)
    assert not waiting.is_stalled(11.3, 0.2)
    assert waiting.is_stalled(11.5, 0.2)
    for _ in range(3):
        waiting.ended()
    assert waiting.count == 0


def test_five_that_wait() -> None:
    """It is silent if nothing is answered for longer than nearly all of them take, until it answers one."""
    waiting = Waiting()
    for _ in range(4):
        waiting.called(10.0)
    assert not waiting.is_silent(20.0, 2.0)
    waiting.called(11.0)
    assert not waiting.is_silent(12.0, 2.0)
    assert waiting.is_silent(12.1, 2.0)
    for _ in range(4):
        waiting.ended()
    assert waiting.is_silent(12.2, 2.0), "those were given up because of that"
    waiting.answered(12.2)
    for _ in range(4):
        waiting.called(12.2)
    assert not waiting.is_silent(20.0, 2.0)
    for _ in range(4):
        waiting.ended()
    for moment in range(9):
        waiting.called(20.0 + moment)
        waiting.ended()
    assert not waiting.is_silent(40.0, 2.0), "one after the other, as probes are"


async def answers_of(world: World, seconds: Callable[[str, int], float], count: int) -> tuple[Counter[str], list[float]]:
    """Who was asked for ``count`` requests, twenty a second, and after how long each was answered, or failed.

    ``seconds`` of a target's label and the request's number: its time to the first token.
    """
    loop = asyncio.get_running_loop()
    world.router = Router(world.health, clock=loop.time, rng=Random(5))
    counts: Counter[str] = Counter()

    async def client(number: int) -> float:
        attempts, begun = Attempts(), loop.time()

        async def ask(target: Target) -> str:
            counts[target.label] += 1
            await asyncio.sleep(seconds(target.label, number))
            return target.label

        try:
            with suppress(PolychatError):
                await world.router.run(world.plan, ask, attempts, kind=lambda: KIND)
        finally:
            attempts.completed()
        return loop.time() - begun

    clients = []
    for number in range(count):
        clients.append(asyncio.ensure_future(client(number)))
        await asyncio.sleep(0.05)
    return counts, await asyncio.gather(*clients)


def test_a_varied_one_that_hangs() -> None:
    """Does not keep its requests for five times what the slowest of its replies took: that so many are slow is improbable."""

    async def main() -> None:
        world = World({"a": [good], "b": [good]})

        def seconds(label: str, number: int) -> float:
            return 0.1 if label == "b" else 1e6 if number >= 200 else 0.8 if number % 10 == 0 else 0.1

        _, waits = await answers_of(world, seconds, 300)
        assert world.facts("a").first_limit(KIND) > 3.9, "of a single request"
        assert sum(wait > 2.2 for wait in waits) == 0

    run_virtually(main())


def test_a_silent_one_while_all_others_fail() -> None:
    """Gets a few requests, as if its breaker were open too; the others wait for whoever is well first."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        begun, asked_meanwhile = loop.time(), 0

        def seconds(label: str, number: int) -> float:
            nonlocal asked_meanwhile
            if not 5.0 <= loop.time() - begun < 11.0:
                return 0.1
            if label != "a":
                raise again()
            asked_meanwhile += 1
            return 8.0

        _, waits = await answers_of(World({"a": [good], "b": [good], "c": [good]}), seconds, 300)
        assert asked_meanwhile <= 30 + 15, "of 120: those of 1.5 s, and some later"
        assert max(waits) < 9.0

    run_virtually(main())


def test_one_that_hangs() -> None:
    """Costs the few requests that were sent before that showed; all of them are answered by the next target."""

    async def main() -> None:
        counts, waits = await answers_of(
            World({"a": [good], "b": [good]}), lambda label, number: 1e6 if label == "a" and number >= 200 else 0.1, 400
        )
        assert len(waits) == 400
        assert counts["a"] <= 200 + 12 + 8, "those before it showed, and its probes"

    run_virtually(main())

"""Whether a target has stopped to answer."""

from __future__ import annotations

import asyncio
from random import Random

from polychat.routing import Router, Target
from polychat.routing.attempts import Attempts
from polychat.routing.waiting import Waiting

from ..support.scripted_router import KIND, World, good
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


def test_one_that_hangs() -> None:
    """Costs the few requests that were sent before that showed; all of them are answered by the next target."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        world = World({"a": [good], "b": [good]})
        world.router = Router(world.health, clock=loop.time, rng=Random(5))
        counts = {"a": 0, "b": 0}

        async def ask(target: Target) -> str:
            counts[target.label] += 1
            await asyncio.sleep(1e6 if target.label == "a" and loop.time() > 1010.0 else 0.1)
            return target.label

        async def client() -> str:
            attempts = Attempts()
            try:
                return await world.router.run(world.plan, ask, attempts, kind=lambda: KIND)
            finally:
                attempts.completed()

        clients = []
        for _ in range(400):
            clients.append(asyncio.ensure_future(client()))
            await asyncio.sleep(0.05)
        answers = await asyncio.gather(*clients)
        assert answers.count("a") >= 198
        assert counts["a"] - answers.count("a") <= 12 + 8, "those before it showed, and its probes"

    run_virtually(main())

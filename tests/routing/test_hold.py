"""How much of a stream is kept back at its beginning."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from polychat.config.settings import Route
from polychat.routing import Router, Target
from polychat.routing.hold import Hold, hold_of

from ..support.scripted_router import KIND, World, good
from ..support.virtual_time import run as run_virtually


def test_what_the_rules_say() -> None:
    """Nothing is kept unless they do."""
    assert hold_of(Route(("a/1",))) is None
    hold = hold_of(Route(("a/1",), hold=10, hold_seconds=0.5))
    assert hold == Hold(10, 0.5)
    assert [hold.is_over(count) for count in (0, 9, 10)] == [False, False, True]


@pytest.mark.parametrize("begins", [True, False])
def test_an_attempt_that_has_begun(begins: bool) -> None:
    """Is not given up, however long its beginning is kept back; and its time to the first token ends there."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        world = World({name: [good] for name in "ab"})
        world.router = Router(world.health, clock=loop.time, rng=Random(5))
        for _ in range(64):
            world.facts("a").learn(KIND, 0.4)

        async def ask(target: Target) -> str:
            await asyncio.sleep(0.3)
            if begins:
                world.attempts.begins()
            await asyncio.sleep(10.0 if target.label == "a" else 0.0)
            return target.label

        answer = await world.router.run(world.plan, ask, world.attempts, kind=lambda: KIND)
        assert answer == ("a" if begins else "b")
        if begins:
            assert world.facts("a").first_token(loop.time()) < 1.0

    run_virtually(main())

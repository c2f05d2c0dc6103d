"""Attempts are looked after when they are due, by one timer."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from polychat.routing.watchdogs import Watchdog, Watchdogs

from ..support import virtual_time


class Noted(Watchdog):
    def __init__(self, again: list[float]) -> None:
        self.again, self.looked = again, list[float]()

    def look(self) -> float | None:
        self.looked.append(round(asyncio.get_running_loop().time(), 6))
        return self.again.pop(0) if self.again else None


SECONDS = st.integers(1, 50).map(lambda number: number / 10)
EACH = st.tuples(SECONDS, SECONDS, st.lists(SECONDS, max_size=3), st.none() | SECONDS)


@given(st.lists(EACH, max_size=8))
def test_each_is_looked_after_on_time(plans: list[Any]) -> None:
    """At its moment and those it names, whatever others are under way; and never after its end."""

    async def run() -> None:
        loop, watchdogs = asyncio.get_running_loop(), Watchdogs()
        began = loop.time()
        expected: list[tuple[Noted, list[float]]] = []
        for after, seconds, again, end in plans:
            watchdog = Noted(list(again))
            loop.call_at(began + after, watchdogs.begin, watchdog, seconds)
            moments = [began + after + seconds]
            for pause in again:
                moments.append(moments[-1] + pause)
            over = began + after + (1000.0 if end is None else end)
            loop.call_at(over, watchdogs.end, watchdog)
            expected.append((watchdog, [round(moment, 6) for moment in moments if moment < over - 1e-9]))
        await asyncio.sleep(100)
        for watchdog, moments in expected:
            assert watchdog.looked[: len(moments)] == moments
            assert len(watchdog.looked) - len(moments) in (0, 1), "one that ends at the very moment may be looked at"

    virtual_time.run(run())


def test_two_loops_at_once() -> None:
    """A router that another loop uses too, of another thread, looks after both loops' attempts."""
    watchdogs, first, second = Watchdogs(), Noted([0.01]), Noted([0.01])

    async def inner() -> None:
        watchdogs.begin(second, 0.01)
        while len(second.looked) < 2:
            await asyncio.sleep(0)

    async def outer() -> None:
        watchdogs.begin(first, 0.01)
        await asyncio.to_thread(asyncio.run, inner())
        while len(first.looked) < 2:
            await asyncio.sleep(0)

    asyncio.run(outer())
    asyncio.run(inner())
    assert len(first.looked) == len(second.looked) == 2

"""Limits of requests at once, and who waits: on a virtual clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.errors import LimitReached, PolychatError, RateLimited, StatusError, TimedOut
from polychat.routing import Health, Target
from polychat.routing.attempts import Attempts
from polychat.routing.clocks import Deadline
from polychat.routing.fair_queue import HIGH, LOW, NORMAL, FairQueue, Waiter
from polychat.routing.router import Router
from polychat.routing.slots import AutoLimit, Slots, busy, is_too_much
from polychat.routing.traits import Traits

from ..support import virtual_time
from ..support.simulated_route import plan, target


class Request(Traits):
    def __init__(self, key: str = "", priority: int = NORMAL) -> None:
        self._key, self._priority = key, priority

    @property
    def key(self) -> str:
        return self._key

    @property
    def priority(self) -> int:
        return self._priority


class Load:
    """Requests to a route whose targets answer after ``takes`` seconds, on a virtual clock."""

    def __init__(self, labels: str = "a", **rules: Any) -> None:
        loop = asyncio.get_running_loop()
        self.plan = plan(*map(target, labels), **rules)
        self.router = Router(Health(), clock=loop.time, rng=Random(1))
        self.at_once: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.order: list[str] = []

    async def ask(self, name: str, takes: float, traits: Request, deadline: float | None = None) -> str:
        """``name`` if it is answered, and else the error's class."""
        attempts = Attempts()

        async def attempt(target: Target) -> None:
            self.order.append(name)
            self.at_once[target.label] += 1
            self.most[target.label] = max(self.most[target.label], self.at_once[target.label])

        began = self.router.clock()
        refused: PolychatError | None
        until = None if deadline is None else Deadline(began + deadline)
        try:
            await self.router.run(self.plan, attempt, attempts, traits=traits, deadline=until)
        except PolychatError as error:
            refused = error
        else:
            refused = None
        if refused is not None:
            assert refused.status == 429
            assert (refused.retry_after or 0) > 0
            assert deadline is None or self.router.clock() <= began + deadline + 1e-6
            return type(refused).__name__
        try:
            await asyncio.sleep(takes)
        finally:
            assert attempts.target is not None
            self.at_once[attempts.target.label] -= 1
            attempts.completed()
        return name

    def is_empty(self) -> bool:
        states = [self.router.health.target(each.name) for each in self.plan.targets]
        slots = [state.slots for state in states if state is not None and state.slots is not None]
        return all(each.in_use == len(each.queue) == 0 for each in slots)


REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 40).map(lambda number: number / 10),
        st.integers(1, 30).map(lambda number: number / 10),
        st.sampled_from("xyz"),
        st.sampled_from([HIGH, NORMAL, LOW]),
        st.none() | st.integers(1, 30).map(lambda number: number / 10),
        st.none() | st.integers(1, 30).map(lambda number: number / 10),
    ),
    max_size=25,
)


@given(st.integers(1, 3), st.integers(0, 10), st.sampled_from(["a", "ab"]), REQUESTS)
def test_every_queue_drains(limit: int, places: int, labels: str, requests: list[Any]) -> None:
    """No target has more at once than its limit, nobody waits past a deadline, and who leaves takes no slot along."""

    async def run() -> None:
        load = Load(labels, concurrency=limit, queue=places)

        async def one(number: int, after: float, takes: float, key: str, priority: int, leaves: Any, deadline: Any) -> None:
            await asyncio.sleep(after)
            task = asyncio.ensure_future(load.ask(str(number), takes, Request(key, priority), deadline))
            await asyncio.wait((task,), timeout=leaves)
            task.cancel()
            await asyncio.wait((task,))
            assert task.cancelled() or task.result() in (str(number), "Resting")

        await asyncio.gather(*(one(number, *request) for number, request in enumerate(requests)))
        assert load.is_empty()
        assert all(most <= limit for most in load.most.values())

    virtual_time.run(run())


def test_whose_turn_it_is() -> None:
    """The highest priority first; of one priority each key in its turn, however many requests one of them has."""

    async def run() -> None:
        load = Load(concurrency=1)
        asks = [("first", "x", NORMAL), *((f"x{place}", "x", NORMAL) for place in range(4))]
        asks += [("y0", "y", NORMAL), ("y1", "y", NORMAL), ("l0", "z", LOW), ("h0", "z", HIGH)]
        await asyncio.gather(*(load.ask(name, 1.0, Request(key, priority)) for name, key, priority in asks))
        assert load.order == ["first", "h0", "x0", "y0", "x1", "y1", "x2", "x3", "l0"]

    virtual_time.run(run())


def test_who_is_refused() -> None:
    """One for whom there is no place, at once; a fifth of the places is for the highest priority alone."""

    async def run() -> None:
        load = Load(concurrency=1, queue=5)
        tasks = [asyncio.ensure_future(load.ask(str(number), 1.0, Request())) for number in range(6)]
        tasks += [asyncio.ensure_future(load.ask(f"h{number}", 1.0, Request(priority=HIGH))) for number in range(2)]
        await asyncio.sleep(0.1)
        assert [task.result() for task in tasks if task.done()] == ["Resting", "Resting"]
        assert await asyncio.gather(*tasks) == ["0", "1", "2", "3", "4", "Resting", "h0", "Resting"]

    virtual_time.run(run())


@pytest.mark.parametrize("places", [1, 2, 4])
def test_a_short_queue_is_for_all(places: int) -> None:
    """A fifth of a few places is none: who asks for one place to wait in has one."""

    async def run() -> None:
        load = Load(concurrency=1, queue=places)
        tasks = await asyncio.gather(*(load.ask(str(number), 1.0, Request()) for number in range(places + 2)))
        assert tasks == [*map(str, range(places + 1)), "Resting"]

    virtual_time.run(run())


def test_large_requests_take_more_turns() -> None:
    """A key whose requests are long has as many tokens' turns as another, not as many requests."""
    queue = FairQueue()
    for _ in range(12):
        queue.push(Waiter("small", NORMAL, 10))
    for _ in range(2):
        queue.push(Waiter("large", NORMAL, 16_000))
    order = [waiter.key for waiter in iter(queue.pop, None)]
    first, second = (place for place, key in enumerate(order) if key == "large")
    assert (first, second - first - 1, len(order), len(queue)) == (5, 5, 14, 0)


def test_what_a_refused_client_gets() -> None:
    """A second where nothing is known; else what those before it take, of which the last ones count for a little."""
    slots = Slots()
    slots.set(2)
    assert busy("a/m", slots.estimate(NORMAL)).retry_after == 1.0
    slots.note(20.0)
    assert busy("a/m", slots.estimate(NORMAL)).retry_after == 10.0
    slots.queue.push(Waiter("", NORMAL))
    slots.queue.push(Waiter("", LOW))
    assert (slots.estimate(NORMAL), slots.estimate(LOW)) == (20.0, 30.0)
    slots.note(40.0)
    assert 20.0 < slots.seconds < 25.0


def test_a_client_that_would_wait_past_its_deadline_gets_an_error_at_once() -> None:
    """As soon as it is known what requests take."""

    async def run() -> None:
        load = Load(concurrency=1)
        await load.ask("0", 10.0, Request())
        waiting = [asyncio.ensure_future(load.ask(str(number), 10.0, Request())) for number in range(2)]
        await asyncio.sleep(0)
        began = load.router.clock()
        assert await load.ask("late", 1.0, Request(), 5.0) == "Resting"
        assert load.router.clock() == began
        await asyncio.gather(*waiting)

    virtual_time.run(run())


def test_another_target_with_a_slot() -> None:
    """Is asked before anybody waits, whatever the strategy; and who waits takes the slot that is free first."""

    async def run() -> None:
        load = Load("ab", concurrency=2)
        assert await asyncio.gather(*(load.ask(str(number), 1.0, Request()) for number in range(8))) == list("01234567")
        assert load.most == {"a": 2, "b": 2}
        assert load.is_empty()

    virtual_time.run(run())


def test_a_limit_that_finds_itself() -> None:
    """One more for each round trip in which it was reached, a tenth less for each in which it was too much, once."""
    limit = AutoLimit()
    for _ in range(16):
        limit.answered(16)
    assert limit.value == pytest.approx(17.0, abs=0.1)
    before = limit.value
    limit.answered(3)
    assert limit.value == before
    limit.refused(1.0, 2.0)
    limit.refused(1.5, 2.1)
    assert limit.value == pytest.approx(before * 0.9)
    limit.refused(2.5, 3.0)
    assert limit.value == pytest.approx(before * 0.81)
    assert is_too_much(RateLimited("slower", status=429))
    spent = LimitReached("all used up", status=429)
    spent.kind = "quota"
    assert not is_too_much(spent), "fewer at once would not help"
    assert not is_too_much(StatusError("no", status=500))
    assert is_too_much(TimedOut("first", 3.0))
    assert not is_too_much(TimedOut("idle", 3.0))


def test_a_target_that_sends_a_retry_time() -> None:
    """Is not waited for any more: those in its queue go to another one, or hear at once when it is back."""

    async def main() -> None:
        for labels, outcome in (("ab", "second"), ("a", "Resting")):
            load = Load(labels, concurrency=1, strategy="ordered")
            first = [
                asyncio.ensure_future(load.ask(f"first {label}", 100.0 if label == "a" else 1.0, Request())) for label in labels
            ]
            await asyncio.sleep(0)
            waiting = asyncio.ensure_future(load.ask("second", 1.0, Request()))
            await asyncio.sleep(0.1)
            facts = load.router.facts(load.plan, load.plan.targets[0])
            facts.note_retry_after(RateLimited("too many", status=429), 60.0, load.router.clock())
            began = load.router.clock()
            assert (await waiting).startswith(outcome)
            assert load.router.clock() - began <= 2.0
            for task in first:
                task.cancel()
            await asyncio.gather(*first, return_exceptions=True)

    virtual_time.run(main())

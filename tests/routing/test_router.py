"""The one owner of retries, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.config.strategy_names import STRATEGIES
from polychat.errors import (
    BadInput,
    ConnectionFailed,
    NotReady,
    PolychatError,
    RateLimited,
    Resting,
    StatusError,
    TimedOut,
    Unauthorized,
)
from polychat.routing import Health, Plan, Router, Target
from polychat.routing.attempts import Attempts

from ..support.scripted_router import Script, World, again, elsewhere, good, hopeless, later
from ..support.virtual_time import run as run_virtually


async def test_the_first_that_answers() -> None:
    """Is asked alone; who answers at once costs no sleep."""
    world = World({"a": [good], "b": [good]})
    assert await world.run() == "answer of a"
    assert (world.targets_asked, world.slept, world.attempts.count) == ("a", [], 1)
    assert world.attempts.target is world.plan.targets[0]


@pytest.mark.parametrize(
    "failure", [again, elsewhere, later(5), lambda: BadInput("no tools", field="tools"), lambda: NotReady("no key")]
)
async def test_the_next_target(failure: Script) -> None:
    """One failed: the next is asked at once, for it has nothing to rest from."""
    world = World({"a": [failure], "b": [good]})
    assert await world.run() == "answer of b"
    assert (world.targets_asked, world.slept, world.attempts.count) == ("ab", [], 2)
    assert world.attempts.target is world.plan.targets[1]


@pytest.mark.parametrize("failure", [hopeless, lambda: TimedOut("total", 5)])
async def test_what_no_target_would_answer(failure: Script) -> None:
    """Ends it: the others are not asked what they would refuse as well, nor when the time is over."""
    world = World({"a": [failure], "b": [good]})
    with pytest.raises(PolychatError):
        await world.run()
    assert world.targets_asked == "a"


async def test_hopeless_in_a_second_round() -> None:
    """Is as hopeless as in the first."""
    world = World({"a": [again, hopeless], "b": [later(3), good]}, attempts=9)
    with pytest.raises(StatusError) as caught:
        await world.run()
    assert caught.value.kind == "invalid_request"
    assert world.targets_asked == "aba"


async def test_the_same_target_again() -> None:
    """After a pause, where it may have recovered."""
    world = World({"a": [again, again, good]})
    assert await world.run() == "answer of a"
    assert world.targets_asked == "aaa"
    assert [0.0 <= world.slept[0] <= 0.25, 0.0 <= world.slept[1] <= 0.5] == [True, True]


async def test_not_the_same_target_again() -> None:
    """Where it would say the same."""
    world = World({"a": [elsewhere, good]}, attempts=5)
    with pytest.raises(Unauthorized):
        await world.run()
    assert (world.targets_asked, world.slept) == ("a", [])


async def test_attempts_are_counted_over_all_targets() -> None:
    """``attempts`` is how often is asked in all, and the failure that may pass is what is reported."""
    world = World({"a": [again], "b": [elsewhere], "c": [again]}, attempts=5)
    with pytest.raises(ConnectionFailed):
        await world.run()
    assert world.attempts.count == 5
    assert world.targets_asked[:3] == "abc"
    assert "b" not in world.targets_asked[3:]
    world = World({"a": [again], "b": [elsewhere], "c": [good]}, attempts=2)
    with pytest.raises(ConnectionFailed) as caught:
        await world.run()
    assert world.targets_asked == "ab"
    assert [(one.target, one.outcome) for one in caught.value.failures] == [("a/1", "connection"), ("b/1", "authentication")]


async def test_the_budget() -> None:
    """After its seconds no attempt begins, be it elsewhere or again, nor a pause that would end after them."""
    world = World({"a": [again], "b": [good]}, takes=61.0, budget=60.0, max_wait=60.0)
    with pytest.raises(ConnectionFailed):
        await world.run()
    assert world.targets_asked == "a"
    world = World({"a": [later(61), good]}, budget=60.0, max_wait=60.0)
    with pytest.raises(RateLimited):
        await world.run()
    assert (world.targets_asked, world.slept) == ("a", [])
    world = World({"a": [later(59), good]}, budget=60.0, max_wait=60.0)
    assert await world.run() == "answer of a"
    assert world.slept == [59]


async def test_who_may_be_asked_soonest() -> None:
    """Of several that sent ``retry-after`` the first that is due is asked."""
    world = World({"a": [later(9), good], "b": [later(4), good]}, attempts=4)
    assert await world.run() == "answer of b"
    assert world.asked[-1] == ("b", 4.0)


async def test_a_target_that_asked_to_wait() -> None:
    """Comes last for the next who asks, for as long as it asked."""
    world = World({"a": [later(30)], "b": [good]})
    await world.run()
    await world.run()
    assert world.targets_asked == "abb"
    world.now += 30
    await world.run()
    assert world.targets_asked == "abbab"


async def test_faults_of_the_request_are_not_the_targets() -> None:
    """A hundred bad requests, and the target is as well as before."""
    world = World({"a": [hopeless], "b": [good]})
    for _ in range(100):
        with pytest.raises(StatusError):
            await world.run()
    assert world.health.facts("route", "a/1").is_well(world.now)


async def test_turns_are_a_routes_own() -> None:
    """Round-robin goes on from request to request."""
    world = World({"a": [good], "b": [good], "c": [good]}, strategy="round-robin")
    for _ in range(6):
        await world.run()
    assert world.targets_asked == "abcabc"


async def test_the_fastest_is_found() -> None:
    """By what asks took, each tried once."""
    world = World({"a": [good], "b": [good]}, strategy="fastest", takes=2.0)
    await world.run()
    world.takes = 1.0
    for _ in range(3):
        await world.run()
    assert world.targets_asked == "abbb"


async def test_errors_of_ours_are_not_retried() -> None:
    """A defect is nobody's failure to answer: it goes up at once."""

    def defect() -> str:
        raise ZeroDivisionError

    world = World({"a": [defect], "b": [good]})
    with pytest.raises(ZeroDivisionError):
        await world.run()
    assert world.targets_asked == "a"


async def together(world: World, clients: int, ask: Callable[[Target], Any]) -> list[Any]:
    """What so many requests at the same moment get, in virtual time."""
    loop = asyncio.get_running_loop()
    world.router = Router(world.health, clock=loop.time, rng=Random(5))

    async def client() -> str:
        attempts = Attempts()
        try:
            return await world.router.run(world.plan, ask, attempts)
        finally:
            attempts.completed()

    return await asyncio.gather(*(client() for _ in range(clients)), return_exceptions=True)


def test_all_at_once_fail() -> None:
    """A hundred requests that fail at one moment go on to a reliable target at once: the budget of a minute is for that."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        world = World({"a": [again], "b": [good]})
        world.facts("b").answered(0.1, loop.time())

        async def ask(target: Target) -> str:
            await asyncio.sleep(0.1)
            if target.label == "a":
                raise again()
            return target.label

        begun = loop.time()
        assert await together(world, 100, ask) == ["b"] * 100
        assert loop.time() - begun < 0.3

    run_virtually(main())


def test_who_waits_for_the_budget() -> None:
    """Asks a target that named a moment meanwhile no earlier than that: others are asked, or the client gets the error."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        world = World({"a": [again], "b": [good], "c": [good]}, max_wait=30.0)
        until = loop.time() + 20.0
        early = 0
        for label in "bc":
            for _ in range(2):
                world.facts(label).failed(0.0, loop.time(), 15.0, Random(1))

        async def ask(target: Target) -> str:
            nonlocal early
            early += world.facts(target.label).retry_after_left(loop.time()) > 0
            await asyncio.sleep(0.1)
            if target.label == "a":
                raise again()
            if loop.time() < until:
                raise RateLimited("too many", status=429, retry_after=until - loop.time())
            return target.label

        answers = await together(world, 100, ask)
        assert early == 0
        assert all(isinstance(answer, PolychatError) or answer in "bc" for answer in answers)

    run_virtually(main())


async def test_no_attempt_follows_for_a_client_that_left() -> None:
    """A cancelled run ends at once, in an ask and in a pause."""
    arrived = asyncio.Event()

    async def forever(_: Any) -> None:
        arrived.set()
        await asyncio.Event().wait()

    world = World({"a": [again]})
    task = asyncio.create_task(world.router.run(world.plan, forever, world.attempts))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.attempts.count == 1
    arrived.clear()
    router = Router(Health(), sleep=forever)
    task = asyncio.create_task(router.run(world.plan, world._ask, Attempts()))  # type: ignore[arg-type]
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.targets_asked == "a"


FAILURES: list[Script] = [again, elsewhere, hopeless, later(0), later(2), later(40), good]


@given(
    st.lists(st.lists(st.sampled_from(FAILURES), min_size=1, max_size=4), min_size=1, max_size=4),
    st.integers(1, 8),
    st.floats(0, 100),
    st.floats(0, 20),
    st.sampled_from(STRATEGIES),
    st.integers(0, 1000),
)
def test_whatever_fails(
    scripts: list[list[Script]], attempts: int, budget: float, takes: float, strategy: Any, seed: int
) -> None:
    """Never more attempts than allowed, none past the budget, and nobody before the moment that it named."""
    world = World(
        {"abcd"[place]: script for place, script in enumerate(scripts)},
        takes=takes, seed=seed, attempts=attempts, budget=budget, strategy=strategy,
    )  # fmt: skip
    due: dict[str, float] = {}
    plain_ask = world._ask

    async def ask(target: Target) -> str:
        assert world.now >= due.get(target.label, 0.0)
        try:
            return await plain_ask(target)
        except PolychatError as error:
            due[target.label] = world.now + (error.retry_after or 0.0)
            raise

    async def run() -> None:
        with suppress(PolychatError):
            await world.router.run(world.plan, ask, world.attempts)

    asyncio.run(run())
    assert 1 <= world.attempts.count == len(world.asked) <= attempts
    assert all(moment <= budget + 1e-9 for _, moment in world.asked[1:])


async def test_all_rest() -> None:
    """Nobody is asked: the client gets an error at once, with the soonest time, and why."""
    world = World({"a": [later(60)], "b": [later(30)]})
    for _ in range(2):
        with pytest.raises(PolychatError) as caught:
            await world.run()
    assert world.targets_asked == "ab"
    assert isinstance(caught.value, Resting)
    assert caught.value.retry_after == 30.0
    assert world.slept == []


async def test_the_least_bad() -> None:
    """Where the rules say so the one is asked whose rest is over first; never one before the time that it named."""
    world = World({"a": [elsewhere], "b": [elsewhere, good]}, all_down="least-bad")
    with pytest.raises(Unauthorized):
        await world.run()
    world.facts("a").down(Unauthorized("no"), world.now, 15.0, Random(1))
    assert await world.run() == "answer of b"
    other_world = World({"a": [later(60)], "b": [later(30)]}, all_down="least-bad")
    for _ in range(2):
        with pytest.raises(PolychatError):
            await other_world.run()
    assert other_world.targets_asked == "ab"


async def test_another_route() -> None:
    """Is asked where the rules name one, and its answer counts as any other."""
    world = World({"a": [later(60)], "b": [good]}, attempts=2)
    a, b = world.plan.targets
    world.plan = Plan("route", (a,), world.plan.rules, otherwise=Plan("spare", (b,), world.plan.rules))
    with pytest.raises(RateLimited):
        await world.run()
    assert await world.run() == "answer of b"
    assert world.attempts.target is b


def test_a_request_that_waits_for_open_breakers() -> None:
    """Looks within a second whether one may be asked again, however long the breakers would have rested."""
    world = World({"a": [good], "b": [good]})

    async def main() -> float:
        begun = asyncio.get_running_loop().time()
        router = Router(world.health, clock=asyncio.get_running_loop().time, rng=Random(5))
        for facts in (world.facts("a"), world.facts("b")):
            for _ in range(5):
                facts.failed(begun, begun, 15.0, Random(1), retry_after=8.0)
            for _ in range(500):
                facts.let_through(begun, 0.0)  # many others wanted to ask it in this second
            assert facts.breaker_rest(begun) == 8.0

        async def ask(target: Target) -> str:
            return target.label

        await router.run(world.plan, ask, Attempts())
        return asyncio.get_running_loop().time() - begun

    assert 0.5 <= run_virtually(main()) <= 2.0


async def test_a_target_that_fails_gets_only_its_probes() -> None:
    """Its breaker opens after five failures; from then on it is asked once after each rest, and by all when it is well."""
    world = World({"a": [again], "b": [good]})
    for _ in range(600):
        await world.run()
        world.attempts.completed()
        world.now += 0.1
    assert 5 < world.targets_asked.count("a") < 25
    world._scripts["a"] = [good]
    world.now += 15.0
    count = len(world.asked)
    for _ in range(50):
        await world.run()
        world.attempts.completed()
    assert world.targets_asked[count:] == "a" * 50


async def test_attempts_by_default() -> None:
    """Are as many as the route has targets, and three where it has fewer."""
    world = World({name: [again] for name in "abcdef"})
    with pytest.raises(ConnectionFailed):
        await world.run()
    assert world.targets_asked == "abcdef"
    world = World({"a": [again]})
    with pytest.raises(ConnectionFailed):
        await world.run()
    assert world.targets_asked == "aaa"


def test_all_sick() -> None:
    """With every target sick backends get no more than 1.1 times what clients send, and are found within two seconds of their
    recovery: clients that wait are answered then."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        world = World({name: [good] for name in "abcde"})
        world.router = Router(world.health, clock=loop.time, rng=Random(5))
        begun, request_times, answered = loop.time(), list[float](), list[float]()

        async def ask(target: Target) -> str:
            request_times.append(loop.time())
            await asyncio.sleep(0.05)
            if loop.time() - begun < 30.0 or target.label != "d":
                raise ConnectionFailed("no connection")
            return "answer"

        async def client() -> None:
            attempts = Attempts()
            with suppress(PolychatError):
                await world.router.run(world.plan, ask, attempts)
                answered.append(loop.time() - begun)
            attempts.completed()

        clients = []
        for _ in range(50 * 40):
            clients.append(asyncio.ensure_future(client()))
            await asyncio.sleep(0.02)
        await asyncio.gather(*clients)
        assert len(request_times) <= 1.1 * len(clients)
        assert 30.0 <= answered[0] <= 32.0
        assert all(facts.in_flight == 0 for facts in world.health.every())

    run_virtually(main())


async def test_a_reply_that_has_begun_goes_on() -> None:
    """A moment that its target names counts for requests that are not sent yet: a begun reply may take another step."""
    world = World({"a": [good]})
    await world.run()
    world.facts("a").note_retry_after(RateLimited("later", status=429), 60.0, world.now)
    world.attempts.check()
    world.attempts.end()
    world.attempts.begin(world.router, world.plan.rules, world.plan.targets[0], world.facts("a"), world.now)
    world.attempts.answered = False
    with pytest.raises(Resting):
        world.attempts.check()
    world.attempts.begins()
    world.attempts.check()

"""The table "What happens when" of the page on routing, row by row."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from polychat.errors import ConnectionFailed, NotReady, PolychatError, StatusError
from polychat.routing.attempts import Attempts

from ..support.scripted_router import World, again, elsewhere, good, hopeless, later
from . import test_clocks, test_router, test_waiting

PAGE = Path(__file__).parent.parent.parent / "docs" / "routing.md"
ROWS = re.findall(
    r"^\| (.+?) \| .+ \|$", PAGE.read_text(encoding="utf-8").partition("\n## What happens when\n")[2], re.MULTILINE
)[1:]


def too_long() -> PolychatError:
    error = StatusError("the prompt is too long", status=400)
    error.kind = "context_length"
    return error


def not_set_up() -> PolychatError:
    return NotReady("no key for A: set A_KEY")


async def targets_asked(world: World, times: int = 1) -> str:
    """The targets that are asked for so many requests, each over before the next."""
    count = len(world.asked)
    for _ in range(times):
        with suppress(PolychatError):
            await world.run()
        world.attempts.completed()
    return world.targets_asked[count:]


async def fails() -> None:
    assert await targets_asked(World({"a": [again], "b": [good], "c": [good]})) == "ab"


async def fails_twice() -> None:
    world = World({"a": [again], "b": [good], "c": [good]})
    assert await targets_asked(world, 4) == "ababbb"
    for rest in (2.0, 4.0):
        world.now += rest
        assert await targets_asked(world, 3) == "abbb"


async def fails_in_a_row() -> None:
    world = World({"a": [again] * 5, "b": [good], "c": [good]})
    for _ in range(5):
        world.router.note(world.facts("a"), world.plan.rules, again(), world.now)
    for _ in range(4):
        world.now += 15.0
        assert await targets_asked(world, 4) == "abbbb"


async def is_well_again() -> None:
    world = World({"a": [good], "b": [good], "c": [good]})
    for _ in range(5):
        world.router.note(world.facts("a"), world.plan.rules, again(), world.now)
    world.now += 15.0
    assert world.facts("a").breaker(world.now) == "half-open"
    assert await targets_asked(world, 3) == "aaa"


async def cuts_off() -> None:
    world = World({"a": [good], "b": [good], "c": [good]})
    for kept_back in (None, 0.8):
        await world.run()
        hold = world.attempts.hold()
        assert (None if hold is None else round(hold.seconds, 6)) == kept_back, "the second one tried it, and was kept back"
        world.now += 0.4
        world.attempts.end(ConnectionFailed("the connection broke"))
    assert await targets_asked(world, 3) == "bbb"
    assert [world.facts(name).hold(world.now) is None for name in "bc"] == [False, False]
    world.now += 2.0
    assert await targets_asked(world, 3) == "aaa"


async def says_when() -> None:
    world = World({"a": [later(60)], "b": [good], "c": [good]})
    assert await targets_asked(world, 3) == "abbb"
    assert world.health.facts("another", "a/1").rest_of(world.now) == 60.0
    world.now += 60.0
    assert await targets_asked(world) == "ab"


async def none_remain() -> None:
    world = World({"a": [good], "b": [good], "c": [good]})
    headers = [(b"x-ratelimit-remaining-requests", b"0"), (b"x-ratelimit-reset-requests", b"20s")]
    world.facts("a").note_limits(headers, world.now, 0.0)
    assert await targets_asked(world) == "b"
    world.now += 20.0
    assert await targets_asked(world) == "a"


async def refuses_the_key() -> None:
    world = World({"a": [elsewhere], "b": [good], "c": [good]})
    assert await targets_asked(world, 3) == "abbb"
    assert 15.0 <= world.facts("a").rest_of(world.now) <= 30.0
    world.now += 30.0
    assert await targets_asked(world) == "ab"
    assert 30.0 <= world.facts("a").rest_of(world.now) <= 60.0


async def is_not_set_up() -> None:
    world = World({"a": [not_set_up, not_set_up, not_set_up, good], "b": [good], "c": [good]})
    assert await targets_asked(world, 4) == "ababbb"
    assert (world.facts("a").missing, world.facts("a").breaker(world.now)) == ("no key for A: set A_KEY", "closed")
    world.now += 2.0
    assert await targets_asked(world, 3) == "abbb"
    world.now += 4.0
    assert await targets_asked(world, 3) == "aaa"
    assert world.facts("a").missing == ""


async def is_wrong() -> None:
    world = World({"a": [hopeless], "b": [good], "c": [good]})
    with pytest.raises(StatusError):
        await world.run()
    assert world.targets_asked == "a"


async def is_too_long() -> None:
    assert await targets_asked(World({"a": [too_long], "b": [good], "c": [good]}), 2) == "abab"


async def never_answers() -> None:
    test_clocks.test_while_others_are_left()


async def waits() -> None:
    test_waiting.test_one_that_hangs()


async def wait_long() -> None:
    test_waiting.test_a_varied_one_that_hangs()
    test_waiting.test_a_silent_one_while_all_others_fail()


async def all_fail() -> None:
    world = World({"a": [again], "b": [again], "c": [again]})
    assert await targets_asked(world) == "abc"
    assert world.slept == []


async def all_fail_for_long() -> None:
    test_router.test_all_sick()


async def many_fail() -> None:
    test_router.test_all_at_once_fail()


async def all_said_when() -> None:
    world = World({"a": [later(60)], "b": [later(30)], "c": [later(90)]})
    await targets_asked(world)
    with pytest.raises(PolychatError) as caught:
        await world.run()
    assert (world.targets_asked, caught.value.retry_after) == ("abc", 30.0)


async def client_waits() -> None:
    test_clocks.test_a_client_hears_in_time(64)


async def client_retries() -> None:
    world = World({"a": [again], "b": [again], "c": [good]}, attempts=3)
    with pytest.raises(ConnectionFailed):
        await world.router.run(world.plan, world._ask, Attempts(), repeated=1)
    assert world.targets_asked == "ab"


HAPPENS: dict[str, Callable[[], Awaitable[None]]] = {
    "A answers 500, or closes the connection": fails,
    "A fails again": fails_twice,
    "A fails five times in a row": fails_in_a_row,
    "A is healthy again": is_well_again,
    "A cuts off its replies after they began": cuts_off,
    "A says `retry-after: 60`": says_when,
    "A reports that its request limit is used up": none_remain,
    "A refuses the key": refuses_the_key,
    "a key, or whatever else A needs, is missing here": is_not_set_up,
    "A finds the request wrong": is_wrong,
    "A finds the prompt too long": is_too_long,
    "A never answers": never_answers,
    "three requests wait for A for three times as long as usual (if A is new, for 1.5 s)": waits,
    "five requests wait for A for longer than 95 % of its replies take to begin, and for 1.5 s": wait_long,
    "all fail": all_fail,
    "all fail for long": all_fail_for_long,
    "many requests fail at A at the same moment": many_fail,
    "all sent `retry-after`": all_said_when,
    "the client sends a timeout of 10 s": client_waits,
    "the client retries": client_retries,
}


def test_every_row_is_run() -> None:
    """The page has the rows that are run here, in this order."""
    assert list(HAPPENS) == ROWS


@pytest.mark.parametrize("when", HAPPENS)
def test_what_happens(when: str) -> None:
    """Each row of the table is what the router does."""
    coroutine = HAPPENS[when]()
    with suppress(StopIteration):  # nothing in it waits for a loop of its own
        coroutine.__await__().send(None)
        pytest.fail("it waits")

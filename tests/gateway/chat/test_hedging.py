"""A request that is asked a second time while its first target is slow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polychat.config.settings import Route
from polychat.gateway.paths import DIALECTS

from ...support.hedging import begins_at_once
from ...support.running_gateway import DONE, END, FIRST, Stage, asking, configured, gateway, good, row, text, until

_END = (END, DONE)


def hedged(first: Any, second: Any, **more: Any) -> Any:
    providers = {"house": row("openai-chat", first.url), "other": row("openai-chat", second.url)}
    route = Route(("house/small", "other/small"), strategy="ordered", **{"hedge": True, **more})
    return configured(providers, routes={"fast": route})


def known(here: Any) -> None:
    """A second target is asked when the first one is slow."""
    begins_at_once(here.app.runtime.router, "fast", "house/small")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_second_begins_first(serve: Any, dialect: str, stream: bool) -> None:
    """It answers, whole and alone; the first one's connection is closed, and both are recorded."""
    stage = Stage(None)
    first, second = await serve(stage), await serve(good)
    async with gateway(hedged(first, second)) as here:
        known(here)
        answer = await here.ask(*asking(dialect, "fast", stream=stream))
        (record,) = await here.app.recorded()
        await until(stage.left)
        assert here.app.runtime.router.health.facts("fast", "house/small").in_flight == 0
    assert answer.status == 200
    assert b"lo" in answer.body
    assert (answer.headers["x-polychat-provider"], answer.headers["x-polychat-attempts"]) == ("other", "2")
    assert [(failure.target, failure.outcome) for failure in record.failures] == [("house/small", "hedged")]
    assert (record.verdict, record.answered) == ("complete", "other/small")


async def test_the_first_begins_first(serve: Any) -> None:
    """It answers, and the second one's connection is closed."""
    stage, other = Stage(None, rest=[FIRST, text("Hel"), *_END]), Stage(None)
    first, second = await serve(stage), await serve(other)
    async with gateway(hedged(first, second)) as here:
        known(here)
        pending = asyncio.ensure_future(here.ask(*asking("openai-chat", "fast", stream=True)))
        await until(other.asked)
        stage.go.set()
        answer = await pending
        (record,) = await here.app.recorded()
        await until(other.left)
    assert b"Hel" in answer.body
    assert (answer.headers["x-polychat-provider"], record.verdict, record.attempts) == ("house", "complete", 2)
    assert [(failure.target, failure.outcome) for failure in record.failures] == [("other/small", "hedged")]


@pytest.mark.parametrize(
    ("hedge", "more"),
    [(False, {}), (True, {"tools": [{"type": "web_search_20250305", "name": "web_search"}]})],
)
async def test_who_is_asked_once(serve: Any, hedge: bool, more: dict[str, Any]) -> None:
    """By default everybody; and a request whose tools a vendor runs, which would run twice."""
    stage = Stage(None, rest=[FIRST, text("Hel"), *_END])
    first, second = await serve(stage), await serve(good)
    async with gateway(hedged(first, second, hedge=hedge)) as here:
        known(here)
        pending = asyncio.ensure_future(here.ask(*asking("anthropic", "fast", stream=True, **more)))
        await until(stage.asked)
        for _ in range(100):
            await asyncio.sleep(0)
        stage.go.set()
        answer = await pending
    assert b"Hel" in answer.body
    assert second.seen == []


async def test_a_client_that_leaves(serve: Any) -> None:
    """Ends both attempts."""
    stages = [Stage(None), Stage(None)]
    first, second = [await serve(stage) for stage in stages]
    async with gateway(hedged(first, second)) as here:
        known(here)
        caller = await here.caller()
        caller.ask(*asking("openai-chat", "fast", stream=True))
        for stage in stages:
            await until(stage.asked)
        caller.leave()
        for stage in stages:
            await until(stage.left)
        await here.app.recorded()


@pytest.mark.parametrize("leaves", [False, True], ids=["reads", "leaves"])
async def test_both_begin_at_once(serve: Any, leaves: bool) -> None:
    """The one that is not read is over too: neither target seems to have a request, nor keeps a slot, for ever."""
    stages = [Stage(None, rest=[FIRST, text("Hel"), *_END]) for _ in range(2)]
    first, second = [await serve(stage) for stage in stages]
    async with gateway(hedged(first, second, concurrency=8)) as here:
        known(here)
        caller = await here.caller()
        caller.ask(*asking("openai-chat", "fast", stream=True))
        for stage in stages:
            await until(stage.asked)
        for stage in stages:
            stage.go.set()
        if leaves:
            caller.leave()
        await here.app.recorded()
        health = here.app.runtime.router.health
        facts = [health.facts("fast", target) for target in ("house/small", "other/small")]
        assert [(each.in_flight, each.shared.slots_of(8).in_use) for each in facts] == [(0, 0), (0, 0)]

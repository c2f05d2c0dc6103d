"""Requests that are sent to a route's shadow too, whose answers nobody gets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from polychat.config.settings import Price, Route
from polychat.gateway.paths import DIALECTS
from polychat.routing.shadow import MOST

from ...support.patience import PATIENCE
from ...support.running_gateway import Stage, asking, configured, fault, gateway, good, row, until


def mirrored(house: Any, shade: Any, percent: float = 100.0, **more: Any) -> Any:
    providers = {"house": row("openai-chat", house.url), "shade": row("openai-chat", shade.url)}
    route = Route(("house/small",), shadow="shade/small", shadow_percent=percent, **more)
    return configured(providers, routes={"fast": route})


async def over(here: Any, count: int) -> list[Any]:
    """The numbers of mirrored requests, when there are so many."""
    counts = here.app.metrics._shadows
    async with asyncio.timeout(PATIENCE):
        while sum(numbers.requests for numbers in counts.values()) < 2 * count:
            await asyncio.sleep(0)
    return sorted((labels.target, labels.role, labels.verdict, numbers.requests) for labels, numbers in counts.items())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_both_are_compared(serve: Any, dialect: str, stream: bool) -> None:
    """The client gets the answer of the route alone; the verdicts, times and costs of both are in the metrics."""
    house, shade = await serve(good), await serve(good)
    async with gateway(mirrored(house, shade)) as here:
        answer = await here.ask(*asking(dialect, "fast", stream=stream))
        (record,) = await here.app.recorded()
        counts = await over(here, 1)
    assert answer.status == 200
    assert answer.headers["x-polychat-provider"] == "house"
    assert (record.attempts, record.verdict) == (1, "complete")
    assert counts == [("house/small", "answer", "complete", 1), ("shade/small", "shadow", "complete", 1)]
    assert len(house.seen) == len(shade.seen) == 1


async def test_one_that_fails(serve: Any) -> None:
    """Is counted, and the client knows nothing of it."""
    house, shade = await serve(good), await serve(fault(500))
    async with gateway(mirrored(house, shade)) as here:
        answer = await here.ask(*asking("openai-chat", "fast"))
        counts = await over(here, 1)
        (record,) = here.records
    assert (answer.status, record.failures) == (200, [])
    assert counts == [("house/small", "answer", "complete", 1), ("shade/small", "shadow", "failed", 1)]
    assert len(shade.seen) == 1, "it is asked once"


async def test_one_that_hangs(serve: Any) -> None:
    """Delays no answer and no later one; there are so many of them and no more, and they end with the gateway."""
    stage = Stage(None)
    house, shade = await serve(good), await serve(stage)
    async with gateway(mirrored(house, shade)) as here:
        for _ in range(MOST + 5):
            assert (await here.ask(*asking("openai-chat", "fast", stream=True))).status == 200
        await until(stage.asked)
        assert len(here.app.shadows) == MOST
    assert len(here.app.shadows) == 0


@pytest.mark.parametrize(
    ("percent", "dialect", "more"),
    [
        (0.0, "openai-chat", {}),
        (100.0, "anthropic", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    ],
)
async def test_who_is_not_mirrored(serve: Any, percent: float, dialect: str, more: dict[str, Any]) -> None:
    """Who is not among so many percent, and whose tools a vendor runs."""
    house, shade = await serve(good), await serve(good)
    async with gateway(mirrored(house, shade, percent)) as here:
        assert (await here.ask(*asking(dialect, "fast", **more))).status == 200
        await here.app.recorded()
        assert len(here.app.shadows) == 0
    assert shade.seen == []


async def test_metrics(serve: Any) -> None:
    """Each side by target, role and verdict; nothing of it where nothing is mirrored."""
    house, shade = await serve(good), await serve(good)
    config = replace(mirrored(house, shade), prices={"shade/small": Price(prompt=10.0, completion=10.0)})
    async with gateway(config) as here:
        before = (await here.ask("/metrics")).body.decode()
        await here.ask(*asking("openai-chat", "fast"))
        await over(here, 1)
        after = (await here.ask("/metrics")).body.decode()
    assert "polychat_mirrored" not in before
    line = 'polychat_mirrored_requests_total{role="shadow",route="fast",target="shade/small",verdict="complete"} 1.0'
    assert line in after
    assert 'polychat_mirrored_cost_usd_total{role="shadow",route="fast",target="shade/small"} 5' in after
    assert 'polychat_mirrored_seconds_total{role="answer",route="fast",target="house/small"}' in after

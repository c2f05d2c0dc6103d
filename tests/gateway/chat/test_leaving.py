"""A client that leaves: its upstream request ends at once, wherever it stood, and nothing stays behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount

from polychat.config.settings import Direct
from polychat.http.pool.pool import pool
from polychat.wire.contract import names

from ...support.running_gateway import (
    DONE,
    END,
    FIRST,
    Caller,
    Running,
    Stage,
    asking,
    completion,
    configured,
    event,
    fault,
    gateway,
    good,
    row,
    streaming,
    text,
    until,
)


def mounted(app: Any) -> Any:
    return Starlette(routes=[Mount("/gate", app)])


def below_middleware(app: Any) -> Any:
    async def dispatch(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    return Starlette(routes=[Mount("/gate", app)], middleware=[Middleware(BaseHTTPMiddleware, dispatch=dispatch)])


def elsewhere(app: Any) -> Any:
    """On a server that is not ours: all it has of the protocol is ASGI's messages."""

    async def whole(scope: Any, receive: Any, send: Any) -> None:
        async def received() -> Any:
            return await receive()

        await app(scope, received, send)

    return whole


SERVED: dict[str, dict[str, Any]] = {
    "ours": {},
    "elsewhere": {"under": elsewhere},
    "mounted": {"under": mounted},
    "middleware": {"under": below_middleware},
}
CASES: dict[str, tuple[Stage | Any, bool]] = {
    "flowing": (lambda: Stage(FIRST, text("Hel"), flowing=True), True),
    "silent": (lambda: Stage(FIRST, text("Hel")), True),
    "only a head": (Stage, True),
    "not begun": (lambda: Stage(None), True),
    "plain": (lambda: Stage(None), False),
}


async def caller_of(here: Running, dialect: str, *, stream: bool, prefix: str = "", model: str = "house/small") -> Caller:
    path, body = asking(dialect, model, stream=stream)
    caller = await here.caller()
    caller.ask(prefix + path, body)
    return caller


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("served", SERVED)
@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
async def test_the_upstream_is_left_too(serve: Any, dialect: str, served: str, case: str) -> None:
    """While a stream flows, while it is silent, before it begins, and in a plain request; passed through and translated."""
    stage, stream = CASES[case][0](), CASES[case][1]
    backend = await serve(stage)
    prefix = "/gate" if served in ("mounted", "middleware") else ""
    async with gateway(configured({"house": row("openai-chat", backend.url)}), **SERVED[served]) as here:
        caller = await caller_of(here, dialect, stream=stream, prefix=prefix)
        await until(stage.asked)
        if case in ("flowing", "silent"):
            await caller.head()
            await caller.until(b"Hel")
        caller.leave()
        await until(stage.left)
        (record,) = await here.app.recorded()
    assert record.verdict == "cancelled"
    assert (record.provider, record.attempts) == ("house", 1)
    assert backend.connections == 1


async def test_nobody_else_is_asked(serve: Any) -> None:
    """For a client that has left: no next target, no second attempt."""
    stage = Stage(None)
    first, second = await serve(stage), await serve(good)
    providers = {"house": row("openai-chat", first.url), "other": row("openai-chat", second.url)}
    async with gateway(configured(providers, routes={"fast": ("house/small", "other/small")})) as here:
        caller = await caller_of(here, "openai-chat", stream=True, model="fast")
        await until(stage.asked)
        caller.leave()
        await until(stage.left)
        await here.app.recorded()
    assert second.seen == []


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
async def test_what_it_tells_of_the_target(serve: Any, dialect: str) -> None:
    """Nothing. A target whose replies are cut off is well again by a reply that ends, not by one that its client left."""
    stage = Stage(FIRST, text("Hel"))

    async def answer(seen: Any, say: Any) -> None:
        await (good if stage.left.is_set() else stage)(seen, say)

    backend = await serve(answer)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        facts = here.app.runtime.router.health.facts("", "house/small")
        facts.cut(0.0, 0.0, 0.1)
        caller = await caller_of(here, dialect, stream=True)
        await caller.head()
        await caller.until(b"Hel")
        caller.leave()
        await until(stage.left)
        await here.app.recorded()
        assert (facts.probation.is_on, facts.in_flight) == (True, 0)
        await caller_of(here, dialect, stream=True)
        await here.app.recorded(2)
        assert not facts.probation.is_on


async def test_amid_a_pause(serve: Any) -> None:
    """A client that leaves while the router waits to ask again is not waited for."""
    refused = asyncio.Event()

    async def busy(seen: Any, say: Any) -> None:
        await fault(429, "rate_limit_error", retry_after="30")(seen, say)
        refused.set()

    backend = await serve(busy)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, direct=Direct(max_wait=60.0))) as here:
        caller = await caller_of(here, "openai-chat", stream=False)
        await until(refused)
        caller.leave()
        (record,) = await here.app.recorded()
    assert record.verdict == "cancelled"
    assert len(backend.seen) == 1


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
async def test_drained(serve: Any, dialect: str) -> None:
    """``drain:SECONDS``: what was asked is read to its end, for the record, though nobody hears it."""
    stage = Stage(FIRST, text("Hel"), rest=[text("lo"), END, DONE])
    backend = await serve(stage)
    config = configured({"house": row("openai-chat", backend.url)}, on_disconnect="drain:60")
    async with gateway(config) as here:
        caller = await caller_of(here, dialect, stream=True)
        await caller.head()
        await caller.until(b"Hel")
        visit = _leaving(caller)
        await visit
        stage.go.set()
        (record,) = await here.app.recorded()
        assert not stage.left.is_set()
        assert _timers_of_tasks() == []
    assert (record.verdict, record.reason) == ("complete", "stop")


@pytest.mark.parametrize("case", ["silent", "not begun", "plain"])
async def test_drained_no_longer_than_that(serve: Any, case: str) -> None:
    """When the seconds are over the upstream is left."""
    stage, stream = CASES[case][0](), CASES[case][1]
    backend = await serve(stage)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, on_disconnect="drain:0.01")) as here:
        caller = await caller_of(here, "openai-chat", stream=stream)
        await until(stage.asked)
        caller.leave()
        await until(stage.left)
        (record,) = await here.app.recorded()
    assert record.verdict == "cancelled"


async def _leaving(caller: Caller) -> None:
    """The client has left, and the gateway has had turns of the loop to see it."""
    caller.leave()
    for _ in range(20):
        await asyncio.sleep(0)


def _timers_of_tasks() -> list[str]:
    """What the loop still has to do for a request that is over."""
    loop: Any = asyncio.get_running_loop()
    return [repr(timer) for timer in loop._scheduled if not timer.cancelled() and "Task" in repr(timer)]


@pytest.mark.parametrize("under", [None, elsewhere], ids=["ours", "elsewhere"])
async def test_nothing_is_left_behind(serve: Any, under: Any) -> None:
    """After requests of every kind, answered and abandoned, there is no task, no connection and no timer more than before."""
    stages: list[Stage] = []

    async def backend(seen: Any, say: Any) -> None:
        model = seen.json["model"]
        if model == "small":
            await good(seen, say)
        elif model == "whole":
            await say.whole(completion("Hello"))
        elif model == "failing":
            await streaming(FIRST + event({"error": {"message": "no"}}), text("more"))(seen, say)
        elif model == "broken":
            await say.head(content_type="text/event-stream")
            await say.chunk(FIRST + text("Hel"))
            await say.cut()
        elif model == "refused":
            await fault(400, "invalid_request_error")(seen, say)
        else:
            stage = Stage(FIRST, text("Hel")) if model == "silent" else Stage(None)
            stages.append(stage)
            await stage(seen, say)

    house = await serve(backend)
    config = configured({"house": row("openai-chat", house.url)}, heartbeat=0.005)
    async with gateway(config, under=under) as here:
        before = asyncio.all_tasks()
        count = 0
        for dialect in names():
            for model in ("small", "whole", "failing", "broken", "refused", "silent", "unbegun", "nobody/x"):
                for stream in (True, False):
                    target = model if "/" in model else f"house/{model}"
                    if model in ("silent", "broken", "failing") and not stream:
                        continue
                    caller = await caller_of(here, dialect, stream=stream, model=target)
                    count += 1
                    if model == "silent":
                        await caller.head()
                        await caller.until(b"Hel")
                    elif model == "unbegun":
                        while not stages or not stages[-1].asked.is_set() or stages[-1].left.is_set():
                            await asyncio.sleep(0)
                    else:
                        answer = await caller.whole()
                        assert answer.status in (200, 400, 404, 502)
                    caller.leave()
                    if model in ("silent", "unbegun"):
                        await until(stages[-1].left)
        await here.app.recorded(count)
        async with asyncio.timeout(60):
            while here.state.tasks or here.state.connections or len(asyncio.all_tasks() - before) > house.open:
                await asyncio.sleep(0)
        assert here.app.running == 0
        http_pool = pool()
        assert all(connection in http_pool._origins[way].idle for connection, way in http_pool._origin_of.items()), (
            "in use by nobody"
        )
        assert _timers_of_tasks() == []
        assert not any("Heartbeat" in timer or "_ring" in timer for timer in map(repr, asyncio.get_running_loop()._scheduled))  # type: ignore[attr-defined]
    verdicts = [record.verdict for record in here.records]
    assert verdicts.count("cancelled") == 15


@pytest.mark.parametrize("server", [None, elsewhere], ids=["ours", "elsewhere"])
async def test_the_caller_of_the_gateway_is_not_cancelled(serve: Any, server: Any) -> None:
    """What it is a part of goes on behind it, with its own timeouts as they were."""
    behind: list[int] = []

    def part(app: Any) -> Any:
        async def whole(scope: Any, receive: Any, send: Any) -> None:
            await (server(app) if server else app)(scope, receive, send)
            task = asyncio.current_task()
            assert task is not None
            behind.append(task.cancelling())

        return whole

    stage = Stage(None)
    backend = await serve(stage)
    async with gateway(configured({"house": row("openai-chat", backend.url)}), under=part) as here:
        caller = await caller_of(here, "openai-chat", stream=True)
        await until(stage.asked)
        caller.leave()
        await until(stage.left)
        await here.app.recorded()
    assert behind == [0]

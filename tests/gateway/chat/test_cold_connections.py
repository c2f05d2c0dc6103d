"""Chats that find no connection to their backend: one is opened for them, and they need no task for that."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from polychat.errors import LimitReached, TimedOut
from polychat.gateway.app import Gateway
from polychat.gateway.chat.fast_path import FastChat
from polychat.http.pool import tunnel
from polychat.http.pool.pool import pool

from ...support.chat_replies import REPLIES
from ...support.running_gateway import (
    DONE,
    END,
    FIRST,
    Caller,
    Running,
    asking,
    configured,
    gateway,
    good,
    row,
    streaming,
    text,
)
from ...support.scripted_server import Handler, Say, Seen

PATH, HELLO = asking("openai-chat")
STREAM = {**HELLO, "stream": True}
OWN = re.compile(rb"req_[0-9a-f]+|chatcmpl-\w+|\d{10}|127.0.0.1:\d+")


class Door:
    """Stands between the gateway and every new connection to a backend."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.knocked, self.open = asyncio.Event(), asyncio.Event()
        self._connect = tunnel.connect
        monkeypatch.setattr(tunnel, "connect", self._start)

    async def _start(self, *arguments: Any, **options: Any) -> Any:
        self.knocked.set()
        await self.open.wait()
        return await self._connect(*arguments, **options)


@asynccontextmanager
async def at_the_door(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[tuple[Running, Caller, Door]]:
    """A gateway with one request, whose connection to the backend is being opened."""
    door = Door(monkeypatch)
    async with gateway(configured({"house": row("openai-chat", url)})) as here:
        caller = await here.caller()
        caller.ask(PATH, HELLO)
        await door.knocked.wait()
        yield here, caller, door


async def seen_of(url: str, body: dict[str, Any]) -> Any:
    """All that can be seen of a first request."""
    async with gateway(configured({"house": row("openai-chat", url)})) as here:
        caller = await here.caller()
        caller.ask(PATH, body)
        answer = await caller.whole()
        (record,) = await here.app.recorded()
        health = [(each.name, each.in_flight, each.waiting.count) for each in here.app.health.every()]
        failures = [(failure.target, failure.outcome, failure.reason) for failure in record.failures]
        facts = record.status, record.verdict, record.attempts, record.passthrough, record.usage, record.error, failures
        held = here.app.running, here.app.bodies.held
        return OWN.sub(b"OWN", repr((answer.status, answer.body, facts, health, held)).encode())


async def test_a_first_request_is_answered_as_by_a_task(serve: Any) -> None:
    """Whole and streamed: of a backend that answers, refuses, breaks off, or lets nobody connect."""
    replies: dict[str, Handler] = {name: REPLIES[name] for name in ("hello", "refused", "lost")}
    replies["streams"] = streaming(FIRST + text("Hello") + END + DONE, apart=True)
    urls = {name: (await serve(reply)).url for name, reply in replies.items()} | {"nobody": "http://127.0.0.1:1"}
    for name, url in urls.items():
        for body in (HELLO, STREAM):
            fast = await seen_of(url, body)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Gateway, "fast_path", lambda self, scope: None)
                assert await seen_of(url, body) == fast, name


def run_of(here: Running) -> FastChat:
    """The only request."""
    (connection,) = here.state.connections
    cycle = connection._answering
    assert cycle is not None
    assert isinstance(cycle.fast_run, FastChat)
    return cycle.fast_run


async def continues(here: Running, door: Door) -> None:
    run_of(here).continue_in_task()
    await asyncio.sleep(0)
    assert len(here.state.tasks) == 1
    door.open.set()


async def opens(here: Running, door: Door) -> None:
    assert not here.state.tasks
    door.open.set()


async def is_late(here: Running, door: Door) -> None:
    run_of(here)._connection.timer._late(TimedOut("connect", 30.0))
    door.open.set()  # for another attempt


@pytest.mark.parametrize(
    ("becomes", "outcomes"),
    [(opens, []), (continues, []), (is_late, ["timeout"])],
)
async def test_a_connection_that_takes_long_to_open(
    serve: Any, monkeypatch: pytest.MonkeyPatch, becomes: Callable[..., Any], outcomes: list[str]
) -> None:
    """The request has no task meanwhile; one that it gets waits for the same connection, within the same time."""
    arrived, go = asyncio.Event(), asyncio.Event()

    async def waits(seen: Seen, say: Say) -> None:
        arrived.set()
        await go.wait()
        await good(seen, say)

    backend = await serve(waits)
    async with at_the_door(backend.url, monkeypatch) as (here, caller, door):
        assert (here.app.running, pool()._count, [pool().state(each) for each in pool()._origin_of]) == (1, 1, ["opening"])
        await becomes(here, door)
        await arrived.wait()
        assert len(here.state.tasks) == (becomes is not opens)
        go.set()
        assert (await caller.whole()).status == 200
        (record,) = await here.app.recorded()
    assert [failure.outcome for failure in record.failures] == outcomes
    assert len(backend.seen) == 1


async def test_a_client_that_leaves_while_its_connection_is_opened(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent, and nothing stays."""
    backend = await serve(good)
    async with at_the_door(backend.url, monkeypatch) as (here, caller, door):
        caller.leave()
        (record,) = await here.app.recorded()
        door.open.set()
        assert (here.app.running, here.app.bodies.held, pool()._count, pool()._origins) == (0, 0, 0, {})
    assert (record.verdict, backend.seen) == ("cancelled", [])


async def test_a_target_that_rests_by_then_is_not_asked(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have told another request meanwhile when it wants to be asked again."""
    backend = await serve(good)
    async with at_the_door(backend.url, monkeypatch) as (here, caller, door):
        for facts in here.app.health.every():
            facts.shared.rest.note_retry_after(LimitReached("too many"), 7.0, here.app.runtime.router.clock())
        door.open.set()
        answer = await caller.whole()
        await here.app.recorded()
        assert (here.app.running, [each.in_flight for each in here.app.health.every()]) == (0, [0])
    assert b"is skipped" in answer.body
    assert backend.seen == []

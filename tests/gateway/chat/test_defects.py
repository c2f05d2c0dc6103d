"""Defects of the gateway itself that come up when a reply is there: its client gets an answer, and its request is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from polychat.config.settings import Price
from polychat.gateway.admission.guards import Guards, guards_of
from polychat.gateway.app import Gateway
from polychat.gateway.chat.fast_path import FastChat
from polychat.gateway.context import Guard
from polychat.gateway.observe.metrics import Labels, total
from polychat.gateway.observe.record import Record
from polychat.http.pool.pool import pool
from polychat.http.server.cycle import RequestCycle

from ...support.compiled import replaces_compiled
from ...support.fast_chats import noted_fast_chats
from ...support.patience import PATIENCE
from ...support.running_gateway import (
    DONE,
    END,
    FIRST,
    USAGE,
    Caller,
    Running,
    asking,
    completion,
    configured,
    gateway,
    row,
    streaming,
    text,
    with_guards,
)
from ...support.scripted_server import Say, Seen


class Defect(Exception):
    """What comes up."""


class Breakable:
    """Raises while it is broken."""

    broken = False

    def look(self) -> None:
        if self.broken:
            raise Defect("it broke")


class Prices(Breakable, dict[str, Price]):
    """The prices of a configuration."""

    def get(self, name: str, default: Any = None) -> Any:
        self.look()
        return super().get(name, default)


class Meter(Breakable):
    """Counts nothing; raises in its method ``where``, or at the first ``piece`` of a stream, or ``later``."""

    tokens_so_far = 0

    def __init__(self, where: str) -> None:
        self._where = where

    def look(self, where: str = "") -> None:
        if where == self._where:
            super().look()

    def reader(self, end: bytes) -> Callable[[bytes], bytes]:
        self.look("reader")
        seen: list[bytes] = []

        def counted(data: bytes) -> bytes:
            self.look("later" if seen else "piece")
            seen.append(data)
            return data

        return counted

    def headers(self, record: Record) -> list[tuple[bytes, bytes]]:
        self.look("headers")
        return []

    def settle(self, record: Record) -> None:
        pass

    def add(self, tokens: int, dollars: float) -> None:
        pass

    # As a ``ModelGuard``

    def before(self, context: Any, plan: Any, demand: Any) -> None:
        context.record.meter = self

    def reserve(self, record: Any, plan: Any, demand: Any) -> Meter:
        record.meter = self
        return self


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[FastChat]:
    """Every chat that was begun without a task."""
    return noted_fast_chats(monkeypatch, opening=True)


async def answered(seen: Seen, say: Say) -> None:
    """A backend whose streams come in a single read, but of the model ``large`` in many."""
    if not seen.json.get("stream"):
        await say.whole(completion("Hello"))
    elif seen.json["model"] == "large":
        await streaming(FIRST, text("Hel"), text("lo"), END, USAGE, DONE, apart=True)(seen, say)
    else:
        data = FIRST + text("Hello") + END + USAGE + DONE
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        await say.raw(b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(data), data))


class Seeing:
    """A gateway with an open connection, and what its log says of defects."""

    def __init__(self, here: Running, caller: Caller) -> None:
        self.here, self.caller = here, caller
        self.defects: list[str] = []
        event = here.app.log.event

        def noted(message: str, **facts: Any) -> None:
            if message.startswith("internal error"):
                self.defects.append(facts["trace"])
            event(message, **facts)

        here.app.log.event = noted  # type: ignore[method-assign]

    async def is_over(self, requests: int) -> Record:
        """The record of the last of so many requests, each of which is over, and was counted once."""
        app = self.here.app
        records = await app.recorded(requests)
        async with asyncio.timeout(PATIENCE):
            while self.here.state.tasks or any(connection.in_use for connection in pool()._origin_of):
                await asyncio.sleep(0)  # one whose stream is complete waits for its last bytes
        assert (app.running, app.bodies.held) == (0, 0)
        assert [state.in_flight for state in app.health.every() if state.in_flight] == []
        assert len({record.request_id for record in records}) == len(records) == requests
        assert len(self.counted()) == requests
        return records[-1]

    def counted(self) -> list[Labels]:
        """The labels of each request in the metrics."""
        counts = total(self.here.app.metrics.snapshots()[0])
        return [labels for labels, numbers in counts.items() for _ in range(numbers.requests)]


@asynccontextmanager
async def seeing(serve: Any, dialect: str, model: str, *, stream: bool, **options: Any) -> AsyncGenerator[Seeing]:
    """A gateway whose connections have carried a request such as those that follow."""
    backend = await serve(answered)
    prices = options.pop("prices", {})
    settings = replace(configured({"house": row("openai-chat", backend.url, serves=["small", "large"])}), prices=prices)
    async with gateway(settings, **options) as here:
        caller = await here.caller()
        caller.ask(*asking(dialect, model, stream=stream))
        assert (await caller.whole()).status == 200
        yield Seeing(here, caller)
        here.app.bugs.clear()


WAYS = [
    ("openai-chat", "house/small", False),
    ("anthropic", "house/small", False),
    ("openai-chat", "house/small", True),
    ("anthropic", "house/small", True),
    ("openai-chat", "house/large", True),
    ("anthropic", "house/large", True),
]
"""Passed and translated: a whole reply, a stream that comes in one read, and a longer one."""
in_all_ways = pytest.mark.parametrize(("dialect", "model", "stream"), WAYS)


async def refused_or_cut(caller: Caller, model: str, *, begins: bool = True) -> None:
    """The client gets an error, or, of a longer stream that has begun, an end that no client takes for the reply's."""
    answer = await caller.head()
    if model.endswith("small") or not begins:
        assert answer.status == 500
        assert b"internal error" in await caller.rest()
    else:
        assert answer.status == 200
        assert b"Hel" in await caller.until(b"Hel")
        with pytest.raises(asyncio.IncompleteReadError):
            await caller.rest()


@in_all_ways
@pytest.mark.parametrize("in_task", [False, True])
async def test_a_price_that_cannot_be_read_costs_nobody_an_answer(
    serve: Any,
    begun: list[FastChat],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    dialect: str,
    model: str,
    *,
    stream: bool,
    in_task: bool,
) -> None:
    """Its client gets an error, with a task or without, the log says once what was wrong, and all counts go down once."""
    if in_task:
        monkeypatch.setattr(Gateway, "fast_path", lambda self, scope: None)
    prices = Prices({"house/small": Price(prompt=5.0)})
    async with seeing(serve, dialect, model, stream=stream, prices=prices) as seen:
        caplog.clear()
        prices.broken = True
        seen.here.app.reload(seen.here.app.runtime.configured)  # prices are looked up once for requests of one kind
        seen.caller.ask(*asking(dialect, model, stream=stream))
        await refused_or_cut(seen.caller, model)
        record = await seen.is_over(2)
        assert (record.verdict, record.error) == ("failed", "Defect: internal error")
        assert record.status == (200 if model.endswith("large") or (in_task and stream) else 500)
        assert len(seen.defects) == 1
        assert "Defect: it broke" in seen.defects[0]
        assert not caplog.records
        prices.broken = False
        assert (await seen.here.ask(*asking(dialect, model, stream=stream))).status == 200
        await seen.is_over(3)
    assert bool(begun) != in_task


@in_all_ways
@pytest.mark.parametrize("where", ["reader", "piece", "later", "headers"])
async def test_limits_that_cannot_be_counted_cost_nobody_an_answer(
    serve: Any, begun: list[FastChat], dialect: str, model: str, where: str, *, stream: bool
) -> None:
    """Whatever raises of what a key's limits are counted by: the client gets an error, and all counts go down once."""
    meter = Meter(where)

    def guards(runtime: Any, service: Any) -> Guards:
        return guards_of(runtime, service)._replace(model=(meter,))

    async with seeing(serve, dialect, model, stream=stream, guards=guards) as seen:
        meter.broken = True
        seen.caller.ask(*asking(dialect, model, stream=stream))
        if where != "headers" and (not stream or (where == "later" and "small" in model)):
            assert (await seen.caller.whole()).status == 200, "only streams are counted, by the piece"
        else:
            await refused_or_cut(seen.caller, model, begins=where == "later")
            assert seen.defects
            assert all("Defect: it broke" in trace for trace in seen.defects)
            assert sum(kind.verdict == "complete" for kind in seen.counted()) == 1, "it counts as failed"
        meter.broken = False
        await seen.is_over(2)
        assert (await seen.here.ask(*asking(dialect, model, stream=stream))).status == 200
        await seen.is_over(3)
    assert begun


@in_all_ways
@pytest.mark.parametrize("in_task", [False, True])
async def test_an_observer_that_fails_takes_nothing_from_others(
    serve: Any, begun: list[FastChat], monkeypatch: pytest.MonkeyPatch, dialect: str, model: str, *, stream: bool, in_task: bool
) -> None:
    """The client has its reply, the other observers the record, the log a line about the failure, and the gateway can end."""
    if in_task:
        monkeypatch.setattr(Gateway, "fast_path", lambda self, scope: None)

    def failing(record: Record) -> None:
        raise Defect("it broke")

    async with seeing(serve, dialect, model, stream=stream) as seen:
        app = seen.here.app
        app._observers = (failing, *app._observers)
        seen.caller.ask(*asking(dialect, model, stream=stream))
        answer = await seen.caller.whole()
        record = await seen.is_over(2)
        assert (answer.status, record.verdict, record.error) == (200, "complete", "")
        assert len(seen.defects) == 1
        assert "Defect: it broke" in seen.defects[0]
        async with asyncio.timeout(PATIENCE):
            await app.when_idle()
    assert bool(begun) != in_task


@replaces_compiled
@in_all_ways
async def test_a_response_that_cannot_be_sent_ends_its_connection(
    serve: Any, begun: list[FastChat], monkeypatch: pytest.MonkeyPatch, dialect: str, model: str, *, stream: bool
) -> None:
    """Its client does not wait for ever, and its request is over."""

    def failing(self: RequestCycle, *args: Any) -> None:
        raise Defect("it broke")

    async with seeing(serve, dialect, model, stream=stream) as seen:
        for name in ("respond_at_once", "respond_now", "respond_stream_now", "push_last"):
            monkeypatch.setattr(RequestCycle, name, failing)
        seen.caller.ask(*asking(dialect, model, stream=stream))
        assert not (await seen.caller.over()).endswith((b"}", b"\r\n0\r\n\r\n"))
        await seen.is_over(2)
        assert len(seen.defects) == 1
    assert begun


class ByHead(Breakable, Guard):
    """A guard that reads only heads."""

    by_head = True

    def before(self, context: Any) -> None:
        self.look()


class AtAnyMoment(Breakable, Guard):
    """A guard that may refuse at any moment."""

    def admits(self) -> bool:
        self.look()
        return True

    def before(self, context: Any) -> None:
        self.look()


@pytest.mark.parametrize("kind", [ByHead, AtAnyMoment])
async def test_a_guard_that_fails_is_met_where_its_client_is_told(serve: Any, begun: list[FastChat], kind: Any) -> None:
    """Also where it is asked before a request has a task: when a head is prepared, and before each request after that."""
    guard = kind()
    async with seeing(serve, "openai-chat", "house/small", stream=False, **with_guards([guard], [])) as seen:
        app, count = seen.here.app, len(begun)
        guard.broken = True
        app.reload(app.runtime.configured)
        seen.caller.ask(*asking("openai-chat"))
        answer = await seen.caller.whole()
        assert (answer.status, len(seen.defects), len(begun)) == (500, 1, count)
        await seen.is_over(2)
        guard.broken = False
        assert (await seen.here.ask(*asking("openai-chat"))).status == 200
        await seen.is_over(3)

"""Chats that are answered without a task: nobody can tell, but by the time it takes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import pytest

from polychat.config.settings import KeySettings, Route, TokenBudget
from polychat.gateway.app import Gateway
from polychat.gateway.chat import prepared
from polychat.gateway.chat.fast_path import FastChat
from polychat.gateway.chat.fast_stream import FastStream
from polychat.gateway.observe.logs import Log
from polychat.gateway.observe.record import RECORD_FIELDS, Record

from ...support.chat_replies import KEY, REPLIES
from ...support.compiled import replaces_compiled
from ...support.failing_streams import ENDS
from ...support.fast_chats import noted_fast_chats
from ...support.gateway_for_clients import HELLO as BATCHES
from ...support.running_gateway import (
    DONE,
    END,
    FIRST,
    USAGE,
    Caller,
    Running,
    Stage,
    asking,
    chunk,
    completion,
    configured,
    event,
    gateway,
    good,
    row,
    streaming,
    text,
)
from ...support.scripted_server import Handler, Say, Seen
from ...support.scripted_vendors import ScriptedVendor

WITH_KEY = {"authorization": "Bearer the-clients-key"}
LIMITED: dict[str, Any] = {
    "keys": {"one": "env:CLIENTS_KEY"},
    "key_settings": {"one": KeySettings(rpm=9, tokens=TokenBudget(day=50_000))},
}
"""Settings of a gateway whose clients have a key with limits."""
PATH, HELLO = asking("openai-chat")
HELLO.pop("stream")
CHANGES: dict[str, Any] = {
    "hello": {},
    "not streamed": {"stream": False},
    "streamed": {"stream": True},
    "by a route": {"model": "mine"},
    "by an alias": {"model": "other"},
    "of two": {"model": "both"},
    "another wire": {"model": "annex/small"},
    "unknown": {"model": "nobody/small"},
    "no name": {"model": 7},
    "model twice": b'{"model":"house/small","messages":[{"role":"user","content":"hi"}],"Model":"x"}',
    "fields of one's own": {"top_k": 3, "user": "\u00e9\u20ac", "metadata": {"a": "b"}},
    "further models": {"models": ["house/small", "annex/small"]},
    "a provider": {"provider": {"order": ["house"]}},
    "no JSON": b'{"model": "house/small", ',
    "no messages": {"messages": None},
    "large": {"user": "a" * 70_000},
}
REQUESTS = {name: body if isinstance(body, bytes) else json.dumps({**HELLO, **body}).encode() for name, body in CHANGES.items()}


class Noted(Log):
    """A log whose lines are kept."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        super().__init__("json", 1.0, self.lines.append)


@asynccontextmanager
async def kept(
    serve: Any, reply: Handler, path: str = PATH, first: tuple[dict[str, Any], Handler] = (HELLO, good), **settings: Any
) -> AsyncGenerator[tuple[Running, Caller, Any]]:
    """A gateway whose connections, to a client and to a backend, have carried a request each, the ``first``; and that backend.

    The backend answers by ``reply`` then. Of a gateway with ``keys`` in its ``settings`` each request needs ``WITH_KEY``.
    """
    request, answer = first
    answers: list[Handler] = [answer]

    async def handler(seen: Seen, say: Say) -> None:
        await answers[-1](seen, say)

    backend = await serve(handler)
    providers = {
        "house": row("openai-chat", backend.url, api_key="env:HOUSE_KEY"),
        "annex": row("anthropic", backend.url, api_key="env:HOUSE_KEY"),
        "newer": row("openai-responses", backend.url, api_key="env:HOUSE_KEY"),
        "picky": row(
            "openai-chat", backend.url, api_key="env:HOUSE_KEY", rename={"max_tokens": "most"}, drop={"seed": "it has none"}
        ),
    }
    routes: dict[str, Any] = {
        "mine": Route(targets=("house/small",), strategy="ordered", attempts=2),
        "both": ("house/small", "house/small2"),
        "any": Route(targets=("house/small", "house/small2"), strategy="round-robin"),
    }
    aliases = {"other": "house/small", "theirs": "annex/small"}
    async with gateway(configured(providers, routes=routes, aliases=aliases, **settings)) as here:
        if here.app.accounting is not None:
            here.app.accounting.clock = lambda: 1_800_014_400.0
        caller = await here.caller()
        caller.ask(path, request, headers=WITH_KEY if "keys" in settings else None)
        assert (await caller.whole()).status == 200
        answers.append(reply)
        yield here, caller, backend


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_KEY", KEY)
    monkeypatch.setenv("CLIENTS_KEY", "the-clients-key")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[FastChat]:
    """Every run that sent its request without a task, on a connection that was open."""
    return noted_fast_chats(monkeypatch)


MOMENTS = {"start", "first", "over", "called_at", "times", "request_id", "started_at", "plan", "kind"}
"""What differs from one request to the next whatever answers them."""
DIFFERS = ("date", "request-id", "retry-after-ms", "x-request-id", "x-polychat-overhead-ms")


def facts_of(record: Record) -> dict[str, Any]:
    """What a record holds, its moments left out."""
    facts = {name: getattr(record, name) for name in RECORD_FIELDS if name not in MOMENTS}
    lines = {name: tuple(facts[name]) for name in ("failures", "passed", "seams", "losses")}
    lines["resting"] = tuple((target.name, str(error)) for target, error in record.resting)
    if record.meter is not None:
        meter: Any = record.meter
        facts["meter"] = meter.read, meter.events, [bucket.used for bucket, _ in meter.reservation.charges]
    return {**facts, **lines, "has": sorted(name for name in ("first", "called_at") if getattr(record, name) is not None)}


_OWN = re.compile(rb'req_[0-9a-f]+|[0-9a-f]{24}|"created(?:_at)?":\d+|"\w+_duration":\d+|[0-9T:.-]{19,}Z')
"""What a translated reply has of its own: ids and moments."""


async def told(
    serve: Any,
    request: bytes,
    reply: Handler,
    path: str = PATH,
    first: tuple[dict[str, Any], Handler] = (HELLO, good),
    **settings: Any,
) -> dict[str, Any]:
    """All that can be seen of two requests that follow another on the same connection."""
    async with kept(serve, reply, path, first, **settings) as (here, caller, backend):
        log = Noted()
        router = here.app.runtime.router
        router.rng.seed(7)  # it decides which target is retried first
        now = router.clock()
        router.clock = lambda: now  # how long a target is still skipped is in answers and lines
        here.app._observers = (*here.app._observers, log)
        answers = []
        for _ in range(2):
            caller.ask(path, request, headers=WITH_KEY if "keys" in settings else None)
            answer = await caller.whole()
            headers = {name: None if name in DIFFERS else value for name, value in answer.headers.items()}
            if "content-length" in headers:
                headers["content-length"] = str(len(_OWN.sub(b"OWN", answer.body)))
            answers.append((answer.status, headers, _OWN.sub(b"OWN", answer.body)))
            if headers.get("connection") == "close":
                break
        records = await here.app.recorded(1 + len(answers))
        log.close()
        counts = here.app.metrics._taken()
        numbers = [(labels, each.requests, each.prompt, each.attempts, each.cost) for labels, each in counts.numbers]
        seen: dict[str, Any] = {
            "answers": answers,
            "records": [facts_of(record) for record in records[1:]],
            "lines": [sorted(json.loads(line)) for line in b"".join(log.lines).splitlines()],
            "numbers": sorted(numbers),
            "attempts": sorted(counts.attempts),
            "health": [
                (each.name, each.in_flight, each.waiting.count, each.outcomes(now), list(each.shared.times))
                for each in here.app.health.every()
            ],
            "held": (here.app.running, here.app.bodies.held, len(here.app.responses._kept)),
            "sent": [(one.target, one.headers, one.body) for one in backend.seen],
        }
        text = repr(seen)  # the backend's port is another each time
        return {"text": text.replace(f":{backend.port}", ":PORT")}


@pytest.mark.parametrize("reply", REPLIES)
async def test_replies_are_the_same_with_and_without_a_task(serve: Any, begun: list[FastChat], reply: str) -> None:
    """Every reply, and every failure, leads to the same answers, records, lines, counts and health of the target."""
    fast = await told(serve, REQUESTS["hello"], REPLIES[reply])
    assert begun
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gateway, "fast_path", lambda self, scope: None)
        count = len(begun)
        usual = await told(serve, REQUESTS["hello"], REPLIES[reply])
        assert len(begun) == count
    assert fast == usual


@pytest.mark.parametrize("request_", REQUESTS)
async def test_requests_are_the_same_with_and_without_a_task(serve: Any, begun: list[FastChat], request_: str) -> None:
    """Whatever a client wants gets the same answer, and the backend the same body, whether or not it can be had without a
    task.
    """
    fast = await told(serve, REQUESTS[request_], good)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gateway, "fast_path", lambda self, scope: None)
        usual = await told(serve, REQUESTS[request_], good)
    assert fast == usual


OTHERS = [
    ("anthropic", "annex/small", "anthropic", {}),
    ("anthropic", "theirs", "anthropic", {}),
    ("openai-chat", "annex/small", "anthropic", {"logit_bias": {"5": 1}, "seed": 5}),
    ("openai-chat", "picky/small", "openai-chat", {"max_tokens": 5, "seed": 5}),
    ("openai-completions", "house/small", "openai-chat", {}),
    ("anthropic", "house/small", "openai-chat", {"top_k": 3}),
    ("gemini", "house/small", "openai-chat", {}),
    ("ollama", "house/small", "openai-chat", {}),
    ("openai-responses", "house/small", "openai-chat", {}),
    ("openai-responses", "newer/small", "openai-responses", {}),
]
"""A client's dialect, the model, the wire of its backend, and fields of which some are lost."""


@pytest.mark.parametrize(("dialect", "model", "wire", "more"), OTHERS)
async def test_every_dialect_reaches_every_wire_without_a_task(
    serve: Any, begun: list[FastChat], dialect: str, model: str, wire: str, more: dict[str, Any]
) -> None:
    """Passed, with the name that was asked for where clients compare it, changed for a vendor, or translated: with all that is
    told of what was lost.
    """
    vendor = ScriptedVendor(wire, BATCHES)
    for stream in (False, True):
        path, body = asking(dialect, model, stream=stream, **more)
        request = json.dumps(body).encode()
        fast = await told(serve, request, vendor, path, (body, vendor))
        assert len(begun) == 2
        assert ("x-polychat-losses" in fast["text"]) == ("seed" in more)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Gateway, "fast_path", lambda self, scope: None)
            assert await told(serve, request, vendor, path, (body, vendor)) == fast
        assert len(begun) == 2
        del begun[:]


@pytest.mark.parametrize(("dialect", "changes"), [("ollama", {"messages": []}), ("openai-responses", {"generate": False})])
async def test_a_request_that_asks_no_model_is_answered_as_usual(
    serve: Any, begun: list[FastChat], dialect: str, changes: dict[str, Any]
) -> None:
    """One that loads a model, and one that prepares a response, on a connection that has carried a chat."""
    path, body = asking(dialect, stream=True)
    async with kept(serve, good, path, (body, good)) as (_, caller, backend):
        caller.ask(path, {**body, **changes})
        answer = await caller.whole()
    assert (answer.status, len(backend.seen), begun) == (200, 1, [])
    assert b"Hello" not in answer.body


async def test_an_unusual_translated_reply_is_written_by_the_task_that_takes_it_over(serve: Any, begun: list[FastChat]) -> None:
    """Limits, a key, an early end, an error and a lost connection: as in a reply that passes, and no request is sent twice."""
    path, body = asking("anthropic")
    for reply in ("limits", "the key", "too long", "an error inside", "half of it", "no end", "busy", "cut off", "lost"):
        request = json.dumps(body).encode()
        fast = await told(serve, request, REPLIES[reply], path, (body, good))
        assert begun, reply
        del begun[:]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Gateway, "fast_path", lambda self, scope: None)
            usual = await told(serve, request, REPLIES[reply], path, (body, good))
        assert fast == usual, reply


async def test_the_first_target_of_a_route_is_asked_without_a_task(serve: Any, begun: list[FastChat]) -> None:
    """A route that asks its targets in order learns, counts and tells the same; where the first fails, the others are asked by
    the task that takes over.
    """
    request = json.dumps({**HELLO, "model": "both"}).encode()
    for name in ("hello", "limits", "an error inside", "half of it", "refused", "busy", "down", "lost"):

        async def reply(seen: Seen, say: Say, name: str = name) -> None:
            await (good if b"small2" in seen.body else REPLIES[name])(seen, say)

        fast = await told(serve, request, reply)
        assert begun, name
        del begun[:]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Gateway, "fast_path", lambda self, scope: None)
            assert await told(serve, request, reply) == fast, name
        assert not begun


@replaces_compiled
async def test_a_target_that_takes_long_is_waited_for_by_a_task(
    serve: Any, begun: list[FastChat], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where others could be asked: by the time that another may be wanted there is a task, which has the same reply.

    Also where the router would not choose that target any more, as it failed others meanwhile.
    """
    waits, go = asyncio.Event(), asyncio.Event()
    continue_in_task = FastChat.continue_in_task

    def noted(self: FastChat) -> None:
        self._facts.failed(self._called_at, self.runtime.router.clock(), 30.0, Random(), at_once=True)
        continue_in_task(self)
        waits.set()

    async def slow(seen: Seen, say: Say) -> None:
        await go.wait()
        await say.whole(completion("Hello"))

    monkeypatch.setattr(FastChat, "continue_in_task", noted)
    monkeypatch.setattr(prepared, "_SLOW", 0.01)
    async with kept(serve, slow) as (here, caller, backend):
        caller.ask(PATH, {**HELLO, "model": "both"})
        await waits.wait()
        assert (len(begun), len(here.state.tasks)) == (1, 1)
        go.set()
        assert (await caller.whole()).json["choices"][0]["message"]["content"] == "Hello"
        record = (await here.app.recorded(2))[1]
    assert (record.answered, record.attempts, len(backend.seen)) == ("house/small", 1, 2)
    (facts,) = [facts for facts in here.app.health.every() if facts.name == "house/small" and facts.route == "both"]
    assert facts.shared.times, "it is learned how long it took"


@replaces_compiled
async def test_what_is_known_as_unusual_is_not_tried_again(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose name is known to need choices costs no second look."""
    tried: list[FastChat] = []
    begin = FastChat.begin

    def noted(self: FastChat) -> bool:
        tried.append(self)
        return begin(self)

    monkeypatch.setattr(FastChat, "begin", noted)
    async with kept(serve, good) as (_, caller, _):
        tried.clear()
        for _ in range(2):
            caller.ask(PATH, {**HELLO, "model": "any"})
            await caller.whole()
            assert len(tried) == 1
        caller.ask(PATH, HELLO)
        assert (await caller.whole()).status == 200
        assert len(tried) == 2


ERROR = event({"error": {"message": "it broke", "type": "server_error"}})
paced = partial(streaming, apart=True)
STREAM = {**HELLO, "stream": True}
STREAMS: dict[str, Handler] = {
    "short": streaming(FIRST + text("Hello") + END + USAGE + DONE),
    "in pieces": paced(FIRST, text("The"), text(" sky"), END, USAGE, DONE),
    "cut within events": paced(
        FIRST[:30], FIRST[30:] + text("The")[:20], text("The")[20:], END[:9], END[9:], DONE[:6], DONE[6:-1], DONE[-1:]
    ),
    "many small pieces": paced(*(FIRST[at : at + 4] for at in range(0, len(FIRST), 4)), text("The"), END, DONE),
    "the key": paced(FIRST, text(f"it is {KEY}"), text(KEY[:9]), text(KEY[9:]), END, DONE),
    "an error first": streaming(ERROR),
    "an error second": paced(FIRST, ERROR),
    "an error later": paced(FIRST, text("The"), ERROR),
    "an error in the first read": streaming(FIRST + text("The") + ERROR),
    "cut off": paced(FIRST, text("The"), cut=True),
    "ends without an end": paced(FIRST, text("The")),
    "empty": streaming(),
    "nothing said": paced(FIRST, END, DONE),
    "garbage": paced(FIRST, text("The"), b"data: {nothing\n\n", DONE),
    "too long": paced(FIRST, text("The"), chunk({}, "length"), DONE),
    "two replies": paced(FIRST, text("The"), END, DONE + FIRST + text("Again") + END + DONE),
    **{name: REPLIES[name] for name in ("hello", "packed", "limits", "refused", "busy", "down", "lost", "no HTTP", "created")},
}


@pytest.mark.parametrize(
    ("dialect", "model", "settings"),
    [
        ("openai-chat", "house/small", {}),
        ("openai-chat", "mine", LIMITED),
        ("openai-chat", "both", {}),
        ("anthropic", "house/small", {}),
        ("anthropic", "both", LIMITED),
    ],
)
async def test_streams_are_the_same_with_and_without_a_task(
    serve: Any, begun: list[FastChat], dialect: str, model: str, settings: dict[str, Any]
) -> None:
    """Every stream, however it is cut and ends, leads to the same bytes, records, lines, counts and health of the target.

    A key's limits also count the same.
    """
    path, body = asking(dialect, model, stream=True)
    request, first = json.dumps(body).encode(), (asking(dialect)[1], good)
    for name, reply in STREAMS.items():
        fast = await told(serve, request, reply, path, first, **settings)
        assert begun, name
        del begun[:]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Gateway, "fast_path", lambda self, scope: None)
            assert await told(serve, request, reply, path, first, **settings) == fast, name
        assert not begun


@replaces_compiled
@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
async def test_a_stream_has_no_task_until_it_is_unusual(
    serve: Any, begun: list[FastChat], monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    """While pieces come none runs; a silence that calls for a heartbeat, and an end that is none, are a task's, which sends
    nothing twice.
    """
    continued: list[FastStream] = []
    continue_stream = FastChat.continue_stream

    def noted(self: FastChat, stream: FastStream, *, is_silent: bool) -> None:
        continued.append(stream)
        continue_stream(self, stream, is_silent=is_silent)

    monkeypatch.setattr(FastChat, "continue_stream", noted)
    for rest, has_end in ((text(" sky") + END + DONE, True), (text(" sky"), False)):
        for silent in (False, True):
            stage = Stage(FIRST + text("The"), rest=(rest,))
            path, first = asking(dialect)
            async with kept(serve, stage, path, (first, good), heartbeat=60.0, **LIMITED) as (here, caller, backend):
                caller.ask(*asking(dialect, stream=True), headers=WITH_KEY)
                head = await caller.head()
                body = await caller.until(b"The")
                assert (head.status, len(here.state.tasks), here.app.running) == (200, 0, 1)
                assert here.app.runtime.heartbeats is not None
                (stream,) = list(here.app.runtime.heartbeats._since)
                if silent:
                    stream.ring()
                    stream.ring()
                    body += await caller.until(b":")
                    assert len(here.state.tasks) == 1
                stage.go.set()
                body += await caller.rest()
                record = (await here.app.recorded(2))[1]
                assert here.app.running == here.app.bodies.held == 0
                assert len(backend.seen) == 2
            assert body.count(b"The") == body.count(b" sky") == 1
            assert (ENDS[dialect] in body, b"error" in body) == (has_end, not has_end)
            assert record.verdict == ("complete" if has_end else "truncated")
            assert body.count(b"event: message_start") == (dialect == "anthropic")
            assert len(continued) == (silent or not has_end)
            continued.clear()
    assert len(begun) == 4


async def test_no_task_answers(serve: Any, begun: list[FastChat]) -> None:
    """While the backend thinks there is no task for the request, and it counts as under way: also for a connection's first,
    whether or not another began with the same head.
    """
    arrived, go = asyncio.Event(), asyncio.Event()

    async def waits(seen: Seen, say: Say) -> None:
        arrived.set()
        await go.wait()
        await say.whole(completion("Hello"))

    async with kept(serve, waits) as (here, caller, _):
        for client in (caller, await here.caller(), await here.caller()):
            arrived.clear()
            go.clear()
            begun.clear()
            client.ask(PATH, HELLO, headers=None if client is caller else {"x-own": "1"})
            await arrived.wait()
            assert (len(begun), len(here.state.tasks), here.app.running) == (1, 0, 1)
            go.set()
            assert (await client.whole()).json["choices"][0]["message"]["content"] == "Hello"
            assert here.app.running == 0
        for connection in here.state.connections:
            assert not connection._parser.last.body, "a connection that lies idle holds no request"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", ["leaves", "the gateway ends"])
async def test_an_abandoned_request_is_recorded_as_usual(serve: Any, begun: list[FastChat], how: str, stream: bool) -> None:
    """The backend's connection is closed, and the record says what became of the request, as where a task waits."""

    async def given_up() -> Any:
        arrived, gone = asyncio.Event(), asyncio.Event()

        async def waits(seen: Seen, say: Say) -> None:
            if stream:
                await say.head(content_type="text/event-stream")
                await say.chunk(FIRST + text("The"))
            arrived.set()
            await say.gone()
            gone.set()
            say.closing = True

        async with kept(serve, waits) as (here, caller, _):
            caller.ask(PATH, {**HELLO, "stream": stream})
            await arrived.wait()
            if stream:
                await caller.head()
                await caller.until(b"The")
            if how == "leaves":
                caller.leave()
            else:
                here.app.draining = True
                for connection in list(here.state.connections):
                    connection.shutdown()
                await asyncio.sleep(0)
                for task in list(here.state.tasks):
                    task.cancel()
                assert b"shutting down" in ((await caller.rest()) if stream else (await caller.whole()).body)
            record = (await here.app.recorded(2))[1]
            async with asyncio.timeout(60):
                await gone.wait()
            state = here.app.running, here.app.bodies.held, [facts.in_flight for facts in here.app.health.every()]
            return facts_of(record), state

    fast = await given_up()
    assert len(begun) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gateway, "fast_path", lambda self, scope: None)
        assert await given_up() == fast
    assert len(begun) == 1


async def test_a_new_configuration_holds_for_the_next_request(
    serve: Any, begun: list[FastChat], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was prepared for a head ends with the configuration it was prepared by: a key that is gone lets nobody in."""
    monkeypatch.setenv("THEIRS", "sk-the-gateways-own")
    async with kept(serve, good) as (here, caller, backend):
        caller.ask(PATH, HELLO)
        assert (await caller.whole()).status == 200
        assert len(begun) == 1
        here.app.reload(configured({"house": row("openai-chat", backend.url)}, keys={"them": "env:THEIRS"}))
        caller.ask(PATH, HELLO)
        assert (await caller.whole()).status == 401
        here.app.reload(configured({"house": row("openai-chat", backend.url)}))
        caller.ask(PATH, HELLO)
        assert (await caller.whole()).status == 200


@pytest.mark.parametrize("refused", ["draining", "limit"])
async def test_limits_of_the_moment_hold(serve: Any, begun: list[FastChat], refused: str) -> None:
    """A gateway that stops, or has as many requests as it may, refuses also what it has prepared."""
    async with kept(serve, good) as (here, caller, _):
        if refused == "draining":
            here.app.drain()
        else:
            here.app.running += here.app.runtime.limits.concurrent
        caller.ask(PATH, HELLO)
        assert (await caller.whole()).status == (503 if refused == "draining" else 429)
        here.app.running = 0
    assert not begun


async def test_a_reply_that_does_not_come_is_given_up_in_time(serve: Any, begun: list[FastChat]) -> None:
    """The time that a client waits, or the file gives, holds without a timer of its own."""

    async def silent(seen: Seen, say: Say) -> None:
        await say.gone()
        say.closing = True

    async with kept(serve, good) as (here, _, _):
        caller = await here.caller()
        with_read_limits = {"x-request-timeout": "0.2"}
        for _ in range(2):
            caller.ask(PATH, HELLO, headers=with_read_limits)
            assert (await caller.whole()).status == 200
    async with kept(serve, silent) as (here, _, _):
        caller = await here.caller()
        del begun[:]
        caller.ask(PATH, {"model": "nobody/small", **{"messages": []}}, headers=with_read_limits)
        assert (await caller.whole()).status == 404
        caller.ask(PATH, HELLO, headers=with_read_limits)
        answer = await caller.whole()
        record = (await here.app.recorded(3))[2]
    assert len(begun) == 1
    assert answer.status == 504
    assert [failure.outcome for failure in record.failures] == ["timeout"]

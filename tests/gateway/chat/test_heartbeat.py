"""Signs of life while a backend is silent, each in its dialect, and nowhere else."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from polychat.gateway.chat.heartbeat import Heartbeat
from polychat.http.server.timeout_queue import TimeoutQueue

from ...support.running_gateway import (
    DONE,
    END,
    FIRST,
    Caller,
    Running,
    Stage,
    asking,
    configured,
    fault,
    gateway,
    good,
    row,
    text,
    until,
)
from ...support.scripted_server import Say, Seen

SECONDS = 0.01
BEATS = {
    "openai-chat": b": waiting\n\n",
    "openai-completions": b": waiting\n\n",
    "openai-responses": b": waiting\n\n",
    "anthropic": b'event: ping\ndata: {"type": "ping"}\n\n',
}


def house(url: str, **more: Any) -> Any:
    return configured({"house": row("openai-chat", url)}, **{"heartbeat": SECONDS, **more})


async def streamed(here: Running, dialect: str) -> Caller:
    path, body = asking(dialect, stream=True)
    caller = await here.caller()
    caller.ask(path, body)
    return caller


async def beats(caller: Caller, many: int = 4) -> None:
    """Until so many have come."""
    for _ in range(many):
        assert await caller.chunk() in BEATS.values()


@pytest.mark.parametrize("dialect", BEATS)
async def test_before_the_first_piece(serve: Any, dialect: str) -> None:
    """A stream whose backend thinks is begun by signs of life, and goes on as if nothing had been."""
    stage = Stage(None, rest=[FIRST, text("Hello"), END, DONE])
    backend = await serve(stage)
    async with gateway(house(backend.url)) as here:
        caller = await streamed(here, dialect)
        head = await caller.head()
        for _ in range(3):
            assert await caller.chunk() == BEATS[dialect]
        stage.go.set()
        rest = await caller.rest()
        (record,) = await here.app.recorded()
    assert (head.status, head.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert (head.headers["cache-control"], head.headers["x-accel-buffering"]) == ("no-cache", "no")
    assert b"Hello" in rest.replace(BEATS[dialect], b"")
    assert record.verdict == "complete"
    assert (record.provider, record.attempts) == ("house", 1)


@pytest.mark.parametrize("dialect", BEATS)
async def test_amid_a_stream(serve: Any, dialect: str) -> None:
    """A backend that falls silent between two pieces."""
    stage = Stage(FIRST, text("Hel"), rest=[text("lo"), END, DONE])
    backend = await serve(stage)
    async with gateway(house(backend.url)) as here:
        caller = await streamed(here, dialect)
        await caller.head()
        await caller.until(b"Hel")
        await beats(caller)
        stage.go.set()
        assert b"lo" in await caller.rest()


@pytest.mark.parametrize("dialect", ["ollama", "gemini"])
async def test_dialects_without_any(serve: Any, dialect: str) -> None:
    """Ollama's lines and Gemini's events have no place for them: such a client hears nothing until the answer begins."""
    stage = Stage(None, rest=[FIRST, text("Hello"), END, DONE])
    backend = await serve(stage)
    async with gateway(house(backend.url)) as here:
        caller = await streamed(here, dialect)
        await until(stage.asked)
        clock = await streamed(here, "openai-chat")
        await clock.head()
        await beats(clock, 5)
        stage.go.set()
        answer = await caller.whole()
    assert b"waiting" not in answer.body
    assert b"ping" not in answer.body
    assert b"Hello" in answer.body


async def test_not_amid_an_event(serve: Any) -> None:
    """Where half an event has passed through, the other half comes next, however long it takes."""
    half = text("Hello")
    begun = FIRST + text("Oh")
    stage = Stage(begun, half[:40], rest=[half[40:], END, DONE])

    async def backend(seen: Seen, say: Say) -> None:
        await (stage if seen.json["messages"][0]["content"] == "hi" else Stage(None))(seen, say)

    served = await serve(backend)
    async with gateway(house(served.url)) as here:
        caller = await here.caller()
        caller.ask(*asking("openai-chat", "small", stream=True))  # by the backend's own name: nothing is held
        await caller.head()
        got = await caller.until(begun + half[:40])
        clock = await here.caller()
        path, body = asking("openai-chat", stream=True, messages=[{"role": "user", "content": "clock"}])
        clock.ask(path, body)
        await clock.head()
        await beats(clock, 5)
        stage.go.set()
        got += await caller.rest()
    assert got.replace(b": waiting\n\n", b"") == begun + half + END + DONE
    assert half in got


async def test_after_a_line_break_that_came_alone(serve: Any) -> None:
    """An event is over, though its blank line was read after it: in a task, and where the second request needs none."""
    begun, event = FIRST + text("Oh"), text("Hello")
    steps: asyncio.Queue[bytes] = asyncio.Queue()

    async def backend(seen: Seen, say: Say) -> None:
        await say.head(content_type="text/event-stream")
        while data := await steps.get():
            await say.chunk(data)
        await say.last()

    served = await serve(backend)
    async with gateway(house(served.url)) as here:
        caller = await here.caller()
        for _ in range(2):
            caller.ask(*asking("openai-chat", "small", stream=True))
            steps.put_nowait(begun)
            await caller.head()
            await caller.until(begun)
            steps.put_nowait(event[:-1])
            await caller.until(event[:-1])
            steps.put_nowait(b"\n")
            assert await caller.chunk() == b"\n"
            await beats(caller)
            for data in (END + DONE, b""):
                steps.put_nowait(data)
            assert (await caller.rest()).replace(b": waiting\n\n", b"") == END + DONE


async def test_an_event_that_begins_while_a_sign_is_on_its_way() -> None:
    """The sign that was to be sent is not, nor while pieces come: only where none came since the last look."""
    sent: list[bytes] = []

    async def send(data: bytes) -> None:
        sent.append(data)

    dialect: Any = SimpleNamespace(heartbeat=b": waiting\n\n", stream_type="text/event-stream")
    responder: Any = SimpleNamespace(latest=b"data: 1\n\n", started=True, heartbeat=send)
    queue = TimeoutQueue(asyncio.get_running_loop(), lambda: 60.0, Heartbeat.ring)
    beats = Heartbeat(responder, dialect, queue)
    beats.ring()
    responder.latest = b"data: hal"
    for _ in range(3):
        await asyncio.sleep(0)
    assert sent == []
    responder.latest = b"f\n\n"
    beats.ring()  # it came since the last look
    beats.ring()
    for _ in range(3):
        await asyncio.sleep(0)
    assert beats in queue
    beats.stop()
    assert beats not in queue
    queue.close()
    assert sent == [b": waiting\n\n"]


async def test_streams_share_a_timer(serve: Any) -> None:
    """A stream that is over leaves nothing behind; those that wait are all in one queue, which has one timer."""
    stage = Stage(FIRST, text("Hel"), rest=[text("lo"), END, DONE])
    backend = await serve(stage)
    async with gateway(house(backend.url, heartbeat=60.0)) as here:
        callers = [await streamed(here, "openai-chat") for _ in range(3)]
        for caller in callers:
            await caller.head()
            await caller.until(b"Hel")
        queue = here.app.runtime.heartbeats
        assert queue is not None
        assert len(queue) == 3
        stage.go.set()
        for caller in callers:
            assert b"lo" in await caller.rest()
        await here.app.recorded(3)
        assert len(queue) == 0


@pytest.mark.parametrize("dialect", BEATS)
async def test_a_failure_after_the_first_sign(serve: Any, dialect: str) -> None:
    """Is reported in the stream, as its dialect has it: the status has gone out, and nothing pretends to be an end."""
    stage = Stage(None, then=fault(400, "invalid_request_error", "no such thing"))
    backend = await serve(stage)
    async with gateway(house(backend.url)) as here:
        caller = await streamed(here, dialect)
        head = await caller.head()
        await beats(caller, 1)
        stage.go.set()
        rest = (await caller.rest()).replace(BEATS[dialect], b"")
        (record,) = await here.app.recorded()
    assert head.status == 200
    assert b"error" in rest
    assert b"no such thing" in rest
    assert b"[DONE]" not in rest
    assert b"message_stop" not in rest
    assert b"response.completed" not in rest
    assert record.verdict == "failed"
    assert "no such thing" in record.error


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
async def test_another_target_after_the_first_sign(serve: Any, dialect: str) -> None:
    """A sign of life is no piece: who fails after it is replaced by the next target."""
    stage = Stage(None, then=fault(500))
    first, second = await serve(stage), await serve(good)
    providers = {"house": row("openai-chat", first.url), "other": row("openai-chat", second.url)}
    config = configured(providers, routes={"fast": ("house/small", "other/small")}, heartbeat=SECONDS)
    async with gateway(config) as here:
        path, body = asking(dialect, "fast", stream=True)
        caller = await here.caller()
        caller.ask(path, body)
        await caller.head()
        await beats(caller, 1)
        stage.go.set()
        rest = await caller.rest()
        (record,) = await here.app.recorded()
    assert b"error" not in rest
    assert b"lo" in rest
    assert (record.provider, record.attempts, record.verdict) == ("other", 2, "complete")


async def test_plain_requests_have_none(serve: Any) -> None:
    """A whole answer keeps its status to itself until it is there."""
    stage = Stage(None, then=fault(503, "overloaded_error"))
    backend = await serve(stage)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, heartbeat=SECONDS)) as here:
        caller = await here.caller()
        caller.ask(*asking("openai-chat"))
        await until(stage.asked)
        clock = await streamed(here, "openai-chat")
        await clock.head()
        await beats(clock)
        clock.leave()
        stage.go.set()
        answer = await caller.whole()
    assert answer.status == 503

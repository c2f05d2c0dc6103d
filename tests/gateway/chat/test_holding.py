"""The beginning of a stream that is kept back: what fails meanwhile is retried unseen, and nothing is kept for too long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from polychat.config.settings import Route
from polychat.errors import Truncated
from polychat.events import Event, Finish, Start, Text
from polychat.gateway.paths import DIALECTS
from polychat.routing.holding import Pumped
from polychat.types import ChatRequest
from polychat.wire.contract import Wire

from ...support.failing_streams import AFTER, ENDS, words_of
from ...support.running_gateway import DONE, END, FIRST, Answer, Stage, asking, configured, gateway, good, row, streaming, text
from ...support.scripted_server import Say, Seen
from ...support.scripted_vendors import Batches, ScriptedVendor


def held(first: Any, second: Any, hold: int = 100, seconds: float = 60.0, **more: Any) -> Any:
    """A route of two targets that keeps so much back."""
    route = Route(("house/small", "other/small"), strategy="ordered", hold=hold, hold_seconds=seconds, **more)
    providers = {"house": row("openai-chat", first.url), "other": row("openai-chat", second.url)}
    return configured(providers, routes={"fast": route})


def failing(failure: str) -> Any:
    """A backend that says "Wrong" and fails so."""
    rest, _ = AFTER[failure]
    return streaming(FIRST, text("Wrong"), *(piece for piece in rest if piece is not None), cut=None in rest)


class SlowVendor(ScriptedVendor):
    """Each batch is read before it says the next."""

    async def _say(self, wire: Wire, request: ChatRequest, batches: Batches, say: Say) -> None:
        writer = wire.writer(request, "one", 1_700_000_000)
        await say.head(writer.status, writer.headers, writer.content_type)
        for batch in batches:
            await say.chunk(writer.write(list(batch)))
            for _ in range(20):
                await asyncio.sleep(0)
        await say.chunk(writer.end())
        await say.last()


@pytest.mark.parametrize("failure", AFTER)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_failure_after_the_first_words(serve: Any, dialect: str, failure: str) -> None:
    """Is seen by no client: the next target's answer is all that it gets, in every dialect, passed or translated."""
    first, second = await serve(failing(failure)), await serve(good)
    async with gateway(held(first, second)) as here:
        answer = await here.ask(*asking(dialect, "fast", stream=True))
        (record,) = await here.app.recorded()
    assert answer.status == 200
    assert b"Wrong" not in answer.body
    assert b'"error":{' not in answer.body
    assert b"event: error" not in answer.body
    assert ENDS.get(dialect, DONE.strip()) in answer.body
    assert (answer.headers["x-polychat-provider"], answer.headers["x-polychat-attempts"]) == ("other", "2")
    assert (record.verdict, record.attempts) == ("complete", 2)


@pytest.mark.parametrize("failure", AFTER)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_target_that_cut_off_a_reply(serve: Any, dialect: str, failure: str) -> None:
    """Cuts off one without a hold, and the next stream that asks it is kept back: another cut is seen by no client."""
    first, second = await serve(failing(failure)), await serve(good)
    async with gateway(held(first, second, 0)) as here:
        answers = [await here.ask(*asking(dialect, "fast", stream=True)) for _ in range(3)]
        records = await here.app.recorded(3)
    assert not any(b"Wrong" in answer.body for answer in answers[1:])
    assert [record.verdict for record in records[1:]] == ["complete", "complete"]
    if b"Wrong" in answers[0].body:  # where it failed in the same read, even that was retried
        assert [record.attempts for record in records] == [1, 2, 1]


@pytest.mark.parametrize("rules", [{"hold_after_failures": False}, {"continuation": True}])
async def test_who_is_not_kept_back_after_an_early_cut(
    serve: Any, monkeypatch: pytest.MonkeyPatch, rules: dict[str, Any]
) -> None:
    """Streams of a route that says so, and those that another target would continue: their words come as they do."""
    monkeypatch.setattr("polychat.routing.early_cuts._LEAST", 60.0)
    monkeypatch.setattr("polychat.routing.early_cuts.EARLY", 60.0)
    stage = Stage(FIRST, text("Hel"), rest=[text("lo"), END, DONE])
    answers = [good, stage] if "continuation" in rules else [stage]

    async def other(seen: Seen, say: Say) -> None:
        await answers.pop(0)(seen, say)

    first, second = await serve(streaming(FIRST, text("Wrong"), cut=True)), await serve(other)
    async with gateway(held(first, second, 0, **rules)) as here:
        cut = await here.ask(*asking("openai-chat", "fast", stream=True))
        assert b"Wrong" in cut.body
        router = here.app.runtime.router
        router.health.facts("fast", "house/small").probation.called(router.clock())
        caller = await here.caller()
        caller.ask(*asking("openai-chat", "fast", stream=True))
        await caller.head()
        await caller.until(b"Hel")
        stage.go.set()
        assert b"lo" in await caller.rest()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("hold", "seconds"), [(3, 60.0), (100, 0.001)])
async def test_what_is_enough(serve: Any, dialect: str, hold: int, seconds: float) -> None:
    """Enough characters, or enough time though nothing more comes: the client gets them, and a failure after that is
    reported.
    """
    stage = Stage(FIRST, text("Hel"), rest=[text("lo"), None])
    first, second = await serve(stage), await serve(good)
    async with gateway(held(first, second, hold, seconds)) as here:
        caller = await here.caller()
        caller.ask(*asking(dialect, "fast", stream=True))
        answer = await caller.head()
        answer.body = await caller.until(b"Hel")
        stage.go.set()
        answer.body += await caller.rest()
        (record,) = await here.app.recorded()
    assert b'"error"' in answer.body or b"event: error" in answer.body
    assert (record.verdict, record.attempts) == ("truncated", 1)
    assert second.seen == []


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_last_attempt_is_not_kept_back(serve: Any, dialect: str) -> None:
    """Once a reply broke off, streams are kept back while another target may be asked; then their words come as they do."""
    first, second = [await serve(streaming(FIRST, text("Hel"), cut=True)) for _ in range(2)]
    async with gateway(held(first, second, 0)) as here:
        for number in (1, 2, 3):
            answer = await here.ask(*asking(dialect, "fast", stream=True))
            records = await here.app.recorded(number)
            assert b"Hel" in answer.body
            assert (answer.status, records[-1].verdict) == (200, "truncated")
    assert [record.attempts for record in records] == [1, 3, 3]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_only_target_is_not_kept_back(serve: Any, dialect: str) -> None:
    """Whatever it did before: no other could answer in its place."""
    server = await serve(streaming(FIRST, text("Hel"), cut=True))
    async with gateway(configured({"house": row("openai-chat", server.url)})) as here:
        answers = [await here.ask(*asking(dialect, stream=True)) for _ in range(2)]
        records = await here.app.recorded(2)
    assert all(b"Hel" in answer.body for answer in answers)
    assert [(record.verdict, record.attempts) for record in records] == [("truncated", 1)] * 2


def _words_of(dialect: str, answer: Answer) -> str:
    if dialect != "openai-completions":
        return words_of(dialect, answer.body)
    chunks = [json.loads(event[6:]) for event in answer.events if event != DONE.strip().decode()]
    return "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])


@pytest.mark.parametrize("wire_name", ["openai-chat", "anthropic"])
@pytest.mark.parametrize("hold", [4, 6, 12])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_reply_goes_on_behind_what_was_kept(serve: Any, dialect: str, hold: int, wire_name: str) -> None:
    """Whichever piece is enough: nothing is lost or repeated, nobody else is asked, and the end is the backend's."""
    words = ["Hel", "lo ", "you ", "two"]
    events: list[Event] = [Start("1", "small"), *map(Text, words), Finish("complete", "stop")]
    backend = await serve(SlowVendor(wire_name, [[event] for event in events]))
    other = await serve(good)
    route = Route(("house/small", "other/small"), strategy="ordered", hold=hold, hold_seconds=60.0)
    providers = {"house": row(wire_name, backend.url), "other": row("openai-chat", other.url)}
    async with gateway(configured(providers, routes={"fast": route})) as here:
        answer = await here.ask(*asking(dialect, "fast", stream=True))
        (record,) = await here.app.recorded()
    assert _words_of(dialect, answer) == "Hello you two"
    assert (record.verdict, record.attempts, record.failures) == ("complete", 1, [])
    assert other.seen == []


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_end_is_never_held(serve: Any, dialect: str) -> None:
    """A reply shorter than what is kept comes whole as soon as it ends, though its backend leaves the connection open."""
    stage = Stage(FIRST, text("Hel"), text("lo"), END, DONE)
    first, second = await serve(stage), await serve(good)
    async with gateway(held(first, second)) as here:
        answer = await here.ask(*asking(dialect, "fast", stream=True))
        (record,) = await here.app.recorded()
    assert ENDS.get(dialect, DONE.strip()) in answer.body
    assert record.verdict == "complete"


async def test_a_generator_in_a_task() -> None:
    """A wait for its next batch may be given up and taken up again; its end and its error come where they are read."""
    go = asyncio.Event()
    closed = []

    async def batches() -> AsyncGenerator[list[Event], None]:
        try:
            yield [Text("a")]
            await go.wait()
            yield [Text("b"), Finish("complete")]
            raise Truncated("it broke")
        finally:
            closed.append(True)

    pumped = Pumped(batches())
    assert await anext(pumped) == [Text("a")]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await anext(pumped)
    go.set()
    assert await anext(pumped) == [Text("b"), Finish("complete")]
    with pytest.raises(Truncated):
        await anext(pumped)
    with pytest.raises(StopAsyncIteration):
        await anext(pumped)
    await pumped.aclose()
    assert closed == [True]
    left = Pumped(batches())
    go.clear()
    assert await anext(left) == [Text("a")]
    await left.aclose()
    assert closed == [True, True]

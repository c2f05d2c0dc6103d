"""A stream that is cut off and goes on with another target's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from polychat.config.settings import Route
from polychat.events import Event, Finish, Start, Text, Usage
from polychat.gateway.paths import DIALECTS
from polychat.types import ChatRequest, TextPart
from polychat.wire.contract import names

from ...support.failing_streams import ENDS, words_of
from ...support.running_gateway import (
    BASES,
    DONE,
    END,
    FIRST,
    USAGE,
    Answer,
    Running,
    Stage,
    asking,
    configured,
    event,
    gateway,
    row,
    streaming,
    text,
)
from ...support.scripted_vendors import ScriptedVendor

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def going_on(*urls: str, upstream: str = "openai-chat", **more: Any) -> Any:
    """A route of backends that go on where others were cut off; the last speaks ``upstream``."""
    labels = [f"b{number}" for number in range(len(urls))]
    wires = dict.fromkeys(labels, "openai-chat") | {labels[-1]: upstream}
    providers = {label: row(wires[label], url) for label, url in zip(labels, urls, strict=True)}
    route = Route(tuple(f"{label}/small" for label in labels), **{"strategy": "ordered", "continuation": True, **more})
    return configured(providers, routes={"fast": route})


def rest(pieces: list[str]) -> Callable[[ChatRequest], list[list[Event]]]:
    """What a vendor answers: these, and what that took."""

    def answer(request: ChatRequest) -> list[list[Event]]:
        end: list[Event] = [Usage(9, 2, 11), Finish("complete", "stop")]
        return [[Start("2", "large"), Text(pieces[0])], *([Text(piece)] for piece in pieces[1:]), end]

    return answer


async def answer_when_cut(here: Running, dialect: str, *stages: Stage, **more: Any) -> Answer:
    """What a client gets whose backends break off, each when the client has had its words: a reset may lose them."""
    caller = await here.caller()
    caller.ask(*asking(dialect, "fast", stream=True, **more))
    answer = await caller.head()
    for stage in stages:
        answer.body += await caller.until(b"on" if stage is stages[0] else b"two")
        stage.go.set()
    answer.body += await caller.rest()
    return answer


CUTS: dict[str, list[bytes | None]] = {
    "cut": [None],
    "ended too soon": [],
    "an error": [event({"error": {"message": "out of memory", "type": "server_error"}})],
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "openai-completions"])
async def test_every_dialect(serve: Any, dialect: str, cut: str) -> None:
    """One reply: its words once, its own end, and what both parts took; the seam is marked where clients accept comments."""
    first = await serve(stage := Stage(FIRST, text("Once upon "), rest=CUTS[cut]))
    second = await serve(vendor := ScriptedVendor("openai-chat", rest(["upon a", " time"])))
    async with gateway(going_on(first.url, second.url)) as here:
        answer = await answer_when_cut(here, dialect, stage)
        (record,) = await here.app.recorded()
    assert answer.status == 200
    assert words_of(dialect, answer.body) == "Once upon a time"
    assert ENDS.get(dialect, DONE.strip()) in answer.body
    assert (b": continued by b1/small after 10 characters\n\n" in answer.body) == bool(DIALECTS[dialect].heartbeat)
    assert (record.verdict, record.attempts, record.provider) == ("complete", 2, "b1")
    assert [failure.target for failure in record.failures] == ["b0/small"]
    assert record.seams == ("by b1/small after 10 characters",)
    assert record.prompt_tokens is not None
    assert record.prompt_tokens > 9
    assert record.completion_tokens is not None
    assert record.completion_tokens > 2
    *_, partial, last = vendor.asks[0].messages
    assert (partial.role, partial.parts) == ("assistant", [TextPart("Once upon")])
    assert last.role == "user"


@pytest.mark.parametrize("upstream", names())
async def test_every_wire(serve: Any, upstream: str) -> None:
    """A target on any wire goes on; one that takes the beginning of its answer is not asked by words."""
    first = await serve(stage := Stage(FIRST, text("Once upon"), rest=[None]))
    second = await serve(vendor := ScriptedVendor(upstream, rest([" a", " time"])))
    assert upstream in BASES
    async with gateway(going_on(first.url, second.url, upstream=upstream)) as here:
        answer = await answer_when_cut(here, "openai-chat", stage)
    assert words_of("openai-chat", answer.body) == "Once upon a time"
    roles = [turn.role for turn in vendor.asks[0].messages]
    assert roles == (["user", "assistant"] if upstream == "ollama" else ["user", "assistant", "user"])


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [TOOL]},
        {"response_format": {"type": "json_object"}},
        {"reasoning_effort": "low"},
        {"n": 2},
        {"logprobs": True},
    ],
)
async def test_what_a_seam_could_spoil(serve: Any, more: dict[str, Any]) -> None:
    """Is cut off as it is without this, and nobody else is asked."""
    first = await serve(stage := Stage(FIRST, text("Once upon"), rest=[None]))
    second = await serve(vendor := ScriptedVendor("openai-chat", rest([" a", " time"])))
    async with gateway(going_on(first.url, second.url)) as here:
        answer = await answer_when_cut(here, "openai-chat", stage, **more)
        (record,) = await here.app.recorded()
    assert b'"error"' in answer.body
    assert DONE not in answer.body
    assert record.verdict == "truncated"
    assert vendor.asks == []


async def test_only_if_the_route_sets_it(serve: Any) -> None:
    """By default the client gets the error."""
    first = await serve(stage := Stage(FIRST, text("Once upon"), rest=[None]))
    second = await serve(vendor := ScriptedVendor("openai-chat", rest([" a", " time"])))
    async with gateway(going_on(first.url, second.url, continuation=False)) as here:
        answer = await answer_when_cut(here, "openai-chat", stage)
    assert DONE not in answer.body
    assert vendor.asks == []


async def test_several_seams(serve: Any) -> None:
    """A second part that is cut off goes on with a third; when nobody is left, the client gets the error."""
    stages = [Stage(FIRST, text("one on "), rest=[None]), Stage(FIRST, text("two "), rest=[None])]
    first, second = await serve(stages[0]), await serve(stages[1])
    third = await serve(streaming(FIRST, text("three"), END, USAGE, DONE))
    async with gateway(going_on(first.url, second.url, third.url)) as here:
        answer = await answer_when_cut(here, "openai-chat", *stages)
        (record,) = await here.app.recorded()
    assert words_of("openai-chat", answer.body) == "one on two three"
    assert (record.verdict, record.attempts, len(record.seams)) == ("complete", 3, 2)
    for stage in stages:
        stage.go.clear()
    async with gateway(going_on(first.url, second.url, attempts=2)) as here:
        answer = await answer_when_cut(here, "openai-chat", *stages)
        (record,) = await here.app.recorded()
    assert words_of("openai-chat", answer.body) == "one on two "
    assert b'"error"' in answer.body
    assert DONE not in answer.body
    assert (record.verdict, record.attempts) == ("truncated", 2)


async def test_within_the_budget(serve: Any) -> None:
    """A route that has made too many retries does not continue: the client gets the error."""
    first = await serve(stage := Stage(FIRST, text("one on "), rest=[None]))
    second = await serve(vendor := ScriptedVendor("openai-chat", rest(["two"])))
    async with gateway(going_on(first.url, second.url, max_wait=0.0)) as here:
        budget = here.app.runtime.router.health.budget("fast")
        now = here.app.runtime.router.clock()
        while budget.take(now, is_reliable=True):
            pass
        answer = await answer_when_cut(here, "openai-chat", stage)
    assert DONE not in answer.body
    assert vendor.asks == []

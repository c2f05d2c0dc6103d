"""An answer on its way: its head, what the log and the record keep of it, and its end where its source names none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from polychat.errors import BackendError
from polychat.events import Event, Start, Text, Usage
from polychat.gateway.chat.delivery import HEADER, losses_line, note_usage
from polychat.gateway.chat.replies import EventReply, Outcome, open_stream
from polychat.gateway.context import Guard, RequestContext
from polychat.gateway.observe.record import Record
from polychat.gateway.paths import DIALECTS
from polychat.routing.health import Health
from polychat.routing.holding import MOST
from polychat.routing.order import Chooser
from polychat.wire.contract import wire_named
from polychat.wire.losses import EACH, Loss
from polychat.wire.passthrough import Reading

from ...support.failing_streams import ENDS
from ...support.gateway_for_clients import BROKEN, Held, before
from ...support.running_gateway import (
    DONE,
    END,
    FIRST,
    Stage,
    asking,
    configured,
    event,
    gateway,
    row,
    streaming,
    text,
    with_guards,
)


class Says(Guard):
    """Answers each chat with "Hel" and "lo", and then no end: its events stop, or break with an error."""

    def __init__(self, error: BackendError | None = None) -> None:
        self._error = error

    async def before(self, context: RequestContext) -> EventReply:
        return EventReply(self._events(), [Start("one", "kept"), Text("Hel")])

    async def _events(self) -> AsyncGenerator[list[Event], None]:
        yield [Text("lo")]
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [None, BackendError("the cache broke")])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_events_without_an_end_are_no_complete_answer(dialect: str, stream: bool, error: BackendError | None) -> None:
    """Whatever stops before its finish: a client that streams gets its words and the failure, another one the failure."""
    async with gateway(
        configured({"house": row("openai-chat", "http://127.0.0.1:1")}), **with_guards([], [Says(error)])
    ) as here:
        answer = await here.ask(*asking(dialect, "house/small", stream=stream))
        (record,) = await here.app.recorded()
    assert record.verdict in ("truncated", "failed")
    assert record.error is not None
    assert ("the cache broke" if error else "ended") in record.error
    assert ENDS[dialect] not in answer.body
    if stream:
        assert answer.status == 200
        assert b"lo" in answer.body
        assert b"error" in answer.body or b"failed" in answer.body
    else:
        assert answer.status >= 500


@pytest.mark.parametrize("stream", [True, False])
async def test_the_log_holds_the_text_of_the_first_choice(serve: Any, stream: bool) -> None:
    """Of several answers to one question it has the first alone, not the words of all mixed; passed and translated."""

    def delta(index: int, words: str, reason: str | None = None) -> bytes:
        choice = {"index": index, "delta": {"content": words}, "finish_reason": reason}
        return event({"id": "c", "model": "small-1", "choices": [choice]})

    pieces = [delta(0, "yes"), delta(1, "no"), delta(0, "!", "stop"), delta(1, "?", "stop"), DONE]
    server = await serve(streaming(*pieces) if stream else whole_of("yes!", "no?"))
    async with gateway(configured({"house": row("openai-chat", server.url)}, log_text=True)) as here:
        await here.ask(*asking("openai-chat", stream=stream, n=2))
        (record,) = await here.app.recorded()
    assert record.text == ("hi", "yes!")


def whole_of(*answers: str) -> Any:
    choices = [
        {"index": index, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}
        for index, words in enumerate(answers)
    ]

    async def handler(seen: Any, say: Any) -> None:
        await say.whole({"id": "c", "object": "chat.completion", "created": 1, "model": "small-1", "choices": choices})

    return handler


@pytest.mark.parametrize("dialect", [name for name, dialect in DIALECTS.items() if dialect.compares])
async def test_the_failure_behind_a_cut_stream_has_the_name_that_was_asked_for(dialect: str) -> None:
    """What continues the backend's own reply tells the model that the client knows, like all before it."""
    wire_name = DIALECTS[dialect].wire.NAME
    backend = Held(wire_name, BROKEN, cut_after=1)
    async with before({"house": (wire_name, backend)}, aliases={"ours": "house/small"}) as here:
        caller = await here.caller()
        caller.ask(*asking(dialect, "ours", stream=True))
        await caller.head()
        came = await caller.chunk()
        backend.go.set()
        came += await caller.rest()
        (record,) = await here.app.recorded()
    assert record.passthrough
    assert record.verdict == "truncated"
    assert b'"ours"' in came
    assert b'"small"' not in came


class Pieces:
    """A response whose body comes in these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    async def piece(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


async def test_a_stream_without_words_is_passed_on_when_it_is_long() -> None:
    """Comments without end are not gathered: the client gets what came, once that is as much as may be held."""
    comment = b": " + b"x" * (MOST // 4 - 4) + b"\n\n"
    response = Pieces(*[comment] * 9)
    reply = await open_stream(cast(Any, response), Reading(wire_named("openai-chat").Reader()))
    assert (len(reply.first), len(response.pieces)) == (MOST, 5)


def test_what_a_request_lost_is_reported_in_a_header_of_bounded_length() -> None:
    """A client may name tools without end: the header tells each once as far as it goes, the record counts all."""
    field = min(EACH)
    lost = [Loss(field, "dropped", "it is not known there", f"{field}_{number // 2}") for number in range(HEADER)]
    record = Record("one", "openai-chat", "POST", "/", 0.0)
    line = losses_line(record, lost, ["sort"])
    name, _, value = line.partition(b": ")
    assert (name, len(value), record.fields_dropped) == (b"x-polychat-losses", HEADER + 2, HEADER + 1)
    assert value.startswith(f"sort, {field} ({field}_0), {field} ({field}_1), {field} ({field}_2)".encode())


@pytest.mark.parametrize(("api_url", "is_priced"), [("", True), ("https://api.openai.com/v1", True), ("https://else", False)])
def test_a_vendors_price_is_for_its_own_place(api_url: str, is_priced: bool) -> None:
    """Where a request went to another address than the vendor's, the same model may cost anything."""
    pytest.importorskip("genai_prices")
    backend = SimpleNamespace(url="https://api.openai.com/v1")
    target: Any = SimpleNamespace(name="openai/gpt-4o", label="openai", model="gpt-4o", backend=backend)
    runtime: Any = SimpleNamespace(
        router=SimpleNamespace(chooser=Chooser(Health(), Random())), configured=SimpleNamespace(prices={})
    )
    record = Record("one", "openai-chat", "POST", "/", 0.0)
    note_usage(record, runtime, Outcome(None, Usage(10, 10, 20), "gpt-4o"), target, 0.0, api_url)
    assert (record.cost is not None) == is_priced


@pytest.mark.parametrize("door", ["openai-chat", "anthropic"])
async def test_the_log_holds_the_words_of_every_piece_of_a_stream(serve: Any, door: str) -> None:
    """Those that are pushed after the first too, of a stream that passes and of one that is translated."""
    stage = Stage(FIRST, text("Hel"), rest=[text("lo"), text("!"), END, DONE])
    server = await serve(stage)
    async with gateway(configured({"house": row("openai-chat", server.url)}, log_text=True)) as here:
        caller = await here.caller()
        caller.ask(*asking(door, stream=True))
        await caller.head()
        await caller.until(b"Hel")
        stage.go.set()
        await caller.rest()
        (record,) = await here.app.recorded()
    assert record.text == ("hi", "Hello!")


async def test_a_passed_stream_that_the_end_of_the_gateway_cuts_within_an_event(serve: Any) -> None:
    """The error is an event of its own: what the backend has sent of its next one does not swallow it."""
    stage = Stage(FIRST, text("Hel"), text("lo")[:20])
    server = await serve(stage)
    async with gateway(configured({"house": row("openai-chat", server.url)})) as here:
        caller = await here.caller()
        caller.ask(*asking("openai-chat", stream=True))
        await caller.head()
        came = b""
        while not came.endswith(text("lo")[:20]):
            came += await caller.chunk()
        here.app.drain()
        for connection in list(here.state.connections):
            connection.shutdown()
        await asyncio.sleep(0)
        for task in list(here.state.tasks):
            task.cancel()
        rest = await caller.rest()
        (record,) = await here.app.recorded()
    assert rest.startswith(b"\n\ndata: ")
    assert "shutting down" in json.loads(rest.strip().removeprefix(b"data: "))["error"]["message"]
    assert (record.verdict, record.passthrough) == ("truncated", True)

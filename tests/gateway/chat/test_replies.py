"""Replies that have begun: what their end is where nothing says so, or where it comes with the connection's loss."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from polychat.errors import Truncated
from polychat.events import Event, Finish, Start, Text, Usage
from polychat.gateway.chat.replies import PassthroughStream, open_events
from polychat.types import ChatMessage, ChatRequest, TextPart
from polychat.wire.contract import names, wire_named
from polychat.wire.passthrough import Reading

from ...support.running_gateway import DONE, END, FIRST, asking, configured, gateway, row, streaming, text

REPLY: list[list[Event]] = [[Start("1", "m"), Text("Hello")], [Usage(1, 2, 3), Finish("complete", "stop")]]


async def test_a_whole_reply_without_an_end_is_cut_off() -> None:
    """Where the client gets it whole, no end is made up, and the backend's generator is closed."""
    closed = False

    async def batches() -> AsyncGenerator[list[Event], None]:
        nonlocal closed
        try:
            yield REPLY[0]
        finally:
            closed = True

    with pytest.raises(Truncated):
        await open_events(batches(), None, whole=True)
    assert closed
    reply = await open_events(batches(), None, whole=False)
    assert reply.first == REPLY[0]
    assert [reply.look(batch) for batch in (*REPLY, [])] == [None, REPLY[1][-1], REPLY[1][-1]]


@pytest.mark.parametrize("name", names())
def test_a_stream_whose_end_had_come_is_complete_though_its_connection_is_lost(name: str) -> None:
    """The last line may come without its line break; a stream that lost its connection before is truncated."""
    wire = wire_named(name)
    writer = wire.writer(ChatRequest("m", [ChatMessage("user", [TextPart("hi")])], stream=True), "one", 1_700_000_000)
    pieces = [writer.write(batch) for batch in REPLY]
    body = b"".join([*pieces, writer.end()]).rstrip(b"\n")
    for data, verdict in ((body, "complete"), (pieces[0], "truncated")):
        response: Any = None  # nothing is read of it
        reply = PassthroughStream(response, Reading(wire.Reader()), b"")
        reply.monitor.feed(data)
        reply.connection_lost(loss := Truncated("the connection was lost"))
        reply.monitor.end()
        finish = reply.outcome.finish
        assert finish is not None
        assert finish.verdict == verdict
        assert (finish.error is loss) == (verdict == "truncated")


@pytest.mark.parametrize("name", names())
async def test_a_reply_that_is_left_lets_go_of_its_backend(name: str) -> None:
    """A generator is closed; a connection serves the next request only where the reply has come to its end."""
    closed: list[str] = []

    async def batches() -> AsyncGenerator[list[Event], None]:
        try:
            yield REPLY[0]
            yield REPLY[1]
        finally:
            closed.append("generator")

    await (await open_events(batches(), None, whole=False)).close()
    assert closed == ["generator"]

    class Response:
        def finish(self) -> None:
            closed.append("finished")

        def close(self) -> None:
            closed.append("closed")

    wire, response = wire_named(name), cast(Any, Response())
    writer = wire.writer(ChatRequest("m", [ChatMessage("user", [TextPart("hi")])], stream=True), "one", 1_700_000_000)
    reply = PassthroughStream(response, Reading(wire.Reader()), b"")
    reply.monitor.feed(writer.write(REPLY[0]))
    await reply.close()
    reply.monitor.feed(writer.write(REPLY[1]) + writer.end())
    reply.monitor.end()
    await reply.close()
    assert closed == ["generator", "closed", "finished"]


async def test_a_passed_stream_ends_between_two_events(serve: Any) -> None:
    """Whatever the backend's last read ends in: its last event has its blank line, and so has the error behind a cut one."""
    whole = (FIRST + text("Hel"), END + DONE.rstrip(b"\n") + b"\n")
    for pieces, cut in ((whole, False), ((FIRST + text("Hel"), b'data: {"id'), True)):
        server = await serve(streaming(*pieces, cut=cut))
        async with gateway(configured({"house": row("openai-chat", server.url)})) as here:
            answer = await here.ask(*asking("openai-chat", "small", stream=True))
            assert (await here.app.recorded())[0].passthrough
        assert answer.body.endswith(b"\n\n")
        assert cut == (b"error" in answer.body)
        assert not cut or any(
            "error" in json.loads(event.removeprefix("data: ")) for event in answer.events if '{"err' in event
        )

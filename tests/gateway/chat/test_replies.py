"""Replies that have begun: what their end is where nothing says so, or where it comes with the connection's loss."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from polychat.errors import Truncated
from polychat.events import Event, Finish, Start, Text, Usage
from polychat.gateway.chat.replies import PassthroughStream, open_events
from polychat.types import ChatMessage, ChatRequest, TextPart
from polychat.wire.contract import names, wire
from polychat.wire.passthrough import Reading

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
    assert (await open_events(batches(), None, whole=False)).first == REPLY[0]


@pytest.mark.parametrize("name", names())
def test_a_stream_whose_end_had_come_is_complete_though_its_connection_is_lost(name: str) -> None:
    """The last line may come without its line break; a stream that lost its connection before is truncated."""
    spoken = wire(name)
    writer = spoken.writer(ChatRequest("m", [ChatMessage("user", [TextPart("hi")])], stream=True), "one", 1_700_000_000)
    pieces = [writer.write(batch) for batch in REPLY]
    body = b"".join([*pieces, writer.end()]).rstrip(b"\n")
    for data, verdict in ((body, "complete"), (pieces[0], "truncated")):
        response: Any = None  # nothing is read of it
        reply = PassthroughStream(response, Reading(spoken.Reader()), b"")
        reply.monitor.feed(data)
        reply.connection_lost(loss := Truncated("the connection was lost"))
        reply.monitor.end()
        finish = reply.outcome.finish
        assert finish is not None
        assert finish.verdict == verdict
        assert (finish.error is loss) == (verdict == "truncated")

"""Requests whose head and body come apart, as many clients send them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from polychat.gateway.chat.fast_path import FastChat
from polychat.http.server import state

from ...support.patience import PATIENCE
from ...support.running_gateway import Running, asking, configured, gateway, good, row

PATH, HELLO = asking("openai-chat")
BODY = json.dumps(HELLO).encode()
HEAD = b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % (PATH.encode(), len(BODY))


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[FastChat]:
    """The chats that were begun without a task."""
    chats: list[FastChat] = []
    begin = FastChat.begin
    monkeypatch.setattr(FastChat, "begin", lambda self: (chats.append(self), begin(self))[1])
    return chats


async def becomes(here: Running, state: str) -> None:
    """Returns when the only connection is in this state."""
    async with asyncio.timeout(PATIENCE):
        while [connection.state for connection in here.state.connections] != [state]:
            await asyncio.sleep(0)


@pytest.mark.parametrize("happens", ["the body comes", "the body takes long", "the gateway ends", "the client leaves"])
async def test_a_known_head_waits_for_its_body(
    serve: Any, monkeypatch: pytest.MonkeyPatch, begun: list[FastChat], happens: str
) -> None:
    """The request needs no task then; one whose body takes long, or that an end meets, is answered as if nothing had waited."""
    monkeypatch.setattr(state, "HOLD", PATIENCE)
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        caller = await here.caller()
        caller.raw(HEAD)
        await becomes(here, "reading")  # its head is not known yet
        caller.raw(BODY)
        assert (await caller.whole()).status == 200
        (connection,) = here.state.connections
        caller.raw(HEAD)
        await becomes(here, "held")
        assert (begun, here.app.running) == ([], 0)
        if happens == "the client leaves":
            caller.leave()
        else:
            if happens == "the body takes long":
                connection.parse_held()
            elif happens == "the gateway ends":
                connection.shutdown()
            caller.raw(BODY)
            answer = await caller.whole()
            ends = "close" if happens == "the gateway ends" else None
            assert (answer.status, answer.headers.get("connection")) == (200, ends)
        records = await here.app.recorded(2)
    assert len(begun) == (happens == "the body comes")
    outcomes = [(record.status, record.verdict) for record in records]
    assert outcomes == [(200, "complete"), (0, "cancelled") if happens == "the client leaves" else (200, "complete")]

"""Requests as clients send them: the head and the body apart, or each with an id and a trace of its own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from polychat.gateway.app import Gateway
from polychat.gateway.chat.fast_path import FastChat
from polychat.http.server import state

from ...support.fast_chats import noted_fast_chats
from ...support.patience import PATIENCE
from ...support.running_gateway import Running, asking, configured, gateway, good, row

PATH, HELLO = asking("openai-chat")
BODY = json.dumps(HELLO).encode()
HEAD = b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % (PATH.encode(), len(BODY))


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[FastChat]:
    """The chats that were begun without a task."""
    return noted_fast_chats(monkeypatch, opening=True)


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


TRACE = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333%d-01"


async def test_requests_with_ids_and_traces_of_their_own_need_no_task(
    serve: Any, monkeypatch: pytest.MonkeyPatch, begun: list[FastChat]
) -> None:
    """Each is recorded under its id and sent on with its trace, as by a task; one with a trace that is none gets a task."""
    lines = [f"X-Request-ID: mine-{number}\r\n{TRACE % number}" for number in range(3)]
    lines += ["X-Request-ID: mine 3\r\ntraceparent: \u00e9", "X-Request-ID: mine-4\r\ntraceparent: a b"]

    async def seen_of() -> tuple[list[str | None], list[dict[str, str]]]:
        backend = await serve(good)
        async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
            caller = await here.caller()
            for own in lines:
                caller.raw(HEAD[:-2] + own.encode("latin-1") + b"\r\n\r\n" + BODY)
                assert (await caller.whole()).status == 200
            records = await here.app.recorded(len(lines))
        names = [record.request_id if record.request_id.startswith("mine") else None for record in records]
        return names, [{**request.headers, "host": ""} for request in backend.seen]

    names, requests = await seen_of()
    assert names == ["mine-0", "mine-1", "mine-2", None, "mine-4"]
    assert [chat.record.request_id for chat in begun] == ["mine-0", "mine-1", "mine-2"]
    assert [request["traceparent"] for request in requests[:3]] == [TRACE[13:] % number for number in range(3)]
    monkeypatch.setattr(Gateway, "fast_path", lambda self, scope: None)
    assert await seen_of() == (names, requests)

"""Replies of the Responses door: members that are required even where they are null, and errors in both shapes."""

from __future__ import annotations

import json

import pytest
from openresponses_types.types import ResponseResource

from polychat.errors import ReplyFailed
from polychat.events import Event, Finish, Text, ToolCallPiece
from polychat.wire.openai_responses import read_request, writer

from ..furniture.fronts import HELLO, house
from ..furniture.gateways import asking

TOOL = {"type": "function", "name": "f"}
REPLIES: dict[str, list[Event]] = {
    "text": [Text("Hello"), Finish("complete", "stop")],
    "call": [ToolCallPiece(0, "call_1", "f", "{}"), Finish("complete", "tool_calls")],
    "cut": [ToolCallPiece(0, "call_1", "f", '{"a'), Finish("complete", "length")],
}


@pytest.mark.parametrize("events", REPLIES.values(), ids=REPLIES)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_response_has_all_required_members(events: list[Event], stream: bool) -> None:
    """Open Responses requires members that may be null, of the response and of its tools: they are there."""
    ask = read_request(json.dumps({"model": "m", "input": "hi", "tools": [TOOL], "stream": stream}).encode())
    write = writer(ask, "one", 1)
    body = write.write(events) + write.end()
    lines = [line[6:] for line in body.decode().splitlines() if line.startswith("data: ")] if stream else []
    told = [json.loads(line) for line in lines] or [{"response": json.loads(body)}]
    responses = [event["response"] for event in told if "response" in event]
    for response in responses:
        ResponseResource.model_validate(response)
    ends = [event for event in told if event.get("type") == "response.function_call_arguments.done"]
    assert all(event["name"] == "f" for event in ends)


def test_an_error_event_has_both_shapes() -> None:
    """Code and message stand in the event itself, as the reference has it, and in an ``error`` object, as the API sends it."""
    ask = read_request(b'{"model": "m", "input": "hi", "stream": true}')
    body = writer(ask, "one", 1).write([Text("so far"), Finish("failed", error=ReplyFailed("it broke"))])
    events = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]
    error = next(event for event in events if event["type"] == "error")
    assert {name: error[name] for name in ("code", "message", "param")}.items() <= error["error"].items()
    assert "it broke" in error["message"]


async def test_a_websocket_is_told_to_use_http() -> None:
    """426, on which clients go on over HTTP at once; 405 they try again."""
    async with house("openai-chat", HELLO) as (here, _):
        headers = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}
        got = await here.ask("/v1/responses", None, "GET", headers)
    assert got.status == 426
    assert "POST" in got.json["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/responses/resp_1/input_items", "/v1/responses/compact", "/v1/responses/input_tokens"])
async def test_what_is_beside_replies_is_no_reply(path: str) -> None:
    """Paths that the API has and the gateway has not are 404 by their path, and not replies of that name."""
    async with house("openai-chat", HELLO) as (here, _):
        for method, body in (("GET", None), ("POST", asking("openai-responses")[1])):
            got = await here.ask(path, body, method)
            assert got.status == 404
            assert path in got.json["error"]["message"]

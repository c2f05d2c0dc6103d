"""Replies of the Responses dialect: members that are required even where they are null, and errors in both shapes."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from openresponses_types.types import ResponseResource

from polychat.config.settings import WebSocket
from polychat.errors import ReplyFailed
from polychat.events import Citation, Event, Finish, Logprobs, Text, ToolCallPiece, Usage
from polychat.gateway.dialects import openai_responses
from polychat.wire.assembly import AssembledReply
from polychat.wire.openai_responses import Reader, read_reply, read_request, writer
from polychat.wire.openai_responses.actions import ACTIONS

from ..support.gateway_for_clients import HELLO, before, house
from ..support.read_replies import read_pieces
from ..support.running_gateway import asking, event, streaming
from ..support.websocket_clients import HEADERS

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
    request = read_request(json.dumps({"model": "m", "input": "hi", "tools": [TOOL], "stream": stream}).encode())
    write = writer(request, "one", 1)
    body = write.write(events) + write.end()
    lines = [line[6:] for line in body.decode().splitlines() if line.startswith("data: ")] if stream else []
    payloads = [json.loads(line) for line in lines] or [{"response": json.loads(body)}]
    responses = [event["response"] for event in payloads if "response" in event]
    assert responses
    for response in responses:
        ResponseResource.model_validate(response)
    ends = [event for event in payloads if event.get("type") == "response.function_call_arguments.done"]
    assert all(event["name"] == "f" for event in ends)


def test_an_error_event_has_both_shapes() -> None:
    """Code and message are in the event itself, as the reference has it, and in an ``error`` object, as the API sends it."""
    request = read_request(b'{"model": "m", "input": "hi", "stream": true}')
    body = writer(request, "one", 1).write([Text("so far"), Finish("failed", error=ReplyFailed("it broke"))])
    events = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]
    error = next(event for event in events if event["type"] == "error")
    assert {name: error[name] for name in ("code", "message", "param")}.items() <= error["error"].items()
    assert "it broke" in error["message"]


@pytest.mark.parametrize("why", ["switched off", "not installed"])
async def test_a_websocket_is_advised_to_use_http(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none 426, on which clients go on over HTTP at once; 405 they try again."""
    if why == "not installed":
        monkeypatch.setitem(sys.modules, "polychat.gateway.dialects.openai_responses.session", None)
        monkeypatch.delattr(openai_responses, "session", raising=False)
    async with house("openai-chat", HELLO, websocket=WebSocket(enabled=why != "switched off")) as (here, _):
        got = await here.ask("/v1/responses", None, "GET", HEADERS)
    assert got.status == 426
    assert ("polychat[gateway]" in got.json["error"]["message"]) is (why == "not installed")
    assert "POST" in got.json["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/responses/resp_1/cancel", "/v1/responses/resp_1/input_items/x"])
async def test_what_is_beside_replies_is_no_reply(path: str) -> None:
    """Paths that the API has and the gateway has not are 404 by their path, and not replies of that name."""
    async with house("openai-chat", HELLO) as (here, _):
        for method, body in (("GET", None), ("POST", asking("openai-responses")[1])):
            got = await here.ask(path, body, method)
            assert got.status == 404
            assert path in got.json["error"]["message"]


ITEM = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
PART = {"type": "output_text", "text": "x", "annotations": []}
RESPONSE = {"id": "resp_1", "object": "response", "model": "m", "status": "completed"}
DECORATED: dict[str, list[object]] = {
    "a flat annotation": [{**ITEM, "content": [{**PART, "annotations": ["here", None, {"type": "url_citation"}]}]}],
    "annotations that are none": [{**ITEM, "content": [{**PART, "annotations": 5}]}],
    "broken probabilities": [{**ITEM, "content": [{**PART, "logprobs": [5, {}, {"token": "x"}, {"logprob": 0.1}]}]}],
    "an unknown part": [{**ITEM, "content": [{"type": "never_heard_of"}, 5, None, PART]}],
    "an unknown item": [{"type": "never_heard_of", "x": 1}, {**ITEM, "content": [PART]}],
    "an item without a type": [{}, None, {"id": 5}, {**ITEM, "content": [PART]}],
    "words without the item's type": [{"role": "assistant", "content": [PART]}],
    "content as a text": [{**ITEM, "content": "x"}],
    "odd thoughts": [{"type": "reasoning", "summary": 5, "content": [1], "encrypted_content": 7}, {**ITEM, "content": [PART]}],
    "an unknown status of the item": [{**ITEM, "status": "never_heard_of", "content": [PART]}],
}


@pytest.mark.parametrize("output", DECORATED.values(), ids=DECORATED)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_decoration_never_costs_the_words(output: list[object], stream: bool) -> None:
    """Additional data that cannot be read is left out, whole and streamed."""
    response = {**RESPONSE, "output": output, "usage": {"input_tokens": 3.0, "output_tokens": "4", "input_tokens_details": []}}
    events = reply_of(*events_of(output, response)) if stream else read_reply(json.dumps(response).encode())
    assert "".join(event.text for event in events if isinstance(event, Text)) == "x"
    assert events[-1] == Finish("complete", "stop")
    assert Usage(3) in events
    assert not any(isinstance(event, Logprobs) for event in events)


def events_of(output: list[object], response: dict[str, object]) -> list[object]:
    """A stream that tells its items when they are whole, amid things that nobody knows."""
    done = [{"type": "response.output_item.done", "output_index": at, "item": item} for at, item in enumerate(output)]
    return [
        {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "output": []}},
        None,
        {"type": "response.never_heard_of", "delta": 5},
        {"type": "response.never_heard_of.delta"},
        {"no": "type"},
        {"type": "response.output_text.annotation.added", "output_index": "?", "annotation": "flat"},
        {"type": "response.reasoning_summary_text.delta", "output_index": 90, "delta": None},
        *[one for one in done if isinstance(one["item"], dict)],
        {"type": "response.completed", "response": response},
    ]


def reply_of(*items: object) -> list[Event]:
    return read_pieces(Reader(), [b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in items)]).events


def test_a_citation_in_the_shape_of_chat_is_read() -> None:
    """Its page is in a separate object there."""
    page = {"url": "https://example.org/", "title": "T", "start_index": 0, "end_index": 1}
    content = [{**PART, "annotations": [{"type": "url_citation", "url_citation": page}]}]
    events = read_reply(json.dumps({**RESPONSE, "output": [{**ITEM, "content": content}]}).encode())
    assert Citation("T", "https://example.org/", "", 0, 1) in events


@pytest.mark.parametrize("halves", [["a\ud83d", "\ude00b", "\ud83d"], ["a\ud83d\ude00b"]], ids=["two events", "one"])
def test_half_an_emoji(halves: list[str]) -> None:
    """A pair that two events share is one letter; a half alone is left out."""
    deltas = [{"type": "response.output_text.delta", "output_index": 0, "delta": one} for one in halves]
    text = "".join(halves)
    whole = {**RESPONSE, "output": [{**ITEM, "content": [{**PART, "text": text}]}]}
    events = reply_of(*deltas, {"type": "response.completed", "response": whole})
    assert "".join(event.text for event in events if isinstance(event, Text)) == "a😀b"
    texts = [event.text for event in read_reply(json.dumps(whole).encode()) if isinstance(event, Text)]
    assert texts == ["a😀b"]


@pytest.mark.parametrize("status", [None, "", "in_progress", "queued"])
def test_a_response_that_does_not_say_that_it_is_over_is_truncated(status: str | None) -> None:
    """Nothing invents an end: neither for a response without a status nor for one that is still under way."""
    body = {**RESPONSE, "status": status, "output": [{**ITEM, "content": [PART]}]}
    if status is None:
        del body["status"]
    events = read_reply(json.dumps(body).encode())
    assert Text("x") in events
    assert isinstance(events[-1], Finish)
    assert events[-1].verdict == "truncated"


def test_a_status_that_nobody_knows_is_an_end() -> None:
    """A reply is not lost for a new word for its end."""
    body = {**RESPONSE, "status": "never_heard_of", "output": [{**ITEM, "content": [PART]}]}
    assert read_reply(json.dumps(body).encode())[-1] == Finish("complete", "stop")


def test_arguments_as_an_object_are_read() -> None:
    """And null means none."""
    calls = [
        {"type": "function_call", "call_id": f"call_{at}", "name": "f", "arguments": arguments}
        for at, arguments in enumerate(({"a": 1}, None))
    ]
    events = read_reply(json.dumps({**RESPONSE, "output": calls}).encode())
    assert [event.arguments for event in events if isinstance(event, ToolCallPiece)] == ['{"a":1}', ""]
    assert events[-1] == Finish("complete", "tool_calls")


@pytest.mark.parametrize("store", [True, False])
@pytest.mark.parametrize("numbered", [True, False])
async def test_a_passed_stream_that_is_cut_ends_as_the_same_response(store: bool, numbered: bool) -> None:
    """The error and the failed response have the backend's id and the next numbers, whether the reply is kept here or not."""
    began = {**RESPONSE, "id": "resp_theirs", "status": "in_progress", "output": []}
    sent_events: list[dict[str, object]] = [
        {"type": "response.created", "response": began},
        {"type": "response.output_text.delta", "output_index": 0, "delta": "so far"},
    ]
    pieces = [event({**one, **({"sequence_number": 40 + at} if numbered else {})}) for at, one in enumerate(sent_events)]
    async with before({"house": ("openai-responses", streaming(*pieces, b'data: {"type": "resp', cut=True))}) as here:
        path, body = asking("openai-responses", stream=True, store=store)
        got = await here.ask(path, body)
    events = [json.loads(line[6:]) for line in got.body.decode().splitlines() if line.startswith("data: {") and line[-1] == "}"]
    assert [one["type"] for one in events[-2:]] == ["error", "response.failed"]
    assert [one["sequence_number"] for one in events[-2:]] == ([42, 43] if numbered else [0, 1])
    assert events[-1]["response"]["id"] == "resp_theirs"
    assert events[-1]["response"]["status"] == "failed"


ITEMS: dict[str, dict[str, Any]] = {
    "local_shell_call": {"action": {"type": "exec", "command": ["ls"], "env": {}}},
    "shell_call": {"action": {"commands": ["ls"]}},
    "apply_patch_call": {"operation": {"type": "delete_file", "path": "a"}},
    "computer_call": {"action": {"type": "screenshot"}, "pending_safety_checks": []},
    "tool_search_call": {"execution": "client", "arguments": {"query": "q"}},
    "mcp_approval_request": {"name": "f", "arguments": "{}", "server_label": "s"},
}
"""An item of each kind of action that the client is to carry out."""


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_the_client_is_to_do_is_a_call(kind: str, stream: bool) -> None:
    """Each kind of action reaches who asked as a call, with its fields, and the reply ends for it."""
    item = {"type": kind, "id": "i1", "status": "completed", **({} if kind == "mcp_approval_request" else {"call_id": "c1"})}
    item |= ITEMS[kind]
    response = {"id": "r", "object": "response", "status": "completed", "model": "m", "output": [item]}
    if stream:
        events = [
            {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": response},
        ]
        reader = Reader()
        read = [piece for value in events for piece in reader.feed(b"data: %b\n\n" % json.dumps(value).encode())]
        read += reader.end()
    else:
        read = read_reply(json.dumps(response).encode())
    reply = AssembledReply()
    for piece in read:
        reply.take(piece)
    (call,) = reply.first.calls
    assert (call.name, call.kind) == (ACTIONS[kind], kind)
    value = next(iter(ITEMS[kind].values()))
    assert json.dumps(value, separators=(",", ":")).strip('"') in call.arguments or kind == "tool_search_call"
    assert reply.finish is not None
    assert (reply.finish.verdict, reply.finish.reason) == ("complete", "tool_calls")

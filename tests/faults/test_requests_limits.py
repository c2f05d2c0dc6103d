"""Kinds of fault: a limit that a setting moves and that some endpoint has as a number of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.config.settings import Limits
from polychat.events import Event, Finish, Text
from polychat.gateway import paths
from polychat.gateway.dialects.gemini.endpoints import OF_MODELS
from polychat.types import ChatMessage, ChatRequest, TextPart, ToolCall, ToolResult
from polychat.wire import contract

from ..support.endpoint_bodies import BODIES, ONLY
from ..support.random_conversations import written
from ..support.running_gateway import asking, configured, gateway, good, row
from ..support.scripted_server import Say, Seen


def test_every_endpoint_that_reads_a_body_has_a_request_here() -> None:
    """An endpoint that is added is asked below."""
    fixed = {path for path, endpoint in paths.ENDPOINTS.items() if endpoint.method == "POST"}
    assert set(BODIES) == fixed | {f":{action}" for action in OF_MODELS}


@pytest.mark.parametrize("path", BODIES)
async def test_the_depth_of_a_request_is_the_setting_everywhere(path: str, serve: Any) -> None:
    """What is nested as deep as ``gateway.limits.depth`` is answered, and what is deeper is refused with the setting's name."""
    backend = await serve(answering)
    place = f"/v1beta/models/house/small{path}" if path[0] == ":" else path
    house = row(ONLY.get(path, "openai-chat"), backend.url, embeddings=True)
    config = configured({"house": house}, limits=Limits(depth=100))
    async with gateway(config) as running:
        answer = await running.ask(place, nested(BODIES[path], 100))
        assert answer.status == 200, answer.body
        answer = await running.ask(place, nested(BODIES[path], 101))
        assert answer.status == 400
        assert b"nested more than 100 deep, which is the limit (gateway.limits.depth)" in answer.body


def with_arguments(wire: str, depth: int) -> bytes:
    """A request in this wire's words whose earlier call has arguments as deep as that."""
    arguments = '{"deep": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    turns = [ChatMessage("user", [TextPart("hi")]), ChatMessage("assistant", [ToolCall("c1", "f", arguments)])]
    turns.append(ChatMessage("tool", [ToolResult("c1", [TextPart("r")], name="f")]))
    body = contract.wire_named(wire).write_request(ChatRequest("house/small", turns, max_tokens=9))
    return json.dumps({**body, **({"stream": False} if wire == "ollama" else {})}).encode()


@pytest.mark.parametrize("backend_wire", contract.names())
@pytest.mark.parametrize("wire", contract.names())
async def test_arguments_of_an_earlier_call_may_be_as_deep_as_the_setting(wire: str, backend_wire: str, serve: Any) -> None:
    """Also where they are a text in the body of one side, and an object in the other's."""
    events: list[Event] = [Text("ok"), Finish("complete", "stop")]
    reply = json.loads(written(contract.wire_named(backend_wire), events, stream=False))

    async def replying(seen: Seen, say: Say) -> None:
        await say.whole(reply)

    backend = await serve(replying)
    config = configured({"house": row(backend_wire, backend.url)}, limits=Limits(depth=100))
    async with gateway(config) as running:
        answer = await running.ask(asking(wire)[0], with_arguments(wire, 85))
        assert answer.status == 200, answer.body
        if wire != backend_wire:  # else it passes unread, and the text is the backend's to read
            answer = await running.ask(asking(wire)[0], with_arguments(wire, 101))
            assert answer.status == 400
            assert b"nested more than 100 deep, which is the limit (gateway.limits.depth)" in answer.body


async def answering(seen: Seen, say: Say) -> None:
    """A backend that has chats and embeddings."""
    if seen.path.endswith("/embeddings"):
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        await say.whole({"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "model": "small-1", "usage": usage})
    elif seen.path.endswith("/models"):
        await say.whole({"object": "list", "data": [{"id": "small", "object": "model"}]})
    else:
        await good(seen, say)


def nested(body: dict[str, Any], depth: int) -> bytes:
    """With a field that nobody knows, by which the whole is ``depth`` deep."""
    deep = b"[" * (depth - 1) + b"]" * (depth - 1)
    return json.dumps(body).encode()[:-1] + b', "zz": ' + deep + b"}"

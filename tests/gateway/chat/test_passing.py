"""The same wire on both sides: a backend's bytes arrive unchanged, except where they must change."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from polychat.config.settings import Direct
from polychat.events import Finish, Text
from polychat.gateway.openapi import document
from polychat.gateway.paths import DIALECTS

from ...support.corpus import FOLDER
from ...support.gateway_for_clients import WIRES, before
from ...support.running_gateway import (
    DONE,
    END,
    FIRST,
    USAGE,
    Answer,
    Caller,
    Stage,
    asking,
    chunk,
    completion,
    configured,
    event,
    gateway,
    good,
    row,
    text,
)
from ...support.scripted_server import Handler, Say, Seen
from ...support.scripted_vendors import ScriptedVendor

TYPES = {
    ".sse": "text/event-stream",
    ".chunks": "text/event-stream",
    ".ndjson": "application/x-ndjson",
}
FAILED = ("error", "failed", "overloaded", "stream-blocked", "stream-recitation", "generate")
"""Recorded streams that do not end well, and one of another endpoint."""
STREAMS = sorted(
    path for wire in WIRES for path in (FOLDER / wire).iterdir() if path.suffix in TYPES and path.stem not in FAILED
)
READ_ON = ("openai-responses", "gemini")
"""Wires on which a stream is not over before the line break after its last event."""
WHOLE = [
    FOLDER / name
    for name in (
        "openai-chat/xai-tool-call.json",
        "openai-responses/web-search.json",
        "anthropic/web-search.json",
        "gemini/whole-grounded.json",
        "ollama/tools.json",
    )
]
"""Replies of five vendors, with fields that are theirs alone."""


def called(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def recorded(path: Path) -> list[bytes]:
    """The bytes as a vendor's server sends them, a line or an event at a time."""
    if path.suffix == ".chunks":
        lines = path.read_bytes().splitlines()
        return [b"data: " + line + b"\n\n" for line in [*lines, *([] if b"[DONE]" in lines else [b"[DONE]"])]]
    return path.read_bytes().splitlines(keepends=True)


def saying(pieces: list[bytes], content_type: str) -> Handler:
    async def handler(seen: Seen, say: Say) -> None:
        await say.stream(pieces, content_type)

    return handler


async def answer_to(caller: Caller, dialect: str, **more: Any) -> Answer:
    caller.ask(*asking(dialect, **more))
    return await caller.whole()


@pytest.mark.parametrize("path", STREAMS, ids=called)
async def test_a_recorded_stream(path: Path) -> None:
    """Byte for byte, whatever the vendor puts into it; what it cost and how it ended are known all the same."""
    wire, pieces = path.parent.name, recorded(path)
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if wire == "openai-chat" else {}
    async with before({"house": (wire, saying(pieces, TYPES[path.suffix]))}) as here:
        answer = await answer_to(await here.caller(), wire, stream=True, **more)
        (record,) = await here.app.recorded()
    assert unnamed(wire, answer.body) == unnamed(wire, b"".join(pieces))
    assert answer.headers["content-type"] == TYPES[path.suffix]
    assert (record.passthrough, record.verdict) == (True, "complete")


@pytest.mark.parametrize("path", [path for path in STREAMS if path.parent.name in READ_ON], ids=called)
async def test_a_last_line_break_that_comes_alone(path: Path) -> None:
    """No other is added to it: in a task, and where the second request of a connection needs none."""
    wire, body = path.parent.name, b"".join(recorded(path))
    go = asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        await say.head(content_type=TYPES[path.suffix])
        await say.chunk(body[:-1])
        await go.wait()
        await say.chunk(body[-1:])
        await say.last()

    async with before({"house": (wire, handler)}) as here:
        caller = await here.caller()
        for _ in range(2):
            go.clear()
            caller.ask(*asking(wire, stream=True))
            await caller.head()
            came = await caller.until(body[-30:-1])
            go.set()
            assert unnamed(wire, came + await caller.rest()) == unnamed(wire, body)


def unnamed(wire: str, body: bytes) -> bytes:
    """Where clients compare the model they get the name they asked for; all else is as it came."""
    return re.sub(rb'("model": ?)"[^"]*"', rb"\1", body) if DIALECTS[wire].compares else body


@pytest.mark.parametrize("path", WHOLE, ids=called)
async def test_a_recorded_reply(path: Path) -> None:
    """Byte for byte, and counted."""
    wire, body = path.parent.name, path.read_bytes()

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(body)

    async with before({"house": (wire, handler)}) as here:
        answer = await answer_to(await here.caller(), wire)
        (record,) = await here.app.recorded()
    assert unnamed(wire, answer.body) == unnamed(wire, body)
    assert (record.passthrough, record.verdict) == (True, "complete")
    assert record.completion_tokens


@pytest.mark.parametrize("wire", WIRES)
async def test_a_request(wire: str) -> None:
    """Fields that nobody here knows arrive; nothing but the model's name is another, and no header of ours goes along."""
    odd = {"x_new_field": {"deep": [1, None, "é"]}}
    seen_by: list[Seen] = []

    async def handler(seen: Seen, say: Say) -> None:
        seen_by.append(seen)
        await say.whole({"error": {"message": "enough", "type": "invalid_request_error"}}, 400)

    path, body = asking(wire, **odd)
    async with before({"house": (wire, handler)}) as here:
        await here.ask(path, body, headers={"x-secret": "s3cret", "cookie": "a=b"})
    (seen,) = seen_by
    assert seen.json == ({**body, "model": "small"} if wire != "gemini" else body)
    assert not {"x-secret", "cookie"} & set(seen.headers)


class TestUsage:
    """OpenAI's usage at a stream's end."""

    async def test_not_asked_for(self) -> None:
        """It is asked of the backend for our own count, and its chunk does not reach the client."""
        async with before({"house": ("openai-chat", good)}) as here:
            answer = await answer_to(await here.caller(), "openai-chat", stream=True)
            (record,) = await here.app.recorded()
        assert answer.body == b"".join([FIRST, text("Hel"), text("lo"), END, DONE])
        assert (record.prompt_tokens, record.completion_tokens) == (3, 2)

    async def test_asked_for(self) -> None:
        """It reaches the client, and what else the options say reaches the backend."""
        options = {"include_usage": True, "include_obfuscation": False}
        seen_by: list[Seen] = []

        async def handler(seen: Seen, say: Say) -> None:
            seen_by.append(seen)
            await good(seen, say)

        async with before({"house": ("openai-chat", handler)}) as here:
            answer = await answer_to(await here.caller(), "openai-chat", stream=True, stream_options=options)
        assert answer.body == b"".join([FIRST, text("Hel"), text("lo"), END, USAGE, DONE])
        assert seen_by[0].json["stream_options"] == options


class TestEnds:
    """Streams that do not end well."""

    async def test_cut_midway(self) -> None:
        """What came, an error, and no ``[DONE]``; nothing between them breaks a strict reader."""
        stage = Stage(FIRST, text("Hel"), rest=[None])
        async with before({"house": ("openai-chat", stage)}) as here:
            caller = await here.caller()
            caller.ask(*asking("openai-chat", stream=True))
            await caller.head()
            came = await caller.until(b"Hel")
            stage.go.set()
            rest = await caller.rest()
        assert came == FIRST + text("Hel")
        assert rest.startswith(b'data: {"error":')
        assert (rest.count(b"\n\n"), b"[DONE]" in rest) == (1, False)

    async def test_lines_cut_midway(self) -> None:
        """Each line that arrives is JSON, though the backend broke off within one; the last says ``error``."""
        line = (
            json.dumps({"model": "small", "message": {"role": "assistant", "content": "Hel"}, "done": False}).encode() + b"\n"
        )
        go = asyncio.Event()

        async def handler(seen: Seen, say: Say) -> None:
            await say.head(content_type="application/x-ndjson")
            await say.chunk(line + line[:20])
            await go.wait()
            await say.chunk(line[20:] + line[:30])
            await say.cut()

        async with before({"house": ("ollama", handler)}) as here:
            caller = await here.caller()
            caller.ask(*asking("ollama", stream=True))
            await caller.head()
            came = await caller.chunk()
            assert came == line
            go.set()
            rest = await caller.rest()
            (record,) = await here.app.recorded()
        assert record.passthrough
        values = [json.loads(one) for one in rest.split(b"\n")[:-1]]
        assert (values[0], list(values[1])) == (json.loads(line), ["error"])
        assert len(values) == 2

    async def test_an_error_inside_a_200_before_anything_else(self) -> None:
        """Is no answer: the next target is asked, and where there is none the client gets a status that says so."""

        async def broken(seen: Seen, say: Say) -> None:
            await say.stream([event({"error": {"message": "out of memory", "type": "server_error"}})])

        async def whole(seen: Seen, say: Say) -> None:
            await say.whole({"error": {"message": "out of memory", "type": "server_error"}})

        for handler, stream in ((broken, True), (whole, False)):
            routes = {"fast": ("house/small", "other/small")}
            backends = {"house": ("openai-chat", handler), "other": ("openai-chat", good)}
            async with before(backends, routes=routes) as here:
                routed = await here.ask(*asking("openai-chat", "fast", stream=stream))
                alone = await here.ask(*asking("openai-chat", "house/small", stream=stream))
            assert (routed.status, routed.headers["x-polychat-provider"]) == (200, "other")
            assert (alone.status, alone.json["error"]["type"]) == (502, "server_error")
            assert "out of memory" in alone.json["error"]["message"]

    async def test_whole_where_a_stream_was_asked_for(self) -> None:
        """A backend that answers in one piece all the same is streamed to the client."""

        async def handler(seen: Seen, say: Say) -> None:
            await say.whole(completion("Hello"))

        async with before({"house": ("openai-chat", handler)}) as here:
            answer = await answer_to(await here.caller(), "openai-chat", stream=True)
        assert answer.headers["content-type"] == "text/event-stream"
        chunks = [json.loads(one[6:]) for one in answer.events[:-1]]
        assert "".join(one["choices"][0]["delta"].get("content", "") for one in chunks) == "Hello"
        assert answer.events[-1] == "data: [DONE]"


async def test_thoughts_and_extras_in_deltas() -> None:
    """Members of a delta that only one vendor has go through, in their order."""
    pieces = [FIRST, chunk({"reasoning_content": "Hm."}), chunk({"content": "Hi", "x_vendor": {"a": 1}}), END, DONE]
    async with before({"house": ("openai-chat", saying(pieces, "text/event-stream; charset=utf-8"))}) as here:
        answer = await answer_to(await here.caller(), "openai-chat", stream=True)
    assert answer.body == b"".join(pieces)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


ODD: list[Any] = ["x", 5, -1.5, True, None, [], {}, [None], [{}], {"type": "x"}, [["x"]]]
ODD_MESSAGES: list[Any] = [
    [{"role": 5, "content": 5}],
    [{"role": "tool", "tool_call_id": 5}, {"role": "assistant", "tool_calls": [5]}],
    [{"role": "assistant", "tool_calls": {"id": []}}, {"role": "tool", "tool_call_id": {}}],
    [{"role": "system", "content": {}}, {"role": "developer"}, {"role": "system", "content": [5]}],
    [{"role": "assistant", "content": [{"type": "text"}], "reasoning": [], "reasoning_content": {}}],
]


def named(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_values_of_another_kind(serve: Any, dialect: str, stream: bool) -> None:
    """No value of a field breaks anything: it passes, or the client gets an error."""
    wire_name = DIALECTS[dialect].wire.NAME
    backend = await serve(ScriptedVendor(wire_name, [[Text("Hel")], [Finish("complete", "stop")]]))
    rows = {"house": row(wire_name, backend.url)}
    if wire_name == "openai-chat":
        wants = {"message_drop": ["name"], "call_id": 9, "developer": False, "one_system": True, "assistant_after_tool": True}
        rows["fitted"] = row(wire_name, backend.url, drop={"seed": "no"}, stops=2, reasoning="reasoning_content", **wants)
    described_by = document()
    path, body = asking(dialect, stream=stream)
    described = {path.replace("house/small", "{model}"), *(path.replace("house/small", "{model}").split("?")[:1])}
    (schema,) = (described_by["paths"][each]["post"]["requestBody"] for each in described if each in described_by["paths"])
    fields = named(schema["content"]["application/json"]["schema"], described_by)["properties"]
    assert len(fields) > 5
    async with gateway(configured(rows, direct=Direct(attempts=1, cooldown=0.0))) as here:
        for name in fields.keys() - {"model", "stream"}:
            for odd in (*ODD, *(ODD_MESSAGES if name == "messages" else ())):
                for model in rows:
                    sent_body = {**body, name: odd} if dialect == "gemini" else {**body, "model": f"{model}/small", name: odd}
                    answer = await here.ask(path, sent_body)
                    assert answer.status in (200, 400, 404, 413, 422), (name, odd, answer.body)
        assert here.app.bugs == []

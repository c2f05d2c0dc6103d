"""Ollama's own client at the gateway, before backends of every wire."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from polychat.wire.faults import STATUS, Fault

from ...support.gateway_for_clients import (
    ASKED,
    BROKEN,
    CALLS,
    CITY,
    HELLO,
    KEY,
    NOTHING,
    PARAMETERS,
    WIRES,
    Held,
    before,
    house,
    site,
    thoughts,
)
from ...support.running_gateway import Running, good
from ...support.scripted_vendors import ScriptedVendor
from ...support.vendor_clients import City, vectors, vendor_client

ollama = vendor_client("ollama")

TOOLS: Any = [
    {"type": "function", "function": {"name": "weather", "description": "", "parameters": PARAMETERS}},
    {"type": "function", "function": {"name": "now", "description": "", "parameters": NOTHING}},
]


@asynccontextmanager
async def client(here: Running, **more: Any) -> AsyncGenerator[Any, None]:
    made = ollama.AsyncClient(host=here.url, **more)
    try:
        yield made
    finally:
        await made.close()


@pytest.mark.parametrize("wire", WIRES)
class TestChat:
    """Chat and generate."""

    async def test_whole(self, wire: str) -> None:
        """Text, reason and counts, under the name that was asked for."""
        async with house(wire, HELLO) as (here, _), client(here) as request:
            reply = await request.chat(model="house/small", messages=ASKED)
        assert (reply.message.content, reply.done, reply.done_reason) == ("Hello", True, "stop")
        assert (reply.prompt_eval_count, reply.eval_count) == (11, 7)

    async def test_streamed(self, wire: str) -> None:
        """Pieces as they came, and one end with the counts."""
        async with house(wire, HELLO) as (here, _), client(here) as request:
            chunks = [chunk async for chunk in await request.chat(model="house/small", messages=ASKED, stream=True)]
        assert [chunk.message.content for chunk in chunks if chunk.message.content] == ["Hel", "lo"]
        assert [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert chunks[-1].eval_count == 7

    async def test_generate(self, wire: str) -> None:
        """A prompt with a system's word, and its text: whole and streamed."""
        async with house(wire, HELLO) as (here, dialect), client(here) as request:
            reply = await request.generate(model="house/small", prompt="hi", system="Be brief.", options={"temperature": 0.5})
            chunks = [chunk async for chunk in await request.generate(model="house/small", prompt="hi", stream=True)]
        assert (reply.response, reply.done, reply.eval_count) == ("Hello", True, 7)
        assert "".join(chunk.response for chunk in chunks) == "Hello"
        assert [turn.role for turn in dialect.asks[0].messages] == ["system", "user"]

    async def test_tools_there_and_back(self, wire: str) -> None:
        """Calls with their arguments as objects; results go back with the next ask."""
        async with house(wire, CALLS) as (here, dialect), client(here) as request:
            stream = await request.chat(model="house/small", messages=ASKED, tools=TOOLS, stream=True)
            streamed = [call.function for chunk in [one async for one in stream] for call in chunk.message.tool_calls or []]
            reply = await request.chat(model="house/small", messages=ASKED, tools=TOOLS)
            calls = [call.function for call in reply.message.tool_calls]
            results = [{"role": "tool", "tool_name": call.name, "content": "7"} for call in calls]
            await request.chat(model="house/small", messages=[*ASKED, reply.message, *results], tools=TOOLS)
        for tool_calls in (streamed, calls):
            assert [(call.name, call.arguments) for call in tool_calls] == [("weather", {"city": "Oslo"}), ("now", {})]
        parts = [type(part).__name__ for turn in dialect.asks[-1].messages for part in turn.parts]
        assert (parts.count("ToolCall"), parts.count("ToolResult")) == (2, 2)

    async def test_a_schema(self, wire: str) -> None:
        """``format`` reaches the backend as a schema, and the answer is JSON of it."""
        async with house(wire, CITY) as (here, dialect), client(here) as request:
            reply = await request.chat(model="house/small", messages=ASKED, format=City.model_json_schema())
        assert City.model_validate_json(reply.message.content) == City(name="Oslo", people=7)
        assert set(dialect.asks[0].format.schema["properties"]) == {"name", "people"}

    @pytest.mark.parametrize("end", ["error", "cut"])
    async def test_a_stream_that_fails_midway_is_raised(self, wire: str, end: str) -> None:
        """Said by the backend or a connection that breaks: what came before was read."""
        held = Held(wire, BROKEN, cut_after=1 if end == "cut" else None)
        async with house(wire, held) as (here, _), client(here) as request:
            text = ""
            with pytest.raises(ollama.ResponseError, match="it broke" if end == "error" else None):
                async for chunk in await request.chat(model="house/small", messages=ASKED, stream=True):
                    text += chunk.message.content or ""
                    assert not chunk.done
                    held.go.set() if text else None
        assert text == "so far"

    @pytest.mark.parametrize(("kind", "status"), [("invalid_request", 400), ("rate_limit", 429), ("server", 502)])
    async def test_a_backends_refusal(self, wire: str, kind: Any, status: int) -> None:
        """Has the status and the backend's words, whole and streamed."""
        dialect = ScriptedVendor(wire, fault=Fault("nothing for you", kind, STATUS[kind]))
        async with house(wire, dialect) as (here, _), client(here) as request:
            with pytest.raises(ollama.ResponseError, match="nothing for you") as caught:
                await request.chat(model="house/small", messages=ASKED)
            with pytest.raises(ollama.ResponseError, match="nothing for you"):
                async for _ in await request.generate(model="house/small", prompt="hi", stream=True):
                    pass
        assert caught.value.status_code == status


@pytest.mark.parametrize(("wire", "vendor"), [("anthropic", "anthropic"), ("gemini", "gemini"), ("ollama", "ollama")])
async def test_thoughts(wire: str, vendor: str) -> None:
    """In their own field, apart from the text: whole, streamed and generated."""
    async with house(wire, thoughts(vendor)) as (here, _), client(here) as request:
        reply = await request.chat(model="house/small", messages=ASKED, think=True)
        chunks = [one async for one in await request.chat(model="house/small", messages=ASKED, think=True, stream=True)]
        text = await request.generate(model="house/small", prompt="hi", think=True)
    assert (reply.message.thinking, reply.message.content) == ("Let me think.", "42")
    assert "".join(chunk.message.thinking or "" for chunk in chunks) == "Let me think."
    assert (text.thinking, text.response) == ("Let me think.", "42")


class TestBesideChat:
    """Lists, embeddings, names."""

    async def test_list_and_show(self) -> None:
        """What can be asked for, each with what its tools read: a family, a digest, what it can."""
        async with before({"house": ("openai-chat", good)}, routes={"fast": ("house/small",)}) as here, client(here) as request:
            listed = (await request.list()).models
            shown = await request.show("house/small")
            running = (await request.ps()).models
        assert {"fast", "house/small"} <= {model.model for model in listed}
        assert all(model.digest and model.details.family and model.modified_at for model in listed)
        assert len({model.digest for model in listed}) == len(listed)
        assert set(shown.capabilities) == {"completion", "tools"}
        assert shown.details.family == shown.modelinfo["general.architecture"]
        assert list(running) == []

    async def test_an_unknown_model(self) -> None:
        """Is 404 with the nearest name, for a chat and to be shown."""
        async with house("openai-chat", HELLO) as (here, _), client(here) as request:
            for call in (request.chat(model="huose/small", messages=ASKED), request.show("huose/small")):
                with pytest.raises(ollama.ResponseError, match="house/small") as caught:
                    await call
                assert caught.value.status_code == 404

    @pytest.mark.parametrize("wire", ["openai-chat", "gemini", "ollama"])
    async def test_embeddings(self, wire: str) -> None:
        """A vector for each text, by whichever backend."""
        async with before({"house": (wire, vectors(wire))}) as here, client(here) as request:
            many = await request.embed(model="house/small", input=["a", "b"])
            one = await request.embed(model="house/small", input="a")
        assert [list(vector) for vector in many.embeddings] == [[0.5, 1.0], [0.5, 1.0]]
        assert [list(vector) for vector in one.embeddings] == [[0.5, 1.0]]

    async def test_its_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where keys are asked for it sends one as ``OLLAMA_API_KEY`` says; without it comes 401."""
        monkeypatch.setenv("KEY_ONE", KEY)
        async with house("ollama", HELLO, keys={"me": "env:KEY_ONE"}) as (here, _):
            async with client(here) as request:
                with pytest.raises(ollama.ResponseError) as caught:
                    await request.chat(model="house/small", messages=ASKED)
                assert caught.value.status_code == 401
            monkeypatch.setenv("OLLAMA_API_KEY", KEY)
            async with client(here) as request:
                assert (await request.chat(model="house/small", messages=ASKED)).message.content == "Hello"

    async def test_a_chat_site(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Answers its client as any vendor does, whole and streamed."""
        async with site(monkeypatch) as here, client(here) as request:
            reply = await request.chat(model="chatgptduo", messages=ASKED)
            text = "".join(
                [one.message.content async for one in await request.chat(model="chatgptduo", messages=ASKED, stream=True)]
            )
        assert reply.message.content == text == "echo: hi"

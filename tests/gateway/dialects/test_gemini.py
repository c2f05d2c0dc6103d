"""Google's own client at the gateway, before backends of every wire."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from polychat.wire.faults import STATUS, Fault

from ...support.gateway_for_clients import (
    BROKEN,
    CALLS,
    CITY,
    HELLO,
    KEY,
    PARAMETERS,
    WIRES,
    Held,
    before,
    house,
    site,
    thoughts,
)
from ...support.running_gateway import Running, good
from ...support.scripted_server import Say, Seen
from ...support.scripted_vendors import ScriptedVendor
from ...support.vendor_clients import City, vectors, vendor_client

genai = vendor_client("google.genai", "google-genai")
errors, types = genai.errors, genai.types

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # theirs
VERSIONS = [None, "v1beta"]
"""What it asks for by itself, and what it was before."""
TOOLS: Any = types.GenerateContentConfig(
    tools=[
        types.Tool(
            function_declarations=[
                types.FunctionDeclaration(name="weather", parameters_json_schema=PARAMETERS),
                types.FunctionDeclaration(name="now"),
            ]
        )
    ],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)


@asynccontextmanager
async def client(here: Running, version: str | None = None, key: str = KEY) -> AsyncGenerator[Any, None]:
    options = types.HttpOptions(base_url=here.url, api_version=version)
    made = genai.Client(api_key=key, http_options=options)
    try:
        yield made.aio
    finally:
        await made.aio.aclose()
        made.close()


@pytest.mark.parametrize("wire", WIRES)
class TestContent:
    """generateContent."""

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_whole(self, wire: str, version: str | None) -> None:
        """Text, reason, usage; under both versions of the API."""
        async with house(wire, HELLO) as (here, _), client(here, version) as request:
            reply = await request.models.generate_content(model="house/small", contents="hi")
        assert (reply.text, reply.candidates[0].finish_reason) == ("Hello", types.FinishReason.STOP)
        assert (reply.usage_metadata.prompt_token_count, reply.usage_metadata.candidates_token_count) == (11, 7)
        assert here.records[0].path == f"/{version or 'v1'}/models/house/small:generateContent"

    async def test_streamed(self, wire: str) -> None:
        """Pieces as they came, and the reason and the usage with the last."""
        async with house(wire, HELLO) as (here, _), client(here) as request:
            stream = await request.models.generate_content_stream(model="house/small", contents="hi")
            chunks = [chunk async for chunk in stream]
        assert [chunk.text for chunk in chunks if chunk.text] == ["Hel", "lo"]
        assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
        assert chunks[-1].usage_metadata.total_token_count == 18

    async def test_tools_there_and_back(self, wire: str) -> None:
        """Calls streamed and whole, with their arguments; results go back with the next ask."""
        async with house(wire, CALLS) as (here, dialect), client(here) as request:
            stream = await request.models.generate_content_stream(model="house/small", contents="hi", config=TOOLS)
            streamed = [call for chunk in [chunk async for chunk in stream] for call in chunk.function_calls or []]
            reply = await request.models.generate_content(model="house/small", contents="hi", config=TOOLS)
            results = [
                types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": 7}))
                for call in reply.function_calls
            ]
            history = [types.UserContent("hi"), reply.candidates[0].content, types.UserContent(results)]
            await request.models.generate_content(model="house/small", contents=history, config=TOOLS)
        for calls in (streamed, reply.function_calls):
            assert [(call.name, call.args or {}) for call in calls] == [("weather", {"city": "Oslo"}), ("now", {})]
        parts = [type(part).__name__ for turn in dialect.asks[-1].messages for part in turn.parts]
        assert (parts.count("ToolCall"), parts.count("ToolResult")) == (2, 2)

    async def test_a_schema(self, wire: str) -> None:
        """The answer is a value of one's own type, and the backend got the schema."""
        config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=City)
        async with house(wire, CITY) as (here, dialect), client(here) as request:
            reply = await request.models.generate_content(model="house/small", contents="hi", config=config)
        assert reply.parsed == City(name="Oslo", people=7)
        assert set(dialect.asks[0].format.schema["properties"]) == {"name", "people"}

    async def test_a_chat(self, wire: str) -> None:
        """Its chat keeps the history and sends it with the next message, streamed or not."""
        async with house(wire, HELLO) as (here, dialect), client(here) as request:
            chat = request.chats.create(model="house/small")
            await chat.send_message("one")
            async for _ in await chat.send_message_stream("two"):
                pass
            await chat.send_message("three")
        messages = dialect.asks[-1].messages
        history = [(turn.role, "".join(getattr(part, "text", "") for part in turn.parts)) for turn in messages]
        assert [role for role, _ in history if role != "assistant"] == ["user"] * 3
        assert [text for role, text in history if role == "user"] == ["one", "two", "three"]
        assert "".join(text for role, text in history if role == "assistant") == "HelloHello"

    @pytest.mark.parametrize("end", ["error", "cut"])
    async def test_a_stream_that_fails_midway_is_raised(self, wire: str, end: str) -> None:
        """Said by the backend or a connection that breaks: what came before was read."""
        held = Held(wire, BROKEN, cut_after=1 if end == "cut" else None)
        async with house(wire, held) as (here, _), client(here) as request:
            text = ""
            with pytest.raises(errors.APIError, match="it broke" if end == "error" else None):
                async for chunk in await request.models.generate_content_stream(model="house/small", contents="hi"):
                    text += chunk.text or ""
                    held.go.set()
        assert text == "so far"

    @pytest.mark.parametrize(
        ("kind", "error", "status"),
        [
            ("invalid_request", errors.ClientError, "INVALID_ARGUMENT"),
            ("rate_limit", errors.ClientError, "RESOURCE_EXHAUSTED"),
            ("server", errors.ServerError, "INTERNAL"),
        ],
    )
    async def test_a_backends_refusal(self, wire: str, kind: Any, error: type[Any], status: str) -> None:
        """Is the class that its users catch, with code, status and the backend's words."""
        dialect = ScriptedVendor(wire, fault=Fault("nothing for you", kind, STATUS[kind]))
        async with house(wire, dialect) as (here, _), client(here) as request:
            with pytest.raises(error, match="nothing for you") as caught:
                await request.models.generate_content(model="house/small", contents="hi")
            with pytest.raises(error, match="nothing for you"):
                async for _ in await request.models.generate_content_stream(model="house/small", contents="hi"):
                    pass
        assert caught.value.status == status


@pytest.mark.parametrize(("wire", "vendor"), [("anthropic", "anthropic"), ("gemini", "gemini"), ("openai-responses", "openai")])
async def test_thoughts(wire: str, vendor: str) -> None:
    """Marked as thoughts, apart from the text; their signature goes back to its vendor."""
    async with house(wire, thoughts(vendor)) as (here, dialect), client(here) as request:
        reply = await request.models.generate_content(model="house/small", contents="hi")
        content = reply.candidates[0].content
        history = [types.UserContent("hi"), content, types.UserContent("and?")]
        await request.models.generate_content(model="house/small", contents=history)
    assert "".join(part.text or "" for part in content.parts if part.thought) == "Let me think."
    assert reply.text == "42"
    opaque = [part.opaque for turn in dialect.asks[-1].messages for part in turn.parts if getattr(part, "opaque", None)]
    assert [(one.vendor, one.data) for one in opaque if one is not None] == [(vendor, "c2lnbmF0dXJl")]


class TestBesideContent:
    """Counting, embeddings, lists, keys."""

    async def test_counting(self) -> None:
        """By the backend's own count where it has one, else by a guess."""

        async def handler(seen: Seen, say: Say) -> None:
            assert seen.path == "/v1beta/models/small:countTokens"
            await say.whole({"totalTokens": 1234})

        async with before({"house": ("gemini", handler), "other": ("ollama", handler)}) as here, client(here) as request:
            assert (await request.models.count_tokens(model="house/small", contents="hi")).total_tokens == 1234
            assert 0 < (await request.models.count_tokens(model="other/small", contents="hi")).total_tokens < 20

    @pytest.mark.parametrize("wire", ["openai-chat", "gemini", "ollama"])
    async def test_embeddings(self, wire: str) -> None:
        """A vector for each text, by whichever backend."""
        async with before({"house": (wire, vectors(wire))}) as here, client(here) as request:
            many = await request.models.embed_content(model="house/small", contents=["a", "b"])
            one = await request.models.embed_content(model="house/small", contents="a")
        assert [vector.values for vector in many.embeddings] == [[0.5, 1.0], [0.5, 1.0]]
        assert [vector.values for vector in one.embeddings] == [[0.5, 1.0]]

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_models(self, version: str | None) -> None:
        """In Google's shape though OpenAI's clients ask at the same path: by pages, and one by one."""
        routes = {"fast": ("house/small",)}
        async with before({"house": ("openai-chat", good)}, routes=routes) as here, client(here, version) as request:
            listed = [model.name async for model in await request.models.list()]
            one = await request.models.get(model="house/small")
        assert {"models/fast", "models/house/small"} <= set(listed)
        assert one.name == "models/house/small"
        assert "generateContent" in one.supported_actions

    async def test_its_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Comes in by ``x-goog-api-key``; a wrong one is refused with 401, in Google's words."""
        monkeypatch.setenv("KEY_ONE", KEY)
        async with house("gemini", HELLO, keys={"me": "env:KEY_ONE"}) as (here, dialect):
            async with client(here) as request:
                assert (await request.models.generate_content(model="house/small", contents="hi")).text == "Hello"
            async with client(here, key="AIza-wrong") as request:
                with pytest.raises(errors.ClientError) as caught:
                    await request.models.generate_content(model="house/small", contents="hi")
        assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")
        assert KEY not in str(dialect.seen[0].headers)

    async def test_an_unknown_model(self) -> None:
        """Is 404 with the nearest name."""
        async with house("openai-chat", HELLO) as (here, _), client(here) as request:
            with pytest.raises(errors.ClientError, match="house/small") as caught:
                await request.models.generate_content(model="huose/small", contents="hi")
        assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")

    async def test_a_chat_site(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Answers its client as any vendor does, whole and streamed."""
        async with site(monkeypatch) as here, client(here) as request:
            reply = await request.models.generate_content(model="chatgptduo", contents="hi")
            stream = await request.models.generate_content_stream(model="chatgptduo", contents="hi")
            text = "".join([chunk.text or "" async for chunk in stream])
        assert reply.text == text == "echo: hi"

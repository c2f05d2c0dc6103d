"""Anthropic's own client at the gateway, before backends of every wire."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from polychat.wire.faults import STATUS, Fault

from ...support.gateway_for_clients import (
    ASKED,
    BROKEN,
    CALLS,
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
from ...support.scripted_server import Say, Seen
from ...support.scripted_vendors import ScriptedVendor
from ...support.vendor_clients import vendor_client

anthropic = vendor_client("anthropic")

TOOLS: Any = [{"name": "weather", "input_schema": PARAMETERS}, {"name": "now", "input_schema": NOTHING}]
ASK: Any = {"model": "house/small", "max_tokens": 99, "messages": ASKED}


@asynccontextmanager
async def client(here: Running, **more: Any) -> AsyncGenerator[Any, None]:
    async with anthropic.AsyncAnthropic(**{"api_key": KEY, "base_url": here.url, "max_retries": 0, **more}) as made:
        yield made


@pytest.mark.parametrize("wire", WIRES)
class TestMessages:
    """Messages."""

    async def test_whole(self, wire: str) -> None:
        """Text, stop reason, usage by Anthropic's counting: what was cached is not among the input tokens."""
        async with house(wire, HELLO) as (here, _), client(here) as request:
            reply = await request.messages.create(**ASK)
        assert (reply.content[0].text, reply.stop_reason, reply.role) == ("Hello", "end_turn", "assistant")
        cached = reply.usage.cache_read_input_tokens or 0
        assert (reply.usage.input_tokens + cached, reply.usage.output_tokens) == (11, 7)
        assert cached == (0 if wire == "ollama" else 3)
        assert reply._request_id == here.records[0].request_id

    async def test_its_stream_helper_accumulates(self, wire: str) -> None:
        """Text and calls, put together by its code; the usage at the end is the whole of it."""
        async with (
            house(wire, CALLS) as (here, _),
            client(here) as request,
            request.messages.stream(**ASK, tools=TOOLS) as stream,
        ):
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        assert (text, final.stop_reason) == ("Let me look.", "tool_use")
        assert calls(final) == [("weather", {"city": "Oslo"}), ("now", {})]
        assert (final.usage.input_tokens, final.usage.output_tokens) == (11, 7)

    async def test_events_in_their_order(self, wire: str) -> None:
        """Each block is begun, and ended before the next begins: streams that are read by hand rely on it."""
        async with house(wire, CALLS) as (here, _), client(here) as request:
            stream = await request.messages.create(**ASK, tools=TOOLS, stream=True)
            events = [event async for event in stream]
        kinds = [event.type for event in events]
        assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
        places = [
            (event.type[14:], event.index) for event in events if event.type in ("content_block_start", "content_block_stop")
        ]
        assert places == [(part, index) for index in range(3) for part in ("start", "stop")]

    async def test_tools_there_and_back(self, wire: str) -> None:
        """Calls whole; their results, one of them an error, go back with the next ask."""
        async with house(wire, CALLS) as (here, dialect), client(here) as request:
            reply = await request.messages.create(**ASK, tools=TOOLS, tool_choice={"type": "auto"})
            results = [
                {"type": "tool_result", "tool_use_id": block.id, "content": "7", "is_error": block.name == "now"}
                for block in reply.content
                if block.type == "tool_use"
            ]
            history = [*ASKED, {"role": "assistant", "content": reply.content}, {"role": "user", "content": results}]
            await request.messages.create(**{**ASK, "messages": history}, tools=TOOLS)
        assert calls(reply) == [("weather", {"city": "Oslo"}), ("now", {})]
        parts = [type(part).__name__ for turn in dialect.asks[-1].messages for part in turn.parts]
        assert (parts.count("ToolCall"), parts.count("ToolResult")) == (2, 2)

    @pytest.mark.parametrize("end", ["error", "cut"])
    async def test_a_stream_that_fails_midway_is_raised(self, wire: str, end: str) -> None:
        """Said by the backend or a connection that breaks: what came before was read."""
        held = Held(wire, BROKEN, cut_after=1 if end == "cut" else None)
        async with house(wire, held) as (here, _), client(here) as request:
            text = ""
            with pytest.raises(anthropic.APIStatusError, match="it broke" if end == "error" else None):
                async with request.messages.stream(**ASK) as stream:
                    async for piece in stream.text_stream:
                        text += piece
                        held.go.set()
        assert text == "so far"

    @pytest.mark.parametrize(
        ("kind", "error", "name"),
        [
            ("invalid_request", anthropic.BadRequestError, "invalid_request_error"),
            ("rate_limit", anthropic.RateLimitError, "rate_limit_error"),
            ("overloaded", anthropic.InternalServerError, "overloaded_error"),
            ("server", anthropic.InternalServerError, "api_error"),
        ],
    )
    async def test_a_backends_refusal(self, wire: str, kind: Any, error: type[Any], name: str) -> None:
        """Is the class that its users catch, with the backend's words."""
        dialect = ScriptedVendor(wire, fault=Fault("nothing for you", kind, STATUS[kind]))
        async with house(wire, dialect) as (here, _), client(here) as request:
            with pytest.raises(error, match="nothing for you") as caught:
                await request.messages.create(**ASK)
        assert caught.value.body["error"]["type"] == name
        assert caught.value.status_code != 503


def calls(reply: Any) -> list[tuple[str, Any]]:
    return [(block.name, block.input) for block in reply.content if block.type == "tool_use"]


@pytest.mark.parametrize(("wire", "vendor"), [("anthropic", "anthropic"), ("gemini", "gemini"), ("openai-responses", "openai")])
async def test_thoughts_come_back_to_their_vendor(wire: str, vendor: str) -> None:
    """A thinking block with a signature, streamed and whole; sent back it is what the vendor had sealed."""
    async with house(wire, thoughts(vendor)) as (here, dialect), client(here) as request:
        thinking: Any = {"type": "enabled", "budget_tokens": 1024}
        more: Any = {**ASK, "max_tokens": 2048, "thinking": thinking}
        async with request.messages.stream(**more) as stream:
            final = await stream.get_final_message()
        whole = await request.messages.create(**more)
        history = [*ASKED, {"role": "assistant", "content": [block.model_dump() for block in final.content]}]
        await request.messages.create(**{**more, "messages": [*history, *ASKED]})
    for reply in (final, whole):
        assert "".join(block.thinking for block in reply.content if block.type == "thinking") == "Let me think."
        assert reply.content[-1].text == "42"
    opaque = [part.opaque for turn in dialect.asks[-1].messages for part in turn.parts if getattr(part, "opaque", None)]
    assert [(one.vendor, one.data) for one in opaque if one is not None] == [(vendor, "c2lnbmF0dXJl")]


class TestCounting:
    """``count_tokens``."""

    async def test_by_the_backend(self) -> None:
        """Where it can count, its count."""

        async def handler(seen: Seen, say: Say) -> None:
            assert seen.path == "/v1/messages/count_tokens"
            assert seen.json["model"] == "small"
            await say.whole({"input_tokens": 1234})

        async with before({"house": ("anthropic", handler)}) as here, client(here) as request:
            raw = await request.messages.with_raw_response.count_tokens(model="house/small", messages=ASKED, tools=TOOLS)
        assert (await raw.parse()).input_tokens == 1234
        assert "x-polychat-estimated" not in raw.headers

    async def test_by_a_guess(self) -> None:
        """Where it cannot, an estimate that is marked as one, and grows with the text."""
        async with house("openai-chat", HELLO) as (here, _), client(here) as request:
            raw = await request.messages.with_raw_response.count_tokens(model="house/small", messages=ASKED)
            long: Any = [{"role": "user", "content": "a word " * 100}]
            more = await request.messages.count_tokens(model="house/small", messages=long)
        assert raw.headers["x-polychat-estimated"] == "true"
        assert 0 < (await raw.parse()).input_tokens < more.input_tokens


class TestWhoComes:
    """Keys, names and lists."""

    async def test_both_ways_of_its_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """``api_key``, ``auth_token`` and the header of older clients come in; a wrong one is ``AuthenticationError``."""
        monkeypatch.setenv("KEY_ONE", KEY)
        async with house("anthropic", HELLO, keys={"me": "env:KEY_ONE"}) as (here, dialect):
            for login in ({"api_key": KEY}, {"api_key": None, "auth_token": KEY}):
                async with client(here, **login) as request:
                    assert (await request.messages.create(**ASK)).content[0].text == "Hello"
            async with client(here, api_key="another", default_headers={"x-api-key": KEY}) as request:
                assert (await request.messages.create(**ASK)).content[0].text == "Hello"
            async with client(here, api_key="sk-wrong") as request:
                with pytest.raises(anthropic.AuthenticationError) as caught:
                    await request.messages.create(**ASK)
        assert caught.value.body["error"]["type"] == "authentication_error"
        assert all(KEY not in str(seen.headers) for seen in dialect.seen)

    async def test_an_unknown_model(self) -> None:
        """Is ``NotFoundError`` with the nearest name."""
        async with house("openai-chat", HELLO) as (here, _), client(here) as request:
            with pytest.raises(anthropic.NotFoundError, match="house/small") as caught:
                await request.messages.create(**{**ASK, "model": "huose/small"})
        assert caught.value.body["error"]["type"] == "not_found_error"

    async def test_models(self) -> None:
        """In Anthropic's shape, by its pages and one by one; a route is a model too."""
        async with before({"house": ("openai-chat", good)}, routes={"fast": ("house/small",)}) as here, client(here) as request:
            listed = [model async for model in request.models.list()]
            one = await request.models.retrieve("house/small")
        assert {"fast", "house/small"} <= {model.id for model in listed}
        assert (one.id, one.type, one.display_name) == ("house/small", "model", "house/small")
        assert one.created_at.year == 1970

    async def test_what_its_wire_has_alone(self) -> None:
        """To a backend of the same wire the version and the beta headers go along, and fields that nobody here knows."""
        async with house("anthropic", HELLO) as (here, dialect), client(here) as request:
            await request.beta.messages.create(**ASK, betas=["context-1m-2025-08-07"], extra_body={"container": "c_1"})
        assert dialect.seen[0].headers["anthropic-beta"] == "context-1m-2025-08-07"
        assert dialect.seen[0].headers["anthropic-version"] == request.default_headers["anthropic-version"]
        assert json.loads(dialect.seen[0].body) == {**ASK, "model": "small", "container": "c_1"}

    async def test_a_chat_site(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Answers its client as any vendor does, whole and streamed."""
        async with site(monkeypatch) as here, client(here) as request:
            reply = await request.messages.create(**{**ASK, "model": "chatgptduo"})
            async with request.messages.stream(**{**ASK, "model": "chatgptduo"}) as stream:
                text = await stream.get_final_text()
        assert reply.content[0].text == text == "echo: hi"

"""Codex's sequence, OpenAI's SDK and a serving process: Responses over WebSocket from end to end."""

from __future__ import annotations

import asyncio
import signal
import ssl
from pathlib import Path

import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import connect

from polychat.events import Event, Start, Text

from ..support.gateway_for_clients import HELLO, Held, house
from ..support.gateway_processes import started
from ..support.scripted_server import serving
from ..support.tls import authority
from ..support.websocket_clients import PATH, Socket, connected, text_of, texts

TRANSLATED = "openai-chat"
BEGUN: list[list[Event]] = [[Start("one", "m"), Text("Hel")], *HELLO[2:]]
"""The first batch has text: the reply has begun."""


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses"])
async def test_the_sequence_of_codex(name: str) -> None:
    """Codex prepares a request with ``generate: false``, waits for ``response.completed``, and goes on from its id."""
    tools = [{"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}, "strict": False}]
    usual = {
        "instructions": "You are Codex.",
        "tools": tools,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": None,
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "t1",
        "client_metadata": {"session_id": "s", "thread_id": "t"},
    }
    headers = {"openai-beta": "responses_websockets=2026-02-06, other=1", "x-codex-turn-state": "x", "originator": "codex_exec"}
    context = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "the folder"}]}]
    question = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]}]
    async with house(name, HELLO) as (here, backend), connected(here, headers=headers, compression="deflate") as socket:
        await socket.create(context, generate=False, **usual)
        events = await socket.events()
        types = [event["type"] for event in events if event["type"] != "polychat:losses"]
        assert types == ["response.created", "response.in_progress", "response.completed"]
        warm = events[-1]["response"]
        assert (warm["output"], backend.seen) == ([], [])
        answer = await socket.ask(question, previous_response_id=warm["id"], **usual)
        assert text_of(answer) == "Hello"
        request = backend.asks[0]
        assert texts(request)[-2:] == ["the folder", "go"]
        assert request.stream
        assert [tool.name for tool in request.tools] == ["shell"]  # type: ignore[union-attr]
        assert b"websocket" not in str(backend.seen[0].headers).lower().encode()
        assert {record.verdict for record in await here.app.recorded(3)} == {None, "complete"}


async def test_a_prepared_request_is_checked() -> None:
    """``generate: false`` names a model that is there, and a body that can be read; else it fails as a request does."""
    async with house(TRANSLATED, HELLO) as (here, backend), connected(here) as socket:
        assert (await socket.ask(generate=False, model="nobody/nothing"))["status"] == 404
        assert (await socket.ask(generate=False, temperature="hot"))["error"]["param"] == "temperature"
        assert backend.seen == []


async def test_generating_is_not_the_backends_word() -> None:
    """``generate: true`` asks as every request does: the backend does not get it."""
    async with house("openai-responses", HELLO) as (here, backend), connected(here) as socket:
        assert text_of(await socket.ask(generate=True, stream_id="a")) == "Hello"
        body = backend.seen[0].json
        assert not {"generate", "type", "stream_id"} & body.keys()


@pytest.mark.filterwarnings("ignore:connect:DeprecationWarning")  # the SDK calls websockets in a way that is given up
async def test_openais_sdk() -> None:
    """``client.responses.connect()``, with a lane, a continuation, an error, and steering, whose input comes back."""
    async with house(TRANSLATED, HELLO) as (here, _):
        client = AsyncOpenAI(base_url=f"{here.url}/v1", api_key="sk-none-is-needed")
        async with client.responses.connect() as connection:
            await connection.response.create(model="house/small", input="hi", store=False, stream_id="main")
            events = [await connection.recv()]
            while events[-1].type != "response.completed":
                events.append(await connection.recv())
            assert {event.stream_id for event in events} == {"main"}  # type: ignore[union-attr]
            first = events[-1].response
            assert first.output_text == "Hello"
            await connection.response.create(model="house/small", input="on", previous_response_id=first.id)
            while (event := await connection.recv()).type != "response.completed":
                pass
            assert event.response.previous_response_id == first.id
            await connection.response.create(model="house/small", input="on", previous_response_id="resp_gone")
            error = await connection.recv()
            assert error.type == "error"
            assert (error.status, error.error.code) == (400, "previous_response_not_found")  # type: ignore[union-attr]
            assert error.error.type == "invalid_request_error"  # type: ignore[union-attr]
            await connection.send({"type": "response.steer", "previous_response_id": first.id, "input": "shorter"})
            failed = await connection.recv()
            assert failed.type == "response.steer.failed"
            assert (failed.error.code, failed.steer.input) == ("steering_not_supported", "shorter")
        await client.close()


async def test_a_serving_process_and_its_end(tmp_path: Path) -> None:
    """``polychat serve`` with TLS: SIGTERM lets what runs be answered to its end, closes with 1001, and ends with 0."""
    certificate = authority().issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    trusted = ssl.create_default_context()
    authority().configure_trust(trusted)
    vendor = Held(TRANSLATED, BEGUN)
    async with serving(vendor) as server:
        file = tmp_path / "polychat.toml"
        tls = f'tls_cert = "{tmp_path}/both.pem"\ntls_key = "{tmp_path}/both.pem"'
        backend = f'wire = "openai-chat"\nbase_url = "{server.url}/v1"\nserves = ["small"]'
        file.write_text(f'[gateway]\nport = 0\nsites = ""\n{tls}\n[providers.house]\n{backend}\n', encoding="utf-8")
        with started("-m", "polychat", "serve", "--config", str(file)) as process:
            port = await asyncio.to_thread(process.listening)
            url = f"wss://127.0.0.1:{port}{PATH}"
            async with connect(url, ssl=trusted, proxy=None, ping_interval=None) as connection:
                socket = Socket(connection)
                await socket.create()
                await socket.event()
                process.signal(signal.SIGTERM)
                vendor.go.set()
                while (event := await socket.event())["type"] != "response.completed":
                    pass
                assert text_of(event["response"]) == "Hello"
                assert (await socket.closed())[0] == 1001
            assert await asyncio.to_thread(process.wait) == 0

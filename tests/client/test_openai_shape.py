"""``Client``: defaults for many asks, and OpenAI's shape over any target."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

import pytest

import polychat
from polychat import errors
from polychat.events import Finish, Start, Text, ToolCallPiece, Usage

from ..support.running_gateway import DONE, END, FIRST, Stage, text, until
from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor

HELLO = [[Start("one", "m")], [Text("Hel")], [Text("lo")], [Usage(11, 7, 18), Finish("complete", "stop")]]
ASKED = [{"role": "user", "content": "hi"}]


@pytest.fixture(params=["openai-chat", "anthropic"])
async def dialect(request: pytest.FixtureRequest) -> ScriptedVendor:
    return ScriptedVendor(request.param, HELLO)


@pytest.fixture
async def client(serve: Any, dialect: ScriptedVendor) -> polychat.Client:
    server = await serve(dialect)
    vendor, base = ("openai", "/v1") if dialect.name == "openai-chat" else ("anthropic", "")
    return polychat.Client(f"{vendor}/m", base_url=server.url + base, api_key="k", temperature=0.5)


async def test_a_clients_options_are_under_those_of_each_call(client: polychat.Client, dialect: ScriptedVendor) -> None:
    """They hold for every ask, and give way to what one says itself."""
    assert (await client.ask("hi")).text == "Hello"
    await client.ask("hi", temperature=0.25)
    async with client.stream("hi") as reply:
        assert [piece async for piece in reply] == ["Hel", "lo"]
    assert [chat_request.temperature for chat_request in dialect.asks] == [0.5, 0.25, 0.5]


async def test_a_completion_has_openais_shape(client: polychat.Client) -> None:
    """Whatever wire answered: members are attributes and keys."""
    completion = await client.chat.completions.create(messages=ASKED)
    assert completion.object == "chat.completion"
    assert completion.choices[0].message.content == "Hello"
    assert completion["choices"][0]["finish_reason"] == "stop"
    assert completion.usage.total_tokens == 18
    assert type(completion.model_dump()["choices"][0]) is dict
    with pytest.raises(AttributeError):
        completion.nothing_like_it  # noqa: B018


async def test_chunks_have_openais_shape(client: polychat.Client) -> None:
    """With ``stream`` they come as they do from OpenAI's client."""
    stream = await client.chat.completions.create(messages=ASKED, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.get("content") or "" for chunk in chunks if chunk.choices) == "Hello"
    assert chunks[-1].usage.total_tokens == 18


async def test_tools_come_in_openais_shape(client: polychat.Client, dialect: ScriptedVendor) -> None:
    """The fields of OpenAI's request reach the backend, and its calls come back."""
    dialect.answer = [[ToolCallPiece(0, "c", "now", "{}")], [Finish("complete", "tool_calls")]]
    tools = [{"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]
    completion = await client.chat.completions.create(messages=ASKED, tools=tools, tool_choice="required", max_tokens=5)
    assert [call.function.name for call in completion.choices[0].message.tool_calls] == ["now"]
    assert (dialect.asks[0].max_tokens, dialect.asks[0].tool_choice.mode) == (5, "required")  # type: ignore[union-attr]


async def test_a_failure_is_polychats(client: polychat.Client, dialect: ScriptedVendor) -> None:
    """Raised after the chunks that came, and in place of a completion."""
    dialect.answer = [[Text("so far")], [Finish("failed", error=errors.ReplyFailed("it broke"))]]
    with pytest.raises(errors.PolychatError, match="it broke"):
        await client.chat.completions.create(messages=ASKED)
    came = []
    with pytest.raises(errors.ReplyFailed, match="it broke"):
        async for chunk in await client.chat.completions.create(messages=ASKED, stream=True):
            came += [choice.delta.get("content") for choice in chunk.get("choices", [])]
    assert "so far" in came


async def test_what_their_client_takes_besides(client: polychat.Client, dialect: ScriptedVendor) -> None:
    """Extra headers go out, extra body is merged, an extra query has no place here."""
    await client.chat.completions.create(messages=ASKED, extra_headers={"x-team": "blue"}, extra_body={"top_p": 0.5}, user=None)
    assert dialect.seen[0].headers["x-team"] == "blue"
    assert dialect.asks[0].top_p == 0.5
    with pytest.raises(errors.BadInput, match="extra_query"):
        await client.chat.completions.create(messages=ASKED, extra_query={"a": "b"})


async def test_the_fields_of_a_call_that_make_no_sense_are_named(client: polychat.Client) -> None:
    """As a gateway would name them."""
    with pytest.raises(errors.BadInput) as caught:
        await client.chat.completions.create(messages=[{"role": "user", "content": [{"type": "nonsense"}]}])
    assert caught.value.field == "messages[0].content[0].type"


async def test_a_stream_is_used_as_that_of_openais_client(client: polychat.Client) -> None:
    """In ``async with``, chunk by chunk, and closed by hand: each method that ``AsyncStream`` has."""
    openai = pytest.importorskip("openai")
    async with await client.chat.completions.create(messages=ASKED, stream=True) as stream:
        first = await anext(stream)
        rest = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in [first, *rest]) == "Hello"
    theirs = {name for name, member in vars(openai.AsyncStream).items() if callable(member) and not name.startswith("_")}
    assert theirs <= set(dir(stream))
    await stream.close()
    assert [chunk async for chunk in stream] == []


async def test_a_stream_has_its_response(serve: Any) -> None:
    """Its status, its headers about limits in either case, and whether it is over."""

    async def limited(seen: Seen, say: Say) -> None:
        await say.head(
            headers=[("X-RateLimit-Remaining-Requests", "7"), ("set-cookie", "secret")], content_type="text/event-stream"
        )
        for piece in (FIRST, text("Hel"), END, DONE):
            await say.chunk(piece)
        await say.last()

    openai = pytest.importorskip("openai")
    server = await serve(limited)
    client = polychat.Client("openai/m", base_url=server.url + "/v1", api_key="k")
    async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="k") as official:
        theirs = await official.chat.completions.create(model="m", messages=ASKED, stream=True)
        assert theirs.response.headers["X-RateLimit-Remaining-Requests"] == "7"
        await theirs.close()
    stream = await client.chat.completions.create(messages=ASKED, stream=True)
    response = stream.response
    assert (response.status_code, dict(response.headers), response.is_closed) == (200, {}, False)
    await anext(stream)
    assert response.headers["X-RateLimit-Remaining-Requests"] == response.headers.get("x-ratelimit-remaining-requests") == "7"
    assert "secret" not in str(dict(response.headers))
    await response.aclose()
    assert response.is_closed
    assert [chunk async for chunk in stream] == []


@pytest.mark.parametrize("way", ["with", "close", "unread"])
async def test_a_stream_that_is_left_ends_its_request(serve: Any, way: str) -> None:
    """The connection goes, so that the backend stops; a stream that nobody read was never asked for."""
    stage = Stage(FIRST, text("Hel"))
    server = await serve(stage)
    client = polychat.Client("openai/m", base_url=server.url + "/v1", api_key="k")
    stream = await client.chat.completions.create(messages=ASKED, stream=True)
    if way == "unread":
        await stream.close()
        assert not stage.asked.is_set()
        return
    if way == "with":
        with pytest.raises(ValueError, match="enough"):
            async with stream:
                async for _ in stream:
                    raise ValueError("enough")
    else:
        await anext(stream)
        await stream.close()
    await until(stage.left)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_type_as_the_form_of_the_answer(client: polychat.Client, dialect: ScriptedVendor, stream: bool) -> None:
    """The backend is asked for its schema; the whole message has the value that the answer is."""

    class City(TypedDict):
        name: str

    dialect.answer = [[Start("one", "m")], [Text('{"name":')], [Text('"Oslo"}')], [Finish("complete", "stop")]]
    completion: Any = await client.chat.completions.create(messages=ASKED, response_format=City, stream=stream)
    if stream:
        assert "".join([chunk.choices[0].delta.get("content") or "" async for chunk in completion]) == '{"name":"Oslo"}'
    else:
        assert completion.choices[0].message.parsed == {"name": "Oslo"}
        assert (await client.chat.completions.parse(messages=ASKED, response_format=City)).choices[0].message.parsed
    assert all(chat_request.format is not None for chat_request in dialect.asks)


@pytest.mark.parametrize("name", ["nobody/m", "nobody, other"])
async def test_a_bare_name_alone_is_a_model_of_the_clients_provider(
    client: polychat.Client, dialect: ScriptedVendor, name: str
) -> None:
    """A name that says its provider, or is a chain, is an error where it is unknown, and no model of another provider."""
    await client.chat.completions.create(messages=ASKED, model="another-m")
    assert [chat_request.model for chat_request in dialect.asks] == ["another-m"]
    with pytest.raises(errors.UnknownTarget):
        await client.chat.completions.create(messages=ASKED, model=name)
    assert len(dialect.asks) == 1


async def test_a_client_of_a_route_has_no_provider_for_other_names(serve: Any, tmp_path: Path) -> None:
    """An unknown name is an error, which names it as it was written."""
    server = await serve(vendor := ScriptedVendor("openai-chat", HELLO))
    file = tmp_path / "polychat.toml"
    table = f'[providers.house]\nwire = "openai-chat"\nbase_url = "{server.url}/v1"\n'
    file.write_text(table + '[routes.fast]\ntargets = ["house/m"]\n')
    client = polychat.Client("fast", config=file)
    assert (await client.chat.completions.create(messages=ASKED)).choices[0].message.content == "Hello"
    with pytest.raises(errors.UnknownTarget, match="gpt-unheard-of") as caught:
        await client.chat.completions.create(messages=ASKED, model="gpt-unheard-of")
    assert "fast/" not in str(caught.value)
    assert len(vendor.asks) == 1

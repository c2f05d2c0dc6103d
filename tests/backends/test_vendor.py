"""API vendors asked over loopback: the asking half of each wire against its answering half, through ``polychat.ask``."""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import Any

import msgspec
import pytest

import polychat
from polychat import errors
from polychat.errors import LossWarning
from polychat.events import Citation, Finish, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.types import HostedTool, ImagePart, ToolCall
from polychat.wire.contract import names
from polychat.wire.faults import STATUS, Fault

from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor

WIRES = {
    "openai-chat": "openai",
    "openai-responses": "openai-responses",
    "anthropic": "anthropic",
    "gemini": "gemini",
    "ollama": "ollama",
}
"""A vendor for each wire."""
USAGE = Usage(11, 7, 18)
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def base(url: str, wire: str) -> str:
    return url + {"openai-chat": "/v1", "openai-responses": "/v1", "gemini": "/v1beta"}.get(wire, "")


def target(wire: str) -> str:
    return f"{WIRES[wire]}/m"


def options(url: str, wire: str) -> dict[str, Any]:
    return {"model": target(wire), "base_url": base(url, wire), "api_key": "k-1"}


@pytest.fixture(params=names())
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


HELLO = [[Start("one", "m")], [Text("Hel")], [Text("lo")], [USAGE, Finish("complete", "stop")]]


async def test_a_whole_reply(serve: Any, wire: str) -> None:
    """Text, verdict, reason, usage as the backend counted it, the served model, the raw body."""
    server = await serve(ScriptedVendor(wire, HELLO))
    reply = await polychat.ask("hi", system="be kind", **options(server.url, wire))
    assert (reply.text, reply.verdict, reply.reason) == ("Hello", "complete", "stop")
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.estimated) == (11, 7, False)
    assert reply.raw is not None
    assert json.loads(reply.raw)


async def test_a_stream_comes_in_pieces(serve: Any, wire: str) -> None:
    """Each piece is there when it was sent, and not at the end: the second waits until the first was read."""
    first_was_read = asyncio.Event()

    async def held(seen: Seen, say: Say) -> None:
        dialect = ScriptedVendor(wire)
        whole = ScriptedVendor(wire, HELLO)
        sent: list[bytes] = []

        class Held:
            async def head(self, *arguments: Any) -> None:
                await say.head(*arguments)

            async def chunk(self, data: bytes) -> None:
                sent.append(data)
                if len(sent) == 3:
                    async with asyncio.timeout(60):
                        await first_was_read.wait()
                await say.chunk(data)

            async def last(self) -> None:
                await say.last()

        await whole(seen, Held())  # type: ignore[arg-type]
        assert dialect.asks == []

    server = await serve(held)
    pieces = []
    async with polychat.stream("hi", **options(server.url, wire)) as reply:
        async for piece in reply:
            pieces.append(piece)
            first_was_read.set()
    assert pieces == ["Hel", "lo"]
    assert (reply.verdict, reply.text) == ("complete", "Hello")
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 7


async def test_what_is_asked_arrives(serve: Any, wire: str) -> None:
    """Model, conversation and settings are on the other side what they were on this."""
    dialect = ScriptedVendor(wire, HELLO)
    server = await serve(dialect)
    await polychat.ask(
        [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ],
        temperature=0.5,
        max_tokens=99,
        top_p=0.9,
        **options(server.url, wire),
    )
    ask = dialect.asks[0]
    assert (ask.model, ask.temperature, ask.max_tokens, ask.top_p, ask.stream) == ("m", 0.5, 99, 0.9, False)
    messages = [(turn.role, "".join(part.text for part in turn.parts)) for turn in ask.messages]  # type: ignore[union-attr]
    assert messages == [("system", "be kind"), ("user", "one"), ("assistant", "two"), ("user", "three")]


async def test_tools_there_and_back(serve: Any, wire: str) -> None:
    """A tool is offered, called in pieces, answered, and the conversation goes on from the reply's own turn."""
    calls = [[ToolCallPiece(0, "c1", "weather", '{"ci')], [ToolCallPiece(0, None, None, 'ty":"Oslo"}')]]
    dialect = ScriptedVendor(wire, [*calls, [USAGE, Finish("complete", "tool_calls")]])
    server = await serve(dialect)
    reply = await polychat.ask("weather in Oslo?", tools=[WEATHER], **options(server.url, wire))
    assert reply.reason == "tool_calls"
    (call,) = reply.tool_calls
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Oslo"})
    async with polychat.stream("weather in Oslo?", tools=[WEATHER], **options(server.url, wire)) as streamed:
        assert [piece async for piece in streamed] == []
    assert [(one.name, json.loads(one.arguments)) for one in streamed.tool_calls] == [("weather", {"city": "Oslo"})]
    dialect.answer = HELLO
    history = [
        {"role": "user", "content": "weather in Oslo?"},
        {
            "role": "assistant",
            "tool_calls": [{"id": call.id, "type": "function", "function": {"name": "weather", "arguments": call.arguments}}],
        },
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    await polychat.ask(history, tools=[WEATHER], **options(server.url, wire))
    request = dialect.asks[-1]
    assert [tool.name for tool in request.tools] == ["weather"]  # type: ignore[union-attr]
    (call_sent,) = [part for turn in request.messages for part in turn.parts if isinstance(part, ToolCall)]
    assert (call_sent.name, json.loads(call_sent.arguments)) == ("weather", {"city": "Oslo"})
    (result,) = [part for turn in request.messages if turn.role == "tool" for part in turn.parts]
    assert result.id == call_sent.id  # type: ignore[union-attr]
    assert result.parts[0].text == "rain"  # type: ignore[union-attr]


class City(msgspec.Struct):
    name: str
    people: int


async def test_a_schema_gives_a_value(serve: Any, wire: str) -> None:
    """The backend gets the form, and the answer is a value of the type."""
    dialect = ScriptedVendor(wire, [[Text('{"name":"Oslo",')], [Text('"people":7}')], [Finish("complete", "stop")]])
    server = await serve(dialect)
    reply = await polychat.ask("the capital of Norway", schema=City, **options(server.url, wire))
    assert reply.parsed == City("Oslo", 7)
    form = dialect.asks[0].format
    assert form is not None
    assert form.kind == "schema"
    assert form.schema is not None
    assert set(form.schema["properties"]) == {"name", "people"}


async def test_an_answer_that_breaks_its_schema_is_a_bad_reply(serve: Any, wire: str) -> None:
    """Nothing is made up in its place, and the text is kept."""
    server = await serve(ScriptedVendor(wire, [[Text("Oslo, I think")], [Finish("complete", "stop")]]))
    with pytest.raises(errors.BadReply, match="schema City") as caught:
        await polychat.ask("the capital of Norway", schema=City, **options(server.url, wire))
    assert caught.value.text == "Oslo, I think"


async def test_an_image_arrives(serve: Any, wire: str) -> None:
    """Bytes and type are on the other side what they were here, before the words."""
    dialect = ScriptedVendor(wire, HELLO)
    server = await serve(dialect)
    png = b"\x89PNG\r\n\x1a\nrest"
    await polychat.ask("what is it?", images=png, **options(server.url, wire))
    (image,) = [part for turn in dialect.asks[0].messages for part in turn.parts if isinstance(part, ImagePart)]
    assert (image.data, image.media_type) == (png, "image/png")


async def test_thoughts_are_separate_from_the_answer(serve: Any, wire: str) -> None:
    """In whole replies and in streams."""
    batches = [[Reasoning("Let me ")], [Reasoning("think.")], [Text("42")], [USAGE, Finish("complete", "stop")]]
    server = await serve(ScriptedVendor(wire, batches))
    reply = await polychat.ask("?", **options(server.url, wire))
    assert (reply.reasoning, reply.text) == ("Let me think.", "42")
    async with polychat.stream("?", **options(server.url, wire)) as streamed:
        assert [piece async for piece in streamed] == ["42"]
    assert streamed.reasoning == "Let me think."


@pytest.mark.parametrize("kind", ["invalid_request", "authentication", "permission", "not_found", "rate_limit", "server"])
async def test_a_refusal_is_an_error_by_its_status(serve: Any, wire: str, kind: Any) -> None:
    """With the vendor's message, its kind, and the vendor's name; a stream refuses the same way before its first piece."""
    server = await serve(ScriptedVendor(wire, fault=Fault("nothing for you", kind, STATUS[kind])))
    for ask in (polychat.ask, whole):
        with pytest.raises(errors.StatusError, match="nothing for you") as caught:
            await ask("hi", **options(server.url, wire))
        assert (caught.value.status, caught.value.kind) == (STATUS[kind], kind)
        assert caught.value.provider == WIRES[wire]


async def whole(prompt: str, **options: Any) -> str:
    async with polychat.stream(prompt, **options) as stream:
        return "".join([piece async for piece in stream])


async def test_a_failure_inside_a_stream_is_raised_after_what_came(serve: Any, wire: str) -> None:
    """An error under status 200 is no end of an answer."""
    failure = Finish("failed", error=errors.ReplyFailed("the backend reported an error: overloaded"))
    server = await serve(ScriptedVendor(wire, [[Text("Hel")], [failure]]))
    pieces = []
    with pytest.raises(errors.ReplyFailed, match="overloaded") as caught:
        async with polychat.stream("hi", **options(server.url, wire)) as reply:
            async for piece in reply:
                pieces.append(piece)
    assert (pieces, reply.verdict, caught.value.text) == (["Hel"], "failed", "Hel")


async def test_a_connection_that_breaks_is_a_truncated_reply(serve: Any, wire: str) -> None:
    """What came is kept; no reason is made up."""
    server = await serve(ScriptedVendor(wire, HELLO, cut_after=2))
    with pytest.raises(errors.Truncated) as caught:
        async with polychat.stream("hi", **options(server.url, wire)) as reply:
            async for _ in reply:
                pass
    assert (reply.verdict, reply.reason, caught.value.text) == ("truncated", None, "Hel")


async def test_leaving_a_stream_closes_it(serve: Any, wire: str) -> None:
    """The server sees the client go; the verdict is cancelled."""
    gone = asyncio.Event()

    async def endless(seen: Seen, say: Say) -> None:
        await ScriptedVendor(wire, [*HELLO[:2]], cut_after=None)._say(*opened(wire, seen), HELLO[:2], Endless(say))  # type: ignore[arg-type]
        await say.gone()
        gone.set()

    server = await serve(endless)
    async with polychat.stream("hi", **options(server.url, wire)) as reply:
        async for _ in reply:
            break
    async with asyncio.timeout(60):
        await gone.wait()
    assert (reply.verdict, reply.text) == ("cancelled", "Hel")


def opened(wire: str, seen: Seen) -> tuple[Any, Any]:
    from polychat.wire.contract import wire_named

    from ..support.scripted_vendors import request_read

    return wire_named(wire), request_read(wire_named(wire), seen)


class Endless:
    """A stream that is never ended."""

    def __init__(self, say: Say) -> None:
        self.say = say

    async def head(self, *arguments: Any) -> None:
        await self.say.head(*arguments)

    async def chunk(self, data: bytes) -> None:
        if b"Hel" in data or b"start" in data or b"created" in data:
            await self.say.chunk(data)

    async def last(self) -> None:
        pass


KEY_HEADERS = {
    "openai-chat": ("authorization", "Bearer k-1"),
    "openai-responses": ("authorization", "Bearer k-1"),
    "anthropic": ("x-api-key", "k-1"),
    "gemini": ("x-goog-api-key", "k-1"),
}


@pytest.mark.parametrize("wire", KEY_HEADERS)
async def test_the_key_is_where_the_vendor_wants_it(serve: Any, wire: str) -> None:
    """In the vendor's header, and in no URL."""
    dialect = ScriptedVendor(wire, HELLO)
    server = await serve(dialect)
    await polychat.ask("hi", **options(server.url, wire))
    name, value = KEY_HEADERS[wire]
    assert dialect.seen[0].headers[name] == value
    assert "k-1" not in dialect.seen[0].target


async def test_keys_come_from_the_environment_and_from_the_file(
    serve: Any, monkeypatch: pytest.MonkeyPatch, own_config: Any
) -> None:
    """An argument goes over polychat.toml, which goes over the environment."""
    dialect = ScriptedVendor("openai-chat", HELLO)
    server = await serve(dialect)
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    await polychat.ask("hi", model="openai/m")
    monkeypatch.setenv("MINE", "from-file")
    own_config('[providers.openai]\napi_key = "env:MINE"\n')
    await polychat.ask("hi", model="openai/m")
    await polychat.ask("hi", model="openai/m", api_key="given")
    keys = [seen.headers["authorization"].removeprefix("Bearer ") for seen in dialect.seen]
    assert keys == ["from-environment", "from-file", "given"]


async def test_a_missing_key_names_its_variable() -> None:
    """Nothing is sent."""
    with pytest.raises(errors.NotReady, match="GROQ_API_KEY"):
        await polychat.ask("hi", model="groq/m")


async def test_a_key_that_no_header_carries_is_refused_unseen() -> None:
    """The error does not show it."""
    with pytest.raises(errors.BadInput, match="api_key|key for") as caught:
        await polychat.ask("hi", model="groq/m", api_key="sek\nret")
    assert "sek" not in str(caught.value)


async def test_a_vendor_of_ones_own_is_a_row(serve: Any, own_config: Any) -> None:
    """A wire at an address, with what it calls differently and what it does not take."""
    dialect = ScriptedVendor("openai-chat", HELLO)
    server = await serve(dialect)
    own_config(
        f'[providers.house]\nwire = "openai-chat"\nbase_url = "{server.url}/v1"\n'
        'rename = {max_completion_tokens = "max_tokens"}\ndrop = {seed = "it is refused"}\nheaders = {x-team = "blue"}\n'
    )
    with pytest.warns(LossWarning, match="seed is dropped: house: it is refused"):
        reply = await polychat.ask("hi", model="house/m", max_tokens=5, seed=1)
    assert [loss.field for loss in reply.losses] == ["seed"]
    assert dialect.seen[0].json["max_tokens"] == 5
    assert not {"seed", "max_completion_tokens"} & set(dialect.seen[0].json)
    assert dialect.seen[0].headers["x-team"] == "blue"
    assert "authorization" not in dialect.seen[0].headers


async def test_a_tool_of_another_wire_is_refused_before_anything_is_sent(serve: Any) -> None:
    """Unless losing it is allowed; then the reply tells of it."""
    from polychat.providers import CallInfo, find
    from polychat.types import ChatMessage, ChatRequest, TextPart

    dialect = ScriptedVendor("openai-chat", HELLO)
    server = await serve(dialect)
    ask = ChatRequest("m", [ChatMessage("user", [TextPart("hi")])], tools=[HostedTool("web_search", {})], wire="anthropic")
    vendor = find("openai")
    with pytest.raises(errors.BadInput, match=r"tools\.hosted\.foreign"):
        async for _ in vendor.answers(ask, CallInfo(), base_url=f"{server.url}/v1", api_key="k"):
            pass
    assert dialect.seen == []
    call_info = CallInfo("allow")
    async for _ in vendor.answers(ask, call_info, base_url=f"{server.url}/v1", api_key="k"):
        pass
    assert [loss.field for loss in call_info.losses] == ["tools.hosted.foreign"]
    assert "tools" not in dialect.seen[0].json


async def test_usage_that_nobody_counted_is_marked_as_a_guess(serve: Any) -> None:
    """And where the backend did count, it is not."""
    server = await serve(ScriptedVendor("openai-chat", [[Text("some words in answer")], [Finish("complete", "stop")]]))
    reply = await polychat.ask("some words", **options(server.url, "openai-chat"))
    assert reply.usage is not None
    assert reply.usage.estimated
    assert reply.usage.prompt_tokens
    assert reply.usage.completion_tokens


async def test_sources_are_read(serve: Any) -> None:
    """A page an answer rests on comes with the reply."""
    page = Citation("A page", "https://example.org/a")
    server = await serve(ScriptedVendor("openai-responses", [[Text("so")], [page], [Finish("complete", "stop")]]))
    reply = await polychat.ask("?", **options(server.url, "openai-responses"))
    assert [(source.title, source.url) for source in reply.sources] == [("A page", "https://example.org/a")]


async def test_the_seeds_contract_holds_for_vendors_too(serve: Any, wire: str) -> None:
    """``create_async_generator`` and ``create_async``, as for every provider."""
    server = await serve(ScriptedVendor(wire, HELLO))
    provider = polychat.providers.find(WIRES[wire])  # type: ignore[attr-defined]
    options = {"base_url": base(server.url, wire), "api_key": "k", "temperature": 0.1}
    messages = [{"role": "user", "content": "hi"}]
    assert [piece async for piece in provider.create_async_generator("m", messages, **options)] == ["Hel", "lo"]
    assert await provider.create_async("m", messages, **options) == "Hello"


async def test_a_model_must_be_named() -> None:
    """A vendor has no default: the error says how to see what there is."""
    with pytest.raises(errors.BadInput, match="polychat models openai"):
        await polychat.ask("hi", model="openai", api_key="k")


def test_an_unknown_vendor_has_near_names() -> None:
    """A typing error is reported."""
    with pytest.raises(errors.UnknownTarget, match="did you mean anthropic"):
        polychat.stream("hi", model="antropic/m")


def test_the_same_row_is_the_same_class() -> None:
    """Options are looked up once a provider, not once a call."""
    assert polychat.providers.find("groq") is polychat.providers.find("GROQ")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "params", [{"temperature": "hot"}, {"max_tokens": 0}, {"stop": [""]}, {"reasoning": "very"}, {"n": 1.5}]
)
async def test_bad_settings_are_named(params: dict[str, Any]) -> None:
    """Before anything is sent."""
    with pytest.raises(errors.BadInput) as caught:
        await polychat.ask("hi", model="openai/m", api_key="k", **params)
    assert caught.value.field == next(iter(params))


async def test_two_callers_do_not_meet(serve: Any, wire: str) -> None:
    """Twenty at a time, each gets the answer to its own question."""

    def echo(ask: Any) -> list[list[Any]]:
        return [[Text(f"you said {ask.messages[0].parts[0].text}")], [Finish("complete", "stop")]]

    server = await serve(ScriptedVendor(wire, echo))
    calls = [polychat.ask(f"word {number}", **options(server.url, wire)) for number in range(20)]
    assert [reply.text for reply in await asyncio.gather(*calls)] == [f"you said word {number}" for number in range(20)]


def test_two_event_loops_do_not_meet(wire: str) -> None:
    """A connection kept by one loop is not the next loop's."""
    from ..support.scripted_server import serving

    async def once() -> str:
        async with serving(ScriptedVendor(wire, HELLO)) as server:
            return (await polychat.ask("hi", **options(server.url, wire))).text

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [asyncio.run(once()), asyncio.run(once())] == ["Hello", "Hello"]

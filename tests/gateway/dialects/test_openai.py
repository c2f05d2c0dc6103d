"""OpenAI's own client at the gateway, before backends of every wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from polychat.config.settings import Route, Store
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
from ...support.running_gateway import Running, Stage, completion, fault, good
from ...support.scripted_server import Say, Seen
from ...support.scripted_vendors import ScriptedVendor
from ...support.vendor_clients import City, vectors, vendor_client

openai = vendor_client("openai")

TOOLS: Any = [
    {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS, "strict": True}},
    {"type": "function", "function": {"name": "now", "parameters": NOTHING, "strict": True}},
]
CALLED = [("call_a", "weather", {"city": "Oslo"}), ("call_b", "now", {})]


def called(calls: Any, wire: str) -> list[Any]:
    """Ids, names and arguments of calls; without ids where the backend's wire has none."""
    ids = wire not in ("gemini", "ollama")
    return [(call.id if ids else "", call.function.name, json.loads(call.function.arguments)) for call in calls]


def expected(wire: str) -> list[Any]:
    return [(call if wire not in ("gemini", "ollama") else "", name, arguments) for call, name, arguments in CALLED]


@asynccontextmanager
async def client(here: Running, **more: Any) -> AsyncGenerator[Any, None]:
    async with openai.AsyncOpenAI(**{"api_key": KEY, "base_url": f"{here.url}/v1", "max_retries": 0, **more}) as made:
        yield made


@pytest.mark.parametrize("wire", WIRES)
class TestChat:
    """Chat completions."""

    async def test_whole(self, wire: str) -> None:
        """Text, reason, usage with what was cached, under the name that was asked for; who answered is in the headers."""
        async with house(wire, HELLO) as (here, dialect), client(here) as request:
            raw = await request.chat.completions.with_raw_response.create(model="house/small", messages=ASKED)
            reply = raw.parse()
        assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("Hello", "stop")
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (11, 7, 18)
        assert wire == "ollama" or reply.usage.prompt_tokens_details.cached_tokens == 3
        assert raw.headers["x-request-id"] == reply._request_id == here.records[0].request_id
        assert (raw.headers["x-polychat-provider"], raw.headers["x-polychat-model"]) == ("house", "small")
        assert dialect.asks[0].model == "small"

    async def test_streamed(self, wire: str) -> None:
        """Pieces as they came, one reason, one id, and usage in a last chunk of its own because it was asked for."""
        async with house(wire, HELLO) as (here, _), client(here) as request:
            options = {"include_usage": True}
            stream = await request.chat.completions.create(
                model="house/small", messages=ASKED, stream=True, stream_options=options
            )
            chunks = [chunk async for chunk in stream]
        texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
        assert texts == ["Hel", "lo"]
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason] == [
            "stop"
        ]
        assert len({chunk.id for chunk in chunks}) == 1
        assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 18)

    async def test_usage_that_nobody_asked_for(self, wire: str) -> None:
        """No chunk without choices comes, and the gateway counts all the same."""
        async with house(wire, HELLO) as (here, _), client(here) as request:
            stream = await request.chat.completions.create(model="house/small", messages=ASKED, stream=True)
            chunks = [chunk async for chunk in stream]
            (record,) = await here.app.recorded()
        assert all(chunk.choices and chunk.usage is None for chunk in chunks)
        assert (record.prompt_tokens, record.completion_tokens) == (11, 7)

    async def test_tools_whole(self, wire: str) -> None:
        """Calls with ids, names and arguments; the next ask takes their results back."""
        async with house(wire, CALLS) as (here, dialect), client(here) as request:
            reply = await request.chat.completions.create(model="house/small", messages=ASKED, tools=TOOLS)
            message = reply.choices[0].message
            results = [{"role": "tool", "tool_call_id": call.id, "content": "7"} for call in message.tool_calls]
            await request.chat.completions.create(model="house/small", messages=[*ASKED, message, *results], tools=TOOLS)
        assert reply.choices[0].finish_reason == "tool_calls"
        assert called(message.tool_calls, wire) == expected(wire)
        assert len({call.id for call in message.tool_calls}) == 2
        parts = [type(part).__name__ for turn in dialect.asks[-1].messages for part in turn.parts]
        assert (parts.count("ToolCall"), parts.count("ToolResult")) == (2, 2)

    async def test_tools_streamed(self, wire: str) -> None:
        """Its stream helper puts the pieces of calls together."""
        async with (
            house(wire, CALLS) as (here, _),
            client(here) as request,
            request.chat.completions.stream(model="house/small", messages=ASKED, tools=TOOLS) as stream,
        ):
            done = [event async for event in stream if event.type == "tool_calls.function.arguments.done"]
            final = await stream.get_final_completion()
        assert [(event.name, event.parsed_arguments or json.loads(event.arguments)) for event in done] == [
            ("weather", {"city": "Oslo"}),
            ("now", {}),
        ]
        assert called(final.choices[0].message.tool_calls, wire) == expected(wire)
        assert final.choices[0].message.content == "Let me look."

    async def test_parse(self, wire: str) -> None:
        """With a type of one's own the answer is one of its values, and the backend got the schema."""
        async with house(wire, CITY) as (here, dialect), client(here) as request:
            reply = await request.chat.completions.parse(model="house/small", messages=ASKED, response_format=City)
        assert reply.choices[0].message.parsed == City(name="Oslo", people=7)
        assert set(dialect.asks[0].format.schema["properties"]) == {"name", "people"}

    @pytest.mark.parametrize("end", ["error", "cut"])
    async def test_a_stream_that_fails_midway_is_raised(self, wire: str, end: str) -> None:
        """Said by the backend or a connection that breaks: what came before was read, and no end looks whole."""
        held = Held(wire, BROKEN, cut_after=1 if end == "cut" else None)
        async with house(wire, held) as (here, _), client(here) as request:
            stream = await request.chat.completions.create(model="house/small", messages=ASKED, stream=True)
            text, reasons = "", []
            with pytest.raises(openai.APIError, match="it broke" if end == "error" else None):
                async for chunk in stream:
                    text += chunk.choices[0].delta.content or ""
                    reasons.append(chunk.choices[0].finish_reason)
                    held.go.set() if text else None
            (record,) = await here.app.recorded()
        assert (text, set(reasons)) == ("so far", {None})
        assert record.verdict == ("failed" if end == "error" else "truncated")

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("invalid_request", openai.BadRequestError),
            ("context_length", openai.BadRequestError),
            ("rate_limit", openai.RateLimitError),
            ("server", openai.InternalServerError),
        ],
    )
    async def test_a_backends_refusal(self, wire: str, kind: Any, error: type[Any]) -> None:
        """Is the class that its users catch, with the backend's words."""
        dialect = ScriptedVendor(wire, fault=Fault("nothing for you", kind, STATUS[kind]))
        async with house(wire, dialect) as (here, _), client(here) as request:
            with pytest.raises(error, match="nothing for you") as caught:
                await request.chat.completions.create(model="house/small", messages=ASKED)
            with pytest.raises(error, match="nothing for you") as responded:
                await request.responses.create(model="house/small", input="hi")
        assert caught.value.request_id == here.records[0].request_id
        if kind == "context_length":
            assert caught.value.code == responded.value.code == "context_length_exceeded"

    async def test_legacy_completions(self, wire: str) -> None:
        """A prompt, and its text: whole and streamed."""
        async with house(wire, HELLO) as (here, _), client(here) as request:
            reply = await request.completions.create(model="house/small", prompt="hi")
            chunks = [chunk async for chunk in await request.completions.create(model="house/small", prompt="hi", stream=True)]
        assert (reply.choices[0].text, reply.choices[0].finish_reason, reply.usage.total_tokens) == ("Hello", "stop", 18)
        assert "".join(chunk.choices[0].text for chunk in chunks) == "Hello"
        assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("wire", WIRES)
class TestResponses:
    """Responses."""

    async def test_whole(self, wire: str) -> None:
        """Text, status and usage, under the name that was asked for."""
        async with house(wire, HELLO) as (here, _), client(here) as request:
            reply = await request.responses.create(model="house/small", input="hi", store=False)
        assert (reply.output_text, reply.status) == ("Hello", "completed")
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, 7)
        assert wire == "ollama" or reply.usage.input_tokens_details.cached_tokens == 3

    async def test_its_stream_helper_accumulates(self, wire: str) -> None:
        """Named events with rising numbers; text and calls put together by its code."""
        async with (
            house(wire, CALLS) as (here, _),
            client(here) as request,
            request.responses.stream(model="house/small", input="hi", tools=_flat(TOOLS)) as stream,
        ):
            events = [event async for event in stream]
            final = await stream.get_final_response()
        numbers = [event.sequence_number for event in events if hasattr(event, "sequence_number")]
        assert numbers == sorted(numbers)
        assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
        assert final.output_text == "Let me look."
        calls = [(item.name, json.loads(item.arguments)) for item in final.output if item.type == "function_call"]
        assert calls == [("weather", {"city": "Oslo"}), ("now", {})]

    async def test_parse(self, wire: str) -> None:
        """The answer is a value of one's own type."""
        async with house(wire, CITY) as (here, _), client(here) as request:
            reply = await request.responses.parse(model="house/small", input="hi", text_format=City)
        assert reply.output_parsed == City(name="Oslo", people=7)

    @pytest.mark.parametrize("end", ["error", "cut"])
    async def test_a_stream_that_fails_midway(self, wire: str, end: str) -> None:
        """Is raised after what came before: it began once, and was never completed."""
        held = Held(wire, BROKEN, cut_after=1 if end == "cut" else None)
        async with house(wire, held) as (here, _), client(here) as request:
            events: Any = []
            try:
                async for event in await request.responses.create(model="house/small", input="hi", stream=True):
                    events.append(event)
                    if event.type == "response.output_text.delta":
                        held.go.set()
            except openai.APIError as error:
                events.append(error)
        kinds = [event.type for event in events]
        assert kinds[:2] == ["response.created", "response.in_progress"]
        assert "response.output_text.delta" in kinds
        assert not {"response.completed", *kinds[:2]} & set(kinds[2:])
        assert isinstance(events[-1], openai.APIError)


def _flat(tools: Any) -> Any:
    return [{"type": "function", **tool["function"]} for tool in tools]


class TestKeptResponses:
    """What Responses keeps, where the backend has no Responses of its own."""

    async def test_go_on_from_one(self) -> None:
        """``previous_response_id`` puts the conversation before the new input; instructions are not handed on."""
        async with house("anthropic", HELLO) as (here, dialect), client(here) as request:
            first = await request.responses.create(model="house/small", input="one", instructions="Be brief.")
            second = await request.responses.create(model="house/small", input="two", previous_response_id=first.id)
            third = await request.responses.create(
                model="house/small", input="three", previous_response_id=second.id, stream=True
            )
            last = [event async for event in third][-1].response
            await request.responses.create(model="house/small", input="four", previous_response_id=last.id)
        history = [(turn.role, "".join(getattr(part, "text", "") for part in turn.parts)) for turn in dialect.asks[-1].messages]
        assert history == [
            *[("user", "one"), ("assistant", "Hello"), ("user", "two"), ("assistant", "Hello")],
            *[("user", "three"), ("assistant", "Hello"), ("user", "four")],
        ]
        assert second.previous_response_id == first.id

    async def test_calls_are_gone_on_from(self) -> None:
        """A call's result alone is enough after ``previous_response_id``: the call itself is kept."""
        async with house("anthropic", CALLS) as (here, dialect), client(here) as request:
            first = await request.responses.create(model="house/small", input="one", tools=_flat(TOOLS))
            ids = [item.call_id for item in first.output if item.type == "function_call"]
            results: Any = [{"type": "function_call_output", "call_id": one, "output": "7"} for one in ids]
            await request.responses.create(
                model="house/small", input=results, previous_response_id=first.id, tools=_flat(TOOLS)
            )
        parts = [type(part).__name__ for turn in dialect.asks[-1].messages for part in turn.parts]
        assert parts == ["TextPart", "TextPart", "ToolCall", "ToolCall", "ToolResult", "ToolResult"]

    async def test_retrieve_and_delete(self) -> None:
        """What was answered can be had again until it is deleted; another key does not see it."""
        keys = {"me": "env:KEY_ONE", "you": "env:KEY_TWO"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KEY_ONE", KEY)
            patch.setenv("KEY_TWO", f"{KEY}-2")
            async with (
                house("anthropic", HELLO, keys=keys) as (here, _),
                client(here) as request,
                client(here, api_key=f"{KEY}-2") as other,
            ):
                first = await request.responses.create(model="house/small", input="one")
                assert (await request.responses.retrieve(first.id)).output_text == "Hello"
                with pytest.raises(openai.NotFoundError):
                    await other.responses.retrieve(first.id)
                with pytest.raises(openai.NotFoundError):
                    await other.responses.delete(first.id)
                await request.responses.delete(first.id)
                with pytest.raises(openai.NotFoundError) as caught:
                    await request.responses.retrieve(first.id)
                with pytest.raises(openai.NotFoundError, match="send the conversation in input") as gone:
                    await request.responses.create(model="house/small", input="two", previous_response_id=first.id)
        assert caught.value.code == "response_not_found"
        assert gone.value.code == "previous_response_not_found"

    async def test_what_is_not_to_be_stored(self) -> None:
        """``store=False`` keeps nothing, nor does a configuration without a store."""
        async with house("anthropic", HELLO) as (here, _), client(here) as request:
            reply = await request.responses.create(model="house/small", input="one", store=False)
            with pytest.raises(openai.NotFoundError):
                await request.responses.retrieve(reply.id)
        async with house("anthropic", HELLO, store=Store(replies=0)) as (here, _), client(here) as request:
            reply = await request.responses.create(model="house/small", input="one")
            with pytest.raises(openai.NotFoundError):
                await request.responses.retrieve(reply.id)

    async def test_thoughts_come_back_to_their_vendor(self) -> None:
        """A reasoning item goes through the client and back: what its vendor sealed is what the vendor gets."""
        async with house("anthropic", thoughts("anthropic")) as (here, dialect), client(here) as request:
            include: Any = ["reasoning.encrypted_content"]
            reply = await request.responses.create(model="house/small", input="?", store=False, include=include)
            history = [{"role": "user", "content": "?"}, *(item.model_dump(exclude_none=True) for item in reply.output)]
            await request.responses.create(
                model="house/small", input=[*history, {"role": "user", "content": "and?"}], store=False
            )
        opaque = [part.opaque for turn in dialect.asks[-1].messages for part in turn.parts if getattr(part, "opaque", None)]
        assert [(one.vendor, one.data) for one in opaque if one is not None] == [("anthropic", "c2lnbmF0dXJl")]


class TestWhoComes:
    """Keys, names, retries and clocks."""

    async def test_a_wrong_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Is ``AuthenticationError``; the right one comes in, and is not handed on to the backend."""
        monkeypatch.setenv("KEY_ONE", KEY)
        async with house("openai-chat", HELLO, keys={"me": "env:KEY_ONE"}) as (here, dialect):
            async with client(here, api_key="sk-wrong") as request:
                with pytest.raises(openai.AuthenticationError, match="missing or unknown API key"):
                    await request.models.list()
            async with client(here) as request:
                await request.chat.completions.create(model="house/small", messages=ASKED)
        assert here.records[-1].key == "me"
        assert KEY not in str(dialect.seen[0].headers)

    async def test_an_unknown_model(self) -> None:
        """Is ``NotFoundError`` with the code that tools look for, and the nearest name in its words."""
        async with house("openai-chat", HELLO) as (here, _), client(here) as request:
            for call in (request.chat.completions.create, request.models.retrieve):
                more = {"messages": ASKED} if call == request.chat.completions.create else {}
                with pytest.raises(openai.NotFoundError, match="house/small") as caught:
                    await call(model="huose/small", **more)
                assert caught.value.code == "model_not_found"

    async def test_a_field_that_is_wrong(self) -> None:
        """Is ``BadRequestError`` that names the field, wherever the ask would have gone."""
        async with house("anthropic", HELLO) as (here, _), client(here) as request:
            with pytest.raises(openai.BadRequestError, match="temperature") as caught:
                await request.chat.completions.create(model="house/small", messages=ASKED, temperature="warm")  # type: ignore[arg-type]
        assert caught.value.param == "temperature"
        assert caught.value.type == "invalid_request_error"

    async def test_models(self) -> None:
        """All that can be asked for, routes and aliases too; one by one with slashes in its name."""
        async with (
            before({"house": ("openai-chat", good)}, routes={"fast": ("house/small",)}, aliases={"gpt-4o": "fast"}) as here,
            client(here) as request,
        ):
            listed = [model.id async for model in request.models.list()]
            one = await request.models.retrieve("house/small")
        assert {"fast", "gpt-4o", "house/small"} <= set(listed)
        assert (one.id, one.object, one.owned_by) == ("house/small", "model", "house")

    async def test_its_retries_where_nobody_tried_again(self) -> None:
        """A 429 that came from the first ask is tried again by the client, which waits as long as ``retry-after-ms`` says."""
        requests = []

        async def handler(seen: Seen, say: Say) -> None:
            requests.append(seen)
            if len(requests) == 1:
                await fault(429, "rate_limit_error", "slow down", retry_after_ms="1")(seen, say)
            else:
                await say.whole(completion("Hello"))

        async with (
            before({"house": ("openai-chat", handler)}, routes={"once": Route(targets=("house/small",), attempts=1)}) as here,
            client(here, max_retries=1) as request,
        ):
            reply = await request.chat.completions.create(model="once", messages=ASKED)
        assert reply.choices[0].message.content == "Hello"
        assert len(here.records) == 2

    async def test_retries_do_not_multiply(self) -> None:
        """Its own retries say how many they are (``x-stainless-retry-count``), and each of those is asked once here."""
        async with before({"house": ("openai-chat", fault(500))}) as here, client(here, max_retries=2) as request:
            with pytest.raises(openai.InternalServerError) as caught:
                await request.chat.completions.create(model="house/small", messages=ASKED)
        assert [record.attempts for record in here.records] == [2, 1, 1]
        assert "x-should-retry" not in caught.value.response.headers

    async def test_no_retries_in_vain(self) -> None:
        """``x-should-retry: false`` is honoured: a quota that is used up is not asked for again, for all its 429."""
        async with (
            before({"house": ("openai-chat", fault(429, "insufficient_quota"))}) as here,
            client(here, max_retries=2) as request,
        ):
            with pytest.raises(openai.RateLimitError) as caught:
                await request.chat.completions.create(model="house/small", messages=ASKED)
        assert [record.attempts for record in here.records] == [1]
        assert caught.value.response.headers["x-should-retry"] == "false"

    async def test_a_client_that_has_waited_enough(self) -> None:
        """Its timeout is ``APITimeoutError`` there, and here the backend's request is ended."""
        stage = Stage(None)
        async with before({"house": ("openai-chat", stage)}) as here, client(here, timeout=0.2) as request:
            with pytest.raises(openai.APITimeoutError):
                await request.chat.completions.create(model="house/small", messages=ASKED)
            async with asyncio.timeout(60):
                await stage.left.wait()
            (record,) = await here.app.recorded()
        assert record.verdict == "cancelled"

    async def test_a_chat_site(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Answers its client as any vendor does: whole, streamed, and by Responses."""
        async with site(monkeypatch) as here, client(here) as request:
            reply = await request.chat.completions.create(model="chatgptduo", messages=ASKED)
            stream = await request.chat.completions.create(model="chatgptduo", messages=ASKED, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            response = await request.responses.create(model="chatgptduo", input="hi")
        assert reply.choices[0].message.content == text == response.output_text == "echo: hi"


class TestEmbeddings:
    """Texts into vectors."""

    @pytest.mark.parametrize("wire", ["openai-chat", "gemini", "ollama"])
    async def test_vectors(self, wire: str) -> None:
        """One a text, in their order, by whichever backend; its client asks for base64 by default."""
        async with before({"house": (wire, vectors(wire))}) as here, client(here) as request:
            coded = await request.embeddings.create(model="house/small", input=["a", "b"])
            plain = await request.embeddings.create(model="house/small", input="a", encoding_format="float")
        assert [one.embedding for one in coded.data] == [[0.5, 1.0], [0.5, 1.0]]
        assert plain.data[0].embedding == [0.5, 1.0]
        assert coded.model == "house/small"

    async def test_a_wire_that_has_none(self) -> None:
        """Is a bad request that says so."""
        async with house("anthropic", HELLO) as (here, _), client(here) as request:
            with pytest.raises(openai.BadRequestError, match="does not support embeddings"):
                await request.embeddings.create(model="house/small", input="a")

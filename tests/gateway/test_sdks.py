"""The vendors' own Python clients read what our answering halves write: streamed or not, tools, schemas, thoughts, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.events import Citation, Finish, Refusal, Text
from polychat.wire.faults import STATUS, Fault

from ..support.gateway_for_clients import ASKED, CALLS, CITY, HELLO, PARAMETERS, thoughts
from ..support.scripted_vendors import ScriptedVendor
from ..support.vendor_clients import City, vendor_client

anthropic, ollama, openai = (vendor_client(name) for name in ("anthropic", "ollama", "openai"))
genai = vendor_client("google.genai", "google-genai")
google, google_errors = genai.types, genai.errors


class TestOpenAIChat:
    """``openai``: chat completions."""

    @pytest.fixture
    async def ask(self, serve: Any) -> Any:
        clients = []

        async def start(door: ScriptedVendor) -> Any:
            server = await serve(door)
            clients.append(openai.AsyncOpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0))
            return clients[-1].chat.completions

        yield start
        for client in clients:
            await client.close()

    async def test_whole(self, ask: Any) -> None:
        """Text, reason, usage with what was cached."""
        chat = await ask(ScriptedVendor("openai-chat", HELLO))
        reply = await chat.create(model="m", messages=ASKED)
        assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("Hello", "stop")
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (11, 7, 18)
        assert reply.usage.prompt_tokens_details.cached_tokens == 3

    async def test_streamed(self, ask: Any) -> None:
        """Pieces, and the usage in the last chunk where it was asked for."""
        chat = await ask(ScriptedVendor("openai-chat", HELLO))
        chunks = [
            chunk
            async for chunk in await chat.create(model="m", messages=ASKED, stream=True, stream_options={"include_usage": True})
        ]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello"
        assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
        assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 18)

    async def test_its_stream_helper_accumulates(self, ask: Any) -> None:
        """Text, tool calls and the final completion, put together by their code."""
        chat = await ask(ScriptedVendor("openai-chat", CALLS))
        tools = [{"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in ("weather", "now")]
        async with chat.stream(model="m", messages=ASKED, tools=tools) as stream:
            kinds = {event.type async for event in stream}
            final = await stream.get_final_completion()
        assert {"content.delta", "tool_calls.function.arguments.done"} <= kinds
        said = final.choices[0].message
        assert [(call.id, call.function.name, call.function.arguments) for call in said.tool_calls] == [
            ("call_a", "weather", '{"city":"Oslo"}'),
            ("call_b", "now", "{}"),
        ]

    async def test_parse_gives_the_model(self, ask: Any) -> None:
        """The schema arrives as they write it, and the answer is a value of their type."""
        door = ScriptedVendor("openai-chat", CITY)
        chat = await ask(door)
        reply = await chat.parse(model="m", messages=ASKED, response_format=City)
        assert reply.choices[0].message.parsed == City(name="Oslo", people=7)
        assert door.asks[0].format is not None
        assert (door.asks[0].format.name, door.asks[0].format.strict) == ("City", True)

    async def test_a_refusal(self, ask: Any) -> None:
        """In its own field."""
        chat = await ask(
            ScriptedVendor("openai-chat", [[Refusal("I would "), Refusal("rather not")], [Finish("complete", "stop")]])
        )
        reply = await chat.create(model="m", messages=ASKED)
        assert reply.choices[0].message.refusal == "I would rather not"

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("invalid_request", openai.BadRequestError),
            ("authentication", openai.AuthenticationError),
            ("permission", openai.PermissionDeniedError),
            ("not_found", openai.NotFoundError),
            ("rate_limit", openai.RateLimitError),
            ("server", openai.InternalServerError),
        ],
    )
    async def test_errors(self, ask: Any, kind: Any, error: type[Exception]) -> None:
        """Each is the class their users catch, with our words."""
        chat = await ask(ScriptedVendor("openai-chat", fault=Fault("nothing for you", kind, STATUS[kind])))
        with pytest.raises(error, match="nothing for you"):
            await chat.create(model="m", messages=ASKED)

    async def test_a_failure_inside_a_stream_is_raised(self, ask: Any) -> None:
        """Not an end that looks whole."""
        from polychat.errors import ReplyFailed

        chat = await ask(ScriptedVendor("openai-chat", [[Text("so far")], [Finish("failed", error=ReplyFailed("it broke"))]]))
        with pytest.raises(openai.APIError, match="it broke"):
            async for _ in await chat.create(model="m", messages=ASKED, stream=True):
                pass


class TestOpenAIResponses:
    """``openai``: Responses."""

    @pytest.fixture
    async def ask(self, serve: Any) -> Any:
        clients = []

        async def start(door: ScriptedVendor) -> Any:
            server = await serve(door)
            clients.append(openai.AsyncOpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0))
            return clients[-1].responses

        yield start
        for client in clients:
            await client.close()

    async def test_whole(self, ask: Any) -> None:
        """Text, status, usage."""
        reply = await (await ask(ScriptedVendor("openai-responses", HELLO))).create(model="m", input="hi")
        assert (reply.output_text, reply.status) == ("Hello", "completed")
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, 7)
        assert reply.usage.input_tokens_details.cached_tokens == 3

    async def test_its_stream_helper_accumulates(self, ask: Any) -> None:
        """Named events in their order, and the final response put together by their code."""
        responses = await ask(ScriptedVendor("openai-responses", CALLS))
        async with responses.stream(model="m", input="hi") as stream:
            events = [event async for event in stream]
            final = await stream.get_final_response()
        assert [event.sequence_number for event in events if hasattr(event, "sequence_number")] == sorted(
            event.sequence_number for event in events if hasattr(event, "sequence_number")
        )
        assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
        assert final.output_text == "Let me look."
        calls = [item for item in final.output if item.type == "function_call"]
        assert [(call.call_id, call.name, json.loads(call.arguments)) for call in calls] == [
            ("call_a", "weather", {"city": "Oslo"}),
            ("call_b", "now", {}),
        ]

    async def test_thoughts_with_what_must_come_back(self, ask: Any) -> None:
        """A reasoning item with its summary and encrypted content; sent back with the next ask it is what it was."""
        door = ScriptedVendor("openai-responses", thoughts("openai"))
        responses = await ask(door)
        reply = await responses.create(model="m", input="?", store=False, include=["reasoning.encrypted_content"])
        item = next(item for item in reply.output if item.type == "reasoning")
        assert item.encrypted_content == "c2lnbmF0dXJl"
        history = [{"role": "user", "content": "?"}, *(item.model_dump(exclude_none=True) for item in reply.output)]
        await responses.create(model="m", input=[*history, {"role": "user", "content": "and?"}], store=False)
        opaque = [part.opaque for turn in door.asks[-1].messages for part in turn.parts if getattr(part, "opaque", None)]
        assert [(one.vendor, one.data) for one in opaque if one is not None] == [("openai", "c2lnbmF0dXJl")]

    async def test_parse_gives_the_model(self, ask: Any) -> None:
        """The answer is a value of their type."""
        reply = await (await ask(ScriptedVendor("openai-responses", CITY))).parse(model="m", input="hi", text_format=City)
        assert reply.output_parsed == City(name="Oslo", people=7)

    async def test_a_source_is_an_annotation(self, ask: Any) -> None:
        """With its title and address."""
        page = Citation("A page", "https://example.org/a", start=0, end=2)
        responses = await ask(ScriptedVendor("openai-responses", [[Text("so"), page], [Finish("complete", "stop")]]))
        reply = await responses.create(model="m", input="hi")
        note = reply.output[0].content[0].annotations[0]
        assert (note.type, note.title, note.url) == ("url_citation", "A page", "https://example.org/a")

    async def test_errors(self, ask: Any) -> None:
        """The class their users catch."""
        responses = await ask(ScriptedVendor("openai-responses", fault=Fault("slow down", "rate_limit", 429)))
        with pytest.raises(openai.RateLimitError, match="slow down"):
            await responses.create(model="m", input="hi")


class TestAnthropic:
    """``anthropic``: Messages."""

    @pytest.fixture
    async def ask(self, serve: Any) -> Any:
        clients = []

        async def start(door: ScriptedVendor) -> Any:
            server = await serve(door)
            clients.append(anthropic.AsyncAnthropic(api_key="k", base_url=server.url, max_retries=0))
            return clients[-1].messages

        yield start
        for client in clients:
            await client.close()

    async def test_whole(self, ask: Any) -> None:
        """Text, stop reason, usage by Anthropic's counting: what was cached is not among the input tokens."""
        reply = await (await ask(ScriptedVendor("anthropic", HELLO))).create(model="m", max_tokens=9, messages=ASKED)
        assert (reply.content[0].text, reply.stop_reason) == ("Hello", "end_turn")
        assert (reply.usage.input_tokens, reply.usage.cache_read_input_tokens, reply.usage.output_tokens) == (8, 3, 7)

    async def test_its_stream_helper_accumulates(self, ask: Any) -> None:
        """Text and tool calls, put together by their code."""
        messages = await ask(ScriptedVendor("anthropic", CALLS))
        async with messages.stream(model="m", max_tokens=9, messages=ASKED) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        assert (text, final.stop_reason) == ("Let me look.", "tool_use")
        calls = [block for block in final.content if block.type == "tool_use"]
        assert [(call.id, call.name, call.input) for call in calls] == [
            ("call_a", "weather", {"city": "Oslo"}),
            ("call_b", "now", {}),
        ]

    async def test_thoughts_with_their_signature(self, ask: Any) -> None:
        """A thinking block, signed; another vendor's signature survives the trip through their client."""
        door = ScriptedVendor("anthropic", thoughts("somebody"))
        messages = await ask(door)
        async with messages.stream(model="m", max_tokens=9, messages=ASKED) as stream:
            final = await stream.get_final_message()
        assert final.content[0].thinking == "Let me think."
        history = [*ASKED, {"role": "assistant", "content": [block.model_dump() for block in final.content]}]
        await messages.create(model="m", max_tokens=9, messages=[*history, *ASKED])
        opaque = [part.opaque for turn in door.asks[-1].messages for part in turn.parts if getattr(part, "opaque", None)]
        assert [(one.vendor, one.data) for one in opaque if one is not None] == [("somebody", "c2lnbmF0dXJl")]

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("invalid_request", anthropic.BadRequestError),
            ("authentication", anthropic.AuthenticationError),
            ("not_found", anthropic.NotFoundError),
            ("rate_limit", anthropic.RateLimitError),
            ("server", anthropic.InternalServerError),
        ],
    )
    async def test_errors(self, ask: Any, kind: Any, error: type[Exception]) -> None:
        """Each is the class their users catch, with our words."""
        messages = await ask(ScriptedVendor("anthropic", fault=Fault("nothing for you", kind, STATUS[kind])))
        with pytest.raises(error, match="nothing for you"):
            await messages.create(model="m", max_tokens=9, messages=ASKED)

    async def test_a_failure_inside_a_stream_is_raised(self, ask: Any) -> None:
        """Not an end that looks whole."""
        from polychat.errors import ReplyFailed

        messages = await ask(ScriptedVendor("anthropic", [[Text("so far")], [Finish("failed", error=ReplyFailed("it broke"))]]))
        with pytest.raises(anthropic.APIStatusError, match="it broke"):
            async with messages.stream(model="m", max_tokens=9, messages=ASKED) as stream:
                async for _ in stream:
                    pass


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # theirs
class TestGoogle:
    """``google-genai``: generateContent."""

    @pytest.fixture
    async def ask(self, serve: Any) -> Any:
        clients = []

        async def start(door: ScriptedVendor) -> Any:
            server = await serve(door)
            options = google.HttpOptions(base_url=server.url, api_version="v1beta")
            clients.append(genai.Client(api_key="k", http_options=options))
            return clients[-1].aio.models

        yield start
        for client in clients:
            await client.aio.aclose()
            client.close()

    async def test_whole(self, ask: Any) -> None:
        """Text, reason, usage."""
        reply = await (await ask(ScriptedVendor("gemini", HELLO))).generate_content(model="m", contents="hi")
        assert (reply.text, reply.candidates[0].finish_reason) == ("Hello", google.FinishReason.STOP)
        usage = reply.usage_metadata
        assert (usage.prompt_token_count, usage.candidates_token_count, usage.cached_content_token_count) == (11, 7, 3)

    async def test_streamed(self, ask: Any) -> None:
        """Pieces, and the reason in the last."""
        models = await ask(ScriptedVendor("gemini", HELLO))
        chunks = [chunk async for chunk in await models.generate_content_stream(model="m", contents="hi")]
        assert "".join(chunk.text or "" for chunk in chunks) == "Hello"
        assert chunks[-1].candidates[0].finish_reason == google.FinishReason.STOP

    async def test_tools(self, ask: Any) -> None:
        """Function calls with their arguments, whole."""
        models = await ask(ScriptedVendor("gemini", CALLS))
        declared = google.FunctionDeclaration(name="weather", parameters_json_schema=PARAMETERS)
        config = google.GenerateContentConfig(
            tools=[google.Tool(function_declarations=[declared])],
            automatic_function_calling=google.AutomaticFunctionCallingConfig(disable=True),
        )
        chunks = [chunk async for chunk in await models.generate_content_stream(model="m", contents="hi", config=config)]
        calls = [call for chunk in chunks for call in chunk.function_calls or []]
        assert [(call.name, call.args) for call in calls] == [("weather", {"city": "Oslo"}), ("now", {})]

    async def test_thoughts(self, ask: Any) -> None:
        """Marked as thoughts, apart from the text."""
        reply = await (await ask(ScriptedVendor("gemini", thoughts("gemini")))).generate_content(model="m", contents="hi")
        parts = reply.candidates[0].content.parts
        assert "".join(part.text or "" for part in parts if part.thought) == "Let me think."
        assert reply.text == "42"

    async def test_a_schema(self, ask: Any) -> None:
        """The answer is a value of their type."""
        config = google.GenerateContentConfig(response_mime_type="application/json", response_schema=City)
        reply = await (await ask(ScriptedVendor("gemini", CITY))).generate_content(model="m", contents="hi", config=config)
        assert reply.parsed == City(name="Oslo", people=7)

    async def test_errors(self, ask: Any) -> None:
        """The class their users catch, with status and words."""
        models = await ask(ScriptedVendor("gemini", fault=Fault("slow down", "rate_limit", 429)))
        with pytest.raises(google_errors.ClientError, match="slow down") as caught:
            await models.generate_content(model="m", contents="hi")
        assert caught.value.code == 429


class TestOllama:
    """``ollama``: chat."""

    @pytest.fixture
    async def ask(self, serve: Any) -> Any:
        clients = []

        async def start(door: ScriptedVendor) -> Any:
            clients.append(ollama.AsyncClient(host=(await serve(door)).url))
            return clients[-1]

        yield start
        for client in clients:
            await client.close()

    async def test_whole(self, ask: Any) -> None:
        """Text, reason, counts."""
        reply = await (await ask(ScriptedVendor("ollama", HELLO))).chat(model="m", messages=ASKED)
        assert (reply.message.content, reply.done, reply.done_reason) == ("Hello", True, "stop")
        assert (reply.prompt_eval_count, reply.eval_count) == (11, 7)

    async def test_streamed(self, ask: Any) -> None:
        """Pieces, and an end."""
        client = await ask(ScriptedVendor("ollama", HELLO))
        chunks = [chunk async for chunk in await client.chat(model="m", messages=ASKED, stream=True)]
        assert "".join(chunk.message.content or "" for chunk in chunks) == "Hello"
        assert [chunk.done for chunk in chunks][-1]

    async def test_tools(self, ask: Any) -> None:
        """Calls with their arguments as objects."""
        client = await ask(ScriptedVendor("ollama", CALLS))
        tool = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
        chunks = [chunk async for chunk in await client.chat(model="m", messages=ASKED, tools=[tool], stream=True)]
        calls = [call.function for chunk in chunks for call in chunk.message.tool_calls or []]
        assert [(call.name, call.arguments) for call in calls] == [("weather", {"city": "Oslo"}), ("now", {})]

    async def test_thoughts(self, ask: Any) -> None:
        """In their own field."""
        reply = await (await ask(ScriptedVendor("ollama", thoughts("ollama")))).chat(model="m", messages=ASKED, think=True)
        assert (reply.message.thinking, reply.message.content) == ("Let me think.", "42")

    async def test_errors(self, ask: Any) -> None:
        """The class their users catch, with status and words."""
        client = await ask(ScriptedVendor("ollama", fault=Fault("no such model", "not_found", 404)))
        with pytest.raises(ollama.ResponseError, match="no such model") as caught:
            await client.chat(model="m", messages=ASKED)
        assert caught.value.status_code == 404

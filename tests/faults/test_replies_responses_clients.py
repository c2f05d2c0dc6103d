"""The Responses dialect before a chat backend: OpenAI's own stream helper, and the requests of Open Responses' compliance
test.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from openresponses_types import types as published
from openresponses_types.types import ResponseResource

from polychat.events import Citation, Event, Finish, Media, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.types import ChatRequest, ImagePart

from ..support.gateway_for_clients import CALLS, HELLO, before, house
from ..support.running_gateway import fault
from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASKED = [{"type": "message", "role": "user", "content": "Say hello."}]
RICH: list[list[Event]] = [
    [Start("one", "m"), Reasoning("Let me "), Reasoning("think.")],
    [
        Text("One\u2028"),
        Citation("A", "https://a.example/", "", 0, 3),
        Text("two."),
        Citation("B", "https://b.example/", "", 4, 7),
    ],
    [Media(b"\x89PNG\r\n\x1a\n", "image/png")],
    [ToolCallPiece(0, "call_a", "weather", '{"city":'), ToolCallPiece(0, None, None, '"Oslo"}')],
    [ToolCallPiece(1, "call_b", "now", "{}")],
    [Usage(11, 7, 18), Finish("complete", "tool_calls")],
]
CUT: list[list[Event]] = [
    [Start("one", "m"), Text("Let me look.")],
    [ToolCallPiece(0, "call_a", "weather", '{"city":"Os')],
    [Usage(11, 7, 18), Finish("complete", "length")],
]


async def streamed(answer: list[list[Event]], wire: str) -> tuple[list[Any], Any]:
    """The events and the final response, put together by OpenAI's own code."""
    openai = pytest.importorskip("openai")
    async with house(wire, answer) as (here, _):
        client = openai.AsyncOpenAI(api_key="k", base_url=f"{here.url}/v1", max_retries=0)
        async with client.responses.stream(model="house/small", input="hi") as stream:
            events = [event async for event in stream]
        await client.close()
    return events, events[-1].response


@pytest.mark.parametrize("wire", ["openai-chat", "openai-responses"])
async def test_openais_stream_helper_reads_a_rich_answer(wire: str) -> None:
    """Thoughts, two citations, U+2028, an image and parallel calls arrive, translated and passed."""
    events, final = await streamed(RICH, wire)
    assert events[-1].type == "response.completed"
    assert final.output_text == "One\u2028two."
    items = {item.type: item for item in final.output}
    assert "".join(part.text for part in items["reasoning"].summary) == "Let me think."
    pages = [note.url for item in final.output if item.type == "message" for part in item.content for note in part.annotations]
    assert pages == ["https://a.example/", "https://b.example/"]
    assert items["image_generation_call"].result
    calls = [(item.call_id, item.name, json.loads(item.arguments)) for item in final.output if item.type == "function_call"]
    assert calls == [("call_a", "weather", {"city": "Oslo"}), ("call_b", "now", {})]
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("wire", ["openai-chat", "openai-responses"])
async def test_openais_stream_helper_reads_a_cut_call(wire: str) -> None:
    """A call that the limit of tokens cut is there as far as it came, and the response says that it is incomplete."""
    events, final = await streamed(CUT, wire)
    assert (events[-1].type, final.incomplete_details.reason) == ("response.incomplete", "max_output_tokens")
    call = next(item for item in final.output if item.type == "function_call")
    assert (call.arguments, call.status) == ('{"city":"Os', "incomplete")


def _calls_weather(request: ChatRequest) -> bool:
    return [getattr(tool, "name", None) for tool in request.tools] == ["weather"]


TEMPLATES: dict[str, tuple[dict[str, Any], list[list[Event]], Callable[[ChatRequest], bool]]] = {
    "basic": ({"input": ASKED}, HELLO, lambda request: request.messages[-1].role == "user"),
    "streaming": ({"input": ASKED, "stream": True}, HELLO, lambda request: request.stream),
    "system prompt": (
        {"input": [{"type": "message", "role": "system", "content": "Speak like a pirate."}, *ASKED]},
        HELLO,
        lambda request: request.messages[0].role == "system",
    ),
    "tool calling": ({"input": ASKED, "tools": [WEATHER]}, CALLS, _calls_weather),
    "streamed tool calling": ({"input": ASKED, "tools": [WEATHER], "stream": True}, CALLS, _calls_weather),
    "image input": (
        {
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What is it?"},
                        {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"},
                    ],
                }
            ]
        },
        HELLO,
        lambda request: any(isinstance(part, ImagePart) for part in request.messages[-1].parts),
    ),
    "multi-turn": (
        {
            "input": [
                {"type": "message", "role": "user", "content": "I am Ada."},
                {"type": "message", "role": "assistant", "content": "Hello, Ada."},
                {"type": "message", "role": "user", "content": "Who am I?"},
            ]
        },
        HELLO,
        lambda request: [turn.role for turn in request.messages] == ["user", "assistant", "user"],
    ),
}


@pytest.mark.parametrize(("body", "answer", "arrived"), TEMPLATES.values(), ids=TEMPLATES)
async def test_the_requests_of_open_responses(
    body: dict[str, Any], answer: list[list[Event]], arrived: Callable[[ChatRequest], bool]
) -> None:
    """Each reaches a chat backend as it was meant, and what comes back is a response by the published types."""
    async with house("openai-chat", answer) as (here, dialect):
        got = await here.ask("/v1/responses", {"model": "house/small", **body})
    assert got.status == 200
    assert arrived(dialect.asks[0])
    response = _checked(got.body.decode()) if body.get("stream") else got.json
    resource = ResponseResource.model_validate(response)
    assert (resource.status, resource.error) == ("completed", None)
    kinds = [item["type"] for item in response["output"]]
    assert kinds == (["message", "function_call", "function_call"] if "tools" in body else ["message"])


def _checked(body: str) -> dict[str, Any]:
    """The last response of a stream, each of whose events is of its published type."""
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    for event in events:
        PUBLISHED[event["type"]].model_validate(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    response: dict[str, Any] = events[-1]["response"]
    return response


PUBLISHED: dict[str, Any] = {
    next(iter(one.model_fields["type"].annotation)).value: one
    for name, one in vars(published).items()
    if name.endswith("StreamingEvent")
}


def _texts(items: list[Any]) -> list[str]:
    return [part.text for item in items if item.type == "message" for part in item.content]


async def test_openais_client_lists_the_items_that_a_reply_answered() -> None:
    """All of the conversation without instructions, in both orders, page by page, each item with an id that stays."""
    openai = pytest.importorskip("openai")
    async with house("openai-chat", HELLO) as (here, _):
        client = openai.AsyncOpenAI(api_key="k", base_url=f"{here.url}/v1", max_retries=0)
        call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
        result = {"type": "function_call_output", "call_id": "c1", "output": "12 degrees"}
        items = [{"role": "user", "content": "Weather?"}, call, result]
        first = await client.responses.create(model="house/small", input=items, instructions="Be brief.")
        picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "low"}
        looked = [{"role": "user", "content": [{"type": "input_text", "text": "Look."}, picture]}]
        last = await client.responses.create(model="house/small", input=looked, previous_response_id=first.id)
        oldest_first = [item async for item in client.responses.input_items.list(last.id, order="asc", limit=2)]
        assert [item.type for item in oldest_first] == [
            *("message", "function_call", "function_call_output", "message", "message")
        ]
        assert [item.role for item in oldest_first if item.type == "message"] == ["user", "assistant", "user"]
        assert _texts(oldest_first[:4]) == ["Weather?", "Hello"]
        assert oldest_first[-1].content[1].image_url == picture["image_url"]
        assert all(item.status == "completed" for item in oldest_first)
        newest_first = [item async for item in client.responses.input_items.list(last.id, limit=2)]
        assert [item.id for item in newest_first] == [item.id for item in reversed(oldest_first)]
        assert len({item.id for item in newest_first}) == 5
        page = await client.responses.input_items.list(last.id, order="asc", after=oldest_first[1].id, limit=2)
        assert ([item.id for item in page.data], page.has_more) == ([item.id for item in oldest_first[2:4]], True)
        with pytest.raises(openai.NotFoundError):
            await client.responses.input_items.list("resp_other")
        await client.close()


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=x", "after")],
)
async def test_what_cannot_be_listed_names_its_parameter(query: str, field: str) -> None:
    """A page's size, order or beginning that cannot be is 400 with ``param``."""
    async with house("openai-chat", HELLO) as (here, _):
        reply = (await here.ask("/v1/responses", {"model": "house/small", "input": "hi"})).json
        got = await here.ask(f"/v1/responses/{reply['id']}/input_items?{query}", None, "GET")
    assert (got.status, got.json["error"]["param"]) == (400, field)


async def test_openais_client_counts_the_tokens_of_a_request() -> None:
    """An estimate where the backend does not count, and marked as one; what a reply goes on from counts too."""
    openai = pytest.importorskip("openai")
    async with house("openai-chat", HELLO) as (here, dialect):
        client = openai.AsyncOpenAI(api_key="k", base_url=f"{here.url}/v1", max_retries=0)
        first = await client.responses.create(model="house/small", input="one two three " * 50)
        before = len(dialect.asks)
        raw = await client.responses.input_tokens.with_raw_response.count(model="house/small", input="and?")
        assert raw.headers["x-polychat-estimated"] == "true"
        alone = raw.parse()
        assert (alone.object, 0 < alone.input_tokens < 20) == ("response.input_tokens", True)
        whole = await client.responses.input_tokens.count(model="house/small", input="and?", previous_response_id=first.id)
        assert whole.input_tokens > alone.input_tokens + 100
        tools = await client.responses.input_tokens.count(model="house/small", input="and?", tools=[WEATHER])
        assert tools.input_tokens > alone.input_tokens
        assert len(dialect.asks) == before
        with pytest.raises(openai.NotFoundError, match="resp_other"):
            await client.responses.input_tokens.count(model="house/small", input="and?", previous_response_id="resp_other")
        await client.close()


async def test_a_backend_that_counts_is_asked_at_the_responses_endpoint() -> None:
    """Its number is given as it is, and is not marked as an estimate."""

    async def counts(seen: Seen, say: Say) -> None:
        assert seen.path == "/v1/messages/count_tokens"
        await say.whole({"input_tokens": 1234})

    async with before({"house": ("anthropic", counts)}) as here:
        got = await here.ask("/v1/responses/input_tokens", {"model": "house/small", "input": "hi"})
    assert got.json == {"object": "response.input_tokens", "input_tokens": 1234}
    assert "x-polychat-estimated" not in got.headers


async def test_openais_client_makes_a_conversation_shorter() -> None:
    """The backend's answer comes as it is; what a stored reply brings goes along, under the name that the backend knows."""
    openai = pytest.importorskip("openai")
    item = {"type": "compaction", "id": "cmp_1", "encrypted_content": "c2VhbGVk"}
    answer = {
        **{"id": "resp_c", "object": "response.compaction", "created_at": 1, "output": [{**ASKED[0], "id": "m"}, item]},
        "usage": {"input_tokens": 90, "output_tokens": 7, "total_tokens": 97},
    }
    seen: list[Seen] = []

    async def compacts(request: Seen, say: Say) -> None:
        seen.append(request)
        await say.whole(answer)

    chat = ScriptedVendor("openai-chat", HELLO)
    async with before({"house": ("openai-responses", compacts), "chat": ("openai-chat", chat)}) as here:
        client = openai.AsyncOpenAI(api_key="k", base_url=f"{here.url}/v1", max_retries=0)
        first = await client.responses.create(model="chat/small", input="one")
        shorter = await client.responses.compact(model="house/small", input=ASKED, previous_response_id=first.id)
        assert (shorter.object, shorter.output[-1].encrypted_content) == ("response.compaction", "c2VhbGVk")
        await client.responses.compact(
            model="house/small", input="hi", previous_response_id="resp_the_backends", instructions="x"
        )
        with pytest.raises(openai.BadRequestError, match="chat cannot compact a conversation"):
            await client.responses.compact(model="chat/small", input="hi")
        with pytest.raises(openai.BadRequestError, match="model"):
            await client.responses.compact(model=None, input="hi")
        await client.close()
        record = here.records[1]
        assert (record.verdict, record.prompt_tokens, record.completion_tokens) == ("complete", 90, 7)
    assert [request.path for request in seen] == ["/v1/responses/compact"] * 2
    roles = [[item["role"] for item in request.json["input"]] for request in seen[:1]]
    assert roles == [["user", "assistant", "user"]]
    assert (seen[0].json["model"], "previous_response_id" in seen[0].json) == ("small", False)
    assert seen[1].json == {"model": "small", "input": "hi", "previous_response_id": "resp_the_backends", "instructions": "x"}


async def test_a_backend_that_cannot_compact_conversations_reports_that() -> None:
    """Its status and words come through, and a route asks its next target that speaks Responses."""
    routes = {"both": ("old/small", "chat/small", "new/small")}
    backends: Any = {
        "old": ("openai-responses", fault(503, message="not today")),
        "new": ("openai-responses", fault(404, message="no such path")),
        "chat": ("openai-chat", fault(500)),
    }
    async with before(backends, routes=routes) as here:
        got = await here.ask("/v1/responses/compact", {"model": "both", "input": "hi"})
        assert got.status in (404, 502, 503)
        assert "no such path" in got.json["error"]["message"]
        assert {target for target, *_ in here.records[0].failures} == {"old/small", "new/small"}

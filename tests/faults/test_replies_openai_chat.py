"""Kinds of fault in replies of OpenAI's chat wire, and in its dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.costs import cost_of
from polychat.events import Citation, Event, Finish, Media, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.types import ChatRequest
from polychat.wire import openai_chat as wire
from polychat.wire.contract import names
from polychat.wire.openai_chat.passthrough import ChunkMonitor

from ..support.corpus import splits
from ..support.gateway_for_clients import before
from ..support.read_replies import read_pieces
from ..support.running_gateway import asking, completion
from ..support.scripted_server import Say, Seen


def chunk(delta: dict[str, Any], reason: Any = None, name: str = "c", **more: Any) -> dict[str, Any]:
    return {"id": name, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason, **more}]}


def stream(*chunks: Any, done: bool = True) -> bytes:
    lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in chunks]
    return b"".join(b"data: " + line + b"\n\n" for line in [*lines, *([b"[DONE]"] if done else [])])


def whole(message: dict[str, Any], reason: Any = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return json.dumps({"id": "c", "model": "m", "choices": [choice], **more}).encode()


ODD: list[dict[str, Any]] = [
    {"annotations": [5, None, {"type": "url_citation"}, {"type": "odd"}, {"type": "url_citation", "url_citation": 3}]},
    {"annotations": {"type": "url_citation", "url_citation": {"url": 5}}},
    {"images": [7, {"image_url": 5}, {"image_url": {"url": "data:image/png;base64,???"}}]},
    {"audio": {"data": "?", "transcript": 5}},
    {"audio": "loud"},
    {"reasoning_details": [3, {"type": "reasoning.text", "text": 5}]},
    {"reasoning_content": {"text": "hm"}},
    {"reasoning": ["hm"]},
    {"refusal": {"no": True}},
    {"function_call": {"name": "", "arguments": ""}},
    {"tool_calls": [{"index": 0, "id": "", "function": {"name": "", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"name": None, "arguments": None}}]},
    {"executed_tools": [3]},
    {"never_heard_of": {"a": [1]}},
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_decoration_never_costs_the_words(odd: dict[str, Any]) -> None:
    """Additional data that cannot be read is left out: of a stream and of a whole reply."""
    for events in (
        read_pieces(
            wire.Reader(), [stream(chunk({"content": "Hel"}), chunk({"content": "lo", **odd}), chunk({}, "stop"))]
        ).events,
        wire.read_reply(whole({"content": "Hello", **odd})),
    ):
        assert "".join(event.text for event in events if isinstance(event, Text)) == "Hello"
        assert events[-1] == Finish("complete", "stop")


@pytest.mark.parametrize(
    "beside",
    [
        {"usage": "many"},
        {"usage": {"prompt_tokens": "3", "prompt_tokens_details": 5}},
        {"x_groq": "x"},
        {"citations": 5, "search_results": [1, {"title": 3}]},
        {"service_tier": {"a": 1}},
    ],
)
def test_decoration_of_a_chunk_never_costs_the_words(beside: dict[str, Any]) -> None:
    """Counts and sources that cannot be read are left out, in a passed stream too."""
    body = stream({**chunk({"content": "Hello"}, "stop"), **beside})
    assert [type(event) for event in read_pieces(wire.Reader(), [body]).events if not isinstance(event, Usage)] == [
        Start,
        Text,
        Finish,
    ]
    monitor = ChunkMonitor(usage=True)
    assert monitor.feed(body) + monitor.end() == body
    assert monitor.finish == Finish("complete", "stop")


@pytest.mark.parametrize("logprobs", [[1], {"content": [1, None]}, {"content": 5}, "x"])
def test_probabilities_that_are_none(logprobs: Any) -> None:
    """They are left out."""
    events = read_pieces(wire.Reader(), [stream(chunk({"content": "x"}, "stop", logprobs=logprobs))]).events
    assert events == [Start("c", "m"), Text("x"), Finish("complete", "stop")]


HALVES = [
    (["a\ud83d", "\ude00b"], "a😀b"),
    (["a\ud83d", "b"], "ab"),
    (["\ude00b"], "b"),
    (["a\ud83d\ude00b"], "a😀b"),
    (["a\ud83d"], "a"),
]


@pytest.mark.parametrize(("texts", "expected"), HALVES)
def test_half_an_emoji(texts: list[str], expected: str) -> None:
    """A pair that two chunks share is one letter, a half without the other is left out, and the words come through."""
    body = stream(*(chunk({"content": one}) for one in texts), chunk({}, "stop"))
    for pieces in splits(body):
        reply = read_pieces(wire.Reader(), pieces)
        assert reply.text == expected
        assert reply.finish == Finish("complete", "stop")
    assert wire.read_reply(whole({"content": f"x{texts[0]}"}))[-1] == Finish("complete", "stop")
    monitor = ChunkMonitor(usage=True)
    assert monitor.feed(body) + monitor.end() == body
    assert monitor.finish == Finish("complete", "stop")


def test_numbers_that_are_none() -> None:
    """``NaN`` and infinities among the probabilities do not cost the words; what is all but impossible is OpenAI's -9999."""
    tokens = '{"content":[{"token":"x","logprob":-Infinity,"top_logprobs":[{"token":"y","logprob":NaN}]}]}'
    line = f'{{"id":"c","choices":[{{"index":0,"delta":{{"content":"x"}},"logprobs":{tokens},"finish_reason":"stop"}}]}}'
    (_, text, logprobs, finish) = read_pieces(wire.Reader(), [stream(line.encode())]).events
    assert (text, finish) == (Text("x"), Finish("complete", "stop"))
    assert logprobs.tokens[0]["logprob"] == -9999.0  # type: ignore[union-attr]  # it is probabilities


def test_a_flat_citation_and_a_file() -> None:
    """Citations are read in either shape, and files by their name."""
    call_info = [
        {"type": "url_citation", "url": "https://a.example", "title": "A"},
        {"type": "file", "file": {"name": "b.pdf"}},
    ]
    events = wire.read_reply(whole({"content": "x", "annotations": call_info}))
    assert [event for event in events if isinstance(event, Citation)] == [
        Citation("A", "https://a.example"),
        Citation("b.pdf", ""),
    ]


@pytest.mark.parametrize("reason", [None, "", {"type": "stop"}])
def test_a_whole_reply_without_an_end_is_truncated(reason: Any) -> None:
    """Nothing invents one."""
    events = wire.read_reply(whole({"content": "x"}, reason))
    assert events[1] == Text("x")
    assert isinstance(events[-1], Finish)
    assert events[-1].verdict == "truncated"


@pytest.mark.parametrize("dialect", [name for name in names() if name != wire.NAME])
async def test_a_whole_reply_without_an_end_fails_where_it_cannot_be_reported(dialect: str) -> None:
    """Doors of other wires answer with a failure, and OpenAI's own with what came: it says itself that it has no end."""
    body = completion("Hello")
    body["choices"][0]["finish_reason"] = None

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(body)

    async with before({"house": ("openai-chat", handler)}) as here:
        assert (await here.ask(*asking(dialect))).status == 502
        own = await here.ask(*asking("openai-chat"))
        assert (own.status, own.json) == (200, body)
        assert here.records[-1].verdict == "truncated"


def test_two_replies_in_one_passed_stream_are_a_failure() -> None:
    """What opens another reply behind an end does not pass, however the stream is cut.

    Another answer of the same reply, more of its chunks and its usage do.
    """
    first = [chunk({"role": "assistant", "content": ""}, name="a"), chunk({"content": "x"}, name="a")]
    ended = stream(*first, chunk({}, "stop", name="a"), done=False)
    glued = ended + stream(chunk({"role": "assistant", "content": ""}, name="b"), chunk({"content": "y"}, "stop", name="b"))
    for pieces in splits(glued):
        monitor = ChunkMonitor(usage=True)
        passed = b"".join([*(monitor.feed(piece) for piece in pieces), monitor.end()])
        assert passed == ended
        assert monitor.finish is not None
        assert (monitor.finish.verdict, monitor.error_forwarded) == ("failed", False)
        assert "two replies were sent as one" in str(monitor.finish.error)
    beside = {"role": "assistant", "content": ""}
    other = [{"id": "a", "model": "m", "choices": [{"index": 1, "delta": beside, "finish_reason": None}]}]
    good = ended + stream(chunk(beside, name="a"), *other, {"id": "a", "choices": [], "usage": {"prompt_tokens": 3}})
    monitor = ChunkMonitor(usage=True)
    assert monitor.feed(good) + monitor.end() == good
    assert monitor.finish == Finish("complete", "stop")


@pytest.mark.parametrize("wire_name", ["openai-chat", "anthropic"], ids=["passed", "translated"])
async def test_no_stream_is_marked_as_done_after_an_error(wire_name: str) -> None:
    """A backend's own ``[DONE]`` behind its error is not forwarded, as none is written: OpenAI's client raises at the error."""
    openai = pytest.importorskip("openai")
    fire = {"error": {"type": "overloaded_error", "message": "it is on fire", "code": None}}
    streams = {
        "openai-chat": stream(chunk({"role": "assistant", "content": "Hel"}), fire),
        "anthropic": b"".join(
            b"data: " + json.dumps(one).encode() + b"\n\n"
            for one in (
                {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 1}}},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hel"}},
                {"type": "error", **fire},
            )
        ),
    }[wire_name]

    async def handler(seen: Seen, say: Say) -> None:
        await say.stream([streams], "text/event-stream")

    async with before({"house": (wire_name, handler)}) as here:
        for dialect in ("openai-chat", "openai-completions"):
            answer = await here.ask(*asking(dialect, stream=True))
            assert b"it is on fire" in answer.body
            assert b"[DONE]" not in answer.body
        client = openai.AsyncOpenAI(api_key="k", base_url=f"{here.url}/v1", max_retries=0)
        options = {"model": "house/small", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        async with client:
            with pytest.raises(openai.APIError, match="on fire"):
                [piece async for piece in await client.chat.completions.create(**options)]


def test_two_replies_in_one_stream_are_a_failure() -> None:
    """Another reply that begins while one is open is not glued to it; chunks with ids of their own each are one reply."""
    first, second = (chunk({"role": "assistant", "content": ""}, name=name) for name in ("a", "b"))
    glued = stream(first, chunk({"content": "x"}, name="a"), second, chunk({"content": "y"}, "stop", name="b"))
    reply = read_pieces(wire.Reader(), [glued])
    assert (reply.finish.verdict, reply.text) == ("failed", "x")
    many = stream(first, *(chunk({"role": "assistant", "content": word}, name=word) for word in "xyz"), chunk({}, "stop"))
    assert read_pieces(wire.Reader(), [many]).text == "xyz"


def test_a_plain_end_behind_calls_is_for_calls() -> None:
    """Agents go on where the end is ``tool_calls``, and many servers say ``stop``."""
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    for word in ("stop", "end_turn", "eos"):
        assert read_pieces(wire.Reader(), [stream(chunk({"tool_calls": [call]}, word))]).finish == Finish(
            "complete", "tool_calls"
        )


def choices_written(events: list[Event], *, streams: bool) -> Any:
    """The dialect's answer to that, decoded: the choice, or the choices of all chunks."""
    writer = wire.writer(ChatRequest("m", [], stream=streams), "one", 1)
    body = writer.write(events) + writer.end()
    if not streams:
        return json.loads(body)["choices"][0]
    lines = [line[6:] for line in body.split(b"\n\n") if line.startswith(b"data: {")]
    return [choice for line in lines for choice in json.loads(line)["choices"]]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end", "stop"),
        ("MAX_OUTPUT_TOKENS", "length"),
        ("safety_block", "content_filter"),
        ("call_tool", "tool_calls"),
        ("odd", "stop"),
    ],
)
def test_foreign_ends_in_the_dialects_own_terms(word: str, reason: str) -> None:
    """Clients know four: a word that is none of them becomes the nearest."""
    events: list[Event] = [Text("x"), Finish("complete", word)]
    assert (
        choices_written(events, streams=True)[-1]["finish_reason"]
        == choices_written(events, streams=False)["finish_reason"]
        == reason
    )


def test_a_call_without_arguments_is_json() -> None:
    """Clients read arguments as JSON: of a call without any there is an empty object, streamed and whole."""
    events: list[Event] = [ToolCallPiece(0, "a", "f"), Finish("complete", "tool_calls")]
    assert choices_written(events, streams=False)["message"]["tool_calls"][0]["function"]["arguments"] == "{}"
    pieces = [call for one in choices_written(events, streams=True) for call in one["delta"].get("tool_calls", [])]
    assert "".join(piece["function"]["arguments"] for piece in pieces) == "{}"


@pytest.mark.parametrize("streams", [True, False])
def test_custom_calls_are_calls(streams: bool) -> None:
    """A call whose input is free text comes through, as a stream and whole, in and out."""
    call = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    body = stream(chunk({"tool_calls": [call]}, "tool_calls")) if streams else whole({"tool_calls": [call]}, "tool_calls")
    events = read_pieces(wire.Reader(), [body]).events if streams else wire.read_reply(body)
    assert events[1:] == [
        ToolCallPiece(0, "a", "patch", "*** Begin", kind="custom"),
        Finish("complete", "tool_calls"),
    ]
    choice = choices_written(events, streams=streams)
    written = choice[1]["delta"] if streams else choice["message"]
    assert written["tool_calls"] == [{key: value for key, value in call.items() if streams or key != "index"}]


@pytest.mark.parametrize("streams", [True, False])
def test_what_groq_ran_is_kept(streams: bool) -> None:
    """Tools that the backend ran are opaque parts beside the text."""
    delta = {"content": "x", "executed_tools": [{"index": 0, "type": "search", "arguments": "{}", "output": "o"}]}
    body = stream(chunk(delta, "stop")) if streams else whole(delta)
    events = read_pieces(wire.Reader(vendor="groq"), [body]).events if streams else wire.read_reply(body, vendor="groq")
    (opaque,) = [event.opaque for event in events if isinstance(event, Reasoning)]
    assert opaque is not None
    assert (opaque.vendor, opaque.redacted) == ("groq", True)
    assert json.loads(opaque.data)["output"] == "o"


COUNTED: list[tuple[dict[str, Any], Usage]] = [
    ({"usage": {"prompt_tokens": 9, "num_cached_tokens": 4}}, Usage(9, cached_tokens=4)),
    ({"usage": {"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}}, Usage(9, cached_tokens=4)),
    ({"usage": {"prompt_tokens": 9, "cost": 0.25}}, Usage(9, cost=0.25)),
    ({"usage": {"prompt_tokens": 9, "cost": {"total_cost": 0.5}}}, Usage(9, cost=0.5)),
    ({"usage": {"prompt_tokens": 9, "cost": -1}}, Usage(9)),
]


@pytest.mark.parametrize(("more", "usage"), COUNTED)
def test_what_is_billed_is_counted(more: dict[str, Any], usage: Usage) -> None:
    """Tokens from a cache by each vendor's name for them, and the vendor's own word for what a reply costs."""
    assert usage in wire.read_reply(whole({"content": "x"}, **more))
    body = stream({**chunk({"content": "x"}, "stop"), **more})
    assert usage in read_pieces(wire.Reader(), [body]).events
    monitor = ChunkMonitor(usage=True)
    monitor.feed(body)
    assert monitor.usage == usage


def test_usage_within_the_choice() -> None:
    """Moonshot has it there."""
    body = stream(chunk({"content": "x"}, "stop", usage={"prompt_tokens": 3}))
    assert Usage(3) in read_pieces(wire.Reader(), [body]).events


def test_the_vendors_own_price_goes_first() -> None:
    """What it says that it bills is what a reply cost, whatever a table of prices has."""
    assert cost_of({}, "openrouter", "https://openrouter.ai/api/v1", "gpt-4o", Usage(10, 10, cost=0.25)) == 0.25


async def test_openais_client_puts_a_rich_stream_together() -> None:
    """Its own helper reads two citations, an image, thoughts, parallel calls, one of them without arguments, and U+2028."""
    openai = pytest.importorskip("openai")
    events: list[list[Event]] = [
        [Reasoning("hm"), Text("a\u2028b")],
        [Citation("A", "https://a.example", start=0, end=1), Citation("B", "https://b.example"), Media(b"x", "image/png")],
        [ToolCallPiece(0, "a", "f", '{"x":1}'), ToolCallPiece(1, "b", "g")],
        [Finish("complete", "tool_calls")],
    ]

    async def handler(seen: Seen, say: Say) -> None:
        writer = wire.writer(ChatRequest("m", [], stream=True), "one", 1)
        await say.stream([writer.write(batch) for batch in events], "text/event-stream")

    async with before({"house": ("openai-chat", handler)}) as here:
        client = openai.AsyncOpenAI(api_key="k", base_url=f"{here.url}/v1", max_retries=0)
        options = {"model": "house/small", "messages": [{"role": "user", "content": "hi"}]}
        async with client, client.chat.completions.stream(**options) as answer:
            final = await answer.get_final_completion()
    (choice,) = final.choices
    assert choice.message.content == "a\u2028b"
    assert choice.finish_reason == "tool_calls"
    assert [call.function.arguments for call in choice.message.tool_calls or []] == ['{"x":1}', "{}"]
    assert [note.url_citation.title for note in choice.message.annotations or []] == ["A", "B"]


def test_which_stop_ended_it_is_reported() -> None:
    """Servers that report it (vLLM) are understood: other wires have a place for it."""
    body = stream(chunk({"content": "x"}), chunk({}, "stop", stop_reason="END"))
    assert read_pieces(wire.Reader(), [body]).finish == Finish("complete", "stop", stop_sequence="END")
    numbered = stream(chunk({"content": "x"}), chunk({}, "stop", stop_reason=128001))
    assert read_pieces(wire.Reader(), [numbered]).finish == Finish("complete", "stop")

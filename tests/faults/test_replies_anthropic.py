"""Replies of Anthropic's wire, as it is read and as its dialect writes others' replies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.errors import BadReply, Truncated
from polychat.events import Citation, Event, Finish, Media, Start, Text, ToolCallPiece, Usage
from polychat.types import ChatMessage, ChatRequest, TextPart
from polychat.wire import anthropic
from polychat.wire.anthropic.constants import REASONS
from polychat.wire.contract import names, wire_named

from ..support.gateway_for_clients import KEY, house
from ..support.random_conversations import read, written
from ..support.vendor_clients import vendor_client

MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
CUT: list[Event] = [
    ToolCallPiece(0, "call_a", "write", '{"path":"a","text":"half'),
    Usage(3, 2, 5),
    Finish("complete", "length"),
]


def whole(content: Any, **more: Any) -> list[Event]:
    return anthropic.read_reply(json.dumps({**MESSAGE, "content": content, "stop_reason": "end_turn", **more}).encode())


def streamed(*events: Any) -> list[Event]:
    body = b"".join(b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return read(wire_named("anthropic"), [body])


START = {"type": "message_start", "message": MESSAGE}
STOP = {"type": "message_stop"}


def ended(reason: str | None, **more: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, **more}


def texts(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def block(index: int, start: Any, *deltas: Any) -> list[Any]:
    pieces = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    first = {"type": "content_block_start", "index": index, "content_block": start}
    return [first, *pieces, {"type": "content_block_stop", "index": index}]


@pytest.mark.parametrize("reason", ["max_tokens", "model_context_window_exceeded", "refusal", "pause_turn"])
def test_a_call_that_was_cut_is_no_failure(reason: str) -> None:
    """A reply that says that it is unfinished is complete, whatever its last call lacks."""
    call = block(
        0, {"type": "tool_use", "id": "a", "name": "f", "input": {}}, {"type": "input_json_delta", "partial_json": '{"a'}
    )
    events = streamed(START, *call, ended(reason), STOP)
    assert isinstance(events[-1], Finish)
    assert (events[-1].verdict, events[-1].reason) == ("complete", REASONS[reason])


def test_a_cut_call_in_the_dialect() -> None:
    """The dialect streams what came of the call; whole it writes the members that came whole, as the API does."""
    stream = written(wire_named("anthropic"), CUT, stream=True)
    assert b'\\"half' in stream
    assert b'"stop_reason":"max_tokens"' in stream
    body = json.loads(written(wire_named("anthropic"), CUT, stream=False))
    assert (body["content"][0]["input"], body["stop_reason"]) == ({"path": "a"}, "max_tokens")


@pytest.mark.parametrize("citations", [5, None, "x", [5, {"type": "new"}, None], {"a": 1}])
@pytest.mark.parametrize("usage", [5, None, {"input_tokens": "x", "iterations": 7, "cache_creation": []}, {"iterations": [3]}])
def test_decoration_costs_no_words(citations: Any, usage: Any) -> None:
    """Citations, counts, blocks and deltas of any shape are read as far as they can be; the words come through."""
    blocks = [
        {"type": "text", "text": "Hello", "citations": citations},
        {"type": "redacted_thinking"},
        {"type": "news", "x": 1},
    ]
    blocks += [{"type": "thinking", "thinking": None, "signature": 3}, {"type": "text", "text": None}]
    for events in (
        whole(blocks, usage=usage),
        streamed(
            {**START, "message": {**MESSAGE, "usage": usage}},
            *block(
                0, blocks[0], {"type": "citations_delta", "citation": citations}, {"type": "signature_delta"}, {"type": "new"}
            ),
            *[
                one
                for place, other in enumerate(blocks[1:], 1)
                for one in block(place, other, {"type": "text_delta", "text": None})
            ],
            ended("a_new_reason", usage=usage),
            STOP,
        ),
    ):
        assert texts(events) == "Hello"
        assert isinstance(events[-1], Finish)
        assert events[-1].verdict == "complete"


def test_no_end_is_invented() -> None:
    """A whole message without a stop_reason was cut."""
    finish = whole([{"type": "text", "text": "Hello"}], stop_reason=None)[-1]
    assert isinstance(finish, Finish)
    assert (finish.verdict, type(finish.error)) == ("truncated", Truncated)


def test_two_messages_in_one_stream() -> None:
    """Another message that begins while one is open is a failure; the same one sent again is not."""
    words = block(0, {"type": "text", "text": "a"})
    other = {"type": "message_start", "message": {**MESSAGE, "id": "msg_2"}}
    finish = streamed(START, *words, other, *words, ended("end_turn"), STOP)[-1]
    assert isinstance(finish, Finish)
    assert isinstance(finish.error, BadReply)
    assert streamed(START, START, *words, ended("end_turn"), STOP)[-1] == Finish("complete", "stop")


def test_end_turn_beside_calls() -> None:
    """Some that speak this wire say end_turn beside calls: it is reported as a call, so that agents go on."""
    finish = whole([{"type": "tool_use", "id": "a", "name": "f", "input": {}}])[-1]
    assert finish == Finish("complete", "tool_calls")


@pytest.mark.parametrize("reason", ["end", "eos", "OTHER", "IMAGE_SAFETY", "", None, *REASONS])
@pytest.mark.parametrize("stream", [True, False])
def test_foreign_reasons_do_not_leak(reason: str | None, stream: bool) -> None:
    """The dialect ends with a word of its own wire's closed set."""
    body = written(wire_named("anthropic"), [Text("a"), Finish("complete", reason)], stream=stream)
    finish = read(wire_named("anthropic"), [body])[-1] if stream else anthropic.read_reply(body)[-1]
    assert isinstance(finish, Finish)
    assert finish.reason in set(REASONS.values())


def test_usage_counts_what_is_billed() -> None:
    """Compaction and advisors are billed beside the message's own tokens; writes for an hour are counted separately."""
    counts = {"input_tokens": 20, "output_tokens": 5, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 0}
    counts["cache_creation"] = {"ephemeral_1h_input_tokens": 10, "ephemeral_5m_input_tokens": 20}  # type: ignore[assignment]
    own, apart = {"type": "message", **counts}, {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500}
    advisor = {"type": "advisor_message", "model": "x", "input_tokens": 100, "output_tokens": 10}
    events = whole([{"type": "text", "text": "a"}], usage={**counts, "iterations": [own, apart, advisor]})
    usage = next(event for event in events if isinstance(event, Usage))
    assert (usage.prompt_tokens, usage.completion_tokens) == (180_150, 3_515)
    assert (usage.cache_write_tokens, usage.cache_write_1h_tokens) == (30, 10)
    counts = json.loads(written(wire_named("anthropic"), [Text("a"), usage, Finish("complete", "stop")], stream=False))["usage"]
    assert counts["cache_creation"] == {"ephemeral_1h_input_tokens": 10, "ephemeral_5m_input_tokens": 20}


def test_the_start_estimates_the_prompt() -> None:
    """A stream begins with an estimate of the prompt's tokens, marked as one, and ends with the backend's count."""
    request = ChatRequest("m", [ChatMessage("user", [TextPart("word " * 100)])], stream=True)
    writer = anthropic.writer(request, "1", 0)
    start = writer.write([Start("x", "m"), Text("a")])
    end = writer.write([Usage(7, 1, 8), Finish("complete", "stop")])
    assert b'"usage":{"input_tokens":125,' in start
    assert b'"estimated":true' in start
    assert b'"input_tokens":7' in end
    assert b"estimated" not in end
    usage = [event for event in read(wire_named("anthropic"), [start + end]) if isinstance(event, Usage)]
    assert [one.prompt_tokens for one in usage] == [7]


def test_streamed_compaction_comes_back() -> None:
    """What only the vendor reads comes whole in one opaque part, streamed as not."""
    block_of = block(0, {"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "The sum"})
    events = streamed(START, *block_of, *block(1, {"type": "text", "text": "a"}), ended("end_turn"), STOP)
    body = written(wire_named("anthropic"), events, stream=False)
    assert json.loads(body)["content"][0] == {"type": "compaction", "content": "The sum"}


@pytest.mark.parametrize("name", [name for name in names() if name != "ollama"])
async def test_the_official_client_reads_it_all(name: str) -> None:
    """Two citations, parallel calls, U+2028, an image, a call that was cut: the SDK's own stream helper reads each."""
    official = vendor_client("anthropic")
    cited = [Text("one\u2028two"), Citation("T", "https://a.example/1"), Citation("U", "https://a.example/2")]
    calls = [ToolCallPiece(0, "call_a", "f", "{}"), ToolCallPiece(1, "call_b", "g", '{"a":1}')]
    answers: list[list[Event]] = [[*cited, *calls, Finish("complete", "tool_calls")]]
    if name == "gemini":
        answers.append([Text("see"), Media(b"\x89PNG", "image/png"), Finish("complete", "stop")])
    if name == "anthropic":
        answers.append(CUT)
    for answer in answers:
        async with (
            house(name, [answer[:-1], answer[-1:]]) as (here, _),
            official.AsyncAnthropic(api_key=KEY, base_url=here.url, max_retries=0) as client,
            client.messages.stream(model="house/m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]) as stream,
        ):
            final = await stream.get_final_message()
        kinds = [block.type for block in final.content]
        if answer[:3] == cited:
            texts_of = [block for block in final.content if block.type == "text"]
            assert texts_of[0].text == "one\u2028two"
            assert sum(len(block.citations or []) for block in texts_of) == 2
            assert kinds.count("tool_use") == 2
        elif answer is CUT:
            assert (kinds, final.stop_reason) == (["tool_use"], "max_tokens")
        else:
            assert kinds == ["text", "image"]


def test_members_that_must_be_there() -> None:
    """Members that the API always tells are there, null where there is nothing to tell."""
    answer: list[Event] = [Text("a"), ToolCallPiece(0, "a", "f", "{}"), Finish("complete", "tool_calls")]
    body = json.loads(written(wire_named("anthropic"), answer, stream=False))
    assert body.keys() >= {"stop_details", "container", "stop_sequence"}
    assert body["usage"].keys() >= {
        "cache_creation",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "server_tool_use",
    }
    assert body["content"][0]["citations"] is None
    assert body["content"][1]["caller"] == {"type": "direct"}

"""Kinds of fault in replies, on every wire and in every dialect."""

from __future__ import annotations

import re
from typing import Any

import pytest

from polychat.events import Event, Finish, Start, Text, ToolCallPiece, Usage
from polychat.types import ChatRequest
from polychat.wire.contract import names, wire_named
from polychat.wire.sites.deltas import complete_members

from ..support.gateway_for_clients import house
from ..support.running_gateway import asking

MODES = [pytest.param(True, id="stream"), pytest.param(False, id="whole")]
USAGE = {"stream_options": {"include_usage": True}}
COUNTS = Usage(11, 7, 18)
CUT = (
    Start("one", "m"),
    Text("Let me look."),
    ToolCallPiece(0, "call_a", "weather", '{"city":"Oslo","days'),
    COUNTS,
    Finish("complete", "length"),
)
"""A reply that ran out of tokens within the arguments of its call."""
ENDS = ("length", "content_filter", "refusal", "pause")
"""Ends that do not claim that a reply is all there is."""


def written(name: str, events: tuple[Event, ...], *, stream: bool) -> bytes:
    """The bytes of a backend that says these events on this wire."""
    writer = wire_named(name).writer(ChatRequest("m", [], stream=stream, stream_usage=True), "one", 1_700_000_000)
    return writer.write(list(events)) + writer.end()


def read_as_client(name: str, body: bytes, *, stream: bool) -> list[Event]:
    """What a client of this wire reads."""
    wire = wire_named(name)
    if not stream:
        return wire.read_reply(body)
    reader = wire.Reader()
    return [*reader.feed(body), *reader.end()]


def unnamed(body: bytes) -> bytes:
    """Without the model's name, the moment and the estimate of the prompt, which the answering half tells in its own way."""
    return re.sub(rb'"(model|modelVersion|created_at|created|input_tokens)": ?("[^"]*"|\d+)', b"", body)


def pieces(events: list[Event]) -> str:
    return "".join(event.arguments for event in events if isinstance(event, ToolCallPiece))


@pytest.mark.parametrize("stream", MODES)
@pytest.mark.parametrize("dialect", names())
@pytest.mark.parametrize("backend", names())
async def test_a_call_that_was_cut_is_no_failure(backend: str, dialect: str, stream: bool) -> None:
    """A reply that says it is unfinished is complete as such, though a call's arguments are cut: in each dialect, of each
    wire.
    """
    async with house(backend, [list(CUT)]) as (here, _):
        answer = await here.ask(*asking(dialect, stream=stream, **(USAGE if stream and dialect == "openai-chat" else {})))
        (record,) = await here.app.recorded()
    assert (answer.status, record.verdict, record.reason) == (200, "complete", "length")
    events = read_as_client(dialect, answer.body, stream=stream)
    assert [event.text for event in events if isinstance(event, Text)] == ["Let me look."]
    assert events[-1] == Finish("complete", "length")
    assert b'"error":{' not in answer.body
    assert b"event: error" not in answer.body
    if backend == dialect:  # what passes through is as it came
        assert unnamed(answer.body) == unnamed(written(backend, CUT, stream=stream))


@pytest.mark.parametrize("stream", MODES)
@pytest.mark.parametrize("reason", ENDS)
@pytest.mark.parametrize("name", names())
def test_arguments_that_were_cut_are_given_as_far_as_they_came(name: str, reason: str, stream: bool) -> None:
    """Where a wire tells arguments as text all of it comes; as an object, what came whole, or no call where only whole ones are
    told."""
    events = (*CUT[:-1], Finish("complete", reason))
    came = pieces(read_as_client(name, written(name, events, stream=stream), stream=stream))
    as_text = {"openai-chat": True, "openai-responses": True, "anthropic": stream}.get(name, False)
    assert came == ('{"city":"Oslo","days' if as_text else '{"city":"Oslo"}' if name == "anthropic" else "")


@pytest.mark.parametrize("stream", MODES)
@pytest.mark.parametrize("reason", ["stop", "tool_calls"])
@pytest.mark.parametrize("name", ["openai-chat", "openai-responses", "anthropic"])
def test_arguments_that_are_cut_in_a_finished_reply_are_a_failure(name: str, reason: str, stream: bool) -> None:
    """A reply that claims to be complete and has a partial call has failed."""
    events = (*CUT[:-1], Finish("complete", reason))
    (*_, finish) = read_as_client(name, written(name, events, stream=stream), stream=stream)
    assert isinstance(finish, Finish)
    assert finish.verdict == "failed"


@pytest.mark.parametrize(
    ("text", "remaining"),
    [
        ("", {}),
        ("{", {}),
        ('{"a": "x', {}),
        ('{"a": "x"', {"a": "x"}),
        ('{"a": 1', {}),
        ('{"a": 1, "b', {"a": 1}),
        ('{"a": [1, {"b": "c", "d', {"a": [1, {"b": "c"}]}),
        ('{"a": [1}', {"a": []}),
        ("[1, 2", {}),
        ("{" * 100, {}),
        ('{"a": "x\\"y", "b": tr', {"a": 'x"y'}),
    ],
)
def test_what_is_kept_of_cut_arguments(text: str, remaining: dict[str, Any]) -> None:
    """Members and elements that are known to be over; a number that the cut may have shortened is none of them."""
    assert complete_members(text) == remaining

"""Tool calls put together from the pieces of every dialect."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.errors import BadReply
from polychat.events import Event, Finish, Start, ToolCallPiece
from polychat.types import ChatMessage, ChatRequest, Opaque, TextPart, ToolCall, ToolResult
from polychat.wire.contract import names, wire_named
from polychat.wire.json_text import sendable
from polychat.wire.limits import ReaderLimits
from polychat.wire.sites.deltas import ToolCalls, TooMany

from ..support.random_conversations import read, written


def joined(pieces: list[ToolCallPiece | None]) -> list[tuple[str | None, str | None, str]]:
    """Id, name and arguments of each call."""
    calls: list[list[Any]] = []
    for piece in pieces:
        if piece is None:
            continue
        if piece.index == len(calls):
            calls.append([piece.id, piece.name, ""])
        call = calls[piece.index]
        call[1] = call[1] or piece.name
        call[2] += piece.arguments
    return [(call[0], call[1], call[2]) for call in calls]


def taken(*pieces: dict[str, Any]) -> list[tuple[str | None, str | None, str]]:
    calls = ToolCalls()
    return joined([calls.take(**piece) for piece in pieces])


def test_pieces_by_index_as_openai_sends_them() -> None:
    """The id and name come once; what follows has the index alone."""
    assert taken(
        {"index": 0, "call_id": "a", "name": "f", "arguments": ""},
        {"index": 0, "arguments": '{"x"'},
        {"index": 0, "arguments": ":1}"},
    ) == [("a", "f", '{"x":1}')]


def test_calls_that_are_interleaved_do_not_mix() -> None:
    """Pieces of two calls in turn go to their own."""
    assert taken(
        {"index": 0, "call_id": "a", "name": "f"},
        {"index": 1, "call_id": "b", "name": "g"},
        {"index": 0, "arguments": '{"x":1}'},
        {"index": 1, "arguments": '{"y":2}'},
    ) == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


def test_pieces_by_id_without_index() -> None:
    """A piece without index goes to the call of its id."""
    assert taken(
        {"call_id": "a", "name": "f"},
        {"call_id": "b", "name": "g", "arguments": "{}"},
        {"call_id": "a", "arguments": '{"x":1}'},
    ) == [("a", "f", '{"x":1}'), ("b", "g", "{}")]


def test_pieces_with_neither_go_to_the_last_call() -> None:
    """Without index and id a name begins a call, and what has no name goes on with it; ids are made up."""
    assert taken(
        {"name": "f", "arguments": '{"x"'},
        {"arguments": ":1}"},
        {"name": "g", "arguments": "{}"},
    ) == [("call_0", "f", '{"x":1}'), ("call_1", "g", "{}")]


def test_calls_that_are_all_numbered_0_are_distinguished_by_id() -> None:
    """A new id with a name begins a call though the index repeats; a new id without one is noise."""
    assert taken(
        {"index": 0, "call_id": "a", "name": "f", "arguments": "{}"},
        {"index": 0, "call_id": "b", "name": "g", "arguments": '{"y"'},
        {"index": 0, "call_id": "zzz", "arguments": ":2}"},
    ) == [("a", "f", "{}"), ("b", "g", '{"y":2}')]


def test_a_call_that_is_repeated_whole_counts_once() -> None:
    """Some send the finished call again at the end."""
    assert taken(
        {"index": 0, "call_id": "a", "name": "f", "arguments": '{"x"'},
        {"index": 0, "arguments": ":1}"},
        {"index": 0, "call_id": "a", "name": "f", "arguments": '{"x":1}'},
    ) == [("a", "f", '{"x":1}')]


def test_a_name_may_come_late() -> None:
    """The event that has the name comes when the name does, and the id stays what it was."""
    calls = ToolCalls()
    assert calls.take(index=0, call_id="a") == ToolCallPiece(0, "a", None, "")
    assert calls.take(index=0, name="f", arguments="{") == ToolCallPiece(0, None, "f", "{")
    assert calls.take(index=0, arguments="}") == ToolCallPiece(0, None, None, "}")
    assert calls.end() is None


def test_what_adds_nothing_is_no_event() -> None:
    """An empty piece of a known call gives nothing; a signature alone gives an event."""
    calls = ToolCalls(choice=2)
    calls.take(index=0, call_id="a", name="f")
    assert calls.take(index=0, arguments="") is None
    assert calls.take(index=0, opaque=Opaque("v", "s")) == ToolCallPiece(0, opaque=Opaque("v", "s"), choice=2)


@pytest.mark.parametrize("arguments", ["{", "[1]", '"x"', '{"x":NaN}', "nothing"])
def test_arguments_that_are_no_json_object_are_reported(arguments: str) -> None:
    """The error names the tool and shows what came."""
    calls = ToolCalls()
    calls.take(name="weather", arguments=arguments)
    error = calls.end()
    assert isinstance(error, BadReply)
    assert "weather" in str(error)
    assert arguments in str(error)


@pytest.mark.parametrize("arguments", ["", " ", "{}", '{"x": {"y": []}}'])
def test_arguments_that_are_an_object_or_nothing_are_good(arguments: str) -> None:
    """Tools without parameters are called with nothing by many."""
    calls = ToolCalls()
    calls.take(name="now", arguments=arguments)
    assert calls.end() is None


def test_a_call_without_a_name_is_reported() -> None:
    """Nobody could be called: that is a failure and not a call."""
    calls = ToolCalls()
    calls.take(index=0, call_id="a", arguments="{}")
    assert "names no tool" in str(calls.end())


def test_a_hostile_server_cannot_fill_the_memory_with_calls() -> None:
    """The number of calls and the size of their arguments have limits."""
    calls = ToolCalls(ReaderLimits(calls=2, arguments=10))
    calls.take(index=0, name="f", arguments="12345")
    calls.take(index=1, name="g", arguments="12345")
    with pytest.raises(TooMany, match="10 characters"):
        calls.take(index=1, arguments="6")
    with pytest.raises(TooMany, match="2 tool calls"):
        calls.take(index=2, name="h")


@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.integers(), max_size=3), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    st.sampled_from(["index", "id"]),
)
def test_any_interleaving_gives_the_same_calls(values: list[dict[str, int]], random: Any, by: str) -> None:
    """However the pieces of several calls are cut and mixed, each call's arguments are what was written."""
    expected = [json.dumps(value) for value in values]
    left = [[text[i : i + 3] for i in range(0, len(text), 3)] for text in expected]
    calls, pieces = ToolCalls(), []
    for place in range(len(values)):
        pieces.append(calls.take(**key(by, place), name=f"tool{place}"))
    while any(left):
        place = random.choice([place for place, parts in enumerate(left) if parts])
        pieces.append(calls.take(**key(by, place), arguments=left[place].pop(0)))
    assert [arguments for _, _, arguments in joined(pieces)] == expected
    assert calls.end() is None


def key(by: str, place: int) -> dict[str, Any]:
    return {"index": place} if by == "index" else {"call_id": f"id{place}"}


HALVES = {
    "escaped": '{"t": "x\\ud83d y", "\\ude00": [1.5, null]}',
    "in the text": '{"t": "x\ud83d y", "\ude00": [1.5, null]}',
    "a pair": '{"t": "x\ud83d\ude00 y"}',
}
"""Arguments with half an emoji, which JSON can say and UTF-8 cannot; Python's text can hold it."""
HALF = re.compile(r"ud83d(?!\\ude00)|(?<!ud83d\\)ude00")


def said_in(body: bytes) -> set[str]:
    """Every call's arguments in a body or a stream, as Python reads their JSON: objects, and texts that are objects."""
    values, model_names = [json.loads(line) for line in body.replace(b"data: ", b"").split(b"\n") if line[:1] == b"{"], set()
    while values:
        value = values.pop()
        if isinstance(value, dict) and "t" in value:
            model_names.add(json.dumps(value))
        elif isinstance(value, str) and value[:1] == "{":
            values.append(json.loads(value))
        elif isinstance(value, (dict, list)):
            values += value.values() if isinstance(value, dict) else value
    return model_names


@pytest.mark.parametrize("arguments", HALVES.values(), ids=HALVES)
@pytest.mark.parametrize("name", names())
def test_half_an_emoji_in_arguments_goes_out_on_every_wire(name: str, arguments: str) -> None:
    """In replies whole and streamed as its escape, so that the value is the one that was written; in requests too where
    arguments are a text, and as U+FFFD where they are an object, for vendors refuse a body with half an emoji."""
    meant = {json.dumps(json.loads(arguments))}
    whole = {HALF.sub("ufffd", json.dumps(json.loads(arguments)))} if not name.startswith("openai") else meant
    turns = [ChatMessage("user", [TextPart("q")]), ChatMessage("assistant", [ToolCall("c1", "f", arguments)])]
    turns.append(ChatMessage("tool", [ToolResult("c1", [TextPart("r")], name="f")]))
    assert said_in(sendable(wire_named(name).write_request(ChatRequest("m", turns)))) == whole
    events: list[Event] = [Start("one", "m"), ToolCallPiece(0, "c1", "f", arguments), Finish("complete", "tool_calls")]
    assert said_in(written(wire_named(name), events, stream=False)) == meant
    assert said_in(written(wire_named(name), events, stream=True)) == meant


@pytest.mark.parametrize("name", names())
def test_a_reply_with_half_an_emoji_in_its_arguments_is_whole(name: str) -> None:
    """It is an object, and no failure, on the wires that write it as a text too."""
    events: list[Event] = [ToolCallPiece(0, "c1", "f", HALVES["escaped"]), Finish("complete", "tool_calls")]
    last = read(wire_named(name), [written(wire_named(name), events, stream=True)])[-1]
    assert isinstance(last, Finish)
    assert last.verdict == "complete"


def in_pieces(arguments: str, at: int) -> list[Event]:
    """A reply of one call, whose arguments are cut at a place."""
    rest: list[Event] = [ToolCallPiece(0, None, None, arguments[at:])] if at else []
    first = arguments[:at] if at else arguments
    return [Start("one", "m"), ToolCallPiece(0, "c1", "f", first), *rest, Finish("complete", "tool_calls")]


def arguments_in(events: list[Event]) -> set[str]:
    """The arguments of all calls, as Python reads their JSON; as nothing in a reply that failed."""
    last = events[-1]
    if not isinstance(last, Finish) or last.verdict != "complete":
        return set()
    calls = joined([event for event in events if isinstance(event, ToolCallPiece)])
    return {json.dumps(json.loads(text)) for _, _, text in calls}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", names())
@pytest.mark.parametrize("backend", names())
def test_half_an_emoji_in_a_replys_arguments_reaches_every_dialect(backend: str, dialect: str, stream: bool) -> None:
    """By its escape, from backends that say arguments as an object or as a text; by one escape or by two, cut anywhere."""
    for arguments in HALVES.values():
        meant = {json.dumps(json.loads(arguments))}
        for at in range(len(arguments)) if stream else (0,):
            body = written(wire_named(backend), in_pieces(arguments, at), stream=stream)
            once = body.replace(rb"\\ud83d", rb"\ud83d").replace(rb"\\ude00", rb"\ude00")
            for reply_body in sorted({body, once}):
                events = read(wire_named(backend), [reply_body]) if stream else wire_named(backend).read_reply(reply_body)
                assert arguments_in(events) == meant, reply_body
                answer = written(wire_named(dialect), events, stream=stream)
                assert (
                    arguments_in(read(wire_named(dialect), [answer]) if stream else wire_named(dialect).read_reply(answer))
                    == meant
                ), reply_body
                assert at or said_in(answer) == meant, reply_body


@pytest.mark.parametrize("text", ["x\\ud83d y", "\\ud83d\\ude00", "\\ude00"])
def test_half_an_emoji_in_arguments_that_come_in_parts(text: str) -> None:
    """Gemini's ``partialArgs``: a pair over two of them is a pair, and a half that stays alone is there."""
    at = text.index("\\u") + 6
    parts = [f'{{"jsonPath":"$.t","stringValue":"{piece}","willContinue":true}}' for piece in (text[:at], text[at:])]
    calls = [f'{{"name":"f","partialArgs":[{part}],"willContinue":true}}' for part in parts]
    lines = [f'{{"candidates":[{{"content":{{"parts":[{{"functionCall":{call}}}]}}}}]}}' for call in [*calls, '{"name":"f"}']]
    lines.append('{"candidates":[{"finishReason":"STOP"}]}')
    events = read(wire_named("gemini"), [f"data: {line}\n\n".encode() for line in lines])
    assert arguments_in(events) == {f'{{"t": "{text}"}}'}

"""Anthropic Messages, the half that asks: replies that are broken, hostile or failures."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadReply, EmptyReply
from polychat.events import Citation, ToolCallPiece
from polychat.wire.anthropic import Reader, read_fault, read_reply
from polychat.wire.limits import ReaderLimits

from ...support.anthropic_streams import (
    LAST,
    begin,
    delta,
    ended,
    finish_of,
    only,
    read,
    recorded,
    reprs,
    start,
    stream,
    text_of,
)


@pytest.mark.parametrize(
    "value",
    [
        "nonsense",
        "[]",
        '{"a": 1}',
        '{"type": "content_block_delta", "index": 0}',
        '{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 1}}',
        '{"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use"}}',
        '{"type": "message_start"}',
        "[" * 100 + "]" * 100,
    ],
)
def test_what_is_not_the_wire_fails_and_shows_the_line(value: str) -> None:
    """Broken JSON and shapes that are another's: failed with what was read before, never an exception."""
    body = stream(begin(0, "text", text="so far"), value, LAST)
    events = read([body])
    assert text_of(events) == "so far"
    assert finish_of(events).verdict == "failed"
    assert isinstance(finish_of(events).error, BadReply)


def test_errors_hold_no_secrets() -> None:
    """A line that is shown is shown without what looks like a credential."""
    body = stream('{"api_key": "sk-ant-very-secret", oops')
    assert "very-secret" not in str(finish_of(read([body])).error)
    assert "oops" in str(finish_of(read([body])).error)


def test_arguments_that_are_no_object_fail() -> None:
    """The pieces that were given remain."""
    body = stream(
        begin(0, "tool_use", id="a", name="f", input={}), delta(0, "input_json", partial_json='{"x'), ended("tool_use"), LAST
    )
    events = read([body])
    assert [piece.arguments for piece in only(events, ToolCallPiece)] == ["", '{"x']
    assert finish_of(events).verdict == "failed"


def test_nothing_at_all_is_an_empty_reply() -> None:
    """Without a word and without a reason; with a reason an empty answer is one."""
    assert isinstance(finish_of(read([stream(start(), LAST)])).error, EmptyReply)
    assert finish_of(read([stream(start(), ended("end_turn"), LAST)])).verdict == "complete"
    assert isinstance(finish_of(read_reply(b'{"type":"message","content":[]}')).error, EmptyReply)


def test_nothing_is_read_after_the_end() -> None:
    """Once done a reader is silent."""
    reader = Reader()
    reader.feed(recorded("hello.sse"))
    assert reader.done
    assert reader.feed(recorded("hello.sse")) == reader.end() == []


@pytest.mark.parametrize(
    ("body", "limits"),
    [
        (b"data: " + b"x" * 2_000, ReaderLimits(line=1_000)),
        (stream(*(begin(index, "tool_use", id=str(index), name="f", input={}) for index in range(9))), ReaderLimits(calls=8)),
        (
            stream(begin(0, "tool_use", id="a", name="f"), delta(0, "input_json", partial_json="x" * 99)),
            ReaderLimits(arguments=50),
        ),
        (
            stream(begin(0, "server_tool_use", id="a"), delta(0, "input_json", partial_json="x" * 99)),
            ReaderLimits(arguments=50),
        ),
        (stream({"type": "ping", "deep": [[[[]]]]}), ReaderLimits(depth=3)),
    ],
)
def test_limits(body: bytes, limits: ReaderLimits) -> None:
    """A hostile stream that exceeds one of them ends as failed."""
    assert finish_of(read([body], limits=limits)).verdict == "failed"


def test_citations_without_end_are_not_held_without_end() -> None:
    """What waits for its text's end is let go at a number."""
    reader = Reader()
    citation = {"type": "web_search_result_location", "url": "u", "title": "t", "cited_text": "c"}
    events = reader.feed(stream(begin(0, "text", text="x"), *(delta(0, "citations", citation=citation) for _ in range(200))))
    assert len(only(events, Citation)) >= 128


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_read(data: bytes) -> None:
    """No bytes raise; each reply has one end, the last."""
    finish_of(read([b"data: " + data]))
    finish_of(read_reply(data))
    read_fault(500, data)


FIELDS = (
    *("type", "message", "index", "delta", "content_block", "text", "thinking", "signature", "citation", "partial_json", "id"),
    *("name", "input", "usage", "input_tokens", "output_tokens", "stop_reason", "error", "citations", "data", "content"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=10,
)
KINDS = st.sampled_from(
    [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    ]
)
INNER = st.sampled_from(
    [
        *("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use"),
        *("text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta"),
    ]
)


def shape(kind: str, inner: str, more: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    part = {**fields, "type": inner}
    return {"type": kind, "index": 0, **more, "delta": part, "content_block": part}


SHAPES = st.builds(
    shape,
    KINDS,
    INNER,
    st.dictionaries(st.sampled_from(["index", "usage", "message", "error"]), JSON, max_size=2),
    st.dictionaries(st.sampled_from(FIELDS[5:]), JSON),
)


@settings(max_examples=100)
@given(st.lists(SHAPES | JSON, max_size=6))
def test_any_json_is_read(values: list[Any]) -> None:
    """Nearly right streams end in one verdict too, whole and streamed, and the same at every piece."""
    body = stream(*(json.dumps(value) for value in values))
    assert reprs(read([body])) == reprs(read([body[i : i + 1] for i in range(len(body))]))
    finish_of(read([body]))
    for value in values:
        finish_of(read_reply(json.dumps(value).encode()))
        read_fault(400, json.dumps(value).encode())


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (529, {"type": "overloaded_error", "message": "Overloaded"}, "overloaded"),
        (
            400,
            {"type": "invalid_request_error", "message": "prompt is too long: 201000 tokens > 200000 maximum"},
            "context_length",
        ),
        (400, {"type": "invalid_request_error", "message": "max_tokens: Field required"}, "invalid_request"),
        (402, {"type": "billing_error", "message": "pay"}, "quota"),
        (429, {"type": "rate_limit_error", "message": "x", "details": {"error_code": "enforced_spend_limit_reached"}}, "quota"),
        (429, {"type": "rate_limit_error", "message": "x"}, "rate_limit"),
        (413, {"type": "request_too_large", "message": "x"}, "too_large"),
        (404, {"type": "yet_unknown", "message": "x"}, "not_found"),
        (504, "just words", "timeout"),
    ],
)
def test_faults_are_read(status: int, body: Any, kind: str) -> None:
    """The wire's type tells the kind, and the status where that is silent."""
    fault = read_fault(status, json.dumps({"type": "error", "error": body}).encode())
    assert (fault.kind, fault.status) == (kind, status)
    assert fault.message


def test_a_fault_that_is_no_json_is_its_text() -> None:
    """A proxy's page still says something."""
    fault = read_fault(502, b"<h1>Bad Gateway</h1>")
    assert (fault.kind, fault.message) == ("server", "<h1>Bad Gateway</h1>")

"""What hostile servers send in place of Gemini's replies, refusals and counts; limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadReply, EmptyReply, Truncated
from polychat.events import Finish
from polychat.wire import gemini
from polychat.wire.faults import Fault
from polychat.wire.gemini.array import NoArray, Objects
from polychat.wire.json_text import encoded
from polychat.wire.limits import ReaderLimits

from ...support.corpus import splits
from ...support.gemini_samples import ANY, candidate, corpus, read_chunks
from ...support.read_replies import read_pieces

# Hostile servers.


@pytest.mark.parametrize(
    "chunk",
    [
        5,
        "error",
        [],
        {"candidates": 5},
        {"candidates": [5]},
        {"candidates": {"a": 1}},
        candidate(5),
        candidate({"text": 5}),
        candidate({"functionCall": {}}),
        candidate({"functionCall": {"name": "f", "args": []}}),
        candidate({"text": "x"}, index="x"),
        candidate({"text": "x"}, reason=["STOP"]),
    ],
)
def test_another_shape_is_a_bad_reply(chunk: Any) -> None:
    """Whether it comes first or on the straight path."""
    for before in ([], [candidate({"text": "a"}, reason=None)]):
        assert isinstance(read_chunks(*before, chunk).error, BadReply)
    assert isinstance(gemini.read_reply(encoded(chunk))[-1].error, (BadReply, EmptyReply))


@pytest.mark.parametrize(
    "body",
    [b"<html>no</html>", b"data: {\n\n", b"[1]", b"[{}] x", b"{} [", b"no such thing", b"[{}{]}"],
)
def test_other_bodies_are_bad_replies(body: bytes) -> None:
    """At every cut, and the error shows what came where that is safe."""
    for pieces in splits(body):
        assert isinstance(read_pieces(gemini.Reader(), pieces).error, (BadReply, Truncated))


def test_a_whole_reply_that_is_no_json_is_bad() -> None:
    """Its beginning is shown."""
    (finish,) = gemini.read_reply(b"<html>")
    assert "<html>" in str(finish.error)


def test_blanks_marks_and_dones_are_passed_over() -> None:
    """Of servers between us and the API."""
    stream = b"\xef\xbb\xbf\r\n: ping\n\ndata:" + encoded(candidate({"text": "x"})) + b"\n\ndata: [DONE]\n\n"
    for pieces in splits(stream):
        assert read_pieces(gemini.Reader(), pieces).finish == Finish("complete", "stop")


@pytest.mark.parametrize("start", [b"data: ", b"[{", b'[{"candidates": ["', b"data: x\n" * 100])
def test_a_hostile_server_cannot_fill_the_memory(start: bytes) -> None:
    """A line, an event and an object have an end."""
    reader = gemini.Reader(limits=ReaderLimits(line=1000, event=1000))
    events = reader.feed(start)
    for _ in range(100):
        events += reader.feed(b"x" * 50 if start[:1] == b"[" else b"data: xxxxxxx")
    assert reader.done
    assert isinstance(events[-1].error, BadReply)


def test_limits_are_kept() -> None:
    """Of depth, of calls, of candidates."""
    limits = ReaderLimits(depth=8, calls=3)
    call = {"functionCall": {"name": "f", "args": {}}}
    deep = candidate({"functionCall": {"name": "f", "args": {"a": [[[[]]]]}}})
    for chunk in (candidate(*[call] * 4), deep, {"candidates": [{"index": number} for number in range(4)]}):
        for framed in (b"data: " + encoded(chunk) + b"\n\n", b"[" + encoded(chunk) + b"]"):
            assert isinstance(read_pieces(gemini.Reader(limits=limits), [framed]).error, BadReply)
        assert isinstance(gemini.read_reply(encoded(chunk), limits=limits)[-1].error, BadReply)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.binary(max_size=20) | st.sampled_from([b"data: ", b"\n\n", b"[", b"{", b"]", b"}", b",", b'"', b'{"candidates":[']),
        max_size=20,
    )
)
def test_no_bytes_break_the_reader(pieces: list[bytes]) -> None:
    """One end, the last event, and the same at other cuts."""
    reply = read_pieces(gemini.Reader(), pieces)
    assert reply.finish.verdict != "complete"
    assert read_pieces(gemini.Reader(), [b"".join(pieces)]).finish.verdict == reply.finish.verdict


@settings(max_examples=100, deadline=None)
@given(st.lists(ANY | st.builds(lambda parts: {"candidates": [{"content": {"parts": parts}}]}, ANY), max_size=4))
def test_no_json_breaks_the_reader(values: list[Any]) -> None:
    """As a stream of events, as an array, and as a whole."""
    assert read_chunks(*values).finish.verdict
    read_pieces(gemini.Reader(), [encoded(values)])
    assert sum(isinstance(event, Finish) for event in gemini.read_reply(encoded(values))) == 1


@settings(max_examples=20, deadline=None)  # of which each is cut at every place
@given(st.lists(st.dictionaries(st.text(max_size=4), ANY, max_size=3), max_size=4), st.booleans(), st.data())
def test_an_array_is_cut_into_its_objects(values: list[Any], array: bool, data: st.DataObject) -> None:
    """Wherever the network cuts it, also amid an escape, with brackets inside of strings, with and without blanks."""
    written = [
        json.dumps(value, indent=data.draw(st.none() | st.just(1)), ensure_ascii=data.draw(st.booleans())).encode()
        for value in values
    ]
    body = b"[" + b",\r\n".join(written) + b"]" if array else b"\n".join(written)
    for pieces in splits(body):
        objects = Objects()
        assert [json.loads(one) for piece in pieces for one in objects.feed(piece)] == values
        assert objects.closed or not body


def test_the_bytes_between_objects_are_checked() -> None:
    """A value that is no object, and anything behind the array, are no stream of this wire."""
    for body in (b"[1", b"[{},2", b"[{}]{", b"[{}]]", b"x", b"[["):
        with pytest.raises(NoArray):
            Objects().feed(body)
    objects = Objects()
    objects.feed(b"[{}]")
    with pytest.raises(NoArray):
        objects.feed(b",{}")


# Refusals and counts.


def test_published_failures_are_read() -> None:
    """A key that does not hold is recognized by its reason: the status says only that the request was bad."""
    fault = gemini.read_fault(400, corpus("fault-api-key.json"))
    assert (fault.kind, fault.code) == ("authentication", "API_KEY_INVALID")
    assert "API key not valid" in fault.message
    assert gemini.read_fault(400, b"[" + corpus("fault-api-key.json") + b"]") == fault


def error(message: str = "", *details: Any, status: str = "RESOURCE_EXHAUSTED") -> bytes:
    return encoded({"error": {"message": message, "status": status, "details": details}})


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, b"<html>not here</html>", Fault("", "not_found", 404)),
        (500, b"oops", Fault("oops", "server", 500)),
        (503, b"", Fault("", "overloaded", 503)),
        (500, b"[]", Fault("", "server", 500)),
        (500, b'{"error": "bad"}', Fault("bad", "server", 500)),
        (429, error("slow", {"retryDelay": "34.5s"}), Fault("slow", "rate_limit", 429, "RESOURCE_EXHAUSTED", retry_after=34.5)),
        (
            429,
            error("", {"violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}]}),
            Fault("", "quota", 429, "RESOURCE_EXHAUSTED"),
        ),
        (
            400,
            error("The input token count (9) exceeds the maximum number of tokens allowed (8).", status="INVALID_ARGUMENT"),
            Fault(
                "The input token count (9) exceeds the maximum number of tokens allowed (8).",
                "context_length",
                400,
                "INVALID_ARGUMENT",
            ),
        ),
        (
            400,
            error("", {"fieldViolations": [{"field": "contents"}]}, status="INVALID_ARGUMENT"),
            Fault("", "invalid_request", 400, "INVALID_ARGUMENT", "contents"),
        ),
    ],
)
def test_refusals_are_read(status: int, body: bytes, expected: Fault) -> None:
    """By their status first, by details where it is silent."""
    assert gemini.read_fault(status, body) == expected


@given(st.integers(400, 599), st.binary(max_size=30) | ANY.map(encoded) | ANY.map(lambda value: encoded({"error": value})))
def test_no_refusal_breaks_its_reader(status: int, body: bytes) -> None:
    """It is some fault with that status."""
    assert gemini.read_fault(status, body).status == status


def test_counts_are_read() -> None:
    """Zero is left out by the API; what is no count is a bad reply."""
    assert gemini.read_count(b'{"totalTokens": 31, "promptTokensDetails": []}') == 31
    assert gemini.read_count(b"{}") == 0
    for body in (b"", b"[]", b'{"error": {}}', b'{"totalTokens": "x"}', b'{"totalTokens": true}'):
        with pytest.raises(BadReply):
            gemini.read_count(body)


@pytest.mark.parametrize(
    "event", [b"data: %s\r%s\n\n", b"data: %s\ndata: %s\n\n", b"data: %s%s\n\ndata: {}\n\n", b"event: x\ndata: %s%s\n\n"]
)
def test_other_ways_to_tell_an_event_are_read_the_same(event: bytes) -> None:
    """Whether it comes in one read or in many."""
    first = b"data: " + encoded(candidate({"text": "a"}, reason=None)) + b"\n\n"
    data = encoded(candidate({"text": "b"}))
    second = event % (data[:1], data[1:])
    expected = read_pieces(gemini.Reader(), [bytes([letter]) for letter in first + second]).finish.verdict
    assert read_pieces(gemini.Reader(), [first, second]).finish.verdict == expected

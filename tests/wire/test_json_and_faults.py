"""What the wires are made of: JSON's one module, events and JSON lines, faults."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat import errors
from polychat.errors import FaultKind
from polychat.wire import json_text
from polychat.wire.checks import json_object
from polychat.wire.contract import names, wire_named
from polychat.wire.faults import STATUS, Fault, error_of, fault_of, kind_of
from polychat.wire.framing import Events, JSONLines, LineTooLong, event
from polychat.wire.json_text import decoded
from polychat.wire.limits import LIMITS

from ..support.corpus import splits

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("value", [{"a": [1, "é\u2028", None, True]}, [], "x", 1.5])
def test_json_comes_back(value: Any) -> None:
    """What is written is read, as UTF-8 and without spaces."""
    assert json_text.decoded(json_text.encoded(value)) == value
    assert b" " not in json_text.encoded(value)


@given(VALUES)
def test_others_read_what_is_written_and_write_what_is_read(value: Any) -> None:
    """As Python's own JSON has it."""
    assert json_text.decoded(json.dumps(value).encode()) == value
    assert json.loads(json_text.encoded(value)) == value


def test_both_halves_of_a_pair_are_a_letter() -> None:
    """Escaped as JSON escapes it."""
    assert json_text.decoded(rb'"\ud83d\ude00 \\ud800"') == "\N{GRINNING FACE} \\ud800"


@pytest.mark.parametrize(
    "broken", [rb'"\ud800"', rb'{"a":"\udc00x"}', b"", b"{", b"NaN", b'{"a":Infinity}', b'"\xff"', b"[1,]", b"nul"]
)
def test_what_is_no_json_is_a_value_error(broken: bytes) -> None:
    """And nothing else: no codec's own error gets out."""
    with pytest.raises(ValueError):
        json_text.decoded(broken)


def test_json_has_a_depth() -> None:
    """Nesting up to the limit passes; one deeper is refused before a codec sees it. Brackets in strings do not count."""
    assert json_text.decoded(b"[" * 5 + b"]" * 5, depth=5) == [[[[[]]]]]
    with pytest.raises(json_text.TooDeep, match="5 deep"):
        json_text.decoded(b"[" * 6 + b"]" * 6, depth=5)
    with pytest.raises(json_text.TooDeep):
        json_text.decoded(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    assert json_text.decoded(b'["[[[[[[[[[[\\"[[[[", {}]', depth=2) == ['[[[[[[[[[["[[[[', {}]


def test_what_json_cannot_carry_is_not_written() -> None:
    """Half a surrogate pair is an error, and not bytes that nobody can read."""
    with pytest.raises(ValueError):
        json_text.encoded("\ud800")


HALF = re.compile("[\ud800-\udfff]")
_PIECES = st.sampled_from(
    [*(r"\ud83d", r"\uDE00", r"\ud83d\ude00", r"\\ud83d", r"\\", r"\\\ud800", r"\u00e9", r"\"", "ud83d", "é", "x")]
)


@given(st.lists(_PIECES, max_size=8).map("".join))
def test_halves_of_emoji_become_the_sign_for_what_cannot_be_shown(text: str) -> None:
    """Each half alone, by its escape; pairs, and what only looks like an escape, stay byte by byte."""
    came = f'{{"{text}":["{text}"]}}'.encode()
    whole = json_text.without_lone_surrogates(came)
    assert json_text.decoded(whole) == json.loads(HALF.sub("\ufffd", json.dumps(json.loads(came), ensure_ascii=False)))
    assert (whole == came) is (HALF.search(json.dumps(json.loads(came), ensure_ascii=False)) is None)


STREAM = (
    b": a comment\r\nevent: one\r\ndata: first\r\n\r\ndata:second\n\nid: 5\nevent: three\ndata: a\ndata:  b\nretry: 1\n\n"
    b"event: empty\n\ndata: plain\n\nevent: last\ndata: \xd0\xbf"
)
SAID = [("one", b"first"), ("message", b"second"), ("three", b"a\n b"), ("message", b"plain"), ("last", b"\xd0\xbf")]


def test_events_do_not_depend_on_the_cuts() -> None:
    """Names, joined data lines, and an event without data that leaves no name behind; the last without its blank line."""
    for pieces in splits(STREAM):
        reader = Events()
        assert [one for piece in pieces for one in reader.feed(piece)] + reader.end() == SAID


def test_an_event_of_many_lines_has_a_limit() -> None:
    """Lines within their limit may not add up past the event's."""
    reader = Events(line=10, event=30)
    with pytest.raises(LineTooLong, match="30 bytes"):
        for _ in range(10):
            reader.feed(b"data: abc\n")


def test_a_long_stream_of_short_events_passes() -> None:
    """The limit is an event's and not the stream's."""
    reader = Events(line=10, event=30)
    assert sum(len(reader.feed(b"data: abc\n\n")) for _ in range(100)) == 100


@given(st.lists(st.tuples(st.sampled_from(["ping", "message_start"]), VALUES)))
def test_what_event_writes_events_reads(fields: list[tuple[str, Any]]) -> None:
    """Name and payload survive, whatever the value: JSON has no line end in it."""
    reader = Events()
    written = b"".join(event(name, json_text.encoded(value)) for name, value in fields)
    assert [(name, json_text.decoded(data)) for name, data in reader.feed(written)] == fields


def test_json_lines_do_not_depend_on_the_cuts() -> None:
    """One value a line; blank lines are none; the last needs no line end."""
    stream = b'{"a":1}\n\r\n\n{"b":"\xd0\xbf"}\r\n[]'
    for pieces in splits(stream):
        reader = JSONLines()
        assert [line for piece in pieces for line in reader.feed(piece)] + reader.end() == [
            b'{"a":1}',
            b'{"b":"\xd0\xbf"}',
            b"[]",
        ]


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (errors.BadInput("no", field="tools"), "invalid_request", 400),
        (errors.UnknownTarget("no such model"), "not_found", 404),
        (errors.MissingPackage("x", extra="y", purpose="z"), "server", 503),
        (errors.TimedOut("idle", 3), "timeout", 504),
        (errors.Unauthorized("no", status=401), "authentication", 401),
        (errors.Unauthorized("no", status=403), "permission", 403),
        (errors.RateLimited("slow", status=429, retry_after=3), "rate_limit", 429),
        (errors.LimitReached("enough"), "quota", 429),
        (errors.ConnectionFailed("gone"), "server", 502),
        (errors.BadReply("what"), "server", 502),
        (errors.Truncated("cut"), "server", 502),
        (errors.StatusError("no", status=500), "server", 502),
        (errors.StatusError("no", status=529), "overloaded", 503),
        (errors.StatusError("no", status=413), "too_large", 413),
        (errors.PolychatError("?"), "server", 500),
    ],
)
def test_each_error_can_be_reported(error: errors.PolychatError, kind: str, status: int) -> None:
    """A caller's mistakes are 4xx, a backend's failures 5xx; its retry time is kept.

    What the operator has to do is in the log and not in the answer.
    """
    fault = fault_of(error)
    assert (fault.kind, fault.status, fault.retry_after) == (kind, status, error.retry_after)
    if isinstance(error, errors.NotReady):
        assert "pip install" not in fault.message
    else:
        assert fault.message == str(error)


def test_the_backends_error_code_is_forwarded() -> None:
    """The kind that its protocol named wins over what its status alone says."""
    error = errors.StatusError("too long", status=400)
    error.kind = "context_length"
    assert fault_of(error).kind == "context_length"


@pytest.mark.parametrize("kind", STATUS)
def test_a_failure_inside_a_reply_keeps_its_kind(kind: Any) -> None:
    """From their words to our error and back."""
    error = error_of(Fault("it broke", kind, STATUS[kind], code="odd_code", retry_after=2.0))
    assert fault_of(error).kind == kind
    assert isinstance(error, errors.ReplyFailed)
    assert isinstance(error, errors.LimitReached) == (kind in ("quota", "rate_limit"))
    assert "it broke (odd_code)" in str(error)
    assert error.retry_after == 2.0


def test_a_failures_words_are_shown_without_secrets() -> None:
    """What a backend repeats of a key is not printed."""
    assert "sk-123" not in str(error_of(Fault("bad api_key=sk-1234567")))


def test_a_status_alone_has_a_kind() -> None:
    """Statuses nobody listed are the caller's fault in the 400s and the server's above."""
    assert (kind_of(418), kind_of(599), kind_of(422)) == ("invalid_request", "server", "invalid_request")


def test_json_has_no_nan() -> None:
    """A number that no other reads is written as none."""
    assert json_text.encoded([math.nan, math.inf]) == b"[null,null]"


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("kind", sorted(STATUS))
def test_a_fault_without_a_message_gets_one(name: str, kind: FaultKind) -> None:
    """Clients show the message, whatever a backend left out, and read what kind of failure it is."""
    written = wire_named(name).write_fault(Fault("", kind, STATUS[kind]))
    error = decoded(written)["error"]
    message = error if isinstance(error, str) else error["message"]
    assert message.strip()


LARGE = ["1e400", "-1e309", "9" * 5000]


@pytest.mark.parametrize("number", LARGE)
@pytest.mark.parametrize(
    ("text", "field", "place"),
    [
        ('{"a": @}', "a", "a"),
        ('{"b": 1, "options": {"deep": {"temperature": @}}}', "options.deep.temperature", "options.deep.temperature"),
        ('{"a": {"b": {"c": {"d": {"e": @}}}}}', "a.b.c.d", "a.b.c.d"),
        ('{"messages": [{"x": @}]}', "messages", "messages"),
        ('{"a": @, "a": 1}', "body", "the body"),
        (f'{{"long": "{"x" * 70_000}", "a": @}}', "body", "the body"),
        ('{"a": @, "b": }', "body", "the body"),
        ("[@]", "body", "the body"),
        (f'{{"{"x" * 99}": @}}', "x" * 59 + "…", "x" * 59 + "…"),
    ],
)
def test_a_number_out_of_range_is_named(text: str, field: str, place: str, number: str) -> None:
    """It is JSON, so the error does not say that it is none; four names of its place are enough."""
    with pytest.raises(errors.BadInput, match="a number in ") as raised:
        json_object(text.replace("@", number).encode(), LIMITS)
    assert raised.value.field == field
    assert str(raised.value) == f"a number in {place} is out of range: the largest is 1.8e+308"


@pytest.mark.parametrize(
    ("body", "message"),
    [(b'{"a": }', "the body is not JSON: "), (b'{"b": }, "a": 1e999', "the body is not JSON: "), (b"[" * 70, "nested more")],
)
def test_what_cannot_be_read_for_another_reason_is_told_so(body: bytes, message: str) -> None:
    """Also where a number out of range follows."""
    with pytest.raises(errors.BadInput, match=message) as raised:
        json_object(body, LIMITS)
    assert raised.value.field == "body"

"""Chunks and whole replies of the usual forms are decoded by their type, and give the same events as read member by member."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import ReplyFailed
from polychat.events import Event, Finish, Start, Text, Usage
from polychat.wire import openai_chat
from polychat.wire.openai_chat import usage as usage_module
from polychat.wire.openai_chat.passthrough import ChunkMonitor, ending_of
from polychat.wire.openai_chat.usual_chunks import usual_chunk
from polychat.wire.openai_chat.usual_replies import text_answer, usual_reply
from polychat.wire.openai_chat.usual_streams import usual_passing, usual_stream
from polychat.wire.passthrough import ending_in
from polychat.wire.reading import complete

from ...support.damaged_texts import damaged
from ...support.members import MISSING, objects

NOTHING = st.sampled_from([MISSING, MISSING, None])
TEXTS = st.one_of(st.sampled_from([MISSING, None, "", "Hello", "é", "[DONE]", 5, ["x"], {"text": "x"}]), st.text(max_size=3))


DELTAS = objects(
    role=st.sampled_from([MISSING, MISSING, None, "assistant", ""]),
    content=TEXTS,
    refusal=st.sampled_from([MISSING, MISSING, None, "no"]),
    tool_calls=st.sampled_from([*[MISSING] * 9, [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]]),
    reasoning_content=st.sampled_from([*[MISSING] * 9, "hm"]),
)
CHOICES = objects(
    delta=st.one_of(DELTAS, DELTAS, DELTAS, st.sampled_from([MISSING, None, "x"])),
    index=st.sampled_from([0, 0, 0, 0, MISSING, None, 1, 0.0, "0"]),
    finish_reason=st.sampled_from([MISSING, None, None, None, "", "stop", "length", "tool_calls", "eos", "error", 3]),
    logprobs=st.one_of(NOTHING, st.sampled_from([{"content": [{"token": "x", "logprob": -1}]}, {}])),
    stop_reason=st.sampled_from([*[MISSING] * 5, None, "END", 3]),
    text=st.sampled_from([*[MISSING] * 9, "x"]),
)
COUNTS = st.sampled_from([0, 3, 7, 10, 10, MISSING, None, -1, 1.0, True, "3", 1 << 70])
USAGES = objects(
    prompt_tokens=st.one_of(st.just(10), COUNTS),
    completion_tokens=st.one_of(st.just(7), COUNTS),
    total_tokens=st.one_of(st.sampled_from([17, 20]), COUNTS),
    prompt_tokens_details=st.one_of(NOTHING, objects(cached_tokens=COUNTS, audio_tokens=COUNTS)),
    completion_tokens_details=st.one_of(NOTHING, objects(reasoning_tokens=COUNTS, audio_tokens=COUNTS)),
    cost=st.sampled_from([*[MISSING] * 9, 0.5]),
)
CHUNKS = objects(
    id=st.sampled_from(["c", "c", "c", "d", "", None, MISSING, 3]),
    object=st.sampled_from(["chat.completion.chunk", "chat.completion.chunk", MISSING, "", "error"]),
    created=st.sampled_from([1, 1.5, None, MISSING]),
    model=st.sampled_from(["m", "m", "", None, MISSING, 3]),
    choices=st.one_of(st.lists(CHOICES, min_size=1, max_size=1), st.lists(CHOICES, max_size=2), st.just(None)),
    usage=st.one_of(NOTHING, NOTHING, st.just({}), USAGES),
    system_fingerprint=st.sampled_from([MISSING, None, "f"]),
    obfuscation=st.sampled_from([MISSING, "aB3"]),
    citations=st.sampled_from([*[MISSING] * 9, ["https://example.com/"]]),
    error=st.sampled_from([*[MISSING] * 9, {"message": "no"}, None]),
)
OPENING = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
PIECE = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}]}
END = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
THOUGHTS = {"completion_tokens_details": {"reasoning_tokens": 3}}
COUNTED = {"id": "c", "choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 20, **THOUGHTS}}
USUAL = [OPENING, {**OPENING, "id": "d"}, PIECE, END, COUNTED]


def events_of(bodies: list[bytes], *, may_be_usual: bool) -> list[list[Event]]:
    """What a reader gives for each of these reads, and at the end."""
    reader = openai_chat.Reader()
    reader.may_be_usual = reader.may_be_usual and may_be_usual
    return [*(reader.feed(body) for body in bodies), reader.end()]


def near(content: Any, role: Any, reason: Any) -> dict[str, Any]:
    """A chunk that is usual but for what these members are."""
    delta = {name: value for name, value in (("role", role), ("content", content)) if value is not MISSING}
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


NEAR = [
    near(content, role, reason)
    for content in (MISSING, None, "", "x")
    for role in (MISSING, None, "assistant")
    for reason in (None, "", "stop", "eos")
]


@pytest.mark.parametrize("opens", [True, False])
def test_of_each_two_chunks_the_events_are_the_same(opens: bool) -> None:
    """With and without a text, a role and a reason, each behind each."""
    for one in NEAR:
        for other in NEAR:
            values = [OPENING, PIECE, one, other] if opens else [one, other]
            reads = [*(b"data: %b\n\n" % json.dumps(value).encode() for value in values), b"data: [DONE]\n\n"]
            assert repr(events_of(reads, may_be_usual=True)) == repr(events_of(reads, may_be_usual=False)), (one, other)


@given(
    chunks=st.lists(st.one_of(CHUNKS, st.sampled_from(USUAL)), max_size=6),
    opens=st.booleans(),
    ends=st.sampled_from([b"data: [DONE]\n\n", b"", b"data: {"]),
)
@settings(max_examples=600, deadline=None)
def test_the_events_are_those_of_reading_member_by_member(chunks: list[Any], opens: bool, ends: bytes) -> None:
    """Whatever members a chunk has, lacks or has of another type, in whatever order the chunks come."""
    values = [OPENING, *chunks] if opens else chunks
    reads = [b"data: %b\n\n" % json.dumps(value).encode() for value in values]
    expected = events_of([*reads, ends], may_be_usual=False)
    assert repr(events_of([*reads, ends], may_be_usual=True)) == repr(expected)
    together = [event for batch in events_of([b"".join([*reads, ends])], may_be_usual=True) for event in batch]
    assert repr(together) == repr([event for batch in expected for event in batch])


@pytest.mark.parametrize("delta", [{"content": "x"}, {}, "x"])
@pytest.mark.parametrize("before", [[OPENING], [OPENING, PIECE], [OPENING, COUNTED], [OPENING, PIECE, COUNTED]])
def test_a_chunk_that_is_an_error_fails_the_reply_whatever_came_before(before: list[Any], delta: Any) -> None:
    """It is no piece of text, though it has one, and its failure is not that it cannot be read."""
    failure = {"object": "error", "choices": [{"index": 0, "delta": delta}]}
    reads = [b"data: %b\n\n" % json.dumps(value).encode() for value in (*before, failure)]
    for may_be_usual in (True, False):
        events = [event for batch in events_of(reads, may_be_usual=may_be_usual) for event in batch]
        assert Text("x") not in events
        assert isinstance(finish := events[-1], Finish)
        assert type(finish.error) is ReplyFailed


def watched(reads: list[bytes], *, may_be_usual: bool, usage: bool) -> tuple[Any, ...]:
    """What a monitor forwards of each of these reads and at the end, and what it then knows."""
    monitor = ChunkMonitor(usage=usage)
    monitor.may_be_usual = may_be_usual
    passed = [*map(monitor.feed, reads), monitor.end()]
    return passed, repr(monitor.finish), monitor.usage, monitor.served, monitor.has_content, monitor.error_forwarded


@given(
    chunks=st.lists(st.one_of(CHUNKS, st.sampled_from(USUAL)), max_size=6),
    ends=st.sampled_from([b"data: [DONE]\n\n", b"", b"data: {"]),
    together=st.integers(1, 7),
    usage=st.booleans(),
)
@settings(max_examples=600, deadline=None)
def test_a_monitor_knows_what_it_would_know_member_by_member(
    chunks: list[Any], ends: bytes, together: int, usage: bool
) -> None:
    """And forwards the same bytes, however many chunks come in a read."""
    events = [*(b"data: %b\n\n" % json.dumps(value).encode() for value in chunks), ends]
    reads = [b"".join(events[at : at + together]) for at in range(0, len(events), together)]
    assert watched(reads, may_be_usual=True, usage=usage) == watched(reads, may_be_usual=False, usage=usage)


@pytest.mark.parametrize("chunk", [OPENING, PIECE, END, {**END, "usage": COUNTED["usage"]}, COUNTED])
def test_the_usual_chunks_are_of_the_type(chunk: Any) -> None:
    """Else nothing would be gained: who speaks, a text, an end, counts, with the members that servers add."""
    added = {"object": "chat.completion.chunk", "created": 1, "system_fingerprint": None, "usage": None}
    assert usual_chunk(json.dumps({**added, **chunk}).encode()).id == "c"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[DONE]",
        b"[]",
        b"{",
        b'{"choices":null}',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b'{"choices":[{"delta":{"content":"\\ud83d"}}]}',
        b'{"choices":[{"delta":{"content":"x"}},{"delta":{"content":"y"}}]}',
        b'{"choices":[{"delta":{"content":"x"}}],"another":1}',
        b'{"choices":[{"delta":{"content":"x"}}],"usage":{}}',
    ],
)
def test_any_other_payload_is_of_no_type(payload: bytes) -> None:
    """One member more, another number of choices, invalid text: it is read member by member, or refused there."""
    with pytest.raises(ValueError, match="."):
        usual_chunk(payload)


ANSWERS = objects(
    message=objects(
        role=st.sampled_from(["assistant", MISSING, None]),
        content=TEXTS,
        refusal=st.sampled_from([MISSING, MISSING, None, "no"]),
        annotations=st.sampled_from([MISSING, [], None, [{"type": "file", "file": {"name": "a.txt"}}]]),
        tool_calls=st.sampled_from([MISSING, MISSING, [], None, [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]]),
        reasoning_content=st.sampled_from([*[MISSING] * 5, None, "hm"]),
    ),
    index=st.sampled_from([0, 0, 0, MISSING, None, 1, "0"]),
    finish_reason=st.sampled_from(["stop", "stop", "stop", "length", "tool_calls", "eos", "error", "", None, MISSING, 3]),
    logprobs=st.sampled_from([MISSING, None, {}, {"content": [{"token": "x", "logprob": -1}]}]),
    stop_reason=st.sampled_from([*[MISSING] * 5, None, "END", 3]),
    usage=st.sampled_from([*[MISSING] * 9, {"prompt_tokens": 1, "completion_tokens": 2}]),
)
REPLIES = objects(
    object=st.sampled_from([*["chat.completion"] * 5, MISSING, None, "", "error"]),
    id=st.sampled_from(["c", "c", "", None, MISSING, 3]),
    model=st.sampled_from(["m", "m", "", None, MISSING, 3]),
    choices=st.one_of(st.lists(ANSWERS, min_size=1, max_size=1), st.lists(ANSWERS, max_size=2)),
    usage=st.one_of(NOTHING, st.just({}), USAGES, USAGES),
    system_fingerprint=st.sampled_from([MISSING, None, "f"]),
    citations=st.sampled_from([*[MISSING] * 9, ["https://example.com/"]]),
    error=st.sampled_from([*[MISSING] * 9, {"message": "no"}, None]),
    x_groq=st.sampled_from([*[MISSING] * 9, {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}]),
)
REPLY = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"Hello","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":10,'
    b'"completion_tokens":7,"total_tokens":20,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0,"accepted_prediction_tokens":0,'
    b'"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":null}'
)


@given(reply=REPLIES)
@settings(max_examples=600, deadline=None)
def test_a_whole_reply_gives_the_events_of_reading_member_by_member(reply: dict[str, Any]) -> None:
    """Whatever members it has, lacks or has of another type."""
    body = json.dumps(reply).encode()
    events = openai_chat.read_reply(body)
    assert repr(events) == repr(openai_chat.Reader().read(body))
    if (answer := text_answer(body)) is not None:
        begin = [Start(answer.id, answer.model)] if answer.id or answer.model else []
        assert repr(events) == repr([*begin, Text(answer.text), answer.usage, Finish("complete", answer.reason)])


@given(reply=REPLIES)
@settings(max_examples=300, deadline=None)
def test_the_end_of_a_whole_reply_that_passes_is_that_of_reading_it(reply: dict[str, Any]) -> None:
    """Whatever stands beside the answer: a mark of an error, another number of answers, counts in another place."""
    choices = reply.get("choices", [])
    kept = [{name: choice[name] for name in choice if name != "logprobs"} for choice in choices]
    body = json.dumps({**reply, "choices": [{**choice, "message": {"content": "Hi"}} for choice in kept]}).encode()
    passed, read = (
        (end.verdict, end.reason, repr(end.error), *rest)
        for end, *rest in (ending_of(body), ending_in(openai_chat.read_reply(body)))
    )
    assert passed == read


@given(counts=USAGES)
@settings(max_examples=300, deadline=None)
def test_counts_are_those_of_reading_member_by_member(counts: dict[str, Any]) -> None:
    """As a stream's last chunk has them: negative ones, and those that are no whole number, are none."""
    assert repr(usage_module.usage_of(counts)) == repr(usage_module.with_reasoning(usage_module._usage_by_members(counts)))


def test_the_usual_reply_is_of_the_type() -> None:
    """As OpenAI sends it; else nothing would be gained. At any cut it is of no type, and read as one that was cut."""
    assert usual_reply(REPLY) == openai_chat.Reader().read(REPLY)
    assert text_answer(REPLY) is not None
    for end in range(len(REPLY)):
        assert usual_reply(REPLY[:end]) is None


OPENING = {"id": "a", "model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
PIECE = {"id": "a", "choices": [{"index": 0, "delta": {"content": "Hi } ä"}, "finish_reason": None}]}
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
TOTAL = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 20}}
STREAM = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in (OPENING, PIECE, PIECE, END, TOTAL)) + "data: [DONE]\n\n"


def streamed(chunks: list[Any]) -> bytes:
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in [*chunks, "[DONE]"]).replace('"[DONE]"', "[DONE]").encode()


def passed_as_by_the_monitor(body: bytes, *, usage: bool) -> bool:
    """Whether a body passes at once, with the bytes and the facts that a monitor forwards and knows."""
    passed = usual_passing(body, usage=usage)
    if passed is not None:
        monitor = ChunkMonitor(usage=usage)
        assert passed == (monitor.feed(body), monitor.finish, monitor.usage, monitor.served)
        assert not monitor.end()
    return passed is not None


def read_as_by_the_reader(body: bytes) -> bool:
    """Whether a body is a usual stream, whose events are then those of a reader, which sees no more to come; it passes as by a
    monitor.
    """
    passed = [passed_as_by_the_monitor(body, usage=usage) for usage in (True, False)]
    assert passed[0] == passed[1]
    events = usual_stream(body)
    if events is not None:
        reader = openai_chat.Reader()
        assert events == reader.feed(body)
        assert reader.done
    return events is not None


@settings(max_examples=200)
@given(st.lists(st.one_of(st.sampled_from([OPENING, PIECE, PIECE, END, TOTAL]), CHUNKS), max_size=7), st.booleans())
def test_a_usual_stream_has_the_events_that_a_reader_gives(chunks: list[Any], opens: bool) -> None:
    """Whatever its chunks are, and in which order."""
    read_as_by_the_reader(streamed([OPENING, PIECE, *chunks, END] if opens else chunks))


@settings(max_examples=300)
@given(damaged(STREAM))
def test_a_stream_that_is_damaged_has_the_events_that_a_reader_gives(text: str) -> None:
    """With texts taken out and put in anywhere: what is not one object a line is left to the reader."""
    read_as_by_the_reader(text.encode())


def test_the_usual_streams_are_read_at_once() -> None:
    """With counts and without; not where a line holds two objects, or half of one, or where chunks are many."""
    assert read_as_by_the_reader(STREAM.encode())
    assert read_as_by_the_reader(streamed([OPENING, PIECE, END]))
    assert not read_as_by_the_reader(streamed([OPENING, *[PIECE] * 20, END]))
    assert not read_as_by_the_reader(streamed([OPENING, {**PIECE, "usage": TOTAL["usage"]}, PIECE, END]))
    two, half = json.dumps(PIECE) + "," + json.dumps(PIECE), json.dumps(PIECE).replace("Hi }", "Hi}\n\ndata: {")
    for line in (two, half, json.dumps(PIECE).replace(", ", ",\n"), json.dumps(PIECE).replace(", ", ",\r")):
        body = STREAM.replace(json.dumps(PIECE), line, 1).encode()
        assert not read_as_by_the_reader(body)
        assert not passed_as_by_the_monitor(body, usage=False)
    lines = [json.dumps(OPENING), two, half, json.dumps(END), "[DONE]"]  # as many values as lines, if a text had line ends
    assert not read_as_by_the_reader("".join(f"data: {line}\n\n" for line in lines).encode())


def test_the_usual_streams_pass_at_once() -> None:
    """Without the counts if the client did not ask for them; not with a second reply, a role again, no text, or a failure."""
    whole = STREAM.encode()
    assert usual_passing(whole, usage=True) == (whole, complete("stop"), Usage(10, 7, 20), "m")
    assert usual_passing(whole, usage=False) == (streamed([OPENING, PIECE, PIECE, END]), *usual_passing(whole, usage=True)[1:])  # type: ignore[index]
    counted = streamed([OPENING, PIECE, {**END, "usage": TOTAL["usage"]}])
    assert (usual_passing(counted, usage=False) or ())[0] == counted
    failed = {"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}
    role = {**PIECE, "choices": [{"index": 0, "delta": {"role": None, "content": None}}]}
    for chunks in (
        [OPENING, PIECE, {**OPENING, "id": "b"}, PIECE, END],
        [OPENING],
        [OPENING, PIECE, failed],
        [OPENING, PIECE, role],
    ):
        assert not passed_as_by_the_monitor(streamed(chunks), usage=True)
    assert passed_as_by_the_monitor(
        streamed([OPENING, PIECE, {**TOTAL, "usage": TOTAL["usage"] | {"total_tokens": 17}}, TOTAL]), usage=False
    )
    assert not passed_as_by_the_monitor(streamed([OPENING, {**PIECE, "obfuscation": "x" * 4096}, END]), usage=True)

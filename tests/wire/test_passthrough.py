"""Streams that pass through: what passes is what came, and what is known of it is what reading it would have told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.events import Event, Finish, Start, Usage
from polychat.wire.contract import names, wire_named
from polychat.wire.openai_chat import Reader
from polychat.wire.openai_chat.passthrough import ChunkMonitor
from polychat.wire.passthrough import Reading, StreamMonitor

from ..support.corpus import FOLDER, splits

CASES = sorted(path.stem for path in (FOLDER / "openai-chat").glob("*.chunks"))
OTHERS = sorted(
    path for name in names() if name != "openai-chat" for path in (FOLDER / name).glob("*.*")
    if path.suffix in (".sse", ".ndjson") and path.stem != "generate"
)  # fmt: skip
FORMS = {
    "lf": (b"data: ", b"\n\n"),
    "crlf": (b"data: ", b"\r\n\r\n"),
    "no space": (b"data:", b"\n\n"),
    "named": (b"event: message\ndata: ", b"\n\n"),
    "named, crlf": (b"event: message\r\nid: 7\r\ndata: ", b"\r\n\r\n"),
    "commented": (b": PROCESSING\ndata: ", b"\n\n"),
}
USAGE = b'{"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'


class Known(NamedTuple):
    """What is known of a reply."""

    verdict: str
    reason: str | None
    usage: Usage | None
    error: str


def framed(chunks: Iterable[bytes], form: str = "lf", *, done: bool = True) -> bytes:
    before, after = FORMS[form]
    return b"".join(before + chunk + after for chunk in [*chunks, *([b"[DONE]"] if done else [])])


def recorded(case: str) -> list[bytes]:
    return (FOLDER / "openai-chat" / f"{case}.chunks").read_bytes().splitlines()


def chunk(delta: Any = None, reason: str | None = None, index: int = 0, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": reason}]
    value = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": choices, **more}
    return json.dumps(value, separators=(",", ":")).encode()


def watched(monitor: StreamMonitor, pieces: Iterable[bytes]) -> bytes:
    """What passes."""
    passed = b"".join([monitor.feed(piece) for piece in pieces])
    return passed + monitor.end()


def _plain(reason: str | None) -> str | None:
    """Calls that pass unread end with the word that the backend has for it, which for many is ``stop``."""
    return "stop" if reason == "tool_calls" else reason


def known(monitor: StreamMonitor) -> Known:
    assert monitor.finish is not None
    error = monitor.finish.error
    return Known(monitor.finish.verdict, _plain(monitor.finish.reason), monitor.usage, type(error).__name__ if error else "")


def read(reader: Any, body: bytes) -> Known:
    """What reading it tells."""
    events: list[Event] = [*reader.feed(body), *reader.end()]
    (finish,) = [event for event in events if isinstance(event, Finish)]
    usage = next((event for event in reversed(events) if isinstance(event, Usage)), None)
    return Known(finish.verdict, _plain(finish.reason), usage, type(finish.error).__name__ if finish.error else "")


def agree(body: bytes, pieces: Iterable[bytes], *, passed: bytes | None = None, usage: bool = True) -> ChunkMonitor:
    monitor = ChunkMonitor(usage=usage)
    assert watched(monitor, pieces) == (body if passed is None else passed)
    assert known(monitor) == read(Reader(), body)
    return monitor


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_recorded_streams(case: str, form: str) -> None:
    """Of every vendor, cut anywhere: each byte passes, and verdict, reason and usage are what the reader finds."""
    body = framed(recorded(case), form)
    chosen = list(splits(body))
    for pieces in chosen if form in ("lf", "named, crlf") and len(body) < 4000 else chosen[:60]:
        agree(body, pieces)


@pytest.mark.parametrize("case", CASES)
def test_recorded_streams_without_a_mark_at_the_end(case: str) -> None:
    """Some servers close without ``[DONE]``: a reason to end is an end too."""
    chunks = recorded(case)
    for body in (framed(chunks, done=False), framed(chunks, "crlf", done=False), framed(chunks, done=False).rstrip()):
        for pieces in list(splits(body))[:80]:
            agree(body, pieces)


@pytest.mark.parametrize("form", FORMS)
def test_usage_that_was_not_asked_for(form: str) -> None:
    """Is counted and not passed; all else passes, wherever the network cuts."""
    chunks = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hallo"}), chunk({}, "stop")]
    body, expected = framed([*chunks, USAGE], form), framed(chunks, form)
    for pieces in splits(body):
        monitor = agree(body, pieces, passed=expected, usage=False)
        assert monitor.usage == Usage(3, 2, 5)
    agree(body, [body], usage=True)


@pytest.mark.parametrize("form", FORMS)
def test_words_behind_an_end_pass_once(form: str) -> None:
    """Chunks behind the one with the reason pass once, and none is held, however the network cuts them."""
    body = framed([chunk({"content": "Hallo"}, "length"), chunk({"content": " Welt"}), chunk({"content": "!"})], form)
    for size in range(1, 40):
        agree(body, [body[at : at + size] for at in range(0, len(body), size)])


def test_usage_beside_words() -> None:
    """Passes whatever was asked for: its chunk says more."""
    body = framed([chunk({"content": "Hallo"}, usage={"prompt_tokens": 3}), chunk({}, "stop", usage={"prompt_tokens": 3})])
    for pieces in splits(body):
        agree(body, pieces, usage=False)
    body = framed([chunk({"content": "Hallo"}, usage=None), chunk({}, "stop", usage=None)])
    for pieces in splits(body):
        agree(body, pieces, usage=False)


@pytest.mark.parametrize("form", FORMS)
def test_each_piece_passes_at_once(form: str) -> None:
    """Nothing of a text is held back, not even half a chunk: a token is shown when it comes."""
    monitor = ChunkMonitor(usage=False)
    for data in splits(framed([chunk({"role": "assistant", "content": ""}), chunk({"content": "Hallo"})], form, done=False)):
        monitor = ChunkMonitor(usage=False)
        for piece in data:
            assert monitor.feed(piece) == piece


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "The server had an error", "type": "server_error", "code": None}},
        {"error": {"message": "too many", "type": "rate_limit_error", "code": "rate_limit_exceeded"}},
        {"error": "plain words"},
        {"object": "error", "message": "of an older vLLM", "code": 400},
        {"message": "of nobody in particular"},
        {"id": "c", "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]},
    ],
)
def test_errors_amid_a_stream(error: dict[str, Any], end: bool, form: str) -> None:
    """A stream that says it failed has failed, whatever comes after; the client gets to read what was said."""
    failing = json.dumps(error).encode()
    before = [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hal"})]
    body = framed([*before, failing], form, done=end)
    for pieces in splits(body):
        monitor = agree(body, pieces, passed=framed([*before, failing], form, done=False))
        assert monitor.finish is not None
        assert monitor.finish.verdict == "failed"
        assert monitor.error_forwarded


def test_an_error_that_breaks_off() -> None:
    """Is no error that a client could read: it was not told."""
    whole = framed([chunk({"content": "Hal"})], done=False) + b'data: {"error":{"message":"overloaded"}}'
    for pieces in splits(whole):
        monitor = ChunkMonitor(usage=True)
        watched(monitor, pieces)
        assert known(monitor).verdict == "failed"
        assert not monitor.error_forwarded


@pytest.mark.parametrize("form", FORMS)
def test_broken_off_anywhere(form: str) -> None:
    """A stream that ends before a reason came is truncated, and what had passed is a beginning of what came."""
    body = framed([chunk({"role": "assistant", "content": ""}), chunk({"content": "Hallo"}), chunk({}, "stop")], form)
    complete = 0
    for end in range(len(body) + 1):
        part = body[:end]
        for pieces in ([part], [part[: end // 2], part[end // 2 :]], [part[i : i + 1] for i in range(end)]):
            monitor = ChunkMonitor(usage=True)
            passed = watched(monitor, pieces)
            assert part.startswith(passed)
            assert known(monitor).verdict == read(Reader(), part).verdict, part
            assert known(monitor).verdict == "truncated" or passed == part
        complete += known(monitor).verdict == "complete"
    assert complete >= 10


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [chunk({"role": "assistant", "content": ""})],
        [chunk({"role": "assistant", "content": None}), chunk({"content": ""})],
        [chunk({"role": "assistant"}), USAGE],
    ],
)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("done", [True, False])
def test_streams_without_a_word(chunks: list[bytes], form: str, done: bool) -> None:
    """Nothing said and no reason given is no answer, though it end as it should."""
    body = framed(chunks, form, done=done)
    assert read(Reader(), body).verdict == ("failed" if done else "truncated")
    for pieces in splits(body):
        monitor = ChunkMonitor(usage=True)
        watched(monitor, pieces)
        assert known(monitor) == read(Reader(), body)


def test_comments_alone() -> None:
    """Signs of life are no answer."""
    for body in (b": PROCESSING\n\n" * 3, b": PROCESSING\n\n" * 3 + b"data: [DONE]\n\n"):
        for pieces in splits(body):
            monitor = ChunkMonitor(usage=True)
            watched(monitor, pieces)
            assert known(monitor) == read(Reader(), body)


@pytest.mark.parametrize(
    "reason",
    [
        {"content": "Hallo"},
        {"reasoning_content": "Hm"},
        {"reasoning": "Hm"},
        {"refusal": "No"},
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"content": [{"type": "text", "text": "of Mistral"}]},
    ],
)
def test_no_reason_but_an_end(reason: Any) -> None:
    """Whatever was said counts, where ``[DONE]`` came and no reason did."""
    body = framed([chunk({"role": "assistant", "content": None}), chunk(reason)])
    for pieces in splits(body):
        assert agree(body, pieces).finish == Finish("complete")


@pytest.mark.parametrize("form", FORMS)
def test_who_answers(form: str) -> None:
    """The model that the backend names is known, wherever the network cuts."""
    body = framed([chunk({"role": "assistant", "content": ""}), chunk({"content": "Hallo"}), chunk({}, "stop")], form)
    for pieces in splits(body):
        assert agree(body, pieces).served == "m"


@pytest.mark.parametrize("form", FORMS)
def test_who_answers_first(form: str) -> None:
    """A stream has one model, whatever later chunks name: some servers put another name into the last."""
    begin, piece, end = chunk({"role": "assistant"}), chunk({"content": "Hallo"}), chunk({}, "stop")
    body = framed([begin, *(later.replace(b'"m"', b'"other"') for later in (piece, end))], form)
    assert body.count(b'"other"') == 2
    for pieces in splits(body):
        assert agree(body, pieces).served == "m"


def test_after_the_end() -> None:
    """What comes behind ``[DONE]`` is nobody's."""
    body = framed([chunk({"content": "Hallo"}), chunk({}, "stop")])
    for pieces in splits(body + b"data: more\n\nand more"):
        assert watched(ChunkMonitor(usage=True), pieces) == body


def test_marks_within_a_text() -> None:
    """A model may write of all this: its quotes are escaped, and its words are no end."""
    words = 'data: [DONE]\n\n"finish_reason":"stop" "error": {"usage":{"prompt_tokens":1}} \\"error\\":'
    call = {"name": "f", "arguments": json.dumps({"words": words})}
    for delta in ({"content": words}, {"tool_calls": [{"index": 0, "id": "c", "function": call}]}):
        body = framed([chunk(delta), chunk({"content": "more"}), chunk({}, "stop")])
        for pieces in splits(body):
            assert agree(body, pieces).finish == Finish("complete", "stop")


def test_a_line_without_end() -> None:
    """After its end began a stream is held a chunk at a time, and a chunk has its bounds."""
    monitor = ChunkMonitor(usage=False)
    monitor.feed(framed([chunk({"content": "Hallo"}), chunk({}, "stop")], done=False))
    for _ in range(9):
        monitor.feed(b"data: " + b"x" * 1024 * 1024)
    assert monitor.finish is not None
    assert monitor.finish.verdict == "failed"
    assert "line of more than" in str(monitor.finish.error)


WORDS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["[DONE]", '"finish_reason":"stop"', "\n\n", '"error":']
)
DELTAS = st.one_of(
    st.builds(lambda words: {"content": words}, WORDS),
    st.builds(lambda words: {"role": "assistant", "content": words}, WORDS),
    st.builds(lambda words: {"reasoning_content": words}, WORDS),
    st.builds(lambda words: {"refusal": words}, WORDS),
    st.builds(lambda words: {"tool_calls": [{"function": {"name": "f", "arguments": json.dumps({"words": words})}}]}, WORDS),
    st.just({}),
)
REASONS = st.sampled_from(["stop", "length", "tool_calls", "eos", "content_filter", "odd"])
TOKENS = st.fixed_dictionaries({"prompt_tokens": st.integers(0, 99), "completion_tokens": st.integers(0, 99)})


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], bool]:
    """Chunks as a server might send them, and whether it says that it is done."""
    several = draw(st.integers(1, 3))
    chunks = [
        (draw(DELTAS), None, draw(st.integers(0, several - 1)), {"usage": None} if draw(st.booleans()) else {})
        for _ in range(draw(st.integers(0, 6)))
    ]
    done = draw(st.booleans()) or several > 1
    if draw(st.integers(0, 9)):
        for index in range(several):
            last = {"x_groq": {"usage": draw(TOKENS)}} if draw(st.integers(0, 4)) == 0 else {}
            chunks.append((draw(DELTAS), draw(REASONS), index, last))
    chunks = [(json.loads(json.dumps(delta)), *more) for delta, *more in chunks]
    for number, (delta, *_) in enumerate(chunks):
        for call in delta.get("tool_calls", []):
            call |= {"index": number, "id": f"call_{number}"}
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    ascii_only = draw(st.booleans())
    sent_chunks: list[dict[str, Any]] = [
        {"id": "c", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": reason}], **more}
        for delta, reason, index, more in chunks
    ]
    if draw(st.booleans()):
        sent_chunks.append({"id": "c", "choices": [], "usage": draw(TOKENS)})
    if draw(st.integers(0, 9)) == 0:
        sent_chunks.append({"error": {"message": draw(WORDS), "type": "server_error"}})
    return [json.dumps(one, separators=separators, ensure_ascii=ascii_only).encode() for one in sent_chunks], done


@settings(max_examples=100)
@given(streams(), st.sampled_from(sorted(FORMS)), st.booleans(), st.lists(st.integers(0, 3000), max_size=8), st.booleans())
def test_streams_of_any_making(made: tuple[list[bytes], bool], form: str, usage: bool, cuts: list[int], short: bool) -> None:
    """Verdict, reason and usage are the reader's, and what passes is what came but for usage that was not asked for."""
    chunks, done = made
    body = framed(chunks, form, done=done)
    several = any(re.search(rb'"index": ?[12]', one) for one in chunks)  # unread chunks tell of none but the first
    if short and not several:
        body = body[: cuts[0] if cuts else len(body) // 2]
    places = sorted({cut for cut in cuts if 0 < cut < len(body)})
    pieces = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    monitor = ChunkMonitor(usage=usage)
    passed = watched(monitor, pieces)
    assert known(monitor) == read(Reader(), body)
    if usage and known(monitor).verdict == "complete":
        assert passed == body
    elif known(monitor).verdict == "complete":
        dropped = [one for one in chunks if b'"choices":[]' in one or b'"choices": []' in one]
        assert passed in (
            body,
            framed([one for one in chunks if one not in dropped], form, done=done),
            body.replace(framed(dropped, form, done=False), b""),
        )
    else:
        assert body.startswith(passed) or not usage


def reader_of(path: Path) -> Any:
    return wire_named(path.parent.name).Reader()


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_any_wire(path: Path) -> None:
    """Every byte passes as it comes, and what is known of it is what the wire's reader finds."""
    body = path.read_bytes()
    expected = read(reader_of(path), body)
    for pieces in list(splits(body))[:100]:
        monitor = Reading(reader_of(path))
        assert [monitor.feed(piece) for piece in pieces] == pieces
        assert monitor.end() == b""
        assert known(monitor) == expected
        start = next((event for event in reader_of(path).feed(body) if isinstance(event, Start)), None)
        assert monitor.served == (start and start.model)


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_any_wire_broken_off(path: Path) -> None:
    """A stream that stops before its end is what its reader says, and was not told by the bytes."""
    body = path.read_bytes()
    for part in (body[: len(body) // 3], body[: len(body) * 2 // 3], b""):
        monitor = Reading(reader_of(path))
        watched(monitor, [part])
        assert known(monitor) == read(reader_of(path), part)
        if known(monitor).verdict == "truncated":
            assert not monitor.error_forwarded


def test_what_the_bytes_show() -> None:
    """An error event tells the client; nonsense does not, though it ends the reply as well."""
    error_forwarded = Reading(wire_named("anthropic").Reader())
    error_forwarded.feed((FOLDER / "anthropic" / "overloaded.sse").read_bytes())
    assert known(error_forwarded).verdict == "failed"
    assert error_forwarded.error_forwarded
    nonsense = Reading(wire_named("anthropic").Reader())
    nonsense.feed(b"event: message_start\ndata: {nonsense}\n\n")
    assert known(nonsense).verdict == "failed"
    assert not nonsense.error_forwarded
    empty = Reading(Reader())
    empty.feed(framed([chunk({"role": "assistant", "content": ""})]))
    assert known(empty).error == "EmptyReply"
    assert not empty.error_forwarded


@pytest.mark.parametrize("choices", [{"a": 1}, {"a": {"delta": {"role": "assistant", "content": ""}}}, "x", 7, [None], [[]]])
def test_choices_of_another_shape(choices: Any) -> None:
    """A chunk whose choices are no list of objects never raises, wherever it stands: it is read as one that says nothing, or
    ends the reply as unreadable, and the reply has its verdict.
    """
    piece = {"id": "a", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}
    odd = {"id": "b", "choices": choices}
    for values in ([odd, piece], [piece, odd], [piece, {**odd, "finish_reason": "stop"}], [piece, {**odd, "usage": {}}]):
        chunks = [b"data: %b\n\n" % json.dumps(value, separators=(",", ":")).encode() for value in values]
        for pieces in ([b"".join(chunks)], chunks, [b"".join(chunks) + b"data: [DONE]\n\n"], [*chunks, b"data: [DONE]\n\n"]):
            monitor = ChunkMonitor(usage=False)
            for each in pieces:
                monitor.feed(each)
            monitor.end()
            assert monitor.finish is not None

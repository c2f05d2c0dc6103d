"""Ollama's replies, read: what its documentation shows, at every split and cut, and what no server should send."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadReply, EmptyReply, ReplyFailed, Truncated
from polychat.events import Finish, Logprobs, Media, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.types import Opaque
from polychat.wire.limits import ReaderLimits
from polychat.wire.ollama import Reader, read_fault, read_reply

from ...support.corpus import FOLDER, splits
from ...support.read_replies import ReadReply, merged, read_pieces

STREAMS = ("chat.ndjson", "tools.ndjson", "generate.ndjson", "error.ndjson")


def corpus(name: str) -> bytes:
    return (FOLDER / "ollama" / name).read_bytes()


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def chat(message: Any, **beside: Any) -> dict[str, Any]:
    return {"model": "m", "created_at": "t", "message": message, "done": False, **beside}


DONE = chat({"role": "assistant", "content": ""}, done=True, done_reason="stop")


def read(*values: Any, **options: Any) -> ReadReply:
    return read_pieces(Reader(**options), [lines(*values)])


@pytest.mark.parametrize("name", STREAMS)
def test_cuts_of_the_network_do_not_show(name: str) -> None:
    """A published stream reads the same however its bytes come."""
    body = corpus(name)
    whole = merged(read_pieces(Reader(), [body]))
    for pieces in splits(body):
        assert merged(read_pieces(Reader(), pieces)) == whole


def test_a_streamed_chat() -> None:
    """Its model, its text, its counts; an end without a reason is one all the same."""
    reader = Reader()
    reply = read_pieces(reader, [corpus("chat.ndjson")])
    assert reply.events == [Start(None, "llama3.2"), Text("The"), Usage(26, 282, 308), Finish("complete")]
    assert reader.durations["total_duration"] == 4883583458
    assert reader.durations["eval_duration"] == 4535599000


def test_a_streamed_call() -> None:
    """A call comes whole, gets an id where it has none, and is the reason although the wire says stop."""
    reply = read_pieces(Reader(), [corpus("tools.ndjson")])
    call = ToolCallPiece(0, "call_0", "get_current_weather", '{"format":"celsius","location":"Toronto"}')
    assert reply.text == "celsius</think>"
    assert call in reply.events
    assert reply.finish == Finish("complete", "tool_calls")


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("chat.json", "Hello! How are you today?", None),
        ("schema.json", '{"age": 22, "available": false}', "stop"),
        ("tools.json", "", "tool_calls"),
        ("load.json", "", "load"),
        ("generate.json", "\n  if a == 0:", "stop"),
        ("generate.ndjson", "That's a fantastic question!", "stop"),
    ],
)
def test_whole_replies(name: str, text: str, reason: str | None) -> None:
    """Published whole replies, and lines where one object was due, read as what they say."""
    reply = ReadReply(read_reply(corpus(name)))
    assert reply.text.startswith(text)
    assert reply.finish == Finish("complete", reason)


@pytest.mark.parametrize("name", STREAMS)
def test_no_cut_passes_for_an_end(name: str) -> None:
    """Cut anywhere before its last line is whole, a stream is truncated, and what came of the text was handed over."""
    body = corpus(name)
    whole = read_pieces(Reader(), [body])
    for cut in range(len(body.rstrip())):
        reply = read_pieces(Reader(), [body[:cut]])
        assert reply.finish.verdict == "truncated"
        assert isinstance(reply.error, Truncated)
        assert whole.text.startswith(reply.text)
    assert read_pieces(Reader(), [body.rstrip()]).finish == whole.finish or whole.finish.error is not None


@pytest.mark.parametrize("name", ["chat.json", "tools.json", "generate.json", "load.json"])
def test_no_cut_of_a_whole_reply_is_complete(name: str) -> None:
    """Half an object is never a reply."""
    body = corpus(name).rstrip()
    for cut in range(len(body)):
        assert ReadReply(read_reply(body[:cut])).finish.verdict in ("truncated", "failed")


def test_an_error_amid_a_stream() -> None:
    """It fails with the server's words; the text before it is kept."""
    reply = read_pieces(Reader(), [corpus("error.ndjson")])
    assert reply.text == " Yes.Ican"
    assert reply.finish.verdict == "failed"
    assert isinstance(reply.error, ReplyFailed)
    assert "an error was encountered" in str(reply.error)


def test_thoughts_come_before_the_answer() -> None:
    """``thinking`` is thoughts, whether alone in a line or beside text."""
    reply = read(chat({"role": "assistant", "content": "", "thinking": "Hm"}), chat({"content": "so", "thinking": "."}), DONE)
    assert reply.events[1:-1] == [Reasoning("Hm"), Reasoning("."), Text("so")]


def test_calls_that_share_an_index_are_calls_of_their_own() -> None:
    """Some versions number all calls 0; the ids they have are kept."""
    call: dict[str, Any] = {"function": {"index": 0, "name": "f", "arguments": {}}}
    reply = read(chat({"tool_calls": [call, {**call, "id": "call_x"}]}), chat({"tool_calls": [call]}), DONE)
    pieces = [event for event in reply.events if isinstance(event, ToolCallPiece)]
    assert [(piece.index, piece.id) for piece in pieces] == [(0, "call_0"), (1, "call_x"), (2, "call_2")]
    assert reply.finish.reason == "tool_calls"


def test_images_and_probabilities() -> None:
    """Images of the answer are media of the type their first bytes tell; probabilities come as OpenAI shapes them."""
    tokens = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]
    reply = read(chat({"content": "a", "images": ["iVBORw0KGgo="]}, logprobs=tokens), DONE)
    assert reply.events[1:-1] == [Text("a"), Media(b"\x89PNG\r\n\x1a\n", "image/png"), Logprobs(tokens)]


def test_signatures_belong_to_the_named_vendor() -> None:
    """What is tagged goes back to its vendor; what is not is the vendor's that was asked."""
    reply = read(
        chat({"thinking": "a", "thinking_signature": "pc1.anthropic.s"}),
        chat({"thinking": "b", "thinking_signature": "own"}),
        chat({"tool_calls": [{"function": {"name": "f", "arguments": {}}, "signature": "pc1.gemini.x"}]}),
        DONE,
        vendor="house",
    )
    assert reply.events[1:3] == [Reasoning("a", Opaque("anthropic", "s"), 0), Reasoning("b", Opaque("house", "own"), 1)]
    assert reply.events[3] == ToolCallPiece(0, "call_0", "f", "{}", Opaque("gemini", "x"))


@pytest.mark.parametrize(("word", "reason"), [("length", "length"), ("stop", "stop"), ("unload", "unload"), ("", None)])
def test_reasons(word: str, reason: str | None) -> None:
    """Common words where there are some, else the server's own."""
    assert read(chat({"content": "x"}), chat({}, done=True, done_reason=word)).finish == Finish("complete", reason)


def test_nothing_without_a_reason_is_empty() -> None:
    """A server that reports an end without text and without a reason did not answer."""
    assert isinstance(read(chat({"content": ""}, done=True)).error, EmptyReply)


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[]",
        b"5",
        b"{}",
        b'{"message":"text"}',
        b'{"message":{"content":5}}',
        b'{"message":{"tool_calls":[{}]}}',
        b'{"message":{"tool_calls":[{"function":{"name":5}}]}}',
        b'{"message":{"tool_calls":7}}',
    ],
)
def test_what_is_no_line_of_this_wire_fails(line: bytes) -> None:
    """It is named, and what came before it is kept."""
    reply = read_pieces(Reader(), [lines(chat({"content": "a"})), line + b"\n"])
    assert reply.text == "a"
    assert isinstance(reply.error, BadReply)


def test_arguments_that_are_no_object_fail() -> None:
    """The pieces were given; the verdict tells that they are of no use."""
    reply = read(chat({"tool_calls": [{"function": {"name": "f", "arguments": [1]}}]}), DONE)
    assert ToolCallPiece(0, "call_0", "f", "[1]") in reply.events
    assert isinstance(reply.error, BadReply)


def test_blank_lines_and_what_comes_after_the_end_are_passed_over() -> None:
    """Some proxies keep a connection awake with blanks."""
    reply = read_pieces(Reader(), [b"\n \n" + lines(chat({"content": "a"})) + b"\r\n" + lines(DONE, chat({"content": "b"}))])
    assert (reply.text, reply.finish.verdict) == ("a", "complete")


@pytest.mark.parametrize(
    ("limits", "body"),
    [
        (ReaderLimits(line=50), b'{"message":' + b"x" * 60),
        (ReaderLimits(depth=4), b'{"message":{"a":[[[[1]]]]},"done":false}\n'),
        (ReaderLimits(calls=1), lines(chat({"tool_calls": [{"function": {"name": "f"}}] * 2}))),
        (ReaderLimits(arguments=5), lines(chat({"tool_calls": [{"function": {"name": "f", "arguments": {"a": "long"}}}]}))),
    ],
    ids=["line", "depth", "calls", "arguments"],
)
def test_a_hostile_server_is_not_read_for_ever(limits: ReaderLimits, body: bytes) -> None:
    """Past a limit the reply fails, and nothing more is held."""
    reader = Reader(limits=limits)
    assert isinstance(ReadReply(reader.feed(body)).error, BadReply)
    assert reader.feed(b"x" * 100) == []
    assert ReadReply(read_reply(body, limits=limits)).finish.verdict == "failed"


FIELDS = (
    *("message", "content", "thinking", "tool_calls", "function", "name", "arguments", "done", "images", "error"),
    *("response", "done_reason", "logprobs", "eval_count", "model", "id", "thinking_signature"),
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ANY, max_size=4))
def test_any_json_ends_in_a_verdict(values: list[Any]) -> None:
    """Whatever JSON comes, nothing is raised and there is one verdict."""
    read_pieces(Reader(), [lines(*values)])
    assert ReadReply(read_reply(lines(*values))).finish


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=5))
def test_any_bytes_end_in_a_verdict(pieces: list[bytes]) -> None:
    """Whatever bytes come, too."""
    assert read_pieces(Reader(), pieces).finish.verdict != "complete"
    assert ReadReply(read_reply(b"".join(pieces))).finish


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (404, b'{"error":"model \'x\' not found"}', "not_found", "model 'x' not found"),
        (400, b'{"error":"the input length exceeds the context length"}', "context_length", "the input length exceeds"),
        (503, b'{"error":"server busy, please try again."}', "overloaded", "server busy"),
        (429, b'{"error":{"message":"slow down"}}', "rate_limit", "slow down"),
        (401, b'{"error":"unauthorized","signin_url":"https://ollama.com/connect"}', "authentication", "unauthorized"),
        (502, b"<html>", "server", ""),
        (500, b"plain", "server", "plain"),
        (405, b'[{"a":1}]', "invalid_request", '[{"a":1}]'),
    ],
)
def test_refusals(status: int, body: bytes, kind: str, message: str) -> None:
    """The status says what it was, and the text where the status is silent."""
    fault = read_fault(status, body)
    assert (fault.kind, fault.status) == (kind, status)
    assert fault.message.startswith(message)

"""Replies of chat completions, in every dialect: what vendors published, whole and however the network cuts it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadReply, EmptyReply, LimitReached, ReplyFailed, Truncated
from polychat.events import (
    Citation,
    Event,
    Finish,
    Logprobs,
    Media,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCallPiece,
    Usage,
)
from polychat.types import Opaque
from polychat.wire import openai_chat as wire
from polychat.wire.limits import ReaderLimits

from ...support.corpus import splits
from ...support.random_requests import merged
from ...support.read_replies import read_pieces

FOLDER = Path(__file__).parent.parent.parent / "corpus" / "openai-chat"


def chunks(case: str) -> list[bytes]:
    return (FOLDER / f"{case}.chunks").read_bytes().splitlines()


def stream(*payloads: bytes | dict[str, Any], done: bool = True) -> bytes:
    encoded = [payload if isinstance(payload, bytes) else json.dumps(payload).encode() for payload in payloads]
    return b"".join(b"data: " + payload + b"\n\n" for payload in [*encoded, *([b"[DONE]"] if done else [])])


def delta(reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "i", "model": "m", "choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


def reply_of(body: bytes, **options: Any) -> list[Event]:
    return merged(read_pieces(wire.Reader(**options), [body]).events)


def pieces(*deltas: dict[str, Any], **options: Any) -> list[Event]:
    """What a stream of these deltas says between its start and its end."""
    events = reply_of(stream(*(delta(**one) for one in deltas), delta("stop")), **options)
    assert events[0] == Start("i", "m")
    called = any(isinstance(event, ToolCallPiece) for event in events)
    assert events[-1] == Finish("complete", "tool_calls" if called else "stop")
    return events[1:-1]


PUBLISHED: dict[str, list[Event]] = {
    "openai-text": [Start("chatcmpl-123", "gpt-4o-mini"), Text("Hello"), Finish("complete", "stop")],
    "azure-text": [
        Start("chatcmpl-test", "gpt-4"),
        Text("Hello World"),
        Usage(15, 5, 20, 0, None, 0, 0, 0),
        Finish("complete", "stop"),
    ],
    "groq-tool-call": [
        Start("chatcmpl-b610d559-f156-4aca-8827-24b4fe6af54f", "llama-3.3-70b-versatile"),
        ToolCallPiece(0, "tk85n1k4m", "weather", "{}"),
        Usage(210, 15, 225),
        Finish("complete", "tool_calls"),
    ],
    "mistral-thinking": [
        Start("ed56a5f5c9254b8981e89c2ecfdd6a8d", "mistral-small-latest"),
        Reasoning("Okay, the user is1."),
        Text("391"),
        Usage(28, 139, 167, 0),
        Finish("complete", "stop"),
    ],
    "deepseek-tool-call": [
        Start("6e77be01-935b-42f6-8b05-d6c763528589", "deepseek-v4-flash"),
        Reasoning("The user"),
        ToolCallPiece(0, "call_00_IhCAliIHtM9gKpgfqbBV9873", "weather", '{"location": "San Francisco"}'),
        Usage(374, 61, 435, 256, None, 17),
        Finish("complete", "tool_calls"),
    ],
    "deepseek-logprobs": [
        Start("logprobs-stream", "deepseek-chat"),
        Reasoning("Think more"),
        Text("Answer"),
        Logprobs(
            [
                {
                    "token": "Answer",
                    "logprob": -0.2,
                    "bytes": [65, 110, 115, 119, 101, 114],
                    "top_logprobs": [{"token": "Answer", "logprob": -0.2}],
                }
            ]
        ),
        Text("."),
        Logprobs([{"token": ".", "logprob": -0.05, "bytes": [46], "top_logprobs": []}]),
        Usage(3, 4, 7, 1, None, 2),
        Finish("complete", "stop"),
    ],
    "perplexity-citations": [
        Start("58cb9740-f356-49e9-b71e-a02a1376c1b9", "sonar"),
        Text("The current[2]"),
        Citation("", "https://populationstat.com/united-states/san-francisco"),
        Citation("", "https://en.wikipedia.org/wiki/San_Francisco"),
        Usage(10, 336, 346),
        Finish("complete", "stop"),
    ],
    "empty-tool-calls": [
        Start("chatcmpl-issue-20203", "test-model"),
        Reasoning("Think more..."),
        Text("Hello"),
        Finish("complete", "stop"),
    ],
    "claude-tool-call": [
        Start("msg_sanitized", "claude-haiku-4-5-20251001"),
        Text("Reading it."),
        ToolCallPiece(0, "toolu_sanitized", "read_file", '{"path": "a.txt"}'),
        Finish("complete", "tool_calls"),
    ],
}


@pytest.mark.parametrize("done", [True, False], ids=["DONE", "no-DONE"])
@pytest.mark.parametrize("case", PUBLISHED)
def test_published_streams_are_read_at_every_split(case: str, done: bool) -> None:
    """What vendors sent is read the same however it is cut, and whether or not ``[DONE]`` is behind it."""
    body = stream(*chunks(case), done=done)
    for pieces in splits(body):
        assert merged(read_pieces(wire.Reader(), pieces).events) == PUBLISHED[case]


@pytest.mark.parametrize("case", PUBLISHED)
def test_other_line_ends_spaces_and_comments_change_nothing(case: str) -> None:
    """CRLF, no space behind the colon, comments and a byte order mark are as good as none."""
    body = b"\xef\xbb\xbf" + b"".join(b": PROCESSING\r\n\r\ndata:" + one + b"\r\n\r\n" for one in [*chunks(case), b"[DONE]"])
    for pieces in ([body], [body[i : i + 1] for i in range(len(body))]):
        assert merged(read_pieces(wire.Reader(), pieces).events) == PUBLISHED[case]


@pytest.mark.parametrize("case", PUBLISHED)
def test_a_reply_is_never_complete_before_its_end(case: str) -> None:
    """Cut anywhere before the chunk with the reason is whole, a stream is truncated: not failed and not complete."""
    body = stream(*chunks(case))
    last = max(place for place, chunk in enumerate(chunks(case)) if b'finish_reason":"' in chunk)
    end = len(stream(*chunks(case)[: last + 1], done=False)) - 2
    for cut in range(len(body)):
        finish = read_pieces(wire.Reader(), [body[:cut]]).finish
        assert finish.verdict == ("truncated" if cut < end else finish.verdict), cut
        assert finish.verdict != "failed", cut
        assert (finish.error is None) == (finish.verdict == "complete")
        if finish.verdict == "truncated":
            assert isinstance(finish.error, Truncated)


def test_a_whole_reply_counts_thoughts_as_ours() -> None:
    """xAI counts thoughts beside the completion; here they are part of it."""
    assert merged(wire.read_reply((FOLDER / "xai-tool-call.json").read_bytes())) == [
        Start("acfa24c3-b556-0f2c-731e-64fb836d544b", "grok-3-mini"),
        Reasoning("First, the user is asking about the weather in San Francisco."),
        ToolCallPiece(0, "call_46427107", "weather", '{"location":"San Francisco"}'),
        Usage(307, 281, 588, 244, None, 255, 0, 0),
        Finish("complete", "tool_calls"),
    ]


def test_json_where_a_stream_was_asked_for_is_understood() -> None:
    """Some answer with one object all the same; cut, it is truncated."""
    body = (FOLDER / "xai-tool-call.json").read_bytes()
    expected = merged(wire.read_reply(body))
    for split in ([body], [body[i : i + 1] for i in range(len(body))], [b"\n", body]):
        assert merged(read_pieces(wire.Reader(), split).events) == expected
    assert read_pieces(wire.Reader(), [body[:-30]]).finish.verdict == "truncated"


def test_one_signed_thought_is_one_block() -> None:
    """OpenRouter's details are the thoughts; the same text beside them is not emitted twice, and the signature ends the
    block.
    """
    events = pieces(
        {"reasoning": "a", "reasoning_details": [{"type": "reasoning.text", "text": "a", "index": 0}]},
        {"reasoning": "b", "reasoning_details": [{"type": "reasoning.text", "text": "b", "index": 0}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "", "signature": "s", "index": 0}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "e", "id": "r1", "index": 1}]},
        {"content": "x"},
        vendor="openrouter",
    )
    assert events == [
        Reasoning("ab", Opaque("openrouter", "s")),
        Reasoning("", Opaque("openrouter", "e", "r1", True), 1),
        Text("x"),
    ]


def test_a_detail_with_fields_of_its_own_is_kept_whole() -> None:
    """What must go back as it came does, signed or not; the block ends where the answer begins."""
    detail = {"type": "reasoning.summary", "summary": "so", "format": "openai-responses-v1", "index": 0}
    thought, text = pieces({"reasoning_details": [detail]}, {"content": "x"}, vendor="openrouter")
    assert isinstance(thought, Reasoning)
    assert thought.text == "so"
    assert thought.opaque is not None
    assert json.loads(thought.opaque.data) == {name: value for name, value in detail.items() if name != "summary"}
    assert text == Text("x")


def test_a_late_signature_belongs_to_its_block() -> None:
    """A signature that comes behind the first words of the answer is emitted with the block it signs."""
    events = pieces(
        {"reasoning_details": [{"type": "reasoning.text", "text": "a", "format": "f", "index": 0}]},
        {"content": "x"},
        {"reasoning_details": [{"type": "reasoning.text", "signature": "s", "format": "f", "index": 0}]},
    )
    last = events[-1]
    assert isinstance(last, Reasoning)
    assert last.block == 0
    assert last.opaque is not None
    assert json.loads(last.opaque.data)["signature"] == "s"


def test_another_vendors_signature_comes_back_from_behind_a_gateway() -> None:
    """What was tagged on its way out is its own vendor's again."""
    call = {"id": "c", "function": {"name": "f", "arguments": "{}"}}
    signed = {**call, "extra_content": {"google": {"thought_signature": "pc1.gemini.sig"}}}
    assert pieces({"tool_calls": [signed]}) == [ToolCallPiece(0, "c", "f", "{}", Opaque("gemini", "sig"))]
    plain = {**call, "extra_content": {"google": {"thought_signature": "sig"}}}
    assert pieces({"tool_calls": [plain]}, vendor="v") == [ToolCallPiece(0, "c", "f", "{}", Opaque("v", "sig"))]


SAID: list[tuple[list[dict[str, Any]], list[Event]]] = [
    ([{"refusal": "I "}, {"refusal": "will not"}], [Refusal("I will not")]),
    ([{"function_call": {"name": "f"}}, {"function_call": {"arguments": "{}"}}], [ToolCallPiece(0, "call_0", "f", "{}")]),
    (
        [{"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}],
        [ToolCallPiece(0, "call_0", "f", '{"a":1}')],
    ),
    (
        [
            {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]},
            {"tool_calls": [{"function": {"arguments": "}"}}]},
        ],
        [ToolCallPiece(0, "a", "f", "{}")],
    ),
    (
        [{"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]}] * 2,
        [ToolCallPiece(0, "a", "f", "{}")],
    ),
    (
        [{"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,eA=="}}]}],
        [Media(b"x", "image/png")],
    ),
    (
        [{"images": [{"type": "image_url", "image_url": {"url": "https://a.example/x.png"}}]}],
        [Citation("an image of the answer", "https://a.example/x.png")],
    ),
    ([{"audio": {"data": "eH"}}, {"audio": {"data": "h5"}}], [Media(b"xxy", "audio/pcm")]),
    ([{"images": [{"image_url": "data:image/png;base64,eA=="}]}], [Media(b"x", "image/png")]),
    (
        [{"tool_calls": [{"index": 0, "id": 7, "function": {"name": "f", "arguments": "{}"}}]}],
        [ToolCallPiece(0, "7", "f", "{}")],
    ),
    (
        [{"tool_calls": [{"index": 0, "id": ["7"], "function": {"name": "f", "arguments": "{}"}}]}],
        [ToolCallPiece(0, "call_0", "f", "{}")],
    ),
    (
        [{"tool_calls": [{"index": 0, "id": "a", "custom": {"name": "f", "input": "say it"}}]}],
        [ToolCallPiece(0, "a", "f", "say it", kind="custom")],
    ),
    (
        [{"audio": {"id": "a"}}, {"audio": {"transcript": "hi"}}, {"audio": {"data": "eHg="}}, {"audio": {"data": "eQ=="}}],
        [Text("hi"), Media(b"xxy", "audio/pcm")],
    ),
    (
        [{"content": "x", "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}]}],
        [Text("x"), Citation("t", "u")],
    ),
    (
        [{"annotations": [{"type": "url_citation", "url_citation": {"url": "u", "start_index": 0, "end_index": 1}}]}],
        [Citation("", "u", "", 0, 1)],
    ),
    ([{"content": [{"type": "text", "text": "a"}, {"type": "reference", "reference_ids": [1]}]}], [Text("a")]),
    ([{"reasoning": "hm"}, {"content": "x"}], [Reasoning("hm"), Text("x")]),
    ([{"content": None}, {"content": "x", "role": "assistant"}], [Text("x")]),
]  # fmt: skip


@pytest.mark.parametrize(("deltas", "expected"), SAID, ids=range(len(SAID)))
def test_what_dialects_say_beside_text(deltas: list[dict[str, Any]], expected: list[Event]) -> None:
    """Each shape of a delta becomes the event it means."""
    assert pieces(*deltas) == expected


def test_audio_that_was_cut_is_not_emitted() -> None:
    """Half of it is no sound: the reply is truncated, with the words that came."""
    body = stream(delta(audio={"transcript": "hi", "data": "eHh5"}), done=False)
    events = reply_of(body)
    assert events[1:-1] == [Text("hi")]
    assert isinstance(events[-1], Finish)
    assert events[-1].verdict == "truncated"


def test_pages_with_titles_win_over_addresses() -> None:
    """Perplexity names each page twice; it is emitted once, with its title, after the answer."""
    page = {"title": "T", "url": "https://a.example", "snippet": "s"}
    chunk = {**delta("stop", content="x"), "citations": ["https://a.example"], "search_results": [page]}
    assert reply_of(stream(chunk, done=False))[1:-1] == [Text("x"), Citation("T", "https://a.example", "s")]


def test_sources_that_come_late_are_not_missed() -> None:
    """A list that comes with a plain piece of text is read."""
    chunk = {**delta(content="y"), "citations": ["https://a.example"]}
    events = reply_of(stream(delta(content="x"), chunk, delta("stop")))
    assert Citation("", "https://a.example") in events


def test_several_answers_keep_apart() -> None:
    """Pieces, calls and reasons are their own choice's."""
    both = [
        {"id": "i", "choices": [{"index": number, "delta": {"content": text}} for number, text in ((1, "b"), (0, "a"))]},
        {"choices": [{"index": 1, "delta": {"content": "B"}, "finish_reason": "length"}]},
    ]
    assert reply_of(stream(*both, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, done=False)) == [
        Start("i"),
        Text("b", 1),
        Text("a"),
        Text("B", 1),
        Finish("complete", "stop", others={1: "length"}),
    ]
    assert read_pieces(wire.Reader(), [stream(*both, done=False)]).finish.verdict == "truncated", "the first has not ended"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        *[("stop", "stop"), ("length", "length"), ("function_call", "tool_calls"), ("model_length", "length")],
        *[("content_filter", "content_filter"), ("sensitive", "content_filter"), ("recitation", "recitation")],
    ],
)
def test_reasons_in_common_words(word: str, reason: str) -> None:
    """A word there is a common one for becomes that; others stay as they are. All are complete."""
    finish = read_pieces(wire.Reader(), [stream(delta(word, content="x"))]).finish
    assert (finish.verdict, finish.reason) == ("complete", reason)


def test_an_empty_reason_is_none() -> None:
    """Some write an empty reason into every chunk: the reply is over when a real one comes."""
    assert read_pieces(wire.Reader(), [stream(delta("", content="x"), done=False)]).finish.verdict == "truncated"


FAILURES: list[tuple[bytes, type[Exception], str | None, str]] = [
    (stream({"error": {"message": "boom", "type": "server_error"}}, done=False), ReplyFailed, "server", "boom"),
    (stream({"error": {"message": "slow down", "code": 429}}), LimitReached, "rate_limit", "slow down"),
    (stream({"error": {"message": "pay", "code": "402"}}), LimitReached, "quota", "pay"),
    (stream({"error": "boom"}), ReplyFailed, "server", "boom"),
    (stream({"object": "error", "message": "boom", "code": 400}), ReplyFailed, "invalid_request", "boom"),
    (stream({"error": {"message": "the maximum context length is 8", "code": 400}}), ReplyFailed, "context_length", "is 8"),
    (b'event: error\ndata: {"message": "boom"}\n\n', ReplyFailed, "server", "boom"),
    (stream({**delta("error", content=""), "error": {"code": 502, "message": "gone"}}), ReplyFailed, "server", "gone"),
    (stream(delta("error")), ReplyFailed, None, "ended the reply with error"),
    (stream(delta("insufficient_system_resource")), ReplyFailed, None, "insufficient_system_resource"),
    (b'[{"error": {"message": "boom", "code": 503}}]', ReplyFailed, "overloaded", "boom"),
    (b"<html>busy</html>", BadReply, None, "<html>busy"),
    (stream(b"{nope}"), BadReply, None, "{nope}"),
    (stream(b"[1]"), BadReply, None, "[1]"),
    (stream(b'"x"'), BadReply, None, "x"),
    (stream({"choices": [1]}), BadReply, None, "format"),
    (stream({"hello": 1}), BadReply, None, "hello"),
    (stream(delta(content=5)), BadReply, None, "format"),
    (stream(delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": 1}}])), BadReply, None, "format"),
    (stream(delta("stop", tool_calls=[{"id": "a", "function": {"name": "f", "arguments": "{"}}])), BadReply, None, "f are"),
    (stream(), EmptyReply, None, "sent an empty reply"),
    (stream(delta(content="")), EmptyReply, None, "sent an empty reply"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "kind", "fault", "words"), FAILURES, ids=range(len(FAILURES)))
def test_failures_inside_a_stream(body: bytes, kind: type[Exception], fault: str | None, words: str) -> None:
    """An error under status 200, what cannot be read and what is empty are failed, and the error says why."""
    for pieces in splits(body):
        reply = read_pieces(wire.Reader(), pieces)
        assert reply.finish.verdict == "failed"
        assert type(reply.error) is kind
        assert words in str(reply.error)
        assert getattr(reply.error, "kind", None) == fault


def test_what_came_before_a_failure_remains() -> None:
    """Text, pieces of calls and the count are given; arguments that were cut in a finished reply keep the reason."""
    cut = {"id": "a", "function": {"name": "f", "arguments": '{"x'}}
    usage = {"choices": [], "usage": {"prompt_tokens": 1}}
    events = reply_of(stream(delta(content="hi"), delta("tool_calls", tool_calls=[cut]), usage))
    assert events[1:-1] == [Text("hi"), ToolCallPiece(0, "a", "f", '{"x'), Usage(1)]
    finish = events[-1]
    assert isinstance(finish, Finish)
    assert (finish.verdict, finish.reason) == ("failed", "tool_calls")
    assert reply_of(stream(usage, {"error": {"message": "x"}}))[-2] == Usage(1)


def test_nothing_is_read_after_the_end() -> None:
    """What follows ``[DONE]`` in the same bytes is not looked at."""
    assert reply_of(stream(delta("stop", content="x")) + stream({"error": "late"}))[-1] == Finish("complete", "stop")


def test_usage_is_the_last_that_came() -> None:
    """Each chunk may count so far; one usage is emitted, before the end, and Groq's own place is known."""
    last = {"choices": [], "x_groq": {"usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}}
    events = reply_of(stream({**delta(content="x"), "usage": {"prompt_tokens": 5}}, delta("stop"), last))
    assert [event for event in events if isinstance(event, Usage)] == [Usage(5, 2, 7)]


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}, Usage(9, cached_tokens=4)),
        ({"prompt_tokens": 9, "cached_tokens": 4}, Usage(9, cached_tokens=4)),
        (
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2}},
            Usage(9, cached_tokens=3, cache_write_tokens=2),
        ),
        ({"prompt_tokens": "x", "completion_tokens": -1, "prompt_tokens_details": 5}, Usage()),
        ({"completion_tokens": 9, "completion_tokens_details": {"audio_tokens": 3}}, Usage(None, 9, audio_completion_tokens=3)),
    ],
)  # fmt: skip
def test_counts_of_every_dialect(counts: dict[str, Any], usage: Usage) -> None:
    """What is cached has three names; what is no count is none."""
    assert reply_of(stream({**delta("stop", content="x"), "usage": counts}))[-2] == usage


ENDLESS: list[tuple[bytes, ReaderLimits]] = [
    (b"data: " + b"x" * 99, ReaderLimits(line=50)),
    (b"{" + b" " * 99, ReaderLimits(event=50)),
    (stream(delta(content="[" * 5), b'{"a":' + b"[" * 70 + b"]" * 70 + b"}"), ReaderLimits()),
    (stream(*(delta(tool_calls=[{"index": n, "function": {"name": "f"}}]) for n in range(4))), ReaderLimits(calls=3)),
    (stream(*[delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "12"}}])] * 8), ReaderLimits(arguments=9)),
    (stream(*({"choices": [{"index": n, "delta": {"content": "x"}}]} for n in range(4))), ReaderLimits(calls=3)),
    (stream(*(delta(audio={"data": "x" * 20}) for _ in range(4))), ReaderLimits(event=70)),
    (stream(*(delta(reasoning_content="x" * 20) for _ in range(4))), ReaderLimits(event=70)),
]  # fmt: skip


@pytest.mark.parametrize(("body", "limits"), ENDLESS, ids=range(len(ENDLESS)))
def test_a_hostile_server_cannot_use_up_memory(body: bytes, limits: ReaderLimits) -> None:
    """Past a limit the reply is failed, at once."""
    reader = wire.Reader(limits=limits)
    events = reader.feed(body)
    assert reader.done
    assert isinstance(events[-1], Finish)
    assert events[-1].verdict == "failed"
    assert isinstance(events[-1].error, BadReply)


PLACES = ["choices", "delta", "message", "content", "tool_calls", "function", "reasoning_details", "images", "audio", "usage"]
NAMES = [*PLACES, "index", "id", "error", "type", "annotations", "citations", "search_results", "x_groq", "finish_reason"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=15,
)
CHUNKS = st.fixed_dictionaries({"choices": st.lists(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4), max_size=2)})


@settings(max_examples=100, deadline=None)
@given(st.lists(CHUNKS | JSON, max_size=4))
def test_no_json_breaks_the_readers(values: list[Any]) -> None:
    """Whatever chunks a hostile server sends, there is one finish and no exception; the same of a whole reply."""
    payloads = [json.dumps(value).encode() for value in values]
    assert read_pieces(wire.Reader(), [stream(*payloads)]).finish
    for payload in payloads:
        events = wire.read_reply(payload)
        assert [type(event) for event in events].count(Finish) == 1
        assert isinstance(events[-1], Finish)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"data: ", b"\n\n", b"{", b'"choices":', b"[DONE]"]), max_size=8))
def test_no_bytes_break_the_readers(pieces: list[bytes]) -> None:
    """Whatever bytes come, there is one finish and no exception."""
    assert read_pieces(wire.Reader(), pieces).finish
    assert isinstance(wire.read_reply(b"".join(pieces))[-1], Finish)

"""Gemini's replies read: the vendor's own, at every cut, in both framings, and what hostile servers send in their place."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from polychat.errors import BadReply, EmptyReply, LimitReached, ReplyFailed, Truncated
from polychat.events import Citation, Event, Finish, Logprobs, Media, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.types import Opaque
from polychat.wire import gemini
from polychat.wire.json_text import encoded

from ...support.corpus import splits
from ...support.gemini_samples import FRAMINGS, STREAMS, candidate, corpus, read_chunks
from ...support.random_requests import merged
from ...support.read_replies import read_pieces

SIGNATURE = "CiIBVKhc7vB+vaaq6rA/KC79Ts7iXagIOA4EBOyBFDpl+pxPCmcBVKhc7gYyIw6X"


# What the vendor publishes.

CODE = (
    '{"executableCode":{"language":"PYTHON","code":"prime_numbers = [2, 3, 5, 7, 11]\\nsum_of_primes = sum(prime_numbers)\\n'
    "print(f'The sum of the first 5 prime numbers is: {sum_of_primes}')\\n\"}}"
)
RAN = '{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"The sum of the first 5 prime numbers is: 28\\n"}}'

SAID: dict[str, list[Event]] = {
    "stream-text.sse": [
        Start(None, "gemini-3.1-flash-lite"),
        Text("The capital of Wyoming is **Cheyenne**.\n"),
        Usage(7, 10, 17),
        Finish("complete", "stop"),
    ],
    "stream-thoughts-call.sse": [
        Start("48SHaPHpHKbG-8YPtZCawAk", "gemini-2.5-flash"),
        Reasoning(
            "**Calculating the Days**\n\nI've determined the user's request involves calculating the days until New Year's Eve."
            "\n\n\n**Determining the Approach**\n\nI'm now zeroing in on the best method.\n\n\n"
        ),
        ToolCallPiece(0, "call_48SHaPHpHKbG-8YPtZCawAk_0_0", "now", "{}", Opaque("gemini", SIGNATURE)),
        Usage(38, 174, 212, reasoning_tokens=168),
        Finish("complete", "tool_calls"),
    ],
    "stream-signed-text.sse": [
        Start("tTCwacuEBMvnitYP06qsgQY", "gemini-3.1-flash-lite-preview"),
        Text("Hello! How can I help you today?"),
        Reasoning("", Opaque("gemini", "AY89a18iOcFus5wr5bW5xN6zZ4aUiCyhgmg6HE2YjtYDV/dwZ5oZlZHeTmiUKv34qq0=")),
        Usage(1, 9, 10),
        Finish("complete", "stop"),
    ],
    "stream-code.sse": [
        Start("RUy4aObyJcTujrEPqtKYKQ", "gemini-2.5-flash"),
        Text(" sum using a Python tool:\n\n"),
        Reasoning("", Opaque("gemini", CODE, redacted=True), 0),
        Reasoning("", Opaque("gemini", RAN, redacted=True), 1),
        Text("The sum of the first 5 prime numbers is 28."),
        Usage(264, 221, 485, reasoning_tokens=95),
        Finish("complete", "stop"),
    ],
    "stream-recitation.sse": [
        Start(None, "gemini-3.1-flash-lite"),
        Text("text1text4"),
        Citation("", "https://www.google.com/"),
        Citation("", "https://www.google.com/"),
        Usage(9, 261, 270),
        Finish("complete", "content_filter"),
    ],
}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("name", SAID)
def test_published_streams_are_read(name: str, framing: str) -> None:
    """At every cut the same, as events with either line end and as an array."""
    for pieces in splits(FRAMINGS[framing](corpus(name))):
        assert merged(read_pieces(gemini.Reader(), pieces).events) == SAID[name]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_prompt_that_is_blocked_is_a_failure(framing: str) -> None:
    """Whatever text came before; the reason is reported, and so are the tokens."""
    for pieces in splits(FRAMINGS[framing](corpus("stream-blocked.sse"))):
        reply = read_pieces(gemini.Reader(), pieces)
        assert reply.text == "text1text2"
        assert reply.finish.verdict == "failed"
        assert "SAFETY" in str(reply.error)
        assert Usage(7, 0, 7) in reply.events


def test_published_whole_replies_are_read() -> None:
    """A call without an id gets one; sources know their places in characters, though the wire counts bytes."""
    assert gemini.read_reply(corpus("whole-call.json")) == [
        Start("MoL3aKnvOdDmvdIPxenVmQ4", "gemini-2.0-flash"),
        ToolCallPiece(0, "call_MoL3aKnvOdDmvdIPxenVmQ4_0_0", "rand_number", '{"seed":5}'),
        Usage(25, 5, 30),
        Finish("complete", "tool_calls"),
    ]
    events = gemini.read_reply(corpus("whole-grounded.json"))
    text = "".join(event.text for event in events if isinstance(event, Text))
    sources = [event for event in events if isinstance(event, Citation)]
    assert [text[source.start : source.end] for source in sources] == [
        "The current weather in London, United Kingdom is cloudy.",
        "The temperature is 67°F (19°C), but it feels like 75°F (24°C).",
        "There is a 0% chance of rain, and the humidity is around 41%.",
    ]
    assert [source.title[:7] for source in sources] == ["accuwea", "Weather", "Weather"]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("name", STREAMS)
def test_a_cut_stream_is_never_complete(name: str, framing: str) -> None:
    """At every byte: one end, and it is complete only once the reason was read."""
    stream = FRAMINGS[framing](corpus(name))
    for cut in range(len(stream)):
        reply = read_pieces(gemini.Reader(), [stream[:cut]])
        if reply.finish.verdict == "complete":
            assert b'"finishReason"' in stream[:cut]
            assert framing != "array" or stream[:cut].endswith(b"]")
        elif b"promptFeedback" not in stream[:cut]:
            assert isinstance(reply.error, Truncated), cut


def test_a_stream_that_is_one_object_is_read() -> None:
    """Some servers answer a stream's request with the whole."""
    for pieces in splits(corpus("whole-call.json")):
        assert read_pieces(gemini.Reader(), pieces).events == gemini.read_reply(corpus("whole-call.json"))


# Ends.


@pytest.mark.parametrize(
    ("reason", "common"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("CONTINUATION", "pause"),
        ("LANGUAGE", "LANGUAGE"),
        ("OTHER", "OTHER"),
    ],
)
def test_reasons_have_common_names(reason: str, common: str) -> None:
    """And where there is none, in the vendor's own."""
    assert read_chunks(candidate({"text": "x"}, reason=reason)).finish == Finish("complete", common)


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE"])
def test_a_call_that_cannot_be_used_is_a_failure(reason: str) -> None:
    """With what the API says of it."""
    error = read_chunks(candidate({"text": "x"}, reason=reason, finishMessage="Malformed function call: f(")).error
    assert isinstance(error, ReplyFailed)
    assert "Malformed function call" in str(error)
    assert reason in str(error)


def test_an_unknown_end_without_an_answer_is_a_failure() -> None:
    """As the API says it of an error of its own."""
    chunk = {"candidates": [{"finishReason": "OTHER", "finishMessage": "Model failed to generate content."}]}
    assert "Model failed" in str(read_chunks(chunk).error)
    assert read_chunks({"candidates": [{"finishReason": "SAFETY"}]}).finish == Finish("complete", "content_filter")


def test_nothing_at_all_is_no_answer() -> None:
    """No candidate and no reason is an empty reply; no reason is a cut one."""
    assert isinstance(read_chunks({"usageMetadata": {"promptTokenCount": 1}, "modelVersion": "m"}).error, EmptyReply)
    assert isinstance(gemini.read_reply(b"{}")[-1].error, EmptyReply)
    assert isinstance(read_chunks(candidate({"text": "x"}, reason=None)).error, Truncated)
    assert isinstance(read_chunks(candidate({"text": "x"}, reason="FINISH_REASON_UNSPECIFIED")).error, Truncated)
    assert isinstance(read_pieces(gemini.Reader(), []).error, Truncated)
    assert isinstance(read_pieces(gemini.Reader(), [b"[]"]).error, EmptyReply)
    only_message = {"candidates": [], "promptFeedback": {"blockReasonMessage": "Message"}}
    assert "Message" in str(read_chunks(only_message).error)


@pytest.mark.parametrize("framing", ["events", "array"])
def test_an_error_inside_a_stream_is_a_failure(framing: str) -> None:
    """Under status 200, after text; its own code is the status."""
    error = {"error": {"code": 429, "message": "Resource has been exhausted", "status": "RESOURCE_EXHAUSTED"}}
    stream = b"data: " + encoded(candidate({"text": "x"}, reason=None)) + b"\n\ndata: " + encoded(error) + b"\n\n"
    reply = read_pieces(gemini.Reader(), [FRAMINGS[framing](stream)])
    assert (reply.text, reply.finish.verdict) == ("x", "failed")
    assert isinstance(reply.error, LimitReached)
    assert reply.error.kind == "rate_limit"


# Parts.


def test_what_else_a_reply_holds() -> None:
    """Images, probabilities, pages that were read; thoughts in blocks; images among the thoughts are none of the answer."""
    logprobs = {
        "chosenCandidates": [{"token": "é", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "é", "logProbability": -0.5}, {"token": "a"}]}],
    }
    pages = {
        "urlMetadata": [
            {"retrievedUrl": "https://a.example/", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"},
            {"retrievedUrl": "https://b.example/", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_ERROR"},
        ]
    }
    parts = [
        {"text": "hm", "thought": True, "thoughtSignature": "cw=="},
        {"text": "so", "thought": True},
        {"inlineData": {"mimeType": "image/png", "data": "eA=="}, "thought": True},
        {"text": "é"},
        {"inlineData": {"mimeType": "image/png", "data": "aGk"}},
        {"text": "", "thoughtSignature": "cGMxLmFudGhyb3BpYy5zaWc="},
    ]
    assert read_chunks(candidate(*parts, logprobsResult=logprobs, urlContextMetadata=pages)).events == [
        Reasoning("hm", Opaque("gemini", "cw==")),
        Reasoning("so", block=1),
        Text("é"),
        Media(b"hi", "image/png"),
        Reasoning("", Opaque("anthropic", "sig"), block=2),
        Logprobs(
            [
                {
                    "token": "é",
                    "logprob": -0.5,
                    "bytes": [195, 169],
                    "top_logprobs": [
                        {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
                        {"token": "a", "logprob": 0.0, "bytes": [97]},
                    ],
                }
            ]
        ),
        Citation("", "https://a.example/"),
        Finish("complete", "stop"),
    ]


def test_further_candidates_are_distinguished() -> None:
    """Each has its text, its calls and its reason; one without a reason was cut."""
    one = {"content": {"parts": [{"text": "a"}]}}
    two = {"content": {"parts": [{"functionCall": {"name": "f"}}]}, "index": 1}
    ends = [{"finishReason": "MAX_TOKENS", "index": 0}, {"finishReason": "STOP", "index": 1}]
    reply = read_chunks({"candidates": [one, two]}, {"candidates": ends})
    assert reply.events[:-1] == [Text("a"), ToolCallPiece(0, "call_0", "f", "", choice=1)]
    assert reply.finish == Finish("complete", "length", others={1: "tool_calls"})
    assert isinstance(read_chunks({"candidates": [one, two]}, {"candidates": ends[:1]}).error, Truncated)


def test_the_same_call_twice_is_two_calls() -> None:
    """Every functionCall is whole; what has no id and no reply's id is numbered."""
    call = {"functionCall": {"name": "f", "args": {"x": 1}}}
    events = read_chunks(candidate(call, call)).events
    assert [(event.index, event.id) for event in events if isinstance(event, ToolCallPiece)] == [(0, "call_0"), (1, "call_1")]


def test_a_text_after_thoughts_ends_their_block_on_the_straight_path_too() -> None:
    """The usual chunk is read without looking at more than it has."""
    chunks = [
        candidate({"text": "a"}, reason=None),
        candidate({"text": "hm", "thought": True}, reason=None),
        candidate({"text": "b"}, reason=None),
        candidate({"text": "ah", "thought": True}, reason=None),
        candidate({"text": "c"}, usage=None),
    ]
    assert read_chunks(*chunks).events[:-1] == [Text("a"), Reasoning("hm"), Text("b"), Reasoning("ah", block=1), Text("c")]


def test_signatures_carry_the_vendor_that_was_asked() -> None:
    """A vendor that speaks this wire has its own."""
    body = encoded(candidate({"text": "", "thoughtSignature": "cw=="}))
    assert Reasoning("", Opaque("other", "cw==")) in gemini.read_reply(body, vendor="other")


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"promptTokenCount": 5, "totalTokenCount": 5}, Usage(5, 0, 5)),
        ({"promptTokenCount": 5, "thoughtsTokenCount": 2, "totalTokenCount": 7}, Usage(5, 2, 7, reasoning_tokens=2)),
        ({"promptTokenCount": 9, "cachedContentTokenCount": 4, "candidatesTokenCount": 1}, Usage(9, 1, None, 4)),
        (
            {
                "promptTokenCount": 9,
                "candidatesTokenCount": 3,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 2}, {"modality": "AUDIO", "tokenCount": 7}],
                "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 3}],
            },
            Usage(9, 3, audio_prompt_tokens=7, audio_completion_tokens=3),
        ),
    ],
)
def test_usage_is_counted_as_everywhere(counts: dict[str, Any], usage: Usage) -> None:
    """Cached tokens inside the prompt, thoughts inside the completion."""
    assert read_chunks({**candidate({"text": "x"}), "usageMetadata": counts}).events[-2] == usage


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_read_for_each_event_is_as_good_as_any(name: str, framing: str) -> None:
    """The straight path for a read that is one event gives what other cuts give, and a broken one ends it too."""
    stream = FRAMINGS[framing](corpus(name))
    ends = [
        place + len(mark)
        for mark in (b"\n\n", b"\n\r\n", b",\r\n")
        for place in range(len(stream))
        if stream[place:].startswith(mark)
    ]
    places = sorted({0, *ends, len(stream)})
    pieces = [stream[start:end] for start, end in pairwise(places)]
    assert merged(read_pieces(gemini.Reader(), pieces).events) == merged(read_pieces(gemini.Reader(), [stream]).events)
    assert isinstance(read_pieces(gemini.Reader(), [pieces[0], b"data: {\n\n"]).error, BadReply)

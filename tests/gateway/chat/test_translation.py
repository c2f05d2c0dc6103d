"""Replies that are one text are translated in one step, as they are translated otherwise."""

from __future__ import annotations

import json
import random
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polychat.backends.direct import DirectRequest
from polychat.config.settings import Limits
from polychat.events import Event, Finish, Reasoning, Refusal, Start, Text, ToolCallPiece, Usage
from polychat.gateway.chat.translation import Translation
from polychat.gateway.dialects.anthropic.dialect import Anthropic
from polychat.gateway.dialects.dialect import Dialect
from polychat.gateway.dialects.openai_chat.dialect import OpenAIChat, OpenAICompletions
from polychat.types import ChatRequest
from polychat.wire.contract import text_answers, text_streams, usual_streams, wire_named

WIRES = ["openai-chat", "anthropic", "ollama"]
DIALECTS = [OpenAIChat(), Anthropic(), OpenAICompletions()]
COUNTS = st.sampled_from([0, 3, 7, 10, None])
USAGES = st.one_of(st.none(), st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS))
TEXTS = st.builds(Text, st.one_of(st.text(min_size=1), st.sampled_from(["Hello", 'é "\\ \u2028'])))
RARE = st.sampled_from([Reasoning("hm"), Refusal("no"), ToolCallPiece(0, "c", "look", "{}"), Text("Hi", 1)])
PIECES = st.one_of(
    st.lists(TEXTS, min_size=1, max_size=1),
    st.lists(TEXTS, max_size=4),
    st.lists(st.one_of(TEXTS, RARE), max_size=3),
)
STARTS = st.builds(Start, st.sampled_from(["id", None]), st.sampled_from(["m", "a model", None]))
REASONS = st.sampled_from(["stop", "stop", "length", "content_filter", "tool_calls", "refusal", "pause", None])
BODIES = {"prompt": "Why?", "messages": [{"role": "user", "content": "Why is the sky blue?"}], "max_tokens": 9}


def direct_request(wire: str) -> DirectRequest:
    """What reads replies on this wire."""
    whole, reader = wire_named(wire).read_reply, wire_named(wire).Reader
    return DirectRequest(cast(Any, None), b"", whole, None, reader, usual_streams(wire), text_answers(wire), text_streams(wire))


def _as_sent(body: bytes) -> bytes:
    """Without a mark of estimated counts, which is the gateway's own."""
    return body.replace(b',"estimated":true', b"")


def translated(dialect: Dialect, direct: DirectRequest, body: bytes, more: dict[str, Any]) -> Any:
    """The reply for a client; ``None`` if it is no answer. Ids are the same each time."""
    random.seed(7)
    asked: Any = SimpleNamespace(
        opened=None,
        body=json.dumps({"model": "mine", **BODIES, **more}).encode(),
        runtime=SimpleNamespace(limits=Limits(), resolver=None),
        request_id="r",
    )
    inbound, translation = dialect.inbound(asked), Translation(direct)
    reply = translation.answer_stream(inbound, body) if inbound.stream else translation.answer(inbound, body)
    return None if reply is None else (re.sub(rb'"created":\d+', b"", reply[0]), *map(repr, reply[1:]))


@settings(max_examples=150, deadline=None)
@example(Start("id", "m"), [Text("Hi")], Usage(9, 2, 11), "stop", True, True)
@example(Start("id", "m"), [Text("Hi")], Usage(9, 2, 11), "stop", False, False)
@example(Start("id", "m"), [Text("Hi"), Text("!")], None, "length", True, True)
@given(STARTS, PIECES, USAGES, REASONS, st.booleans(), st.booleans())
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_text_is_translated_as_its_events_are(
    dialect: Dialect,
    wire: str,
    start: Start,
    pieces: list[Event],
    usage: Usage | None,
    reason: str | None,
    is_stream: bool,
    wants_usage: bool,
) -> None:
    """From every wire that can to every dialect, whole and streamed: the same bytes, and the same facts for the record."""
    events = [start, *pieces, *([] if usage is None else [usage]), Finish("complete", reason)]
    writer = wire_named(wire).writer(ChatRequest("m", [], stream=is_stream, stream_usage=True), "x", 1, start.model or "")
    body = _as_sent(writer.write(events) + writer.end())
    direct = direct_request(wire)
    more = {"stream": is_stream, **({"stream_options": {"include_usage": wants_usage}} if is_stream else {})}
    in_one_step, by_events = (
        translated(dialect, each, body, more)
        for each in (direct, direct._replace(text_answer=None, text_stream=None, usual_stream=None))
    )
    assert in_one_step == by_events


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("wire", ["openai-chat", "anthropic"])
@pytest.mark.parametrize("dialect", DIALECTS[:2], ids=lambda dialect: dialect.name)
def test_the_usual_text_takes_one_step(dialect: Dialect, wire: str, is_stream: bool) -> None:
    """Else nothing would be gained: no event is made of it."""
    events = [Start("id", "m"), Text("Hi"), Usage(9, 2, 11), Finish("complete", "stop")]
    writer = wire_named(wire).writer(ChatRequest("m", [], stream=is_stream, stream_usage=True), "x", 1, "m")
    body = _as_sent(writer.write(events) + writer.end())

    def fails(*_: Any) -> Any:
        raise AssertionError("it was read by events")

    direct = direct_request(wire)._replace(whole=fails, reader=fails, usual_stream=fails)
    assert translated(dialect, direct, body, {"stream": is_stream}) is not None

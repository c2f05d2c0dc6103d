"""The usual whole reply, decoded by type, and replies that nearly are one."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.events import Finish, Start, Text
from polychat.wire.anthropic import read_reply
from polychat.wire.anthropic.reply_reader import Reader
from polychat.wire.anthropic.usual_replies import text_answer, usual_reply

from ...support.anthropic_streams import USAGES
from ...support.members import MISSING, objects

BLOCKS = objects(
    type=st.sampled_from(["text", "text", "text", "text", "thinking", "tool_use", None, MISSING]),
    text=st.sampled_from(["Hello", "Hello", "é", "", None, 3, MISSING]),
    citations=st.sampled_from([MISSING, None, [], [{"title": "t", "url": "https://example.com/"}]]),
    thinking=st.sampled_from([*[MISSING] * 9, "hm"]),
)
REPLIES = objects(
    id=st.sampled_from(["m", "m", "", None, MISSING, 3]),
    type=st.sampled_from(["message", "message", "message", MISSING, "error", None]),
    role=st.sampled_from(["assistant", MISSING, None]),
    model=st.sampled_from(["c", "c", "", None, MISSING, 3]),
    content=st.one_of(st.lists(BLOCKS, min_size=1, max_size=1), st.lists(BLOCKS, max_size=2), st.none()),
    stop_reason=st.sampled_from(
        ["end_turn", "end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal", "", None, MISSING]
    ),
    stop_sequence=st.sampled_from([MISSING, None, None, "END"]),
    stop_details=st.sampled_from([*[MISSING] * 5, None, {"explanation": "no"}]),
    usage=st.one_of(st.sampled_from([MISSING, None, {}]), USAGES, USAGES),
    error=st.sampled_from([*[MISSING] * 9, {"message": "no"}]),
)
REPLY = (
    b'{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[{"type":"text","text":"Hello"}],'
    b'"stop_reason":"end_turn","stop_sequence":null,"stop_details":null,"container":null,"usage":{"input_tokens":10,'
    b'"cache_creation_input_tokens":5,"cache_read_input_tokens":2,"cache_creation":{"ephemeral_5m_input_tokens":3,'
    b'"ephemeral_1h_input_tokens":2},"output_tokens":7,"server_tool_use":null,"service_tier":"standard","inference_geo":null}}'
)


@given(reply=REPLIES)
@settings(max_examples=600, deadline=None)
def test_a_whole_reply_gives_the_events_of_reading_member_by_member(reply: dict[str, Any]) -> None:
    """Whatever members it has, lacks or has of another type."""
    body = json.dumps(reply).encode()
    events = read_reply(body)
    assert repr(events) == repr(Reader().read(body))
    if (answer := text_answer(body)) is not None:
        said = [Start(answer.id, answer.model), Text(answer.text), answer.usage, Finish("complete", answer.reason)]
        assert repr(events) == repr(said)


def test_the_usual_reply_is_of_the_type() -> None:
    """As the API sends it; else nothing would be gained. At any cut it is of no type, and read as one that was cut."""
    assert usual_reply(REPLY) == Reader().read(REPLY)
    for body in (REPLY, REPLY.replace(b"end_turn", b"max_tokens")):
        answer, events = text_answer(body), usual_reply(body)
        assert answer is not None
        said = [Start(answer.id, answer.model), Text(answer.text), answer.usage, Finish("complete", answer.reason)]
        assert events == said == Reader().read(body)
    for end in range(len(REPLY)):
        assert usual_reply(REPLY[:end]) is None

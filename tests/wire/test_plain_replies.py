"""Whole replies that are one text with counts are written in one step, as they are written otherwise."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.events import Event, Finish, Reasoning, Refusal, Start, Text, Usage
from polychat.types import ChatRequest
from polychat.wire import contract
from polychat.wire.plain_reply import plain_reply

COUNTS = st.one_of(st.none(), st.integers(0, 9))
USAGES = st.builds(Usage, *[COUNTS] * 9, st.one_of(st.none(), st.floats(0, 1)), st.booleans())
FINISHES = st.builds(
    Finish,
    st.just("complete"),
    st.sampled_from(["stop", "length", "content_filter", "tool_calls", "refusal", "pause", "own", "", None]),
    stop_sequence=st.sampled_from([None, "END"]),
)
STARTS = st.builds(Start, st.sampled_from(["id", None]), st.sampled_from(["m", None]))
REPLIES = st.tuples(STARTS, st.builds(Text, st.text(min_size=1)), USAGES, FINISHES)


@given(reply=REPLIES)
@settings(max_examples=300, deadline=None)
def test_a_plain_reply_is_written_as_its_events_are(reply: tuple[Event, ...]) -> None:
    """Whatever its text, its counts and its end."""
    plain = plain_reply(list(reply))
    assert plain is not None
    written = 0
    for name in contract.names():
        fast, usual = (contract.wire_named(name).writer(ChatRequest("m", []), "x", 1, "mine") for _ in range(2))
        if write := getattr(fast, "plain", None):
            assert write(plain) == usual.write(list(reply)) + usual.end(), name
            written += 1
    assert written > 1


def test_what_is_more_than_a_text_is_no_plain_reply() -> None:
    """Another event, another answer, another order, another end, or one event less."""
    events: list[Event] = [Start("a", "m"), Text("Hi"), Usage(1, 2, 3), Finish("complete", "stop")]
    assert plain_reply(events) is not None
    for others in (
        [*events[:2], Text("!"), *events[2:]],
        [events[0], Text("Hi", 1), *events[2:]],
        [events[0], Reasoning("Hi"), *events[2:]],
        [events[0], Refusal("Hi"), *events[2:]],
        [events[1], events[0], *events[2:]],
        [*events[:3], Finish("truncated")],
        [*events[:3], Finish("complete", "stop", others={1: "stop"})],
        events[1:],
    ):
        assert plain_reply(others) is None

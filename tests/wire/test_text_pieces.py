"""The usual piece of a translated stream is a text, which is written without an event: as it would be with one."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.events import Event, Finish, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.types import ChatRequest
from polychat.wire import contract

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
PIECES = st.one_of(TEXTS.map(Text), TEXTS.map(Reasoning), st.builds(Text, TEXTS, st.just(1)), st.just(Usage(3, 5)))
CALLS = st.lists(st.just(ToolCallPiece(0, "call_1", "now", "{}")), max_size=1)


def stream_writers(name: str) -> list[Any]:
    return [contract.wire_named(name).writer(ChatRequest("m", [], stream=True), "one", 1) for _ in range(2)]


@given(st.lists(PIECES, max_size=5), CALLS, st.lists(PIECES, max_size=5))
@settings(deadline=None)
def test_a_text_is_written_as_its_event_is(before: list[Event], calls: list[Event], after: list[Event]) -> None:
    """Wherever it comes, and so is all that follows, down to what is counted of it at the end."""
    written = 0
    for name in contract.names():
        fast, usual = stream_writers(name)
        if not hasattr(fast, "text_piece"):
            continue
        written += 1
        for event in [Start("id", "m"), *before, *calls, *after, Finish("complete", "stop")]:
            is_text = type(event) is Text and event.choice == 0
            assert (fast.text_piece(event.text) if is_text else fast.write([event])) == usual.write([event]), name
        assert fast.end() == usual.end(), name
    assert written > 1

"""The events of a reply put together: the same message however they come, and what each wire's whole reply is made of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.events import Citation, Event, Finish, Logprobs, Media, Reasoning, Refusal, Start, Text, ToolCallPiece, Usage
from polychat.types import Opaque, ToolCall
from polychat.wire.assembly import AssembledMessage, AssembledReply, ReasoningRun, TextRun
from polychat.wire.contract import names, wire_named

from ..support.random_conversations import ask_for

WORDS = st.text("aä😀", min_size=1, max_size=4)
CHOICES = st.integers(0, 2)
OPAQUES = st.none() | st.builds(Opaque, st.just("v"), st.text("xyz", min_size=1, max_size=3), st.none(), st.booleans())
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Text, WORDS, CHOICES),
    st.builds(Refusal, WORDS, CHOICES),
    st.builds(Reasoning, WORDS | st.just(""), OPAQUES, st.integers(0, 2), CHOICES),
    st.builds(ToolCallPiece, st.integers(0, 2), st.just("c"), st.just("f"), WORDS, st.none(), CHOICES),
    st.builds(Citation, WORDS, st.just("https://a.example"), choice=CHOICES),
    st.builds(Media, st.binary(max_size=2), st.just("image/png"), CHOICES),
    st.builds(Logprobs, st.lists(st.just({"token": "a", "logprob": -0.5}), max_size=2), CHOICES),
)


def assembled(events: list[Event]) -> AssembledReply:
    reply = AssembledReply()
    for event in events:
        reply.take(event)
    return reply


def content(message: AssembledMessage) -> list[Any]:
    """All that a message says, as plain values."""
    parts: list[Any] = []
    for part in message.parts:
        match part:
            case TextRun():
                parts.append(("text", message.text[part.start : part.end], part.citations))
            case ReasoningRun():
                parts.append(("thought", part.block, "".join(part.pieces), part.opaque))
            case _:
                parts.append(part)
    thoughts, refusal = (message.reasoning, message.thoughts), (message.refusal, message.text_with_refusal)
    return [parts, message.text, thoughts, refusal, message.calls, message.citations, message.media, message.logprobs]


@given(st.lists(EVENTS, max_size=12), st.data())
def test_a_message_is_the_same_whenever_somebody_looks(events: list[Event], data: st.DataObject) -> None:
    """Reading what came so far after any of the events changes nothing of what comes together in the end."""
    watched = AssembledReply()
    for event in events:
        watched.take(event)
        if data.draw(st.booleans()):
            for message in watched.choices.values():
                content(message)
    whole = assembled(events)
    assert {number: content(one) for number, one in watched.choices.items()} == {
        number: content(one) for number, one in whole.choices.items()
    }


@given(st.lists(EVENTS, max_size=12), st.data())
def test_a_message_is_the_same_in_smaller_pieces(events: list[Event], data: st.DataObject) -> None:
    """A text, a thought and a call's arguments that come letter by letter are what they are in one piece."""
    cut: list[Event] = []
    for event in events:
        if isinstance(event, Text) and data.draw(st.booleans()):
            cut += [Text(letter, event.choice) for letter in event.text]
        elif isinstance(event, Reasoning) and event.opaque is None and data.draw(st.booleans()):
            cut += [Reasoning(letter, None, event.block, event.choice) for letter in event.text]
        elif isinstance(event, ToolCallPiece) and data.draw(st.booleans()):
            first, *rest = event.arguments
            cut.append(ToolCallPiece(event.index, event.id, event.name, first, None, event.choice))
            cut += [ToolCallPiece(event.index, None, None, letter, None, event.choice) for letter in rest]
        else:
            cut.append(event)
    pieces, whole = assembled(cut), assembled(events)
    for number, message in whole.choices.items():
        assert content(pieces.choices.get(number, AssembledMessage())) == content(message)


@given(st.lists(EVENTS, max_size=12))
def test_answers_do_not_mix(events: list[Event]) -> None:
    """Each answer is what its own events alone make, and its runs of text are all of its text, in order."""
    for number, message in assembled(events).choices.items():
        alone = AssembledMessage()
        for event in events:
            if getattr(event, "choice", 0) == number:
                alone.take(event)
        assert content(message) == content(alone)
        assert "".join(message.text[run.start : run.end] for run in message.parts if isinstance(run, TextRun)) == message.text


def test_parts_stand_where_they_began() -> None:
    """Thoughts, text, calls whose pieces come mixed, and citations at the text that they support."""
    seal, source = Opaque("v", "s"), Citation("t", "u")
    reply = assembled(
        [
            *(Start("id", "m"), Reasoning("hm"), Reasoning("", seal), Reasoning("more", None, 1)),
            *(Text("a"), source, Text("b"), ToolCallPiece(0, "c0", "f", "{"), ToolCallPiece(1, "c1", "g", "")),
            *(Text("c"), ToolCallPiece(0, arguments="}"), Refusal("no"), Text("d"), Usage(1), Finish("complete", "stop")),
        ]
    )
    first = reply.first
    assert content(first)[0] == [
        *(("thought", 0, "hm", seal), ("thought", 1, "more", None), ("text", "ab", [source])),
        *(ToolCall("c0", "f", "{}"), ToolCall("c1", "g"), ("text", "cd", [])),
    ]
    assert (first.text_with_refusal, first.refusal, first.reasoning) == ("abcnod", "no", "hm\n\nmore")
    assert (reply.start, reply.usage, reply.finish) == (Start("id", "m"), Usage(1), Finish("complete", "stop"))


def test_a_signed_thought_is_over() -> None:
    """What the same block thinks behind a signature is a part of its own: the signature holds for what stood before it."""
    seal = Opaque("v", "s")
    first = assembled([Reasoning("a"), Reasoning("", seal), Reasoning("b")]).first
    assert content(first)[0] == [("thought", 0, "a", seal), ("thought", 0, "b", None)]


def test_thoughts_are_in_the_order_of_their_blocks() -> None:
    """However they came."""
    assert [thought.text for thought in assembled([Reasoning("b", None, 1), Reasoning("a")]).first.thoughts] == ["a", "b"]


def test_each_answer_has_a_reason() -> None:
    """In the order of their numbers; also one that only its end tells of, and one whose end nothing tells."""
    finish = Finish("complete", "stop", others={3: "length", 1: "stop"})
    reasons = assembled([Text("b", 2), Text("a")]).reasons(finish)
    assert list(reasons.items()) == [(0, "stop"), (1, "stop"), (2, None), (3, "length")]


@pytest.mark.parametrize("name", names())
@given(data=st.data())
def test_a_whole_reply_is_the_same_in_any_batches(name: str, data: st.DataObject) -> None:
    """What a wire writes in the end does not depend on how the events were handed over."""
    events = [*data.draw(st.lists(EVENTS, max_size=8)), Usage(1, 2, 3), Finish("complete", "length")]
    bodies = set()
    for together in (True, False):
        writer = wire_named(name).writer(ask_for(False), "one", 0)
        for batch in [events] if together else [[event] for event in events]:
            writer.write(batch)
        bodies.add(writer.end())
    assert len(bodies) == 1

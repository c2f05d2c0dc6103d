"""A reply that goes on with another target's words: what is asked, what is repeated, and what it took."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polychat.errors import BackendError, PolychatError, ReplyFailed, StatusError, Truncated
from polychat.events import Event, Finish, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.routing.continuation import (
    LONGEST,
    Part,
    Seam,
    Transcript,
    _is_repeated,
    added,
    can_continue,
    continuation_of,
    continued,
    overlap,
)
from polychat.types import ChatMessage, ChatRequest, Format, TextPart, Thinking, Tool
from polychat.wire.contract import continues

REQUEST = ChatRequest("m", [ChatMessage("user", [TextPart("Tell me")])], max_tokens=100)
CUT = Finish("truncated", error=Truncated("it broke"))


@pytest.mark.parametrize(
    ("text", "more", "new"),
    [
        ("The quick brown", " fox jumps", " fox jumps"),
        ("The quick brown ", " fox jumps", "fox jumps"),
        ("The quick brown ", "fox jumps", "fox jumps"),
        ("The quick brown", "brown fox", " fox"),
        ("The quick bro", "brown fox", "wn fox"),
        ("The quick brown", "The quick brown fox", " fox"),
        ("The quick brown fox. It", "It jumps", " jumps"),
        ("hel", "lo", "lo"),
        ("hell", "lo", "lo"),
        ("w1 w2 w3 ", "w4 w5 ", "w4 w5 "),
        ("w1 w2 w3 ", "w3 w4 ", "w4 "),
        ("日本語の文章", "の文章です", "の文章です"),
        ("長い日本語の文章", "日本語の文章です", "です"),
        ("line one\n\n", "\n\nline two", "line two"),
    ],
)
def test_seams(text: str, more: str, new: str) -> None:
    """What is repeated is left out, whole words and long ones; what two texts have in common by chance stays."""
    assert more[overlap(text, more) :] == new
    for size in (1, 3, 100):
        seam = Seam(text)
        pieces = [seam.feed(more[at : at + size]) for at in range(0, len(more), size)]
        assert "".join(pieces) + seam.end() == new


@pytest.mark.parametrize("more", ["one two three four six", "two three four five six", "six"])
def test_what_repeats_nothing_passes_at_once(more: str) -> None:
    """However long its beginning occurs in the text too: the client does not wait for the next words."""
    assert Seam("zero one two three four five seven").feed(more) == more


@given(st.text("ab \n", max_size=40), st.text("ab \n", max_size=40), st.integers(1, 5))
def test_a_seam_takes_nothing_else(text: str, more: str, size: int) -> None:
    """Only what the text ends with goes, or blanks; however the second part is cut, the same."""
    seam = Seam(text)
    new = "".join(seam.feed(more[at : at + size]) for at in range(0, len(more), size)) + seam.end()
    assert more.endswith(new)
    gone = more[: len(more) - len(new)]
    assert text.endswith(gone) or gone.isspace()


@given(st.text("ab \n", max_size=60), st.text("ab \n", max_size=60), st.integers(1, 20), st.booleans())
@example("  ", "\n ", 1, False)
def test_the_longest_repetition_is_left_out(text: str, more: str, size: int, is_anew: bool) -> None:
    """As if every length were tried; a target that begins anew is known by it, however its pieces are cut."""
    more = text + more if is_anew else more
    tried = (length for length in range(min(len(text), len(more)), 0, -1) if text.endswith(more[:length]))
    longest = next((length for length in tried if _is_repeated(text, more[:length])), None)
    if longest is not None:
        assert overlap(text, more) == longest
    seam = Seam(text)
    new = "".join(seam.feed(more[at : at + size]) for at in range(0, len(more), size)) + seam.end()
    assert new == more[overlap(text, more) :]


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("a" * 99, "a" * 100),
        ("ab" * 50, "ab" * 49 + "c"),
        ("a" * 50 + "b" + "a" * 49, "a" * 100),
        ("lorem ipsum dolor " * 6, "lorem ipsum dolor " * 6),
    ],
    ids=["one-letter", "two-letters", "a-break", "a-phrase"],
)
def test_a_seam_takes_linear_time(text: str, more: str) -> None:
    """Sixteen times as much of what a hostile target may repeat, by single characters, takes at most 32 times the time."""

    def seconds(times: int) -> float:
        whole, pieces = text * times, more * times
        begun = process_time()
        seam = Seam(whole)
        for piece in pieces:
            seam.feed(piece)
        seam.end()
        return process_time() - begun

    small = min(seconds(40) for _ in range(3))
    assert seconds(640) < 32 * small + 0.05


def test_who_may_go_on() -> None:
    """Plain text alone: no tools, schema, thoughts, probabilities, or several answers."""
    assert can_continue(REQUEST)
    for more in (
        {"tools": [Tool("f")]},
        {"format": Format("json_schema", schema={})},
        {"reasoning": Thinking("low")},
        {"logprobs": 0},
        {"n": 2},
    ):
        assert not can_continue(ChatRequest("m", REQUEST.messages, **more))  # type: ignore[arg-type]
    for event in (Reasoning("hm"), ToolCallPiece(0, "1", "f")):
        transcript = Transcript(REQUEST, lambda _: None)
        transcript.take([Text("a"), event])
        assert not transcript.can_continue(Truncated("it broke"))
    long = Transcript(REQUEST, lambda _: None)
    long.take([Text("a" * LONGEST)])
    assert long.can_continue(Truncated("it broke"))
    long.take([Text("a")])
    assert not long.can_continue(Truncated("it broke"))
    assert not Transcript(REQUEST, lambda _: None).can_continue(Truncated("it broke")), "without a word it is a retry"


@pytest.mark.parametrize("kind", ["invalid_request", "authentication", "quota", "context_length"])
def test_failures_that_another_would_have_too(kind: str) -> None:
    """Are no reason to go on."""
    transcript = Transcript(REQUEST, lambda _: None)
    transcript.take([Text("a")])
    error = ReplyFailed("no")
    error.kind = kind  # type: ignore[assignment]
    assert not transcript.can_continue(error)


def test_what_is_asked() -> None:
    """The words so far, without blanks at their end, as the last message or with the wish to go on; fewer tokens are left."""
    begun = continuation_of(REQUEST, "Once upon ", continues=True)
    assert [turn.role for turn in begun.messages] == ["user", "assistant"]
    assert begun.messages[-1].parts == [TextPart("Once upon")]
    assert begun.max_tokens == 98
    request = continuation_of(REQUEST, "Once upon ", continues=False)
    assert [turn.role for turn in request.messages] == ["user", "assistant", "user"]
    assert len(REQUEST.messages) == 1


def test_what_it_took() -> None:
    """What both counted is added; what nobody counted stays unknown."""
    both = added([Usage(3, 4, 7, cached_tokens=1), Usage(5, 6, 11, estimated=True)])
    assert both == Usage(8, 10, 18, cached_tokens=1, estimated=True)


def test_each_part_has_its_own_price() -> None:
    """It is asked for while its target is known; where one is not known, the cost of all is not. A vendor's own bill goes
    first."""
    prices: list[float | None] = [0.5, 0.25]
    for last, cost in ((Usage(5, 6, 11), 0.75), (Usage(5, 6, 11, cost=2.0), 2.5)):
        left = list(prices)
        transcript = Transcript(REQUEST, lambda _, left=left: left.pop(0))
        transcript.take([Text("one"), Usage(3, 4, 7)])
        transcript.part_is_over(transcript.part(), REQUEST)
        transcript.take([Text("two"), last])
        assert transcript.usage() == Usage(8, 10, 18, cost=cost)
    assert added([Usage(1, 1, 2, cost=1.0), Usage(1, 1, 2)]).cost is None


async def batches_of(*batches: list[Event] | PolychatError) -> AsyncGenerator[list[Event], None]:
    for batch in batches:
        if isinstance(batch, PolychatError):
            raise batch
        yield batch


async def went_on(*parts: list[list[Event] | PolychatError]) -> tuple[list[Event], list[str]]:
    """The events of a reply whose parts are these, and with which text each further part was asked for."""
    requests: list[str] = []
    left = list(parts[1:])

    async def again(error: PolychatError, text: str) -> Part:
        requests.append(text)
        if not left:
            raise BackendError("nobody is left")
        first, *rest = left.pop(0)
        assert isinstance(first, list)
        return Part(first, batches_of(*rest))

    first, *rest = parts[0]
    assert isinstance(first, list)
    events: list[Event] = []
    shown = [event for event in first if not (isinstance(event, Finish) and event.error)]
    async with aclosing(continued(first, batches_of(*rest), REQUEST, again)) as batches:
        async for batch in batches:
            events += batch
    return [*shown, *events], requests


def text_in(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


@pytest.mark.parametrize("cut", [[CUT], [Finish("failed", error=ReplyFailed("overloaded"))], Truncated("it broke")])
@pytest.mark.parametrize("at_once", [True, False])
async def test_two_parts(cut: list[Event] | PolychatError, at_once: bool) -> None:
    """One reply: one beginning, one end, no word twice, and the usage of both."""
    begun: list[Event] = [Start("1", "a"), Text("one two ")]
    first = [[*begun, *cut]] if at_once and isinstance(cut, list) else [begun, [Text("three ")], cut]
    repeated = "two three" if len(first) > 1 else "two "
    end: list[Event] = [Usage(9, 9, 18), Finish("complete", "stop")]
    second: list[list[Event] | PolychatError] = [[Start("2", "b"), Text(repeated)], [Text(" four")], end]
    events, requests = await went_on(first, second)
    assert text_in(events).split() == (["one", "two", "three", "four"] if len(first) > 1 else ["one", "two", "four"])
    assert requests == ["one two three " if len(first) > 1 else "one two "]
    assert [type(event) for event in events].count(Start) == 1
    (usage,) = [event for event in events if isinstance(event, Usage)]
    assert usage.prompt_tokens is not None
    assert usage.prompt_tokens > 9
    assert usage.estimated
    assert events[-1] == Finish("complete", "stop")


async def test_nobody_goes_on() -> None:
    """The reply is cut off as it was, with its own error."""
    events, requests = await went_on([[Text("one ")], [CUT]])
    assert events == [Text("one "), CUT]
    assert len(requests) == 1


async def test_three_parts() -> None:
    """A part that is cut off too goes on with a third; the usage is of all."""
    events, requests = await went_on(
        [[Text("one ")], [CUT]],
        [[Text("two ")], [Usage(5, 1, 6), CUT]],
        [[Text("three")], [Usage(7, 1, 8), Finish("complete")]],
    )
    assert text_in(events) == "one two three"
    assert requests == ["one ", "one two "]
    assert events[-1] == Finish("complete")


async def test_what_is_no_plain_text() -> None:
    """Is not gone on with, nor is what the request itself is to blame for."""
    for piece, error in ((Reasoning("hm"), Truncated("it broke")), (Text("b"), StatusError("no", status=401))):
        cut = Finish("failed", error=error)
        for parts in ([[Text("a"), piece], [cut]], [[Text("a"), piece, cut]]):
            events, requests = await went_on(parts)  # type: ignore[arg-type]
            assert (events[-1].error, requests) == (error, [])  # type: ignore[union-attr]


async def test_one_that_ends_well() -> None:
    """Is given as it came."""
    batches: list[list[Event] | PolychatError] = [
        [Start("1"), Text("a")],
        [Text("b")],
        [Usage(1, 1), Finish("complete", "stop")],
    ]
    events, requests = await went_on(batches)
    assert events == [Start("1"), Text("a"), Text("b"), Usage(1, 1), Finish("complete", "stop")]
    assert requests == []


@pytest.mark.parametrize(
    ("wire_name", "model", "takes"),
    [
        ("anthropic", "claude-sonnet-4-5", True),
        ("anthropic", "claude-opus-4-6", False),
        ("anthropic", "kimi-k2", False),
        ("ollama", "llama3.2", True),
        ("openai-chat", "gpt-4.1", False),
    ],
)
def test_who_takes_a_beginning(wire_name: str, model: str, takes: bool) -> None:
    """Claude up to its generation 4.5, and whatever Ollama serves; of others it is not known."""
    assert continues(wire_name, model) is takes

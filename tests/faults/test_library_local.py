"""The embedded model: answers bound by a grammar, calls of tools, thoughts apart, words that stay words, and stop texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import hypothesis
import pydantic
import pytest
from hypothesis import strategies

import polychat
from polychat.errors import BadInput, TimedOut
from polychat.events import Finish, Reasoning, Text, ToolCallPiece, Usage
from polychat.providers import Local, local
from polychat.providers._bound import Bound
from polychat.providers._stops import Stops
from polychat.types import ChatMessage, ChatRequest, TextPart, Tool, ToolCall, ToolChoice, ToolResult

from ..support.local_models import Watched, all_quiet, model_of
from ..support.local_models import smollm2 as smollm2

WEATHER = Tool("weather", "Tells the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})


def ask(choice: ToolChoice | None = None, *more: ChatMessage) -> ChatRequest:
    return ChatRequest("m", [ChatMessage("user", [TextPart("hi")]), *more], tools=[WEATHER], tool_choice=choice)


def test_a_call_of_a_tool_is_read_out_of_the_bound_answer() -> None:
    """Piece by piece; in words where the model chose so; and a cut one is reported as such, without a call."""
    bound = Bound(ask())
    answer = '{"tool": "weather", "arguments": {"city": "Oslo"}}'
    assert [event for letter in answer for event in bound.read([Text(letter)])] == []
    call, finish = bound.read([Finish("complete", "stop")])
    assert isinstance(call, ToolCallPiece)
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Oslo"})
    assert finish == Finish("complete", "tool_calls")
    words = Bound(ask())
    assert words.read([Text('{"answer": "Hello"}'), Finish("complete", "stop")]) == [Text("Hello"), Finish("complete", "stop")]
    cut = Bound(ask())
    assert cut.read([Text('{"tool": "wea'), Finish("complete", "length")]) == [Finish("complete", "length")]


@pytest.mark.parametrize(
    ("choice", "forms"),
    [
        (None, 2),
        (ToolChoice("auto"), 2),
        (ToolChoice("required"), 1),
        (ToolChoice("named", "weather"), 1),
        (ToolChoice("none"), 0),
    ],
)
def test_the_choice_of_a_tool_is_in_the_form(choice: ToolChoice | None, forms: int) -> None:
    """Words are a form of their own where the model may choose; none is no form at all."""
    bound = Bound(ask(choice))
    choices = bound.format["json_schema"]["schema"]["anyOf"] if bound.format else []
    assert len(choices) == forms
    with pytest.raises(BadInput, match="not one of the tools"):
        Bound(ask(ToolChoice("named", "other")))


def test_earlier_calls_and_results_stand_in_the_conversation() -> None:
    """As text, for a model whose template has no place for them."""
    call, result = ToolCall("1", "weather", '{"city": "Oslo"}'), ToolResult("1", [TextPart("12 degrees")], "weather")
    request = ask(None, ChatMessage("assistant", [call]), ChatMessage("tool", [result]))
    messages = Bound(request).messages(request)
    assert [one["role"] for one in messages] == ["system", "user", "assistant", "user"]
    assert messages[2]["content"] == '{"tool": "weather", "arguments": {"city": "Oslo"}}'
    assert messages[3]["content"] == "The tool weather gave: 12 degrees"


def test_thoughts_come_apart_from_the_answer() -> None:
    """Where llama.cpp tells them apart by the model's template."""
    events = local.Reader().feed(
        [
            {"choices": [{"delta": {"reasoning_content": "hm"}, "finish_reason": None}]},
            {"choices": [{"delta": {"content": "yes"}, "finish_reason": None}]},
        ]
    )
    assert events == [Reasoning("hm"), Text("yes")]


@pytest.mark.parametrize(
    "words", ["<|im_end|>", "<|im_start|>system", "<|eot_id|>", "</s>", "[INST]", "<end_of_turn>", "<|start_header_id|>"]
)
def test_control_tokens_in_a_users_words_stay_words(words: str) -> None:
    """They are not in the text that llama.cpp reads; what only looks a little like them is not touched."""
    body = local.question([{"role": "user", "content": f"a {words} b"}], {})
    assert words not in body["messages"][0]["content"]
    assert body["messages"][0]["content"].replace("\u200b", "") == f"a {words} b"
    plain = "a < b | c > d [in st] <b> </p>"
    assert local.question([{"role": "user", "content": plain}], {})["messages"][0]["content"] == plain


class City(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=12)
    size: int = pydantic.Field(ge=0, le=99999)


def weather(city: str) -> str:
    """Tells the weather of a city."""
    return city


async def test_the_real_model_answers_in_the_form_that_was_asked_for(smollm2: Path) -> None:
    """A schema and a tool that must be called: the grammar holds the smallest of models to both."""
    reply = await polychat.ask(
        "Name a city.", model="local/smollm2", schema=City, max_tokens=100, temperature=0, on_loss="refuse"
    )
    assert isinstance(reply.parsed, City)
    reply = await polychat.ask(
        "What is the weather in Oslo?",
        model="local/smollm2",
        tools=[weather],
        tool_choice="required",
        max_tokens=80,
        temperature=0,
    )
    assert (reply.reason, reply.tool_calls[0].name, reply.text) == ("tool_calls", "weather", "")
    assert set(json.loads(reply.tool_calls[0].arguments)) == {"city"}


async def test_the_real_model_reads_control_tokens_as_words(smollm2: Path) -> None:
    """The same question with one that is not broken up would be fewer tokens: a token of control is one."""
    usages = []
    for words in ("<|im_end|>", "plain"):
        reply = await polychat.ask(f"Say {words}", model="local/smollm2", max_tokens=1)
        usages.append(reply.usage.prompt_tokens if reply.usage else 0)
    assert usages[0] >= usages[1] + 5


LETTERS = strategies.text("ab", max_size=12)
STOPS = strategies.lists(strategies.text("ab", min_size=1, max_size=5), max_size=3)


def before_stop(answer: str, stops: Sequence[str]) -> tuple[str, bool]:
    """The answer before the stop text that ends first in it, the longest of those, and whether there is one."""
    for end in range(1, len(answer) + 1):
        if ended := [stop for stop in stops if answer[:end].endswith(stop)]:
            return answer[: end - max(map(len, ended))], True
    return answer, False


def could_stop(answer: str, stops: Sequence[str]) -> int:
    """How many letters at the end of the answer a stop text begins with."""
    beginnings = {stop[:size] for stop in stops for size in range(len(stop) + 1)}
    return max((size for size in range(len(answer) + 1) if answer[len(answer) - size :] in beginnings), default=0)


@hypothesis.given(pieces=strategies.lists(LETTERS, max_size=8), stops=STOPS)
def test_an_answer_ends_before_its_first_stop_text_however_it_is_cut(pieces: list[str], stops: list[str]) -> None:
    """After each piece everything has come but the longest end that may still become a stop text, and at the end that too."""
    matched, came, answer = Stops(stops), "", ""
    for piece in pieces:
        came, answer = came + matched.feed(piece), answer + piece
        expected, over = before_stop(answer, stops)
        assert matched.found == over
        assert came == (expected if over else answer[: len(answer) - could_stop(answer, stops)])
    assert came + matched.rest() == before_stop(answer, stops)[0]
    assert matched.rest() == ""


def chunk(text: str | None, reason: str | None = None, **more: object) -> dict[str, object]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": reason}], **more}


@pytest.mark.parametrize(
    "ending",
    [
        [chunk(None, "length"), None],
        [chunk(None, "stop"), None],
        [None],
        [{"error": {"message": "broken"}}],
        [{"unheard": "of"}],
    ],
)
def test_text_that_begins_like_a_stop_is_not_lost(ending: list[dict[str, object] | None]) -> None:
    """Whatever ends the answer: its limit, itself, a failure, or the caller's clock."""
    events = local.Reader(["END"]).feed([chunk("the EN"), *ending])
    assert events[:2] == [Text("the "), Text("EN")]
    assert isinstance(events[-1], Finish)
    timed = local.Reader(["END"])
    assert timed.feed([chunk("the EN")]) == [Text("the ")]
    assert timed.cut(TimedOut("total", 1.0))[0] == Text("EN")


def test_a_stop_text_ends_the_answer_with_its_count() -> None:
    """Over two chunks; the tokens are those that llama.cpp counted by then, and what comes after is not read."""
    reader = local.Reader(["END"])
    timings = {"cache_n": 2, "prompt_n": 3, "predicted_n": 4, "predicted_ms": 1.5}
    events = reader.feed([chunk("the E"), chunk("ND. More", timings=timings), chunk("more"), chunk(None, "length"), None])
    assert events == [Text("the "), Usage(5, 4, 9), Finish("complete", "stop")]
    assert reader.done


async def test_the_real_model_loses_nothing_before_a_limit_and_stops_at_once(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer cut by ``max_tokens`` amid a stop's beginning is whole; one that has the stop is not written to its limit."""
    story = [{"role": "user", "content": "Tell me a story about a fox."}]
    options = {"max_tokens": 6, "temperature": 0}
    plain = await polychat.ask(story, model="local/smollm2", **options)
    cut = await polychat.ask(story, model="local/smollm2", stop=plain.text[2:] + "?", **options)
    assert (cut.text, cut.reason, cut.usage) == (plain.text, "length", plain.usage)
    model = await model_of()
    watched = Watched(model.server)
    monkeypatch.setattr(model, "server", watched)
    stream = Local.events("smollm2", story, stop=plain.text[2:6], max_tokens=3000, temperature=0)
    async with aclosing(stream) as batches:
        events = []
        async for batch in batches:
            events += batch
            if isinstance(batch[-1], Finish):
                await all_quiet()  # before the next batch is asked for
    assert "".join(event.text for event in events if isinstance(event, Text)) == plain.text[:2]
    assert events[-1] == Finish("complete", "stop")
    usage = events[-2]
    assert isinstance(usage, Usage)
    assert usage.prompt_tokens == (plain.usage.prompt_tokens if plain.usage else 0)
    assert 0 < (usage.completion_tokens or 0) <= 6
    assert watched.chunks < 100

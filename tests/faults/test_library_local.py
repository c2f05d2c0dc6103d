"""The embedded model: answers bound by a grammar, calls of tools, thoughts apart, and words that stay words."""

from __future__ import annotations

import json
from pathlib import Path

import pydantic
import pytest

import polychat
from polychat.errors import BadInput
from polychat.events import Finish, Reasoning, Text, ToolCallPiece
from polychat.providers import local
from polychat.providers._bound import Bound
from polychat.types import Ask, TextPart, Tool, ToolCall, ToolChoice, ToolResult, Turn

from ..test_local_real import smollm2 as smollm2

WEATHER = Tool("weather", "Tells the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})


def ask(choice: ToolChoice | None = None, *more: Turn) -> Ask:
    return Ask("m", [Turn("user", [TextPart("hi")]), *more], tools=[WEATHER], tool_choice=choice)


def test_a_call_of_a_tool_is_read_out_of_the_bound_answer() -> None:
    """Piece by piece; in words where the model chose so; and a cut one is told as what it is, without a call."""
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
    found = bound.format["json_schema"]["schema"]["anyOf"] if bound.format else []
    assert len(found) == forms
    with pytest.raises(BadInput, match="none of the tools"):
        Bound(ask(ToolChoice("named", "other")))


def test_earlier_calls_and_results_stand_in_the_conversation() -> None:
    """As text, for a model whose template has no place for them."""
    call, result = ToolCall("1", "weather", '{"city": "Oslo"}'), ToolResult("1", [TextPart("12 degrees")], "weather")
    asked = ask(None, Turn("assistant", [call]), Turn("tool", [result]))
    said = Bound(asked).messages(asked)
    assert [one["role"] for one in said] == ["system", "user", "assistant", "user"]
    assert said[2]["content"] == '{"tool": "weather", "arguments": {"city": "Oslo"}}'
    assert said[3]["content"] == "The tool weather gave: 12 degrees"


def test_thoughts_come_apart_from_the_answer() -> None:
    """Where llama.cpp tells them apart by the model's template."""
    heard = local.Reader().feed(
        [
            {"choices": [{"delta": {"reasoning_content": "hm"}, "finish_reason": None}]},
            {"choices": [{"delta": {"content": "yes"}, "finish_reason": None}]},
        ]
    )
    assert heard == [Reasoning("hm"), Text("yes")]


@pytest.mark.parametrize(
    "words", ["<|im_end|>", "<|im_start|>system", "<|eot_id|>", "</s>", "[INST]", "<end_of_turn>", "<|start_header_id|>"]
)
def test_control_tokens_in_a_users_words_stay_words(words: str) -> None:
    """They do not stand in what llama.cpp reads; what only looks a little like them is not touched."""
    asked = local.question([{"role": "user", "content": f"a {words} b"}], {}, None)
    assert words not in asked["messages"][0]["content"]
    assert asked["messages"][0]["content"].replace("\u200b", "") == f"a {words} b"
    plain = "a < b | c > d [in st] <b> </p>"
    assert local.question([{"role": "user", "content": plain}], {}, None)["messages"][0]["content"] == plain


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

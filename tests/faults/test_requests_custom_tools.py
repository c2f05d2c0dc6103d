"""Kind: tools of free text (``custom``) before providers that are no API: the embedded model, and the chat sites."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from polychat.calls.info import CallInfo
from polychat.errors import BadInput
from polychat.events import Event, Finish, Text, ToolCallPiece
from polychat.providers import Aichat, ChatgptDuo, ChatGptt, GPTalk, Local, Opchatgpts
from polychat.types import ChatMessage, ChatRequest, TextPart, Tool, ToolCall, ToolResult

PATCH = '*** Begin\n"quoted" and ü'
SITES = (Aichat, ChatgptDuo, ChatGptt, GPTalk, Opchatgpts)


def request_of_tools() -> ChatRequest:
    turns = [
        *[
            ChatMessage("user", [TextPart("hi")]),
            ChatMessage("assistant", [ToolCall("c1", "apply patch", PATCH, kind="custom")]),
        ],
        *[ChatMessage("tool", [ToolResult("c1", [TextPart("done")], "apply patch")]), ChatMessage("user", [TextPart("again")])],
    ]
    return ChatRequest("m", turns, tools=[Tool("apply patch", "Patches.", kind="custom", format={"type": "text"})])


class Scripted(Local):
    """The embedded model with an answer of the test's."""

    said: list[Any]
    answer = ""

    @classmethod
    async def events(cls, model: Any, messages: Any, proxy: Any = None, **kwargs: Any) -> AsyncGenerator[list[Event], None]:
        cls.said = [messages, kwargs]
        for letter in cls.answer:
            yield [Text(letter)]
        yield [Finish("complete", "stop")]


async def test_the_embedded_model_calls_a_custom_tool() -> None:
    """It is asked for a function with one text, which comes back as that text; an earlier call is sent the same way."""
    Scripted.answer = json.dumps({"tool": "apply patch", "arguments": {"input": PATCH}})
    call_info = CallInfo("refuse")
    events = [event async for batch in Scripted.answers(request_of_tools(), call_info) for event in batch]
    calls = [event for event in events if isinstance(event, ToolCallPiece)]
    assert [(call.name, call.kind) for call in calls] == [("apply patch", "custom")] * len(calls)
    assert "".join(call.arguments for call in calls) == PATCH
    messages, settings = Scripted.said
    form = settings["response_format"]["json_schema"]["schema"]["anyOf"][0]
    assert form["properties"]["arguments"]["required"] == ["input"]
    assert json.loads(messages[2]["content"]) == {"tool": "apply patch", "arguments": {"input": PATCH}}
    assert "tools.custom" in {loss.field for loss in call_info.losses if loss.kind == "emulated"}


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.__name__)
async def test_a_chat_site_reports_that_it_has_no_tools(site: Any) -> None:
    """It is refused by name, or reported as a loss where the caller allows that; never left out in silence."""

    class Offline(site):  # type: ignore[misc]  # any of the five
        @classmethod
        async def events(cls, *args: Any, **kwargs: Any) -> AsyncGenerator[list[Event], None]:
            yield [Text("ok"), Finish("complete", "stop")]

    with pytest.raises(BadInput, match="apply patch"):
        await anext(Offline.answers(request_of_tools(), CallInfo()))
    call_info = CallInfo("allow")
    events = [event async for batch in Offline.answers(request_of_tools(), call_info) for event in batch]
    assert events == [Text("ok"), Finish("complete", "stop")]
    assert "tools.custom" in {loss.field for loss in call_info.losses if loss.kind == "dropped"}

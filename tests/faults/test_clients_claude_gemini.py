"""What Claude Code and Gemini CLI need of the doors they ask."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.events import Event, Finish, Start, Text
from polychat.wire import anthropic
from polychat.wire.anthropic.passing import Renamed
from polychat.wire.wires import wire

from ..furniture.chats import written
from ..furniture.fronts import house
from ..furniture.gateways import asking

HELLO: list[list[Event]] = [[Start("one", "m")], [Text("Hello")], [Finish("complete", "stop")]]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_passed_answer_has_the_name_that_was_asked(stream: bool) -> None:
    """Claude Code leaves out thoughts of another model than it asked for: a passed answer tells the asked name."""
    async with house("anthropic", HELLO) as (here, _):
        answer = await here.ask(*asking("anthropic", "house/m", stream=stream))
        (record,) = await here.app.recorded()
    assert record.passed
    assert record.served == "m"
    assert b'"model":"house/m"' in answer.body
    assert b'"model":"m"' not in answer.body
    assert b"Hello" in answer.body


def test_the_name_at_every_cut() -> None:
    """However the network cuts the stream; a model's longer name for itself stays."""
    body = written(anthropic, [event for batch in HELLO for event in batch], stream=True)  # type: ignore[arg-type]
    for name, told in (("ours", b'"model":"ours"'), ("", b'"model":"')):
        for at in range(len(body)):
            watch = Renamed(name)
            passed = watch.feed(body[:at]) + watch.feed(body[at:]) + watch.end()
            assert told in passed
            assert passed.endswith(body[-60:])


def test_thinking_without_a_budget() -> None:
    """Some clients turn thinking on and name no budget: the model thinks as it likes."""
    said = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "thinking": {"type": "enabled"}}
    ask = anthropic.read_request(json.dumps(said).encode())
    assert ask.reasoning is not None
    assert ask.reasoning.budget == -1


def test_what_claude_code_says_to_its_own_vendor() -> None:
    """A long user id goes to others as its hash, and the billing text not at all; on this wire both go on as they are."""
    said: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    said["metadata"] = {"user_id": "u" * 150}
    said["system"] = [{"type": "text", "text": "x-anthropic-billing-header: cc=1"}, {"type": "text", "text": "Be brief."}]
    ask = anthropic.read_request(json.dumps(said).encode())
    body = wire("openai-chat").write_request(ask)
    assert len(body["user"]) == 64
    assert "billing" not in json.dumps(body)
    assert "Be brief." in json.dumps(body)
    assert {name: anthropic.write_request(ask)[name] for name in ("system", "metadata")} == {
        name: said[name] for name in ("system", "metadata")
    }

"""``polychat ask --tools``: functions of a module are called when they are allowed, and the model gets what they give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polychat.cli.tool_functions import functions_in, result_of
from polychat.errors import BadInput
from polychat.events import Event, Finish, Text, ToolCallPiece
from polychat.types import ChatRequest, TextPart, ToolCall, ToolResult

from ..support.command import run
from ..support.scripted_vendors import ScriptedVendor

MODULE = '''
"""Tools of a test."""
import asyncio, time
from os.path import join

def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    print("noise")
    return a + b

async def later(text: str) -> dict[str, str]:
    return {"text": text}

def fail() -> None:
    raise LookupError("nothing there")

def leave() -> None:
    raise SystemExit(3)

def wait() -> None:
    time.sleep(60)

def _private(): ...
'''


@pytest.fixture
def module(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(MODULE)
    return str(tmp_path / "mine.py")


def text(result: ToolResult) -> tuple[str, bool]:
    (part,) = result.parts
    assert isinstance(part, TextPart)
    return part.text, result.is_error


def test_a_module_is_its_public_functions(module: str, tmp_path: Path) -> None:
    """Not what it imports; what is no module, has none, or fails when it is imported, is named."""
    assert list(functions_in(module)) == ["add", "later", "fail", "leave", "wait"]
    (tmp_path / "empty.py").write_text("import os")
    (tmp_path / "broken.py").write_text("1/0")
    for name, says in [
        ("empty.py", "has no public functions"),
        ("broken.py", "ZeroDivisionError"),
        ("none.py", "No such file"),
    ]:
        with pytest.raises(BadInput, match=says):
            functions_in(str(tmp_path / name))
    with pytest.raises(BadInput, match="No module named"):
        functions_in("no_such_module_at_all")


@pytest.mark.parametrize(
    ("name", "arguments", "given", "is_error"),
    [
        ("add", '{"a": 2, "b": 3}', "5", False),
        ("later", '{"text": "x"}', '{"text":"x"}', False),
        ("fail", "", "LookupError: nothing there", True),
        ("leave", "{}", "SystemExit: 3", True),
        ("wait", "{}", "it has not returned within 0.01 s", True),
        ("add", '{"a": "two"}', 'a is "two", which is not of type integer', True),
        ("add", "{", "the arguments are not JSON", True),
        ("none", "{}", "there is no tool none", True),
    ],
)
def test_the_model_gets_a_value_or_what_went_wrong(module: str, name: str, arguments: str, given: str, is_error: bool) -> None:
    """A function that raises, leaves or never returns ends neither the command nor the conversation."""
    result = result_of(
        ToolCall("1", name, arguments), functions_in(module), is_allowed=True, seconds=0.01 if name == "wait" else 30
    )
    assert text(result)[0].startswith(given)
    assert text(result)[1] is is_error


async def test_calls_are_shown_and_their_results_go_back_until_there_are_none(
    serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str
) -> None:
    """With ``--yes`` they run; without a terminal to confirm them on they do not; the whole exchange is kept for ``-c``."""

    def answer(request: ChatRequest) -> list[list[Event]]:
        results = [part for message in request.messages for part in message.parts if isinstance(part, ToolResult)]
        if not results:
            return [[ToolCallPiece(0, "c1", "add", '{"a": 2, "b": 3}')], [Finish("complete", "tool_calls")]]
        return [[Text(f"It is {text(results[-1])[0]}.")], [Finish("complete", "stop")]]

    vendor = ScriptedVendor("openai-chat", answer)
    monkeypatch.setenv("OPENAI_API_KEY", "k-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{(await serve(vendor)).url}/v1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    ran = await run("-m", "openai/m", "--tools", module, "--yes", "Add two numbers")
    assert (ran.code, ran.out) == (0, "It is 5.\n")
    assert ran.err == "polychat: tool: add(a=2, b=3)\nnoise\n"
    ran = await run("-m", "openai/m", "--tools", module, "Add two numbers", start_new_session=True)
    assert (ran.code, ran.out) == (0, "It is the user declined this call.\n")
    assert "no terminal to confirm it on" in ran.err
    exchange = json.loads((await run("log", "export", "--json")).out)[0]["exchanges"][0]
    assert [message["role"] for message in exchange["messages"]] == ["user", "assistant", "tool", "assistant"]
    await run("-c", "And then?")
    assert [message.role for message in vendor.asks[-1].messages] == ["user", "assistant", "tool", "assistant", "user"]

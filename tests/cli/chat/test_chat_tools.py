"""Tools in a chat: they are added and removed, their calls are asked for, and their results go back."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from rich.console import Console

from polychat import config
from polychat.cli.chat.chat_record import ChatRecord
from polychat.cli.chat.conversation import BranchingConversation
from polychat.cli.chat.prompt import SlashCompleter
from polychat.cli.chat.session import ChatSession
from polychat.client.targets import targets_of
from polychat.config.mcp_server import McpServerSettings
from polychat.events import Event, Finish, Text, ToolCallPiece
from polychat.state.conversations import Conversations
from polychat.types import ChatRequest, TextPart, Tool, ToolResult

from ...support.mcp_servers import raw_command
from ...support.running_gateway import row
from ...support.scripted_vendors import ScriptedVendor
from ...support.terminal import in_terminal


def answer(request: ChatRequest) -> list[list[Event]]:
    """A call of the tool that the question names, and then its result."""
    last = request.messages[-1].parts[-1]
    if isinstance(last, ToolResult):
        (part,) = last.parts
        assert isinstance(part, TextPart)
        return [[Text(f"It says {part.text}.")], [Finish("complete", "stop")]]
    name = last.text if isinstance(last, TextPart) else ""
    if name not in {tool.name for tool in request.tools if isinstance(tool, Tool)}:
        return [[Text("No tool.")], [Finish("complete", "stop")]]
    return [[ToolCallPiece(0, "c1", name, "{}")], [Finish("complete", "tool_calls")]]


class Chat:
    """A session with a backend that calls tools, a person who answers questions, and what is shown."""

    def __init__(self, url: str, folder: Path) -> None:
        self.out, self.answers = io.StringIO(), list[str]()
        servers = {
            "raw": McpServerSettings(command=raw_command("tools/call", "os._exit(3) if open(sys.path and 'die') else 0"))
        }
        rows = {"house": row("openai-chat", url, key_optional=True)}
        targets = targets_of(config.Config(providers=rows, mcp=servers))
        console = Console(file=self.out, force_terminal=False, width=100, highlight=False)
        conversation = BranchingConversation("house/small")
        record = ChatRecord(Conversations(folder / "kept.db"))
        self.session = ChatSession(targets, conversation, {}, record, console=console, answer=self._answer)

    async def _answer(self, question: str) -> str | None:
        typed = self.answers.pop(0)
        if typed == "^C":
            raise asyncio.CancelledError
        return typed

    async def type(self, *lines: str) -> str:
        before = len(self.out.getvalue())
        for line in lines:
            await self.session.handle(line)
        return self.out.getvalue()[before:]


@pytest.fixture
def vendor() -> ScriptedVendor:
    return ScriptedVendor("openai-chat", answer)


@pytest.fixture
async def chat(serve: Any, vendor: ScriptedVendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Chat]:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def sky() -> str:\n    return 'blue'\n\ndef sea() -> str:\n    return 'green'\n")
    opened = Chat((await serve(vendor)).url, tmp_path)
    yield opened
    await opened.session.close()


async def test_calls_are_asked_for_and_their_results_go_back(chat: Chat, vendor: ScriptedVendor, tmp_path: Path) -> None:
    """No, yes, and always for one tool; the whole exchange is sent with the next question, and kept."""
    assert "mine.py: sky, sea" in await chat.type("/tools mine.py")
    assert chat.session.status().endswith("2 tools")
    chat.answers = ["n", "y", "always", "n"]
    shown = await chat.type("sky", "sky", "sky", "sky", "sea")
    assert (shown.count("It says blue."), shown.count("It says the user declined this call.")) == (3, 2)
    assert shown.count("tool: sky()") == 4
    roles = [message.role for message in vendor.asks[-1].messages]
    assert roles == ["user", "assistant", "tool", "assistant"] * 4 + ["user", "assistant", "tool"]
    kept = Conversations(tmp_path / "kept.db")
    assert len(kept.exchanges(kept.found(None))) == 5
    assert "No tool." in await chat.type("/tools - mine.py", "sky")


async def test_a_server_is_added_by_its_name_and_removed(chat: Chat, vendor: ScriptedVendor) -> None:
    """One that ends in a call is that call's result, and the chat goes on; what cannot be used is told."""
    assert "raw: go" in await chat.type("/mcp raw")
    assert "are there already" in await chat.type("/mcp raw")
    chat.answers = ["y"]
    assert "It says the MCP server raw" in await chat.type("go")
    assert "no tools: /tools MODULE" in await chat.type("/mcp - raw")
    assert "there are no tools of raw" in await chat.type("/mcp - raw")
    assert "no such command; did you mean raw?" in " ".join((await chat.type("/mcp rav")).split())
    assert "No tool." in await chat.type("go")


async def test_an_interrupted_call_leaves_a_conversation_that_goes_on(chat: Chat, vendor: ScriptedVendor) -> None:
    """Nothing that was stopped is sent again; what was typed is there to be sent again."""
    await chat.type("/tools mine.py")
    chat.answers = ["^C", "y"]
    assert "(stopped)" in await chat.type("sky")
    assert "It says green." in await chat.type("sea")
    assert [message.role for message in vendor.asks[-1].messages][-3:] == ["user", "assistant", "tool"]
    assert not [part for message in vendor.asks[-2].messages[:-1] for part in message.parts if isinstance(part, ToolResult)]


def test_servers_of_the_configuration_are_completed(chat: Chat) -> None:
    """Where a command takes one."""
    completer = SlashCompleter(chat.session.commands, lambda typed: (), chat.session.server_names)
    offered = completer.get_completions(Document("/mcp r"), CompleteEvent())
    assert [completion.text for completion in offered] == ["raw"]


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="a terminal of POSIX")
async def test_a_call_is_confirmed_at_the_terminal(serve: Any, vendor: ScriptedVendor, tmp_path: Path) -> None:
    """With y; Ctrl-C at the question stops the exchange, and the chat goes on."""
    (tmp_path / "mine.py").write_text("def sky() -> str:\n    return 'blue'\n")
    environment = {**os.environ, "OPENAI_API_KEY": "k-secret", "OPENAI_BASE_URL": f"{(await serve(vendor)).url}/v1"}
    environment |= {"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path), "PYTHONWARNINGS": ""}
    environment |= {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    words = ("chat", "-m", "openai/m", "-n", "--tools", str(tmp_path / "mine.py"))
    async with in_terminal(sys.executable, "-m", "polychat", *words, env=environment) as terminal:
        await terminal.shows(b"/help lists the commands")
        await terminal.shows(b">")
        terminal.press(b"sky\r")
        await terminal.shows(b"Call it?")
        terminal.press(b"\x03")
        await terminal.shows(b"(stopped)")
        await terminal.shows(b">")
        terminal.press(b"\r")
        await terminal.shows(b"Call it?")
        terminal.press(b"y\r")
        await terminal.shows(b"It says blue.")
        await terminal.shows(b">")
        terminal.press(b"\x04")
        assert await terminal.ended() == 0

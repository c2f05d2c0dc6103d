"""Claude Code, Codex, Gemini CLI and opencode, with the settings that ``polychat setup`` wrote, through a gateway.

Each is asked through a scripted backend of the API that it speaks, and through four that are translated. ``make test-agents``
runs this.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from polychat.cli.client_tools import TOOLS, Access
from polychat.events import Event, Finish, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.types import ChatRequest, ToolResult
from polychat.wire.contract import names

from ..support.command import run
from ..support.running_gateway import Running, configured, gateway, row
from ..support.scripted_vendors import ScriptedVendor

FOLDER = os.environ.get("POLYCHAT_AGENTS", "")
"""Where npm put them."""
pytestmark = pytest.mark.skipif(not FOLDER, reason="opt-in: make test-agents")
MARK = "the-light-is-on"
KEY = "key-of-the-agents"


class Agent(NamedTuple):
    """How a program is asked once, without a terminal."""

    command: Callable[[str], tuple[str, ...]]
    resume: Callable[[str], tuple[str, ...]]
    tools: Mapping[str, Callable[[str], Any]]
    """Its tools that run a shell command, by name, and the arguments of each."""
    variables: Mapping[str, str] = {}


_CODEX = ("codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
AGENTS = {
    "codex": Agent(
        lambda prompt: (*_CODEX, prompt),
        lambda prompt: (*_CODEX, "resume", "--last", prompt),
        {
            "exec_command": lambda command: {"cmd": command},
            "shell_command": lambda command: {"command": command},
            "shell": lambda command: {"command": ["bash", "-lc", command]},
        },
    ),
    "claude-code": Agent(
        lambda prompt: ("claude", "--dangerously-skip-permissions", "-p", prompt),
        lambda prompt: ("claude", "--dangerously-skip-permissions", "--continue", "-p", prompt),
        {"Bash": lambda command: {"command": command, "description": "prints a word"}},
        {"IS_SANDBOX": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "ANTHROPIC_MODEL": "house/small"},
    ),
    "opencode": Agent(
        lambda prompt: ("opencode", "run", prompt),
        lambda prompt: ("opencode", "run", "--continue", prompt),
        {"bash": lambda command: {"command": command, "description": "prints a word"}},
        {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"},
    ),
    "gemini-cli": Agent(
        lambda prompt: ("gemini", "--yolo", "-m", "house/small", "-p", prompt),
        lambda prompt: ("gemini", "--yolo", "-m", "house/small", "--resume", "latest", "-p", prompt),
        {"run_shell_command": lambda command: {"command": command}},
        {"GEMINI_CLI_TRUST_WORKSPACE": "true"},
    ),
}


class Script:
    """Asks for a tool first, tells its result, and names the first question when it is resumed."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.results: list[str] = []

    def __call__(self, request: ChatRequest) -> list[list[Event]]:
        end: list[Event] = [Usage(11, 7, 18), Finish("complete", "stop")]
        results = [part for message in request.messages for part in message.parts if isinstance(part, ToolResult)]
        name = next((tool.name for tool in request.tools if tool.name in self.agent.tools), None)
        if "once more" in str(request.messages[-1]):
            return [[Text("You asked about the light." if "about the light" in str(request.messages[:-1]) else "?")], end]
        if results:
            self.results.append(str(results[-1]))
            return [[Reasoning("It worked. ")], [Text("It says: ")], [Text(MARK)], end]
        if name is None:
            return [[Text("no tool")], end]
        call = ToolCallPiece(0, "call_1", name, json.dumps(self.agent.tools[name](f"echo {MARK}")))
        return [[Start("one", "small")], [Reasoning("I look. ")], [call], [Usage(11, 7, 18), Finish("complete", "tool_calls")]]


@asynccontextmanager
async def house(serve: Any, wire: str, script: Script) -> AsyncGenerator[Running]:
    server = await serve(ScriptedVendor(wire, script))
    aliases = {"gemini-*": "house/small"}
    async with gateway(configured({"house": row(wire, server.url)}, aliases=aliases, keys={"a": "env:POLYCHAT_KEY"})) as here:
        yield here


async def printed(words: tuple[str, ...], folder: Path, environment: Mapping[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        str(Path(FOLDER, "node_modules", ".bin", words[0])),
        *words[1:],
        cwd=folder,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(180):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode(errors="replace")


@pytest.mark.parametrize("wire", names())
@pytest.mark.parametrize("name", AGENTS)
async def test_an_agent_uses_a_tool_and_goes_on(
    serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, wire: str
) -> None:
    """Its answer has what the tool printed, which went to the backend; a resumed session still has the first question."""
    agent = AGENTS[name]
    monkeypatch.setenv("POLYCHAT_KEY", KEY)
    work = tmp_path / "work"
    work.mkdir()
    script = Script(agent)
    async with house(serve, wire, script) as here:
        environment = {
            **{"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config"), "XDG_DATA_HOME": str(tmp_path / "data")},
            **{"XDG_CACHE_HOME": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1", "POLYCHAT_KEY": KEY, **agent.variables},
        }
        file = ("--write",) if TOOLS[name].file(Access(here.url, "house/small", "")) is not None else ()
        ran = await run("setup", name, *file, "-m", "house/small", "--url", here.url, env=environment)
        assert ran.code == 0, ran.err
        access = Access(here.url, "house/small", "POLYCHAT_KEY")
        environment |= {name: value.replace(access.key, KEY) for name, value in TOOLS[name].variables(access).items()}
        answer = await printed(agent.command("Tell me about the light."), work, environment)
        assert MARK in answer, answer
        assert any(MARK in result for result in script.results), answer
        again = await printed(agent.resume("once more, please"), work, environment)
        assert "You asked about the light." in again, again
        verdicts = {record.verdict for record in here.app.records if record.dialect}
        assert verdicts <= {"complete", None}, verdicts

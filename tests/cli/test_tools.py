"""``polychat ask --tools``: functions of a module are called when they are allowed, and the model gets what they give."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from polychat.cli.mcp_tools import McpServers
from polychat.cli.tool_calls import LONGEST, Consent, OfferedTool, Toolbox, ToolOutcome, ToolRunner
from polychat.cli.tool_functions import functions_in
from polychat.errors import BadInput, MissingPackage
from polychat.events import Event, Finish, Text, ToolCallPiece
from polychat.types import ChatRequest, TextPart, Tool, ToolCall, ToolResult

from ..support.command import run, started
from ..support.mcp_servers import raw_command, real_command
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


def runner(tools: Iterable[OfferedTool], *answers: str | None, seconds: float = 30) -> ToolRunner:
    """Without answers, all calls run."""
    toolbox, typed = Toolbox(), iter(answers)
    toolbox.add("mine", tools)

    async def answer(question: str) -> str | None:
        return next(typed)

    return ToolRunner(toolbox, Consent(answer, allows_all=not answers), lambda line, kind: None, seconds)


def offered(name: str, server: str = "", given: Sequence[TextPart] = ()) -> OfferedTool:
    async def call(values: dict[str, Any]) -> ToolOutcome:
        return ToolOutcome(given)

    return OfferedTool(Tool(name), call, lambda values: None, server)


def text(result: ToolResult) -> tuple[str, bool]:
    (part,) = result.parts
    assert isinstance(part, TextPart)
    return part.text, result.is_error


def test_a_module_is_its_public_functions(module: str, tmp_path: Path) -> None:
    """Not what it imports; what is no module, has none, or fails when it is imported, is named."""
    assert [tool.tool.name for tool in functions_in(module)] == ["add", "later", "fail", "leave", "wait"]
    (tmp_path / "empty.py").write_text("import os")
    (tmp_path / "broken.py").write_text("1/0")
    (tmp_path / "script.py").write_text("import sys; sys.exit('usage: script')")
    for name, says in [
        ("empty.py", "has no public functions"),
        ("broken.py", "ZeroDivisionError"),
        ("script.py", "SystemExit: usage: script"),  # which would end a chat
        ("none.py", "No such file"),
    ]:
        with pytest.raises(BadInput, match=says):
            functions_in(str(tmp_path / name))
    with pytest.raises(BadInput, match="No module named 'no_such_module_at_all'$"):
        functions_in("no_such_module_at_all")


def test_a_module_that_is_a_file_here_is_told(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current folder is not searched for modules; the message says what to write."""
    monkeypatch.chdir(Path(module).parent)
    with pytest.raises(BadInput, match=r"No module named 'mine'; for the file in this folder, write  --tools mine\.py$"):
        functions_in("mine")


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
        ("add", "[1]", "the arguments are not a JSON object", True),
        ("add", '{"a": 1, "c": 1}', "c is not a member", True),
        ("none", "{}", "there is no tool none", True),
    ],
)
async def test_the_model_gets_a_value_or_what_went_wrong(
    module: str, name: str, arguments: str, given: str, is_error: bool
) -> None:
    """A function that raises, leaves or never returns ends neither the command nor the conversation."""
    result = await runner(functions_in(module), seconds=0.01 if name == "wait" else 30).result_of(
        ToolCall("1", name, arguments)
    )
    assert text(result)[0].startswith(given)
    assert text(result)[1] is is_error


async def test_calls_are_shown_and_their_results_go_back_until_there_are_none(vendor: ScriptedVendor, module: str) -> None:
    """With ``--yes`` they run; without a terminal to confirm them on they do not; the whole exchange is kept for ``-c``."""

    ran = await run("-m", "openai/m", "--tools", module, "--yes", "Add two numbers")
    assert (ran.code, ran.out) == (0, "It is 3.\n")
    assert ran.err == "polychat: tool: add(a=2)\nnoise\n"
    ran = await run("-m", "openai/m", "--tools", module, "Add two numbers", start_new_session=True)
    assert (ran.code, ran.out) == (0, "It is the user declined this call.\n")
    assert "no terminal to confirm it on" in ran.err
    exchange = json.loads((await run("log", "export", "--json")).out)[0]["exchanges"][0]
    assert [message["role"] for message in exchange["messages"]] == ["user", "assistant", "tool", "assistant"]
    await run("-c", "And then?")
    assert [message.role for message in vendor.asks[-1].messages] == ["user", "assistant", "tool", "assistant", "user"]


def test_tools_that_meet_have_names_of_their_own() -> None:
    """The first keeps its own; a server's gets that of the server before it; names are what every API takes."""
    toolbox = Toolbox()
    toolbox.add("a.py", [offered("find")])
    toolbox.add("files", [offered("find", "files"), offered("read/all", "files"), offered("x" * 90, "files")])
    toolbox.add("b.py", [offered("find")])
    toolbox.add("again", [offered("find", "files")])
    assert list(toolbox.tools) == ["find", "files__find", "read_all", "x" * 64, "find_2", "files__find_2"]
    assert [tool.tool.name for tool in toolbox.tools.values()] == list(toolbox.tools)
    with pytest.raises(BadInput, match="are there already"):
        toolbox.add("b.py", [])
    toolbox.remove("files")
    assert list(toolbox.tools) == ["find", "find_2", "files__find_2"]
    with pytest.raises(BadInput, match=r"no tools of files; there are those of: a\.py, b\.py, again"):
        toolbox.remove("files")


async def test_consent_is_asked_for_until_it_is_given_for_good() -> None:
    """Per tool; anything but yes is no."""
    asked = runner([offered("one"), offered("two")], "", "y", "always", "no")
    calls = [ToolCall("1", name) for name in ("one", "one", "one", "one", "two")]
    results = [await asked.result_of(call) for call in calls]
    assert [result.is_error for result in results] == [True, False, False, False, True]


async def test_the_name_that_a_model_calls_steers_no_terminal() -> None:
    """It can be any text: what a terminal obeys is not shown, and it does not look like a line of the command."""
    said: list[str] = []
    careful = runner([])._replace(say=lambda line, kind: said.append(line))
    await careful.result_of(ToolCall("1", "\x1b[2Jrm\npolychat: tool: add(a=2)", "{}"))
    assert len(said) == 2
    assert all(line.isprintable() for line in said), said


async def test_a_result_has_a_bound() -> None:
    """Over all its texts; what is left out is said."""
    result = await runner([offered("one", given=[TextPart("x" * LONGEST), TextPart("yy")])]).result_of(ToolCall("1", "one"))
    assert [getattr(part, "text", "")[-60:] for part in result.parts[1:]] == [
        "",
        "\n(the rest of the result, 2 characters, is left out)",
    ]


@pytest.mark.parametrize("seconds", ["-1", "0", "nan", "inf"])
async def test_a_timeout_is_above_zero(module: str, seconds: str) -> None:
    """Nothing is asked with another one."""
    ran = await run("--tools", module, f"--tool-timeout={seconds}", "hi")
    assert (ran.code, "--tool-timeout" in ran.err) == (2, True)


@pytest.fixture
async def vendor(serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScriptedVendor:
    """Calls ``add`` or ``go``, whichever it is offered, then tells its result."""

    def answer(request: ChatRequest) -> list[list[Event]]:
        results = [part for message in request.messages for part in message.parts if isinstance(part, ToolResult)]
        if results:
            return [[Text(f"It is {text(results[-1])[0]}.")], [Finish("complete", "stop")]]
        name = next(tool.name for tool in request.tools if isinstance(tool, Tool) and tool.name in ("add", "go"))
        return [[ToolCallPiece(0, "c1", name, '{"a": 2}' if name == "add" else "{}")], [Finish("complete", "tool_calls")]]

    scripted = ScriptedVendor("openai-chat", answer)
    monkeypatch.setenv("OPENAI_API_KEY", "k-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{(await serve(scripted)).url}/v1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return scripted


async def test_tools_of_a_server_are_called(vendor: ScriptedVendor, tmp_path: Path, module: str) -> None:
    """Beside those of a module, which keep their names; a server that dies is the result of its call, and the model answers."""
    ran = await run("-m", "openai/m", "--mcp", real_command(tmp_path), "--yes", "Add")
    assert (ran.code, ran.out, ran.err) == (0, "It is 3.\n", "polychat: tool: add(a=2) from house\n")
    ran = await run("-m", "openai/m", "--tools", module, "--mcp", real_command(tmp_path), "--yes", "Add")
    assert ran.out == "It is 3.\n"
    assert {"add", "house__add", "later", "picture"} <= {tool.name for tool in vendor.asks[-1].tools if isinstance(tool, Tool)}
    ran = await run("-m", "openai/m", "--mcp", raw_command("tools/call", "os._exit(3)"), "--yes", "Go")
    assert (ran.code, "has ended with exit code 3" in ran.out, "note: go: the MCP server raw" in ran.err) == (0, True, True)


async def test_a_server_that_cannot_be_used_ends_the_command_before_anything_is_sent(vendor: ScriptedVendor) -> None:
    """With its reason."""
    ran = await run("-m", "openai/m", "--mcp", raw_command("initialize", "sys.exit('no licence')"), "Go")
    assert (ran.code, "it wrote: no licence" in ran.err, vendor.asks) == (1, True, [])
    ran = await run("-m", "openai/m", "--mcp", "no-such-program-at-all", "Go")
    assert (ran.code, "no such command" in ran.err, vendor.asks) == (2, True, [])


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells when a process of others has ended")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_an_interrupted_command_leaves_no_server(vendor: ScriptedVendor, tmp_path: Path, number: int) -> None:
    """By Ctrl-C, by a supervisor, or when the terminal goes away, in the middle of a call."""
    os.mkfifo(pipe := tmp_path / "pipe")
    deed = f"open({str(pipe)!r}, 'w').write(str(os.getpid()))"
    words = ("-m", "openai/m", "--mcp", raw_command("tools/call", deed), "--yes", "Go")
    async with started(*words, stdin=asyncio.subprocess.DEVNULL) as process:
        async with asyncio.timeout(60):
            pid = os.pidfd_open(int(await asyncio.to_thread(pipe.read_text)))
            process.send_signal(number)
            assert await process.wait() == 130
            assert (await asyncio.to_thread(select.select, [pid], [], [], 60))[0]
        os.close(pid)
        assert process.stderr is not None
        assert b"Traceback" not in await process.stderr.read()


async def test_the_package_is_offered_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "mcp", None)
    for name in ("server", "http", "process", "results"):
        monkeypatch.delitem(sys.modules, f"polychat.cli.mcp_tools.{name}", raising=False)
    with pytest.raises(MissingPackage, match=r'--mcp needs the package mcp: run  pip install "polychat\[mcp\]"'):
        await McpServers({}, Toolbox(), 1).add("sh")

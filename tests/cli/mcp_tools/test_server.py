"""MCP servers, real and hostile: their tools are called, their faults are told, and nothing of them is left running."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from polychat.cli.mcp_tools import process, server
from polychat.cli.mcp_tools.intake import Intake
from polychat.cli.mcp_tools.places import place_of
from polychat.cli.mcp_tools.server import McpServer
from polychat.config.mcp_server import McpServerSettings
from polychat.errors import PolychatError
from polychat.types import ImagePart, TextPart

from ...support.mcp_servers import answer_to, raw_command, real_command, real_url
from ...support.scripted_server import Say, Seen

SMALL = {"line": 100_000, "bytes_": 400_000, "messages": 500}


@asynccontextmanager
async def connected(where: str, seconds: float = 60, **bounds: int) -> AsyncGenerator[McpServer]:
    reached = McpServer(place_of(where, {}), seconds, Intake(**bounds))
    try:
        await reached.start()
        yield reached
    finally:
        await reached.close()


async def said_by(reached: McpServer, name: str, **values: Any) -> str:
    outcome = await reached.call(name, values)
    (part,) = outcome.parts
    assert isinstance(part, TextPart)
    return f"error: {part.text}" if outcome.is_error else part.text


async def use(reached: McpServer) -> None:
    """All that a real server does."""
    assert reached.name == "house"
    assert [tool.tool.name for tool in reached.tools][:2] == ["add", "fail"]
    assert reached.tools[0].tool.description == "Add two numbers."
    assert (reached.tools[0].tool.parameters or {})["required"] == ["a"]
    assert await said_by(reached, "add", a=2, b=3) == "5"
    assert (await said_by(reached, "add", a="x")).startswith("error: ")
    assert (await said_by(reached, "fail")).startswith("error: ")
    assert (await reached.call("picture", {})).parts == [ImagePart(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")]


async def test_a_command_is_a_server(tmp_path: Path) -> None:
    """Its tools are listed and called; one that ends tells its code and its last words, and so do the calls after it."""
    async with connected(real_command(tmp_path)) as reached:
        await use(reached)
        for name in ("leave", "add"):
            with pytest.raises(PolychatError, match="house .* has ended with exit code 3; it wrote: no disk"):
                await said_by(reached, name, a=1)


@pytest.mark.parametrize("older", [False, True], ids=["streamable", "sse"])
async def test_a_url_is_a_server(older: bool) -> None:
    """Over streamable HTTP, and over server-sent events as before."""
    async with real_url(older=older) as url, connected(url) as reached:
        await use(reached)


async def test_a_server_gets_its_own_variables_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of the person, but what the configuration gives it, by reference or as it is."""
    monkeypatch.setenv("OPENAI_API_KEY", "k-not-for-it")
    monkeypatch.setenv("A_KEY", "k-for-it")
    table = McpServerSettings(command=real_command(tmp_path), env={"SECRET": "env:A_KEY", "PLAIN_KEY": "x"})
    reached = McpServer(place_of("mine", {"mine": table}), 60)
    try:
        await reached.start()
        assert reached.name == "mine"
        assert await said_by(reached, "variables") == "PLAIN_KEY=x SECRET=k-for-it"
        assert "k-for-it" not in repr(reached.place)
    finally:
        await reached.close()


@pytest.mark.parametrize(
    ("method", "deed", "fault"),
    [
        ("server/discover", "sys.exit('no licence')", "has ended with exit code 1; it wrote: no licence"),
        ("initialize", "print('Welcome!', flush=True)", "writes what is not MCP: 'Welcome!' .waited 2 s"),
        ("initialize", "answer({'protocolVersion': '1815-12-10'})", "failed: "),
        (
            "initialize",
            "answer({'protocolVersion': '2025-06-18', 'capabilities': {}, 'serverInfo': {'name': 'x', 'version': '1'}})",
            "offers no tools",
        ),
        ("tools/list", "pass", r"does not answer \(waited 2 s\)"),
        ("tools/list", "answer({'tools': []})", "offers no tools"),
        ("tools/list", "answer({'tools': TOOLS * 3, 'nextCursor': 'more'})", "more than 50 tools"),
        ("tools/list", "answer({'tools': [dict(TOOLS[0], description='x' * 60_000)]})", "more than 50,000 characters"),
        (
            "tools/list",
            "sys.stdout.write('[' * 200_000), sys.stdout.flush(), time.sleep(60)",
            "a message of more than 100,000 bytes",
        ),
    ],
)
async def test_a_server_that_cannot_be_used_is_told(
    method: str, deed: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is asked of a model, in a sentence that names it."""
    monkeypatch.setattr(server, "MOST_TOOLS", 50)
    monkeypatch.setattr(server, "MOST_LETTERS", 50_000)
    monkeypatch.setattr(process, "_PATIENCE", 0.05)
    with pytest.raises(PolychatError, match=f"^the MCP server .*{fault}"):
        async with connected(raw_command(method, deed), seconds=2, **SMALL):
            pass


@pytest.mark.parametrize(
    ("deed", "given"),
    [
        ("os._exit(0)", "has ended with exit code 0"),
        ("os.kill(os.getpid(), 9)", "has ended with signal 9"),
        ("answer({'content': 5})", "failed: "),
        ("say({'jsonrpc': '2.0', 'id': id_, 'error': {'code': 1, 'message': 'not \x1b[2J today'}})", r"not .\[2J today"),
        ("sys.stdout.write('x' * 200_000), sys.stdout.flush()", "sent a message of more than 100,000 bytes"),
        ("sys.stdout.write(('x' * 90_000 + chr(10)) * 6), sys.stdout.flush()", "sent more than 400,000 bytes for one request"),
        ("[say({'jsonrpc': '2.0', 'method': 'x'}) for _ in range(600)]", "sent more than 500 messages for one request"),
        ("[say({'jsonrpc': '2.0', 'id': n, 'method': 'ping'}) for n in range(600)]", "more than 500 messages"),
        ("sys.stderr.write('x' * 3_000_000), answer(RESULT)", "went"),
        ("print('noise', flush=True), answer(RESULT)", "went"),
        ("say({'jsonrpc': '2.0', 'id': 7, 'method': 'sampling/createMessage', 'params': {'messages': [], 'maxTokens': 1}}), "
         "answer({'content': [{'type': 'text', 'text': heard()['error']['message']}]})", "(?i)sampling not supported"),
        ("say({'jsonrpc': '2.0', 'id': 7, 'method': 'elicitation/create', 'params': {'message': 'Password?', "
         "'requestedSchema': {'type': 'object', 'properties': {}}}}), "
         "answer({'content': [{'type': 'text', 'text': heard()['error']['message']}]})", "(?i)elicitation not supported"),
        ("say({'jsonrpc': '2.0', 'id': 7, 'method': 'roots/list'}), "
         "answer({'content': [{'type': 'text', 'text': heard()['error']['message']}]})", "(?i)roots not supported"),
    ],
)  # fmt: skip
async def test_whatever_a_call_meets_is_a_sentence(deed: str, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that dies, floods, or asks for what it is not given; noise and long errors do no harm."""
    monkeypatch.setattr(process, "_PATIENCE", 0.05)
    async with asyncio.timeout(60), connected(raw_command("tools/call", deed), **SMALL) as reached:
        try:
            text = await said_by(reached, "go")
        except PolychatError as error:
            text = str(error)
        assert re.search(given, text), text


async def test_a_call_that_is_given_up_leaves_the_server_usable() -> None:
    """The next one is answered."""
    deed = "answer(RESULT) if asked['params']['arguments'] else None"
    async with connected(raw_command("tools/call", deed)) as reached:
        call = asyncio.create_task(reached.call("go", {}))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await said_by(reached, "go", again=True) == "went"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux tells when a process of others has ended")
async def test_nothing_of_a_server_is_left_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that ignores that it should end, nor what it has started."""
    monkeypatch.setattr(process, "_PATIENCE", 0.05)
    pids = tmp_path / "pids"
    deed = (
        f"signal.signal(15, signal.SIG_IGN), open({str(pids)!r}, 'w').write(f\"{{os.getpid()}} "
        "{subprocess.Popen(['sleep', '600']).pid}\"), answer(RESULT), [time.sleep(60) for _ in range(10)]"
    )
    async with connected(raw_command("tools/call", deed)) as reached:
        assert await said_by(reached, "go") == "went"
    for pid in map(int, pids.read_text().split()):
        with suppress(ProcessLookupError):
            number = os.pidfd_open(pid)
            assert (await asyncio.to_thread(select.select, [number], [], [], 60))[0]
            os.close(number)


@pytest.mark.parametrize("fault", [None, FileNotFoundError("taskkill.exe"), subprocess.TimeoutExpired("taskkill.exe", 2)])
async def test_without_process_groups_the_whole_tree_is_ended(fault: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: its own command ends all that the server started; where it cannot, the server alone is ended."""
    trees: list[list[str]] = []

    def run(command: list[str], **_: Any) -> None:
        trees.append(command[1:])
        if fault is not None:
            raise fault
        running.kill()

    monkeypatch.setattr(process, "_HAS_GROUPS", False)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(process, "_PATIENCE", 0.05)
    running = await asyncio.create_subprocess_exec("sleep", "600", stdin=asyncio.subprocess.PIPE)
    await process.ServerProcess(running, Intake()).end()
    assert trees[0] == ["/T", "/F", "/PID", str(running.pid)]
    assert running.returncode == -signal.SIGKILL


async def test_what_a_url_answers_wrongly_is_told(serve: Any) -> None:
    """Its status, a flood, an encoding that nobody asked for, and no server at all."""

    async def http(seen: Seen, say: Say) -> None:
        kind = "application/json"
        if seen.path == "/refused":
            await say.whole(b"no", 401)
        elif seen.path == "/flood":
            await say.head(content_type="text/event-stream")
            while True:
                await say.chunk(b": x\n" * 10_000)
        elif seen.path == "/large":
            await say.whole(b"[" * 500_000, content_type=kind)
        elif seen.path == "/page":
            await say.whole(b"<html>", content_type="text/html")
        else:
            await say.whole(answer_to(seen.body, {}), content_type=kind, headers=[("content-encoding", "br")])

    site = await serve(http)
    for path, fault in (
        ("refused", "answered 401 Unauthorized"),
        ("flood", "sent more than 400,000 bytes for one request"),
        ("large", "sent more than 400,000 bytes for one request"),
        ("page", "text/html"),
        ("packed", "sends a body as br"),
    ):
        with pytest.raises(PolychatError, match=fault):
            async with connected(f"{site.url}/{path}", **SMALL):
                pass
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    with pytest.raises(PolychatError, match=f"cannot connect to .*{free}/x.: connection refused. Is the server running"):
        async with connected(f"http://127.0.0.1:{free}/x"):
            pass


async def test_headers_of_the_configuration_are_sent(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To that URL, from the secrets that it names; no error shows them."""
    monkeypatch.setenv("A_TOKEN", "t-very-secret")
    seen_headers: list[dict[str, str]] = []

    async def http(seen: Seen, say: Say) -> None:
        seen_headers.append(dict(seen.headers))
        await say.whole(json.dumps({"token": "t-very-secret"}).encode(), 403)

    site = await serve(http)
    table = McpServerSettings(url=f"{site.url}/mcp", token="env:A_TOKEN", headers={"x-team": "env:A_TOKEN"})
    reached = McpServer(place_of("mine", {"mine": table}), 60)
    with pytest.raises(PolychatError) as raised:
        await reached.start()
    assert (seen_headers[0]["authorization"], seen_headers[0]["x-team"]) == ("Bearer t-very-secret", "t-very-secret")
    assert "very-secret" not in f"{raised.value}{reached.place!r}"

"""An MCP server as a process: JSON-RPC on its standard input and output, a message a line.

The package's own transport holds a line of any length and leaves standard error to the terminal. This one bounds both, knows
why a server has ended, and leaves nothing of it running: the process has a group of its own, which is ended with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from ...errors import ConnectionFailed, redact
from ..stopping import finished
from .intake import Flooded, Intake
from .places import ServerPlace

_PATIENCE = 2.0
"""Seconds that a server has to end by itself once its input is closed, and again once it was asked to end."""
_STDERR = 4_000
"""Bytes of its standard error that are kept: the last."""
_LINES = 3
"""Lines of them that an error shows."""
_READ = 64 * 1024
_HAS_GROUPS = hasattr(os, "killpg")


class ServerProcess:
    """A running server, and what can be said of it."""

    def __init__(self, process: Process, intake: Intake) -> None:
        self._process, self._intake = process, intake
        self._said = b""
        self._noise = ""
        self._is_unwanted = False
        """Whether it was told to end."""
        self._is_over = False
        """Whether it has closed its output before that, which it does when it ends."""

    def state(self) -> str:
        """Why it does not answer, as the rest of a sentence about it; empty if that is not known."""
        code, fault = self._process.returncode, self._intake.fault
        if not fault and self._is_over:
            fault = f"has ended with {_end(code)}" if code is not None else "has closed its output"
        if not fault and self._noise:
            fault = f"writes what is not MCP: {self._noise}"
        words = redact(" ".join(self._said.decode("utf-8", "replace").strip().split("\n")[-_LINES:]), 300)
        return f"{fault}; it wrote: {words}" if fault and words and not self._intake.fault else fault

    async def read_messages(self, messages: Any) -> None:
        """Hand over each line as a message, until the output ends or is too much."""
        stdout = self._process.stdout
        assert stdout is not None  # it is a pipe
        held: list[bytes] = []
        size = 0
        async with messages:
            with suppress(Flooded, anyio.BrokenResourceError, anyio.ClosedResourceError):
                while data := await stdout.read(_READ):
                    self._intake.take(len(data))
                    *whole, rest = data.split(b"\n")
                    for line in whole:
                        self._intake.take_message(size + len(line))
                        await self._hand_over(b"".join([*held, line]), messages)
                        held, size = [], 0
                    held.append(rest)
                    size += len(rest)
                    if size > self._intake.line:
                        self._intake.take_message(size)
                self._is_over = not self._is_unwanted
        if self._intake.fault:
            self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    async def _hand_over(self, line: bytes, messages: Any) -> None:
        if not line.strip():
            return
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            self._noise = self._noise or repr(redact(line[:200].decode("utf-8", "replace").strip(), 100))
            return
        await messages.send(SessionMessage(message))

    async def write_messages(self, messages: Any) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # it is a pipe
        async with messages:
            with suppress(ConnectionError):
                async for message in messages:
                    stdin.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                    await stdin.drain()

    async def read_errors(self) -> None:
        """Keep its last words, whatever it writes."""
        stderr = self._process.stderr
        assert stderr is not None  # it is a pipe
        while data := await stderr.read(_READ):
            self._said = (self._said + data)[-_STDERR:]

    async def end(self) -> None:
        """End it and all that it started: its input is closed, then it is asked, then it is not asked."""
        self._is_unwanted = True
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
            await self._ends()
            self._signal(signal.SIGTERM)
            await self._ends()
        finally:
            self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
            await finished(asyncio.ensure_future(self._ends()))  # or asyncio would lose its exit code, and say so

    async def _ends(self) -> None:
        """Wait for the end of the process, for a while: not for that of its pipes, which its children may hold."""
        async with _patience():
            while self._process.returncode is None:  # noqa: ASYNC110  # its wait() waits for the pipes too
                await asyncio.sleep(0.01)

    def _signal(self, number: int) -> None:
        """To all of its group. On Windows, which has none, it and all that it started are ended, while it runs."""
        with suppress(ProcessLookupError, PermissionError):
            if _HAS_GROUPS:
                os.killpg(self._process.pid, number)
            elif self._process.returncode is None:
                self._end_tree()

    def _end_tree(self) -> None:
        """As Windows' own command does it; the process alone where that cannot."""
        command = str(Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "taskkill.exe"))
        try:
            subprocess.run(  # noqa: S603  # Windows' own program, by its whole path
                [command, "/T", "/F", "/PID", str(self._process.pid)], capture_output=True, timeout=_PATIENCE, check=True
            )
        except (OSError, subprocess.SubprocessError):
            self._process.kill()


def _end(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


@asynccontextmanager
async def _patience() -> AsyncGenerator[None]:
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            yield


@asynccontextmanager
async def started(place: ServerPlace, intake: Intake) -> AsyncGenerator[tuple[ServerProcess, tuple[Any, Any]]]:
    """The process and its streams of messages, as a client of the package takes them. Raises ``ConnectionFailed``."""
    try:
        process = await asyncio.create_subprocess_exec(
            *place.command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=get_default_environment() | dict(place.env),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConnectionFailed(f"the MCP server {place.name} cannot be started: {place.shown}: {reason}") from None
    server = ServerProcess(process, intake)
    arrived, read = anyio.create_memory_object_stream[Any](0)
    write, sent = anyio.create_memory_object_stream[Any](0)
    tasks = [
        asyncio.create_task(work) for work in (server.read_messages(arrived), server.write_messages(sent), server.read_errors())
    ]
    try:
        yield server, (read, write)
    finally:
        read.close()
        write.close()
        try:
            await server.end()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            process._transport.close()  # type: ignore[attr-defined]  # a child that holds a pipe would leave it open

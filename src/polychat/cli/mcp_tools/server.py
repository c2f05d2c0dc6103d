"""A connection to an MCP server: its tools, their calls, and its end. Importing this needs the package ``mcp``.

The connection lives in a task of its own, since the package's scopes must be left by the task that entered them. Everybody
else waits for its messages and for that task together, so that a server that goes away answers all that was asked of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from mcp import Client, MCPError
from mcp_types import Implementation
from mcp_types import Tool as OfferedByServer

from ...errors import BadReply, ConnectionFailed, PolychatError, redact
from ...types import Tool
from ...version import __version__
from ..stopping import finished
from ..tool_calls import OfferedTool, ToolOutcome
from .http import ServerAddress, reached
from .intake import Intake
from .places import ServerPlace, name_in
from .process import ServerProcess, started
from .results import outcome_of

MOST_TOOLS = 1_000
"""Tools of a server."""
MOST_LETTERS = 2_000_000
"""Characters of their names, descriptions and schemas."""
_CLOSING = 10.0
"""Seconds in which a connection that is not wanted any more has to end."""

T = TypeVar("T")


class McpServer:
    """One server. ``start`` connects; ``tools`` are what it offers; ``close`` leaves nothing running."""

    def __init__(self, place: ServerPlace, seconds: float, intake: Intake | None = None) -> None:
        self.place, self.name = place, place.name
        self.tools: list[OfferedTool] = []
        self._seconds = seconds
        self._intake = intake or Intake()
        self._server: ServerProcess | ServerAddress | None = None
        self._client: Client | None = None
        self._live: asyncio.Task[None] | None = None
        self._leave = asyncio.Event()
        _silence()

    async def start(self) -> None:
        """Connect and list the tools. Raises ``ConnectionFailed`` or ``BadReply`` that names the server and the reason."""
        ready = asyncio.Event()
        self._live = asyncio.create_task(self._hold(ready))
        try:
            async with asyncio.timeout(self._seconds):
                await self._or_end(ready.wait())
                self.tools = await self._or_end(self._listed())
        except TimeoutError:
            raise ConnectionFailed(
                f"the MCP server {self.described} {self._state() or 'does not answer'} (waited {self._seconds:g} s)"
            ) from None
        finally:
            if not self.tools:
                await self.close()

    async def close(self) -> None:
        """End the connection, and the process if there is one."""
        self._leave.set()
        live = self._live
        if live is None:
            return
        try:
            await asyncio.wait({live}, timeout=_CLOSING if self._client is not None else 0)
        finally:
            live.cancel()
            await finished(live, live.cancel)
            if not live.cancelled():
                live.exception()  # it was told, or nobody waits for it

    async def call(self, name: str, values: dict[str, Any]) -> ToolOutcome:
        """Call a tool. Raises ``PolychatError``."""
        client = self._client
        assert client is not None  # it has started
        self._intake.expect()
        return outcome_of(await self._or_end(client.call_tool(name, values)))

    @property
    def described(self) -> str:
        """Its name and place."""
        return f"{self.name} ({self.place.shown})"

    async def _hold(self, ready: asyncio.Event) -> None:
        """The connection, from its beginning to its end."""
        async with self._connected() as client:
            self._client = client
            if not self.place.is_configured and client.server_info is not None:
                self.name = name_in(client.server_info.name) or self.name
            ready.set()
            await self._leave.wait()

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[Client]:
        place = self.place
        opened = reached(place, self._intake, self._seconds) if place.url else started(place, self._intake)
        async with opened as (server, streams):
            self._server = server
            about = Implementation(name="polychat", version=__version__)
            async with Client(_Opened(streams), client_info=about, cache=None) as client:
                yield client

    async def _listed(self) -> list[OfferedTool]:
        client = self._client
        assert client is not None  # it is connected
        if client.server_capabilities.tools is None:
            raise BadReply(f"the MCP server {self.described} offers no tools")
        offered: list[OfferedByServer] = []
        cursor, letters = None, 0
        while True:
            page = await client.list_tools(cursor=cursor)
            letters += sum(_size(tool) for tool in page.tools)
            offered += page.tools
            if len(offered) > MOST_TOOLS or letters > MOST_LETTERS:
                raise BadReply(
                    f"the MCP server {self.described} offers more than {MOST_TOOLS:,} tools, or describes them in more than "
                    f"{MOST_LETTERS:,} characters: start it with fewer"
                )
            if not page.next_cursor or not page.tools:
                break
            cursor = page.next_cursor
        if not offered:
            raise BadReply(f"the MCP server {self.described} offers no tools")
        return [self._offered(tool) for tool in offered]

    def _offered(self, tool: OfferedByServer) -> OfferedTool:
        async def call(values: dict[str, Any]) -> ToolOutcome:
            return await self.call(tool.name, values)

        offered = Tool(tool.name, tool.description, dict(tool.input_schema))
        # The server checks the arguments: a pattern of its schema could take for ever here.
        return OfferedTool(offered, call, lambda _: None, self.name)

    async def _or_end(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` gives; raises what went wrong with it, or with the connection meanwhile."""
        live = self._live
        assert live is not None  # it has started
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, live}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self._failure(None if live.cancelled() else live.exception())
            return task.result()
        except PolychatError:
            raise
        except Exception as error:  # noqa: BLE001  # of the package, which raises errors of several libraries
            await asyncio.wait({live}, timeout=0.2)  # a process that ended says with which code
            raise self._failure(error) from None
        finally:
            task.cancel()
            await asyncio.wait({task}, timeout=_CLOSING)
            if task.done() and not task.cancelled():
                task.exception()  # it was told, or nobody waits for it

    def _failure(self, error: BaseException | None) -> PolychatError:
        """What went wrong, in one sentence."""
        error, state = _leaf(error), self._state()
        if isinstance(error, PolychatError):
            return error
        if state or error is None:
            return ConnectionFailed(f"the MCP server {self.described} {state or 'has ended'}")
        if isinstance(error, MCPError):
            return BadReply(f"the MCP server {self.name} answers: {redact(str(error), 500)}")
        if isinstance(error, OSError):
            reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
            return ConnectionFailed(f"cannot connect to the MCP server {self.described}: {reason}. Is the server running?")
        return ConnectionFailed(f"the MCP server {self.described} failed: {redact(str(error) or type(error).__name__, 300)}")

    def _state(self) -> str:
        return "" if self._server is None else self._server.state()


def _size(tool: OfferedByServer) -> int:
    return len(tool.name) + len(tool.description or "") + len(json.dumps(tool.input_schema))


class _Opened:
    """Streams that are open, as a transport of the package."""

    def __init__(self, streams: Any) -> None:
        self._streams = streams

    async def __aenter__(self) -> Any:
        return self._streams

    async def __aexit__(self, *_: object) -> None:
        pass


def _leaf(error: BaseException | None) -> BaseException | None:
    """The first error in a group of them; the system's own error, where it has led to another one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    cause = error
    for _ in range(10):  # exceptions are chained by others' code
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if cause is None or (isinstance(cause, OSError) and cause.errno):
            break
        cause = cause.__cause__ or cause.__context__
    return error if cause is None else cause


def _silence() -> None:
    """The package logs what servers send, with tracebacks; what matters of it is in our errors."""
    for name in ("mcp", "client", "httpx2", "httpcore2"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
            logger.propagate = False

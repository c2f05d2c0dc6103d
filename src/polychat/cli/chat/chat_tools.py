"""The tools of a chat: modules and MCP servers that are added and removed, and the calls that a model makes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ...config.mcp_server import McpServerSettings
from ...errors import redact
from ...types import ChatMessage, Tool, ToolCall
from ..mcp_tools import McpServers
from ..tool_calls import Consent, Say, Toolbox, ToolRunner
from ..tool_functions import functions_in


class ChatTools:
    """What ``/tools`` and ``/mcp`` change. ``close`` leaves no server running."""

    def __init__(
        self,
        servers: Mapping[str, McpServerSettings],
        say: Say,
        seconds: float,
        *,
        allows_all: bool = False,
        answer: Callable[[str], Awaitable[str | None]] | None = None,
    ) -> None:
        """``servers`` are those of the configuration; ``answer`` gives what is typed after a question."""
        self._toolbox = Toolbox()
        self._servers = McpServers(servers, self._toolbox, seconds)
        self._say = say
        consent = Consent(answer or _typed_answer, allows_all=allows_all)
        self._runner = ToolRunner(self._toolbox, consent, say, seconds)

    def offered(self) -> list[Tool]:
        """What each request has."""
        return [tool.tool for tool in self._toolbox.tools.values()]

    async def results_of(self, calls: Sequence[ToolCall]) -> ChatMessage:
        """Those of the calls, each shown and asked for."""
        return await self._runner.results_of(calls)

    async def change(self, text: str, add: Callable[[str], Awaitable[None]]) -> None:
        """List the tools; add those of a module or server; or, after ``-``, remove them. Raises ``PolychatError``."""
        if text.startswith("-"):
            source = text[1:].strip()
            if not await self._servers.remove(source):
                self._toolbox.remove(source)
        elif text:
            await add(text)
        self._list()

    async def add_module(self, name: str) -> None:
        """Raises ``BadInput``."""
        self._toolbox.check_new(name)
        self._toolbox.add(name, functions_in(name))

    async def add_server(self, text: str) -> None:
        """Raises ``PolychatError``."""
        await self._servers.add(text)

    async def close(self) -> None:
        await self._servers.close()

    def _list(self) -> None:
        for source, tools in self._toolbox.sources.items():
            self._say(f"{redact(source, 80)}: {', '.join(tools)}", "")
        if not self._toolbox.sources:
            self._say("no tools: /tools MODULE or /tools FILE.py adds functions, /mcp COMMAND, URL or NAME a server", "")


async def _typed_answer(question: str) -> str | None:
    """Ctrl-C at the question stops the exchange, as it does elsewhere."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory

    session: PromptSession[str] = PromptSession(question, history=InMemoryHistory())
    try:
        return await session.prompt_async(handle_sigint=False)  # its own handler would remove that of the exchange
    except EOFError:
        return ""
    except KeyboardInterrupt:
        raise asyncio.CancelledError from None

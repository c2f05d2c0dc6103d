"""MCP servers as sources of tools: what ``--mcp`` and ``/mcp`` name, and what is spoken to it.

This module loads without the package ``mcp``, of which the connections are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...config.mcp_server import McpServerSettings
from ...errors import MissingPackage
from ..tool_calls import Toolbox
from .places import place_of

if TYPE_CHECKING:
    from .server import McpServer


class McpServers:
    """The servers of a conversation, by what named them. ``close`` leaves none of them running."""

    def __init__(self, configured: Mapping[str, McpServerSettings], toolbox: Toolbox, seconds: float) -> None:
        """Their tools go into ``toolbox``; ``seconds`` are those in which a server has to answer."""
        self._configured, self._toolbox, self._seconds = configured, toolbox, seconds
        self._servers: dict[str, McpServer] = {}

    async def add(self, text: str) -> McpServer:
        """Connect to a server. Raises ``PolychatError`` that says why it offers no tools."""
        try:
            from .server import McpServer
        except ImportError as error:
            raise MissingPackage(error.name or "mcp", extra="mcp", purpose="--mcp") from None
        self._toolbox.check_new(text)
        place = await asyncio.to_thread(place_of, text, self._configured)  # a secret may be of a command
        server = McpServer(place, self._seconds)
        await server.start()
        self._servers[text] = server
        self._toolbox.add(text, server.tools)
        return server

    async def remove(self, text: str) -> bool:
        """End the connection to one; whether there was one."""
        server = self._servers.pop(text, None)
        if server is None:
            return False
        self._toolbox.remove(text)
        await server.close()
        return True

    async def close(self) -> None:
        servers = list(self._servers.values())
        self._servers.clear()
        await asyncio.gather(*(server.close() for server in servers), return_exceptions=True)

"""An MCP server at a URL: streamable HTTP, or server-sent events as before; bounded, and with the reason of a failure."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from .intake import Flooded, Intake
from .places import ServerPlace


class ServerAddress:
    """What a server at a URL answered, and what can be said of it."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._failed = ""

    def state(self) -> str:
        """Why it does not answer, as the rest of a sentence about it; empty if that is not known."""
        return self._intake.fault or self._failed

    async def read(self, response: httpx2.Response) -> None:
        """A response has begun: its body is bounded, and its status is kept if it is an error."""
        code = response.status_code
        # What a server of another version answers to the first request, or one without a stream of its own to a GET.
        if code >= 400 and (code, response.request.method) not in ((404, "DELETE"), (405, "DELETE"), (405, "GET")):
            self._failed = f"answered {code} {httpx2.codes.get_reason_phrase(code)}".strip()
        elif code < 400:
            self._failed = ""
        if response.headers.get("content-encoding", "identity") not in ("identity", ""):
            self._intake.flood(f"sends a body as {response.headers['content-encoding']}, which was not asked for")
        response.stream = _BoundedBody(response.stream, self._intake)


class _BoundedBody(httpx2.AsyncByteStream):
    def __init__(self, body: Any, intake: Intake) -> None:
        self._body, self._intake = body, intake

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._body:
                self._intake.take(len(piece))
                yield piece
        except Flooded as fault:
            raise httpx2.StreamError(str(fault)) from None

    async def aclose(self) -> None:
        await self._body.aclose()


@asynccontextmanager
async def reached(place: ServerPlace, intake: Intake, seconds: float) -> AsyncGenerator[tuple[ServerAddress, tuple[Any, Any]]]:
    """The server and its streams of messages, as a client of the package takes them."""
    server = ServerAddress(intake)

    def client(
        headers: dict[str, str] | None = None, timeout: httpx2.Timeout | None = None, auth: httpx2.Auth | None = None
    ) -> httpx2.AsyncClient:
        made = create_mcp_http_client({**place.headers, **(headers or {}), "accept-encoding": "identity"}, timeout, auth)
        made.event_hooks = {"response": [server.read]}
        return made

    if place.is_older:
        async with sse_client(place.url, timeout=seconds, httpx_client_factory=client) as streams:
            yield server, streams
        return
    async with (
        client(timeout=httpx2.Timeout(seconds)) as http_client,
        streamable_http_client(place.url, http_client=http_client, max_sse_event_size=intake.line) as streams,
    ):
        yield server, streams

"""A gateway before scripted backends of every kind, and their replies, for tests that run a real client program."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from polychat.errors import ReplyFailed
from polychat.events import Event, Finish, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.gateway.sites import Sites, echo
from polychat.providers import ChatgptDuo
from polychat.types import ChatRequest, Opaque
from polychat.wire.contract import Wire, names

from .running_gateway import Running, configured, gateway, row
from .scripted_server import Handler, Say, serving
from .scripted_vendors import Batches, ScriptedVendor
from .sites_application import running

WIRES = names()
ASKED = [{"role": "user", "content": "hi"}]
KEY = "sk-the-gateways-own"

HELLO: list[list[Event]] = [[Start("one", "m")], [Text("Hel")], [Text("lo")], [Usage(11, 7, 18, 3), Finish("complete", "stop")]]
CALLS: list[list[Event]] = [
    [Start("one", "m"), Text("Let me look.")],
    [ToolCallPiece(0, "call_a", "weather", '{"ci')],
    [ToolCallPiece(0, None, None, 'ty":"Oslo"}')],
    [ToolCallPiece(1, "call_b", "now", "{}")],
    [Usage(11, 7, 18), Finish("complete", "tool_calls")],
]
CITY: list[list[Event]] = [[Text('{"name":"Oslo",'), Text('"people":7}')], [Usage(1, 2, 3), Finish("complete", "stop")]]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}


def thoughts(vendor: str) -> list[list[Event]]:
    """A reply that was thought about, with what must come back to its vendor."""
    signed = Reasoning("", Opaque(vendor, "c2lnbmF0dXJl", id="rs_1"))
    return [[Reasoning("Let me "), Reasoning("think."), signed], [Text("42")], [Usage(1, 9, 10), Finish("complete", "stop")]]


@dataclass
class Held(ScriptedVendor):
    """After the first batch of a stream it waits for ``go``: the client is to have seen that much."""

    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def _say(self, wire: Wire, request: ChatRequest, batches: Batches, say: Say) -> None:
        writer = wire.writer(request, "one", 1_700_000_000)
        await say.head(writer.status, writer.headers, writer.content_type)
        await say.chunk(writer.write(list(batches[0])))
        await self.go.wait()
        if self.cut_after is not None:
            await say.cut()
            return
        for batch in batches[1:]:
            await say.chunk(writer.write(list(batch)))
        await say.chunk(writer.end())
        await say.last()


BROKEN: list[list[Event]] = [[Start("one", "m"), Text("so far")], [Finish("failed", error=ReplyFailed("it broke"))]]
Backends = Mapping[str, tuple[str, Handler]]
"""By provider: the wire it speaks, and who answers."""


@asynccontextmanager
async def before(backends: Backends, **more: Any) -> AsyncGenerator[Running, None]:
    """A gateway before these backends. ``more`` is what ``configured`` takes."""
    async with AsyncExitStack() as stack:
        rows = {}
        for name, (wire, handler) in backends.items():
            server = await stack.enter_async_context(serving(handler))
            rows[name] = row(wire, server.url, embeddings=True)
        yield await stack.enter_async_context(gateway(configured(rows, **more)))


@asynccontextmanager
async def house(wire: str, answer: Any, **more: Any) -> AsyncGenerator[tuple[Running, ScriptedVendor], None]:
    """A gateway before one backend, ``house``, that answers so."""
    dialect = answer if isinstance(answer, ScriptedVendor) else ScriptedVendor(wire, answer)
    async with before({"house": (wire, dialect)}, **more) as here:
        yield here, dialect


@asynccontextmanager
async def site(patch: pytest.MonkeyPatch) -> AsyncGenerator[Running, None]:
    """A gateway before a chat site that answers ``echo: `` and the question."""
    async with running(Sites(echo)) as url:
        patch.setattr(ChatgptDuo, "url", f"{url}/chatgptduo")
        async with gateway(configured({})) as here:
            yield here


async def ran(*command: str, cwd: Any = None, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """A program's exit code and what it printed, here and as errors; it is ended where it does not end by itself."""
    program = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )
    try:
        async with asyncio.timeout(40):
            out, err = await program.communicate()
    except BaseException:
        program.kill()
        await program.wait()
        raise
    return program.returncode or 0, out.decode(), err.decode()

"""A vendor's API on loopback: the server half of its wire, answering with events that the test chooses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from polychat.errors import PolychatError
from polychat.events import Event
from polychat.types import ChatRequest
from polychat.wire.contract import Wire, wire_named
from polychat.wire.faults import Fault, fault_of

from .scripted_server import Say, Seen

Batches = Sequence[list[Event]]


@dataclass
class ScriptedVendor:
    """A handler for ``serve``. ``answer`` is what it says to every ask, or makes it from the ask; ``fault`` refuses all."""

    name: str
    answer: Batches | Callable[[ChatRequest], Batches] = ()
    fault: Fault | None = None
    cut_after: int | None = None
    """Close the connection after that many batches of a stream."""
    pause_before: int | None = None
    """Write that batch of a stream only when ``go_on`` is set."""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    asks: list[ChatRequest] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    async def __call__(self, seen: Seen, say: Say) -> None:
        self.seen.append(seen)
        wire = wire_named(self.name)
        if self.fault is not None:
            await say.whole(wire.write_fault(self.fault), self.fault.status)
            return
        try:
            request = request_read(wire, seen)
        except PolychatError as error:
            fault = fault_of(error)
            await say.whole(wire.write_fault(fault), fault.status)
            return
        self.asks.append(request)
        batches = self.answer(request) if callable(self.answer) else self.answer
        await self._say(wire, request, batches, say)

    async def _say(self, wire: Wire, request: ChatRequest, batches: Batches, say: Say) -> None:
        writer = wire.writer(request, "one", 1_700_000_000)
        if not writer.streams:
            for batch in batches:
                writer.write(list(batch))
            body = writer.end()
            await say.whole(body, writer.status, writer.content_type, writer.headers)
            return
        await say.head(writer.status, writer.headers, writer.content_type)
        for number, batch in enumerate(batches):
            if number == self.cut_after:
                await say.cut()
                return
            if number == self.pause_before:
                await self.go_on.wait()
            await say.chunk(writer.write(list(batch)))
        await say.chunk(writer.end())
        await say.last()


def request_read(wire: Wire, seen: Seen) -> ChatRequest:
    """The ask of a request, with what the wire says in the path."""
    if wire.NAME != "gemini":
        return wire.read_request(seen.body)
    model, _, action = seen.path.rpartition("/models/")[2].partition(":")
    return wire.read_request(seen.body, model=model, stream=action == "streamGenerateContent")

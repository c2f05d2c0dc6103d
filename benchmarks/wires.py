"""CPU of a streamed chunk read from one wire and written on another: what a gateway between the two adds to a chunk.

In this process and without a network: the bytes of a long answer, as a wire's own writer has them, go a chunk at a time
through its reader and the other's writer. The aim: under 6 us a chunk.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from polychat.events import Event, Finish, Start, Text, Usage
from polychat.types import ChatMessage, ChatRequest, TextPart
from polychat.wire.contract import Wire, names, wire_named

from .report import Table, progress

CHUNKS = 2000
ROUNDS = 7
PIECE = "a word or two, "
AIM = 6.0


def measure() -> Iterator[Table]:
    """One table, every wire to every wire."""
    wires = names()
    table = Table("CPU of a streamed chunk, read and written", ["from \\ to, us", *wires])
    for number, name in enumerate(wires):
        progress(f"wires: {number + 1} of {len(wires)}")
        chunks = _chunks(wire_named(name))
        table.rows.append([name, *(f"{median(_cost(name, to, chunks) for _ in range(ROUNDS)):.1f}" for to in wires)])
    table.notes.append(f"Medians of {ROUNDS} rounds of {CHUNKS} chunks, one a read. How: `benchmarks/wires.py`.")
    yield table


def _chunks(spoken: Wire) -> list[bytes]:
    """A long answer as its wire has it, a piece a chunk."""
    writer = spoken.writer(_ask(), "one", 1_700_000_000)
    end: list[Event] = [Usage(10, CHUNKS, CHUNKS + 10), Finish("complete", "stop")]
    chunks = [writer.write([Start("one", "some-model")]), *(writer.write([Text(PIECE)]) for _ in range(CHUNKS))]
    return [*chunks, writer.write(end) + writer.end()]


def _cost(name: str, to: str, chunks: list[bytes]) -> float:
    """Microseconds a chunk."""
    reader, writer = wire_named(name).Reader(), wire_named(to).writer(_ask(), "two", 1_700_000_000)
    began = time.process_time()
    size = sum(len(writer.write(reader.feed(chunk))) for chunk in chunks) + len(writer.write(reader.end()) + writer.end())
    spent = time.process_time() - began
    if not reader.done or size < CHUNKS * len(PIECE):
        raise RuntimeError(f"from {name} to {to} not everything arrived")
    return spent / CHUNKS * 1e6


def _ask() -> ChatRequest:
    return ChatRequest("some-model", [ChatMessage("user", [TextPart("hi")])], stream=True, stream_usage=True)

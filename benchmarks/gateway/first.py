"""Whether the first piece of a stream arrives when it was sent. What buffers a stream looks fast, and is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from ..report import Table, progress
from .bench import Bench, Row, run
from .load import connect
from .upstream import HOLD, SCENARIOS


def measure(bench: Bench, _: float | None = None) -> Iterator[Table]:
    """One table."""
    table = Table("The first piece", ["", "", "ms after it was sent", ""])
    for row in bench.rows(direct=True):
        progress(f"gateway/first: {row.name}, {row.way.label}")
        late = _late(bench, row)
        name = ["direct", ""] if row.live is None else row.cells()
        table.rows.append([*name, f"{late * 1000:.1f}", "**buffers**" if late > HOLD / 2 else "passed on"])
    table.notes.append(
        f"The backend writes one piece, is silent for {HOLD:g} s, and writes the rest. When it wrote is by its own clock, "
        f"which is the client's."
    )
    yield table


def _late(bench: Bench, row: Row) -> float:
    bench.told("forget")
    arrived = run(_first(row))
    return arrived - float(next(one["first"] for one in bench.seen() if one["model"] == "held"))


async def _first(row: Row) -> float:
    async with asyncio.timeout(20):
        client = await connect(row.port)
        await client.ask(row.request("held"))
        client.transport.abort()
        if client.pieces != SCENARIOS["held"].pieces:
            raise RuntimeError(f"{row.name}: {client.pieces} pieces came")
        return client.first

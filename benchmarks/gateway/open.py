"""10,000 open streams: whether any fails, and the memory each takes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from ..report import Table, progress
from .bench import Absent, Bench, run
from .load import Failed, many, repeated, told
from .upstream import SCENARIOS
from .ways import Live, Way

MANY = 10_000
FEW = 500
"""Of gateways that take their time."""
PATIENCE = 30.0


@dataclass
class Held:
    began: int
    ended: int
    each: float
    """Bytes of memory."""
    after: float
    """Bytes more than before, when all are over."""


def measure(bench: Bench, number: float | None = None) -> Iterator[Table]:
    """One table. A gateway holds two connections a stream: where fewer files may be open, there are fewer streams."""
    most = min(int(number or MANY), (bench.files - 100) // 2)
    table = Table("Open streams", ["", "", "streams", "with a first piece", "whole", "kB each", "kB each, when over"])
    for gateway in bench.gateways:
        for way in gateway.ways[: 1 if gateway.slow else None]:
            count = min(FEW, most) if gateway.slow or gateway.standin else most
            progress(f"gateway/open: {gateway.name}, {way.label}")
            try:
                with bench.fresh(gateway) as live:
                    held = run(_held(bench.upstream_port, live, way, count))
            except (Absent, Failed, TimeoutError, RuntimeError, OSError) as error:
                bench.missing(f"{gateway.name}, {way.label}, {count} streams", error)
                continue
            kilobytes = [f"{held.each / 1000:.1f}", f"{held.after / 1000:.1f}"]
            table.rows.append([gateway.name, way.label, f"{count:,}", f"{held.began:,}", f"{held.ended:,}", *kilobytes])
    table.notes.append(
        f"Each has had its first piece and waits for the second; then all go on. Resident memory beyond what it was after a "
        f"hundred requests. This machine lets a process open {bench.files:,} files."
    )
    yield table


async def _held(upstream: int, live: Live, way: Way, count: int) -> Held:
    await repeated(live.port, live.request(way, "short"), 1, together=10, seconds=0.5)
    before = live.running.memory()
    clients = await many(live.port, live.request(way, "open"), count, most=PATIENCE)
    try:
        if why := next((client.why for client in clients if client.why), ""):
            print(f"\n{live.gateway.name}: a stream failed: {why}", file=sys.stderr)
        began = sum(client.pieces == 1 for client in clients)
        most = live.running.memory()
        await told(upstream, "/bench/release")
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE / 2):
                await asyncio.gather(*(client.over for client in clients), return_exceptions=True)
        ended = sum(client.pieces == SCENARIOS["open"].pieces and not client.lost for client in clients)
    finally:
        for client in clients:
            client.transport.abort()
        await told(upstream, "/bench/release")
    await asyncio.sleep(0.5)
    return Held(began, ended, (most - before) / count, (live.running.memory() - before) / count)

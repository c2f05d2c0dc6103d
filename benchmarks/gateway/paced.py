"""500 streams, each with a piece every 20 ms, as models write: CPU of a piece, and whether the streams keep pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from statistics import median, quantiles

from ..report import Table, progress
from .bench import Bench, Row, in_turns, run
from .load import Client, Failed, connect
from .upstream import GAP, PACED

ROUNDS = 2
STREAMS = 500
WINDOW = 1.5
"""Seconds over which CPU is read, when all streams have begun."""
PATIENCE = 12.0
"""Seconds that a gateway is given for all of it."""
DUE = (PACED - 1) * GAP


@dataclass
class Taken:
    us: float
    """0 where nothing came."""
    p50: float
    p99: float
    late: int
    """Streams that did not end in time, or failed."""


def measure(bench: Bench, _: float | None = None) -> Iterator[Table]:
    """One table."""
    rows = bench.rows(direct=True, brief=True)
    taken: dict[Row, list[Taken]] = {row: [] for row in rows}
    for row in in_turns(rows, ROUNDS):
        progress(f"gateway/paced: {row.name}, {row.way.label}")
        taken[row].append(run(_paced(bench, row)))
    columns = ["", "", "us of CPU a piece", "p50 of the whole, s", "p99 of the whole, s", "p99 to direct", "not in time"]
    table = Table(f"{STREAMS} paced streams", columns)
    direct = median(one.p99 for one in taken[rows[0]])
    for row in rows:
        us, p50, p99 = (median(getattr(one, name) for one in taken[row]) for name in ("us", "p50", "p99"))
        late = max(one.late for one in taken[row])
        name = ["direct (the upstream itself)", ""] if row.live is None else row.cells()
        shown = [f"{p50:.3f}", f"{p99:.3f}", f"{p99 / direct:.3f}"] if late == 0 else ["", "", ""]
        table.rows.append([*name, f"{us:.1f}" if us else "none came", *shown, str(late)])
    table.notes.append(
        f"{PACED} pieces a stream, one each {GAP * 1000:.0f} ms, the streams' moments spread evenly: {DUE:.2f} s from the "
        f"first to the last. CPU is over {WINDOW:g} s in which all streams flow, by the pieces that came in them; of who "
        f"cannot keep half the pace over all of it, the requests in it. *Not in time*: of {STREAMS}, after {PATIENCE:g} s. "
        f"Medians of {ROUNDS} rounds."
    )
    yield table


async def _paced(bench: Bench, row: Row) -> Taken:
    process = bench.upstream if row.live is None else row.live.running
    request, began, before = row.request("paced"), time.monotonic(), process.cpu()
    clients = [await connect(row.port) for _ in range(STREAMS)]
    try:
        asks = []
        for number, client in enumerate(clients):
            asks.append(asyncio.create_task(client.ask(request)))
            if number % 25 == 24:
                await asyncio.sleep(GAP / 20)
        flow = await _all_begun(clients) and await _flowing(process.cpu, clients)
        _, late = await asyncio.wait(asks, timeout=max(0.1, began + PATIENCE - time.monotonic()))
        came = sum(client.pieces for client in clients)
        us = flow or (process.cpu() - before) / came * 1e6 if came else 0.0
        good = [ask.result() for ask in asks if ask not in late and ask.exception() is None]
        for ask in late:
            ask.cancel()
        cuts = quantiles(good, n=100) if len(good) > 1 else [0.0] * 99
        whole = sum(client.pieces == PACED for client in clients)
        return Taken(us, cuts[49], cuts[98], STREAMS - min(len(good), whole))
    finally:
        for client in clients:
            client.transport.abort()
        await asyncio.sleep(0.2)


async def _all_begun(clients: list[Client]) -> bool:
    """Whether all have their first piece before any can have its last."""
    with suppress(TimeoutError, Failed):
        async with asyncio.timeout(DUE / 3):
            await asyncio.gather(*(asyncio.shield(client.began) for client in clients))
            return True
    return False


async def _flowing(cpu: Callable[[], float], clients: list[Client]) -> float:
    """Microseconds of CPU a piece while all streams flow; 0 where they did not come at half their pace."""
    before, pieces, began = cpu(), sum(client.pieces for client in clients), time.monotonic()
    while time.monotonic() < began + WINDOW and not any(client.over.done() for client in clients):
        await asyncio.sleep(0.05)
    spent, came = cpu() - before, sum(client.pieces for client in clients) - pieces
    due = (time.monotonic() - began) / GAP * STREAMS
    return spent / came * 1e6 if came > due / 2 else 0.0

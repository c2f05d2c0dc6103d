"""500 streams, each with a piece every 20 ms, as models write: CPU of a piece, and whether the streams keep pace.

Both are measured on connections that have carried a short stream before, at each gateway: opening 500 connections to a backend
is no part of a piece. What they cost is in the column of new connections. CPU is read in ``flow.py``, in rounds of its own.

A whole stream is begun, and then goes its pace. Where all 500 begin within 20 ms, the last of them wait until the others are
begun, and that wait is nearly all of what is late: 25,000 begin a second, and no gateway but nginx begins so many. So they are
also begun within a second, as many as there are in all: then the pace is what is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median, quantiles

from msgspec import json

from ..report import Table, progress
from .bench import Bench, Row, in_turns, run
from .flow import Flow, Order
from .load import Client, Failed, connect, posted
from .upstream import GAP, PACED

ROUNDS = 5
"""In which CPU is read; the time of whole streams is taken in ``WHOLE_ROUNDS``."""
WHOLE_ROUNDS = 4
STREAMS = 500
SPREAD = 1.0
"""Seconds within which the streams begin that do not all begin at once, which is within ``GAP``."""
WINDOW = 1.5
"""Seconds over which CPU is read, when all streams flow."""
SETTLE = 0.5
PATIENCE = 12.0
"""Seconds that a gateway is given for all of it."""
DUE = (PACED - 1) * GAP


@dataclass
class Taken:
    p50: float
    p99: float
    first: float
    """p99 of the time to the first piece."""
    late: int
    """Streams that did not end in time, or failed."""


@dataclass
class Cost:
    us: float
    """Of CPU a piece."""
    pieces_a_read: float
    pace: float
    """The share of the pieces that are due which came."""


def measure(bench: Bench, _: float | None = None) -> Iterator[Table]:
    """Two tables."""
    rows = bench.rows(direct=True, brief=True)
    yield _costs(bench, rows[1:])
    yield _wholes(bench, rows)


def _costs(bench: Bench, rows: list[Row]) -> Table:
    awake: dict[Row, list[Cost]] = {row: [] for row in rows}
    asleep: dict[Row, list[Cost]] = {row: [] for row in rows}
    for row in in_turns(rows, ROUNDS):
        progress(f"gateway/paced: CPU of {row.name}, {row.way.label}")
        for costs, is_awake in ((awake, True), (asleep, False)):
            if (cost := _cost(bench, row, is_awake=is_awake)) is not None:
                costs[row].append(cost)
    to = f"to {rows[0].name}"
    columns = ["", "", "us of CPU a piece", to, "least", "most", "us, the load sleeps", to, "pieces a read", "pace"]
    table = Table(f"A piece of {STREAMS} paced streams", columns)
    for row in rows:
        if not (awake[row] and asleep[row]):
            table.rows.append([*row.cells(), "none came"])
            continue
        us, ratios = _compared(awake, row, rows[0])
        us_asleep, ratios_asleep = _compared(asleep, row, rows[0])
        joined, pace = (median(getattr(cost, name) for cost in awake[row] + asleep[row]) for name in ("pieces_a_read", "pace"))
        shown = [f"{ratio:.2f}" for ratio in (median(ratios), min(ratios), max(ratios))]
        slept = [f"{us_asleep:.1f}", f"{median(ratios_asleep):.2f}"]
        table.rows.append([*row.cells(), f"{us:.1f}", *shown, *slept, f"{joined:.2f}", f"{pace:.0%}"])
    table.notes.append(
        f"A piece each {GAP * 1000:.0f} ms a stream. CPU of the gateway over {WINDOW:g} s in which all streams flow, by "
        "the pieces that came; the load never sleeps, so that nobody pays for waking it, and then does: see `flow.py`. "
        f"Ratios within a round, of {ROUNDS} in turns: their median, least and most. Where more than one piece comes in a "
        "read, other processes held the core: such a run says nothing of a piece."
    )
    return table


def _compared(costs: dict[Row, list[Cost]], row: Row, base: Row) -> tuple[float, list[float]]:
    """Microseconds a piece, and how many times those of ``base`` they are in each round."""
    us = [cost.us for cost in costs[row]]
    return median(us), [ours / cost.us for ours, cost in zip(us, costs[base], strict=False)]


def _cost(bench: Bench, row: Row, *, is_awake: bool) -> Cost | None:
    """``None``, and a note, where streams fail."""
    assert row.live is not None
    request, warm = (row.request(scenario).decode() for scenario in ("flowing", "short"))
    order = Order(row.port, row.live.running.tree(), warm, request, STREAMS, SETTLE, WINDOW, is_awake)
    answer = json.decode(run(posted(bench.upstream_port, "/bench/flow", json.encode(order))), type=Flow | str)
    if isinstance(answer, str) or not answer.chunks:
        bench.missing(f"paced: {row.name}, {row.way.label}", Failed(str(answer)))
        return None
    due = answer.seconds / GAP * STREAMS
    return Cost(answer.cpu / answer.chunks * 1e6, answer.chunks / answer.reads, answer.chunks / due)


def _wholes(bench: Bench, rows: list[Row]) -> Table:
    at_once, spread, new = ({row: list[Taken]() for row in rows} for _ in range(3))
    for row in in_turns(rows, WHOLE_ROUNDS):
        progress(f"gateway/paced: whole streams of {row.name}, {row.way.label}")
        new[row].append(run(_paced(row, GAP, is_warm=False)))
        at_once[row].append(run(_paced(row, GAP, is_warm=True)))
        spread[row].append(run(_paced(row, SPREAD, is_warm=True)))
    columns = [
        "",
        "",
        "p50 of the whole, s",
        "p99 of the whole, s",
        "p99 to direct",
        "least",
        "most",
        "p99 of the first piece, ms",
    ]
    more = [f"begun within {SPREAD:g} s: p99 to direct", "least", "most", "p99 of the first piece, ms", "on new connections"]
    table = Table(f"{STREAMS} paced streams", [*columns, *more, "not in time"])
    for row in rows:
        late = max(one.late for taken in (at_once, spread, new) for one in taken[row])
        name = ["direct (the upstream itself)", ""] if row.live is None else row.cells()
        if late:
            table.rows.append([*name, *[""] * 11, str(late)])
            continue
        p50, p99 = (median(getattr(one, name) for one in at_once[row]) for name in ("p50", "p99"))
        shown = [f"{p50:.3f}", f"{p99:.3f}", *_beside(at_once, row, rows[0]), *_beside(spread, row, rows[0])]
        table.rows.append([*name, *shown, _beside(new, row, rows[0])[0], "0"])
    table.notes.append(
        f"{PACED} pieces a stream, one each {GAP * 1000:.0f} ms, the streams' moments spread evenly: {DUE:.2f} s from the "
        f"first to the last. All begin within {GAP * 1000:.0f} ms ({STREAMS / GAP:,.0f} a second), and then, in runs of "
        f"their own, within {SPREAD:g} s. Each connection carried a short stream before; on new ones, where all begin at "
        "once, the clients' are new, and the backend's where the gateway kept none. *Not in time*: of "
        f"{STREAMS}, after {PATIENCE:g} s. Of "
        f"{WHOLE_ROUNDS} rounds in turns; ratios within a round: their median, least and most."
    )
    return table


def _beside(taken: dict[Row, list[Taken]], row: Row, direct: Row) -> list[str]:
    """The p99 of the whole by that of the same round at ``direct``, median, least and most; and of the first piece, in ms."""
    ratios = [ours.p99 / its.p99 for ours, its in zip(taken[row], taken[direct], strict=False)]
    first = median(one.first for one in taken[row]) * 1000
    return [*(f"{ratio:.3f}" for ratio in (median(ratios), min(ratios), max(ratios))), f"{first:.0f}"]


async def _paced(row: Row, spread: float, *, is_warm: bool) -> Taken:
    """All streams, which begin within ``spread`` seconds."""
    request, warm, began = row.request("paced"), row.request("short"), time.monotonic()
    clients = [await connect(row.port) for _ in range(STREAMS)]
    try:
        if is_warm:
            await asyncio.gather(*(_warmed(client, warm) for client in clients))
        asks = []
        step = max(1, round(STREAMS * 0.001 / spread))
        for number, client in enumerate(clients, 1):
            asks.append(asyncio.create_task(client.ask(request)))
            if number % step == 0:
                await asyncio.sleep(spread * step / STREAMS)
        _, late = await asyncio.wait(asks, timeout=max(0.1, began + PATIENCE - time.monotonic()))
        good = [ask.result() for ask in asks if ask not in late and ask.exception() is None]
        for ask in late:
            ask.cancel()
        cuts = quantiles(good, n=100) if len(good) > 1 else [0.0] * 99
        first = quantiles((client.first - client.sent for client in clients if client.pieces), n=100) if good else [0.0] * 99
        whole = sum(client.pieces == PACED for client in clients)
        return Taken(cuts[49], cuts[98], first[98], STREAMS - min(len(good), whole))
    finally:
        for client in clients:
            client.transport.abort()
        await asyncio.sleep(0.2)


async def _warmed(client: Client, request: bytes) -> None:
    try:
        async with asyncio.timeout(PATIENCE / 2):
            await client.ask(request)
    except (Failed, TimeoutError):
        client.fail("it gave no short stream")  # what it is asked next fails, and is counted

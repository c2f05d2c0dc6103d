"""From the command to the end of the first answer, and the memory that is taken by then and under load."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from ..report import Table, progress
from .bench import Absent, Bench, run
from .load import repeated
from .upstream import PIECES
from .ways import Gateway, started

TIMES = 3
SECONDS = 1.0
TOGETHER = 64


def measure(bench: Bench, _: float | None = None) -> Iterator[Table]:
    """One table: seconds and megabytes."""
    table = Table("Start and memory", ["", "s to the first answer", "MB then", "MB under load"])
    for gateway in bench.gateways:
        progress(f"gateway/start: {gateway.name}")
        try:
            took = [_started(bench, gateway) for _ in range(1 if gateway.slow else TIMES)]
        except (Absent, TimeoutError, RuntimeError) as error:
            bench.missing(gateway.name, error)
            continue
        table.rows.append([gateway.name, *_middles(took)])
    table.notes.append(
        f"Fresh processes, medians of {TIMES} (slow ones: 1). Memory is resident, all processes of it. Load: {TOGETHER} "
        f"connections of wrk with plain requests, then as many with streams of {PIECES} pieces, {SECONDS:g} s each."
    )
    yield table


def _middles(took: list[tuple[float, float, float]]) -> list[str]:
    seconds, idle, most = (median(values) for values in zip(*took, strict=True))
    return [f"{seconds:.2f}", f"{idle:.0f}", f"{most:.0f}"]


def _started(bench: Bench, gateway: Gateway) -> tuple[float, float, float]:
    with started(gateway, bench.upstream_port) as live:
        took = bench.answered(live)
        idle = live.running.memory() / 1e6
        way = gateway.ways[0]
        bench.wrk(live.port, live.request(way, "plain"), together=TOGETHER, seconds=SECONDS)
        most = live.running.memory() / 1e6
        run(repeated(live.port, live.request(way, "batches"), PIECES, together=TOGETHER, seconds=SECONDS))
        return took, idle, max(most, live.running.memory() / 1e6)

"""What a gateway adds to the time of a lone request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from ..report import Table, progress
from .bench import Bench, Row, in_turns

ROUNDS = 3
SECONDS = 1.0


def measure(bench: Bench, _: float | None = None) -> Iterator[Table]:
    """One table: milliseconds at one connection."""
    rows = bench.rows(direct=True, brief=True)
    p50, p99 = (defaultdict[Row, list[float]](list) for _ in range(2))
    for row in in_turns(rows, ROUNDS):
        progress(f"gateway/latency: {row.name}, {row.way.label}")
        got = bench.wrk(row.port, row.request("plain"), together=1, seconds=SECONDS)
        p50[row].append(got.p50 / 1000)
        p99[row].append(got.p99 / 1000)
    table = Table("A lone request", ["", "", "p50, ms", "p99, ms", "added at p50", "added at p99"])
    direct = rows[0]
    for row in rows:
        middles = [median(p50[row]), median(p99[row])]
        added = [f"{value - median(to[direct]):.3f}" for value, to in zip(middles, (p50, p99), strict=True)]
        name = ["direct", ""] if row is direct else row.cells()
        table.rows.append([*name, *(f"{value:.3f}" for value in middles), *(["", ""] if row is direct else added)])
    table.notes.append(f"One kept connection of wrk, medians of {ROUNDS} rounds of {SECONDS:g} s in turns.")
    yield table

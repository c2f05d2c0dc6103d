"""CPU of a plain request, and what it adds to a lone one's time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from ..report import Table, progress
from .bench import Bench, Row, in_turns

ROUNDS = 3
USUAL = (48, 2)
SLOW = (8, 4)
"""Connections and seconds. Of slow ones few, as what is under way at the end is paid for and not counted."""


def measure(bench: Bench, _: float | None = None) -> Iterator[Table]:
    """One table: microseconds of CPU a request."""
    rows = [*bench.rows(direct=True), *bench.with_tools()]
    cost, rate, busy, errors = (defaultdict[Row, list[float]](list) for _ in range(4))
    for row in in_turns(rows, ROUNDS):
        progress(f"gateway/plain: {row.name}, {row.way.label}")
        request, (together, seconds) = row.request("plain"), SLOW if row.slow else USUAL
        if row not in cost:
            bench.wrk(row.port, request, together=together, seconds=1)
        before = bench.cpu(row)
        got = bench.wrk(row.port, request, together=together, seconds=seconds)
        spent = bench.cpu(row) - before
        cost[row].append(spent / max(1, got.requests) * 1e6)
        rate[row].append(got.requests / got.seconds)
        busy[row].append(spent / got.seconds)
        errors[row].append(got.errors)
    table = Table("Plain request", ["", "", "us of CPU a request", "to nginx", "requests a second", "core busy", "errors"])
    nginx = next((median(cost[row]) for row in rows if row.name == "nginx"), None)
    for row in rows:
        middle = median(cost[row])
        name = ["(the upstream itself)", ""] if row.live is None else row.cells()
        to_nginx = f"{middle / nginx:.1f}" if nginx else ""
        shown = [f"{median(rate[row]):,.0f}", f"{median(busy[row]):.0%}", f"{sum(errors[row]):.0f}"]
        table.rows.append([*name, f"{middle:.1f}", to_nginx, *shown])
    table.notes.append(
        f"{USUAL[0]} kept connections of wrk for {USUAL[1]} s (slow ones: {SLOW[0]} for {SLOW[1]} s), medians of {ROUNDS} "
        f"rounds in turns. With a tool: requests as agents send them; those without differ in nothing but their text."
    )
    yield table

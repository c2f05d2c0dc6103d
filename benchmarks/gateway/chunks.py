"""CPU of a streamed piece where the backend writes as fast as it can: all at once, and a few in a write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from statistics import median

from ..report import Table, progress
from .bench import Bench, Row, in_turns, run
from .load import Load, repeated
from .upstream import BATCH, PIECES

ROUNDS = 3
SECONDS = 0.7
TOGETHER = 32
KINDS = {"short": 1, "whole": PIECES, "batches": PIECES}


def measure(bench: Bench, _: float | None = None) -> Iterator[Table]:
    """One table: microseconds of CPU a piece."""
    rows = bench.rows(direct=True)
    costs: dict[str, dict[Row, list[float]]] = {name: defaultdict(list) for name in ("short", "whole", "batches")}
    reads: dict[Row, list[float]] = defaultdict(list)
    failed: dict[Row, int] = defaultdict(int)
    for row in in_turns(rows, ROUNDS):
        progress(f"gateway/chunks: {row.name}, {row.way.label}")
        a_reply = {}
        for kind in KINDS:
            a_reply[kind], load = _cost(bench, row, kind)
            failed[row] += len(load.failures)
        reads[row].append(load.reads / max(1, load.replies))
        costs["short"][row].append(a_reply["short"])
        for kind in ("whole", "batches"):
            costs[kind][row].append((a_reply[kind] - a_reply["short"]) / (PIECES - 1))
    yield _table(rows, costs, reads, failed)


def _cost(bench: Bench, row: Row, kind: str) -> tuple[float, Load]:
    """Microseconds of CPU a reply."""
    before = bench.cpu(row)
    load = run(repeated(row.port, row.request(kind), KINDS[kind], together=TOGETHER, seconds=SECONDS))
    return (bench.cpu(row) - before) / max(1, load.replies) * 1e6, load


def _table(
    rows: list[Row], costs: dict[str, dict[Row, list[float]]], reads: dict[Row, list[float]], failed: dict[Row, int]
) -> Table:
    columns = ["", "", "us a reply of one piece", "us a piece, all at once", f"us a piece, {BATCH} a write", "reads", "failed"]
    table = Table("Streamed pieces without delay", columns)
    for row in rows:
        name = ["(the upstream itself)", ""] if row.live is None else row.cells()
        middles = [f"{median(costs[kind][row]):.1f}" for kind in costs]
        table.rows.append([*name, *middles, f"{median(reads[row]):.0f}", str(failed[row])])
    table.notes.append(
        f"CPU. {TOGETHER} kept connections, replies of {PIECES} pieces and of one; a piece is what each of the others adds. "
        f"With {BATCH} a write the backend makes {PIECES // BATCH} writes a reply, each in a turn of its loop; *reads* is in "
        f"how many the client got it. Medians of {ROUNDS} rounds of {SECONDS:g} s in turns."
    )
    return table

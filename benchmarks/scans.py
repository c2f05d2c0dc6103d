"""CPU of reading hostile bodies of 1 and of 4 MB: how it grows, at every place of a request or a reply that can be long.

The tests do the same with a few of them (``tests/faults/test_safety_scans.py``) and count steps for the rest. This takes some
minutes. Linear is 1.0: four times as long for four times as much. Objects of 100,000 names take up to twice that, since a
hash table that no cache holds is slower; what is quadratic takes four times that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tests.support.grown_bodies import KINDS, SHOWN, Read, bodies, shown
from tests.support.linear_time import Make, took

from polychat.wire.contract import names

from .report import Table, progress

SIZE = 1_000_000
LEAST = 0.05
"""Seconds below which a ratio of two is noise."""


class Cost(NamedTuple):
    """Of one place: how many times as long a byte takes of 4 MB as of 1 MB, and the seconds that 1 MB of the larger takes."""

    growth: float
    per_mb: float
    where: str


def measure() -> Iterator[Table]:
    """One table: a line for each kind of body of each wire, and one for text that is shown."""
    table = Table("CPU of hostile bodies, 1 and 4 MB", ["body", "places", "most growth", "where", "slowest, ms a MB", "where"])
    for name in names():
        for kind in KINDS:
            made, read = bodies(name, kind)
            table.rows.append(_row(f"{name}, {kind}", ((where, make, read) for where, make in made)))
    table.rows.append(_row("text that is shown", ((repr(unit), *shown(unit)) for unit in SHOWN)))
    table.notes.append(
        f"Growth: CPU a byte of 4 MB by CPU a byte of 1 MB, where 4 MB take {LEAST * 1000:.0f} ms or more; linear is 1.0, "
        "quadratic 4.0. A request is read by its wire and written by all. How: `benchmarks/scans.py`."
    )
    yield table


def _row(label: str, made: Iterable[tuple[str, Make, Read]]) -> list[str]:
    costs = []
    for where, make, read in made:
        progress(f"scans: {label}, {where}")
        costs.append(_cost(where, make, read))
    grows, slowest = max(costs), max(costs, key=lambda cost: cost.per_mb)
    return [label, str(len(costs)), f"{grows.growth:.2f}", grows.where, f"{slowest.per_mb * 1000:.1f}", slowest.where]


def _cost(where: str, make: Make, read: Read) -> Cost:
    small, large = make(SIZE), make(4 * SIZE)
    one, four = took(read, small), took(read, large)
    growth = four / len(large) * len(small) / one if four >= LEAST else 0.0
    return Cost(growth, four / len(large) * 1_000_000, where.replace("|", "\\|"))

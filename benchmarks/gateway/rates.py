"""The largest rate of plain requests at which the slowest percent of replies still comes in time.

The load is open: requests are due at moments drawn beforehand (a Poisson process), whether or not earlier ones were answered,
and a reply's time counts from the moment its request was due. A gateway that falls behind is charged with all that waits.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import quantiles
from typing import cast

from ..report import Table, progress
from .bench import Bench, Row, run

LIMITS = (1.0, 5.0, 10.0, 50.0)
"""Milliseconds at the 99th percentile."""
SECONDS = 2.0
FIRST, STEP, MOST = 100.0, 1.3, 40_000.0
"""Requests a second: the first rate, the factor to the next, and the last."""
CONNECTIONS = 256
_WAITS = 4.0
"""Seconds after the last request was due for which replies are waited for."""
_LENGTH = re.compile(rb"(?i)\ncontent-length: *(\d+)")


def measure(bench: Bench, _: float | None = None) -> Iterator[Table]:
    """Two tables: requests a second by the limit, and the curve, milliseconds by the rate."""
    columns = ["", "", *(f"p99 under {limit:g} ms" for limit in LIMITS), "p99 at half of the last, ms"]
    table = Table("The largest rate at which replies come in time", columns)
    curves: dict[str, dict[float, float]] = {}
    for row in bench.rows(direct=True, brief=True):
        progress(f"gateway/rates: {row.name}, {row.way.label}")
        p99s = _climb(row)
        name = ["direct (the upstream itself)", ""] if row.live is None else row.cells()
        curves[", ".join(filter(None, name))] = p99s
        table.rows.append([*name, *(_largest(p99s, limit) for limit in LIMITS), _at_half(p99s)])
    table.notes.append(
        f"Requests a second, each due at a moment drawn beforehand; times count from that moment. Rates rise by "
        f"{STEP - 1:.0%} from {FIRST:g}, {SECONDS:g} s each, until p99 is over {LIMITS[-1]:g} ms twice; "
        f"{CONNECTIONS} connections."
        f" The first row is what the load and the upstream can do by themselves, on one core: a gateway near it may do more."
    )
    yield table
    yield _curve(curves)


def _curve(curves: dict[str, dict[float, float]]) -> Table:
    """Milliseconds at the 99th percentile, a column a way and a row every second rate."""
    rates = sorted(set[float]().union(*curves.values()))[::2]
    table = Table("p99 by the rate, ms", ["requests a second", *curves])
    for rate in rates:
        shown = [f"{p99s[rate]:.2f}" if rate in p99s else "" for p99s in curves.values()]
        table.rows.append([f"{rate:,.0f}", *shown])
    table.notes.append(
        "Of the same run; empty above the rates that were tried, *inf* where one in a hundred was never answered."
    )
    return table


def _climb(row: Row) -> dict[float, float]:
    """Milliseconds at the 99th percentile for each rate, up to the first two in a row that are over the last limit."""
    request, rate, p99s, missed = row.request("plain"), FIRST, dict[float, float](), 0
    while rate <= MOST and missed < 2:
        p99s[rate] = run(p99_at(row.port, request, rate))
        missed = missed + 1 if p99s[rate] > LIMITS[-1] else 0
        rate *= STEP
    return p99s


def _largest(p99s: dict[float, float], limit: float) -> str:
    """The last rate before the first two in a row that miss the limit: one may be the machine's noise."""
    largest, missed = 0.0, 0
    for rate, p99 in p99s.items():
        missed = 0 if p99 <= limit else missed + 1
        if missed == 2:
            break
        if not missed:
            largest = rate
    return f"{largest:,.0f}" if largest else "none"


def _at_half(p99s: dict[float, float]) -> str:
    last = max(p99s)
    return f"{p99s[min(p99s, key=lambda rate: abs(rate - last / 2))]:.2f}"


@dataclass
class _Load:
    """What is due, who may send it, and what came of it."""

    request: bytes
    idle: list[_Client] = field(default_factory=list)
    due: deque[float] = field(default_factory=deque)
    took: list[float] = field(default_factory=list)

    def send(self) -> None:
        """Send all that is due as far as connections are free."""
        now = time.monotonic()
        while self.due and self.idle and self.due[0] <= now:
            client = self.idle.pop()
            client.due = self.due.popleft()
            client.transport.write(self.request)


class _Client(asyncio.Protocol):
    """One kept connection; one request at a time."""

    transport: asyncio.Transport

    def __init__(self, load: _Load) -> None:
        self.load, self.due = load, 0.0
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        self.load.idle.append(self)

    def data_received(self, data: bytes) -> None:
        received = self.received = self.received + data if self.received else data
        end = received.find(b"\r\n\r\n")
        length = _LENGTH.search(received, 0, end + 2) if end > 0 else None
        if length is None or len(received) < end + 4 + int(length[1]):
            return
        self.received = b""
        if received.startswith(b"HTTP/1.1 200"):
            self.load.took.append(time.monotonic() - self.due)
            self.load.idle.append(self)
        else:
            self.transport.abort()  # a refusal counts as a reply that never came


async def p99_at(port: int, request: bytes, rate: float) -> float:
    """Milliseconds; infinite where more than one reply in a hundred did not come at all."""
    loop, load, chance = asyncio.get_running_loop(), _Load(request), random.Random(int(rate))
    clients = [(await loop.create_connection(lambda: _Client(load), "127.0.0.1", port))[1] for _ in range(CONNECTIONS)]
    moment = time.monotonic() + 0.05
    end = moment + SECONDS
    while moment < end:
        load.due.append(moment)
        moment += chance.expovariate(rate)
    asked = len(load.due)
    try:
        while len(load.took) < asked and time.monotonic() < end + _WAITS:
            load.send()
            await asyncio.sleep(0)  # a timer would be a millisecond late
    finally:
        for client in clients:
            client.transport.abort()
    took = load.took + [float("inf")] * (asked - len(load.took))
    return quantiles(took, n=100)[98] * 1000 if len(took) > 1 else float("inf")

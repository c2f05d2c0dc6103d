"""Memory after many requests, beside what it was after 10,000."""

from __future__ import annotations

from collections.abc import Iterator

from ..report import Table, progress
from .bench import Absent, Bench, run
from .load import repeated
from .ways import Gateway, Live

FIRST = 10_000
REQUESTS = 50_000
TOGETHER = 48


def measure(bench: Bench, number: float | None = None) -> Iterator[Table]:
    """One table. ``number`` is how many requests; 1,000,000 for the record."""
    most = int(number or REQUESTS)
    columns = ["", "requests", f"MB after {FIRST:,}", "MB at the end", "more"]
    table = Table("Memory after many requests", columns)
    for gateway in bench.gateways:
        if gateway.ours or gateway.name == "nginx":
            progress(f"gateway/memory: {gateway.name}")
            try:
                with bench.fresh(gateway) as live:
                    table.rows.append(_row(bench, gateway, live, most))
            except (Absent, TimeoutError, RuntimeError) as error:
                bench.missing(gateway.name, error)
    table.notes.append(
        f"Nine in ten are plain, the others streams; all dialects in turn, {TOGETHER} connections. Resident memory."
    )
    yield table


def _row(bench: Bench, gateway: Gateway, live: Live, most: int) -> list[str]:
    count = _asked(bench, gateway, live, 0, FIRST)
    first = live.running.memory()
    count = _asked(bench, gateway, live, count, most)
    last = live.running.memory()
    return [gateway.name, f"{count:,}", f"{first / 1e6:.1f}", f"{last / 1e6:.1f}", f"{last / first - 1:+.1%}"]


def _asked(bench: Bench, gateway: Gateway, live: Live, count: int, most: int) -> int:
    """Ask until there were ``most``; how many there were."""
    while count < most:
        before = count
        for way in gateway.ways:
            got = bench.wrk(live.port, live.request(way, "plain"), together=TOGETHER, seconds=2 if most > FIRST else 1)
            streamed = run(repeated(live.port, live.request(way, "short"), 1, together=TOGETHER, seconds=0.2))
            count += got.requests - got.errors + streamed.replies
        if count == before:
            raise RuntimeError(f"{gateway.name} answers no more")
    return count

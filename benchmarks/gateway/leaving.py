"""A client that leaves: how long until the backend sees its request aborted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from statistics import median
from typing import Any

from ..report import Table, progress
from .bench import Bench, Row, run
from .load import connect, told, until

TIMES = 5
PATIENCE = 1.5
CASES = {
    "stream flowing": ("flowing", True),
    "stream silent": ("open", True),
    "reply not begun": ("never", False),
    "plain request": ("neverplain", False),
}
"""The scenario, and whether the client waits for the first piece before it leaves."""


def measure(bench: Bench, _: float | None = None) -> Iterator[Table]:
    """One table: milliseconds, the median and the worst."""
    table = Table("A client that leaves: ms until the backend's request is aborted", ["", "", *CASES])
    for row in bench.rows(direct=True):
        progress(f"gateway/leaving: {row.name}, {row.way.label}")
        name = ["direct", ""] if row.live is None else row.cells()
        table.rows.append([*name, *(_shown(bench, row, *case) for case in CASES.values())])
    table.notes.append(
        f"Median and worst of {TIMES}; **no**: not within {PATIENCE:g} s. The client closes its connection; the backend notes "
        f"when its own is closed, by the same clock."
    )
    yield table


def _shown(bench: Bench, row: Row, scenario: str, begins: bool) -> str:
    took: list[float] = []
    for _ in range(TIMES):
        one = run(_left(bench.upstream_port, row, scenario, begins))
        if one is None:
            bench.told("release")
            return "**no**"
        took.append(one * 1000)
    return f"{median(took):.1f} ({max(took):.1f})"


async def _left(upstream: int, row: Row, scenario: str, begins: bool) -> float | None:
    """Seconds from the client's close to the upstream's; ``None`` where it did not come in time."""
    await told(upstream, "/bench/forget")

    async def seen() -> dict[str, Any]:
        found = [one for one in json.loads(await told(upstream, "/bench/seen")) if one["model"] == scenario]
        return found[-1] if found else {}

    async def asked() -> bool:
        return "asked" in await seen()

    async def left() -> bool:
        return "left" in await seen()

    client = await connect(row.port)
    client.begin()
    client.transport.write(row.request(scenario))
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            await (client.began if begins else until(asked, 5))
    await asyncio.sleep(0.05)  # so that it is amid what it does, and not about to begin
    moment = time.monotonic()
    client.transport.close()
    if not await until(left, PATIENCE):
        return None
    return float((await seen())["left"]) - moment

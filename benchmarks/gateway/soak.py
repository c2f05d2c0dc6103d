"""Minutes of load with clients that leave at random: what of it stays behind."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..report import Table, progress
from . import ways
from .bench import Absent, Bench, run
from .load import Failed, connect, told
from .upstream import SCENARIOS
from .ways import Gateway, Live

MINUTES = 0.5
TOGETHER = 60
REST = 6.0
"""Seconds without load before anything is counted: kept connections to the backend are closed after four."""


@dataclass
class Counts:
    replies: int = 0
    left: int = 0
    failures: int = 0


def measure(bench: Bench, number: float | None = None) -> Iterator[Table]:
    """One table. ``number`` is how many minutes; 10 for the record."""
    minutes = number or MINUTES
    columns = ["", "", "MB", "sockets", "threads", "tasks", "at the backend: connections", "replies not over"]
    table = Table(f"A soak of {minutes:g} minutes", columns)
    for gateway in bench.gateways:
        if gateway.name == "nginx" or not gateway.ours or (gateway.standin and ways.has_gateway()):
            continue
        progress(f"gateway/soak: {gateway.name}, {minutes:g} minutes")
        try:
            with bench.fresh(_counted(gateway)) as live:
                run(_loaded(bench, live, 5.0))
                table.rows.append([gateway.name, "before", *run(_state(bench, live))])
                counts = run(_loaded(bench, live, minutes * 60))
                table.rows.append([gateway.name, "after", *run(_state(bench, live))])
        except (Absent, TimeoutError, RuntimeError) as error:
            bench.missing(gateway.name, error)
            continue
        table.notes.append(
            f"{gateway.name}: {counts.replies:,} replies whole, {counts.left:,} clients left before theirs was, "
            f"{counts.failures:,} failed."
        )
    table.notes.append(
        f"{TOGETHER} clients, all dialects; plain requests, streams that flow, are silent or never begin. Counted {REST:g} s "
        f"after the load, which 5 s of the same went before."
    )
    yield table


def _counted(gateway: Gateway) -> Gateway:
    """The same, under ``counted.py``."""
    if gateway.standin:
        return gateway

    def command(port: int, upstream: int, folder: Path) -> list[str]:
        given = gateway.command(port, upstream, folder)
        at = given.index("-m")
        return [*given[:at], str(ways.HERE / "counted.py"), *given[at + 2 :]]

    return replace(gateway, command=command)


async def _loaded(bench: Bench, live: Live, seconds: float) -> Counts:
    counts, chance, end = Counts(), random.Random(4), time.monotonic() + seconds

    async def one() -> None:
        while time.monotonic() < end:
            way = chance.choice(live.gateway.ways)
            scenario = chance.choice(
                ["plain", "short", "whole", "batches", "batches", "flowing", "open", "never", "neverplain"]
            )
            patience = chance.uniform(0, 0.5)
            try:
                await _once(live, way.request(live.port, scenario), scenario, patience, counts)
            except (Failed, OSError):
                counts.failures += 1

    async def forgetting() -> None:
        while True:
            await asyncio.sleep(5)
            await told(bench.upstream_port, "/bench/forget")

    forgets = asyncio.create_task(forgetting())
    await asyncio.gather(*(one() for _ in range(TOGETHER)))
    forgets.cancel()
    return counts


async def _once(live: Live, request: bytes, scenario: str, patience: float, counts: Counts) -> None:
    client = await connect(live.port)
    try:
        if SCENARIOS[scenario].pieces == 0 or scenario in ("flowing", "open", "never"):
            client.begin()
            client.transport.write(request)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience if scenario != "plain" else 0.01):
                    await asyncio.shield(client.over)
            counts.left += 1
        else:
            async with asyncio.timeout(20):
                await client.ask(request)
            counts.replies += 1
            if client.pieces != SCENARIOS[scenario].pieces:
                raise Failed(f"{client.pieces} pieces came")
    finally:
        client.transport.close()


async def _state(bench: Bench, live: Live) -> list[str]:
    await asyncio.sleep(REST)
    process = live.running
    threads = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in process.tree())
    at_backend = json.loads(await told(bench.upstream_port, "/bench/now"))
    shown = [f"{process.memory() / 1e6:.1f}", str(process.sockets()), str(threads), await _tasks(live)]
    return [*shown, str(at_backend["connections"] - 1), str(at_backend["running"])]  # one is our own


async def _tasks(live: Live) -> str:
    if live.gateway.standin:
        return ""
    os.kill(live.running.child.pid, signal.SIGUSR2)
    await asyncio.sleep(0.5)
    found = re.findall(r"tasks (\d+)", live.running.last_words())
    return found[-1] if found else ""

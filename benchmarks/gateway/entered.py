"""How much code a request goes through: functions of polychat that are entered, and their files. No noise: it is counted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..report import Table, progress
from . import ways
from .bench import Bench, run
from .load import connect
from .upstream import SCENARIOS
from .ways import Gateway, Live, Way

BEFORE, TIMES = 20, 20
"""Requests before anything is counted, and those that are."""


def measure(bench: Bench, _: float | None = None) -> Iterator[Table]:
    """One table: calls, different functions and files a request, and what a chunk of a stream adds."""
    columns = ["", "", "calls", "functions", "files"]
    table = Table("Code that a request enters", columns)
    for gateway in bench.gateways:
        if gateway.ours and not (gateway.standin or gateway.compiled):
            with bench.fresh(_counting(gateway, bench.folder / "entered")) as live:
                for way in gateway.ways:
                    progress(f"gateway/entered: {way.label}")
                    table.rows += _rows(live, way, bench.folder / "entered")
    table.notes.append(
        f"Functions of polychat alone, means of {TIMES} requests; a chunk each 20 ms, read and written by itself."
    )
    yield table


def _rows(live: Live, way: Way, out: Path) -> Iterator[list[str]]:
    plain, short, paced = (_entered(live, way, scenario, out) for scenario in ("plain", "short", "paced"))
    yield [way.label, "plain request", *_cells(plain)]
    yield [way.label, "stream of one chunk", *_cells(short)]
    pieces = SCENARIOS["paced"].pieces - SCENARIOS["short"].pieces
    chunk = {key: (number - short.get(key, 0)) / pieces for key, number in paced.items()}
    yield [way.label, "each further chunk", *_cells({key: number for key, number in chunk.items() if number > 0.5})]


def _cells(entered: dict[tuple[str, str], float]) -> list[str]:
    usual = {key for key, number in entered.items() if number > 0.5}
    files = {file for file, _ in usual}
    return [f"{sum(entered.values()):.0f}", f"{len(usual)}", f"{len(files)}"]


def _entered(live: Live, way: Way, scenario: str, out: Path) -> dict[tuple[str, str], float]:
    """How often each function is entered in a request."""
    times = {"plain": TIMES, "short": TIMES, "paced": 1}[scenario]
    run(_asked(live, way, scenario, BEFORE if scenario == "plain" else 1))
    _turn(live)
    run(_asked(live, way, scenario, times))
    _turn(live)
    counted: list[tuple[str, str, int]] = json.loads(_read(live, out))
    return {(Path(file).name, name): number / times for file, name, number in counted}


async def _asked(live: Live, way: Way, scenario: str, times: int) -> None:
    """One request after the other, over one connection."""
    request = way.request(live.port, scenario)
    if scenario == "plain":
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        for _ in range(times):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(_LENGTH.search(head)[1]))  # type: ignore[index]  # every whole answer has it
        writer.close()
        return
    client = await connect(live.port)
    try:
        for _ in range(times):
            await client.ask(request)
    finally:
        client.transport.abort()


_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def _turn(live: Live) -> None:
    """The process counts from here on, or says what it counted."""
    os.kill(live.running.child.pid, signal.SIGUSR2)


def _read(live: Live, out: Path) -> str:
    """What the process wrote, once it is there."""
    end = time.monotonic() + 10
    while not out.exists():
        live.running.check()
        if time.monotonic() > end:
            raise TimeoutError("the gateway did not say what it entered")
        time.sleep(0.01)
    counted = out.read_text()
    out.unlink()
    return counted


def _counting(gateway: Gateway, out: Path) -> Gateway:
    """The same, under ``entered_by.py``."""

    def command(port: int, upstream: int, folder: Path) -> list[str]:
        given = gateway.command(port, upstream, folder)
        at = given.index("-m")
        return [*given[:at], str(ways.HERE / "entered_by.py"), str(out), *given[at + 2 :]]

    return replace(gateway, command=command)

"""What OpenTelemetry costs a plain request: CPU of the gateway at a rate at which all spans are sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from ..report import Table, progress
from . import ways
from .bench import Bench, Row, in_turns, run
from .rates import SECONDS, p99_at

ROUNDS = 5
RATE = 1000.0
"""Requests a second: at many more the exporter's queue is full, and spans are dropped."""
_SAMPLED = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
FORMS: dict[str, dict[str, str] | None] = {
    "off": None,
    "spans and metrics": {},
    "one span in a hundred": _SAMPLED,
    "metrics alone": {"OTEL_TRACES_EXPORTER": "none"},
    "spans alone": {"OTEL_METRICS_EXPORTER": "none"},
}
"""The environment of each, besides the collector's address; ``None``: without telemetry."""


def measure(bench: Bench, _: float | None = None) -> Iterator[Table]:
    """One table: microseconds of CPU a request, of what passes."""
    rows = {name: row for name, environment in FORMS.items() if (row := _row(bench, name, environment)) is not None}
    cost: dict[Row, list[float]] = {row: [] for row in rows.values()}
    for row in in_turns(list(rows.values()), ROUNDS):
        progress(f"gateway/telemetry: {row.name}")
        before = bench.cpu(row)
        run(p99_at(row.port, row.request("plain"), RATE))
        cost[row].append((bench.cpu(row) - before) / (RATE * SECONDS) * 1e6)
    table = Table("OpenTelemetry", ["telemetry", "us of CPU a request", "more than off", "least", "most"])
    for name, row in rows.items():
        more = [mine - off for mine, off in zip(cost[row], cost[rows["off"]], strict=True)]
        shown = [f"{value:.0f}" for value in (median(cost[row]), median(more), min(more), max(more))]
        table.rows.append([name, *shown])
    table.notes.append(
        f"Plain requests that pass, {RATE:g} a second for {SECONDS:g} s, medians of {ROUNDS} rounds in turns; the collector is "
        f"the upstream, on another core."
    )
    yield table


def _row(bench: Bench, name: str, environment: dict[str, str] | None) -> Row | None:
    gateway = ways.OURS
    if environment is not None:
        collector = f"http://127.0.0.1:{bench.upstream_port}/bench/otlp"
        env = {**gateway.env, "OTEL_EXPORTER_OTLP_ENDPOINT": collector, **environment}
        gateway = replace(gateway, name=f"polychat, {name}", command=partial(_command, gateway), env=env)
    live = bench.live(gateway)
    return None if live is None else Row(live, gateway.ways[0], live.port)


def _command(gateway: ways.Gateway, port: int, upstream: int, folder: Path) -> list[str]:
    """The gateway's own, whose configuration turns telemetry on."""
    command = gateway.command(port, upstream, folder)
    file = folder / "polychat.toml"
    file.write_text(f"[gateway]\ntelemetry = true\n{file.read_text()}")
    return command

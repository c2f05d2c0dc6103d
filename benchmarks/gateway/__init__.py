"""The gateway beside nginx and other gateways: what a request costs, what a streamed piece costs, what becomes of the rest.

``python -m benchmarks gateway`` runs all parts, ``gateway/plain`` one, ``gateway/soak=10`` one with a number.
``ONLY=nginx,polychat`` in the environment measures these alone.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module

from ..report import Table

PARTS = [
    "plain",
    "latency",
    "rates",
    "chunks",
    "paced",
    "first",
    "leaving",
    "start",
    "entered",
    "open",
    "memory",
    "burst",
    "bodies",
    "soak",
    "telemetry",
]


def measure(part: str = "") -> Iterator[Table]:
    """The tables of all parts, or of the one named, ``NAME`` or ``NAME=NUMBER``. Raises ``SystemExit`` for what is missing."""
    _check_machine()
    from .bench import Bench
    from .ways import versions

    name, _, number = part.partition("=")
    if name and name not in PARTS:
        raise SystemExit(f"gateway has no part {name!r} (there are {', '.join(PARTS)})")
    with Bench() as bench:
        for each in [name] if name else PARTS:
            for table in import_module(f"{__name__}.{each}").measure(bench, float(number) if number else None):
                table.notes += [f"{note}." for note in bench.notes]
                table.notes.append(f"{versions(bench.gateways)}. How: `benchmarks/gateway/{each}.py`.")
                yield table


def _check_machine() -> None:
    if sys.platform != "linux":
        raise SystemExit("The gateway is measured on Linux only: CPU, memory and sockets are read from /proc.")
    os.environ["PATH"] += os.pathsep + "/usr/sbin"  # where Debian has nginx, which only root finds there
    if missing := [name for name in ("nginx", "wrk", "taskset") if not shutil.which(name)]:
        raise SystemExit(f"Not installed: {', '.join(missing)}. On Debian: apt install nginx-light wrk util-linux")

"""How long ``polychat --help`` takes on the wall, beside a Python that does nothing: whoever types it waits for both.

Median over fresh processes in turns. The aim: under 150 ms.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from .report import Table, progress

ROUNDS = 15
COMMAND = str(Path(sys.executable).with_name("polychat"))
CASES = {
    "`python -c pass`": [sys.executable, "-c", "pass"],
    "`polychat --version`": [COMMAND, "--version"],
    "`polychat --help`": [COMMAND, "--help"],
    "`polychat ask --help`": [COMMAND, "ask", "--help"],
    "`polychat providers`": [COMMAND, "providers"],
}


def measure() -> Iterator[Table]:
    """One table: milliseconds on the wall."""
    took: dict[str, list[float]] = {name: [] for name in CASES}
    for number in range(ROUNDS + 1):
        for name, command in CASES.items():
            progress(f"help: round {number} of {ROUNDS}")
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            took[name].append((time.perf_counter() - began) * 1000)
    rows = [[name, f"{median(times[1:]):.0f}"] for name, times in took.items()]  # the first writes the bytecode
    yield Table("The command, on the wall", ["", "ms"], rows, [f"Median of {ROUNDS} fresh processes each."])

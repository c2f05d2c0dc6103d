"""What ``import polychat`` costs, beside its HTTP client and beside its peers.

Each figure is the median over fresh processes, taken in turns so that a busy moment falls on all. Time is the import alone,
taken inside the process; memory is the process's peak less that of a Python that imports nothing. Bytecode is cached, as it
is on the second run of any program. The aim: ``import polychat`` under 60 ms and 25 MB.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from statistics import median

from . import peers
from .report import Table, progress

ROUNDS = 15
OURS = [
    "pass",
    "import polychat",
    "from polychat import ask",
    "from polychat.providers import Opchatgpts",
    "import polychat.transport",
    "import aiohttp",
]
THEIRS = ["import openai", "import g4f", "import litellm"]

# VmHWM begins anew with the program; ru_maxrss keeps what the parent had before it became this one.
INSIDE = """
import sys, time
began = time.perf_counter()
{statement}
took = time.perf_counter() - began
try:
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
except OSError:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
print(took * 1000, peak / 1024, len(sys.modules))
"""


def measure() -> Iterator[Table]:
    """One table: milliseconds, megabytes, modules."""
    found = peers.python()
    cases = [(sys.executable, statement) for statement in OURS] + [(str(found), statement) for statement in THEIRS if found]
    took: dict[str, list[list[float]]] = {statement: [] for _, statement in cases}
    for case in cases:
        once(*case)  # writes the bytecode
    for number in range(ROUNDS):
        for python, statement in cases:
            progress(f"imports: round {number + 1} of {ROUNDS}: {statement}")
            took[statement].append(once(python, statement))
    middle = {statement: [median(values) for values in zip(*rounds, strict=True)] for statement, rounds in took.items()}
    table = Table("Imports", ["", "ms", "MB", "modules"])
    _, bare, base = middle.pop("pass")
    for statement, (time, peak, modules) in middle.items():
        table.rows.append([f"`{statement}`", f"{time:.1f}", f"{peak - bare:.1f}", f"{modules - base:.0f}"])
    table.notes.append(
        f"Median of {ROUNDS} fresh processes each; memory and modules beyond those of a bare Python ({bare:.1f} MB)."
    )
    yield table


def once(python: str, statement: str) -> list[float]:
    """Milliseconds, megabytes and modules of one fresh process."""
    run = subprocess.run([python, "-c", INSIDE.format(statement=statement)], capture_output=True, text=True, check=True)
    return [float(value) for value in run.stdout.split()[-3:]]

"""How long ``polychat --help`` takes on the wall, beside a Python that does nothing: whoever types it waits for both; and how
long ``polychat chat`` takes to its prompt, in a terminal.

Median over fresh processes in turns. The aims: under 60 ms, and under 250 ms to the prompt.
"""

from __future__ import annotations

import os
import pty
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
    took["`polychat chat` to its prompt"] = [_to_prompt() for _ in range(ROUNDS + 1)]
    rows = [[name, f"{median(times[1:]):.0f}"] for name, times in took.items()]  # the first writes the bytecode
    yield Table("The command, on the wall", ["", "ms"], rows, [f"Median of {ROUNDS} fresh processes each."])


def _to_prompt() -> float:
    """Milliseconds from the start of a chat to its first prompt."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    words = [COMMAND, "chat", "-n", "-m", "local/smollm2"]
    began = time.perf_counter()
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=environment)
    os.close(theirs)
    try:
        seen = b""
        while b"\x1b" not in seen:  # the prompt is the first thing that is not plain text
            seen += os.read(ours, 4096)
        return (time.perf_counter() - began) * 1000
    finally:
        process.kill()
        process.wait()
        os.close(ours)

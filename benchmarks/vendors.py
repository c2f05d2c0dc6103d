"""CPU of ``polychat.stream`` and ``ask`` to an API, a call and a chunk, beside httptools, aiohttp, OpenAI's client, LiteLLM.

One service, OpenAI's streamed chat, on loopback in a process of its own; every client in a process of its own, on uvloop, on
the same core; CPU is that process's, threads included. A call is one whose answer has one chunk; a chunk is what each of many
more adds, many in a network read (the cost of reading). Clients take turns, round by round; ratios are within a round. The
aims: under 110 us a call, and 7 us a chunk. ``polychat.ask`` is measured beside httptools alone, on both loops.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from . import peers
from .providers import Process
from .report import Table, progress

ROUNDS = 9
CALLS = {"raw_httptools": 400, "careful_httptools": 400, "ours": 400, "by_hand": 400, "openai": 60, "litellm": 30}
MANY = 400
"""Chunks of a long answer."""
SHOWN = {
    "raw_httptools": ("raw_httptools", "openai", "httptools and msgspec alone"),
    "careful_httptools": ("careful_httptools", "openai", "the same with a timeout and its checks"),
    "ours": ("ours", "openai", "polychat.stream"),
    "by_hand": ("by_hand", "openai", "aiohttp and json alone"),
    "openai": ("sdks", "openai", "openai SDK"),
    "litellm": ("sdks", "litellm", "LiteLLM"),
}
_THEIRS = ("openai", "litellm")


def measure(part: str = "") -> Iterator[Table]:
    """Two tables, or that of ``ask`` alone, by ``vendors/ask``."""
    if part != "ask":
        yield _streams()
    yield _asks()


def _streams() -> Table:
    their_python = peers.python()
    with ExitStack() as stack:
        port = stack.enter_context(Process([sys.executable, "-m", "benchmarks.services"])).read()
        workers = {}
        for name, (module, service, _) in SHOWN.items():
            python = str(their_python) if name in _THEIRS else sys.executable
            if name not in _THEIRS or their_python:
                command = [python, str(Path(__file__).with_name("worker.py")), module, service, "uvloop"]
                workers[name] = stack.enter_context(Process(command))
        rounds = list(_rounds(workers, f"http://127.0.0.1:{port.strip()}"))
    return _table(rounds)


def _asks() -> Table:
    clients = [(loop, name) for loop in ("uvloop", "asyncio") for name in ("raw_httptools", "careful_httptools", "ours")]
    rounds: list[dict[tuple[str, str], float]] = []
    with ExitStack() as stack:
        port = stack.enter_context(Process([sys.executable, "-m", "benchmarks.services"])).read().strip()
        worker = str(Path(__file__).with_name("worker.py"))
        workers = {
            (loop, name): stack.enter_context(Process([sys.executable, worker, name, "openai_whole", loop]))
            for loop, name in clients
        }
        for number in range(ROUNDS + 1):  # the first for imports and caches
            progress(f"vendors/ask: round {number} of {ROUNDS}")
            rounds.append({key: workers[key].ask(f"http://127.0.0.1:{port}/1/0", 400, 1, 1) / 400 * 1e6 for key in clients})
    table = Table("CPU of an API's whole reply, loopback", ["", "", "us a call", "polychat's call to it"])
    for loop, name in clients:
        middle = median(one[loop, name] for one in rounds[1:])
        ratio = median(one[loop, "ours"] / one[loop, name] for one in rounds[1:])
        shown = SHOWN[name][2] if name != "ours" else "polychat.ask"
        table.rows.append([shown, loop, f"{middle:.1f}", f"{ratio:.2f}"])
    table.notes.append(f"Medians of {ROUNDS} rounds in turns; ratios within a round. How: `benchmarks/vendors.py`.")
    return table


Round = dict[str, tuple[float, float]]
"""Microseconds a call and a chunk, by client."""


def _rounds(workers: dict[str, Process], origin: str) -> Iterator[Round]:
    for name, worker in workers.items():
        worker.ask(f"{origin}/1/0", CALLS[name] // 3, 1, 1)  # imports, caches
    for number in range(ROUNDS):
        progress(f"vendors: round {number + 1} of {ROUNDS}")
        one: Round = {}
        for name, worker in workers.items():
            count = CALLS[name]
            call = worker.ask(f"{origin}/1/0", count, 1, 1) / count * 1e6
            long = worker.ask(f"{origin}/{MANY}/0", count // 10, 1, MANY) / (count // 10) * 1e6
            one[name] = (call, (long - call) / (MANY - 1))
        yield one


def _table(rounds: list[Round]) -> Table:
    table = Table(
        "CPU of an API's streamed chat, loopback, uvloop",
        ["", "us a call", "us a chunk", "polychat's call to it", "polychat's chunk to it"],
    )
    for name in rounds[0]:
        middles = [f"{median(one[name][what] for one in rounds):.1f}" for what in (0, 1)]
        ratios = [f"{median(one['ours'][what] / one[name][what] for one in rounds):.2f}" for what in (0, 1)]
        table.rows.append([SHOWN[name][2], *middles, *ratios])
    table.notes.append(f"Medians of {ROUNDS} rounds in turns; ratios within a round. How: `benchmarks/vendors.py`.")
    return table

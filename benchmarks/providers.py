"""CPU of a call of ``create_async_generator`` and of a streamed piece, beside the same by hand and through g4f.

Services: those of ``services.py`` on loopback, in a process of their own. Clients: polychat's providers (``ours.py``), aiohttp
and json alone (``by_hand.py``), g4f (``g4fs.py``), each in a process of its own; CPU is that process's, threads included. A
call is one whose answer has one piece; a piece is what each of many more adds. Pieces come all at once (many in one network
read: the cost of reading) and paced (a read each, of twenty streams in turn: the cost of waking up too, as it is with
models that write). Clients take turns, round by round, and a ratio is the median of the rounds' ratios, so that what slows
the machine slows both. The aims: within 1.3 times the hand, and below g4f.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from . import peers
from .report import Table, progress

ROUNDS = 9
CALLS = 150
MANY = 400
"""Pieces of a long answer."""
TOGETHER = 20
GAP = 4
"""Milliseconds between two pieces of a paced answer."""
USUAL = 200
"""Pieces of an answer as models give them."""

CLIENTS = {
    "opchatgpts": ["by_hand", "ours", "g4fs"],
    "chatgptt": ["by_hand", "ours", "g4fs"],
    "gptalk": ["by_hand", "ours"],
    "chatgptduo": ["by_hand", "ours"],
    "aichat": ["by_hand", "ours"],
}
STREAMED = ("opchatgpts", "chatgptt", "gptalk")
SHOWN = {"by_hand": "by hand", "ours": "polychat", "g4fs": "g4f"}


def measure() -> Iterator[Table]:
    """Four tables: a call, a piece in two ways, and what these make of a whole answer."""
    their_python = peers.python()
    pythons = {"by_hand": sys.executable, "ours": sys.executable, **({"g4fs": str(their_python)} if their_python else {})}
    taken: list[Taken] = []
    with ExitStack() as stack:
        port = stack.enter_context(Process([sys.executable, "-m", "benchmarks.services"])).read()
        for service, clients in CLIENTS.items():
            workers = {
                client: stack.enter_context(
                    Process([pythons[client], str(Path(__file__).with_name("worker.py")), client, service])
                )
                for client in clients
                if client in pythons
            }
            taken.append(Taken(service, list(_rounds(service, workers, f"http://127.0.0.1:{port.strip()}"))))
    yield _table("CPU a call", "us a call", taken, "call")
    yield _table("CPU a piece, many in a read", "us a piece", taken, "piece")
    yield _table("CPU a piece, a read each", "us a piece", taken, "paced")
    yield _table(f"CPU an answer of {USUAL} pieces, a read each", "us an answer", taken, "answer")


class Process:
    """A child that is spoken to in lines, and ended on leaving."""

    def __init__(self, command: list[str]) -> None:
        self.command = command

    def __enter__(self) -> Process:
        self.child = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.communicate()

    def read(self) -> str:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self.command)} ended; what it said stands above")
        return line

    def ask(self, *words: object) -> float:
        assert self.child.stdin is not None
        print(*words, file=self.child.stdin, flush=True)
        return float(self.read())


Round = dict[str, dict[str, float]]
"""What of whom: ``round["call"]["ours"]``, in microseconds."""


@dataclass
class Taken:
    service: str
    rounds: list[Round]

    def middle(self, what: str, client: str) -> float:
        return median(one[what][client] for one in self.rounds)

    def ratio(self, what: str, to: str) -> float:
        return median(one[what]["ours"] / one[what][to] for one in self.rounds)


def _rounds(service: str, workers: dict[str, Process], origin: str) -> Iterator[Round]:
    for worker in workers.values():
        worker.ask(f"{origin}/1/0", 20, 1, 1)  # imports, caches
    for number in range(ROUNDS):
        progress(f"providers: {service}, round {number + 1} of {ROUNDS}")
        one: Round = {"call": {}, "piece": {}, "paced": {}, "answer": {}}
        for client, worker in workers.items():
            one["call"][client] = call = worker.ask(f"{origin}/1/0", CALLS, 1, 1) / CALLS * 1e6
            if service in STREAMED:
                long = worker.ask(f"{origin}/{MANY}/0", CALLS // 10, 1, MANY) / (CALLS // 10) * 1e6
                one["piece"][client] = (long - call) / (MANY - 1)
                paced = worker.ask(f"{origin}/{MANY}/{GAP}", TOGETHER, TOGETHER, MANY) / TOGETHER * 1e6
                one["paced"][client] = each = (paced - call) / (MANY - 1)
                one["answer"][client] = call + each * (USUAL - 1)
        yield one


def _table(title: str, unit: str, taken: list[Taken], what: str) -> Table:
    table = Table(f"{title}, loopback", ["", *(f"{name}, {unit}" for name in SHOWN.values()), "to by hand", "to g4f"])
    for one in taken:
        clients = one.rounds[0][what]
        if clients:
            middles = [f"{one.middle(what, client):.1f}" if client in clients else "" for client in SHOWN]
            ratios = [f"{one.ratio(what, client):.2f}" if client in clients else "" for client in ("by_hand", "g4fs")]
            table.rows.append([one.service, *middles, *ratios])
    table.notes.append(
        f"Medians of {ROUNDS} rounds in turns; ratios within a round. How: `benchmarks/providers.py`, `benchmarks/g4fs.py`."
    )
    return table

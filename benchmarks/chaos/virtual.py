"""The router alone through the same schedules, on a virtual clock: many seeds in seconds, and no other load counts.

``python -m benchmarks.chaos.virtual --seeds 10`` prints a row for each seed, and what became of the requests that were not
complete. Targets do what ``backends.py`` has them do, without a network: so there is nothing here of sockets, of the gateway's
own time, or of what arrives late.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.support.simulated_route import target as target_of
from tests.support.virtual_time import run

from polychat.config.settings import Route
from polychat.errors import BadReply, ConnectionFailed, EmptyReply, PolychatError, RateLimited, StatusError, TimedOut, Truncated
from polychat.routing import Health, Plan, Router, Target
from polychat.routing.attempts import Attempts
from polychat.routing.clocks import Deadline, kind_of, patience_of
from polychat.routing.traits import Traits

from ..report import Table
from . import schedule
from .backends import FIRST, GAP, WHOLE
from .load import _LEAVES_AFTER, _LEAVING, _STREAMED, LONG, PACE, PATIENCE, PIECES
from .schedule import Phase, Schedule

_DRIPS = 0.8, 0.4, 8.15
"""Seconds of a slow backend: to the first piece, from one to the next, and to a whole reply."""


class Request(Traits):
    """Of a conversation of its own, as those of the load are."""

    def __init__(self, number: int, *, stream: bool) -> None:
        self.affinity = hash((number, 0x9E3779B97F4A7C15)) & (2**64 - 1)
        self.prompt_tokens = 40
        self.stream = stream


@dataclass
class Reply:
    sent: float
    stream: bool
    outcome: str = ""
    first: float | None = None
    over: float = 0.0
    held: float = 0.0
    """Seconds for which its beginning was kept back."""
    faults: list[str] = field(default_factory=list)
    """What the targets that were asked had at that moment."""


class Backends:
    """Five targets by a schedule."""

    def __init__(self, plan: Schedule, begun: float) -> None:
        self.plan, self.begun = plan, begun
        self.asks: list[tuple[float, int, bool, str]] = []
        """When, whom, whether earlier than told, and the fault."""
        self.told = [0.0] * len(plan)

    def phase(self, index: int) -> Phase:
        at = asyncio.get_running_loop().time() - self.begun
        return next((phase for phase in self.plan[index] if phase.begin <= at < phase.end), Phase(0, math.inf))

    async def begins(self, index: int, reply: Reply, attempts: Attempts) -> Phase:
        """Up to the first piece, or the whole reply. Raises ``PolychatError``."""
        now, phase = asyncio.get_running_loop().time(), self.phase(index)
        fault = phase.fault
        reply.faults.append(fault or "well")
        if fault == "refuse":
            raise ConnectionFailed("refused")
        self.asks.append((now, index, now < self.told[index], fault or "well"))
        failure: PolychatError | None = None
        seconds = 0.001
        if fault == "reset":
            failure = ConnectionFailed("reset")
        elif fault == "hang":
            failure, seconds = TimedOut("first", 1.0), attempts.timeouts.first or math.inf
        elif fault == "429":
            rest = max(1, math.ceil(self.begun + phase.end - now))
            failure = RateLimited("too many", status=429, retry_after=rest)
        elif fault in ("500", "502"):
            failure = StatusError("a server error", status=int(fault))
        elif fault == "garbage":
            failure = BadReply("garbage")
        elif fault in ("half", "error first") or (not reply.stream and fault in ("cut", "error later")):
            failure, seconds = EmptyReply("nothing"), FIRST if reply.stream else WHOLE
        elif fault == "drip":
            seconds = _DRIPS[0] if reply.stream else _DRIPS[2]
        else:
            seconds = FIRST if reply.stream else WHOLE
        await asyncio.sleep(seconds)
        if failure is not None:
            if failure.retry_after:
                self.told[index] = max(self.told[index], now + failure.retry_after)
            raise failure
        hold = attempts.hold()
        if hold is not None and reply.stream:
            attempts.begins()
            is_cut = fault in ("cut", "error later")
            held = min(hold.seconds, GAP * (phase.after if is_cut else PIECES))
            await asyncio.sleep(held)
            reply.held = held
            if is_cut and held == GAP * phase.after:
                raise Truncated("cut")
        return phase

    async def goes_on(self, phase: Phase, reply: Reply, pieces: int, *, leaves: bool) -> None:
        """The rest of a stream. Raises ``Truncated``."""
        gap = _DRIPS[1] if phase.fault == "drip" else GAP
        last = pieces
        if phase.fault in ("cut", "error later"):
            last = min(last, phase.after)
        if leaves:
            last = min(last, _LEAVES_AFTER)
        await asyncio.sleep(gap * last - reply.held)
        if last < pieces and not (leaves and last == _LEAVES_AFTER):
            raise Truncated("cut")


async def load(plan: Schedule, seconds: float, seed: int, rules: dict[str, Any]) -> tuple[list[Reply], Backends]:
    """The replies to all requests of ``seconds``."""
    rng, loop = Random(seed), asyncio.get_running_loop()
    begun = loop.time()
    backends = Backends(plan, begun)
    router = Router(Health(), clock=loop.time, rng=Random(seed))
    targets = tuple(target_of(f"b{number}/m") for number in range(len(plan)))
    route = Plan("house", targets, Route(tuple(each.name for each in targets), **{"strategy": "affinity", **rules}))
    replies: list[Reply] = []

    async def one(number: int, *, stream: bool, leaves: bool) -> None:
        reply = Reply(loop.time(), stream)
        replies.append(reply)
        attempts = Attempts()

        async def ask(target: Target) -> Phase:
            return await backends.begins(targets.index(target), reply, attempts)

        error: PolychatError | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                kind = kind_of(streamed=stream, size=90, reasons=False)
                deadline = Deadline(reply.sent + patience_of(PATIENCE), of_all=False)
                traits = Request(number, stream=stream)
                phase = await router.run(route, ask, attempts, traits=traits, kind=lambda: kind, deadline=deadline)
                reply.first = loop.time() - reply.sent
                if stream:
                    await backends.goes_on(phase, reply, LONG if leaves else PIECES, leaves=leaves)
                reply.outcome = "left" if leaves else "complete"
        except Truncated as cut:
            error, reply.outcome = cut, "cut"
        except PolychatError:
            reply.outcome = "error"
        except TimeoutError:
            reply.outcome = "timeout"
        finally:
            if reply.outcome == "complete":
                attempts.completed()
            attempts.end(error)
            reply.over = loop.time()

    tasks = []
    for number in range(int(seconds * PACE)):
        await asyncio.sleep(max(0.0, begun + number / PACE - loop.time()))
        stream = rng.random() < _STREAMED
        leaves = rng.random() < _LEAVING and stream
        tasks.append(asyncio.ensure_future(one(number, stream=stream, leaves=leaves)))
    await asyncio.gather(*tasks)
    return replies, backends


COLUMNS = ["seed", "complete", "early", "asks each request", "first piece, p50 / p99", "error", "cut", "timeout"]


def row_of(name: str, replies: list[Reply], backends: Backends) -> list[str]:
    outcomes = Counter(reply.outcome for reply in replies)
    firsts = sorted(reply.first for reply in replies if reply.stream and reply.first is not None)
    first = f"{firsts[len(firsts) // 2] * 1000:.0f} ms / {firsts[int(len(firsts) * 0.99)]:.2f} s"
    complete = outcomes["complete"] / (len(replies) - outcomes["left"])
    early = sum(is_early for _, _, is_early, _ in backends.asks)
    lost = [str(outcomes[name]) for name in ("error", "cut", "timeout")]
    return [name, f"{complete:.2%}", str(early), f"{len(backends.asks) / len(replies):.3f}", first, *lost]


def details(replies: list[Reply]) -> str:
    """What retries met, and the longest waits for a first piece."""
    met = Counter(fault for reply in replies for fault in reply.faults if fault not in ("well", "drip"))
    slow = Counter(tuple(reply.faults) for reply in replies if reply.stream and (reply.first or 0) > 2.0)
    return f"met: {dict(met.most_common())}\nfirst piece after more than 2 s: {dict(slow.most_common(6))}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos.virtual", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--details", action="store_true")
    parser.add_argument("--all-sick", action="store_true")
    arguments = parser.parse_args()
    table = Table(f"Chaos on a virtual clock, {arguments.seconds:g} s", COLUMNS)
    for seed in range(1, arguments.seeds + 1):
        plan, seconds = schedule.drawn(seed, arguments.seconds), arguments.seconds
        if arguments.all_sick:
            plan = schedule.outage(seed, 30.0)
            seconds = schedule.length(plan)
        replies, backends = run(load(plan, seconds, seed, {}))
        table.rows.append(row_of(str(seed), replies, backends))
        if arguments.all_sick:
            begin, end = (1000.0 + moment for moment in schedule.all_sick(plan))
            during = [reply for reply in replies if begin <= reply.sent < end]
            asked = sum(begin <= ask[0] < end for ask in backends.asks)
            waits = sorted(reply.over - reply.sent for reply in during)
            after = [reply for reply in replies if reply.sent >= end and reply.outcome != "left"]
            back = next(
                (
                    after[place].sent - end
                    for place in range(len(after))
                    if all(reply.outcome == "complete" for reply in after[place : place + 10])
                ),
                None,
            )
            print(seed, f"amplification {asked / len(during):.3f}, told p99 {waits[int(len(waits) * 0.99)]:.2f}, back {back}")
        if arguments.details:
            print(seed, details(replies))
    print(table)


if __name__ == "__main__":
    main()

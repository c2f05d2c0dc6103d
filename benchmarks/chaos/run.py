"""One gateway after the other through the same schedule, and the tables of what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..report import Table, progress
from . import gateways, load, schedule
from .backends import Ask, Backends
from .figures import figures, outage
from .gateways import Gateway
from .load import Reply
from .schedule import Schedule

_START = 60.0
"""Seconds until a gateway has to answer."""
_SETTLE = 2.0
"""Seconds after the last reply, in which backends see who is gone."""


@dataclass(frozen=True)
class Run:
    replies: list[Reply]
    asks: list[Ask]
    begun: float
    ended: float
    cpu: float
    """Seconds of the gateway's CPU."""


class Absent(Exception):
    """A gateway that does not start, or does not answer while all is well."""


async def through(gateway: Gateway, plan: Schedule, seconds: float, seed: int) -> Run:
    """A gateway through a schedule. Raises ``Absent``."""
    loop = asyncio.get_running_loop()
    async with Backends(plan) as backends:
        with gateways.started(gateway, backends.ports) as (running, port):
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            headers = {"authorization": f"Bearer {gateways.KEY}", **gateway.headers(backends.ports)}
            until = loop.time() + _START
            while not await _answers(url, headers, gateway.model):
                running.check()
                if loop.time() > until:
                    raise Absent(running.last_words())
                await asyncio.sleep(0.2)
            backends.asks.clear()
            backends.begin()
            begun, cpu = loop.time(), running.cpu()
            replies = await load.run(url, headers, gateway.model, seconds, seed)
            await asyncio.sleep(_SETTLE)
            return Run(replies, list(backends.asks), begun, loop.time(), running.cpu() - cpu)


async def _answers(url: str, headers: dict[str, str], model: str) -> bool:
    replies = await load.run(url, headers, model, 0.1, 0, 10.0)
    return all(reply.outcome in ("complete", "left") for reply in replies)


def chosen(only: tuple[str, ...]) -> Iterator[Gateway]:
    near = {gateway.name for gateway in gateways.NEAR}
    everybody = [*gateways.NEAR, *(gateways.peers() if not only or set(only) - near else ())]
    return (gateway for gateway in everybody if not only or gateway.name in only)


def scheduled(seconds: float, seed: int, only: tuple[str, ...]) -> Table:
    """Each gateway through ``seconds`` of phases of health and faults."""
    plan = schedule.drawn(seed, seconds)
    columns = ["", "complete", "silent", "repeated", "early", "orphans", "asks each request"]
    columns += ["first piece, p50 / p99", "client timeouts", "told: error / cut", "CPU, ms each"]
    table = Table(f"Chaos: five backends that fail by schedule {seed}, {seconds:g} s", columns)

    def row(run: Run) -> list[str]:
        has = figures(run.replies, run.asks, run.ended)
        counts = [str(count) for count in (has.silent, has.repeated, has.early, has.orphans)]
        first = f"{has.first[0] * 1000:.0f} ms / {has.first[1]:.2f} s"
        told = f"{has.outcomes['error'] + has.outcomes['refused']} / {has.outcomes['cut']}"
        cpu = f"{run.cpu / has.requests * 1000:.1f}"
        return [f"{has.complete:.2%}", *counts, f"{has.amplification:.3f}", first, str(has.timeouts), told, cpu]

    _fill(table, plan, seconds, seed, only, row)
    table.notes.append(
        f"{load.PACE:g} requests a second ({int(seconds * load.PACE):,} each gateway), four of five streamed, 3 % of them left "
        f"by their client; of five backends {schedule.well_on_average(plan, seconds):.1f} are well on average, one always. A "
        f"client waits {load.PATIENCE:g} s and says so. What each column counts: `benchmarks/chaos/README.md`."
    )
    return table


def sick(seconds: float, seed: int, only: tuple[str, ...]) -> Table:
    """Each gateway while all backends are sick for ``seconds``, and come back one after the other."""
    plan = schedule.outage(seed, seconds)
    begin, end = schedule.all_sick(plan)
    columns = ["", "asks each request", "client told within, p99", "back after", "early", "silent", "complete after"]
    table = Table(f"Chaos: all five backends sick for {seconds:g} s, seed {seed}", columns)

    def row(run: Run) -> list[str]:
        has = outage(run.replies, run.asks, run.begun + begin, run.begun + end)
        after = [reply for reply in run.replies if reply.sent >= run.begun + end]
        whole = figures(run.replies, run.asks, run.ended)
        back = "never" if has.back is None else f"{has.back:.1f} s"
        share = f"{figures(after, [], run.ended).complete:.1%}"
        return [f"{has.amplification:.3f}", f"{has.waited:.2f} s", back, str(whole.early), str(whole.silent), share]

    _fill(table, plan, schedule.length(plan), seed, only, row)
    faults = ", ".join(str(phases[1].fault) for phases in plan)
    table.notes.append(
        f"Well for {begin:g} s, then {faults}; from second {end:g} on one backend after the other is well, each 4 s after the "
        f"one before. Back: the first of ten requests in a row that are complete. A refused connection counts as no ask."
    )
    return table


def _fill(
    table: Table, plan: Schedule, seconds: float, seed: int, only: tuple[str, ...], row: Callable[[Run], list[str]]
) -> None:
    for gateway in chosen(only):
        progress(f"chaos: {gateway.name}, {seconds:g} s")
        try:
            run = asyncio.run(through(gateway, plan, seconds, seed))
        except (Absent, RuntimeError, OSError) as error:
            table.notes.append(f"{gateway.name} is left out: {' '.join(str(error).split())[-200:]}.")
            continue
        table.rows.append([gateway.name, *row(run)])
        table.notes.append(f"{gateway.name}: {gateway.about}.")

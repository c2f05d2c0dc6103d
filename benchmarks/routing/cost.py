"""CPU of ``Router.run`` for a route of five targets that are well, beside that for a target by its own name, in one run.

What is asked answers at once, so all that is measured is choosing, what an attempt notes, and its time limit. The aim: less
than 5 us over the direct target, whichever the strategy.
"""

from __future__ import annotations

import asyncio
import gc
import time
from random import Random
from statistics import median

from tests.support.simulated_route import target

from polychat.config.settings import Route
from polychat.config.strategy_names import STRATEGIES
from polychat.events import Usage
from polychat.routing import Health, Plan, Target
from polychat.routing.attempts import Attempts
from polychat.routing.clocks import Kind
from polychat.routing.router import Router
from polychat.routing.traits import Traits

from ..report import Table, progress

ROUNDS, REQUESTS = 41, 400
AIM = 5.0
KIND = Kind(streamed=True, size=0, reasons=False)


class Request(Traits):
    """Of a conversation that is known, with a prompt of 1,000 tokens."""

    affinity = 0x9E3779B97F4A7C15
    prompt_tokens = 1000


def pricing(_: Target, usage: Usage) -> float:
    return (usage.prompt_tokens or 0) * 1e-6 + (usage.completion_tokens or 0) * 4e-6


def table() -> Table:
    """A row for each strategy."""
    measured = asyncio.run(_measured())
    direct = median(measured.pop("direct"))
    made = Table("CPU of choosing among five targets", ["strategy", "us a request", "over a direct target"])
    made.rows.append(["(direct target)", f"{direct:.1f}", ""])
    for name, times in measured.items():
        made.rows.append([name, f"{median(times):.1f}", f"{median(times) - direct:.1f}"])
    made.notes.append(f"Medians of {ROUNDS} rounds in turns, {REQUESTS} requests each; aim: under {AIM:g} us. `{__name__}`.")
    return made


async def _measured() -> dict[str, list[float]]:
    targets = tuple(target(name) for name in "abcde")
    names = tuple(each.name for each in targets)
    plans = {"direct": Plan("", targets[:1], Route(targets=names[:1]))}
    plans |= {name: Plan(name, targets, Route(targets=names, strategy=name)) for name in STRATEGIES}
    router = Router(Health(), rng=Random(1), pricing=pricing)
    times: dict[str, list[float]] = {name: [] for name in plans}
    for plan in plans.values():
        await _round(router, plan)
    gc.disable()
    for number in range(ROUNDS):
        progress(f"routing: {number + 1} of {ROUNDS}")
        for name, plan in plans.items():
            times[name].append(await _round(router, plan))
    gc.enable()
    return times


async def _round(router: Router, plan: Plan) -> float:
    """Microseconds of CPU a request."""

    async def ask(_: Target) -> None:
        return None

    traits = Request()
    began = time.process_time()
    for _ in range(REQUESTS):
        attempts = Attempts()
        await router.run(plan, ask, attempts, traits=traits, kind=lambda: KIND)
        attempts.completed()
    return (time.process_time() - began) / REQUESTS * 1e6

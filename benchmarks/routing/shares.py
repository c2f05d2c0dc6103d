"""Where requests go: of two equal targets, when a hundred come at once, and of three, when one gets slow and fast again.

The aims: 45 to 55 of the hundred; less than a tenth within 5 s for the slow one, and its part again after.
"""

from __future__ import annotations

from collections import Counter

from tests.support.simulated_route import SimulatedRoute, plan, target

from ..report import Table

STRATEGIES = ("fastest", "least-busy", "affinity", "weighted", "round-robin", "random")
SEEDS = 20
SLOW_AT, FAST_AT, END = 20.0, 60.0, 120.0
RATE = 40.0


def table() -> Table:
    """A row for each strategy that spreads requests."""
    made = Table(
        "Shares: a hundred at once among two equal targets; one of three slow for 40 s",
        ["strategy", "of 100 at once", "slow one: 5 s later on", "60 s after it is fast again"],
    )
    for name in STRATEGIES:
        herd = [_at_once(name, seed) for seed in range(SEEDS)]
        slow, back = zip(*(_slow(name, seed) for seed in range(SEEDS)), strict=True)
        made.rows.append(
            [name, f"{min(herd)} to {max(herd)}", f"at most {max(slow):.1%}", f"{min(back):.1%} to {max(back):.1%}"]
        )
    made.notes.append(
        f"{SEEDS} seeds; the slow target takes 2 s, the others 0.2 s, at {RATE:g} requests a second, none of a known "
        f"conversation. Strategies that do not go by times keep their shares. `{__name__}`."
    )
    return made


def _at_once(strategy: str, seed: int) -> int:
    """How many of a hundred requests at the same moment the first of two equal targets gets."""
    route = SimulatedRoute(plan(*map(target, "ab"), strategy=strategy), seed=seed)
    route.load(5, 5)
    route.pass_time(5)
    return Counter(route.ask() for _ in range(100))["a"]


def _slow(strategy: str, seed: int) -> tuple[float, float]:
    """The slow target's share from 5 s after it got slow, and from half a minute after it is fast again."""

    def takes(name: str, now: float) -> float:
        return 2.0 if name == "c" and SLOW_AT <= now < FAST_AT else 0.2

    route = SimulatedRoute(plan(*map(target, "abc"), strategy=strategy), takes, seed=seed)
    route.load(END, RATE)
    return route.shares(SLOW_AT + 5, FAST_AT).get("c", 0.0), route.shares(FAST_AT + 30, END).get("c", 0.0)

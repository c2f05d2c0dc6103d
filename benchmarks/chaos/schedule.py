"""Which fault each backend has at which moment: drawn from a seed, so that every gateway meets the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Literal, NamedTuple, TypeAlias, get_args

BACKENDS = 5
Fault: TypeAlias = Literal[
    "refuse",
    "reset",
    "hang",
    "cut",
    "429",
    "500",
    "502",
    "drip",
    "garbage",
    "error first",
    "error later",
    "half",
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
"""What ``backends.py`` does for each."""
Ending: TypeAlias = Literal["FIN", "RST", "clean"]
ENDINGS: tuple[Ending, ...] = get_args(Ending)
"""How a cut ends: the connection closed inside of the body, reset, or the body ended as HTTP has it."""
_SICK, _WELL = (3.0, 12.0), (2.0, 9.0)
"""Seconds that a phase lasts, shortest and longest."""
_BEFORE = 8.0
"""Seconds at the start of an outage in which all backends are well."""
_AT_ONCE: tuple[Fault, ...] = ("500", "429", "refuse", "502", "hang")
"""What the backends have while all of them are sick: nothing that costs a reply already begun."""
_STAGGER = 4.0
"""Seconds from the recovery of one backend to that of the next."""


class Phase(NamedTuple):
    """What a backend does from ``begin`` to ``end``, in seconds from the start; ``fault`` is ``None`` while it is well."""

    begin: float
    end: float
    fault: Fault | None = None
    ending: Ending = "FIN"
    after: int = 0
    """Pieces of a reply before it is cut, or fails."""


Schedule: TypeAlias = tuple[tuple[Phase, ...], ...]
"""The phases of each backend."""


def drawn(seed: int, seconds: float) -> Schedule:
    """Phases of health and of every kind of fault in turn; at each moment one backend or more is well."""
    rng = Random(seed)
    kinds = _in_turn(rng)
    backends = [_phases(rng, kinds, seconds) for _ in range(BACKENDS)]
    for moment in sorted({phase.begin for phases in backends for phase in phases}):
        at = [next(index for index, phase in enumerate(phases) if moment < phase.end) for phases in backends]
        if all(phases[index].fault for phases, index in zip(backends, at, strict=True)):
            chosen = rng.randrange(BACKENDS)
            phase = backends[chosen][at[chosen]]
            backends[chosen][at[chosen]] = Phase(phase.begin, phase.end)
    return tuple(map(tuple, backends))


def _in_turn(rng: Random) -> Iterator[Fault]:
    """Every kind as often as every other, in an order that is drawn."""
    while True:
        yield from rng.sample(FAULTS, len(FAULTS))


def _phases(rng: Random, kinds: Iterator[Fault], seconds: float) -> list[Phase]:
    """Of one backend; it is as often well at the start as later."""
    phases, now, is_well = [], 0.0, rng.random() < 0.46
    while now < seconds:
        end = now + rng.uniform(*(_WELL if is_well else _SICK))
        if is_well:
            phases.append(Phase(now, end))
        else:
            phases.append(Phase(now, end, next(kinds), rng.choice(ENDINGS), rng.randint(1, 12)))
        now, is_well = end, not is_well
    return phases


def outage(seed: int, sick: float) -> Schedule:
    """All backends well, then all of them sick for ``sick`` seconds, then well again, one after the other."""
    first = Random(seed).randrange(BACKENDS)
    end = _BEFORE + sick + BACKENDS * _STAGGER
    phases = []
    for number in range(BACKENDS):
        turn = (number + first) % BACKENDS
        back = _BEFORE + sick + turn * _STAGGER
        phases.append((Phase(0.0, _BEFORE), Phase(_BEFORE, back, _AT_ONCE[number]), Phase(back, end)))
    return tuple(phases)


def all_sick(schedule: Schedule) -> tuple[float, float]:
    """From when to when no backend is well, for the longest time."""
    moments = sorted({phase.begin for phases in schedule for phase in phases})
    spans: list[tuple[float, float]] = []
    for begin, end in pairwise([*moments, length(schedule)]):
        if not well_at(schedule, begin):
            spans.append((spans.pop()[0] if spans and spans[-1][1] == begin else begin, end))
    return max(spans, key=lambda span: span[1] - span[0], default=(0.0, 0.0))


def length(schedule: Schedule) -> float:
    """Seconds until the first backend has no phase left."""
    return min(phases[-1].end for phases in schedule)


def well_at(schedule: Schedule, moment: float) -> int:
    """How many backends are well then."""
    return sum(phase.fault is None for phases in schedule for phase in phases if phase.begin <= moment < phase.end)


def well_on_average(schedule: Schedule, seconds: float) -> float:
    """How many backends are well at once, on average over the first ``seconds``."""
    well = sum(
        max(0.0, min(phase.end, seconds) - phase.begin) for phases in schedule for phase in phases if phase.fault is None
    )
    return well / seconds

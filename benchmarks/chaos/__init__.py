"""Gateways before five backends that fail by a schedule: what becomes of each request.

``python -m benchmarks chaos`` runs both parts, ``chaos/schedule`` or ``chaos/outage`` one; ``python -m benchmarks.chaos`` has
options for their length, the seed and who is measured.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..report import Table

PARTS = ("schedule", "outage")
SECONDS, SICK, SEED = 120.0, 30.0, 1


def measure(part: str = "", *, seconds: float = SECONDS, seed: int = SEED, only: tuple[str, ...] = ()) -> Iterator[Table]:
    """The tables of all parts, or of the one named. ``seconds`` is how long a schedule is, or all backends are sick."""
    from . import run

    if part and part not in PARTS:
        raise SystemExit(f"chaos has no part {part!r} (there are {', '.join(PARTS)})")
    only = only or tuple(name for name in os.environ.get("ONLY", "").split(",") if name)
    names = [part] if part else PARTS
    for name in names:
        yield run.scheduled(seconds, seed, only) if name == "schedule" else run.sick(min(seconds, SICK), seed, only)

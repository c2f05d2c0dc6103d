"""Real servers' recorded bytes (``tests/corpus/``), and the ways a network may cut them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "corpus"


def body(case: str) -> bytes:
    """The recorded response body of a case such as ``ai-engine-1.9.99/01-success-stream``."""
    return (FOLDER / case / "body").read_bytes()


def request(case: str) -> bytes:
    return (FOLDER / case / "request").read_bytes()


def meta(case: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / case / "meta.json").read_text()))


def cases(software: str) -> list[str]:
    """The cases of one plugin: ``ai-engine`` or ``ai-power``."""
    return sorted(f"{path.parent.name}/{path.name}" for path in FOLDER.glob(f"{software}-*/*") if path.is_dir())


def splits(data: bytes, seed: int = 7) -> Iterator[list[bytes]]:
    """``data`` whole, byte by byte, cut in two at every boundary (for short data, else at 400 places), and in random pieces."""
    yield [data]
    if len(data) <= 20_000:
        yield [data[i : i + 1] for i in range(len(data))]
    rng = random.Random(seed)
    cuts = (
        range(1, len(data))
        if len(data) <= 4_000
        else sorted(rng.sample(range(1, len(data)), 400 if len(data) < 50_000 else 20))
    )
    for cut in cuts:
        yield [data[:cut], data[cut:]]
    for _ in range(10):
        places = sorted(rng.sample(range(1, max(len(data), 2)), min(len(data) - 1, 12))) if len(data) > 1 else []
        yield [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]

"""Memory after a burst of large bodies, beside what it was before: what was taken for them is given back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import suppress

from ..report import Table, progress
from . import dialects
from .bench import Absent, Bench, run
from .load import repeated
from .ways import Gateway, Live, Way

REQUESTS = 2_000
TOGETHER = 32
BODY = 1_000_000
"""Bytes of text in each request."""
REST = 20.0
"""Seconds between the last reply and the reading; 120 for the record."""
_PATIENCE = 180.0


def measure(bench: Bench, number: float | None = None) -> Iterator[Table]:
    """One table. ``number`` is how many seconds memory is given to come back."""
    rest = number or REST
    table = Table("Memory after a burst", ["", "", "MB before", "MB at the most", f"MB {rest:g} s after", "more", "failed"])
    for gateway in bench.gateways:
        if not gateway.ours and gateway.name != "nginx":
            continue
        for way in gateway.ways:
            progress(f"gateway/burst: {gateway.name}, {way.label}")
            try:
                with bench.fresh(gateway) as live:
                    table.rows.append([gateway.name, way.label, *_row(gateway, live, way, rest)])
            except (Absent, TimeoutError, RuntimeError, OSError) as error:
                bench.missing(f"{gateway.name}, {way.label}", error)
    table.notes.append(
        f"{REQUESTS:,} plain requests with {BODY / 1e6:g} MB of text each over {TOGETHER} connections; before them "
        f"small ones for two seconds and {REST:g} s of rest. Resident memory."
    )
    yield table


def _row(gateway: Gateway, live: Live, way: Way, rest: float) -> list[str]:
    run(repeated(live.port, live.request(way, "short"), 1, together=TOGETHER, seconds=2))
    time.sleep(REST)
    before = live.running.memory()
    most, failed = run(_burst(live, _large(live.port, way)))
    time.sleep(rest)
    after = live.running.memory()
    return [*(f"{size / 1e6:.1f}" for size in (before, most, after)), f"{after / before - 1:+.1%}", str(failed)]


def _large(port: int, way: Way) -> bytes:
    """A request whose one message is long."""
    value = json.loads(dialects.body(way.dialect, way.prefix + "plain", stream=False))
    value["messages"] = [{"role": "user", "content": "Why is the sky blue? " * (BODY // 21)}]
    content = json.dumps(value).encode()
    return dialects.request(port, way.path or dialects.PATHS[way.dialect], dialects.headers(way.dialect, way.headers), content)


async def _burst(live: Live, request: bytes) -> tuple[float, int]:
    """Bytes resident at the most, and how many requests failed."""
    left, failed, most = REQUESTS, 0, 0.0

    async def one() -> None:
        nonlocal left, failed, most
        reader, writer = await asyncio.open_connection("127.0.0.1", live.port)
        with suppress(OSError, asyncio.IncompleteReadError):
            while left > 0:
                left -= 1
                failed += 1  # until its reply is there
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                failed -= head.startswith(b"HTTP/1.1 200")
                most = max(most, live.running.memory()) if left % 20 == 0 else most
        writer.close()

    async with asyncio.timeout(_PATIENCE):
        await asyncio.gather(*(one() for _ in range(TOGETHER)))
    return most, failed

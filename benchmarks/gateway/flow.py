"""CPU of a paced chunk: streams that flow, with the load and the upstream in one process, which never sleeps, or does.

The kernel charges a writer for waking the process that it writes to: three microseconds a chunk where that sleeps on an idle
core. A load that sleeps is still awake when a fast gateway's next chunk comes, and asleep at that of a slower one, so that the
figure tells how fast the load is. A gateway wakes no client across a network. Both are measured: with nobody to wake, and as it
comes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from msgspec import Struct, json

from .load import Client, connect

AT_ONCE = 50


class Order(Struct):
    """``streams`` of ``request`` at ``port``, each on a connection that has carried ``warm`` before; ``pids`` are who pays."""

    port: int
    pids: list[int]
    warm: str
    request: str
    streams: int
    settle: float
    seconds: float
    is_awake: bool
    """Whether the load never sleeps."""


class Flow(Struct):
    """What came in the time in which all streams flow."""

    seconds: float
    cpu: float
    chunks: int
    reads: int


def cpu_of(pids: Iterable[int]) -> float:
    """Seconds of CPU of these processes, each with all its threads, to the nanosecond."""
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)  # the clock's number, as clock_getcpuclockid(3) makes it


async def flow(order: Order) -> Flow:
    """Raises ``Failed`` where a stream fails."""
    awake = asyncio.create_task(_awake()) if order.is_awake else None
    clients = [await connect(order.port) for _ in range(order.streams)]
    asks: list[asyncio.Task[float]] = []
    try:
        for begin in range(0, len(clients), AT_ONCE):
            await asyncio.gather(*(client.ask(order.warm.encode()) for client in clients[begin : begin + AT_ONCE]))
        for client in clients:
            asks.append(asyncio.create_task(client.ask(order.request.encode())))
            await asyncio.sleep(0)
        await asyncio.gather(*(client.began for client in clients))
        await asyncio.sleep(order.settle)
        return await _counted(order, clients)
    finally:
        for client in clients:
            client.transport.abort()
        await asyncio.gather(*asks, return_exceptions=True)
        if awake is not None:
            awake.cancel()


async def _counted(order: Order, clients: list[Client]) -> Flow:
    chunks, reads = (sum(getattr(client, name) for client in clients) for name in ("pieces", "reads"))
    began, before = time.monotonic(), cpu_of(order.pids)
    await asyncio.sleep(order.seconds)
    took, cpu = time.monotonic() - began, cpu_of(order.pids) - before
    later, read = (sum(getattr(client, name) for client in clients) for name in ("pieces", "reads"))
    return Flow(took, cpu, later - chunks, read - reads)


async def _awake() -> None:
    while True:
        await asyncio.sleep(0)


async def answer(body: bytes) -> bytes:
    """The ``Flow`` of an ``Order``, both in JSON; or a text that says why there is none."""
    try:
        async with asyncio.timeout(60):
            return json.encode(await flow(json.decode(body, type=Order)))
    except Exception as error:  # it is told where the order came from
        return json.encode(f"{type(error).__name__}: {error}")

"""The supervisor of workers, with processes that a test scripts: it and they go the ways of the tables, and it always ends."""

from __future__ import annotations

import asyncio
import json
import pickle
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from polychat.config import Config
from polychat.config.settings import GatewaySettings
from polychat.errors import BadInput, PolychatError
from polychat.gateway.process import workers
from polychat.gateway.process.source import ConfigSource
from polychat.gateway.process.workers import _Configure, _End, _Supervisor, _Worker

from ...support.state_tables import moves, transitions

Moves = set[tuple[str, str]]


class Process:
    """What ``subprocess.Popen`` is to a worker, and the line to it."""

    def __init__(self, pid: int) -> None:
        self.pid, self.code, self.ended = pid, 0, False
        self.reader = asyncio.StreamReader()
        self.orders: list[Any] = []

    def wait(self) -> int:
        return self.code

    def kill(self) -> None:
        if not self.ended:
            self.end(-9)

    def end(self, code: int = 0) -> None:
        self.code, self.ended = code, True
        self.reader.feed_eof()

    def say(self, **report: Any) -> None:
        self.reader.feed_data(json.dumps(report).encode() + b"\n")

    # The supervisor's end of the line

    def is_closing(self) -> bool:
        return self.ended

    def write(self, data: bytes) -> None:
        self.orders.append(pickle.loads(data[4:]))

    def close(self) -> None: ...


class Observed(_Worker):
    """Notes how its state changes."""

    moves: Moves

    def __init__(self, process: Process, moves: Moves) -> None:
        self.moves = moves
        super().__init__(cast(Any, process), process.reader, cast(Any, process))

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "state":
            self.moves.add((getattr(self, "state", "none"), value))
        super().__setattr__(name, value)


class Scripted(_Supervisor):
    """Starts no process, and notes how its own state changes."""

    def __init__(self, shared: Path, grace: float) -> None:
        source = ConfigSource(shared / "polychat.toml")
        super().__init__(source, Config(gateway=GatewaySettings(workers=2, grace=grace, log="off")), "", (), shared)
        self.processes: list[Process] = []
        self.worker_moves: Moves = set()
        self.moves: Moves = set()
        self.last = self.state

    async def _spawn(self) -> _Worker:
        self.processes.append(Process(len(self.processes) + 1))
        return Observed(self.processes[-1], self.worker_moves)

    def _stop(self) -> None:
        self.look()
        super()._stop()
        self.look()

    def look(self) -> None:
        if self.state != self.last:
            self.moves.add((self.last, self.state))
        self.last = self.state

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.look()
                await asyncio.sleep(0)
        self.look()

    async def started(self, count: int) -> None:
        """``count`` workers were started so far, and the supervisor knows of them."""
        await self.until(
            lambda: len(self.processes) >= count and len(self._workers) == sum(not process.ended for process in self.processes)
        )


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause before a replacement, and none before a kill."""
    monkeypatch.setattr(workers, "_BACKOFF", 0.0)
    monkeypatch.setattr(workers, "_EXTRA_GRACE", 0.0)


@asynccontextmanager
async def supervised(
    shared: Path, grace: float = 60.0, extra_grace: float = 60.0
) -> AsyncGenerator[tuple[Scripted, asyncio.Task[int]]]:
    """A clock is either not waited for at all or longer than any scene: how busy the machine is decides nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "_EXTRA_GRACE", extra_grace)
        supervisor = Scripted(shared, grace)
        running = asyncio.create_task(supervisor.run())
        await supervisor.started(2)
        yield supervisor, running
        await supervisor.until(running.done)


async def one_after_the_other(shared: Path) -> Scripted:
    """Both serve, one is replaced, a signal ends them; a configuration reaches all."""
    async with supervised(shared) as (supervisor, running):
        first, second = supervisor.processes
        first.say(ready=True)
        await supervisor.until(lambda: supervisor.state == "serving")
        (shared / "polychat.toml").write_text('[routes.fast]\ntargets = ["local/smollm2"]\n')
        supervisor._reload()
        second.say(ready=True)
        first.end(-9)
        await supervisor.started(3)
        supervisor._stop()
        for process in supervisor.processes[1:]:
            process.end()
    assert running.result() == 0
    assert [type(order) for order in second.orders] == [_Configure, _End]
    return supervisor


async def refused_at_once(shared: Path) -> Scripted:
    """The first worker cannot serve this configuration: no other could."""
    async with supervised(shared) as (supervisor, running):
        supervisor.processes[0].say(refused="no such backend")
        supervisor.processes[0].end(1)
        await supervisor.until(lambda: supervisor.state == "ending")
        supervisor.processes[1].end()
    with pytest.raises(BadInput, match="no such backend"):
        running.result()
    return supervisor


async def refused_while_others_serve(shared: Path) -> Scripted:
    """Then it is replaced; a refused one that does not end is killed."""
    async with supervised(shared, grace=0.0, extra_grace=0.0) as (supervisor, running):
        supervisor.processes[0].say(ready=True)
        await supervisor.until(lambda: supervisor.state == "serving")
        supervisor.processes[1].say(refused="not now")
        supervisor.processes[1].end(1)
        await supervisor.started(3)
        supervisor.processes[2].say(refused="not now either")
        await supervisor.until(lambda: ("starting", "refused") in supervisor.worker_moves)
        for _ in range(10):
            await asyncio.sleep(0)
        supervisor._stop()
    assert running.result() == 0
    return supervisor


async def given_up(shared: Path, *, serving: bool) -> Scripted:
    """After five early exits in a row of one slot, whether or not the other serves."""
    async with supervised(shared) as (supervisor, running):
        if serving:
            supervisor.processes[0].say(ready=True)
            await supervisor.until(lambda: supervisor.state == "serving")
        for count in range(3, 8):
            supervisor.processes[-1].end(7)
            if count < 7:
                await supervisor.started(count)
        await supervisor.until(lambda: supervisor.state == "ending")
        supervisor.processes[0].end()
    with pytest.raises(PolychatError, match="5 times in a row; the last one exited with code 7"):
        running.result()
    return supervisor


async def cut(shared: Path, *, ends: bool) -> Scripted:
    """A second signal ends at once what heeds it, and kills what does not."""
    async with supervised(shared, extra_grace=60.0 if ends else 0.0) as (supervisor, running):
        supervisor._stop()
        supervisor._stop()
        assert supervisor.processes[0].orders[-1] == _End(now=True)
        for process in supervisor.processes if ends else ():
            process.end()
    assert running.result() == 0
    assert all(process.code == (0 if ends else -9) for process in supervisor.processes)
    return supervisor


async def too_slow(shared: Path) -> Scripted:
    """What has not ended in its grace, and a little more, is killed."""
    async with supervised(shared, grace=0.0, extra_grace=0.0) as (supervisor, running):
        supervisor._stop()
    assert running.result() == 0
    assert [process.code for process in supervisor.processes] == [-9, -9]
    return supervisor


async def stepwise(shared: Path) -> Scripted:
    """The second signal comes when the first has been heeded for a while."""
    async with supervised(shared, extra_grace=0.0) as (supervisor, running):
        supervisor._stop()
        await supervisor.until(lambda: supervisor.processes[0].orders)
        supervisor._stop()
    assert running.result() == 0
    return supervisor


SCENES: dict[str, Callable[[Path], Awaitable[Scripted]]] = {
    "one after the other": one_after_the_other,
    "refused at once": refused_at_once,
    "refused while others serve": refused_while_others_serve,
    "given up": lambda shared: given_up(shared, serving=False),
    "given up while another serves": lambda shared: given_up(shared, serving=True),
    "cut": lambda shared: cut(shared, ends=True),
    "cut and killed": lambda shared: cut(shared, ends=False),
    "too slow": too_slow,
    "stepwise": stepwise,
}


async def test_the_tables_are_true(tmp_path: Path) -> None:
    """Workers and supervisor go each way that the tables have, and no other."""
    of_workers: Moves = set()
    of_supervisors: Moves = set()
    for scene in SCENES.values():
        supervisor = await scene(tmp_path)
        of_workers |= supervisor.worker_moves
        of_supervisors |= supervisor.moves
    assert of_supervisors == moves(transitions(workers, "supervisor"))
    assert of_workers == moves(transitions(workers, "worker"))


@pytest.mark.parametrize("seed", range(20))
async def test_in_any_order(tmp_path: Path, seed: int) -> None:
    """Whatever workers and signals do, both go by the tables, no slot has two workers, and the supervisor ends."""
    chance = random.Random(seed)
    supervisor = Scripted(tmp_path, grace=chance.choice([0.0, 60.0]))
    running = asyncio.create_task(supervisor.run())
    for _ in range(40):
        for _ in range(chance.randint(0, 5)):
            await asyncio.sleep(0)
            supervisor.look()
        alive = [process for process in supervisor.processes if not process.ended]
        match chance.choice(
            ["ready", "ready", "refuse", "exit", "exit", "reload", *(["stop"] if chance.random() < 0.1 else [])]
        ):
            case "ready" if alive:
                chance.choice(alive).say(ready=True)
            case "refuse" if alive:
                chance.choice(alive).say(refused="no")
            case "exit" if alive:
                chance.choice(alive).end(chance.choice([0, 1, -9]))
            case "reload":
                supervisor._reload()
            case "stop":
                supervisor._stop()
        assert len(supervisor._workers) <= 2
    supervisor._stop()
    supervisor._stop()
    await supervisor.until(running.done)
    assert supervisor.moves <= moves(transitions(workers, "supervisor"))
    assert supervisor.worker_moves <= moves(transitions(workers, "worker"))
    assert running.exception() is None or isinstance(running.exception(), PolychatError)
    assert not supervisor._workers

"""Two machines that share PostgreSQL and Valkey, one of which is killed under load: real processes, as a person starts them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import time
from typing import Any

import pytest

from polychat.state.database.store import DatabaseStore
from polychat.state.key_admin import KeyAdmin
from polychat.state.store import Policy, UsageFilter, UsageLimit

from ..support.database_servers import PostgreSQL, emptied, valkey_server
from ..support.gateway_processes import Running
from ..support.running_gateway import Caller, asking, completion
from ..support.scripted_server import Say, Seen

pytest.importorskip("sqlalchemy", reason="needs the extra: pip install 'polychat[state]'")
EACH, CAP, CLIENTS = 100, 12_000, 4
"""Tokens that a request uses, those that the team may use, and requests at a time."""
_PATH, _BODY = asking("openai-chat", max_tokens=EACH)


async def counting(seen: Seen, say: Say) -> None:
    """A backend whose every reply has used as much as its client allowed."""
    await say.whole(completion("Hello", usage={"prompt_tokens": 1, "completion_tokens": EACH - 1, "total_tokens": EACH}))


class Machine:
    """One gateway, its clients' key, and what they got."""

    def __init__(self, process: Running, port: int, key: str) -> None:
        self.process, self.port, self.key = process, port, key
        self.statuses: Counter[int] = Counter()

    async def ask(self) -> int:
        """The status of one request by a new connection; raises ``OSError`` or ``EOFError`` where the machine is dead."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        caller = Caller(reader, writer)
        try:
            caller.ask(_PATH, _BODY, headers={"authorization": f"Bearer {self.key}"})
            status = (await caller.whole()).status
        finally:
            await caller.close()
        self.statuses[status] += 1
        return status


@asynccontextmanager
async def machine(folder: Path, configuration: str, key: str) -> AsyncGenerator[Machine]:
    """A gateway with a disk of its own, until it is stopped as a service is."""
    folder.mkdir(exist_ok=True)
    file = folder / "polychat.toml"
    file.write_text(configuration)
    command = ("-m", "polychat", "serve", "--config", str(file), "--port", "0")
    process = await asyncio.to_thread(Running, *command, env={"XDG_STATE_HOME": str(folder)})
    try:
        yield Machine(process, await asyncio.to_thread(process.listening), key)
        if process.process.poll() is None:
            process.signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait) == 0
    finally:
        await asyncio.to_thread(process.end)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what is true soon, asking in a thread."""
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(condition):
            pass


async def load(alive: list[Machine], after: Callable[[], Any]) -> None:
    """Clients that ask the machines in turn, and another one where one is dead, until the team's budget is used up."""
    count = 0

    async def client(turn: int) -> None:
        nonlocal count
        status = 0
        while status != 429:
            turn += 1
            target = alive[turn % len(alive)]
            try:
                status = await target.ask()
            except (OSError, EOFError):
                assert target.process.process.poll() is not None or target.process.process.wait(60), "only a dead one refuses"
                if target in alive:
                    alive.remove(target)
            count += 1
            if count == 20:
                after()
            assert status in (0, 200, 429)

    await asyncio.gather(*(client(turn) for turn in range(CLIENTS)))


async def test_one_of_two_machines_is_killed_under_load(serve: Any, tmp_path: Path, postgresql_server: PostgreSQL) -> None:
    """The other answers all clients; the budget that they share is kept; each request is one record: none of the other's
    is missing, and of the killed one's at most those of its last second. What it had left on its disk is delivered when it
    starts again.
    """
    store = emptied(DatabaseStore(postgresql_server.url))
    admin = KeyAdmin(store, "test", time())
    limits = (
        UsageLimit(metric="tokens", window="month", cap=CAP),
        UsageLimit(metric="requests", window="minute", cap=100_000),
    )
    admin.put_owner("team", "red", policy=Policy(limits=limits))
    made = [admin.create(name, owner=("team", "red")) for name in ("one", "two")]
    ids, keys = [key.id for key, _ in made], [new.text for _, new in made]
    backend = await serve(counting)
    with valkey_server(tmp_path) as valkey:
        configuration = (
            f'[gateway]\nlog = "off"\nsites = ""\n[gateway.state]\nurl = "{postgresql_server.url}"\nshared = "{valkey.url}"\n'
            f'[providers.house]\nwire = "openai-chat"\nbase_url = "{backend.url}/v1"\nserves = ["small"]\n'
        )
        folders = [tmp_path / "one", tmp_path / "two"]

        def recorded() -> dict[str, int]:
            return {one.name: one.requests for one in store.usage("key", UsageFilter())}

        async with machine(folders[1], configuration, keys[1]) as second:
            async with machine(folders[0], configuration, keys[0]) as first:
                for here in (first, second):
                    assert {await here.ask() for _ in range(10)} == {200}
                await until(lambda: set(recorded().values()) == {10} and len(recorded()) == 2)
                await load([first, second], lambda: os.kill(first.process.pid, signal.SIGKILL))
            survived = second.statuses[200]
            assert survived > 10
        async with machine(folders[0], configuration, keys[0]):
            pass
    records = recorded()
    store.close()
    assert records[ids[1]] == survived
    assert 10 <= records[ids[0]] <= first.statuses[200] + CLIENTS
    answered = first.statuses[200] + survived
    assert CAP // 2 < answered * EACH <= CAP + CLIENTS * EACH
    assert second.statuses[429] + first.statuses[429] == CLIENTS

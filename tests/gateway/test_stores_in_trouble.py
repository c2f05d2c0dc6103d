"""Gateways whose database is locked or full, or one of which is killed under load: requests are answered, budgets are kept."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from time import time
from typing import Any

import pytest

from polychat.config.access import Admin
from polychat.config.settings import KeySettings, State, TokenBudget
from polychat.gateway.storage import spool_of, store_of
from polychat.state.database.store import DatabaseStore
from polychat.state.key_text import new_key
from polychat.state.store import StoredBucket, UsageFilter
from polychat.state.windows import window_at
from polychat.worker_threads import in_store_thread

from ..support.database_servers import PostgreSQL, delivered, emptied, full, hung, locked, valkey_server
from ..support.gateway_processes import started
from ..support.patience import PATIENCE
from ..support.running_gateway import Caller, Running, asking, completion, configured, gateway, row
from ..support.scripted_server import Say, Seen, serving

EACH = {"prompt_tokens": 25, "completion_tokens": 10, "total_tokens": 35}
KEY = {"authorization": "Bearer the-key-of-the-file"}


async def counting(seen: Seen, say: Say) -> None:
    """Answers, and counts 35 tokens, a few less than are reserved."""
    await say.whole(completion("Hello", usage=EACH))


def small() -> tuple[str, Any]:
    path, body = asking("openai-chat")
    return path, {**body, "max_tokens": 10}


def spent(store: DatabaseStore) -> int:
    """Of the key's tokens of this month."""
    window = window_at("month", time())
    (level,) = store.levels([StoredBucket("key", "file", "tokens", "month", window.start, window.end)], time())
    return level.spent


@pytest.mark.parametrize("trouble", ["locked", "full"])
async def test_a_budget_is_kept_while_sqlite_is_locked_or_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Requests go on without waiting for the database, and what they spent is in it afterwards, with a record of each; the
    budget holds meanwhile."""
    from sqlalchemy import event

    monkeypatch.setenv("KEY_FILE", "the-key-of-the-file")
    state = State(url=f"sqlite:///{tmp_path}/gateway.db", spool=str(tmp_path / "spool"))
    limits = {"file": KeySettings(tokens=TokenBudget(month=800))}
    async with serving(counting) as server:
        providers = {"house": row("openai-chat", server.url)}
        async with gateway(configured(providers, state=state, keys={"file": "env:KEY_FILE"}, key_settings=limits)) as here:
            assert (await here.ask(*small(), headers=KEY)).status == 200
            other = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
            assert here.app.usage is not None
            engine = here.app.usage.store._database._engine  # type: ignore[attr-defined]  # SQLite's

            def full(connection: Any) -> None:
                connection.exec_driver_sql(f"PRAGMA max_page_count = {pages[0]}")

            pages = [1]
            if trouble == "locked":
                other.execute("BEGIN IMMEDIATE")
            else:
                event.listen(engine, "begin", full)
            answers = [await here.ask(*small(), headers=KEY) for _ in range(30)]
            pages[0] = 1_000_000
            if trouble == "locked":
                other.execute("ROLLBACK")
            other.close()
        answered = 1 + [answer.status for answer in answers].count(200)
        assert {answer.status for answer in answers} == {200, 429}
        assert 750 < 35 * answered <= 800
    store = delivered(store_of(state, patience=10), spool_of(state))
    (total,) = store.usage("verdict", UsageFilter())
    assert (spent(store), total.requests) == (35 * answered, answered)
    store.close()


@pytest.mark.parametrize("trouble", [hung, locked])
async def test_requests_go_on_while_postgresql_hangs_or_is_locked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    postgresql_server: PostgreSQL,
    trouble: Callable[[PostgreSQL], AbstractContextManager[None]],
) -> None:
    """Those with keys that are known do not wait for it, also where their allotment is used up. The few that must ask it are
    refused when its time is over, and then at once, so that no thread is left waiting. A text that PostgreSQL does not take is
    not found.
    """
    monkeypatch.setenv("KEY_FILE", "the-key-of-the-file")
    monkeypatch.setenv("ADMIN_KEY", "an-admin-key")
    emptied(DatabaseStore(postgresql_server.url, patience=10)).close()
    monkeypatch.setenv("TEXT_KEY", b64encode(b"k" * 32).decode())
    kept: dict[str, Any] = {"keep_text": True, "encryption_keys": ("env:TEXT_KEY",)}
    state = State(url=postgresql_server.url, spool=str(tmp_path / "spool"), **kept)
    limits = {"file": KeySettings(rpm=1000, tokens=TokenBudget(month=3500))}
    async with serving(counting) as server:
        settings = configured(
            {"house": row("openai-chat", server.url)},
            state=state,
            keys={"file": "env:KEY_FILE"},
            key_settings=limits,
            admin=Admin(keys={"boss": "env:ADMIN_KEY"}),
        )
        async with gateway(settings) as here:
            assert (await here.ask(*small(), headers=KEY)).status == 200
            empty = await here.ask("/admin/usage?person=%00", headers={"authorization": "Bearer an-admin-key"})
            assert (empty.status, empty.json["usage"]) == (200, [])
            assert (await here.ask("/v1/responses/a%00b", headers=KEY)).status == 404
            asked = {"model": "house/small", "input": "a", "previous_response_id": "a\0b", "max_output_tokens": 10}
            refused = await here.ask("/v1/responses", asked, headers=KEY)
            assert refused.json["error"]["code"] == "previous_response_not_found"

            async def unknown() -> int:
                return (await here.ask(*small(), headers={"authorization": f"Bearer {new_key().text}"})).status

            with trouble(postgresql_server):
                statuses = [(await here.ask(*small(), headers=KEY)).status for _ in range(20)]
                assert statuses == [200] * 20
                assert set(await asyncio.gather(*(unknown() for _ in range(12)))) == {503}
                assert await in_store_thread(lambda: "free") == "free"
                assert (await here.ask(*small(), headers=KEY)).status == 200
    store = delivered(store_of(state, patience=10), spool_of(state))
    (total,) = store.usage("verdict", UsageFilter())
    assert (spent(store), total.requests) == (35 * 22, 22)
    store.close()


async def test_a_full_disk_of_postgresql_refuses_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgresql_server: PostgreSQL
) -> None:
    """While nothing can be written, requests are answered up to the budget, usage waits in the spool, and ``/ready`` says that
    limits are not shared; when there is room again, all of it is in the database, and ``/ready`` has nothing to say."""
    monkeypatch.setenv("KEY_FILE", "the-key-of-the-file")
    emptied(DatabaseStore(postgresql_server.url, patience=10)).close()
    state = State(url=postgresql_server.url, spool=str(tmp_path / "spool"))
    limits = {"file": KeySettings(tokens=TokenBudget(month=800))}

    async def ready(here: Running, *, is_shared: bool) -> None:
        async with asyncio.timeout(PATIENCE):
            while (b"cannot be reached" in (answer := await here.ask("/ready")).body) is is_shared:
                assert answer.status == 200

    async with serving(counting) as server:
        providers = {"house": row("openai-chat", server.url)}
        settings = configured(providers, state=state, keys={"file": "env:KEY_FILE"}, key_settings=limits)
        async with gateway(settings) as here:
            statuses = [(await here.ask(*small(), headers=KEY)).status]
            with full(postgresql_server):
                await ready(here, is_shared=False)
                statuses += [(await here.ask(*small(), headers=KEY)).status for _ in range(30)]
                async with asyncio.timeout(PATIENCE):
                    while not any((tmp_path / "spool").rglob("usage-*.spool")):
                        await asyncio.sleep(0)
            await ready(here, is_shared=True)
    answered = statuses.count(200)
    assert set(statuses) == {200, 429}
    assert 35 * answered <= 800 < 35 * (answered + 2)
    store = delivered(store_of(state, patience=10), spool_of(state))
    (total,) = store.usage("verdict", UsageFilter())
    assert (spent(store), total.requests) == (35 * answered, answered)
    store.close()


async def test_one_of_two_gateways_is_killed_under_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgresql_server: PostgreSQL
) -> None:
    """The other goes on, up to the budget that both share through PostgreSQL and Valkey: together they do not pass it, and what
    the killed one had reported is counted."""
    monkeypatch.setenv("KEY_FILE", "the-key-of-the-file")
    emptied(DatabaseStore(postgresql_server.url, patience=10)).close()
    state = State(url=postgresql_server.url, spool=str(tmp_path / "spool"))
    async with serving(counting) as server:
        with valkey_server(tmp_path) as valkey, ExitStack() as processes:
            file = tmp_path / "polychat.toml"
            file.write_text(
                f'[gateway]\nlog = "off"\nsites = ""\nport = 0\nkeys = {{ file = "env:KEY_FILE" }}\n'
                f'[gateway.state]\nurl = "{state.url}"\nshared = "{valkey.url}"\nspool = "{state.spool}"\n'
                "[gateway.key_settings.file]\nrpm = 100000\ntokens = { month = 7000 }\n"
                f'[providers.house]\nwire = "openai-chat"\nbase_url = "{server.url}/v1"\nserves = ["small"]\n'
            )
            command = ("-m", "polychat", "serve", "--config", str(file))
            first, second = (processes.enter_context(started(*command)) for _ in range(2))
            ports = [await asyncio.to_thread(one.listening) for one in (first, second)]
            store = DatabaseStore(postgresql_server.url, patience=10)
            counts = await asyncio.gather(*(answered(port, 20) for port in ports))
            async with asyncio.timeout(60):
                while await asyncio.to_thread(spent, store) < 35 * sum(counts):
                    pass
            load = asyncio.gather(*(answered(ports[0], 10) for _ in range(4)), return_exceptions=True)
            counts += await asyncio.gather(*(answered(ports[1], 10) for _ in range(2)))
            os.kill(first.pid, signal.SIGKILL)
            counts += [count for count in await load if isinstance(count, int)]
            counts.append(await answered(ports[1], 200))
            second.signal(signal.SIGTERM)
            await asyncio.to_thread(second.wait)
            known = await asyncio.to_thread(spent, store)
            delivered(store, spool_of(state))
            (total,) = store.usage("verdict", UsageFilter())
            store.close()
    before = len(server.seen)
    assert 35 * sum(counts) <= 35 * before <= 7000, "together they kept the budget"
    assert counts[-1] > 0
    assert 7000 - 60 * 35 < known <= 35 * before
    assert sum(counts[:4]) <= total.requests <= before


async def answered(port: int, times: int) -> int:
    """How many of so many requests are answered and not refused."""
    count = 0
    for _ in range(times):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        caller = Caller(reader, writer)
        try:
            caller.ask(*small(), headers=KEY)
            status = (await caller.whole()).status
            assert status in (200, 429)
            count += status == 200
        finally:
            caller.leave()
    return count

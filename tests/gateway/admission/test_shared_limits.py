"""Gateways that share a database share their keys' limits, and a limit survives a restart."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from polychat.config.settings import KeySettings, State, TokenBudget
from polychat.errors import BadInput
from polychat.gateway.app import Gateway
from polychat.gateway.storage import store_of
from polychat.state.key_admin import KeyAdmin
from polychat.state.sharing import SharedBuckets
from polychat.state.store import Policy, StoredBucket, UsageLimit

from ...support.database_servers import PostgreSQL, valkey_server
from ...support.running_gateway import Running, asking, configured, gateway, good, row

pytest.importorskip("sqlalchemy", reason="needs the extra: pip install 'polychat[state]'")
NOON = 1_800_014_400.0


async def answered(here: Running, key: str, times: int) -> int:
    """How many of so many requests are not refused."""
    statuses = [
        (await here.ask(*asking("openai-chat"), headers={"authorization": f"Bearer {key}"})).status for _ in range(times)
    ]
    assert set(statuses) <= {200, 429}
    return statuses.count(200)


async def test_two_gateways_and_the_next(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a limit of 9 requests, two gateways together answer 9, whether the key is the file's or the database's; a third one
    that starts later answers none, and all 9 again in the next window."""
    monkeypatch.setenv("KEY_FILE", "the-key-of-the-file")
    state = State(url=f"sqlite:///{tmp_path}/gateway.db", spool=str(tmp_path / "spool"))
    settings = configured(
        {"house": row("openai-chat", (await serve(good)).url)},
        state=state,
        keys={"file": "env:KEY_FILE"},
        key_settings={"file": KeySettings(rpm=9)},
    )
    store, now = store_of(state), [NOON]
    limit = UsageLimit(metric="requests", window="minute", cap=9)
    team = KeyAdmin(store, "test", NOON)
    team.put_owner("team", "red", policy=Policy(limits=(limit,)))
    made = [team.create(name, owner=("team", "red"))[1].text for name in ("one", "two")]
    store.close()
    async with AsyncExitStack() as running:

        async def begun() -> Running:
            here = await running.enter_async_context(gateway(settings))
            assert here.app.accounting is not None
            here.app.accounting.clock = lambda: now[0]
            return here

        first, second = await begun(), await begun()
        of_file = [await answered(here, "the-key-of-the-file", 3) for here in (first, second, first, second, first)]
        of_team = [await answered(here, key, 3) for here, key in zip((first, second) * 3, made * 3, strict=True)]
        assert (sum(of_file), sum(of_team)) == (9, 9)
        third = await begun()
        assert [await answered(third, key, 2) for key in ("the-key-of-the-file", made[0])] == [0, 0]
        now[0] += 60
        assert [await answered(third, key, 10) for key in ("the-key-of-the-file", made[0])] == [9, 9]


async def test_several_machines(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgresql_server: PostgreSQL
) -> None:
    """Gateways share limits per minute through Valkey and budgets through PostgreSQL. While Valkey is away each answers its
    share and says so; when it is back, empty, they share again, and the budget has all that was spent."""
    monkeypatch.setenv("KEY_FILE", "the-key-of-the-file")
    monkeypatch.setattr(SharedBuckets, "start", lambda self: None)  # the test refreshes, when it is time
    with valkey_server(tmp_path) as valkey:
        state = State(url=postgresql_server.url, shared=valkey.url, spool=str(tmp_path / "spool"))
        settings = configured(
            {"house": row("openai-chat", (await serve(good)).url)},
            state=state,
            keys={"file": "env:KEY_FILE"},
            key_settings={"file": KeySettings(rpm=8, concurrent=2, tokens=TokenBudget(day=10_000_000))},
        )
        now, messages = [NOON], []
        async with AsyncExitStack() as running:
            gateways = [await running.enter_async_context(gateway(settings)) for _ in range(2)]

            async def round_of_requests() -> list[int]:
                first, second = gateways
                counts = [
                    await answered(here, "the-key-of-the-file", times) for here, times in ((first, 3), (second, 5), (first, 2))
                ]
                for here in gateways:
                    await refreshed(here)
                return counts

            for here in gateways:
                assert here.app.accounting is not None
                assert here.app.usage is not None
                here.app.accounting.clock = lambda: now[0]
                here.app.usage._tell_now = lambda message, **_: messages.append(message)
            assert sum(await round_of_requests()) == 8
            now[0] += 5
            await refreshed(gateways[0])  # it now knows of the second one
            await asyncio.to_thread(valkey.stop)
            now[0] += 60
            assert await round_of_requests() == [3, 4, 1]
            away = "shared limits: valkey cannot be reached; each process applies its share of them"
            for here in gateways:
                assert (await here.ask("/ready")).body.decode().splitlines() == ["ready", away]
            scraped = (await gateways[0].ask("/metrics", headers={"authorization": "Bearer the-key-of-the-file"})).body
            assert b'polychat_limits_store_away{store="valkey"} 1.0' in scraped
            assert b'polychat_limits_store_away{store="database"} 0.0' in scraped
            await asyncio.to_thread(valkey.start)
            for here in gateways:
                await refreshed(here)
            now[0] += 60
            assert sum(await round_of_requests()) == 8
            assert (await gateways[1].ask("/ready")).body == b"ready\n"
            assert sorted(messages) == [away, away, *["shared limits: valkey is back"] * 2]
            used = [
                record.prompt_tokens + record.completion_tokens
                for here in gateways
                for record in here.records
                if record.verdict
            ]
    store = store_of(state)
    (level,) = store.levels([StoredBucket("key", "file", "tokens", "day", int(NOON) - 43_200, int(NOON) + 43_200)], NOON)
    store.close()
    assert (len(used), level.spent) == (24, sum(used))


async def refreshed(here: Running) -> None:
    """What each second's refresh does."""
    assert here.app.accounting is not None
    for shared in here.app.accounting._shared.values():
        await asyncio.to_thread(shared.refresh)


def test_several_machines_need_one_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Valkey beside a file of SQLite, which is one machine's, is refused, and so is what is no URL of Valkey."""
    with pytest.raises(BadInput, match=r"set gateway\.state\.url to postgresql://"):
        Gateway(configured({}, state=State(shared="valkey://127.0.0.1")))
    monkeypatch.setenv("WRONG", "http://127.0.0.1")
    with pytest.raises(BadInput, match=r"write valkey://HOST:PORT"):
        Gateway(configured({}, state=State(url="postgresql://h/d", shared="env:WRONG")))

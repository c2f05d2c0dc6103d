"""Gateways that share a database share their keys' limits, and a limit survives a restart."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from polychat.config.settings import KeySettings, State
from polychat.gateway.storage import store_of
from polychat.state.key_admin import KeyAdmin
from polychat.state.store import Policy, UsageLimit

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

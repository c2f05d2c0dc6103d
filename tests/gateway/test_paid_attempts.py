"""What every attempt of a request costs is in the usage of its key and in its budget, whoever is paid for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polychat.config.settings import Budget, KeySettings, Price, Route, State, TokenBudget
from polychat.gateway.storage import spool_of, store_of

from ..support.database_servers import delivered
from ..support.hedging import begins_at_once
from ..support.running_gateway import (
    DONE,
    END,
    FIRST,
    Running,
    Stage,
    asking,
    completion,
    configured,
    event,
    gateway,
    row,
    text,
)
from ..support.scripted_server import Say, Seen

pytest.importorskip("sqlalchemy", reason="needs the extra: pip install 'polychat[state]'")
USED = {"prompt_tokens": 3000, "completion_tokens": 1000, "total_tokens": 4000}
KEY = {"authorization": "Bearer the-key-of-ada"}
PRICE = Price(prompt=1.0, completion=10.0)
DEAR = Price(prompt=10.0, completion=100.0)


async def counting(seen: Seen, say: Say) -> None:
    """Answers, and counts 3,000 and 1,000 tokens."""
    if seen.path.endswith("/embeddings"):
        await say.whole({"data": [{"index": 0, "embedding": [0.5]}], "model": "small", "usage": {"prompt_tokens": 3000}})
    elif seen.json.get("stream"):
        await say.stream([FIRST, text("Hello"), END, event({"id": "c", "choices": [], "usage": USED}), DONE])
    else:
        await say.whole(completion("Hello", usage=USED))


async def billing(seen: Seen, say: Say) -> None:
    """As a vendor that tells what it charges: five cents, whatever its list says."""
    usage = {**USED, "cost": 0.05}
    if seen.json.get("stream"):
        await say.stream([FIRST, text("Hello"), END, event({"id": "c", "choices": [], "usage": usage}), DONE])
    else:
        await say.whole(completion("Hello", usage=usage))


async def test_usage_and_budget_have_every_attempt(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answered, hedged, continued, mirrored, cancelled, embedded, and billed by the vendor's own word: each attempt that was
    paid for is in the usage with who was paid, a request counts as one, and the budgets hold the same sums."""
    monkeypatch.setenv("KEY", "the-key-of-ada")
    silent, cut, left = Stage(None), Stage(FIRST, text("Hello twelve"), None), Stage(FIRST, text("word"), text("last"))
    servers = {"well": counting, "bill": billing, "mute": silent, "cut": cut, "left": left, "shade": counting}
    urls = {name: (await serve(say)).url for name, say in servers.items()}
    routes = {
        "hedged": Route(("mute/small", "well/small"), strategy="ordered", hedge=True),
        "continued": Route(("cut/small", "well/small"), strategy="ordered", continuation=True),
        "mirrored": Route(("well/small",), shadow="shade/small", shadow_percent=100.0),
    }
    state = State(url=f"sqlite:///{tmp_path}/gateway.db", spool=str(tmp_path / "spool"))
    limits = KeySettings(budget=Budget(day=100.0), tokens=TokenBudget(day=10_000_000))
    settings = configured(
        {name: row("openai-chat", url) for name, url in urls.items()},
        routes=routes,
        state=state,
        keys={"key": "env:KEY"},
        key_settings={"key": limits},
    )
    async with gateway(
        replace(settings, prices={f"{name}/small": DEAR if name == "cut" else PRICE for name in servers})
    ) as here:
        begins_at_once(here.app.runtime.router, "hedged", "mute/small")
        plain = [("well/small", False), ("bill/small", False), ("bill/small", True), ("hedged", True), ("mirrored", False)]
        for target, stream in plain:
            assert (await here.ask(*named(target, stream=stream), headers=KEY)).status == 200
        embed = {"input": "hi", "model": "well/small", "user": "ada"}
        assert (await here.ask("/v1/embeddings", embed, headers=KEY)).status == 200
        await continued(here, cut)
        await cancelled(here)
        while here.app.shadows:
            await asyncio.sleep(0)
        assert here.app.accounting is not None
        account = here.app.accounting.account("key")
        assert account is not None
        used = {bucket.name.metric: bucket.used for bucket in account.buckets}
    store = delivered(store_of(state, patience=10), spool_of(state))
    with store._database.reading() as connection:
        query = "SELECT * FROM usage JOIN usage_labels ON usage.labels = usage_labels.id"
        rows = [one._mapping for one in connection.exec_driver_sql(query)]
    store.close()
    (prompt,) = {one["prompt_tokens"] for one in rows if one["target"] == "left/small"}
    (beginning,) = {one["cost"] - 13_000_000 for one in rows if one["model"] == "continued"}
    assert 20 < prompt < 60
    assert 300_000 < beginning < 1_000_000, "the first part's prompt, and twelve letters and more, at its own target's price"
    paid = [(one["model"], one["target"], bool(one["attempts"]), one["reason"], one["cost"]) for one in rows]
    assert sorted(paid) == [
        ("bill/small", "bill/small", True, "stop", 50_000_000),
        ("bill/small", "bill/small", True, "stop", 50_000_000),
        ("continued", "well/small", True, "stop", 13_000_000 + beginning),
        ("hedged", "mute/small", False, "hedged", 3_000_000),
        ("hedged", "well/small", True, "stop", 13_000_000),
        ("left/small", "left/small", True, "", prompt * 1000 + 3 * 10_000),
        ("mirrored", "shade/small", False, "mirrored", 13_000_000),
        ("mirrored", "well/small", True, "stop", 13_000_000),
        ("well/small", "well/small", True, "", 3_000_000),
        ("well/small", "well/small", True, "stop", 13_000_000),
    ]
    assert {one["user"] for one in rows} == {"ada"}
    assert sum(one["cost"] for one in rows) == used["dollars"]
    assert sum(one["prompt_tokens"] + (one["completion_tokens"] or 0) for one in rows) == used["tokens"]


def named(target: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    path, body = asking("openai-chat", target, stream=stream)
    return path, {**body, "user": "ada"}


async def continued(here: Running, cut: Stage) -> None:
    """A stream whose first backend breaks off after twelve letters."""
    caller = await here.caller()
    caller.ask(*named("continued", stream=True), headers=KEY)
    await caller.head()
    await caller.until(b"twelve")
    cut.go.set()
    await caller.rest()


async def cancelled(here: Running) -> None:
    """A stream that its client leaves."""
    caller = await here.caller()
    caller.ask(*named("left/small", stream=True), headers=KEY)
    await caller.head()
    await caller.until(b"last")
    caller.leave()
    await here.app.recorded(8)

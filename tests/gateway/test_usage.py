"""Usage: a record in the store for each request that a backend was asked for, and what operators read of it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

import pytest

from polychat.config.access import Admin
from polychat.config.settings import KeySettings, Price, Route, State, TokenBudget
from polychat.gateway.app import Gateway
from polychat.gateway.storage import spool_of
from polychat.state.database.store import DatabaseStore
from polychat.state.key_admin import KeyAdmin
from polychat.state.spool import Spool
from polychat.state.store import UsageFilter, UsageLabels, UsageRecord

from ..support.command import run
from ..support.database_servers import PostgreSQL, delivered, emptied
from ..support.gateway_processes import Running as Process
from ..support.running_gateway import FIRST, Caller, Running, asking, configured, fault, gateway, good, row, streaming, text
from ..support.scripted_server import Say, Seen, serving

ADMIN = {"authorization": "Bearer an-admin-key"}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("ADMIN_KEY", "an-admin-key")
    monkeypatch.setenv("CHAT_KEY", "a-chat-key-of-alice")
    return tmp_path / "polychat"


class Silent:
    """Answers nothing."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def __call__(self, seen: Seen, say: Say) -> None:
        self.asked.set()
        await asyncio.Event().wait()


def usage_rows(place: Path) -> list[sqlite3.Row]:
    """What is in the database of a gateway that was closed."""
    delivered(DatabaseStore(f"sqlite:///{place}/gateway.db", patience=10), spool_of(State())).close()
    connection = sqlite3.connect(place / "gateway.db")
    connection.row_factory = sqlite3.Row
    rows = connection.execute("SELECT * FROM usage JOIN usage_labels ON usage.labels = usage_labels.id ORDER BY at, usage.id")
    records = rows.fetchall()
    connection.close()
    return records


async def test_every_way_to_end_is_one_record(place: Path) -> None:
    """Complete in each way, after a failure, failed, truncated, cancelled: with tokens, and the cost or why there is none."""
    silent = Silent()
    async with (
        serving(good) as well,
        serving(fault(500)) as ill,
        serving(streaming(FIRST, text("Hel"), cut=True)) as cutting,
        serving(silent) as mute,
    ):
        servers = {"well": well, "ill": ill, "cut": cutting, "mute": mute}
        providers = {name: row("openai-chat", server.url) for name, server in servers.items()}
        routes = {"house": Route(targets=("ill/small", "well/small"), strategy="ordered")}
        settings: dict[str, Any] = {"keys": {"alice": "env:CHAT_KEY"}, "state": State()}
        base = configured(providers, routes=routes, **settings)
        prices = {"well/small-1": Price(prompt=1.0, completion=2.5)}
        alice = {"authorization": "Bearer a-chat-key-of-alice"}
        async with gateway(replace(base, prices=prices)) as running:
            for target, stream, dialect in (
                ("well/small", False, "openai-chat"),
                ("well/small", True, "openai-chat"),
                ("well/small", False, "anthropic"),
                ("house", False, "openai-chat"),
                ("ill/small", False, "openai-chat"),
                ("cut/small", True, "openai-chat"),
            ):
                caller = await running.caller()
                path, body = asking(dialect, target, stream=stream)
                caller.ask(path, body, headers=alice)
                await caller.whole()
            caller = await running.caller()
            caller.ask(*asking("openai-chat", "mute/small"), headers=alice)
            await silent.asked.wait()
            caller.leave()
            await running.app.recorded(7)
            assert (await running.ask(*asking("openai-chat"))).status == 401
            assert (await running.ask("/v1/models", headers=alice)).status == 200
            records = await running.app.recorded(9)
    stored = usage_rows(place)
    assert [one["verdict"] for one in stored] == [one.verdict for one in records if one.verdict is not None]
    assert [(one["target"], one["verdict"], one["stream"], one["cost"], one["unpriced"]) for one in stored] == [
        ("well/small", "complete", 0, 8000, ""),
        ("well/small", "complete", 1, 8000, ""),
        ("well/small", "complete", 0, 8000, ""),
        ("well/small", "complete", 0, 8000, ""),
        ("ill/small", "failed", 0, None, "not counted"),
        ("cut/small", "truncated", 1, None, "not counted"),
        ("mute/small", "cancelled", 0, None, "not counted"),
    ]
    assert {one["key"] for one in stored} == {"alice"}
    assert {(one["prompt_tokens"], one["completion_tokens"]) for one in stored[:4]} == {(3, 2)}
    assert json.loads(stored[3]["failed"]) == [["ill/small", "server"]]
    assert (stored[3]["route"], stored[3]["attempts"]) == ("house", 2)
    content = b"".join(file.read_bytes() for file in place.rglob("*") if file.is_file())
    assert b"a-chat-key-of-alice" not in content
    assert b"hi there" not in content


async def vectors_and_counts(seen: Seen, say: Say) -> None:
    """Embeds, and counts tokens."""
    data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    embedded = {"object": "list", "model": "small", "data": data, "usage": usage}
    await say.whole(embedded if seen.path.endswith("/embeddings") else {"input_tokens": 1234})


async def test_what_is_no_chat_is_one_record_too(place: Path) -> None:
    """Texts that were embedded, or not; tokens that a backend counted, in vain or not, or that were estimated, which cost
    nothing."""
    embed, count = {"input": "hi"}, {"messages": [{"role": "user", "content": "hi"}]}
    async with serving(vectors_and_counts) as well, serving(fault(500)) as ill:
        providers = {"well": row("openai-chat", well.url), "ill": row("openai-chat", ill.url)}
        providers |= {"counting": row("anthropic", well.url), "broken": row("anthropic", ill.url)}
        limits = {"alice": KeySettings(tokens=TokenBudget(day=100_000))}
        base = configured(providers, state=State(), keys={"alice": "env:CHAT_KEY"}, key_settings=limits)
        async with gateway(replace(base, prices={"well/small": Price(prompt=1.0)})) as running:
            for path, body, model in (
                ("/v1/embeddings", embed, "well/small"),
                ("/v1/embeddings", embed, "ill/small"),
                ("/v1/messages/count_tokens", count, "counting/small"),
                ("/v1/messages/count_tokens", count, "broken/small"),
                ("/v1/messages/count_tokens", count, "well/small"),
            ):
                await running.ask(path, {**body, "model": model}, headers={"authorization": "Bearer a-chat-key-of-alice"})
            await running.app.recorded(5)
    columns = ("target", "verdict", "prompt_tokens", "completion_tokens", "cost", "unpriced")
    assert [tuple(one[column] for column in columns) for one in usage_rows(place)] == [
        ("well/small", "complete", 3, None, 3000, ""),
        ("ill/small", "failed", None, None, None, "not counted"),
        ("counting/small", "complete", None, None, 0, ""),
        ("broken/small", "failed", None, None, None, "not counted"),
        ("well/small", "complete", None, None, 0, ""),
    ]


async def stored_usage(running: Running, query: str, count: int) -> Any:
    """The admin's answer, once it sums up so many requests: records are written in batches."""
    async with asyncio.timeout(60):
        while True:
            answer = await running.ask(f"/admin/usage{query}", headers=ADMIN)
            assert answer.status == 200, answer.body
            if sum(one["requests"] for one in answer.json["usage"]) >= count:
                return answer.json


async def test_operators_read_sums(place: Path) -> None:
    """By dimension, period and label, from the gateway and by the command, as a table, JSON and CSV."""
    admin = Admin(keys={"ops": "env:ADMIN_KEY"})
    async with (
        serving(good) as server,
        gateway(configured({"house": row("openai-chat", server.url)}, admin=admin, state=State())) as running,
    ):
        for stream in (False, True):
            await running.ask(*asking("openai-chat", stream=stream))
        sums = await stored_usage(running, "?by=target&since=1h", 2)
        assert (await running.ask("/admin/usage")).status == 401
        assert (await running.ask("/admin/usage?until=1d", headers=ADMIN)).json == {"by": "model", "usage": [], "next": None}
        assert (await running.ask("/admin/usage?model=other", headers=ADMIN)).json["usage"] == []
        for query, field in (("by=x", "by is 'x': choose one of key, "), ("since=soon", "since is 'soon': write a date")):
            answer = await running.ask(f"/admin/usage?{query}", headers=ADMIN)
            assert (answer.status, field in answer.json["error"]["message"]) == (400, True)
    expected = {"requests": 2, "failed": 0, "unpriced": 2, "prompt_tokens": 6, "completion_tokens": 4}
    unused = {"cached_tokens": 0, "reasoning_tokens": 0, "cost_usd": 0.0}
    assert sums == {"by": "target", "usage": [{"name": "house/small", **expected, **unused}], "next": None}
    table, as_json, as_csv, wrong = [
        await run("usage", *words) for words in (["--by", "day"], ["--json"], ["--csv", "--by", "verdict"], ["--since", "soon"])
    ]
    head, line = table.out.splitlines()
    assert (head.split(), line.split()[1:]) == (
        ["day", "requests", "unpriced", "prompt", "completion", "cost_usd"],
        ["2", "2", "6", "4", "0.0000+"],
    )
    assert [(one["name"], one["prompt_tokens"]) for one in json.loads(as_json.out)] == [("house/small", 6)]
    assert [one["requests"] for one in csv.DictReader(io.StringIO(as_csv.out))] == ["2"]
    assert (wrong.code, "since is 'soon'" in wrong.err) == (2, True)


async def test_without_state_nothing_is_kept_and_nothing_is_loaded(place: Path) -> None:
    """No file is made, the database's packages are not imported, the paths and the command say what to add."""
    async with gateway(configured({}, admin=Admin(keys={"ops": "env:ADMIN_KEY"}))) as running:
        answer = await running.ask("/admin/usage", headers=ADMIN)
        assert (answer.status, "[gateway.state]" in answer.json["error"]["message"]) == (404, True)
    command = await run("gateway", "usage")
    assert (command.code, "[gateway.state]" in command.err) == (2, True)
    assert not place.exists()
    program = (
        "import sys; from polychat.gateway.app import Gateway; from polychat.config import Config; Gateway(Config());"
        "print([name for name in ('sqlalchemy', 'alembic', 'sqlite3', 'polychat.state.usage_writer') if name in sys.modules])"
    )
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_what_a_killed_process_left_is_delivered_by_the_next(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request of another gateway is enough, if it has the same database; a new password makes no other database."""
    spool = Spool(spool_of(State()))
    spool.append([UsageRecord(at=1, id=1, took=1, labels=UsageLabels(model="left", verdict="complete"))])
    spool.close()
    async with gateway(configured({}, state=State(url=f"sqlite:///{place}/other.db"))) as running:
        assert (await running.ask("/v1/models")).status == 200
    async with gateway(configured({}, state=State(usage_days=0))) as running:
        assert (await running.ask("/v1/models")).status == 200
    assert list(spool.folder.iterdir()) == []
    assert [one["model"] for one in usage_rows(place)] == ["left"]
    monkeypatch.setenv("A", "postgresql://u:one@h/d")
    monkeypatch.setenv("B", "postgresql://u:other@h/d")
    assert spool_of(State(url="env:A")) == spool_of(State(url="env:B")) != spool_of(State())


async def test_what_is_old_is_deleted(place: Path) -> None:
    """Usage, and entries of the audit log, that are older than the policy's days go when a gateway starts to keep something;
    the rest stays, and all of the audit log where it has no days."""
    for audit_days, actors in ((0, ["new", "old"]), (30, ["new"])):
        app = Gateway(configured({}, state=State(usage_days=30)))
        assert app.usage is not None
        store = app.usage.store
        store.write_usage([UsageRecord(at=1, id=1, took=1, labels=UsageLabels(model="old"))])
        for actor, at in (("old", 1.0), ("new", time())):
            if actor not in [entry.actor for entry in store.audit()]:
                KeyAdmin(store, actor, at).put_owner("team", actor)
        async with serving(good) as server:
            await app.close()
            state = State(usage_days=30, audit_days=audit_days)
            keys = {"alice": "env:CHAT_KEY"}
            async with gateway(configured({"house": row("openai-chat", server.url)}, state=state, keys=keys)) as running:
                await running.ask(*asking("openai-chat"), headers={"authorization": "Bearer a-chat-key-of-alice"})
        kept_store = DatabaseStore(f"sqlite:///{place}/gateway.db")
        assert [entry.actor for entry in kept_store.audit()] == actors
        kept_store.close()
    assert {one["model"] for one in usage_rows(place)} == {"house/small"}


async def test_gateways_go_on_while_their_database_is_stopped(place: Path, postgresql_server: PostgreSQL) -> None:
    """Two that share one: requests are answered while it is stopped, and each is a record in it afterwards, none twice."""
    store = emptied(DatabaseStore(postgresql_server.url))
    async with serving(good) as server:
        base = configured({"house": row("openai-chat", server.url)}, state=State(url=postgresql_server.url))
        async with gateway(base) as one, gateway(base) as two:

            async def ask(count: int) -> None:
                answers = await asyncio.gather(*(app.ask(*asking("openai-chat")) for app in (one, two) for _ in range(count)))
                assert {answer.status for answer in answers} == {200}

            await ask(10)
            await asyncio.to_thread(postgresql_server.stop)
            try:
                await ask(20)
            finally:
                await asyncio.to_thread(postgresql_server.start)
            await ask(10)
    (total,) = delivered(store, spool_of(base.gateway.state or State())).usage("verdict", UsageFilter())
    store.close()
    assert (total.name, total.requests, total.completion_tokens) == ("complete", 80, 160)


async def test_workers_write_one_database_and_one_that_is_killed_takes_nothing_along(place: Path, tmp_path: Path) -> None:
    """Of a gateway with two workers: what was answered before one is killed is kept, and so is all until SIGTERM."""
    async with serving(good) as server:
        file = tmp_path / "polychat.toml"
        file.write_text(
            '[gateway]\nworkers = 2\nlog = "off"\nsites = ""\n[gateway.state]\n'
            f'[providers.house]\nwire = "openai-chat"\nbase_url = "{server.url}/v1"\nserves = ["small"]\n'
        )
        command = ("-m", "polychat", "serve", "--config", str(file), "--port", "0")
        process = await asyncio.to_thread(Process, *command)
        store = DatabaseStore(f"sqlite:///{place}/gateway.db", patience=10)
        try:
            port = await asyncio.to_thread(process.settled, 2)
            await asyncio.gather(*(answered(port) for _ in range(10)))
            async with asyncio.timeout(60):
                while sum(one.requests for one in await asyncio.to_thread(store.usage, "verdict", UsageFilter())) < 10:
                    pass
            os.kill(int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]), signal.SIGKILL)
            await asyncio.to_thread(process.hears, "worker exited")
            await asyncio.gather(*(answered(port) for _ in range(10)))
        finally:
            process.signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait)
            await asyncio.to_thread(process.end)
            store.close()
    assert [one["verdict"] for one in usage_rows(place)] == ["complete"] * 20


async def answered(port: int) -> None:
    """One request, which is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    caller = Caller(reader, writer)
    caller.ask(*asking("openai-chat"))
    try:
        assert (await caller.whole()).status == 200
    finally:
        writer.close()
        await writer.wait_closed()

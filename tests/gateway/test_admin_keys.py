"""Keys, people, teams and organisations by the admin API: the same steps as the command's, with scopes and an audit log."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from time import time
from typing import Any

import pytest
from msgspec import structs

from polychat.cli import gateway_keys
from polychat.config.access import Admin
from polychat.config.settings import Allowance, Budget, KeySettings, State, TokenBudget
from polychat.errors import BadInput
from polychat.gateway.admin.listing import cursor
from polychat.gateway.admin.policies import changed, settings_of
from polychat.gateway.admission.accounts import policy_of
from polychat.gateway.observe.in_progress import facts, running
from polychat.state.database.store import DatabaseStore
from polychat.state.key_admin import KeyAdmin
from polychat.state.memory import MemoryStore
from polychat.state.store import Policy, StoredKey, Superseded, UsageLabels, UsageRecord

from ..support.command import run
from ..support.database_servers import emptied
from ..support.patience import PATIENCE
from ..support.running_gateway import Answer, Running, asking, configured, gateway, good, row

PATH, BODY = asking("openai-chat")
SCOPES: dict[str, Any] = {"boss": ("read", "usage", "config", "keys", "audit"), "people": ("keys",), "none": ()}


class Office:
    """A running gateway with a database, and its admin API."""

    def __init__(self, running: Running) -> None:
        self.running = running

    async def admin(self, method: str, path: str, body: Any = None, key: str = "boss") -> Answer:
        return await self.running.ask(f"/admin/{path}", body, method, {"authorization": f"Bearer the-admin-key-of-{key}"})

    async def done(self, method: str, path: str, body: Any = None) -> Any:
        """What a step that succeeds gives."""
        answer = await self.admin(method, path, body)
        assert answer.status in (200, 201), answer.body
        return answer.json

    async def chat(self, key: str) -> int:
        return (await self.running.ask(PATH, BODY, headers={"authorization": f"Bearer {key}"})).status


@pytest.fixture
async def office(serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncGenerator[Office]:
    pytest.importorskip("sqlalchemy", reason="needs the extra: pip install 'polychat[state]'")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    backend = await serve(good)
    for name in ("boss", "people", "none", "plain"):
        monkeypatch.setenv(f"ADMIN_{name}", f"the-admin-key-of-{name}")
    admin = Admin(keys={name: f"env:ADMIN_{name}" for name in (*SCOPES, "plain")}, scopes=SCOPES)
    state = State(url=f"sqlite:///{tmp_path}/kept.db")
    async with gateway(configured({"house": row("openai-chat", backend.url)}, admin=admin, state=state)) as running:
        yield Office(running)


async def test_from_an_organisation_to_a_revoked_key(office: Office) -> None:
    """Each change holds for the next request, is shown without a secret, and is in the audit log under the admin key's name."""
    assert await office.chat("") == 200, "an empty database asks nobody for a key"
    await office.done("PUT", "orgs/acme", {"settings": {"budget": {"month": 2000}, "unpriced": "allow"}})
    await office.done("PUT", "teams/red", {"parent": "acme"})
    person = await office.done("PUT", "people/ada", {"parent": "red", "settings": {"rpm": 60, "warn_at": 0.5}})
    assert (person["parent"], person["settings"]) == ("red", {"rpm": 60, "warn_at": 0.5})
    body = {"name": "laptop", "owner": "person:ada", "expires": "90d", "settings": {"models": ["house/*"], "concurrent": 2}}
    made = await office.done("POST", "keys", body)
    key, public = made.pop("key"), made["id"]
    assert (made["owner"], made["state"], made["settings"]) == ("person:ada", "in use", body["settings"])
    assert [await office.chat(text) for text in (key, "")] == [200, 401], "the first key closes the gateway at once"
    changes = {"settings": {"models": None, "tokens": {"day": 500_000}, "unpriced": 2.5}}
    changed = await office.done("PATCH", "keys/laptop", changes)
    assert changed["settings"] == {"concurrent": 2, "tokens": {"day": 500_000}, "unpriced": 2.5}
    changed = await office.done("PATCH", f"keys/{public}", {"settings": {"dialects": ["anthropic"]}})
    assert changed["settings"]["concurrent"] == 2
    assert await office.chat(key) == 403
    rotated = await office.done("POST", f"keys/{public}/rotate", {"grace": "1h"})
    assert (rotated["settings"]["dialects"], (await office.done("GET", f"keys/{public}"))["replaced_by"]) == (
        ["anthropic"],
        rotated["id"],
    )
    await office.done("PATCH", f"keys/{rotated['id']}", {"settings": {"dialects": None}})
    assert await office.chat(rotated["key"]) == 200
    assert (await office.done("POST", f"keys/{rotated['id']}/revoke", {"end_streams": True}))["state"] == "revoked"
    assert await office.chat(rotated["key"]) == 401
    await office.done("DELETE", "people/ada")
    assert await office.chat(key) == 401
    assert (await office.done("GET", "people"))["owners"] == []
    audit = (await office.done("GET", "audit"))["audit"]
    assert {entry["actor"] for entry in audit} == {"admin:boss"}
    assert [entry["action"] for entry in reversed(audit)] == [
        *("org.create", "team.create", "person.create", "key.create", "key.change", "key.change", "key.create", "key.rotate"),
        *("key.change", "key.revoke", "person.delete"),
    ]
    listed = await office.done("GET", "keys")
    assert [entry["id"] for entry in listed["keys"]] == [public, rotated["id"]]
    for text in (key, rotated["key"]):
        assert text.split("-")[2] not in json.dumps([listed, audit])


async def test_usage_and_what_runs_name_keys(office: Office, tmp_path: Path) -> None:
    """Beside the id, which stays the name of a sum; the command's table has the id only where two keys have one name."""
    made = {}
    for name in ("laptop", "desk", "desk"):
        key = await office.done("POST", "keys", {"name": name})
        made[key["id"]] = name
        assert await office.chat(key["key"]) == 200
    async with asyncio.timeout(PATIENCE):
        while len(sums := (await office.done("GET", "usage?by=key"))["usage"]) < 3:
            continue  # records are written in batches
    assert {one["name"]: one["key_name"] for one in sums} == made
    assert "key_name" not in (await office.done("GET", "usage?by=model"))["usage"][0]
    record = office.running.records[0]
    assert record.ownership is not None
    for text, count in (("LAPT", 1), ("desk", 0)):
        shown = facts(running({record: None}, 9, text), 9, text, 0.0)
        assert [(one["key"], one["key_name"]) for one in shown] == [(record.key, "laptop")] * count
    file = tmp_path / "polychat.toml"
    file.write_text(f'[gateway.state]\nurl = "sqlite:///{tmp_path}/kept.db"\n')
    table, as_csv = [await run("usage", "--by", "key", "--config", str(file), *words) for words in ((), ("--csv",))]
    shown_names = {line.partition("  ")[0] for line in table.out.splitlines()}
    assert shown_names == {"key", "total", "laptop", *(f"desk ({key_id})" for key_id, name in made.items() if name == "desk")}
    assert {row["name"]: row["key_name"] for row in csv.DictReader(io.StringIO(as_csv.out))} == made


def test_settings_say_all_that_a_policy_has() -> None:
    """What is shown, and changed in one place, loses nothing of the rest."""
    settings = KeySettings(
        rpm=7,
        tpm=100,
        concurrent=3,
        budget=Budget(hour=0.5, day=2.25, month=30.0),
        tokens=TokenBudget(hour=10, day=20, month=30),
        warn_at=0.5,
        on_loss="refuse",
        hosted_tools="refuse",
        priority="low",
        keep_text=True,
        models=("team", "openai/*"),
        dialects=("anthropic",),
        unpriced=2.5,
        per_user=Allowance(rpm=1),
    )
    policy = policy_of(settings)
    assert all(getattr(settings, name) != default for name, default in structs.asdict(KeySettings()).items())
    assert changed(policy, {}, "settings") == policy
    assert changed(policy, {"rpm": 8}, "settings") == policy_of(settings.replace(rpm=8))
    assert settings_of(Policy()) == {}


async def test_a_key_opens_what_its_scopes_say(office: Office) -> None:
    """A key without scopes of its own may look and change nothing; the refusal names the scope and the setting."""
    pages = {"targets": "read", "usage": "usage", "config": "config", "keys": "keys", "people": "keys", "audit": "audit"}
    for name, scopes in {**SCOPES, "plain": ("read", "usage")}.items():
        for page, scope in pages.items():
            answer = await office.admin("GET", page, key=name)
            assert answer.status == (200 if scope in scopes else 403), (name, page)
            if answer.status == 403:
                assert f"does not have the scope {scope}" in answer.json["error"]["message"]
                assert "gateway.admin.scopes" in answer.json["error"]["message"]
    assert (await office.admin("POST", "keys", {"name": "x"}, key="plain")).status == 403
    assert (await office.done("GET", "keys"))["keys"] == []
    shown = (await office.done("GET", "config"))["toml"]
    assert "env:ADMIN_boss" in shown
    assert "the-admin-key-of" not in shown


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field", "message"),
    [
        ("POST", "keys", b"{", 400, "body", "is not JSON"),
        ("POST", "keys", b'{"settings": {"rpm": 1e999}}', 400, "settings.rpm", "a number in settings.rpm is out of range"),
        ("POST", "keys", b"[" * 60_000, 400, "body", "nested more than"),
        ("POST", "keys", [], 400, "body", "not a JSON object"),
        ("POST", "keys", {}, 400, "name", "name is missing"),
        ("POST", "keys", {"name": "x", "role": "admin"}, 400, "role", "is not a known key"),
        ("POST", "keys", {"name": "a/b"}, 400, "name", "without a slash"),
        ("POST", "keys", {"name": "x", "owner": "ada"}, 400, "owner", "write person:NAME"),
        ("POST", "keys", {"name": "x", "owner": "person:nobody"}, 400, "person", "create it first"),
        ("POST", "keys", {"name": "x", "expires": "soon"}, 400, "expires", "write a date"),
        ("POST", "keys", {"name": "x", "expires": "2020-01-01"}, 400, "expires", "choose a later time"),
        ("POST", "keys", {"name": "x", "settings": {"rpm": 0}}, 400, "settings.rpm", "from 1 to"),
        ("POST", "keys", {"name": "x", "settings": {"budget": {"day": "much"}}}, 400, "settings.budget.day", "number"),
        ("POST", "keys", {"name": "x", "settings": {"rmp": 1}}, 400, "settings.rmp", "did you mean rpm?"),
        ("POST", "keys", {"name": "x" * 70_000}, 413, None, "65,536 bytes"),
        ("PATCH", "keys/laptop", {"settings": 5}, 400, "settings", "not a JSON object"),
        ("POST", "keys/laptop/rotate", {"grace": "soon"}, 400, "grace", "write an age"),
        ("POST", "keys/labtop/revoke", {}, 404, None, "did you mean laptop?"),
        ("GET", "keys/nothing", None, 404, None, "no key 'nothing'"),
        ("PUT", "people/bob", {"parent": "x' OR 1=1 --"}, 400, "team", "no team"),
        ("PUT", "orgs/acme", {"parent": "other"}, 400, "org", "belongs to nobody"),
        ("DELETE", "teams/blue", None, 404, None, "no team 'blue'"),
        ("GET", "audit?since=soon", None, 400, "since", "write a date"),
        ("GET", "keys?owner=everybody", None, 400, "owner", "write person:NAME"),
        ("PATCH", "keys/laptop", {"settings": {"rpm": 1}, "change": 7}, 409, None, "read it again"),
        ("PUT", "teams/red", {"change": 1}, 409, None, "read it again"),
    ],
)
async def test_what_cannot_be_is_told(
    office: Office, method: str, path: str, body: Any, status: int, field: str | None, message: str
) -> None:
    """The error names the field and the next step, and nothing is changed."""
    await office.done("POST", "keys", {"name": "laptop"})
    before = await office.done("GET", "audit")
    answer = await office.admin(method, path, body)
    assert (answer.status, answer.json["error"].get("field")) == (status, field), answer.body
    assert message in answer.json["error"]["message"]
    assert await office.done("GET", "audit") == before


async def test_without_a_database_there_are_no_keys_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages say what is missing."""
    monkeypatch.setenv("ADMIN_KEY", "an-admin-key")
    admin = Admin(keys={"boss": "env:ADMIN_KEY"}, scopes={"boss": ("keys", "audit")})
    async with gateway(configured({}, admin=admin)) as running:
        for path in ("keys", "people", "audit"):
            answer = await running.ask(f"/admin/{path}", headers={"authorization": "Bearer an-admin-key"})
            assert (answer.status, "[gateway.state]" in answer.json["error"]["message"]) == (404, True)


async def test_the_command_reads_what_the_api_wrote(office: Office, tmp_path: Path) -> None:
    """One database, one audit log: the command lists who changed what, and when."""
    await office.done("POST", "keys", {"name": "laptop\u2028ERROR"[:6]})
    file = tmp_path / "polychat.toml"
    file.write_text(f'[gateway.state]\nurl = "sqlite:///{tmp_path}/kept.db"\n')
    printed = await run("gateway", "audit", "--config", str(file))
    assert "admin:boss  key.create  key:" in printed.out
    as_json = await run("gateway", "audit", "--json", "--limit", "1", "--config", str(file))
    assert json.loads(as_json.out)[0]["action"] == "key.create"


class Interrupted(MemoryStore):
    """Does ``between`` once, after a key was read."""

    between: Callable[[], object] | None = None

    def _read(self, key: StoredKey | None) -> StoredKey | None:
        between, self.between = self.between, None
        if between is not None:
            between()
        return key

    def key_by_id(self, key_id: str) -> StoredKey | None:
        return self._read(super().key_by_id(key_id))


def test_no_change_undoes_a_revocation_that_came_between() -> None:
    """A change made from what was read before is refused; a revocation is not, whatever came between."""
    store = Interrupted()
    one, other = KeyAdmin(store, "one", 100.0), KeyAdmin(store, "other", 100.0)
    key, _ = one.create("laptop")
    store.between = lambda: other.revoke(key.id)
    with pytest.raises(Superseded):
        one.set_policy(key.id, Policy(models=("x",)))
    row = store.key_by_id(key.id)
    assert row is not None
    assert row.revoked_at == 100.0
    second, _ = one.create("phone")
    store.between = lambda: other.set_policy(second.id, Policy(models=("y",)))
    assert one.revoke(second.id).policy.models == ("y",)
    with pytest.raises(BadInput, match="is revoked"):
        one.set_policy(second.id, Policy())


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each that keeps keys."""
    if request.param == "memory":
        return MemoryStore()
    url = f"sqlite:///{tmp_path}/a.db" if request.param == "sqlite" else request.getfixturevalue("postgresql_server").url
    return emptied(DatabaseStore(url))


def test_no_change_of_another_administrator_is_lost(any_store: Any) -> None:
    """A change is made of what is kept, not of what was read before, and refused where it was to be of another state."""
    one, other = (KeyAdmin(any_store, name, 100.0) for name in ("one", "other"))
    key, _ = one.create("laptop", policy=Policy(priority="low"))
    one.set_policy(key.id, lambda policy: structs.replace(policy, models=("x",)), change=key.change)
    with pytest.raises(Superseded, match="read it again"):
        other.set_policy(key.id, lambda policy: structs.replace(policy, dialects=("gemini",)), change=key.change)
    after = other.set_policy("laptop", lambda policy: structs.replace(policy, dialects=("gemini",)))
    assert after.policy == Policy(priority="low", models=("x",), dialects=("gemini",))
    team = one.put_owner("team", "red", policy=Policy(priority="high"), change=0)
    one.put_owner("team", "red", policy=lambda policy: structs.replace(policy, models=("x",)), change=team.change)
    for stale in (team.change, 0):
        with pytest.raises(Superseded):
            other.put_owner("team", "red", policy=Policy(), change=stale)
    assert other.owner("team", "red").policy == Policy(priority="high", models=("x",))
    any_store.close()


async def test_a_deleted_owner_is_there_again_only_if_it_is_restored(office: Office) -> None:
    """To make one of the same name is refused, as its keys would be accepted again; restored, it is as it was."""
    await office.done("PUT", "teams/red", {"settings": {"rpm": 60}})
    made = await office.done("POST", "keys", {"name": "laptop", "owner": "team:red"})
    await office.done("DELETE", "teams/red")
    refused = await office.admin("PUT", "teams/red", {"settings": {"rpm": 1}})
    assert (refused.status, refused.json["error"]["field"]) == (400, "restore")
    assert "choose another name, or restore it" in refused.json["error"]["message"]
    assert await office.chat(made["key"]) == 401
    restored = await office.done("PUT", "teams/red", {"restore": True})
    assert (restored["settings"], await office.chat(made["key"])) == ({"rpm": 60}, 200)
    assert (await office.done("GET", "audit?limit=1"))["audit"][0]["action"] == "team.restore"


async def pages(office: Office, path: str, name: str, limit: int) -> list[list[Any]]:
    """All pages of a list."""
    parted, after = [], ""
    while True:
        page = await office.done("GET", f"{path}{'&' if '?' in path else '?'}limit={limit}&after={after}")
        parted.append(page[name])
        if page["next"] is None:
            return parted
        after = page["next"]


async def test_lists_come_in_pages(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every list is the same in pages of each size as in one, also of keys and entries that were made at one moment; the last
    page says that it is the last. What is made meanwhile makes nothing come twice. The command lists all of them."""
    store = office.running.app.usage.store  # type: ignore[union-attr]  # it has a database
    admin = KeyAdmin(store, "test", 1_700_000_000.0)
    for number in range(7):
        admin.put_owner("team", f"team {number}")
        admin.create(f"key {number}", owner=("team", f"team {number % 2}"))
    admin.delete_owner("team", "team 5")
    labels = [UsageLabels(user=f"user {number}") for number in range(5)]
    store.write_usage(
        [
            UsageRecord(at=int(time() * 1000), id=number, took=1, labels=one, cost=number // 3)
            for number, one in enumerate(labels)
        ]
    )
    lists = {
        "usage?by=user": "usage",
        "keys": "keys",
        "keys?owner=team:team%200": "keys",
        "teams": "owners",
        "audit": "audit",
        "requests": "requests",
    }
    for _ in range(5):
        await office.chat("a-key-that-nobody-has")
    for path, name in lists.items():
        (whole,) = await pages(office, path, name, 1000)
        assert len(whole) in (4, 5, 6, 7, 15), path
        for limit in (1, 2, len(whole)):
            parted = await pages(office, path, name, limit)
            assert [one for page in parted for one in page] == whole, (path, limit)
            assert {len(page) for page in parted[:-1]} <= {limit}
    before = [key.id for key in store.keys(limit=None)]
    first = await office.done("GET", "keys?limit=3")
    admin.create("made meanwhile")
    rest = await office.done("GET", f"keys?limit=1000&after={first['next']}")
    listed = [key["id"] for key in (*first["keys"], *rest["keys"])]
    assert len(set(listed)) == len(listed)
    assert set(before) <= set(listed)
    for path in lists:
        for after in ("nonsense", urlsafe_b64encode(b'"a\\u0000"').decode()):
            answer = await office.admin("GET", f"{path}{'&' if '?' in path else '?'}after={after}")
            assert (answer.status, answer.json["error"]["field"]) == (400, "after"), (path, after)
    for number in (-(10**30), 10**30):  # as no page says
        await office.done("GET", f"requests?after={cursor((os.getpid(), number))}")
    monkeypatch.setattr(gateway_keys, "_AT_ONCE", 3)
    assert [key.name for key in gateway_keys._all_keys(store)] == [key.name for key in store.keys(limit=None)]

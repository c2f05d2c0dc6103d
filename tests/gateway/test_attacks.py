"""What attackers try: keys that are guessed or of another door, names that are code, secrets in what is written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polychat.config.access import Admin
from polychat.config.settings import State
from polychat.gateway.admission.guesses import GUESSES
from polychat.gateway.process.source import ConfigSource

from ..support.command import run
from ..support.running_gateway import Running, asking, configured, gateway, good, row

pytest.importorskip("sqlalchemy", reason="needs the extra: pip install 'polychat[state]'")
ADMIN = "the-admin-key-of-this-test"
FILE_KEY = "the-key-of-the-file-of-this-test"
SCOPES: dict[str, Any] = {"boss": ("read", "usage", "config", "keys", "audit")}
PATHS = ["requests", "targets", "usage", "audit", "config", "keys", "people", "teams", "orgs"]


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADMIN_KEY", ADMIN)
    monkeypatch.setenv("FILE_KEY", FILE_KEY)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def settings(url: str, tmp_path: Path, **more: Any) -> Any:
    admin = Admin(keys={"boss": "env:ADMIN_KEY"}, scopes=SCOPES)
    state = State(url=f"sqlite:///{tmp_path}/kept.db")
    keys = {"file": "env:FILE_KEY"}
    return configured({"house": row("openai-chat", url)}, admin=admin, state=state, keys=keys, **more)


async def by_admin(running: Running, method: str, path: str, body: Any = None) -> Any:
    return await running.ask(f"/admin/{path}", body, method, {"authorization": f"Bearer {ADMIN}"})


async def test_no_client_opens_the_doors_of_operators(serve: Any, tmp_path: Path) -> None:
    """Neither without a key, nor with a key of the file or of a person: so no team reads the usage of another."""
    backend = await serve(good)
    async with gateway(settings(backend.url, tmp_path)) as running:
        await by_admin(running, "PUT", "teams/red", {})
        key = (await by_admin(running, "POST", "keys", {"name": "laptop", "owner": "team:red"})).json["key"]
        for headers in ({}, {"authorization": f"Bearer {key}"}, {"x-api-key": FILE_KEY}):
            for path in PATHS:
                assert (await running.ask(f"/admin/{path}", headers=headers)).status in (401, 429), path
        assert (await running.ask(f"/admin/keys?key={ADMIN}")).status == 401


async def test_guesses_of_every_kind_are_limited(serve: Any, tmp_path: Path) -> None:
    """So many unknown keys in a minute from one address, for chats and for operators; known keys are answered all the same."""
    backend = await serve(good)
    path, body = asking("openai-chat")
    for state in (True, False):
        base = settings(backend.url, tmp_path)
        if not state:
            base = configured(base.providers, keys=base.gateway.keys, admin=base.gateway.admin)
        async with gateway(base) as running:
            pages = [(path, body, FILE_KEY)] * (not state) + [("/admin/targets", None, ADMIN)]
            for place, content, own in pages:
                caller, statuses = await running.caller(), []
                for number in range(GUESSES + 2):
                    caller.ask(place, content, headers={"authorization": f"Bearer guess-number-{number}"})
                    statuses.append((await caller.whole()).status)
                assert statuses == [401] * GUESSES + [429] * 2, place
                caller.ask(place, content, headers={"authorization": f"Bearer {own}"})
                assert (await caller.whole()).status == 200
                assert (await running.ask(place, content)).status == 401, "a missing key is no guess"


async def test_refused_operators_are_logged(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess at an admin key, and a key that may not do what it asks, each make an event in the log with the address and the
    path, without the key; more guesses than a minute allows, and requests without a key, fill no log."""
    backend = await serve(good)
    events: list[dict[str, Any]] = []
    async with gateway(settings(backend.url, tmp_path)) as running:
        monkeypatch.setattr(running.app.log, "event", lambda message, **facts: events.append({"event": message, **facts}))
        caller = await running.caller()
        for number in range(GUESSES + 5):
            caller.ask("/admin/keys", headers={"authorization": f"Bearer guess-number-{number}"})
            await caller.whole()
        assert (await running.ask("/admin/audit")).status == 401
        monkeypatch.setattr(running.app.runtime.admin_keys, "_scopes", {"boss": ("read",)})
        assert (await by_admin(running, "DELETE", "people/ada")).status == 403
    refused = [event for event in events if event["event"] == "admin request refused"]
    assert len(refused) == GUESSES + 1
    assert {event["address"] for event in refused} == {"127.0.0.1"}
    assert (refused[0]["path"], refused[0]["reason"]) == ("/admin/keys", "an unknown admin key")
    assert (refused[-1]["method"], refused[-1]["path"]) == ("DELETE", "/admin/people/ada")
    assert "does not have the scope keys" in refused[-1]["reason"]
    assert "guess-number" not in json.dumps(events)


async def test_names_are_never_code(serve: Any, tmp_path: Path) -> None:
    """SQL in a name is a name; what would begin another line of a log, or move a terminal's cursor, is refused."""
    backend = await serve(good)
    names = ["x'; DROP TABLE keys; --", '" OR 1=1', "%(name)s {0} ${HOME}", "ünïcode"]
    async with gateway(settings(backend.url, tmp_path)) as running:
        for name in names:
            made = await by_admin(running, "POST", "keys", {"name": name})
            assert (made.status, made.json["name"]) == (201, name)
        for name in ("a\nERROR forged", "\x1b[2J", "a\u2028b", "a\rb", "a\u202eb", ""):
            assert (await by_admin(running, "POST", "keys", {"name": name})).status == 400, name
        listed = (await by_admin(running, "GET", "keys")).json["keys"]
        assert [key["name"] for key in listed] == names
        usage = await by_admin(running, "GET", "usage?by=key&key=x'%20OR%20'1'='1")
        assert (usage.status, usage.json["usage"]) == (200, [])


async def test_no_secret_is_written_down(serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither a person's key, nor one of the file or of operators, is in the log, the database, an answer, an error, or the
    command's output."""
    backend = await serve(good)
    path, body = asking("openai-chat")
    shown: list[str] = []
    async with gateway(settings(backend.url, tmp_path, log="json")) as running:
        await by_admin(running, "PUT", "people/ada", {})
        made = (await by_admin(running, "POST", "keys", {"name": "laptop", "owner": "person:ada"})).json
        key = made["key"]
        for text in (key, FILE_KEY, f"{key}x", key[:-1]):
            answer = await running.ask(path, body, headers={"authorization": f"Bearer {text}"})
            shown.append(answer.body.decode())
        refused = await by_admin(running, "POST", "keys", {"name": key, "owner": f"person:{key}", "expires": key, key: 1})
        assert refused.status == 400
        await by_admin(running, "POST", f"keys/{made['id']}/revoke", {})
        shown += [(await by_admin(running, "GET", page)).body.decode() for page in PATHS]
        await running.app.recorded(4)
    log = capfd.readouterr()
    shown += [log.out, log.err]
    file = tmp_path / "polychat.toml"
    file.write_text(f'[gateway.state]\nurl = "sqlite:///{tmp_path}/kept.db"\n')
    for arguments in (("keys", "list", "--json"), ("audit", "--json"), ("usage", "--json")):
        told = await run("gateway", *arguments, "--config", str(file))
        shown += [told.out, told.err]
    contents = [text.encode() for text in shown] + [kept.read_bytes() for kept in tmp_path.rglob("*.db*")]
    assert any(made["id"].encode() in content for content in contents), "the public id is what names a key"
    for secret in (key.split("-")[2], FILE_KEY, ADMIN):
        assert not any(secret.encode() in content for content in contents)


async def test_the_database_that_a_first_key_makes_closes_the_gateway(serve: Any, tmp_path: Path) -> None:
    """Also where the file does not name it: a key that was made and not asked for would protect nothing."""
    file = tmp_path / "polychat.toml"
    file.write_text("[gateway]\n")
    assert ConfigSource(file).read().gateway.state is None
    made = await run("gateway", "keys", "create", "laptop", "--config", str(file))
    assert "restart a gateway that is running" in made.err
    state = ConfigSource(file).read().gateway.state
    assert state == State()
    backend = await serve(good)
    path, body = asking("openai-chat")
    async with gateway(configured({"house": row("openai-chat", backend.url)}, state=state)) as running:
        statuses = [
            (await running.ask(path, body, headers={"authorization": f"Bearer {text}"})).status
            for text in (made.out.strip(), "none")
        ]
    assert statuses == [200, 401]
    assert json.loads((await run("gateway", "keys", "list", "--json", "--config", str(file))).out)[0]["name"] == "laptop"

"""Texts that are kept in the database: by policy, encrypted, for every gateway, and deleted when they are due."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import time
from typing import Any

import pytest

from polychat import config
from polychat.config.settings import Direct, KeySettings, State
from polychat.errors import BadInput
from polychat.gateway import kept_texts
from polychat.gateway.admin.policies import changed, settings_of
from polychat.gateway.admission import shared_replies
from polychat.gateway.app import Gateway
from polychat.gateway.kept_texts import Claim, KeptTexts
from polychat.gateway.storage import store_of
from polychat.state.database.store import DatabaseStore
from polychat.state.encryption import TextCipher
from polychat.state.key_admin import KeyAdmin
from polychat.state.memory import MemoryStore
from polychat.state.store import Policy, StoreUnavailable, TextPlace

from ..support.database_servers import emptied
from ..support.patience import PATIENCE
from ..support.running_gateway import Running, configured, gateway, good, row, until
from ..support.scripted_server import Say, Seen

pytest.importorskip("sqlalchemy", reason="needs the extra: pip install 'polychat[state]'")
pytest.importorskip("cryptography", reason="needs the extra: pip install 'polychat[encryption]'")
KEYS = [base64.b64encode(bytes([number]) * 32).decode() for number in range(3)]
AGAIN = {"idempotency-key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}
SECRET = "the name of the cat is Schnurr"


class Remembering:
    """A backend of chats that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[Any]] = []
        self.came, self.second, self.go = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.go.set()
        self.fails = False

    async def __call__(self, seen: Seen, say: Say) -> None:
        self.asked.append(seen.json["messages"])
        (self.second if self.came.is_set() else self.came).set()
        fails, self.fails = self.fails, False
        await self.go.wait()
        if fails:
            await say.whole({"error": {"message": "no", "type": "server_error"}}, 500)
        else:
            await good(seen, say)


class Machines:
    """Gateways with one database."""

    def __init__(self, url: str, place: Path, running: AsyncExitStack) -> None:
        self._url, self._place, self._running = url, place, running

    async def gateway(self, *keys: int, keep: bool = True, **more: Any) -> Running:
        """One more, with these encryption keys."""
        state = State(
            url=f"sqlite:///{self._place}/gateway.db",
            spool=str(self._place / "spool"),
            encryption_keys=tuple(f"env:TEXT_KEY_{number}" for number in keys),
            keep_text=keep,
        )
        settings = configured({"house": row("openai-chat", self._url)}, state=state, **{"direct": Direct(attempts=1), **more})
        return await self._running.enter_async_context(gateway(settings))

    def files(self) -> bytes:
        """All bytes of the database."""
        return b"".join(file.read_bytes() for file in sorted(self._place.glob("gateway.db*")))


@asynccontextmanager
async def machines(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[tuple[Machines, Remembering]]:
    for number, key in enumerate(KEYS):
        monkeypatch.setenv(f"TEXT_KEY_{number}", key)
    # Two gateways share SQLite's file: on a loaded machine a lock is held for longer than half a second.
    monkeypatch.setitem(store_of.__kwdefaults__, "patience", PATIENCE)
    backend = Remembering()
    async with AsyncExitStack() as running:
        yield Machines((await serve(backend)).url, tmp_path, running), backend


async def said(here: Running, text: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
    answer = await here.ask("/v1/responses", {"model": "house/small", "input": text, **more}, headers=headers)
    assert answer.status == 200, answer.body
    if more.get("stream"):
        return json.loads(answer.events[-1].split("data: ", 1)[1])["response"]
    return answer.json


async def written(here: Running) -> None:
    """When what waits is in the database."""
    assert here.app.texts is not None
    await here.app.texts.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_another_gateway_goes_on(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    """From gateway to gateway, each turn with all that was said before; nothing of it can be read in the files."""
    async with machines(serve, tmp_path, monkeypatch) as (house, backend):
        here, there = await house.gateway(0), await house.gateway(0)
        first = await said(here, SECRET, stream=stream, instructions="be kind")
        await written(here)
        second = await said(there, "what is its name?", previous_response_id=first["id"], stream=stream)
        await written(there)
        third = await said(here, "thanks", previous_response_id=second["id"])
        assert third["previous_response_id"] == second["id"]
        conversation = [
            *[("user", SECRET), ("assistant", "Hello")],
            *[("user", "what is its name?"), ("assistant", "Hello"), ("user", "thanks")],
        ]
        assert [(message["role"], message["content"]) for message in backend.asked[-1]] == conversation
        got = await there.ask(f"/v1/responses/{first['id']}")
        assert (got.status, got.json["id"], got.json["output"]) == (200, first["id"], first["output"])
        items = (await there.ask(f"/v1/responses/{second['id']}/input_items")).json["data"]
        assert len(items) == 3
        assert b"Schnurr" not in house.files()
        assert (await here.ask(f"/v1/responses/{first['id']}", None, "DELETE")).json["deleted"] is True
        for gate in (here, there):
            assert (await gate.ask(f"/v1/responses/{first['id']}")).status == 404
        refused = await there.ask("/v1/responses", {"model": "house/small", "input": "a", "previous_response_id": first["id"]})
        assert refused.json["error"]["code"] == "previous_response_not_found"


async def test_a_key_reads_its_own_and_policy_decides(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another key finds nothing; where the policy does not say so, and where the request says ``store: false``, nothing is in
    the database.
    """
    for name in ("ada", "bob"):
        monkeypatch.setenv(name.upper(), f"{name}-secret-key")
    bearer = {name: {"authorization": f"Bearer {name}-secret-key"} for name in ("ada", "bob")}
    more = {"keys": {"ada": "env:ADA", "bob": "env:BOB"}, "key_settings": {"bob": KeySettings(keep_text=True)}}
    async with machines(serve, tmp_path, monkeypatch) as (house, _):
        here, there = await house.gateway(0, keep=False, **more), await house.gateway(0, keep=False, **more)
        of_ada, of_bob = [(await said(here, SECRET, bearer[name]))["id"] for name in ("ada", "bob")]
        unkept = (await said(here, SECRET, bearer["bob"], store=False))["id"]
        await written(here)
        statuses = [
            (await there.ask(f"/v1/responses/{name}", headers=bearer[key])).status
            for name, key in ((of_ada, "ada"), (of_ada, "bob"), (of_bob, "ada"), (of_bob, "bob"), (unkept, "bob"))
        ]
        assert statuses == [404, 404, 404, 200, 404]
        assert (await here.ask(f"/v1/responses/{of_ada}", headers=bearer["ada"])).status == 200, "it is in memory as before"


async def test_an_owner_decides_for_all_keys_below(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the database's policies the nearest one to the key holds, as the admin API and the command write them."""
    store = store_of(State(url=f"sqlite:///{tmp_path}/gateway.db"))
    admin, yes = KeyAdmin(store, "test", time()), changed(Policy(), {"keep_text": True}, "settings")
    assert settings_of(yes) == {"keep_text": True}
    admin.put_owner("team", "red", policy=yes)
    keys = {
        name: admin.create(name, owner=owner, policy=Policy(keep_text=own))[1].text
        for name, owner, own in (("above", ("team", "red"), None), ("own", ("team", "red"), False), ("alone", None, None))
    }
    store.close()
    bearer = {name: {"authorization": f"Bearer {key}"} for name, key in keys.items()}
    async with machines(serve, tmp_path, monkeypatch) as (house, _):
        here, there = await house.gateway(0, keep=False), await house.gateway(0, keep=False)
        names = {key: (await said(here, SECRET, headers))["id"] for key, headers in bearer.items()}
        await written(here)
        statuses = {key: (await there.ask(f"/v1/responses/{name}", headers=bearer[key])).status for key, name in names.items()}
        assert statuses == {"above": 200, "own": 404, "alone": 404}


async def test_encryption_keys_change(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key before the old one reads both; without the old one its texts are gone, and nothing fails."""
    async with machines(serve, tmp_path, monkeypatch) as (house, _):
        first = await house.gateway(0)
        old = (await said(first, SECRET))["id"]
        await written(first)
        both = await house.gateway(1, 0)
        new = (await said(both, "more", previous_response_id=old))["id"]
        await written(both)
        last = await house.gateway(1)
        assert [(await last.ask(f"/v1/responses/{name}")).status for name in (old, new)] == [404, 200]


async def test_the_database_may_be_away(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chats go on with what the gateway has in memory, also afterwards; only a deletion has to wait, and says so."""

    async with machines(serve, tmp_path, monkeypatch) as (house, backend):
        here = await house.gateway(0)
        assert here.app.texts is not None
        store: Any = here.app.texts._store
        with monkeypatch.context() as broken:
            for name in ("keep_text", "text", "forget_text"):
                broken.setattr(store, name, away)
            first = (await said(here, SECRET))["id"]
            await written(here)
            second = (await said(here, "and?", previous_response_id=first))["id"]
            refused = await here.ask(f"/v1/responses/{second}", None, "DELETE")
            assert (refused.status, "retry later" in refused.json["error"]["message"]) == (503, True)
        assert len(backend.asked[-1]) == 3
        await said(here, "again", previous_response_id=first)
        assert len(backend.asked[-1]) == 3


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_comes_again_to_another_gateway(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """With the same ``Idempotency-Key``: it gets the same bytes, another body is refused, and nothing of it can be read."""
    async with machines(serve, tmp_path, monkeypatch) as (house, backend):
        here, there = await house.gateway(0), await house.gateway(0)
        body = {"model": "house/small", "messages": [{"role": "user", "content": SECRET}], "stream": stream}
        first = await here.ask("/v1/chat/completions", body, headers=AGAIN)
        await written(here)
        for _ in range(2):  # from the database, then from memory
            again = await there.ask("/v1/chat/completions", body, headers=AGAIN)
            assert (again.status, again.body) == (200, first.body)
            assert (again.headers["x-polychat-replayed"], again.headers["content-type"]) == (
                "true",
                first.headers["content-type"],
            )
        other = await there.ask("/v1/chat/completions", {**body, "seed": 1}, headers=AGAIN)
        assert other.status == 422
        third = await house.gateway(0)
        assert (await third.ask("/v1/chat/completions", {**body, "seed": 1}, headers=AGAIN)).status == 422
        assert len(backend.asked) == 1
        assert not any(text in house.files() for text in (b"Schnurr", b"Hello", AGAIN["idempotency-key"].encode()))


@pytest.mark.parametrize("end", ["complete", "failed", "killed", "away"])
async def test_a_request_that_runs_at_another_gateway(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The second waits for the first. Where that fails, is killed, or the database is away, the second runs it itself."""
    monkeypatch.setattr(shared_replies, "_EVERY", 0.01)
    if end == "killed":  # what it leaves behind is a claim that nobody renews
        monkeypatch.setattr(kept_texts, "_CLAIM", 0.2)
        monkeypatch.setattr(kept_texts, "_RENEW", 3600)
    async with machines(serve, tmp_path, monkeypatch) as (house, backend):
        here, there = await house.gateway(0), await house.gateway(0)
        assert there.app.texts is not None
        body = {"model": "house/small", "messages": [{"role": "user", "content": SECRET}]}
        backend.go.clear()
        backend.fails = end == "failed"
        callers = [await gate.caller() for gate in (here, there)]
        callers[0].ask("/v1/chat/completions", body, headers=AGAIN)
        await until(backend.came)
        looks = Looks(there.app.texts)
        monkeypatch.setattr(there.app.texts, "get", looks.get)
        if end == "away":
            monkeypatch.setattr(there.app.texts._store, "claim_text", away)
        callers[1].ask("/v1/chat/completions", body, headers=AGAIN)
        await until(looks.waits if end in ("complete", "failed") else backend.second)
        backend.go.set()
        answers = [await caller.whole() for caller in callers]
        assert [answer.status for answer in answers] == [502 if end == "failed" else 200, 200]
        assert ("x-polychat-replayed" in answers[1].headers) == (end == "complete")
        assert len(backend.asked) == (1 if end == "complete" else 2)


@pytest.mark.parametrize("end", ["complete", "killed", "too long"])
async def test_a_stream_that_runs_at_another_gateway(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The second one's client gets heartbeats while it waits, and then the reply: the first one's, its own where that was
    killed, or an error in the stream after a time that is longer than that of a plain request."""
    monkeypatch.setattr(shared_replies, "_EVERY", 0.01)
    monkeypatch.setattr(shared_replies, "_LONGEST", 0.0)
    if end == "killed":
        monkeypatch.setattr(kept_texts, "_CLAIM", 0.2)
        monkeypatch.setattr(kept_texts, "_RENEW", 3600)
    if end == "too long":
        monkeypatch.setattr(shared_replies, "_LONGEST_STREAM", 0.1)
    async with machines(serve, tmp_path, monkeypatch) as (house, backend):
        here, there = await house.gateway(0), await house.gateway(0, heartbeat=0.02)
        body = {"model": "house/small", "messages": [{"role": "user", "content": SECRET}], "stream": True}
        backend.go.clear()
        first, second = [await gate.caller() for gate in (here, there)]
        first.ask("/v1/chat/completions", body, headers=AGAIN)
        await until(backend.came)
        second.ask("/v1/chat/completions", body, headers=AGAIN)
        assert (await second.head()).status == 200
        assert await second.chunk() == b": waiting\n\n"
        if end == "too long":
            rest = await second.rest()
            assert b"idempotency" in rest.lower()
            assert b"[DONE]" not in rest
        if end == "killed":
            await until(backend.second)
        backend.go.set()
        reply = await first.whole()
        if end != "too long":
            assert (await second.rest()).endswith(reply.body if end == "complete" else b"data: [DONE]\n\n")
        assert len(backend.asked) == (2 if end == "killed" else 1)


class Looks:
    """A gateway's looks for another one's reply; ``waits`` is set after two."""

    def __init__(self, texts: KeptTexts) -> None:
        self._get, self._count = texts.get, 0
        self.waits = asyncio.Event()

    async def get(self, place: TextPlace) -> bytes | None:
        found = await self._get(place)
        self._count += 1
        if self._count == 2:
            self.waits.set()
        return found


def away(*_: Any) -> None:
    raise StoreUnavailable("the database cannot be used")


async def test_a_request_that_runs_elsewhere_for_too_long(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client, which cannot be sent anything meanwhile, is told to ask again; it gets the reply then."""
    monkeypatch.setattr(shared_replies, "_EVERY", 0.01)
    monkeypatch.setattr(shared_replies, "_LONGEST", 0.1)
    async with machines(serve, tmp_path, monkeypatch) as (house, backend):
        here, there = await house.gateway(0), await house.gateway(0)
        body = {"model": "house/small", "messages": [{"role": "user", "content": SECRET}]}
        backend.go.clear()
        first = await here.caller()
        first.ask("/v1/chat/completions", body, headers=AGAIN)
        await until(backend.came)
        refused = await there.ask("/v1/chat/completions", body, headers=AGAIN)
        assert (refused.status, refused.json["error"]["code"]) == (409, "idempotency_key_in_use")
        assert (refused.headers["retry-after"], refused.headers.get("x-should-retry")) == ("1", None)
        backend.go.set()
        assert (await first.whole()).status == 200
        await written(here)
        again = await there.ask("/v1/chat/completions", body, headers=AGAIN)
        assert (again.status, "x-polychat-replayed" in again.headers, len(backend.asked)) == (200, True, 1)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each that keeps texts."""
    if request.param == "memory":
        return MemoryStore()
    url = f"sqlite:///{tmp_path}/a.db" if request.param == "sqlite" else request.getfixturevalue("postgresql_server").url
    return emptied(DatabaseStore(url, patience=5))


async def test_a_claim_is_touched_by_its_holder_alone(any_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it has ended and is another's, the first holder neither renews, replaces nor gives it up. One that ended, and that
    nobody claimed, is replaced. One that is cancelled, or for whose text there is no room, is given up."""
    monkeypatch.setattr(kept_texts, "_RENEW", 3600)
    one, other = (KeptTexts(any_store, TextCipher(KEYS[:1]), lambda *_, **__: None) for _ in range(2))
    place = TextPlace("reply", "ada", "a")
    monkeypatch.setattr(kept_texts, "_CLAIM", -1.0)  # it has ended at once
    ended = await one.claim(place, b"one")
    monkeypatch.setattr(kept_texts, "_CLAIM", 15.0)
    claim = await other.claim(place, b"other")
    assert isinstance(ended, Claim)
    assert isinstance(claim, Claim)
    any_store.hold_texts({place: ended.data}, time() + 1000)
    one.settle(ended, lambda: b"reply of one", 5, 60)
    one.release(ended)
    await one.close()
    assert await one.claim(place, b"one") == b"other"
    assert any_store.text(place, time() + 500) is None, "it was not renewed by another"
    any_store.hold_texts({place: claim.data}, time() + 1000)
    assert any_store.text(place, time() + 500) == claim.data
    monkeypatch.setattr(kept_texts, "_MOST", 4)
    monkeypatch.setattr(kept_texts, "_RENEW", 0.0)
    other.settle(claim, lambda: b"too large", 5, 60)
    await other.close()
    again = await one.claim(place, b"one")
    assert isinstance(again, Claim)
    monkeypatch.setattr(kept_texts, "_CLAIM", 1000.0)
    async with asyncio.timeout(60):
        while any_store.text(place, time() + 500) is None:  # until it was renewed
            await asyncio.sleep(0)
    monkeypatch.undo()
    one.settle(again, lambda: b"reply", 5, 60)
    await one.close()
    assert await other.claim(place, b"other") == b"reply"
    cancelled = asyncio.ensure_future(other.claim(place._replace(name="b"), b"other"))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    await other.close()
    assert any_store.text(place._replace(name="b"), 0.0) is None
    any_store.close()


def test_texts_are_deleted_when_they_are_due(tmp_path: Path) -> None:
    """And one that is due is not read any more, deleted or not."""
    store = store_of(State(url=f"sqlite:///{tmp_path}/gateway.db"))
    places = [TextPlace("response", "ada", name) for name in "ab"]
    for place, end in zip(places, (10.0, 20.0), strict=True):
        store.keep_text(place, b"text", end)
    assert [store.text(place, 10.0) for place in places] == [None, b"text"]
    assert [store.forget_texts(15.0), store.forget_texts(15.0)] == [1, 0]
    store.close()


def test_a_text_is_bound_to_its_place() -> None:
    """A text that is moved, changed or cut is not read; each has other bytes."""
    cipher, place = TextCipher(KEYS[:1]), TextPlace("response", "ada", "resp_1")
    data = cipher.encrypt(b"text", place)
    assert cipher.decrypt(data, place) == b"text"
    assert cipher.encrypt(b"text", place) != data
    for wrong in (
        TextPlace("reply", "ada", "resp_1"),
        TextPlace("response", "bob", "resp_1"),
        TextPlace("response", "adar", "esp_1"),
    ):
        assert cipher.decrypt(data, wrong) is None
    for broken in (b"", data[:9], data[:-1], data[:-1] + bytes([data[-1] ^ 1]), b"\x02" + data[1:]):
        assert cipher.decrypt(broken, place) is None


def test_mistakes_in_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors name the key and the next step, and show no secret."""
    with pytest.raises(BadInput, match="openssl rand -base64 32") as error:
        TextCipher(["short-secret"])
    assert "short-secret" not in str(error.value)
    file = tmp_path / "polychat.toml"
    monkeypatch.setenv("A", "a-secret-key")
    for text in (
        "[gateway.state]\nkeep_text = true",
        '[gateway.keys]\na = "env:A"\n[gateway.key_settings.a]\nkeep_text = true',
    ):
        file.write_text(text)
        with pytest.raises(BadInput, match="keep_text requires gateway.state.encryption_keys"):
            Gateway(config.read(file))

"""Keys of people at the gateway: made, rotated and revoked in a store; what each may do; and what a guesser learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from polychat.config.settings import KeySettings
from polychat.gateway.admission import people_keys
from polychat.gateway.admission.guesses import GUESSES
from polychat.gateway.admission.people_keys import PeopleKeys
from polychat.state.key_text import new_key
from polychat.state.store import Policy, UsageLimit

from ...support.fast_chats import noted_fast_chats
from ...support.gateway_with_people import NOON, house
from ...support.running_gateway import asking, good

PATH, BODY = asking("openai-chat")


def limit(cap: int) -> Policy:
    return Policy(limits=(UsageLimit(metric="requests", window="day", cap=cap),))


@pytest.fixture
async def backend(serve: Any) -> Any:
    return await serve(good)


async def test_the_first_key_closes_the_gateway(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty store asks nobody for a key. Once one was made, requests without it are refused; a revoked one stays out."""
    async with house(monkeypatch, backend.url) as made:
        assert (await made.ask("")).status == 200
        stored, key = made.admin.create("laptop")
        made.people.refresh()
        answers = [await made.ask(text) for text in ("", key.text, new_key().text, "sk-something-else")]
        assert [answer.status for answer in answers] == [401, 200, 401, 401]
        assert (await made.here.app.recorded(5))[2].key == stored.id, "logs name the key by its public id"
        made.admin.revoke("laptop")
        made.people.refresh()
        refused = await made.ask(key.text)
        assert (refused.status, "revoked" in refused.json["error"]["message"]) == (401, True)
        assert key.text not in refused.body.decode()
        assert (await made.ask("")).status == 401


async def test_every_header_carries_a_key(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of each vendor's clients, and the query; the metrics need a key too."""
    async with house(monkeypatch, backend.url) as made:
        _, key = made.admin.create("laptop")
        for headers in ({"x-api-key": key.text}, {"api-key": key.text}, {"x-goog-api-key": key.text}):
            assert (await made.ask("", **headers)).status == 200
        assert (await made.here.ask(f"{PATH}?key={key.text}", BODY)).status == 200
        for text, status in ((key.text, 200), ("", 401)):
            assert (await made.ask(text, "/metrics", None)).status == status


async def test_what_comes_beside_a_key_does_not_become_one(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that send their key in ``x-api-key`` may send ``Bearer dummy`` too, which then opens nothing by itself."""
    async with house(monkeypatch, backend.url) as made:
        _, key = made.admin.create("laptop")
        for _ in range(2):
            assert (await made.ask("dummy", **{"x-api-key": key.text})).status == 200
        assert (await made.ask("dummy")).status == 401


async def test_a_typo_is_told_without_the_store(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And costs no guess."""
    async with house(monkeypatch, backend.url) as made:
        _, key = made.admin.create("laptop")
        typo = key.text[:20] + ("x" if key.text[20] != "x" else "y") + key.text[21:]
        for text, hint in ((typo, "typo"), (key.text[:-4], "copy it completely")):
            refused = await made.ask(text)
            assert refused.status == 401
            assert hint in refused.json["error"]["message"]
        assert made.store.looks == 0


async def test_guesses_are_limited_by_address(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown keys of the right form reach the store so many times a minute; the same one twice reaches it once. A key that is
    known is answered all the same, and after the minute others are looked up again."""
    async with house(monkeypatch, backend.url) as made:
        _, key = made.admin.create("laptop")
        assert (await made.ask(key.text)).status == 200
        for text in [new_key().text] * 2 + [new_key().text for _ in range(GUESSES - 1)]:
            assert (await made.ask(text)).status == 401
        assert made.store.looks == GUESSES + 1
        assert (await made.ask(new_key().text)).status == 429
        assert (await made.ask(key.text)).status == 200
        made.now += 60
        assert (await made.ask(new_key().text)).status == 401


async def test_guesses_of_any_form_are_limited(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of the file may have eight letters; a request without a key is no guess. A key of the store that is not known yet is
    looked up all the same: behind a proxy, one client's mistake must not shut out the others."""
    async with house(monkeypatch, backend.url) as there:
        _, key = there.admin.create("laptop")
        assert [(await there.ask("")).status for _ in range(GUESSES + 1)] == [401] * (GUESSES + 1)
        guessed = [(await there.ask(f"guess-{number}")).status for number in range(GUESSES + 1)]
        assert guessed == [401] * GUESSES + [429]
        assert (await there.ask(key.text)).status == 200


async def test_keys_that_were_revoked_are_no_guesses(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that still use them, a minute long, leave others' keys to be looked up."""
    async with house(monkeypatch, backend.url) as there:
        monkeypatch.setattr(people_keys, "_FORGOTTEN", 0.0)
        _, key = there.admin.create("laptop")
        stored, old = there.admin.create("old")
        there.admin.revoke(stored.id)
        for _ in range(GUESSES + 1):
            assert "revoked" in (await there.ask(old.text)).json["error"]["message"]
        assert (await there.ask(key.text)).status == 200


async def test_rotation_and_expiry(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old key is accepted for the grace time, beside the new one, and then says that it has expired; policies go on."""
    async with house(monkeypatch, backend.url) as made:
        policy = Policy(dialects=("openai-chat",))
        stored, old = made.admin.create("laptop", policy=policy)
        assert (await made.ask(old.text)).status == 200
        fresh, new = made.admin.rotate("laptop", 600.0)
        assert (fresh.policy, made.store.key_by_id(stored.id).replaced_by) == (policy, fresh.id)
        made.people.refresh()
        assert [(await made.ask(text)).status for text in (old.text, new.text)] == [200, 200]
        made.now += 600
        refused = await made.ask(old.text)
        assert (refused.status, "expired" in refused.json["error"]["message"]) == (401, True)
        assert (await made.ask(new.text)).status == 200


async def test_known_keys_go_on_without_the_store(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database is away, a key that was seen before is answered, and a new one is told to come again."""
    async with house(monkeypatch, backend.url) as made:
        _, known = made.admin.create("laptop")
        _, other = made.admin.create("phone")
        assert (await made.ask(known.text)).status == 200
        made.store.away = True
        away = await made.ask(other.text)
        assert (away.status, away.headers["retry-after"]) == (503, "2")
        assert (await made.ask(known.text)).status == 200
        made.store.away = False
        assert (await made.ask(other.text)).status == 200


async def test_the_key_that_is_not_used_is_forgotten(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the number of keys that are known at a time one makes room for another: those in use stay, whoever comes, and no
    more is kept of the one that went. It is looked up again when it has a request."""
    monkeypatch.setattr(people_keys, "_KNOWN", 3)
    async with house(monkeypatch, backend.url) as made:
        keys = [made.admin.create(name)[1].text for name in "abcd"]

        async def looks(*texts: str) -> int:
            before = made.store.looks
            assert {(await made.ask(text)).status for text in texts} == {200}
            return made.store.looks - before

        assert await looks(*keys[:3]) == 3
        made.people.refresh()
        assert [await looks(keys[0]), await looks(keys[3])] == [0, 1]
        assert await looks(keys[0], keys[2], keys[3]) == 0
        assert await looks(keys[1]) == 1
        assert [await looks(new) for new in [made.admin.create("e")[1].text] * 3] == [1, 0, 0], "where all are in use, too"
        people = made.people
        kept = (people._accounts, people._ids, people._digests, people._by_header, people._headers)
        assert [len(known) for known in kept] == [3] * 5


async def test_a_key_needs_no_task(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual chat of a key that is known is answered without a task, by the key as it is at that moment."""
    begun = noted_fast_chats(monkeypatch)
    async with house(monkeypatch, backend.url) as made:
        stored, key = made.admin.create("laptop", policy=limit(9))
        caller, statuses = await made.here.caller(), []
        for number in range(5):
            if number == 4:
                made.admin.revoke(stored.id)
                made.people.refresh()
            caller.ask(PATH, BODY, headers={"authorization": f"Bearer {key.text}"})
            statuses.append((await caller.whole()).status)
        assert statuses == [200, 200, 200, 200, 401]
        assert [chat.record.key for chat in begun] == [stored.id] * 3, "the first one waits for the store"


async def test_limits_of_all_above_hold(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request counts for its key, person, team and organisation: whoever's limit is reached is named, and changes of a
    limit hold at once without losing what was used."""
    async with house(monkeypatch, backend.url) as made:
        admin = made.admin
        admin.put_owner("org", "acme", policy=limit(6))
        admin.put_owner("team", "red", parent="acme", policy=limit(4))
        admin.put_owner("team", "blue", parent="acme")
        admin.put_owner("person", "ada", parent="red", policy=limit(2))
        keys: Mapping[str, Any] = {
            name: admin.create(name, owner=owner)[1].text
            for name, owner in {
                "ada-1": ("person", "ada"),
                "ada-2": ("person", "ada"),
                "bot": ("team", "red"),
                "blue": ("team", "blue"),
            }.items()
        }

        async def refusal(name: str) -> str:
            answer = await made.ask(keys[name])
            return "" if answer.status == 200 else answer.json["error"]["message"]

        assert [await refusal(name) for name in ("ada-1", "ada-2")] == ["", ""]
        assert "person ada (2 requests per day)" in await refusal("ada-1")
        assert [await refusal("bot"), await refusal("bot")] == ["", ""]
        assert "team red (4 requests per day)" in await refusal("bot")
        assert [await refusal("blue"), await refusal("blue")] == ["", ""]
        assert "org acme (6 requests per day)" in await refusal("blue")
        admin.put_owner("org", "acme", policy=limit(7))
        made.people.refresh()
        assert await refusal("blue") == ""
        assert "org acme (7 requests per day)" in await refusal("blue")
        admin.delete_owner("team", "blue")
        made.people.refresh()
        assert "the team blue was deleted" in await refusal("blue")


async def test_a_key_reads_no_others_replies(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored response is found with the key that made it, and with no other, of the same team or not."""
    upstream = await serve(good)
    async with house(monkeypatch, upstream.url) as made:
        made.admin.put_owner("team", "red")
        texts = [made.admin.create(name, owner=("team", "red"))[1].text for name in ("one", "two")]
        path, body = asking("openai-responses")
        response = (await made.ask(texts[0], path, {**body, "store": True})).json["id"]
        statuses = [(await made.ask(text, f"/v1/responses/{response}", None)).status for text in texts]
        assert statuses == [200, 404]


async def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_kept(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store gave it before, and the change was read before it was known here: it is looked up once more."""
    async with house(monkeypatch, backend.url) as there:
        stored, key = there.admin.create("laptop")
        there.people.refresh()
        look = there.store.key_by_digest

        def revoked_meanwhile(digest: bytes) -> Any:
            found = look(digest)
            monkeypatch.setattr(there.store, "key_by_digest", look)
            there.admin.revoke(stored.id)
            there.people.refresh()
            return found

        monkeypatch.setattr(there.store, "key_by_digest", revoked_meanwhile)
        assert [(await there.ask(key.text)).status for _ in range(2)] == [401, 401]


async def test_keys_of_the_file_go_on(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are accepted beside those of the store, with their own settings, and the sites accept them alone."""
    monkeypatch.setenv("KEY_FILE", "the-key-of-the-file")
    keys = {"keys": {"file": "env:KEY_FILE"}, "key_settings": {"file": KeySettings(rpm=2)}}
    async with house(monkeypatch, backend.url, **keys, sites="house/small") as made:
        _, key = made.admin.create("laptop")
        answers = [await made.ask(text) for text in ("the-key-of-the-file", key.text, "the-key-of-the-file", "")]
        assert [answer.status for answer in answers] == [200, 200, 200, 401]
        assert (await made.ask("the-key-of-the-file")).status == 429
        sites = [await made.here.ask("/sites/aichat/", headers={"x-api-key": text}) for text in (key.text, "nothing")]
        assert [answer.status for answer in sites] == [401, 401]


async def test_the_thread_asks_for_changes(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revoked key is known as such after one turn of the thread, and when a key was used last is kept; it ends at once."""
    monkeypatch.setattr(people_keys, "_EVERY", 0.01)
    start = PeopleKeys.start
    async with house(monkeypatch, backend.url) as made:
        stored, key = made.admin.create("laptop")
        assert (await made.ask(key.text)).status == 200
        monkeypatch.setattr(PeopleKeys, "start", start)
        made.admin.revoke("laptop")
        made.people.start()
        thread = made.people._thread
        assert thread is not None
        while made.people.account(stored.id) is not None:
            thread.join(0.001)
        assert (await made.ask(key.text)).status == 401
        made.people.close()
        assert not thread.is_alive()
        row = made.store.key_by_id(stored.id)
        assert row is not None
        assert row.last_used_at == NOON


async def test_a_defect_does_not_end_the_thread(
    backend: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A revoked key would go on for ever; and changes are learned while the store cannot be written."""
    async with house(monkeypatch, backend.url) as there:
        stored, key = there.admin.create("laptop")
        assert (await there.ask(key.text)).status == 200
        there.admin.revoke(stored.id)

        def unwritable(moments: Any) -> None:
            raise RuntimeError("read-only")

        monkeypatch.setattr(there.store, "keys_used", unwritable)
        ends = iter([False, True])
        monkeypatch.setattr(there.people._closed, "wait", lambda seconds: next(ends))
        there.people._run()
        assert "changes of keys could not be read" in caplog.text
        assert (await there.ask(key.text)).status == 401

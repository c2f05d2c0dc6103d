"""``Idempotency-Key``: a request that is sent again joins the first, or gets its bytes, and the backend is asked once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polychat.config.settings import Direct, Idempotency, KeySettings
from polychat.gateway.admission.idempotency import RepeatedRequests
from polychat.gateway.context import Guard, RequestContext
from polychat.gateway.paths import DIALECTS

from ...support.endpoint_bodies import BODIES
from ...support.running_gateway import (
    DONE,
    END,
    FIRST,
    Answer,
    Running,
    Stage,
    asking,
    completion,
    configured,
    fault,
    gateway,
    good,
    row,
    streaming,
    text,
    until,
    with_guards,
)
from ...support.scripted_server import Say, Seen

KEY = {"idempotency-key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


class Counted:
    """Counts the requests to a backend."""

    def __init__(self, handler: Any) -> None:
        self.handler, self.count = handler, 0

    async def __call__(self, seen: Seen, say: Say) -> None:
        self.count += 1
        await self.handler(seen, say)


def house(url: str, **settings: Any) -> Any:
    return configured({"house": row("openai-chat", url)}, **settings)


def same(first: Answer, again: Answer) -> None:
    """``again`` is the other's reply, and says so."""
    assert (again.status, again.body) == (first.status, first.body)
    assert (first.headers.get("x-polychat-replayed"), again.headers["x-polychat-replayed"]) == (None, "true")
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_same_request_gets_the_same_bytes(serve: Any, dialect: str, stream: bool) -> None:
    """In every dialect, plain and streamed; it costs nothing, and without the header each request is its own."""
    backend = Counted(good)
    server = await serve(backend)
    path, body = asking(dialect, stream=stream)
    async with gateway(house(server.url)) as here:
        first, again = [await here.ask(path, body, headers=KEY) for _ in range(2)]
        assert first.status == 200
        same(first, again)
        assert "x-polychat-cost" not in again.headers
        assert again.headers["x-polychat-provider"] == "house"
        assert backend.count == 1
        for headers in ({}, {}, {"idempotency-key": "another"}):
            other = await here.ask(path, body, headers=headers)
            assert other.status == 200
            assert "x-polychat-replayed" not in other.headers
        assert backend.count == 4
        assert [record.verdict for record in here.records] == ["complete", None, "complete", "complete", "complete"]


async def test_what_is_no_chat_is_repeated_too(serve: Any) -> None:
    """Embeddings and counts of tokens."""

    async def vectors(seen: Seen, say: Say) -> None:
        data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
        await say.whole({"object": "list", "data": data, "model": "small", "usage": {"prompt_tokens": 1, "total_tokens": 1}})

    backend = Counted(vectors)
    server = await serve(backend)
    async with gateway(house(server.url)) as here:
        for path in ("/v1/embeddings", "/v1/messages/count_tokens"):
            same(*[await here.ask(path, BODIES[path], headers={"idempotency-key": path}) for _ in range(2)])
        assert backend.count == 1


async def test_another_request_with_the_key_is_refused(serve: Any) -> None:
    """With 422, which names the header and the next step: another body, path or query. The first reply stays."""
    backend = Counted(good)
    server = await serve(backend)
    path, body = asking("openai-chat")
    async with gateway(house(server.url)) as here:
        first = await here.ask(path, body, headers=KEY)
        for where, what in ((path, {**body, "seed": 1}), ("/v1/embeddings", body), (f"{path}?a=b", body)):
            refused = await here.ask(where, what, headers=KEY)
            assert refused.status == 422
            assert refused.json["error"]["code"] == "idempotency_key_reused"
            assert "Idempotency-Key" in refused.json["error"]["message"]
            assert refused.headers["x-should-retry"] == "false"
        same(first, await here.ask(path, body, headers=KEY))
        assert backend.count == 1


@pytest.mark.parametrize("value", ["", '"', "a" * 256, "a\xe4b"])
async def test_a_key_that_is_none_is_refused(serve: Any, value: str) -> None:
    """With 400. In quotation marks, as the IETF's draft has it, it is the same key as without."""
    server = await serve(good)
    path, body = asking("openai-chat")
    async with gateway(house(server.url)) as here:
        refused = await here.ask(path, body, headers={"idempotency-key": value})
        assert (refused.status, refused.json["error"]["code"]) == (400, "invalid_idempotency_key")
        first = await here.ask(path, body, headers=KEY)
        same(first, await here.ask(path, body, headers={"idempotency-key": f'"{KEY["idempotency-key"]}"'}))


async def test_the_keys_of_two_people_do_not_meet(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gets another's reply, with limits or without; a repeated request counts in no limit."""
    monkeypatch.setenv("ADA", "ada-secret-key")
    monkeypatch.setenv("BOB", "bob-secret-key")
    backend = Counted(good)
    server = await serve(backend)
    path, body = asking("openai-chat")
    keys, limits = {"ada": "env:ADA", "bob": "env:BOB"}, {"ada": KeySettings(rpm=1)}
    async with gateway(house(server.url, keys=keys, key_settings=limits)) as here:

        async def ask(name: str) -> Answer:
            return await here.ask(path, body, headers={**KEY, "authorization": f"Bearer {name}-secret-key"})

        replies = [await ask(name) for name in ("ada", "bob", "ada", "bob")]
        assert [reply.status for reply in replies] == [200] * 4
        assert [reply.headers.get("x-polychat-replayed") for reply in replies] == [None, None, "true", "true"]
        assert backend.count == 2
        assert (await here.ask(path, body, headers={"authorization": "Bearer ada-secret-key"})).status == 429


@pytest.mark.parametrize("handler", [fault(400), fault(503), streaming(FIRST, text("Hel"), cut=True)])
async def test_a_failure_is_not_kept(serve: Any, handler: Any) -> None:
    """Nor is a reply that was cut off: the next request asks the backend again."""
    backend = Counted(handler)
    server = await serve(backend)
    path, body = asking("openai-chat", stream=True)
    async with gateway(house(server.url)) as here:
        await here.ask(path, body, headers=KEY)
        backend.handler = good
        answer = await here.ask(path, body, headers=KEY)
        assert answer.status == 200
        assert "x-polychat-replayed" not in answer.headers
        assert b"[DONE]" in answer.body
        same(answer, await here.ask(path, body, headers=KEY))


async def joined(here: Running, count: int) -> None:
    """When so many requests are running."""
    async with asyncio.timeout(60):
        while here.app.running < count:
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)


async def first_has_left(here: Running) -> None:
    """When the gateway knows it of the only request that runs and is kept."""
    (copy,) = here.app._repeated._copies.values()
    async with asyncio.timeout(60):
        while copy.owner is not None and not copy.owner.responder.left:
            await asyncio.sleep(0)
    assert copy.owner is not None


@pytest.mark.parametrize("leaves", ["nobody", "first", "second", "both"])
async def test_a_running_stream_is_joined(serve: Any, leaves: str) -> None:
    """Another request streams along from the beginning; whoever leaves, the other gets all of it, and only when both have
    left the backend is left too.
    """
    stage = Stage(FIRST, text("Hel"), rest=(text("lo"), END, DONE))
    backend = Counted(stage)
    server = await serve(backend)
    path, body = asking("openai-chat", stream=True)
    async with gateway(house(server.url)) as here:
        callers = [await here.caller() for _ in range(2)]
        read = []
        for caller in callers:
            caller.ask(path, body, headers=KEY)
            head = await caller.head()
            assert head.status == 200
            read.append(await caller.until(b"Hel"))
        assert head.headers["x-polychat-replayed"] == "true"
        assert read[0] == read[1]
        gone = {"nobody": (), "first": (0,), "second": (1,), "both": (0, 1)}[leaves]
        for place in gone:
            callers[place].leave()
            if place == 0:
                await first_has_left(here)
            elif leaves == "second":
                await here.app.recorded(1)
        if leaves == "both":
            await until(stage.left)
            assert [record.verdict for record in await here.app.recorded(2)] == ["cancelled", "cancelled"]
            assert not len(here.app._repeated)
            return
        stage.go.set()
        rest = [await caller.rest() for place, caller in enumerate(callers) if place not in gone]
        assert all(b"lo" in one and one.endswith(b"[DONE]\n\n") for one in rest)
        records = await here.app.recorded(2)
        assert "complete" in [record.verdict for record in records]
        assert backend.count == 1
        again = await here.ask(path, body, headers=KEY)
        assert again.body == read[0] + rest[0]


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_plain_request_is_joined(serve: Any, fails: bool, leaves: bool) -> None:
    """The second waits for the first's reply, whole or a failure, also where the first client leaves meanwhile."""
    go, arrived = asyncio.Event(), asyncio.Event()

    async def slow(seen: Seen, say: Say) -> None:
        arrived.set()
        await go.wait()
        await (fault(502)(seen, say) if fails else say.whole(completion("Hello")))

    backend = Counted(slow)
    server = await serve(backend)
    path, body = asking("openai-chat")
    async with gateway(house(server.url, direct=Direct(attempts=1))) as here:
        first, second = [await here.caller() for _ in range(2)]
        first.ask(path, body, headers=KEY)
        await until(arrived)
        second.ask(path, body, headers=KEY)
        await joined(here, 2)
        if leaves:
            first.leave()
            await first_has_left(here)
        go.set()
        answer = await second.whole()
        assert (answer.status, answer.headers["x-polychat-replayed"]) == (502 if fails else 200, "true")
        assert (b"it says no" if fails else b"Hello") in answer.body
        if not leaves:
            assert (await first.whole()).body == answer.body
        assert backend.count == 1
        assert len(await here.app.recorded(2)) == 2


async def test_what_is_kept_is_bounded(serve: Any) -> None:
    """In number, bytes and time; the oldest goes first; a reply of more than a quarter of the bytes is not kept, and those
    who joined it are told that it is cut off.
    """
    stage = Stage(FIRST, text("Hel"), rest=(text("x" * 400), END, DONE))
    server = await serve(stage)
    path, body = asking("openai-chat", stream=True)
    async with gateway(house(server.url, idempotency=Idempotency(bytes=2000))) as here:
        callers = [await here.caller() for _ in range(2)]
        for caller in callers:
            caller.ask(path, body, headers=KEY)
            await caller.head()
            await caller.until(b"Hel")
        stage.go.set()
        assert (await callers[0].rest()).endswith(b"[DONE]\n\n")
        cut = await callers[1].rest()
        assert b'"error"' in cut
        assert b"[DONE]" not in cut
        repeated = here.app._repeated
        assert (len(repeated), repeated.size) == (0, 0)

    server = await serve(good)
    path, body = asking("openai-chat")
    async with gateway(house(server.url, idempotency=Idempotency(replies=2, seconds=5))) as here:
        now = 0.0
        here.app._repeated._clock = lambda: now
        for name, replayed in (("a", False), ("b", False), ("c", False), ("b", True), ("c", True), ("a", False), ("b", False)):
            answer = await here.ask(path, body, headers={"idempotency-key": name})
            assert ("x-polychat-replayed" in answer.headers) == replayed, name
        now = 5.0
        assert "x-polychat-replayed" not in (await here.ask(path, body, headers={"idempotency-key": "b"})).headers
        assert (len(here.app._repeated), here.app._repeated.size) == (1, len(answer.body))


class Louder(Guard):
    """Changes what is sent."""

    def before(self, context: RequestContext) -> None:
        context.responder.tap(lambda data: data.replace(b"Hel", b"HEL"))


async def test_what_guards_made_of_a_reply_is_kept(serve: Any) -> None:
    """The bytes that the first client got, not those of the backend; and they are not changed again."""
    server = await serve(good)
    path, body = asking("openai-chat", stream=True)
    async with gateway(house(server.url), **with_guards([], [Louder()])) as here:
        first = await here.ask(path, body, headers=KEY)
        assert b"HEL" in first.body
        same(first, await here.ask(path, body, headers=KEY))


async def test_it_can_be_switched_off_and_survives_a_reload(serve: Any) -> None:
    """With ``replies = 0`` the header means nothing; what was kept before a reload is there after it."""
    server = await serve(good)
    path, body = asking("openai-chat")
    async with gateway(house(server.url)) as here:
        first = await here.ask(path, body, headers=KEY)
        here.app.reload(house(server.url))
        same(first, await here.ask(path, body, headers=KEY))
        here.app.reload(house(server.url, idempotency=Idempotency(replies=0)))
        assert "x-polychat-replayed" not in (await here.ask(path, body, headers=KEY)).headers


def test_nothing_is_kept_at_first() -> None:
    assert (len(RepeatedRequests()), RepeatedRequests().size) == (0, 0)

"""A key that is revoked while its replies are running: they end at once, or at their end, as asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from polychat.errors import Unauthorized
from polychat.gateway.admission.running import RunningRequests

from ...support.gateway_with_people import house
from ...support.running_gateway import ASKS, DONE, END, FIRST, Stage, asking, good, text, until


@pytest.mark.parametrize("dialect", ASKS)
async def test_a_revocation_ends_streams_at_once(dialect: str, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gets an error event of its dialect that names the key and the reason, the backend is left, and the record says
    that the reply was truncated. Streams of another key go on to their end, and so do those of a key that is revoked otherwise.
    """
    stage = Stage(FIRST, text("Hel"), rest=(text("lo"), END, DONE))
    backend = await serve(stage)
    async with house(monkeypatch, backend.url) as here:
        made = {name: here.admin.create(name) for name in ("ended", "revoked", "other")}
        path, body = asking(dialect, stream=True)
        callers = {}
        for name, (_, key) in made.items():
            caller = callers[name] = await here.here.caller()
            caller.ask(path, body, headers={"authorization": f"Bearer {key.text}"})
            assert (await caller.head()).status == 200
            await caller.until(b"Hel")
        here.admin.revoke("ended", ends_streams=True)
        here.admin.revoke("revoked")
        here.people.refresh()
        broken = (await callers["ended"].rest()).decode()
        (record,) = await here.here.app.recorded()
        await until(stage.left)
        stage.go.set()
        others = [(await callers[name].rest()).decode() for name in ("revoked", "other")]
        verdicts = [record.verdict for record in await here.here.app.recorded(3)]
        statuses = [(await here.ask(key.text)).status for _, key in made.values()]
    assert f"the API key {made['ended'][0].id} was revoked" in broken
    assert (record.verdict, record.key) == ("truncated", made["ended"][0].id)
    assert "was revoked" in record.error
    assert all("lo" in other and "was revoked" not in other for other in others)
    assert verdicts == ["truncated", "complete", "complete"]
    assert statuses[:2] == [401, 401]


async def test_a_reply_that_has_not_begun_is_refused(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 401 and the reason; the connection can be used again."""
    stage = Stage(None)
    backend = await serve(stage)
    async with house(monkeypatch, backend.url) as here:
        stored, key = here.admin.create("laptop")
        caller = await here.here.caller()
        for stream in (True, False):
            path, body = asking("openai-chat", stream=stream)
            caller.ask(path, body, headers={"authorization": f"Bearer {key.text}"})
            await until(stage.asked)
            if stream:
                here.admin.revoke(stored.id, ends_streams=True)
                here.people.refresh()
            answer = await caller.whole()
            assert (answer.status, answer.json["error"]["code"]) == (401, "invalid_api_key"), answer.body
            assert "revoked" in answer.json["error"]["message"]
        records = await here.here.app.recorded(2)
    assert [record.verdict for record in records] == ["cancelled", None]


async def test_a_stream_without_a_task_is_ended_too(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that passes through on the fast path is handed over to a task, which ends it after a whole event; a whole reply that
    is being waited for is refused."""
    stage = Stage(FIRST, text("Hel"))
    arrived = asyncio.Event()

    async def first_well(seen: Any, say: Any) -> None:
        is_slow = seen.json["messages"][0]["content"] == "slowly"
        if is_slow and not seen.json["stream"]:
            arrived.set()
        await (stage if is_slow else good)(seen, say)

    backend = await serve(first_well)
    async with house(monkeypatch, backend.url) as here:
        stored, key = here.admin.create("laptop")
        streamed, whole = [await here.here.caller() for _ in range(2)]
        for caller in (streamed, whole) * 2:
            caller.ask(*asking("openai-chat"), headers={"authorization": f"Bearer {key.text}"})
            assert (await caller.whole()).status == 200
        messages = [{"role": "user", "content": "slowly"}]
        for caller, stream in ((streamed, True), (whole, False)):
            path, body = asking("openai-chat", stream=stream, messages=messages)
            caller.ask(path, body, headers={"authorization": f"Bearer {key.text}"})
        await streamed.head()
        await streamed.until(b"Hel")
        await until(arrived)
        assert not here.here.state.tasks
        here.admin.revoke(stored.id, ends_streams=True)
        here.people.refresh()
        refused, rest = await whole.whole(), await streamed.rest()
        verdicts = [record.verdict for record in await here.here.app.recorded(6)]
        running = here.here.app.of_people._by_key
    assert refused.status == 401
    error = json.loads(rest.decode().strip().removeprefix("data: ").partition("\n\n")[0])["error"]
    assert "was revoked" in error["message"]
    assert (sorted(map(str, verdicts[4:])), running) == (["cancelled", "truncated"], {})


def test_a_request_that_begins_while_its_key_is_ended_is_stopped() -> None:
    """Between the check of its key and its registration the key may have been revoked; of requests that are over nothing is
    kept."""

    class Request:
        error: Exception | None = None

        def stop(self, error: Exception) -> None:
            self.error = error

    running, first, late, other = RunningRequests(), Request(), Request(), Request()
    running.add("a", first)
    running.add("b", other)
    running.end("a")
    running.add("a", late)
    assert isinstance(first.error, Unauthorized)
    assert (str(first.error), other.error) == (str(late.error), None)
    for key, request in (("a", first), ("a", late), ("b", other), ("c", other)):
        running.discard(key, request)
    assert running._by_key == {}

"""What operators may look at: recent requests, and how each target is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polychat.config.access import Admin
from polychat.config.settings import KeySettings, Route
from polychat.errors import Resting
from polychat.gateway.admission.guesses import GUESSES
from polychat.gateway.app import Gateway
from polychat.gateway.observe import in_progress
from polychat.gateway.observe.attempts import AttemptCounts
from polychat.gateway.observe.recent import RecentRequests
from polychat.gateway.observe.record import Record
from polychat.gateway.observe.route_states import RouteTargetState
from polychat.gateway.target_states import target_states
from polychat.routing.order import NOT_SET_UP

from ..support.compiled import replaces_compiled
from ..support.running_gateway import (
    DONE,
    END,
    FIRST,
    Running,
    Stage,
    asking,
    completion,
    configured,
    fault,
    gateway,
    good,
    row,
    text,
    until,
)
from ..support.scripted_server import Say, Seen, serving

KEY = "an-admin-key"
ADMIN = {"authorization": f"Bearer {KEY}"}
PATHS = ("/admin/requests", "/admin/requests/req_1", "/admin/targets", "/admin/running")
METRICS = {KEY: 200, "an-audit-key": 401, "a-chat-key-of-alice": 200, "no-key-at-all": 401}
"""Keys, and the status of ``/metrics`` with each."""


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_KEY", KEY)
    monkeypatch.setenv("AUDIT_KEY", "an-audit-key")
    monkeypatch.setenv("CHAT_KEY", "a-chat-key-of-alice")


def settings(**more: Any) -> dict[str, Any]:
    return {"admin": Admin(keys={"ops": "env:ADMIN_KEY"}, **more)}


async def explained(running: Running, request_id: str) -> Any:
    """What the gateway tells of a request, once it is over."""
    await running.app.recorded(len(running.records) or 1)
    answer = await running.ask(f"/admin/requests/{request_id}", headers=ADMIN)
    assert answer.status == 200, answer.body
    return answer.json


@pytest.mark.parametrize("path", PATHS)
async def test_without_an_admin_key_in_the_configuration_the_paths_do_not_exist(path: str) -> None:
    """Whatever key a client has, for chats or none."""
    async with gateway(configured({}, keys={"alice": "env:CHAT_KEY"})) as running:
        for headers in ({}, ADMIN, {"authorization": "Bearer a-chat-key-of-alice"}):
            answer = await running.ask(path, headers=headers)
            assert answer.status == 404
            assert "no endpoint" in answer.json["error"]["message"]
        assert running.app.recent is None


@pytest.mark.parametrize("path", PATHS)
async def test_a_key_for_chats_opens_no_admin_path(path: str) -> None:
    """Nor does a wrong one, none at all, or the right one in the address, where proxies log it."""
    async with gateway(configured({}, keys={"alice": "env:CHAT_KEY"}, **settings())) as running:
        for headers in ({}, {"authorization": "Bearer a-chat-key-of-alice"}, {"authorization": f"Bearer {KEY}x"}):
            assert (await running.ask(path, headers=headers)).status == 401
        assert (await running.ask(f"{path}?key={KEY}")).status == 401


async def test_an_admin_key_opens_no_chat() -> None:
    """It is for looking only."""
    async with gateway(configured({}, keys={"alice": "env:CHAT_KEY"}, **settings())) as running:
        path, body = asking("openai-chat")
        assert (await running.ask(path, body, headers=ADMIN)).status == 401


async def test_a_request_tells_why_it_went_where_it_went() -> None:
    """Who could have answered and what became of each; what was sent to whom, when, and how that ended."""
    async with serving(fault(500, message="it is on fire")) as first, serving(good) as second, serving(good) as third:
        providers = {
            "one": row("openai-chat", first.url),
            "two": row("openai-chat", second.url),
            "three": row("openai-chat", third.url),
        }
        routes = {"house": Route(targets=("one/small", "two/small", "three/small"), strategy="ordered")}
        async with gateway(configured(providers, routes=routes, **settings())) as running:
            path, body = asking("openai-chat", "house")
            answer = await running.ask(path, body)
            assert answer.status == 200
            page = await explained(running, answer.headers["x-request-id"])
    assert (page["route"], page["strategy"], page["target"], page["verdict"]) == ("house", "ordered", "two/small", "complete")
    assert [(one["target"], one["outcome"]) for one in page["candidates"]] == [
        ("one/small", "server"),
        ("two/small", "answered"),
        ("three/small", "not asked"),
    ]
    assert "it is on fire" in page["candidates"][0]["reason"]
    assert [(one["target"], one["outcome"]) for one in page["attempts"]] == [("one/small", "server"), ("two/small", "complete")]
    failed, answered = page["attempts"]
    assert 0 <= failed["begin_ms"] <= failed["end_ms"] <= answered["begin_ms"]
    assert 0 <= answered["begin_ms"] <= answered["time_to_first_token_ms"] <= answered["end_ms"] <= page["duration_ms"] + 0.01


async def test_a_resting_target_is_reported_with_its_reason() -> None:
    """It was passed over, for any target that answered in its place; if none did, every target has a reason."""
    refusing = fault(429, "rate_limit_error", "slow down", **{"retry-after": "60"})
    async with serving(refusing) as first, serving(good) as second:
        providers = {"one": row("openai-chat", first.url), "two": row("openai-chat", second.url)}
        routes = {
            "house": Route(targets=("one/small", "two/small"), strategy="ordered"),
            "alone": Route(targets=("one/small",)),
        }
        async with gateway(configured(providers, routes=routes, **settings())) as running:
            names = []
            for route in ("house", "house", "alone"):
                answer = await running.ask(*asking("openai-chat", route))
                names.append(answer.headers["x-request-id"])
            assert answer.status == 429
            await running.app.recorded(3)
            second_time, alone = [await explained(running, name) for name in names[1:]]
            assert all(error.__traceback__ is None for _, error in running.records[2].resting)
    resting, answered = second_time["candidates"]
    assert (resting["outcome"], answered["outcome"]) == ("passed over", "answered")
    assert [entry["target"] for entry in second_time["attempts"]] == ["two/small"]
    (only,) = alone["candidates"]
    assert (only["outcome"], alone["attempts"]) == ("passed over", [])
    assert "slow down" in only["reason"]


async def test_a_request_tells_what_was_lost() -> None:
    """By the names of the fields that the backend does not take."""
    async with (
        serving(good) as server,
        gateway(configured({"house": row("openai-chat", server.url)}, **settings())) as running,
    ):
        path, body = asking("anthropic", output_config={"effort": "max"}, context_management={"edits": []})
        answer = await running.ask(path, body)
        page = await explained(running, answer.headers["x-request-id"])
    assert page["losses"] == answer.headers["x-polychat-losses"].split(", ") != [""]


async def test_the_pages_have_no_text_and_no_key() -> None:
    """Though the configuration has the log contain the text of conversations."""
    async with serving(good) as server:
        providers = {"house": row("openai-chat", server.url, api_key="env:CHAT_KEY")}
        async with gateway(configured(providers, log_text=True, **settings())) as running:
            path, body = asking("openai-chat")
            body["messages"][0]["content"] = "my secret prompt"
            answer = await running.ask(path, body)
            name = answer.headers["x-request-id"]
            await running.app.recorded()
            bodies = [(await running.ask(path, headers=ADMIN)).body for path in (*PATHS, f"/admin/requests/{name}")]
        assert running.app.recent is not None
        record = running.app.recent.find(name)
        assert record is not None
        assert (record.text, running.records[0].text is None) == (None, False)
    assert all(b"secret prompt" not in body and b"a-chat-key" not in body and KEY.encode() not in body for body in bodies)


async def test_only_so_many_requests_are_kept() -> None:
    """The latest; the list has the newest first, and as many as were asked for."""
    async with (
        serving(good) as server,
        gateway(configured({"house": row("openai-chat", server.url)}, **settings(requests=2))) as running,
    ):
        path, body = asking("openai-chat")
        names = [(await running.ask(path, body)).headers["x-request-id"] for _ in range(3)]
        await running.app.recorded(3)
        gone = await running.ask(f"/admin/requests/{names[0]}", headers=ADMIN)
        latest = (await running.ask("/admin/requests?limit=10", headers=ADMIN)).json["requests"]
        one = (await running.ask("/admin/requests?limit=1", headers=ADMIN)).json["requests"]
    assert gone.status == 404
    assert [entry["request_id"] for entry in latest] == [names[2], names[1]]
    assert [entry["request_id"] for entry in one] == [names[2]]


async def test_targets_tell_how_they_are() -> None:
    """Their state and why, how often each was asked and how that ended, and its share, expected and actual."""
    refusing = fault(429, "rate_limit_error", "slow down", **{"retry-after": "60"})
    async with serving(refusing) as first, serving(good) as second:
        providers = {"one": row("openai-chat", first.url), "two": row("openai-chat", second.url)}
        routes = {"house": Route(targets=("one/small", "two/small"), strategy="round-robin")}
        async with gateway(configured(providers, routes=routes, **settings())) as running:
            path, body = asking("openai-chat", "house")
            for _ in range(2):
                assert (await running.ask(path, body)).status == 200
            await running.app.recorded(2)
            one, two = (await running.ask("/admin/targets", headers=ADMIN)).json["targets"]
    assert (one["target"], one["state"], one["failures"]) == ("one/small", "resting", {"rate_limit": 1})
    assert 50 < one["seconds"] <= 60
    assert "slow down" in one["reason"]
    assert (two["target"], two["state"], two["reason"], two["failures"]) == ("two/small", "closed", "", {})
    assert (one["share_expected"], two["share_expected"]) == (0.5, 0.5)
    assert (one["attempts"], two["attempts"]) == (1, 2)
    assert two["share_actual"] == pytest.approx(2 / 3, abs=0.001)


async def test_a_target_without_its_key_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state has the reason, the metrics have the state, and most requests do not ask it first."""
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    async with serving(good) as server:
        providers = {"one": row("openai-chat", server.url, api_key="env:NO_SUCH_KEY"), "two": row("openai-chat", server.url)}
        routes = {"house": Route(targets=("one/small", "two/small"), strategy="ordered")}
        async with gateway(configured(providers, routes=routes, **settings())) as running:
            request = asking("openai-chat", "house")
            for _ in range(4):
                assert (await running.ask(*request)).status == 200
            one, two = (await running.ask("/admin/targets", headers=ADMIN)).json["targets"]
            metrics = (await running.ask("/metrics", headers=ADMIN)).body.decode()
            latest = (await running.ask("/admin/requests?limit=1", headers=ADMIN)).json["requests"][0]
            latest = await explained(running, latest["request_id"])
    assert (one["state"], one["attempts"], one["failures"]) == ("not-ready", 2, {"not_set_up": 2})
    assert "NO_SUCH_KEY" in one["reason"]
    assert (two["state"], two["attempts"]) == ("closed", 4)
    assert 'polychat_target_state{route="house",state="not-ready",target="one/small"} 1.0' in metrics
    assert latest["candidates"][0] == {"target": "one/small", "outcome": "passed over", "reason": NOT_SET_UP}


async def test_targets_are_those_of_all_workers() -> None:
    """The state that most of the workers have that differ from closed, its reason where it lasts longest, and all requests."""
    routes = {"house": Route(targets=("one/small", "two/small"))}
    providers = {name: row("openai-chat", "http://127.0.0.1:9") for name in ("one", "two")}
    others = [
        RouteTargetState("house", "one/small", "open", 2, 4, 1, "it failed", 0.0),
        RouteTargetState("house", "one/small", "resting", 3, 4, 2, "for ten seconds", 110.0),
        RouteTargetState("house", "one/small", "resting", 0, 4, 0, "for a minute", 160.0),
        RouteTargetState("house", "two/small", "closed", 5),
        RouteTargetState("another", "two/small", "open", 1),
    ]
    async with gateway(configured(providers, routes=routes, **settings())) as running:
        app = running.app
        one, two = target_states(app.runtime, app.health, AttemptCounts(), 100.0, others)
    assert (one["state"], one["reason"], one["seconds"]) == ("resting", "for a minute", 60.0)
    assert one["workers"] == {"closed": 1, "open": 1, "resting": 2}
    assert (one["in_flight"], one["limit"], one["queued"]) == (5, 12, 3)
    assert (two["state"], two["reason"], two["in_flight"], two["limit"], two["workers"]) == (
        "closed",
        "",
        5,
        None,
        {"closed": 2},
    )


async def test_targets_show_the_limits_that_they_named() -> None:
    """As their vendors put them, each with what is left and when it is all there again; one that is used up is called last."""
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-limit-requests": "60", "x-ratelimit-reset-requests": "6m0s"}

    async def limited(seen: Seen, say: Say) -> None:
        await say.whole(completion("Hello"), headers=headers.items())

    async with serving(limited) as first, serving(good) as second:
        providers = {"one": row("openai-chat", first.url), "two": row("openai-chat", second.url)}
        routes = {"house": Route(targets=("one/small", "two/small"), strategy="ordered")}
        async with gateway(configured(providers, routes=routes, **settings())) as running:
            for _ in range(2):
                assert (await running.ask(*asking("openai-chat", "house"))).status == 200
            one, two = (await running.ask("/admin/targets", headers=ADMIN)).json["targets"]
    (limit,) = one["limits"]
    assert (limit["name"], limit["unit"], limit["remaining"], limit["limit"]) == ("requests", "requests", 0.0, 60.0)
    assert 350.0 < limit["seconds"] <= 360.0
    assert (one["remaining"]["requests"], two["limits"]) == (0.0, [])
    assert (len(first.seen), len(second.seen)) == (1, 1)


async def test_what_runs_is_listed_until_it_is_over() -> None:
    """The oldest first: who asked, for what, of which target, and how far it is; a text finds those in whose names it is."""
    answering, waiting = Stage(FIRST, text("Hel"), rest=(END, DONE)), Stage(None, rest=(FIRST, END, DONE))
    async with serving(answering) as first, serving(waiting) as second:
        providers = {"one": row("openai-chat", first.url), "two": row("openai-chat", second.url)}
        limited = {"keys": {"alice": "env:CHAT_KEY"}, "key_settings": {"alice": KeySettings(tpm=1_000_000)}}
        async with gateway(configured(providers, **limited, **settings())) as running:
            for name, stage in (("one", answering), ("two", waiting)):
                caller = await running.caller()
                path, body = asking("openai-chat", f"{name}/small", stream=True)
                caller.ask(path, body, headers={"authorization": "Bearer a-chat-key-of-alice"})
                await until(stage.asked)
                if stage is answering:
                    assert (await caller.head()).status == 200
                    await caller.until(b"Hel")
            page = (await running.ask("/admin/running", headers=ADMIN)).json
            one = (await running.ask("/admin/running?limit=1", headers=ADMIN)).json
            two = (await running.ask("/admin/running?contains=TWO/SM", headers=ADMIN)).json
            none = (await running.ask("/admin/running?contains=three", headers=ADMIN)).json
            answering.go.set()
            waiting.go.set()
            await running.app.recorded(2)
            after = (await running.ask("/admin/running", headers=ADMIN)).json
    names = ("model", "target", "key", "state", "stream")
    assert [tuple(entry[name] for name in names) for entry in page["requests"]] == [
        ("one/small", "one/small", "alice", "answering", True),
        ("two/small", "two/small", "alice", "waiting", True),
    ]
    begun, asked = page["requests"]
    assert 0 <= begun["time_to_first_token_ms"] <= begun["age_ms"]
    assert begun["tokens"] >= 1
    assert (asked["tokens"], asked["time_to_first_token_ms"]) == (None, None)
    assert (one["total"], one["requests"][0]["request_id"]) == (2, begun["request_id"])
    assert [entry["request_id"] for entry in two["requests"]] == [asked["request_id"]]
    assert none["requests"] == []
    assert (after["total"], after["requests"]) == (0, [])


async def test_each_worker_lists_what_runs_at_the_others(tmp_path: Path) -> None:
    """As they left it in the folder they share: with the worker's own, by age, and found by a text in a name."""
    stage = Stage(FIRST, text("Hel"), rest=(END, DONE))
    async with serving(stage) as server:
        base = configured({"house": row("openai-chat", server.url)}, **settings())
        async with gateway(base, shared=tmp_path) as one, gateway(base, shared=tmp_path) as other:
            callers = []
            for running in (other, one):
                stage.asked.clear()
                callers.append(await running.caller())
                callers[-1].ask(*asking("openai-chat", stream=True))
                await until(stage.asked)
                await callers[-1].head()
                await callers[-1].until(b"Hel")
            await other.ask("/metrics", headers=ADMIN)  # it leaves its numbers, as it does each second
            page = (await one.ask("/admin/running", headers=ADMIN)).json
            found = (await one.ask("/admin/running?contains=HOUSE&limit=1", headers=ADMIN)).json
            none = (await one.ask("/admin/running?contains=nobody", headers=ADMIN)).json
            stage.go.set()
            for caller in callers:
                await caller.rest()
            await other.app.recorded()
            await one.app.recorded()
            await other.ask("/metrics", headers=ADMIN)
            after = (await one.ask("/admin/running", headers=ADMIN)).json
            names = [running.records[0].request_id for running in (other, one)]
    assert page["total"] == 2
    assert [entry["request_id"] for entry in page["requests"]] == names
    assert [entry["request_id"] for entry in found["requests"]] == names[:1]
    assert page["requests"][0]["age_ms"] >= page["requests"][1]["age_ms"] > 0
    assert (none["requests"], after) == ([], {"total": 0, "requests": []})


@replaces_compiled
def test_a_page_of_what_runs_reads_no_more_than_it_shows() -> None:
    """With ten thousand requests in progress, as many records are looked at as are listed."""
    read: list[str] = []

    class Watched(Record):
        def __getattribute__(self, name: str) -> Any:
            if name == "start":
                read.append(super().__getattribute__("request_id"))
            return super().__getattribute__(name)

    records = {Watched(f"req_{number}", "gemini", "POST", "/", 0.0): None for number in range(10_000)}
    shown = in_progress.facts(in_progress.running(records, 20), 20, "", 2.0)
    assert [entry["request_id"] for entry in shown] == list(dict.fromkeys(read)) == [f"req_{number}" for number in range(20)]
    assert (shown[0]["state"], shown[0]["age_ms"], shown[0]["target"]) == ("reading", 2000.0, "")


async def test_metrics_are_open_to_operators_and_tell_only_them_what_keys_used() -> None:
    """An admin key with the scope ``read`` opens them, another does not; wrong keys are counted as guesses at ``/admin``."""
    admin = Admin(keys={"ops": "env:ADMIN_KEY", "audit": "env:AUDIT_KEY"}, scopes={"audit": ("audit",)})
    async with serving(good) as server:
        providers = {"house": row("openai-chat", server.url)}
        async with gateway(configured(providers, keys={"alice": "env:CHAT_KEY"}, admin=admin)) as running:
            alice = {"authorization": "Bearer a-chat-key-of-alice"}
            assert (await running.ask(*asking("openai-chat"), headers=alice)).status == 200
            await running.app.recorded()
            seen = {name: await running.ask("/metrics", headers={"authorization": f"Bearer {name}"}) for name in METRICS}
            for _ in range(GUESSES):
                await running.ask("/metrics", headers={"authorization": "Bearer wrong-key"})
            locked = await running.ask("/admin/targets", headers={"authorization": "Bearer wrong-key"})
    assert {name: answer.status for name, answer in seen.items()} == METRICS
    assert b"polychat_key_requests_total" in seen[KEY].body
    assert b"polychat_key_requests_total" not in seen["a-chat-key-of-alice"].body
    assert locked.status == 429


def test_what_is_kept_keeps_no_traceback() -> None:
    """An error that was raised refers to all that the request held."""
    record = Record("req_1", "openai-chat", "POST", "/v1/chat/completions", 0.0)
    try:
        raise Resting("not yet", retry_after=1.0)
    except Resting as error:
        record.resting = [(None, error)]  # type: ignore[list-item]  # whose it is does not matter here
    RecentRequests(1)(record)
    assert record.resting[0][1].__traceback__ is None


def test_a_reload_opens_and_closes_the_paths() -> None:
    """Requests that came before are kept while a key opens them, and go with the last."""
    app = Gateway(configured({}, **settings(requests=7)))
    recent = app.recent
    assert recent is not None
    app.reload(configured({}, **settings(requests=3)))
    assert app.recent is recent
    assert app.in_progress == {}
    app.reload(configured({}))
    assert (app.recent, app.in_progress) == (None, None)

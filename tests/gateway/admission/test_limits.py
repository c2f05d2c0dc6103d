"""Limits and budgets at the gateway: every dialect counts, a refusal names its bucket, and each end settles what it used."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from polychat.config.settings import Allowance, Budget, KeySettings, Price, Route, TokenBudget
from polychat.gateway.admission import accounts
from polychat.gateway.app import Gateway
from polychat.gateway.paths import DIALECTS
from polychat.state.ledger import Bucket
from polychat.state.store import UsageLimit
from polychat.state.windows import KINDS as WINDOWS

from ...support.fast_chats import noted_fast_chats
from ...support.hedging import begins_at_once
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
    event,
    fault,
    gateway,
    row,
    text,
    until,
)
from ...support.scripted_server import Say, Seen

NOON = 1_800_014_400.0
"""2027-01-15T12:00:00Z."""
USED = {"prompt_tokens": 3000, "completion_tokens": 3000, "total_tokens": 6000}
USAGE = event({"id": "c", "model": "small-1", "choices": [], "usage": USED})
PRICES = {"house/small": Price(prompt=1000.0, completion=1000.0)}
"""A tenth of a cent per token."""
LONGER = WINDOWS[1:]
LIMITS: dict[str, KeySettings] = {
    "requests-minute": KeySettings(rpm=1),
    "tokens-minute": KeySettings(tpm=5000),
    **{f"tokens-{window}": KeySettings(tokens=TokenBudget(**{window: 5000})) for window in LONGER},
    **{f"dollars-{window}": KeySettings(budget=Budget(**{window: 5.0})) for window in LONGER},
}
"""A key for each kind of limit, which one request fits in and uses up."""


async def backend(seen: Seen, say: Say) -> None:
    """Answers everything that is asked of a model, and counts 6,000 tokens for it."""
    if seen.path.endswith("/embeddings"):
        vector = [{"index": 0, "embedding": [0.5]}]
        await say.whole({"data": vector, "model": "small", "usage": {"prompt_tokens": 6000, "total_tokens": 6000}})
    elif seen.json.get("stream"):
        await say.stream([FIRST, text("Hello"), END, USAGE, DONE])
    else:
        await say.whole(completion("Hello", usage=USED))


@asynccontextmanager
async def limited(
    monkeypatch: pytest.MonkeyPatch, url: str, keys: Mapping[str, KeySettings], **more: Any
) -> AsyncGenerator[Running]:
    """A gateway at noon, whose keys have these limits. A key's text ends with its name."""
    for name in keys:
        monkeypatch.setenv(f"KEY_{name}", f"the-key-of-{name}")
    routes = more.pop("routes", {})
    settings = configured(
        {"house": row("openai-chat", url)},
        routes=routes,
        keys={name: f"env:KEY_{name}" for name in keys},
        key_settings=dict(keys),
        **more,
    )
    async with gateway(replace(settings, prices=PRICES)) as here:
        assert here.app.accounting is not None
        here.app.accounting.clock = lambda: NOON
        yield here


def carrying(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer the-key-of-{key}"}


def bucket(app: Gateway, key: str) -> Bucket:
    """The first that a key counts in."""
    assert app.accounting is not None
    account = app.accounting.account(key)
    assert account is not None
    return account.buckets[0]


def check_refusal(answer: Answer, kind: str, dialect: str) -> None:
    """It names whose limit of what it is, and when that resets, in the dialect's own form of an error."""
    metric, window = kind.split("-")
    assert answer.status == 429, (kind, answer.body)
    error = answer.json["error"]
    message = error if isinstance(error, str) else error["message"]
    amount = {"requests": "1 request", "tokens": "5,000 tokens", "dollars": "$5.00"}[metric]
    assert f"of key {kind} ({amount} per {window}) is reached" in message, (dialect, message)
    ends = {"minute": "2027-01-15T12:01:00Z", "hour": "2027-01-15T13:00:00Z", "day": "2027-01-16T00:00:00Z"}
    assert f"it resets at {ends.get(window, '2027-02-01T00:00:00Z')}" in message
    seconds = {"minute": 60, "hour": 3600, "day": 12 * 3600, "month": 16 * 86400 + 12 * 3600}[window]
    assert answer.headers["retry-after"] == str(seconds)
    unit = "microdollars" if metric == "dollars" else metric
    assert answer.headers["ratelimit"] == f'"key-{unit}-{window}";r=0;t={seconds}'
    if window == "minute":
        assert answer.headers[f"x-ratelimit-remaining-{metric}"] == "0"
        assert answer.headers[f"x-ratelimit-reset-{metric}"] == "60s"
    else:
        assert answer.headers["x-should-retry"] == "false"


EMBEDDINGS = {
    "openai-chat": ("/v1/embeddings", {"input": "hi", "model": "house/small"}),
    "gemini": ("/v1beta/models/house/small:embedContent", {"content": {"parts": [{"text": "hi"}]}}),
    "ollama": ("/api/embed", {"input": "hi", "model": "house/small"}),
}
"""Of each dialect that has them."""
COUNTS = {
    "anthropic": ("/v1/messages/count_tokens", asking("anthropic")[1]),
    "gemini": ("/v1beta/models/house/small:countTokens", asking("gemini")[1]),
    "openai-responses": ("/v1/responses/input_tokens", asking("openai-responses")[1]),
}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_every_limit_holds_in_every_dialect(serve: Any, monkeypatch: pytest.MonkeyPatch, dialect: str) -> None:
    """The first request of each key is answered, whole, streamed or embedded, and uses up the limit: the second is refused
    and reaches no backend. To count tokens uses a request and no tokens, and is refused like any other."""
    upstream = await serve(backend)
    async with limited(monkeypatch, upstream.url, LIMITS) as here:
        for kind in LIMITS:
            requests = [asking(dialect), asking(dialect, stream=True), *filter(None, [EMBEDDINGS.get(dialect)])]
            for path, body in requests:
                used = bucket(here.app, kind)
                used.used = 0
                first = await here.ask(path, body, headers=carrying(kind))
                await here.app.recorded(len(upstream.seen))
                assert first.status == 200, (kind, path, first.body)
                assert f'"key-{kind.replace("dollars", "microdollars")}"' in first.headers["ratelimit-policy"]
                assert used.used == {"requests": 1, "tokens": 6000, "dollars": 6_000_000_000}[kind.split("-")[0]], path
                before = len(upstream.seen)
                check_refusal(await here.ask(path, body, headers=carrying(kind)), kind, dialect)
                assert (len(upstream.seen), used.reserved) == (before, 0)
                here.app.records.pop()
            if dialect in COUNTS:
                path, body = COUNTS[dialect]
                refused = await here.ask(path, body, headers=carrying(kind))
                assert refused.status == (429 if kind == "requests-minute" else 200), kind
                here.app.records.pop()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_concurrent_requests(serve: Any, monkeypatch: pytest.MonkeyPatch, dialect: str) -> None:
    """While one request of a key runs, the second is refused, with ``retry-after`` of a second; another key's is answered,
    and the key's own next one once the first is over."""
    stage = Stage(None, then=backend)
    upstream = await serve(stage)
    path, body = asking(dialect)
    keys = {"one": KeySettings(concurrent=1), "other": KeySettings(concurrent=1)}
    async with limited(monkeypatch, upstream.url, keys) as here:
        first = asyncio.create_task(here.ask(path, body, headers=carrying("one")))
        await until(stage.asked)
        refused = await here.ask(path, body, headers=carrying("one"))
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert b"the limit of key one (1 concurrent request) is reached" in refused.body
        stage.go.set()
        answers = [await first, *[await here.ask(path, body, headers=carrying(name)) for name in ("other", "one")]]
        assert [answer.status for answer in answers] == [200, 200, 200]


async def test_limits_need_no_task(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual chat of a limited key is answered without a task, counted the same and refused the same."""
    started = noted_fast_chats(monkeypatch, opening=True)
    upstream = await serve(backend)
    async with limited(monkeypatch, upstream.url, {"key": KeySettings(rpm=3, tpm=12_000)}) as here:
        caller = await here.caller()
        path, body = asking("openai-chat")
        statuses, left = [], []
        for _ in range(4):
            caller.ask(path, body, headers=carrying("key"))
            response = await caller.whole()
            statuses.append(response.status)
            left.append(tuple(response.headers[f"x-ratelimit-remaining-{metric}"] for metric in ("requests", "tokens")))
        assert statuses == [200, 200, 429, 429]
        assert left == [("2", "6000"), ("1", "0"), ("1", "0"), ("1", "0")]
        assert len(started) == 2


TOKENS = {"key": KeySettings(tokens=TokenBudget(day=50_000))}


async def test_a_cancelled_stream_is_settled_by_what_was_read(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client leaves amid a stream: its estimated prompt counts, and a token for each event that was read."""
    stage = Stage(FIRST, *[text(f"word{number}") for number in range(7)])
    upstream = await serve(stage)
    path, body = asking("openai-chat", stream=True)
    async with limited(monkeypatch, upstream.url, TOKENS) as here:
        caller = await here.caller()
        caller.ask(path, body, headers=carrying("key"))
        await caller.head()
        await caller.until(b"word6")
        day = bucket(here.app, "key")
        assert (day.used, day.reserved > 4096) == (0, True)
        caller.leave()
        record = (await here.app.recorded())[-1]
        assert record.verdict == "cancelled"
        assert (day.used, day.reserved) == (len(json.dumps(body)) // 4 + 1 + 8, 0)


@pytest.mark.parametrize(("reply", "used"), [(fault(500), 0), (fault(401), 0), (backend, 6000)])
async def test_failures_give_back(serve: Any, monkeypatch: pytest.MonkeyPatch, reply: Any, used: int) -> None:
    """A request that no backend answers uses nothing; one that a second target answers uses what that one counts."""
    first, second = await serve(fault(503)), await serve(reply)
    providers = {"house": row("openai-chat", first.url), "spare": row("openai-chat", second.url)}
    monkeypatch.setenv("KEY_key", "the-key-of-key")
    settings = configured(
        providers, routes={"both": ("house/small", "spare/small")}, keys={"key": "env:KEY_key"}, key_settings=TOKENS
    )
    async with gateway(settings) as here:
        path, body = asking("openai-chat", "both")
        answer = await here.ask(path, body, headers=carrying("key"))
        await here.app.recorded()
        day = bucket(here.app, "key")
        assert (answer.status == 200, bool(first.seen), bool(second.seen)) == (used > 0, True, True)
        assert (day.used, day.reserved) == (used, 0)


async def test_a_failure_after_a_heartbeat_uses_nothing(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the stream has begun, and reports the failure."""
    stage = Stage(None, then=fault(500))
    upstream = await serve(stage)
    async with limited(monkeypatch, upstream.url, TOKENS, heartbeat=0.01) as here:
        caller = await here.caller()
        caller.ask(*asking("openai-chat", stream=True), headers=carrying("key"))
        await caller.head()
        await caller.until(b":")
        stage.go.set()
        assert b"error" in await caller.rest()
        await here.app.recorded()
        day = bucket(here.app, "key")
        assert (day.used, day.reserved) == (0, 0)


async def test_a_reply_that_cannot_be_read_was_paid_for(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its vendor bills it, so its estimated prompt counts; an error page of the same backend costs nothing."""
    replies = [{"id": "c", "choices": [{"index": 0, "message": "wrong"}]}]

    async def broken(seen: Seen, say: Say) -> None:
        await say.whole(replies.pop() if replies else b"<html>gone</html>")

    upstream = await serve(broken)
    path, body = asking("anthropic")
    async with limited(monkeypatch, upstream.url, TOKENS) as here:
        used = []
        for number in (1, 2):
            assert (await here.ask(path, body, headers=carrying("key"))).status == 502
            await here.app.recorded(number)
            used.append(bucket(here.app, "key").used)
    assert used == [len(json.dumps(body)) // 4 + 1] * 2


async def test_a_hedged_stream_counts_both_prompts(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two targets are asked and one reply is delivered: its count is settled, and the same prompt for the other."""
    first, second = await serve(Stage(None)), await serve(backend)
    providers = {"house": row("openai-chat", first.url), "spare": row("openai-chat", second.url)}
    both = Route(targets=("house/small", "spare/small"), strategy="ordered", hedge=True)
    monkeypatch.setenv("KEY_key", "the-key-of-key")
    settings = configured(providers, routes={"both": both}, keys={"key": "env:KEY_key"}, key_settings=TOKENS)
    async with gateway(settings) as here:
        begins_at_once(here.app.runtime.router, "both", "house/small")
        path, body = asking("openai-chat", "both", stream=True)
        answer = await here.ask(path, body, headers=carrying("key"))
        await here.app.recorded()
        day = bucket(here.app, "key")
        assert (answer.status, day.used, day.reserved) == (200, 6000 + 3000, 0)


async def test_a_request_that_cannot_fit_is_advised_to_ask_for_less(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smaller of ``max_tokens`` and what the models can is reserved for each reply: a smaller one fits."""
    upstream = await serve(backend)
    async with limited(monkeypatch, upstream.url, {"key": KeySettings(tpm=1000)}) as here:
        path, body = asking("openai-chat")
        for large in ({}, {"max_tokens": 2000}, {"max_completion_tokens": 500, "n": 2}):
            refused = await here.ask(path, {**body, **large}, headers=carrying("key"))
            assert (refused.status, refused.headers["x-should-retry"]) == (429, "false")
            assert b"set a smaller maximum number of tokens" in refused.body, large
        assert upstream.seen == []
        assert (await here.ask(path, {**body, "max_tokens": 900}, headers=carrying("key"))).status == 200


async def test_end_users_have_buckets_of_their_own(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of one key that name different end users do not use up each other's share; without a name none is used."""
    upstream = await serve(backend)
    async with limited(monkeypatch, upstream.url, {"key": KeySettings(per_user=Allowance(rpm=1))}) as here:
        path, body = asking("openai-chat")
        users = ["u1", "u2", "u1", None, None]
        answers = [await here.ask(path, body | ({"user": user} if user else {}), headers=carrying("key")) for user in users]
        assert [answer.status for answer in answers] == [200, 200, 429, 200, 200]
        assert b"the limit of user u1 (1 request per minute)" in answers[2].body


async def test_made_up_end_users_make_no_limit_forgotten(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where more end users are named than are counted at a time, the rest share one limit, and nobody's is forgotten before its
    window ends. A name of any length is one user's."""
    monkeypatch.setattr(accounts, "_USERS", 2)
    upstream = await serve(backend)
    async with limited(monkeypatch, upstream.url, {"key": KeySettings(per_user=Allowance(rpm=1))}) as here:
        path, body = asking("openai-chat")

        async def statuses(*users: str) -> list[int]:
            return [(await here.ask(path, {**body, "user": user}, headers=carrying("key"))).status for user in users]

        long = "u" * 5000
        assert await statuses("u1", long + "1", "u3", "u4", "u1", long + "1") == [200, 200, 200, 429, 429, 429]
        assert here.app.accounting is not None
        here.app.accounting.clock = lambda: NOON + 60
        assert await statuses(long + "2", long + "1", "u1", "u1") == [200, 200, 200, 429]


def test_buckets_that_are_in_the_store_are_kept_while_they_are_used() -> None:
    """A gateway with any number of keys keeps no bucket of one that it does not serve at the moment."""
    limits = [UsageLimit(metric="requests", window="day", cap=1)]
    registry = accounts.Buckets(shared=True)
    first, again = registry.of("key", "a", limits), registry.of("key", "a", limits)
    assert first[0] is again[0]
    del first, again
    assert not registry._kept


async def test_a_warning_comes_before_the_refusal(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the share that ``warn_at`` says, answers carry a warning that names the bucket and what is used of it."""
    upstream = await serve(backend)
    async with limited(monkeypatch, upstream.url, {"key": KeySettings(rpm=4, warn_at=0.5)}) as here:
        answers = [await here.ask(*asking("openai-chat"), headers=carrying("key")) for _ in range(5)]
    warned = [answer.headers.get("x-polychat-limit-warning") for answer in answers]
    assert warned[:2] == [None, "the limit of key key (4 requests per minute): 2 requests used"]
    assert [answer.status for answer in answers] == [200] * 4 + [429]


async def test_what_a_key_may_ask_for(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes and targets by name or pattern, and dialects: another one is 403, names the choice, and reaches no backend."""
    upstream = await serve(backend)
    keys = {
        "routes": KeySettings(models=("team",)),
        "targets": KeySettings(models=("house/*",)),
        "none": KeySettings(models=("openai/*",)),
        "claude": KeySettings(dialects=("anthropic",)),
    }
    async with limited(monkeypatch, upstream.url, keys, routes={"team": ("house/small",)}) as here:
        expected = {
            ("routes", "team"): 200,
            ("routes", "house/small"): 403,
            ("targets", "team"): 200,
            ("targets", "house/small"): 200,
            ("none", "team"): 403,
            ("claude", "team"): 403,
        }
        for (key, model), status in expected.items():
            answer = await here.ask(*asking("openai-chat", model), headers=carrying(key))
            assert answer.status == status, (key, model, answer.body)
            if status == 403:
                assert (keys[key].models + keys[key].dialects)[0] in answer.json["error"]["message"]
        assert (await here.ask(*asking("anthropic", "team"), headers=carrying("claude"))).status == 200
        assert len(upstream.seen) == 4


@pytest.mark.parametrize(("unpriced", "status", "used"), [("refuse", 403, 0), ("allow", 200, 0), (500.0, 200, 3_000_000_000)])
async def test_models_without_a_price(
    serve: Any, monkeypatch: pytest.MonkeyPatch, unpriced: Any, status: int, used: int
) -> None:
    """A budget in dollars refuses them, allows them, or counts the price that was chosen."""
    upstream = await serve(backend)
    keys = {"key": KeySettings(budget=Budget(day=5.0), unpriced=unpriced)}
    async with limited(monkeypatch, upstream.url, keys) as here:
        path, body = asking("openai-chat", "house/nameless")
        answer = await here.ask(path, body, headers=carrying("key"))
        await here.app.recorded()
        assert (answer.status, bucket(here.app, "key").used) == (status, used)
        assert status == 200 or "[prices]" in answer.json["error"]["message"]


async def test_a_reload_keeps_what_was_used(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new configuration changes limits at once, and what was used of them stays used."""
    upstream = await serve(backend)
    async with limited(monkeypatch, upstream.url, {"key": KeySettings(rpm=2)}) as here:
        ask = lambda: here.ask(*asking("openai-chat"), headers=carrying("key"))  # noqa: E731
        assert (await ask()).status == 200
        settings = here.app.runtime.configured
        fewer = settings.gateway.replace(key_settings={"key": KeySettings(rpm=1)})
        here.app.reload(replace(settings, gateway=fewer))
        assert (await ask()).status == 429
        here.app.reload(replace(settings, gateway=settings.gateway.replace(key_settings={})))
        assert (await ask()).status == 200


async def test_the_sites_refuse_a_limited_key(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sites' endpoints answer is not counted, so a key with limits is no way around them there."""
    upstream = await serve(backend)
    async with limited(monkeypatch, upstream.url, {"key": KeySettings(rpm=1)}, sites="house/small") as here:
        refused = await here.ask("/sites/aichat/", headers={"x-api-key": "the-key-of-key"})
    assert (refused.status, b"has limits" in refused.body) == (403, True)


async def test_a_gateway_without_limits_has_nothing_to_ask() -> None:
    """Neither a guard nor an observer more than before."""
    plain = Gateway(configured({}, key_settings={}))
    assert plain.accounting is None
    assert plain._guards_now().model == ()

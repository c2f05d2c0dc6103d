"""Soft limits warn before limits refuse: by a header, a line in the log, the webhook and a count, once in each period."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from polychat.config.settings import Budget, KeySettings, Price, Webhook
from polychat.gateway.admission.soft_limits import LimitWarning, SoftLimits
from polychat.gateway.limit_reports import LimitReports
from polychat.gateway.observe.prometheus import View
from polychat.state.ledger import NANO, Bucket, BucketName
from polychat.state.memory import MemoryStore
from polychat.state.store import StoreUnavailable, TextPlace

from ...support.running_gateway import DONE, END, FIRST, asking, completion, configured, event, gateway, row
from ...support.scripted_server import Say, Seen

NOON = 1_800_014_400.0
PRICES = {"house/small": Price(prompt=1000.0, completion=1000.0)}
USED = {"prompt_tokens": 1000, "completion_tokens": 1000, "total_tokens": 2000}


async def backend(seen: Seen, say: Say) -> None:
    """Each reply costs two dollars, at a tenth of a cent per token."""
    if seen.json.get("stream"):
        await say.stream([FIRST, END, event({"id": "c", "model": "small-1", "choices": [], "usage": USED}), DONE])
    else:
        await say.whole(completion("Hello", usage=USED))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_budget_warns_before_it_refuses(serve: Any, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    """Of five dollars a day, the second request of two passes the soft limit of four: there is one line in the log and one
    event for the webhook, which say whose budget it is and when it resets, and later requests make no other. The third is
    refused; the next day warns anew. Neither has a key or a text in it."""
    monkeypatch.setenv("KEY", "the-key-of-ada")
    monkeypatch.setenv("HOOK_SECRET", "a-secret-of-the-operator-s-own")
    upstream, receiver = await serve(backend), await serve(lambda seen, say: say.whole({}))
    settings = configured(
        {"house": row("openai-chat", upstream.url)},
        keys={"ada": "env:KEY"},
        key_settings={"ada": KeySettings(budget=Budget(day=5.0))},
        webhook=Webhook(url=receiver.url, secret="env:HOOK_SECRET"),
    )
    path, body = asking("openai-chat", stream=stream)
    body |= {"max_tokens": 1000}
    logged: list[dict[str, Any]] = []
    async with gateway(replace(settings, prices=PRICES)) as here:
        now = [NOON]
        assert here.app.accounting is not None
        assert here.app._reports is not None
        here.app.accounting.clock = lambda: now[0]
        monkeypatch.setattr(here.app._reports, "_log", lambda message, **facts: logged.append({"message": message, **facts}))

        statuses = []
        for number in range(1, 7):
            now[0] = NOON if number < 5 else NOON + 86_400
            statuses.append((await here.ask(path, body, headers={"authorization": "Bearer the-key-of-ada"})).status)
            await here.app.recorded(number)
        assert statuses == [200, 200, 429, 429, 200, 200]
        await here.app._reports.close(10.0)
        counts = View(*here.app.metrics.snapshots()).rendered("")[0].decode()
    data = [seen.json["data"] for seen in receiver.seen]
    days = ["2027-01-16T00:00:00Z", "2027-01-17T00:00:00Z"]
    assert data == [
        {
            **{"level": "key", "owner": "ada", "metric": "dollars", "window": "day"},
            **{"used": 4.0, "warn_at": 4.0, "limit": 5.0, "resets_at": day},
        }
        for day in days
    ]
    assert logged == [{"message": "a soft limit is passed", **facts} for facts in data]
    assert "polychat_limit_warnings_total 2.0" in counts
    assert 'polychat_webhook_events_total{outcome="sent"} 2.0' in counts
    assert "the-key-of-ada" not in json.dumps([seen.body.decode() for seen in receiver.seen])


def bucket(metric: Any, window: Any, *, hard: int = 10, owner: str = "ada", level: str = "key") -> Bucket:
    return Bucket(BucketName(level, owner, metric, window), hard, hard - 2)


def test_limits_of_a_minute_warn_once_an_hour() -> None:
    """A limit per minute and one of concurrent requests that are passed all the time warn once an hour, and again in the
    next."""
    warnings: list[LimitWarning] = []
    now = [NOON]
    limits = SoftLimits(lambda: now[0])
    limits.report = warnings.append
    buckets = [bucket("requests", "minute"), bucket("concurrent", None)]
    for minute in range(70):
        now[0] = NOON + 60 * minute
        for one in buckets:
            one.roll(now[0])
            one.reserved = 9
        limits.look_at(buckets)
    assert [(warning.bucket.metric, warning.used) for warning in warnings] == [("requests", 9), ("concurrent", 9)] * 2
    assert [warning.resets_at for warning in warnings[:2]] == [NOON + 60, None]


def test_a_limit_that_refuses_has_warned() -> None:
    """What other processes hold of a limit is no reason for a warning until a request is refused for it: then there is one, at
    the latest. A refusal of a large request while little is used makes none."""
    warnings: list[LimitWarning] = []
    limits = SoftLimits(lambda: NOON)
    limits.report = warnings.append
    for elsewhere, used in ((5, 3), (1, 1)):
        one = bucket("requests", "day", owner=f"with {elsewhere}")
        one.roll(NOON)
        one.elsewhere, one.used = elsewhere, used
        limits.look_at([one])
        assert warnings[1:] == []
        limits.look_at([one], one)
        limits.look_at([one], one)
    assert [(warning.bucket.owner, warning.used) for warning in warnings] == [("with 5", 8)]


def test_an_end_user_is_named_beside_the_key() -> None:
    """Of a limit for each end user the event has the key and the user."""
    one = bucket("dollars", "day", hard=5 * NANO, owner="ada/user 7", level="user")
    one.used = 4 * NANO
    facts = LimitWarning.of(one, one.window).facts()
    assert (facts["owner"], facts["user"], facts["used"], facts["limit"]) == ("ada", "user 7", 4.0, 5.0)


class Claims(MemoryStore):
    away = False

    def claim_text(self, place: TextPlace, data: bytes, until: float, now: float) -> bytes | None:
        if self.away:
            raise StoreUnavailable("the database cannot be used")
        return super().claim_text(place, data, until, now)


async def test_one_gateway_of_several_reports() -> None:
    """Of two that share a database, the first reports a limit, and the next period the first again; while the database is
    away both do, so that nothing is missed."""
    store, logged = Claims(), []

    class Silent:
        def add(self, *event: Any) -> None: ...
        async def close(self, seconds: float) -> None: ...

    def reports(name: str) -> LimitReports:
        return LimitReports(store, lambda message, **facts: logged.append(name), Silent(), lambda: None, lambda: NOON)  # type: ignore[arg-type]

    gateways = [reports("one"), reports("two")]
    for away, day in ((False, 0), (False, 1), (True, 2)):
        store.away = away
        one = bucket("requests", "day")
        one.roll(NOON + day * 86_400)
        for each in gateways:
            each.add(LimitWarning.of(one, one.window))
            await each.close(10.0)
    assert logged == ["one", "one", "one", "two"]

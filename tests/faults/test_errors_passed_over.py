"""Kind of fault: a target is passed over before it is asked, and neither the log nor the error says so, or why."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from polychat.config.settings import Route
from polychat.gateway.observe.logs import Log
from polychat.gateway.observe.record import Record
from polychat.gateway.paths import DIALECTS
from polychat.routing import choice, order

from ..support.running_gateway import Answer, Running, asking, completion, configured, fault, gateway, good, row
from ..support.scripted_server import Say, Seen

Handler = Callable[[Seen, Say], Awaitable[None]]


async def with_a_list(seen: Seen, say: Say) -> None:
    """Its model takes next to nothing."""
    if seen.path.endswith("/models"):
        await say.whole({"data": [{"id": "small", "context_length": 1}]})
    else:
        await good(seen, say)


async def at_its_limit(seen: Seen, say: Say) -> None:
    left = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "60s")]
    await say.whole(completion("Hello"), headers=left)


class Case:
    """Why ``house/small`` is passed over: what it does, and what leads to it."""

    def __init__(
        self, reason: str, house: Handler = good, *, before: str = "", target: str = "house/small", **settings: Any
    ) -> None:
        self.reason, self.house, self.before, self.target = reason, house, before, target
        self.on_loss = settings.pop("on_loss", "drop")
        self.fields = settings.pop("fields", {})
        self.settings = settings


CASES = {
    "a condition": Case(f"{order.UNMET} tools", conditions=("tools", "")),
    "a loss": Case("logit_bias", on_loss="refuse", fields={"logit_bias": {"50256": -100}}),
    "a small context": Case("its context is 1 tokens", with_a_list, before="list"),
    "its own limit": Case(order.LIMITED, at_its_limit, before="ask"),
    "its own word": Case(order.RESTING, fault(429, "rate_limit_error", retry_after="60"), before="ask"),
    "failures": Case(order.OPEN, fault(403, "permission_error"), before="ask"),
    "no list": Case(choice.UNLISTED, with_a_list, target="small-talk"),
}


def lines_of(record: Record) -> tuple[dict[str, Any], str]:
    """The log's line of a request: as JSON, and for people."""
    made = []
    for form in ("json", "human"):
        written: list[bytes] = []
        log = Log(form, 1.0, written.append)  # type: ignore[arg-type]  # each is a form
        log(record)
        log.close()
        made.append(b"".join(written).decode())
    return json.loads(made[0]), made[1]


async def answer_and_record(serve: Any, case: Case, dialect: str, other: Handler) -> tuple[Answer, Record]:
    """What a client of this dialect is answered while ``house/small`` is passed over, and the record."""
    first, second = await serve(case.house), await serve(other)
    rows = {
        "house": row("anthropic" if case.on_loss == "refuse" else "openai-chat", first.url, serves=[]),
        "other": row("openai-chat", second.url),
    }
    rules = Route((case.target, "other/small"), strategy="ordered", attempts=1, **case.settings)
    async with gateway(configured(rows, routes={"fast": rules}, on_loss=case.on_loss)) as here:
        await prepared(here, case)
        before = len(here.records)
        first.seen.clear()
        path, body = asking(dialect, "fast")
        answer = await here.ask(path, {**body, **case.fields})
        record = (await here.app.recorded(before + 1))[-1]
        assert all(seen.method == "GET" for seen in first.seen)
    return answer, record


async def prepared(here: Running, case: Case) -> None:
    if case.before == "list":
        await here.ask("/v1/models", None)
    elif case.before == "ask":
        await here.ask(*asking("openai-chat", "fast"))
    await here.app.recorded(int(bool(case.before)))


@pytest.mark.parametrize("why", CASES)
async def test_the_log_names_who_was_passed_over(serve: Any, why: str) -> None:
    """Though another target answered: each with the reason, in both forms of the log."""
    case = CASES[why]
    answer, record = await answer_and_record(serve, case, "openai-chat", good)
    assert answer.status == 200
    assert case.reason in answer.headers["x-polychat-passed-over"]
    line, text = lines_of(record)
    ((target, _, reason),) = (entry.partition(": ") for entry in line["passed_over"])
    assert target == case.target
    assert case.reason in reason
    assert f"passed over {target}: " in text
    assert case.reason in text


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_answer_names_who_was_passed_over(serve: Any, dialect: str, stream: bool) -> None:
    """In ``x-polychat-passed-over``, with the reason, in every dialect; an answer for which nobody was has no such header."""
    first, second = await serve(good), await serve(good)
    rows = {"house": row("openai-chat", first.url, serves=[]), "other": row("openai-chat", second.url)}
    rules = Route(("house/small", "other/small"), strategy="ordered", conditions=("tools", ""))
    async with gateway(configured(rows, routes={"fast": rules})) as here:
        answer = await here.ask(*asking(dialect, "fast", stream=stream))
        plain = await here.ask(*asking(dialect, "other/small", stream=stream))
    assert (answer.status, answer.headers["x-polychat-provider"]) == (200, "other")
    target, _, reason = answer.headers["x-polychat-passed-over"].partition(": ")
    assert target == "house/small"
    assert f"{order.UNMET} tools" in reason
    assert "x-polychat-passed-over" not in plain.headers


@pytest.mark.parametrize(
    ("why", "dialect"),
    [(why, dialect) for why, case in CASES.items() for dialect in DIALECTS if dialect == "openai-chat" or not case.fields],
)
async def test_the_error_names_who_was_passed_over(serve: Any, why: str, dialect: str) -> None:
    """Where all who were asked failed: in every dialect, and in the log."""
    case = CASES[why]
    answer, record = await answer_and_record(serve, case, dialect, fault(500, "server_error", "the disk is full"))
    body = json.dumps(answer.json)
    for text in (body, *map(str, lines_of(record))):
        for part in ("other/small", "the disk is full", case.target, case.reason):
            assert part in text, (part, text)
    assert answer.status == 502


async def test_a_mistake_of_the_request_is_reported_alone(serve: Any) -> None:
    """The client has to fix it; the skipped targets are in the log."""
    case = CASES["a condition"]
    answer, record = await answer_and_record(
        serve, case, "openai-chat", fault(400, "invalid_request_error", "seed must be a number")
    )
    assert answer.status == 400
    assert "house/small" not in answer.body.decode()
    assert lines_of(record)[0]["passed_over"][0].startswith("house/small: ")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_who_is_not_set_up_is_no_loss(serve: Any, dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails in its turn, so that the operator hears of it, and no client learns the variable that is missing."""
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    other = await serve(good)
    rows = {"house": row("anthropic", other.url, api_key="env:NO_SUCH_KEY"), "other": row("openai-chat", other.url)}
    routes = {"fast": Route(("house/small", "other/small"), strategy="ordered")}
    async with gateway(configured(rows, routes=routes, on_loss="refuse")) as here:
        answer = await here.ask(*asking(dialect, "fast"))
        (record,) = await here.app.recorded()
    assert answer.status == 200
    assert [failure.outcome for failure in record.failures] == ["not_set_up"]
    assert "NO_SUCH_KEY" in record.failures[0].reason


async def test_a_request_that_nobody_takes(serve: Any) -> None:
    """Where the conditions leave nobody, the client's 400 says which ones."""
    backend = await serve(good)
    rules = Route(("house/small",), conditions=("tools",))
    async with gateway(configured({"house": row("openai-chat", backend.url)}, routes={"fast": rules})) as here:
        answer = await here.ask(*asking("openai-chat", "fast"))
    assert answer.status == 400
    assert f"house/small: {order.UNMET} tools" in answer.body.decode()

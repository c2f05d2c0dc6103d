"""Usual requests of which no record is made: the log and the metrics say the same of them as of their records."""

from __future__ import annotations

import gc
import json
import weakref
from dataclasses import replace
from typing import Any

import pytest

from polychat.config.settings import Price
from polychat.events import Finish, Start, Text, Usage
from polychat.gateway.observe.logs import Log
from polychat.gateway.observe.metrics import Metrics
from polychat.gateway.observe.prometheus import View
from polychat.gateway.observe.record import Record, RecordKind, UsualRequest
from polychat.gateway.observe.usual_requests import UsualRequests

from ...support.running_gateway import asking, completion, configured, gateway, row
from ...support.scripted_server import Say, Seen
from ...support.scripted_vendors import ScriptedVendor

NOON = 1_795_262_400.25
USAGES = [Usage(12, 34, 46), Usage(12, 34, cached_tokens=5), Usage(None, 3), Usage(), None]


class Written:
    """What a log wrote."""

    def __init__(self) -> None:
        self.data = b""

    def __call__(self, lines: bytes) -> None:
        self.data += lines

    @property
    def lines(self) -> list[str]:
        return self.data.decode().splitlines()


def raised(error: Exception) -> None:
    """What becomes of a taker's failure where there is to be none."""
    raise error


def kind_of(**facts: Any) -> RecordKind:
    """Requests with these facts."""
    common = Record("", "openai-chat", "POST", "/v1/chat/completions", 0.0)
    usual: dict[str, Any] = {
        "key": "alice",
        "model": "quick",
        "provider": "house",
        "served": "small",
        "answered": "house/small",
    }
    usual |= {"status": 200, "verdict": "complete", "reason": "stop", "attempts": 1, "passthrough": True}
    for name, value in {**usual, **facts}.items():
        setattr(common, name, value)
    return RecordKind(common)


def some(kind: RecordKind) -> list[UsualRequest]:
    """Requests of a kind, with each form of counts, with a cost and without one."""
    costs = (None, 0.125)
    requests = [(usage, cost) for usage in USAGES for cost in costs]
    return [
        (kind, f"req_{number}", 100.0, 100.0625, 100.125, 100.5 + number, usage, cost)
        for number, (usage, cost) in enumerate(requests)
    ]


def without_times(lines: list[str], form: str) -> list[Any]:
    if form == "human":
        return [line[len("2026-11-21T12:00:00.250Z") :] for line in lines]
    return [{**json.loads(line), "time": ""} for line in lines]


@pytest.mark.parametrize("form", ["human", "json"])
@pytest.mark.parametrize("coloured", [False, True])
@pytest.mark.parametrize("facts", [{}, {"stream": True}, {"passthrough": False}, {"reason": "length", "key": ""}])
def test_the_log_has_the_same_lines(form: Any, facts: dict[str, Any], *, coloured: bool) -> None:
    """Whether there is a record of a request or not."""
    kind = kind_of(**facts)
    by_records, by_requests = Written(), Written()
    recorded, usual = (Log(form, 1.0, to, clock=lambda: NOON, coloured=coloured) for to in (by_records, by_requests))
    for request in some(kind):
        recorded(kind.record(request))
    usual.take(some(kind))
    for log in (recorded, usual):
        log.close(10)
    start = len("\x1b[2m") if coloured and form == "human" else 0
    both = [[line[start:] for line in written.lines] for written in (by_records, by_requests)]
    assert without_times(both[0], form) == without_times(both[1], form)
    assert len(both[0]) == len(some(kind))


def test_a_record_of_a_kind_has_its_own_trace_in_its_line() -> None:
    """Its client's trace is no fact that others of the kind share."""
    written, kind = Written(), kind_of()
    log = Log("json", 1.0, written, clock=lambda: NOON)
    traces = [f"{number:032x}" for number in range(1, 4)]
    for request, trace in zip(some(kind), ["", *traces, ""], strict=False):
        record = kind.record(request)
        record.traceparent = trace and f"00-{trace}-0123456789abcdef-01"
        log(record)
    log.close(10)
    assert [json.loads(line).get("trace_id", "") for line in written.lines] == ["", *traces, ""]


def test_what_was_estimated_of_a_request_is_told_of_it() -> None:
    """A record's own counts of tokens, where its backend counted none, or others: in its line and in the metrics."""
    written, kind = Written(), kind_of()
    log, metrics = Log("json", 1.0, written, clock=lambda: NOON), Metrics(lambda: 0)
    for known in (kind, None):
        for request in some(kind):
            record = kind.record(request)
            record.kind, record.prompt_tokens, record.completion_tokens = known, 7, 5
            log(record)
            metrics(record)
    log.close(10)
    lines = [json.loads(line) for line in written.lines]
    assert {(line["prompt_tokens"], line["completion_tokens"]) for line in lines} == {(7, 5)}
    (numbers,) = [numbers for _, numbers in metrics._taken().numbers]
    assert (numbers.prompt, numbers.completion, len(lines)) == (20 * 7, 20 * 5, 20)


@pytest.mark.parametrize("stream", [False, True])
def test_the_metrics_count_the_same(*, stream: bool) -> None:
    """Whether there is a record of a request or not, the first of its kind or not."""
    kind, other = kind_of(stream=stream), kind_of(stream=stream, served="large", answered="house/large")
    requests = [*some(kind), *some(other), *some(kind)]
    recorded, usual = Metrics(lambda: 0), Metrics(lambda: 0)
    for request in requests:
        recorded(request[0].record(request))
    usual.take(requests)
    usual.take(some(kind))
    for request in some(kind):
        recorded(request[0].record(request))
    assert counted(recorded) == counted(usual)


def counted(metrics: Metrics) -> list[str]:
    lines = View(*metrics.snapshots()).rendered("")[0].decode().splitlines()
    return [line for line in lines if line.startswith("polychat_")]


def test_a_record_has_all_that_is_known_of_its_request() -> None:
    """Its own facts, and those of its kind."""
    kind, usage = kind_of(), Usage(12, 34, 46, 5)
    record = kind.record((kind, "req_1", 1.0, 2.0, 3.0, 4.0, usage, 0.5))
    own = record.request_id, record.start, record.called_at, record.first, record.over, record.usage, record.cost
    assert own == ("req_1", 1.0, 2.0, 3.0, 4.0, usage, 0.5)
    assert (record.prompt_tokens, record.completion_tokens, record.cached_tokens) == (12, 34, 5)
    assert (record.key, record.served, record.verdict, record.kind) == ("alice", "small", "complete", kind)
    assert (kind.common.request_id, kind.common.usage) == ("", None)


def test_lines_are_in_the_order_in_which_things_happened() -> None:
    """A usual request that was over before an event, or before another request, is told before it."""
    written = Written()
    log, metrics, kind = Log("human", 1.0, written, clock=lambda: NOON), Metrics(lambda: 0), kind_of()
    requests = UsualRequests((log, metrics), raised)
    first, second, third, *_ = some(kind)
    requests.add(first)
    log(kind.record(second))
    requests.add(third)
    log.event("reloaded")
    log.close(10)
    order = ["req_0", "req_1", "req_2", "reloaded"]
    assert [name for line in written.lines for name in order if name in line] == order


def test_usual_requests_are_counted_when_somebody_asks() -> None:
    """A scrape sees all that is over, and a log that is closed has written it."""
    written = Written()
    log, metrics, kind = Log("json", 1.0, written, clock=lambda: NOON), Metrics(lambda: 0), kind_of()
    requests = UsualRequests((log, metrics), raised)
    for request in some(kind):
        requests.add(request)
    total = sum(numbers.requests for snapshot in metrics.snapshots()[0] for _, numbers in snapshot.numbers)
    log.close(10)
    assert (total, len(written.lines)) == (len(some(kind)), len(some(kind)))


def test_a_sample_of_usual_requests_is_logged() -> None:
    """As of records: a share by chance, and none where the log is off."""
    chances = iter([0.1, 0.9] * 5)
    written = Written()
    log = Log("json", 0.5, written, clock=lambda: NOON, random=lambda: next(chances))
    log.take(some(kind_of()))
    log.change("off", 1.0)
    log.take(some(kind_of()))
    log.close(10)
    assert len(written.lines) == 5


class Failing:
    """Takes no requests."""

    def expect(self) -> None:
        pass

    def take(self, requests: Any) -> None:
        raise LookupError("it broke")


def test_a_taker_that_fails_takes_nothing_from_others() -> None:
    """The others have each batch, once, and each failure is told."""
    written, failures = Written(), list[Exception]()
    log, metrics, kind = Log("json", 1.0, written, clock=lambda: NOON), Metrics(lambda: 0), kind_of()
    takers: list[Any] = [Failing(), log, Failing(), metrics, Failing()]
    requests = UsualRequests(takers, failures.append)
    for _ in range(2):
        for request in some(kind):
            requests.add(request)
        requests.hand_on()
    count = sum(numbers.requests for snapshot in metrics.snapshots()[0] for _, numbers in snapshot.numbers)
    log.close(10)
    assert (count, len(written.lines)) == (2 * len(some(kind)), 2 * len(some(kind)))
    assert [type(failure) for failure in failures] == [LookupError] * 6


async def test_a_gateways_log_says_that_a_batch_could_not_be_counted(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its kind, once for the batch; its clients have their answers, and the lines of the requests are there."""
    reply = [Start("1", "small"), Text("Hello"), Usage(3, 4), Finish("complete", "stop")]
    server = await serve(ScriptedVendor("openai-chat", [reply]))
    monkeypatch.setattr(Metrics, "take", Failing.take)
    written = Written()
    async with gateway(configured({"house": row("openai-chat", server.url)})) as here:
        app, log = here.app, Log("human", 1.0, written)
        app.log, app._observers, app._usual_observers = log, (both := (log, app.metrics)), both
        app._usual_requests = UsualRequests(both, app._log_defect)
        caller = await here.caller()
        for _ in range(4):
            caller.ask(*asking("openai-chat"))
            assert (await caller.whole()).status == 200
        app._usual_requests.hand_on()
        log.close(10)
        assert (app.running, app.bodies.held) == (0, 0)
    lines = written.data.decode()
    assert lines.count("LookupError: it broke") == lines.count("internal error") == 1
    assert len([line for line in written.lines if "/v1/chat/completions" in line]) == 4


class OldPlan:
    """A plan, which leads to its targets, their backends and their credentials."""

    unlisted = ()


@pytest.mark.parametrize("has_records", [False, True])
@pytest.mark.parametrize("form", ["human", "json"])
def test_what_is_kept_of_a_kind_keeps_no_configuration(form: Any, *, has_records: bool) -> None:
    """Old plans, and the credentials to which they lead, are not kept in memory by what the log and the metrics know."""
    log, metrics, plan = Log(form, 1.0, Written(), clock=lambda: NOON), Metrics(lambda: 0), OldPlan()
    requests, kept = some(kind_of(plan=plan)), weakref.ref(plan)
    if has_records:
        for kind, *_ in requests:
            record = kind.record(requests[0])
            log(record)
            metrics(record)
        del record, kind, _
    log.take(requests)
    metrics.take(requests)
    log.close(10)
    assert counted(metrics)
    del requests, plan
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize(("dialect", "model"), [("openai-chat", "house/small"), ("anthropic", "house/small")])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_usual_request_is_told_without_a_record(serve: Any, dialect: str, model: str, *, stream: bool) -> None:
    """Where only the log and the metrics are told, once the connections are open, and its reply came whole."""
    reply = [Start("1", "small"), Text("Hello"), Usage(3, 4), Finish("complete", "stop")]
    server = await serve(ScriptedVendor("openai-chat", [reply]))
    written, recorded = Written(), list[Record]()
    async with gateway(configured({"house": row("openai-chat", server.url)})) as here:
        app, log, ended = here.app, Log("json", 1.0, written), here.app.ended
        path, body = asking(dialect, model, stream=stream)
        caller = await here.caller()
        for again in range(3):
            if again == 2:
                app.metrics = Metrics(lambda: app.running)
                app._observers = app._usual_observers = log, app.metrics
                app._usual_requests = UsualRequests((log, app.metrics), raised)
                app.ended = lambda record: (recorded.append(record), ended(record))[1]  # type: ignore[method-assign]
            caller.ask(path, body)
            assert (await caller.whole()).status == 200
        (numbers,) = [numbers for _, numbers in app.metrics._taken().numbers]
        log.close(10)
        assert (app.running, app.bodies.held) == (0, 0)
    (line,) = [json.loads(line) for line in written.lines]
    assert not recorded
    assert (line["model"], line["target"], line["stream"], line["verdict"]) == (model, model, stream, "complete")
    assert (numbers.requests, numbers.prompt, numbers.completion, numbers.streams) == (1, 3, 4, int(stream))


async def test_a_count_that_cannot_be_true_costs_nobody_an_answer(serve: Any) -> None:
    """Its request is answered and over, as all others, and the metrics can still be read."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(completion("Hello", usage={"prompt_tokens": 10**400, "completion_tokens": 2}))

    settings = configured({"house": row("openai-chat", (await serve(handler)).url)})
    async with gateway(replace(settings, prices={"house/small": Price(prompt=5.0)})) as here:
        caller = await here.caller()
        for _ in range(3):  # the last two without a task
            caller.ask(*asking("openai-chat"))
            assert (await caller.whole()).status == 200
        assert (await here.ask("/metrics")).status == 200
        assert (here.app.running, here.app.bodies.held) == (0, 0)

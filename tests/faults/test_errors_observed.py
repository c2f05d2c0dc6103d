"""Kinds of fault: a dead backend behind a route that nobody sees, and an operator's mistake reported to a client."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from polychat.config.settings import Direct, Route
from polychat.errors import Failure
from polychat.gateway.observe import attempts
from polychat.gateway.observe.attempts import Attempt, AttemptCounts
from polychat.gateway.observe.logs import Log
from polychat.gateway.observe.metrics import Metrics, fold
from polychat.gateway.observe.prometheus import View
from polychat.gateway.observe.record import Record
from polychat.gateway.observe.setup import EVENT, SetupEvents
from polychat.gateway.paths import DIALECTS

from ..support.running_gateway import Running, asking, configured, fault, gateway, good, row
from ..support.scripted_server import Say, Seen
from ..support.tls import server_context


async def test_each_target_by_its_outcome(serve: Any) -> None:
    """Metrics count the attempts at each target, and the log names the one that failed, though another answered."""
    first, second = await serve(fault(500, "server_error", "the disk is full")), await serve(good)
    providers = {"house": row("openai-chat", first.url), "other": row("openai-chat", second.url)}
    lines: list[bytes] = []
    async with gateway(configured(providers, routes={"fast": ("house/small", "other/small")})) as here:
        for _ in range(2):
            await here.ask(*asking("openai-chat", "fast"))
        await here.ask(*asking("openai-chat", "house/made-up"))
        records = await here.app.recorded(3)
        body = View(*here.app.metrics.snapshots()).rendered("")[0].decode()
        log = Log("json", 1.0, lines.append)
        log(records[0])
        log.close()
    assert 'polychat_attempts_total{outcome="server",route="fast",target="house/small"} 2.0' in body
    assert 'polychat_attempts_total{outcome="answered",route="fast",target="other/small"} 2.0' in body
    assert 'polychat_attempts_total{outcome="server",route="",target="house"} 2.0' in body
    assert "made-up" not in body
    (line,) = (json.loads(line) for line in b"".join(lines).splitlines())
    assert line["target"].startswith("other/")
    assert line["failed_attempts"][0].startswith("house/small: server: ")
    assert "the disk is full" in line["failed_attempts"][0]
    lines.clear()
    log = Log("human", 1.0, lines.append)
    log(records[0])
    log.close()
    assert b"2 attempts, passthrough, after house/small: server: " in b"".join(lines)


async def test_across_workers(serve: Any, tmp_path: Path) -> None:
    """Attempts of all workers are added, those of workers that ended too."""
    backend = await serve(good)
    async with gateway(configured({"house": row("openai-chat", backend.url)}, routes={"one": ("house/small",)})) as here:
        await here.ask(*asking("openai-chat", "one"))
        (record,) = await here.app.recorded()
    workers = [Metrics(lambda: 0, tmp_path) for _ in range(3)]
    for worker in workers:
        worker(record)
        worker.close()
    fold(tmp_path, [])
    living = Metrics(lambda: 0, tmp_path)
    living(record)
    body = View(*living.snapshots()).rendered("")[0].decode()
    living.close()
    assert 'polychat_attempts_total{outcome="answered",route="one",target="house/small"} 4.0' in body


MISTAKES: dict[str, dict[str, Any]] = {
    "no key": {"api_key": "env:THE_SECRET_VARIABLE"},
    "no file": {"api_key": "file:/somewhere/of/the/operator"},
    "no package": {"api_key": "keyring:of-the-operator/house"},
    "no such host": {"base_url": "http://house.invalid/v1"},
    "https where no TLS is": {"base_url": "https://127.0.0.1:{port}/v1"},
    "a certificate of nobody": {"base_url": "https://127.0.0.1:{tls}/v1"},
    "no value for a place": {"base_url": "http://127.0.0.1:9/{account}", "params": {"account": "THE_SECRET_VARIABLE"}},
}
"""What the configuration says that is wrong."""
REASONS = {
    "no key": ("not_set_up", "THE_SECRET_VARIABLE"),
    "no file": ("not_set_up", "/somewhere/of/the/operator"),
    "no package": ("not_set_up", "polychat[keyring]"),
    "no such host": ("wrong_address", "house.invalid"),
    "https where no TLS is": ("wrong_address", "does it use https at all?"),
    "a certificate of nobody": ("certificate", "SSL_CERT_FILE"),
    "no value for a place": ("not_set_up", "THE_SECRET_VARIABLE"),
}
"""The outcome of the attempt, and what of the reason the operator must read."""
SECRETS = (
    "THE_SECRET_VARIABLE",
    "/somewhere",
    "env:",
    "file:",
    "api_key",
    "keyring",
    "house.invalid",
    "SSL_CERT_FILE",
    "pip install",
)
"""What is no client's business."""


KNOWN = socket.getaddrinfo


def unknown(host: Any, *args: Any, **more: Any) -> Any:
    """A name server that knows no ``house.invalid``: no test asks a real one."""
    if host in ("house.invalid", b"house.invalid"):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return KNOWN(host, *args, **more)


@pytest.fixture
async def mistaken(serve: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A row with each mistake."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    secure = await serve(good, server_context())

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)

    def spec_of(mistake: str) -> dict[str, Any]:
        spec = row("openai-chat", "http://127.0.0.1:9", **MISTAKES[mistake])
        ports = {"{port}": str(server.sockets[0].getsockname()[1]), "{tls}": secure.url.rpartition(":")[2]}
        for place, port in ports.items():
            spec["base_url"] = spec["base_url"].replace(place, port)
        return spec

    yield spec_of
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_mistake_of_the_operator(mistaken: Any, dialect: str, mistake: str, *, stream: bool) -> None:
    """Is 503 for the client, naming no variable, file, host or package; the log has what is missing, by its outcome."""
    outcome, reason = REASONS[mistake]
    async with gateway(configured({"house": mistaken(mistake)})) as here:
        answer = await here.ask(*asking(dialect, stream=stream))
        (record,) = await here.app.recorded()
    assert answer.status == 503
    assert answer.headers.get("x-should-retry") == ("false" if outcome == "not_set_up" else None)
    for secret in SECRETS:
        assert secret not in answer.body.decode()
    assert "finds the reason in the log" in answer.body.decode()
    assert reason in record.error
    assert [failure.outcome for failure in record.failures] == [outcome], "it is asked once"


@pytest.mark.parametrize("form", ["off", "json", "human"])
async def test_news_for_the_operator(mistaken: Any, serve: Any, form: str, capfd: pytest.CaptureFixture[str]) -> None:
    """With any form of log, ``off`` as well, each mistake is an event of its own on standard error, reported once in a period.

    It is so too where another target answered in its place.
    """
    backend = await serve(good)
    providers = {f"house{number}": mistaken(mistake) for number, mistake in enumerate(MISTAKES)}
    routes = {"fast": (*(f"{name}/small" for name in providers), "other/small")}
    config = configured(
        {**providers, "other": row("openai-chat", backend.url)},
        routes={"fast": Route(routes["fast"], strategy="ordered", attempts=9)},
        log=form,
    )
    async with gateway(config) as here:
        for _ in range(2):
            assert (await here.ask(*asking("openai-chat", "fast"))).status == 200
        (record, _) = await here.app.recorded(2)
    lines = [line for line in capfd.readouterr().err.splitlines() if EVENT in line]
    assert len(lines) == len(MISTAKES)
    for number, (line, (outcome, reason)) in enumerate(zip(lines, REASONS.values(), strict=True)):
        for part in (f"house{number}/small", outcome, reason, record.request_id):
            assert part in line
        if form == "json":
            entry = json.loads(line)
            assert entry["event"] == EVENT
            assert set(entry) == {"time", "event", "target", "outcome", "reason", "request_id"}


async def test_a_key_that_the_backend_refuses_is_news(serve: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """A backend's 401 is the operator's to mend; its 500, 429 and 400 are not."""
    for status, count in ((401, 1), (500, 0), (429, 0), (400, 0)):
        backend = await serve(fault(status, "no"))
        async with gateway(configured({"house": row("openai-chat", backend.url)}, direct=Direct(attempts=1))) as here:
            await here.ask(*asking("openai-chat"))
        assert capfd.readouterr().err.count(EVENT) == count, status


async def test_made_up_names_are_no_news_twice() -> None:
    """Models that a client makes up for a backend without a key are one event, and what is remembered of it is bounded."""
    entries: list[dict[str, Any]] = []
    now = [0.0]
    news = SetupEvents(lambda event, **facts: entries.append(facts), clock=lambda: now[0])
    record = Record("req", "openai-chat", "POST", "/", 0.0)
    for number in range(50):
        record.failures = [Failure(f"house/{number}", "not_set_up", "", "no key")]
        news(record)
    assert len(entries) == 1
    now[0] = 301.0
    news(record)
    assert len(entries) == 2
    for number in range(5000):
        record.failures = [Failure(f"house{number}/x", "not_set_up", "", "no key")]
        news(record)
    assert len(news._quiet_until) <= 500


COUNTS = {
    "anthropic": ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "hi"}]}),
    "gemini": ("/v1beta/models/{model}:countTokens", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    "openai-responses": ("/v1/responses/input_tokens", {"input": "hi"}),
}
"""Where each dialect counts tokens."""


async def counting(seen: Seen, say: Say) -> None:
    await say.whole({"input_tokens": 7, "totalTokens": 7})


async def attempts_of(here: Running) -> dict[tuple[str, str], float]:
    body = View(*here.app.metrics.snapshots()).rendered("")[0].decode()
    samples = re.findall(r'polychat_attempts_total\{outcome="(\w+)",route="[^"]*",target="([^"]+)"\} (\S+)', body)
    return {(target, outcome): float(count) for outcome, target, count in samples}


@pytest.mark.parametrize("wire", ["anthropic", "gemini"])
@pytest.mark.parametrize("dialect", COUNTS)
async def test_counting_tokens_is_an_attempt(serve: Any, dialect: str, wire: str) -> None:
    """A backend that counts is an attempt with its outcome, and where it fails the next target of the route counts."""
    first, second = await serve(fault(500)), await serve(counting)
    providers = {"house": row(wire, first.url), "other": row(wire, second.url)}
    async with gateway(configured(providers, routes={"fast": ("house/small", "other/small")})) as here:
        path, body = COUNTS[dialect]
        answer = await here.ask(path.format(model="fast"), body if dialect == "gemini" else {"model": "fast", **body})
        (record,) = await here.app.recorded()
        assert await attempts_of(here) == {("house/small", "server"): 1, ("other/small", "answered"): 1}
    assert answer.status == 200
    assert 7 in answer.json.values()
    assert (record.route, record.provider, record.attempts) == ("fast", "other", 2)


@pytest.mark.parametrize("dialect", COUNTS)
async def test_a_guess_is_no_attempt(serve: Any, dialect: str) -> None:
    """Where the first target counts no tokens no other is asked: the estimate is marked as one, and counts for no target."""
    first, second = await serve(good), await serve(counting)
    providers = {"house": row("openai-chat", first.url), "other": row("anthropic", second.url)}
    async with gateway(configured(providers, routes={"fast": ("house/small", "other/small")})) as here:
        path, body = COUNTS[dialect]
        answer = await here.ask(path.format(model="fast"), body if dialect == "gemini" else {"model": "fast", **body})
        await here.app.recorded()
        assert await attempts_of(here) == {}
    assert answer.headers["x-polychat-estimated"] == "true"
    assert not [*first.seen, *second.seen]


ENDS: dict[str, tuple[Any, str]] = {
    "good": (good, "answered"),
    "500": (fault(500), "server"),
    "529": (fault(529, "overloaded_error"), "overloaded"),
    "429": (fault(429, "rate_limit_error", retry_after="60"), "rate_limit"),
    "402": (fault(402, "insufficient_quota"), "quota"),
    "401": (fault(401, "invalid_api_key"), "authentication"),
    "403": (fault(403, "permission_error"), "permission"),
    "404": (fault(404, "not_found_error"), "not_found"),
    "400": (fault(400, "invalid_request_error"), "invalid_request"),
    "413": (fault(413, "request_too_large"), "too_large"),
    "too long": (fault(400, "invalid_request_error", "maximum context length is 9 tokens"), "context_length"),
}
"""How a backend may end an attempt, and the outcome that it is counted as."""


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("dialect", [*DIALECTS, "embeddings"])
async def test_outcomes_of_attempts(serve: Any, dialect: str, end: str) -> None:
    """Each end of an attempt counts by its word, passed or translated, whole or streamed, and of embeddings too."""
    handler, outcome = ENDS[end]

    async def vectors(seen: Seen, say: Say) -> None:
        await say.whole(
            {"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "model": "m", "usage": {"prompt_tokens": 1}}
        )

    is_embedding = dialect == "embeddings"
    asks = [asking(dialect, "fast", stream=stream) for stream in (False, True) if not is_embedding]
    asks += [("/v1/embeddings", {"model": "fast", "input": "hi"})] * is_embedding
    for path, body in asks:
        backend = await serve(vectors if is_embedding and end == "good" else handler)
        config = configured({"house": row("openai-chat", backend.url)}, routes={"fast": Route(("house/small",), attempts=1)})
        async with gateway(config) as here:
            await here.ask(path, body)
            await here.app.recorded()
            assert await attempts_of(here) == {("house/small", outcome): 1}


async def test_who_cannot_count_is_not_asked(serve: Any) -> None:
    """Where the first target fails, one without a count of its own is passed over: it would tell 0 tokens."""
    first, second, third = await serve(fault(500)), await serve(good), await serve(counting)
    wires = {"house": "anthropic", "plain": "openai-chat", "other": "gemini"}
    providers = {
        name: row(wire, server.url) for (name, wire), server in zip(wires.items(), (first, second, third), strict=True)
    }
    async with gateway(configured(providers, routes={"fast": tuple(f"{name}/small" for name in wires)})) as here:
        path, body = COUNTS["anthropic"]
        answer = await here.ask(path, {"model": "fast", **body})
        await here.app.recorded()
        assert await attempts_of(here) == {("house/small", "server"): 1, ("other/small", "answered"): 1}
    assert answer.json == {"input_tokens": 7}
    assert second.seen == []


def test_a_target_that_a_client_names_is_known_by_its_answer() -> None:
    """Its failures count under its provider until it has answered, and then under its whole name; those that answered last
    are remembered, however often one of them answers.
    """
    counts = AttemptCounts()

    def failed(target: str) -> Attempt:
        record = Record("req", "openai-chat", "POST", "/", 0.0)
        record.attempts, record.failures = 1, [Failure(target, "server", "", "")]
        before = dict(counts)
        counts.count(record)
        (attempt,) = (attempt for attempt, count in counts.items() if count != before.get(attempt, 0))
        return attempt

    def answered(target: str) -> None:
        record = Record("req", "openai-chat", "POST", "/", 0.0)
        record.answered, record.attempts = target, 1
        counts.count(record)

    assert failed("house/small").target == "house"
    answered("house/small")
    assert failed("house/small").target == "house/small"
    number = 0
    while not counts.is_full:
        number += 1
        answered(f"house/{number}")
    for _ in range(3):
        answered(f"house/{number}")
    assert failed("house/small").target == "house/small"
    answered("house/one more")
    assert failed("house/small").target == "house"


def test_labels_of_attempts_end_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many sets attempts are counted as another's, none is lost, and no name is kept whole that is long.

    What went on with another target's reply has an outcome of its own.
    """
    monkeypatch.setattr(attempts, "SETS", 10)
    counts = AttemptCounts()
    for number in range(30):
        record = Record("req", "openai-chat", "POST", "/", 0.0)
        record.route, record.answered, record.attempts = "r" * 500, f"house/{number}{'x' * 500}", 1
        record.seams = ["a seam"] if number % 2 else ()
        counts.count(record)
    assert sum(counts.values()) == 30
    assert len(counts) == 12
    assert {counts[Attempt("other", "other", outcome)] for outcome in ("answered", "continued")} == {10}
    assert max(len(name) for labels in counts for name in labels) <= 120

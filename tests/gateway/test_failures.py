"""What goes wrong before the first piece, and after it: who is asked next, and what the client gets."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from polychat.config.settings import Route
from polychat.gateway.paths import DIALECTS

from ..support.failing_streams import AFTER, ENDS
from ..support.running_gateway import (
    DONE,
    END,
    FIRST,
    Stage,
    asking,
    completion,
    configured,
    event,
    fault,
    gateway,
    good,
    row,
    streaming,
    text,
)
from ..support.scripted_server import Say, Seen


async def cut_at_once(seen: Seen, say: Say) -> None:
    await say.cut()


async def no_json(seen: Seen, say: Say) -> None:
    await say.whole(b"<html>hello</html>", content_type="text/html")


BEFORE: dict[str, Any] = {
    "500": fault(500),
    "503": fault(503, "overloaded_error"),
    "401": fault(401, "authentication_error"),
    "429": fault(429, "rate_limit_error", retry_after="60"),
    "quota": fault(429, "insufficient_quota"),
    "404": fault(404, "model_not_found"),
    "context": fault(400, "context_length_exceeded"),
    "cut": cut_at_once,
    "cut after the head": streaming(cut=True),
    "an error first": streaming(event({"error": {"message": "overloaded", "type": "server_error"}})),
    "nothing": streaming(),
    "only the mark": streaming(DONE),
    "a page": no_json,
}


@pytest.mark.parametrize("failure", BEFORE)
@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
@pytest.mark.parametrize("stream", [True, False])
async def test_before_the_first_piece(serve: Any, dialect: str, failure: str, stream: bool) -> None:
    """The next target answers, and the client hears of nothing but its answer and how many were asked."""
    first, second = await serve(BEFORE[failure]), await serve(good)
    providers = {"house": row("openai-chat", first.url), "other": row("openai-chat", second.url)}
    async with gateway(configured(providers, routes={"fast": ("house/small", "other/small")})) as here:
        path, body = asking(dialect, "fast", stream=stream)
        answer = await here.ask(path, body)
        (record,) = await here.app.recorded()
    assert answer.status == 200
    assert b"lo" in answer.body
    assert b"error" not in answer.body
    assert (answer.headers["x-polychat-provider"], answer.headers["x-polychat-attempts"]) == ("other", "2")
    assert (record.route, record.provider, record.attempts, record.verdict) == ("fast", "other", 2, "complete")
    assert len(first.seen) == len(second.seen) == 1


async def test_nobody_there(serve: Any) -> None:
    """A connection that is refused."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    backend = await serve(good)
    providers = {"gone": row("openai-chat", f"http://127.0.0.1:{port}"), "other": row("openai-chat", backend.url)}
    async with gateway(configured(providers, routes={"fast": ("gone/small", "other/small")})) as here:
        assert (await here.ask(*asking("openai-chat", "fast"))).headers["x-polychat-provider"] == "other"
        answer = await here.ask(*asking("openai-chat", "gone/small"))
    assert answer.status == 502
    assert "x-should-retry" not in answer.headers, "it may be back when the client asks again"


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_the_clients_own_fault(serve: Any, status: int) -> None:
    """Is reported at once: no other target is asked what it would refuse as well."""
    first, second = await serve(fault(status, "invalid_request_error", "no such field")), await serve(good)
    providers = {"house": row("openai-chat", first.url), "other": row("openai-chat", second.url)}
    async with gateway(configured(providers, routes={"fast": ("house/small", "other/small")})) as here:
        answer = await here.ask(*asking("openai-chat", "fast"))
    assert answer.status == (413 if status == 413 else 400)
    assert "no such field" in answer.json["error"]["message"]
    assert second.seen == []
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("failure", AFTER)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_after_the_first_piece(serve: Any, dialect: str, failure: str) -> None:
    """Nobody else is asked, the stream says that it failed, and nothing in it says that it is done."""
    rest, verdict = AFTER[failure]
    stage = Stage(FIRST, text("Hel"), rest=rest)
    first, second = await serve(stage), await serve(good)
    providers = {"house": row("openai-chat", first.url), "other": row("openai-chat", second.url)}
    async with gateway(configured(providers, routes={"fast": ("house/small", "other/small")})) as here:
        path, body = asking(dialect, "fast", stream=True)
        caller = await here.caller()
        caller.ask(path, body)
        answer = await caller.head()
        answer.body = await caller.until(b"Hel")
        stage.go.set()
        answer.body += await caller.rest()
        (record,) = await here.app.recorded()
    assert answer.status == 200
    assert b'"error"' in answer.body or b"event: error" in answer.body
    assert ENDS[dialect] not in answer.body
    if failure.startswith("an error"):
        assert b"out of memory" in answer.body
    if dialect == "openai-chat":
        (event,) = [one for one in answer.events if '"error"' in one]
        assert answer.events[-1] == event
        assert json.loads(event.removeprefix("data: "))
    assert (record.verdict, record.provider, record.attempts) == (verdict, "house", 1)
    assert record.error
    assert second.seen == []


async def test_a_request_that_only_the_backend_understands(serve: Any) -> None:
    """It passes though nobody here could read it; when its stream breaks off, the client gets that error all the same."""
    backend = await serve(streaming(FIRST, text("Hel"), cut=True))
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        path, body = asking("openai-chat", stream=True, messages=[{"role": "critic", "content": {"odd": 1}}])
        answer = await here.ask(path, body)
        (record,) = await here.app.recorded()
    assert b"Hel" in answer.body
    assert b'"error"' in answer.body
    assert b"[DONE]" not in answer.body
    assert record.verdict == "truncated"


async def test_all_in_one_read(serve: Any) -> None:
    """A backend may say it all at once and then not close its body: the client has its end when the mark came."""

    async def backend(seen: Seen, say: Say) -> None:
        await say.head(content_type="text/event-stream")
        await say.chunk(FIRST + text("Hello") + END + DONE)
        await say.gone()

    house = await serve(backend)
    async with gateway(configured({"house": row("openai-chat", house.url)})) as here:
        for dialect in ("openai-chat", "anthropic"):
            path, body = asking(dialect, stream=True)
            answer = await here.ask(path, body)
            assert b"Hello" in answer.body
    assert [record.verdict for record in here.records] == ["complete"] * 2


async def test_whole_answers_that_are_none(serve: Any) -> None:
    """An error under status 200, and an answer without a word, are failures in a plain request too."""

    async def error(seen: Seen, say: Say) -> None:
        await say.whole({"error": {"message": "out of memory", "type": "server_error"}})

    async def empty(seen: Seen, say: Say) -> None:
        body = completion("")
        body["choices"][0]["finish_reason"] = None
        await say.whole(body)

    for handler, message in ((error, "out of memory"), (empty, "an empty reply")):
        backend = await serve(handler)
        async with gateway(
            configured({"house": row("openai-chat", backend.url)}, routes={"one": Route(("house/small",), attempts=1)})
        ) as here:
            for dialect in ("openai-chat", "anthropic"):
                answer = await here.ask(*asking(dialect, "one"))
                assert answer.status == 502
                assert message in answer.json["error"]["message"]
        assert {record.verdict for record in here.records} == {"failed"}


def message_of(dialect: str, answer: Any) -> str:
    """The message where each dialect has it, in the shape that it has."""
    body = answer.json
    match dialect, body:
        case (
            ("openai-chat" | "openai-completions" | "openai-responses"),
            {"error": {"message": str(words), "type": str(), "code": _, "param": _}},
        ):
            return words
        case "anthropic", {"type": "error", "error": {"type": str(), "message": str(words)}}:
            return words
        case "gemini", {"error": {"code": int(code), "message": str(words), "status": str()}}:
            assert code == answer.status
            return words
        case "ollama", {"error": str(words)}:
            return words
    raise AssertionError(f"not {dialect}'s error: {body}")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
async def test_each_dialects_errors(serve: Any, dialect: str, stream: bool) -> None:
    """Status, shape and when to come again, as the vendor's own clients expect them."""
    backend = await serve(fault(429, "rate_limit_error", "slower, please", retry_after="7"))
    config = configured({"house": row("openai-chat", backend.url)}, routes={"one": Route(("house/small",), attempts=1)})
    async with gateway(config) as here:
        path, body = asking(dialect, "one", stream=stream)
        answer = await here.ask(path, body)
        (record,) = await here.app.recorded()
    assert answer.status == record.status == 429
    assert "slower, please" in message_of(dialect, answer)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("7", "7000")
    assert "x-should-retry" not in answer.headers
    assert record.verdict == "failed"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_overloaded(serve: Any, dialect: str) -> None:
    """503, and 529 for Anthropic's clients; they may come again, though it was retried here."""
    backend = await serve(fault(503, "overloaded_error", "full"))
    async with gateway(
        configured(
            {"house": row("openai-chat", backend.url), "other": row("openai-chat", backend.url)},
            routes={"two": Route(("house/small", "other/small"), strategy="ordered", attempts=2)},
        )
    ) as here:
        answer = await here.ask(*asking(dialect, "two"))
    assert answer.status == (529 if dialect == "anthropic" else 503)
    assert "full" in message_of(dialect, answer)
    assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_unknown_models(serve: Any, dialect: str) -> None:
    """404 in the dialect's format, with the nearest names."""
    async with gateway(configured({"house": row("openai-chat", "http://127.0.0.1:9")})) as here:
        answer = await here.ask(*asking(dialect, "hause/small"))
        (record,) = await here.app.recorded()
    assert answer.status == 404
    assert "house/small" in message_of(dialect, answer)
    assert record.verdict is None


async def test_our_key_does_not_hold(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is reported as what it is, without the key."""
    backend = await serve(fault(401, "invalid_api_key", "Incorrect API key provided: sk-secret-of-the-house"))
    monkeypatch.setenv("THE_HOUSE", "sk-secret-of-the-house")
    async with gateway(configured({"house": row("openai-chat", backend.url, api_key="env:THE_HOUSE")})) as here:
        answer = await here.ask(*asking("openai-chat"))
        (record,) = await here.app.recorded()
    assert backend.seen[0].headers["authorization"] == "Bearer sk-secret-of-the-house"
    assert answer.status == 401
    assert "sk-secret" not in answer.body.decode() + record.error


UPSTREAMS = {"openai-chat": "anthropic"}
"""A backend's wire for a dialect, so that its request is translated; ``openai-chat`` for all others."""


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_number_that_is_too_large_is_named(serve: Any, dialect: str) -> None:
    """Before any backend is asked: it is JSON, but no number that a program could read; the error tells in which member."""
    server = await serve(good)
    async with gateway(configured({"house": row(UPSTREAMS.get(dialect, "openai-chat"), server.url)})) as here:
        for name, number in (("temperature", b"1e999"), ("max_tokens", b"-1E+400"), ("logit_bias", b"1" * 5000)):
            path, body = asking(dialect, **{name: {"inner": [0, "@"]}})
            answer = await here.ask(path, json.dumps(body).replace('"@"', "%s").encode() % number)
            assert answer.status == 400
            assert f"a number in {name}.inner is out of range: the largest is 1.8e+308" in answer.body.decode()
        assert server.seen == []

"""Kinds of fault: replies bought twice, targets asked too early, retries without sense, failures reported for one target
only.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from polychat.config.settings import Direct, Route
from polychat.errors import BackendError, FaultKind
from polychat.gateway.paths import DIALECTS
from polychat.routing.policy import _BY_KIND, CONSEQUENCES
from polychat.wire.contract import names
from polychat.wire.faults import STATUS, Fault, helps_to_retry

from ..support.running_gateway import DONE, Running, asking, completion, configured, event, fault, gateway, good, row, streaming
from ..support.scripted_server import Say, Seen

UNREADABLE: dict[str, dict[str, Any]] = {
    "openai-chat": {**completion("Hello"), "choices": [{"index": 0, "message": {"role": "assistant", "tool_calls": [7]}}]},
    "openai-responses": {"id": "r", "object": "response", "status": "completed", "output": [{"id": 7}]},
    "anthropic": {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [{"text": "no type"}],
        "stop_reason": "end_turn",
    },
    "gemini": {"candidates": [{"content": {"parts": [{"functionCall": 7}]}, "finishReason": "STOP"}]},
    "ollama": {"model": "small", "message": {"role": "assistant", "tool_calls": [7]}, "done": True},
}
"""Whole replies in which something is of no shape that the wire has."""


async def never(seen: Seen, say: Say) -> None:
    await say.whole(completion("from the other"))


def saying(body: dict[str, Any]) -> Any:
    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(body)

    return handler


def two(first: str, second: str, wire: str = "openai-chat", **rules: Any) -> Any:
    return configured(
        {"house": row(wire, first), "other": row("openai-chat", second)},
        routes={"fast": Route(("house/small", "other/small"), **{"strategy": "ordered", **rules})},
    )


@pytest.mark.parametrize("wire_name", names())
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_reply_is_bought_once(serve: Any, wire_name: str, dialect: str) -> None:
    """A whole reply that came and cannot be read here is a failure: neither its target nor another is asked for it again."""
    first, second = await serve(saying(UNREADABLE[wire_name])), await serve(never)
    async with gateway(two(first.url, second.url, wire_name)) as here:
        answer = await here.ask(*asking(dialect, "fast"))
        (record,) = await here.app.recorded()
    assert answer.status == 502
    assert (len(first.seen), len(second.seen), record.attempts) == (1, 0, 1)
    assert answer.headers["x-should-retry"] == "false"


BEGINNINGS: dict[str, tuple[Any, Any]] = {
    "openai-chat": (
        {"id": "c", "model": "small-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        {"id": "c", "choices": [7], "usage": {"prompt_tokens": 3}},
    ),
    "openai-responses": (
        {"type": "response.created", "response": {"id": "r", "model": "small-1", "status": "in_progress"}},
        {"type": "response.output_item.done", "output_index": 0, "item": {"type": "function_call", "call_id": 7}},
    ),
    "anthropic": (
        {"type": "message_start", "message": {"id": "m", "model": "small-1", "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": 7}},
    ),
    "gemini": (
        {"responseId": "r", "modelVersion": "small-1", "candidates": []},
        {"candidates": [{"index": 0, "content": {"parts": [{"functionCall": 7}]}}]},
    ),
    "ollama": (
        {"model": "small-1", "message": {"role": "assistant", "content": ""}, "done": False},
        {"model": "small-1", "message": {"role": "assistant", "tool_calls": [7]}, "done": False},
    ),
}
"""Of each wire's streams the event that begins a reply, and one that holds a piece of it in a shape that the wire lacks."""


def streamed(wire: str, *events: Any) -> Any:
    """A backend that says these events of its wire in one write, and ends."""
    is_lines = wire == "ollama"
    data = b"".join(json.dumps(one).encode() + b"\n" if is_lines else event(one) for one in events)

    async def handler(seen: Seen, say: Say) -> None:
        await say.head(content_type="application/x-ndjson" if is_lines else "text/event-stream")
        await say.chunk(data)
        await say.last()

    return handler


@pytest.mark.parametrize("begins", [False, True], ids=["at once", "after its beginning"])
@pytest.mark.parametrize("wire_name", names())
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_is_bought_once(serve: Any, wire_name: str, dialect: str, *, begins: bool) -> None:
    """A stream that began and cannot be read is asked for again nowhere, be it passed or translated."""
    beginning, broken = BEGINNINGS[wire_name]
    first, second = await serve(streamed(wire_name, *[beginning] * begins, broken)), await serve(good)
    async with gateway(two(first.url, second.url, wire_name)) as here:
        answer = await here.ask(*asking(dialect, "fast", stream=True))
        (record,) = await here.app.recorded()
    assert (len(first.seen), len(second.seen), record.attempts) == (1, 0, 1)
    assert record.verdict != "complete"
    if answer.status != 200:
        assert (answer.status, answer.headers["x-should-retry"]) == (502, "false")


@pytest.mark.parametrize("data", [b"data: <html>\n\n", b"{\n", b'{"ok": true}\n', b'data: {"ok": true}\n\n'])
@pytest.mark.parametrize("wire_name", names())
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_garbage_is_no_stream(serve: Any, wire_name: str, dialect: str, data: bytes) -> None:
    """What begins no reply of the wire was not paid for: the next target is asked, be the stream passed or translated."""

    async def garbage(seen: Seen, say: Say) -> None:
        await say.head(content_type="application/x-ndjson" if wire_name == "ollama" else "text/event-stream")
        await say.chunk(data)
        await say.last()

    first, second = await serve(garbage), await serve(good)
    async with gateway(two(first.url, second.url, wire_name)) as here:
        answer = await here.ask(*asking(dialect, "fast", stream=True))
    assert len(second.seen) == 1
    assert answer.headers["x-polychat-provider"] == "other"


@pytest.mark.parametrize("wire", names())
async def test_words_before_what_cannot_be_read(serve: Any, wire: str) -> None:
    """Text in the same read as invalid data is delivered, whether a stream passes or not."""
    words: dict[str, Any] = {
        "openai-chat": {"id": "c", "choices": [{"index": 0, "delta": {"content": "Hello"}}]},
        "openai-responses": {"type": "response.output_text.delta", "output_index": 0, "delta": "Hello"},
        "anthropic": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        "gemini": {"candidates": [{"index": 0, "content": {"parts": [{"text": "Hello"}]}}]},
        "ollama": {"model": "small-1", "message": {"role": "assistant", "content": "Hello"}, "done": False},
    }
    beginning, broken = BEGINNINGS[wire]
    first, second = await serve(streamed(wire, beginning, words[wire], broken)), await serve(good)
    async with gateway(two(first.url, second.url, wire)) as here:
        for dialect in DIALECTS:
            answer = await here.ask(*asking(dialect, "fast", stream=True))
            assert answer.status == 200, dialect
            assert "Hello" in answer.body.decode(), dialect
    assert not second.seen


@pytest.mark.parametrize("body", [b"<html>", b"", b"{", b'{"ok": true}', b"[]"])
async def test_garbage_is_no_reply(serve: Any, body: bytes) -> None:
    """What holds no reply was not paid for: the next target is asked."""

    async def garbage(seen: Seen, say: Say) -> None:
        await say.whole(body)

    first, second = await serve(garbage), await serve(good)
    async with gateway(two(first.url, second.url)) as here:
        answer = await here.ask(*asking("openai-chat", "fast"))
    assert answer.headers["x-polychat-provider"] == "other"


@pytest.mark.parametrize(
    "error",
    [
        {"code": "invalid_api_key"},
        {"type": "authentication_error"},
        {"type": "permission_error"},
        {"code": "insufficient_quota"},
    ],
    ids=str,
)
async def test_what_lasts_inside_a_stream(serve: Any, error: dict[str, str]) -> None:
    """A key or a quota refused in a 200 is refused for good: the same target is not asked again, the next one is."""
    first = await serve(streaming(event({"error": {"message": "no", **error}}), DONE))
    second = await serve(good)
    async with gateway(two(first.url, second.url)) as here:
        alone = await here.ask(*asking("openai-chat", "house/small", stream=True))
        assert alone.status in (401, 403, 429)
        assert len(first.seen) == 1
        answer = await here.ask(*asking("openai-chat", "fast", stream=True))
        assert answer.headers["x-polychat-provider"] == "other"
        if "permission_error" in error.values():  # which may be of one request: each route finds out by itself
            assert len(first.seen) == 2
            await here.ask(*asking("openai-chat", "fast", stream=True))
            assert len(first.seen) == 2
        else:
            assert len(first.seen) == 1, "it is passed over at once"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("status", [429, 503, 529])
async def test_not_before_the_time_it_asked_for(serve: Any, dialect: str, status: int) -> None:
    """A target that sent ``Retry-After`` is not asked by later requests: they are refused at once with what is left of it."""
    backend = await serve(fault(status, "rate_limit_error", "slower", retry_after="60"))
    async with gateway(configured({"house": row("openai-chat", backend.url)}, routes={"one": ("house/small",)})) as here:
        for name in ("house/small", "one", "house/small"):
            answer = await here.ask(*asking(dialect, name))
            assert answer.status in (status, 429, 503, 529)
            assert 55 <= int(answer.headers["retry-after"]) <= 60
            assert "x-should-retry" not in answer.headers
        records = await here.app.recorded(3)
    assert len(backend.seen) == 1
    assert [record.attempts for record in records] == [1, 0, 0]
    assert {record.provider for record in records} == {"house"}


async def test_others_are_asked_meanwhile(serve: Any) -> None:
    """While one rests the next of its route answers, and the resting one is not asked."""
    first, second = await serve(fault(429, "rate_limit_error", retry_after="60")), await serve(good)
    async with gateway(two(first.url, second.url)) as here:
        for _ in range(3):
            assert (await here.ask(*asking("openai-chat", "fast"))).headers["x-polychat-provider"] == "other"
    assert (len(first.seen), len(second.seen)) == (1, 3)


async def test_the_soonest_of_all(serve: Any) -> None:
    """When all rest, the client gets the soonest time, and each target's reason."""
    first = await serve(fault(429, "rate_limit_error", retry_after="60"))
    second = await serve(fault(503, "overloaded_error", retry_after="30"))
    async with gateway(two(first.url, second.url)) as here:
        for count in (2, 0):
            answer = await here.ask(*asking("openai-chat", "fast"))
            assert 28 <= int(answer.headers["retry-after"]) <= 30
            message = answer.json["error"]["message"]
            assert "house/small" in message
            assert "other/small" in message
            assert (await here.app.recorded())[-1].attempts == count


async def test_a_short_wait_is_waited(serve: Any) -> None:
    """Up to ``max_wait`` seconds a request waits for its target; beyond it the 429 goes back at once."""
    requests = []

    async def once(seen: Seen, say: Say) -> None:
        requests.append(seen)
        if len(requests) == 1:
            await fault(429, "rate_limit_error", retry_after="0.01")(seen, say)
        else:
            await good(seen, say)

    backend = await serve(once)
    async with gateway(configured({"house": row("openai-chat", backend.url)})) as here:
        assert (await here.ask(*asking("openai-chat"))).status == 200
    requests.clear()
    config = configured({"house": row("openai-chat", backend.url)}, direct=Direct(max_wait=0.001))
    async with gateway(config) as here:
        assert (await here.ask(*asking("openai-chat"))).status == 429


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_attempts_of_direct_targets(serve: Any, attempts: int) -> None:
    """``[gateway.direct] attempts`` is how many times a target is asked that a client names itself."""
    backend = await serve(fault(500))
    config = configured({"house": row("openai-chat", backend.url)}, direct=Direct(attempts=attempts))
    async with gateway(config) as here:
        await here.ask(*asking("openai-chat"))
    assert len(backend.seen) == attempts


@pytest.mark.parametrize(("count", "expected"), [("0", 3), ("1", 2), ("2", 1), ("9", 1), ("x", 3), ("", 3)])
async def test_retries_do_not_multiply(serve: Any, count: str, expected: int) -> None:
    """A client that counts its retries is asked for less often, and no target twice."""
    backends = [await serve(fault(500)) for _ in range(3)]
    config = configured(
        {name: row("openai-chat", backend.url) for name, backend in zip("abc", backends, strict=True)},
        routes={"fast": ("a/small", "b/small", "c/small")},
    )
    async with gateway(config) as here:
        path, body = asking("openai-chat", "fast")
        await here.ask(path, body, headers={"x-stainless-retry-count": count})
    assert sum(len(backend.seen) for backend in backends) == expected
    assert max(len(backend.seen) for backend in backends) == 1


@pytest.mark.parametrize("kind", STATUS)
def test_whether_it_helps_to_retry(kind: FaultKind) -> None:
    """What lasts is not worth a client's retry; what passes is: no client gets ``false`` on a 429 or a 529."""
    again = helps_to_retry(Fault("", kind))
    assert again is (CONSEQUENCES[_BY_KIND[kind]].step == "again")
    error = BackendError("")
    error.kind = kind


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_all_of_them_are_reported(serve: Any, dialect: str) -> None:
    """When all targets fail, the error and the record name each with its reason, without what looks like a key."""
    first = await serve(fault(401, "invalid_api_key", "api_key=sk-very-secret is wrong"))
    second = await serve(fault(500, "server_error", "the disk is full"))
    async with gateway(two(first.url, second.url)) as here:
        answer = await here.ask(*asking(dialect, "fast"))
        (record,) = await here.app.recorded()
    body = json.dumps(answer.json)
    for text in (body, record.error):
        for part in ("house/small", "401", "other/small", "the disk is full"):
            assert part in text, (part, text)
        assert "sk-very-secret" not in text
    assert answer.status == 502
    assert [(one.target, one.outcome) for one in record.failures] == [
        ("house/small", "authentication"),
        *[("other/small", "server")] * 2,
    ]


async def hangs(seen: Seen, say: Say) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_client_gets_an_error_before_it_gives_up(serve: Any, dialect: str, *, stream: bool) -> None:
    """A backend that never answers is given up before the client's own timeout: it gets an error, at a route and a target."""
    backend = await serve(hangs)
    async with gateway(two(backend.url, backend.url)) as here, asyncio.timeout(60), asyncio.TaskGroup() as asks:
        for header in ("x-request-timeout", "x-stainless-timeout"):
            for name in ("house/small", "fast"):
                asks.create_task(gets_504(here, *asking(dialect, name, stream=stream), header))


async def gets_504(here: Running, path: str, body: Any, header: str) -> None:
    """A client that waits for 0.4 seconds, as this header says."""
    answer = await here.ask(path, body, headers={header: "0.4"})
    assert answer.status == 504, header


async def test_a_client_with_time_for_another_target(serve: Any) -> None:
    """Half of what a client waits is kept for the next target while one is left."""
    first, second = await serve(hangs), await serve(good)
    async with gateway(two(first.url, second.url)) as here:
        answer = await here.ask(*asking("openai-chat", "fast"), headers={"x-stainless-timeout": "0.6"})
    assert answer.headers["x-polychat-provider"] == "other"


async def test_all_of_a_reply_in_time(serve: Any) -> None:
    """``x-request-timeout`` is for all of a stream, and what OpenAI's clients send for its beginning."""

    async def begins(seen: Seen, say: Say) -> None:
        await say.head(content_type="text/event-stream")
        await say.chunk(event({"choices": [{"index": 0, "delta": {"content": "Hello"}}]}))
        await asyncio.Event().wait()

    backend = await serve(begins)
    async with gateway(two(backend.url, backend.url)) as here:
        async with asyncio.timeout(60):
            answer = await here.ask(*asking("openai-chat", "fast", stream=True), headers={"x-request-timeout": "0.4"})
        assert b"total timeout" in answer.body

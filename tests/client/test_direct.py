"""``ask`` without a ``Stream`` gives what ``ask`` with one would give, and leaves nothing open or counted."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

import polychat
from polychat import errors
from polychat.client.streaming import Stream
from polychat.client.targets import Targets, targets_of
from polychat.events import Citation, Event, Finish, Reasoning, Refusal, Start, Text, Usage
from polychat.http.pool.pool import pool
from polychat.transport import Timeouts
from polychat.wire import contract

from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor

START, COUNTS, STOP = Start("one", "m"), Usage(3, 4, 7), Finish("complete", "stop")
REPLIES: dict[str, list[Event]] = {
    "usual": [START, Text("Hello"), COUNTS, STOP],
    "not counted": [START, Text("Hello"), STOP],
    "reasoning": [START, Reasoning("Hm."), Text("Hello"), COUNTS, STOP],
    "in pieces": [START, Text("Hel"), Text("lo"), COUNTS, Finish("complete", "length")],
    "refused": [START, Refusal("No."), COUNTS, STOP],
    "cited": [START, Text("Hello"), Citation("a", "https://example.com/", start=0, end=5), COUNTS, STOP],
}
CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "Because."},
    {"role": "user", "content": "Oh."},
]
WHOLE = {
    "id": "c",
    "model": "m",
    "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}


class Asker:
    """Asks one server by both ways. ``taken_over``: how many direct calls were continued by the other way."""

    def __init__(self, url: str, folder: Any, monkeypatch: pytest.MonkeyPatch, wire: str = "openai-chat") -> None:
        file = folder / "polychat.toml"
        file.write_text(f'[providers.house]\nwire = "{wire}"\nbase_url = "{url}/v1"\n')
        self.targets: Targets = targets_of(file)
        self.client = polychat.Client("house/m", config=file)
        self.client._configured = self.targets
        self.taken_over = 0
        self.prompt: Any = "hi"
        self._prepared_call = self.targets.prepared_call

        def counted(*values: Any) -> Any:
            self.taken_over += 1
            return self._prepared_call(*values)

        monkeypatch.setattr(self.targets, "prepared_call", counted)

    async def warm(self, **options: Any) -> None:
        """A first call, which opens the connection."""
        await self.client.ask(self.prompt, **options)
        self.taken_over = 0

    async def ask(self, **options: Any) -> polychat.Reply[Any]:
        return await self.client.ask(self.prompt, **options)

    async def other(self) -> polychat.Reply[Any]:
        """The same, never directly."""
        prepared = self.targets.prepared("house/m", None, {}, streamed=False)
        return await Stream(self.targets, self._prepared_call(prepared, prepared.request(self.prompt)[0])).whole()

    @property
    def in_use(self) -> tuple[int, int, int]:
        """Requests that count as in flight and as waiting, and connections that no request gave back."""
        (facts,) = self.targets.router({}).health.every()
        own = pool()
        busy = [connection for connection in own._origin_of if own.state(connection) != "idle"]
        return facts.in_flight, facts.waiting.count, len(busy)


@pytest.fixture
def asker(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asker]:
    return lambda url, wire="openai-chat": Asker(url, tmp_path, monkeypatch, wire)


@pytest.mark.parametrize("wire", contract.names())
async def test_replies_are_those_of_the_other_way(wire: str, serve: Any, asker: Any) -> None:
    """On every wire, to a text and a conversation; with and without counts, reasoning, citations, a refusal, several texts."""
    events: list[Event] = []
    server = await serve(ScriptedVendor(wire, lambda request: [[event] for event in events]))
    both = asker(server.url, wire)
    for both.prompt, events[:] in product(("hi", CONVERSATION), REPLIES.values()):
        await both.other()
        both.taken_over = 0
        assert await both.ask() == await both.other()
        assert both.taken_over == 0
    assert both.in_use == (0, 0, 0)


async def test_a_reply_is_the_same_however_it_is_cut(serve: Any, asker: Any) -> None:
    """At each byte of its head and body; in one read, and where the head comes first, nothing else is needed."""
    body = json.dumps(WHOLE).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nx-ratelimit-limit-requests: 9\r\n\r\n" % len(body)
    cut = [0]

    async def answer(seen: Seen, say: Say) -> None:
        first, rest = (head + body)[: cut[0]], (head + body)[cut[0] :]
        if first:
            await say.raw(first)
            for _ in range(4):
                await asyncio.sleep(0)
        await say.raw(rest)

    server = await serve(answer)
    both = asker(server.url)
    await both.warm()
    expected = await both.other()
    for cut[0] in range(len(head) + len(body)):
        assert await both.ask() == expected
        assert both.taken_over == 0 or cut[0] > len(head)
        both.taken_over = 0
    assert (both.in_use, server.connections) == ((0, 0, 0), 1)


UNUSUAL: dict[str, tuple[bytes, str]] = {
    "refused": (b'HTTP/1.1 400 X\r\ncontent-length: 33\r\n\r\n{"error": {"message": "not so!"}}', "not so"),
    "an error in it": (b'HTTP/1.1 200 X\r\ncontent-length: 33\r\n\r\n{"error": {"message": "not now"}}', "not now"),
    "no JSON": (b"HTTP/1.1 200 X\r\ncontent-length: 5\r\n\r\nhello", "hello"),
    "no answer": (b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n{}", "not in OpenAI"),
    "cut off": (b"HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\n{}", "ended early"),
    "no body": (b"HTTP/1.1 204 X\r\n\r\n", "empty"),
    "no HTTP": (b"SSH-2.0-x\r\n", "HTTP"),
    "nothing": (b"", "closed|lost|reset|disconnect"),
}


@pytest.mark.parametrize("name", UNUSUAL)
async def test_what_is_unusual_is_reported_as_by_the_other_way(name: str, serve: Any, asker: Any) -> None:
    """The same error, after as many requests, and with nothing left in use."""
    data, shown = UNUSUAL[name]
    is_well = True

    async def answer(seen: Seen, say: Say) -> None:
        if is_well:
            await say.whole(WHOLE)
            return
        await say.raw(data)
        await say.cut()

    server = await serve(answer)
    raised, counts = [], []
    both = asker(server.url)
    for call in (both.ask, both.other):
        is_well = True
        both.targets.router({}).health.forget({"house"})
        await both.other()
        is_well, before = False, len(server.seen)
        with pytest.raises(errors.PolychatError, match=shown) as caught:
            await call()
        raised.append((type(caught.value), str(caught.value), caught.value.provider))
        counts.append(len(server.seen) - before)
        assert both.in_use == (0, 0, 0)
    assert raised[0] == raised[1]
    assert counts[0] == counts[1]
    assert both.taken_over == 1


async def test_a_failure_is_the_first_of_the_attempts(serve: Any, asker: Any) -> None:
    """A direct request that fails counts: it is asked once more, not twice, and the retry is by the router."""
    answers = [200, 503, 200]

    async def answer(seen: Seen, say: Say) -> None:
        await say.whole(WHOLE, answers.pop(0))

    server = await serve(answer)
    both = asker(server.url)
    await both.warm()
    assert (await both.ask()).text == "Hello"
    assert (len(server.seen), both.taken_over, both.in_use) == (3, 1, (0, 0, 0))


async def test_a_compressed_reply_is_read(serve: Any, asker: Any) -> None:
    body = gzip.compress(json.dumps(WHOLE).encode())

    async def answer(seen: Seen, say: Say) -> None:
        await say.whole(body, headers=[("content-encoding", "gzip")])

    both = asker((await serve(answer)).url)
    await both.warm()
    assert await both.ask() == await both.other()
    assert (both.taken_over, both.in_use) == (1, (0, 0, 0))


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 X\r\n", b"HTTP/1.1 200 X\r\ncontent-length: 99\r\n\r\n"])
@pytest.mark.parametrize("leaves", ["cancelled", "timeout"])
async def test_a_caller_that_leaves_closes_its_connection(begun: bytes, leaves: str, serve: Any, asker: Any) -> None:
    """Cancelled or out of time before the head, in it, and after it; the next call has another connection and is answered."""
    silent, seen_all = asyncio.Event(), asyncio.Event()

    async def answer(seen: Seen, say: Say) -> None:
        if not silent.is_set():
            await say.whole(WHOLE)
            return
        await say.raw(begun)
        seen_all.set()
        await say.gone()

    server = await serve(answer)
    both = asker(server.url)
    timeout = Timeouts(first=0.05) if leaves == "timeout" else Timeouts()
    await both.warm(timeout=timeout)
    silent.set()
    task = asyncio.create_task(both.ask(timeout=timeout))
    await seen_all.wait()
    if leaves == "cancelled":
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        with pytest.raises(errors.TimedOut) as caught:
            await task
        assert caught.value.clock == "first"
    assert both.in_use == (0, 0, 0)
    silent.clear()
    assert (await both.ask(timeout=timeout)).text == "Hello"
    assert len(server.seen) == 3 if leaves == "cancelled" else len(server.seen) >= 3


async def test_a_changed_environment_holds_for_the_next_call(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key, and the address; a key that is gone is named."""
    first, second = (
        await serve(ScriptedVendor("openai-chat", [REPLIES["usual"]])),
        await serve(ScriptedVendor("openai-chat", [REPLIES["usual"]])),
    )
    for number, server in enumerate((first, second, first)):
        monkeypatch.setenv("OPENAI_API_KEY", f"long-enough-a-key-{number}")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        for _ in range(2):
            await polychat.ask("hi", model="openai/m")
        assert [seen.headers["authorization"] for seen in server.seen[-2:]] == [f"Bearer long-enough-a-key-{number}"] * 2
    assert (len(first.seen), len(second.seen)) == (4, 2)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(errors.NotReady, match="OPENAI_API_KEY"):
        await polychat.ask("hi", model="openai/m")


async def test_a_key_in_a_reply_is_removed(serve: Any) -> None:
    """From its text, from its body, and from what is kept of its headers."""
    key = "sk-long-enough-a-key"
    reply = {**WHOLE, "choices": [{"index": 0, "message": {"content": f"I got {key}"}, "finish_reason": "stop"}]}

    async def answer(seen: Seen, say: Say) -> None:
        await say.whole(reply, headers=[("x-ratelimit-key", key)])

    server = await serve(answer)
    for _ in range(2):
        got = await polychat.ask("hi", model="openai/m", base_url=f"{server.url}/v1", api_key=key)
        assert key not in got.text
        assert key.encode() not in (got.raw or b"")


async def test_a_blank_prompt_is_refused_by_each_call(serve: Any) -> None:
    """Also where calls went before with the same options, streamed or not; an empty model is no default."""
    server = await serve(ScriptedVendor("openai-chat", [REPLIES["usual"]]))
    options: dict[str, Any] = {"model": "openai/m", "base_url": f"{server.url}/v1", "api_key": "long-enough-a-key"}
    await polychat.ask("hi", **options)
    async with polychat.stream("hi", **options) as reply:
        await reply.whole()
    for prompt in ("", " \n"):
        with pytest.raises(errors.BadInput, match="the prompt is empty"):
            await polychat.ask(prompt, **options)
        with pytest.raises(errors.BadInput, match="the prompt is empty"):
            polychat.stream(prompt, **options)
    with pytest.raises(errors.UnknownTarget, match="empty"):
        await polychat.ask("hi", **{**options, "model": ""})

"""A stream that is begun directly gives what it would give otherwise, and leaves nothing open or counted."""

from __future__ import annotations

import asyncio
import gc
import gzip
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import polychat
from polychat import errors
from polychat.client.beginning import AnsweredCall
from polychat.client.routed import RoutedCall
from polychat.client.targets import targets_of
from polychat.events import Event, Finish, Reasoning, Start, Text, Usage
from polychat.http.pool.pool import pool
from polychat.wire import contract

from ..support.patience import PATIENCE
from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor

START, COUNTS, STOP = Start("one", "m"), Usage(3, 4, 7), Finish("complete", "stop")
REPLIES: list[list[Event]] = [
    [START, Text("Hello"), STOP],
    [START, Text("Hel"), Text("lo"), COUNTS, Finish("complete", "length")],
    [START, Reasoning("Hm."), Text("Hello"), COUNTS, STOP],
]
HEAD = (
    b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nx-ratelimit-limit-requests: 9\r\n\r\n"
)
CHUNKS = [
    b'data: {"id":"a","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"lo"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
]


def chunked(parts: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


class Streamer:
    """Streams from one server by both ways. ``begun``: how many replies were begun directly, and how many left to the other."""

    def __init__(self, url: str, folder: Any, monkeypatch: pytest.MonkeyPatch, wire: str, key: str) -> None:
        file = folder / "polychat.toml"
        file.write_text(f'[providers.house]\nwire = "{wire}"\nbase_url = "{url}/v1"\n')
        self.targets = targets_of(file)
        self.client = polychat.Client("house/m", config=file)
        self.client._configured = self.targets
        self.options = {"api_key": key} if key else {}
        self.begun, self.left = 0, 0
        resume = RoutedCall.resume

        def resumed(call: RoutedCall, attempt: Any, take: Any = None, begun: Any = None) -> None:
            self.begun += begun is not None
            self.left += take is not None and take.__self__._connection is not None
            resume(call, attempt, take, begun)

        monkeypatch.setattr(RoutedCall, "resume", resumed)

    def count(self, stream: polychat.Stream[Any]) -> None:
        """Count it if all of it was read directly."""
        call = getattr(stream, "_call", None)
        self.begun += getattr(stream, "_rest", None) is not None or (isinstance(call, AnsweredCall) and bool(call._events))

    def stream(self, *, is_direct: bool) -> polychat.Stream[Any]:
        """A stream that is not begun yet."""
        if is_direct:
            return self.client.stream("hi", **self.options)
        prepared = self.targets.prepared("house/m", None, dict(self.options), streamed=True)
        return polychat.Stream(self.targets, self.targets.prepared_call(prepared, None, "hi"))

    async def outcome(self, *, is_direct: bool) -> tuple[Any, ...]:
        """Everything that a caller sees of one stream."""
        stream = self.stream(is_direct=is_direct)
        events: list[Event] = []
        error: Any = None
        try:
            async for batch in stream.events():
                events += batch
        except errors.PolychatError as raised:
            error = raised
        self.count(stream)
        shown = None if error is None else (type(error), str(error), error.provider, getattr(error, "text", None))
        reply = stream.reply() if error is None else stream.text
        return repr(events), shown, reply, stream.verdict, stream.headers, stream.provider, stream.model

    async def check(self) -> None:
        """Both ways, with the same outcome."""
        assert await self.outcome(is_direct=True) == await self.outcome(is_direct=False)
        assert self.in_use == (0, 0, 0)

    def forget(self) -> None:
        """What is known of targets, and the calls that are kept."""
        self.targets._routers.clear()
        self.targets._prepared.clear()

    @property
    def in_use(self) -> tuple[int, int, int]:
        """Requests that count as in flight and as waiting, and connections that no request gave back."""
        (facts,) = self.targets.router(self.options).health.every()
        own = pool()
        busy = [connection for connection in own._origin_of if own.state(connection) not in ("idle", "lingering")]
        return facts.in_flight, facts.waiting.count, len(busy)


@pytest.fixture
def streamer(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Streamer]:
    return lambda url, wire="openai-chat", key="": Streamer(url, tmp_path, monkeypatch, wire, key)


@pytest.mark.parametrize("wire", contract.names())
async def test_streams_are_those_of_the_other_way(wire: str, serve: Any, streamer: Any) -> None:
    """On every wire, with a key to be kept out of errors, each event in a write of its own."""
    events: list[Event] = []
    server = await serve(ScriptedVendor(wire, lambda request: [[event] for event in events]))
    both = streamer(server.url, wire, "long-enough-a-key")
    for events[:] in REPLIES:
        await both.outcome(is_direct=False)
        await both.check()
    assert (both.begun, both.left) == (len(REPLIES), 0)


@pytest.mark.parametrize("key", ["", "long-enough-a-key"])
async def test_a_stream_is_the_same_however_it_is_cut(key: str, serve: Any, streamer: Any) -> None:
    """At each byte of its head and body, with a key that is looked for and without."""
    data = HEAD + chunked(CHUNKS)
    cut = [0]

    async def answer(seen: Seen, say: Say) -> None:
        if cut[0]:
            await say.raw(data[: cut[0]])
            for _ in range(4):
                await asyncio.sleep(0)
        await say.raw(data[cut[0] :])

    server = await serve(answer)
    both = streamer(server.url, key=key)
    expected = await both.outcome(is_direct=False)
    assert expected[0] == repr([Start("a", "m"), Text("Hel"), Text("lo"), STOP])
    for cut[0] in range(len(data)):
        assert await both.outcome(is_direct=True) == expected
    assert (both.left, both.in_use) == (0, (0, 0, 0))
    assert both.begun > len(data) // 2  # all but those before which the last bytes of a body were still to come


KEY = "sk-long-enough-a-key"
ERROR = b'data: {"error":{"message":"not now"}}\n\n'
UNUSUAL = {
    "refused": b'HTTP/1.1 400 X\r\ncontent-length: 33\r\n\r\n{"error": {"message": "not so!"}}',
    "an error first": HEAD + chunked([ERROR]),
    "an error after the role": HEAD + chunked([CHUNKS[0], ERROR]),
    "an error after a piece": HEAD + chunked([*CHUNKS[:2], ERROR]),
    "no piece": HEAD + chunked([CHUNKS[0], *CHUNKS[3:]]),
    "not JSON": HEAD + chunked([*CHUNKS[:2], b"data: {\n\n"]),
    "a whole reply": b"HTTP/1.1 200 X\r\ncontent-length: 77\r\n\r\n"
    b'{"choices":[{"index":0,"message":{"content":"Hello"},"finish_reason":"stop"}]}',
    "cut off before a piece": HEAD + chunked(CHUNKS[:1])[:-5],
    "cut off after a piece": HEAD + chunked(CHUNKS[:2])[:-5],
    "no end": HEAD + chunked(CHUNKS[:2]),
    "an empty body": HEAD + b"0\r\n\r\n",
    "no body": b"HTTP/1.1 204 X\r\n\r\n",
    "no HTTP": b"SSH-2.0-x\r\n",
    "nothing": b"",
    "compressed": b"HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(b"".join(CHUNKS), mtime=0),
    "more than was announced": HEAD + chunked(CHUNKS) + b"HTTP/1.1 200 X\r\n\r\n",
    "the key in an error": HEAD + chunked([CHUNKS[0], b'data: {"error":{"message":"bad key %b"}}\n\n' % KEY.encode()]),
    "the key in a reason": b"HTTP/1.1 401 X %b\r\ncontent-length: 2\r\n\r\n{}" % KEY.encode(),
    "half the key at the end": HEAD + chunked([*CHUNKS[:2], CHUNKS[1].replace(b"Hel", KEY[:9].encode()), *CHUNKS[3:]]),
    "an end and nothing else": HEAD + chunked([b"data: [DONE]\n\n"]),
    "a comment first": HEAD + chunked([b": hi\n\n", *CHUNKS]),
    "a text after the end": HEAD + chunked([*CHUNKS[:2], CHUNKS[3], CHUNKS[2], CHUNKS[4]]),
    "shorter than its length": b"HTTP/1.1 200 X\r\ncontent-length: 999\r\n\r\n" + b"".join(CHUNKS),
    "longer than its length": b"HTTP/1.1 200 X\r\ncontent-length: 200\r\n\r\n" + b"".join(CHUNKS),
}


@pytest.mark.parametrize("name", UNUSUAL)
async def test_what_is_unusual_is_read_and_judged_as_by_the_other_way(name: str, serve: Any, streamer: Any) -> None:
    """However it is cut: the same events, error and verdict, after as many requests, with nothing left in use and no key."""
    data, cut, is_well = UNUSUAL[name], 0, True

    async def answer(seen: Seen, say: Say) -> None:
        if is_well:
            await say.raw(HEAD + chunked(CHUNKS))
            return
        if cut:
            await say.raw(data[:cut])
            for _ in range(4):
                await asyncio.sleep(0)
        await say.raw(data[cut:])
        await say.cut()

    server = await serve(answer)
    both = streamer(server.url, key=KEY)
    for cut in sorted({0, len(HEAD) // 2, *range(len(HEAD), len(data), 1 + len(data) // 8), max(0, len(data) - 3)}):
        outcomes, counts = [], []
        both.begun = both.left = 0
        for is_direct in (True, False):
            is_well = True
            both.forget()  # also how many retries there were: a route has so many, and no more
            await both.outcome(is_direct=False)
            is_well, before = False, len(server.seen)
            outcomes.append(await both.outcome(is_direct=is_direct))
            counts.append(len(server.seen) - before)
            assert both.in_use == (0, 0, 0)
        assert outcomes[0] == outcomes[1], cut
        assert counts[0] == counts[1], cut
        assert both.begun + both.left == 1, cut
        assert KEY not in repr(outcomes), cut


async def test_a_failure_is_the_first_of_the_attempts(serve: Any, streamer: Any) -> None:
    """A direct request that fails is asked once more, not twice, and the retry is by the router."""
    answers = [True, False, True]

    async def answer(seen: Seen, say: Say) -> None:
        if answers.pop(0):
            await say.raw(HEAD + chunked(CHUNKS))
        else:
            await say.whole({"error": {"message": "busy"}}, 503)

    server = await serve(answer)
    both = streamer(server.url)
    await both.outcome(is_direct=False)
    assert (await both.outcome(is_direct=True))[3] == "complete"
    assert (len(server.seen), both.begun, both.left, both.in_use) == (3, 0, 1, (0, 0, 0))


@pytest.mark.parametrize("begun", [b"", HEAD[:20], HEAD, HEAD + chunked(CHUNKS[:1])[:-5], HEAD + chunked(CHUNKS[:2])[:-5]])
async def test_a_caller_that_leaves_closes_its_connection(begun: bytes, serve: Any, streamer: Any) -> None:
    """Before and in the head, before the first piece and after it; the next call has another connection and is answered."""
    silent, seen_all = asyncio.Event(), asyncio.Event()

    async def answer(seen: Seen, say: Say) -> None:
        if not silent.is_set():
            await say.raw(HEAD + chunked(CHUNKS))
            return
        await say.raw(begun)
        seen_all.set()
        await say.gone()

    both = streamer((await serve(answer)).url)
    await both.outcome(is_direct=False)
    silent.set()
    stream = both.client.stream("hi")
    has_piece = asyncio.Event()

    async def read() -> None:
        async with stream:
            async for _ in stream:
                has_piece.set()

    task = asyncio.create_task(read())
    await seen_all.wait()
    if b"Hel" in begun:
        await has_piece.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (both.in_use, stream.verdict) == ((0, 0, 0), "cancelled")
    silent.clear()
    assert (await both.outcome(is_direct=True))[3] == "complete"


async def test_a_key_in_a_stream_is_removed(serve: Any, streamer: Any) -> None:
    """From its pieces, also where it is cut, and from what is kept of its headers."""
    key = "sk-long-enough-a-key"
    data = HEAD.replace(b": 9", b": " + key.encode()) + chunked([part.replace(b"Hel", key.encode()) for part in CHUNKS])
    cut = [0]

    async def answer(seen: Seen, say: Say) -> None:
        await say.raw(data[: cut[0]])
        for _ in range(4):
            await asyncio.sleep(0)
        await say.raw(data[cut[0] :])

    both = streamer((await serve(answer)).url, key=key)
    place = data.rindex(key.encode())
    for cut[0] in (place + 4, len(data)):
        await both.outcome(is_direct=False)
        outcome = await both.outcome(is_direct=True)
        assert outcome == await both.outcome(is_direct=False)
        assert key not in repr(outcome)


async def test_a_stream_that_is_left_after_all_of_it_came_frees_its_target(serve: Any, streamer: Any) -> None:
    """Its connection serves the next call."""

    async def answer(seen: Seen, say: Say) -> None:
        await say.raw(HEAD + chunked(CHUNKS))

    server = await serve(answer)
    both = streamer(server.url)
    await both.outcome(is_direct=False)
    for _ in range(3):
        async with both.client.stream("hi") as stream:
            assert await anext(stream) == "Hel"
        both.count(stream)
        assert (stream.verdict, stream.text) == ("cancelled", "Hel")
    assert (both.begun, both.in_use, server.connections) == (3, (0, 0, 0), 1)


async def test_a_stream_may_be_referred_to_weakly(serve: Any, streamer: Any) -> None:
    """As any object of Python: what a program keeps in a ``WeakSet`` is gone with its last user."""

    async def answer(seen: Seen, say: Say) -> None:
        await say.raw(HEAD + chunked(CHUNKS))

    both = streamer((await serve(answer)).url)
    await both.outcome(is_direct=False)
    stream = both.stream(is_direct=True)
    known = weakref.WeakSet([stream])
    assert [text async for text in stream] == ["Hel", "lo"]
    assert list(known) == [stream]
    del stream
    gc.collect()
    assert not known


@pytest.mark.parametrize("is_direct", [True, False])
@pytest.mark.parametrize("pieces_before", [0, 1])
async def test_a_second_reader_is_refused(is_direct: bool, pieces_before: int, serve: Any, streamer: Any) -> None:
    """While another waits for the same piece: one request is sent, and the first reader gets all of its reply."""
    vendor = ScriptedVendor("openai-chat", [[event] for event in REPLIES[1]])
    vendor.pause_before = pieces_before + 1 if pieces_before else 0
    both = streamer((await serve(vendor)).url)
    stream = both.stream(is_direct=is_direct)
    texts = [await anext(stream) for _ in range(pieces_before)]
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    for read in (stream.__anext__, stream.whole, lambda: anext(stream.events())):
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(RuntimeError, match="already"):
                await read()
    vendor.go_on.set()
    texts += [await first, *[text async for text in stream]]
    assert ("".join(texts), stream.verdict, len(vendor.seen)) == ("Hello", "complete", 1)
    assert both.in_use == (0, 0, 0)


@pytest.mark.parametrize("is_direct", [True, False])
async def test_a_cancelled_read_is_no_reader_any_more(is_direct: bool, serve: Any, streamer: Any) -> None:
    """It closes the connection: the next read finds that the stream is over."""
    vendor = ScriptedVendor("openai-chat", [[event] for event in REPLIES[1]])
    vendor.pause_before = 2
    both = streamer((await serve(vendor)).url)
    stream = both.stream(is_direct=is_direct)
    assert await anext(stream) == "Hel"
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert both.in_use[2] == 0


@pytest.mark.parametrize("is_direct", [True, False])
async def test_events_go_on_where_the_texts_were_left(is_direct: bool, serve: Any, streamer: Any) -> None:
    """Within what came in one network read too."""
    vendor = ScriptedVendor("openai-chat", [REPLIES[1]])
    stream = streamer((await serve(vendor)).url).stream(is_direct=is_direct)
    assert await anext(stream) == "Hel"
    events = [event async for batch in stream.events() for event in batch]
    assert events[0] == Text("lo")
    assert (stream.text, stream.usage, stream.verdict) == ("Hello", COUNTS, "complete")

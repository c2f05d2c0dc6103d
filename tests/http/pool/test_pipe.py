"""A body that is pushed: each read goes to a sink in the call that brings it, and its errors to who awaits the pipe."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

import pytest

from polychat import errors
from polychat.events import Finish, Text
from polychat.http.pool.pool import PooledResponse, pool
from polychat.http.timeouts import Timeouts
from polychat.wire.openai_chat import Reader

from ...support.pool_requests import ask
from ...support.running_gateway import DONE, END, FIRST, Stage, text, until
from ...support.scripted_server import Say, Seen, Server

Serve = Callable[..., Awaitable[Server]]
KEY = "sk-a-key-that-nobody-else-has"


def bit_by_bit(data: bytes, *headers: tuple[str, str], end: str = "last") -> Any:
    """A server that sends ``data`` a byte a chunk, each when the one before it has gone."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.head(headers=headers)
        for number in range(len(data)):
            await say.chunk(data[number : number + 1])
            await asyncio.sleep(0)
        await getattr(say, end)()

    return handler


async def piped(response: PooledResponse) -> bytes:
    """All that a pipe gives."""
    pieces: list[bytes] = []
    await response.pipe(lambda data: pieces.append(data) is not None)
    assert all(pieces), "an empty piece was given"
    return b"".join(pieces)


@pytest.mark.parametrize("coding", ["", "gzip"])
async def test_all_of_a_body_is_given(serve: Serve, coding: str) -> None:
    """In order and once, decompressed or as it came, and the connection is kept."""
    body = bytes(range(256)) * 2
    server = await serve(bit_by_bit(gzip.compress(body), ("Content-Encoding", coding)) if coding else bit_by_bit(body))
    for _ in range(2):
        async with await ask(server.url) as response:
            assert await piped(response) == body
    assert server.connections == 1


async def test_a_credential_is_taken_out_wherever_it_is_cut(serve: Serve) -> None:
    """Across as many reads as it comes in, at the end too."""
    server = await serve(bit_by_bit(f"it is {KEY} and {KEY[:9]}".encode()))
    async with await ask(server.url, headers={"authorization": f"Bearer {KEY}"}) as response:
        body = await piped(response)
    assert KEY.encode() not in body
    assert body.startswith(b"it is ")
    assert body.endswith(f" and {KEY[:9]}".encode())


async def test_what_came_is_given_before_the_loss_is_raised(serve: Serve) -> None:
    """With what was held back as the beginning of a credential."""
    server = await serve(bit_by_bit(f"some {KEY[:5]}".encode(), end="cut"))
    pieces: list[bytes] = []
    with pytest.raises(errors.Truncated):
        async with await ask(server.url, headers={"authorization": f"Bearer {KEY}"}) as response:
            await response.pipe(lambda data: pieces.append(data) is not None)
    assert b"".join(pieces) == f"some {KEY[:5]}".encode()


async def test_what_a_sink_raises_is_raised_where_the_pipe_is_awaited(serve: Serve) -> None:
    """And the connection, whose body was not read to its end, is not used again."""

    async def rest(seen: Seen, say: Say) -> None:
        await say.chunk(b"b")
        await say.gone()

    stage = Stage(b"a", then=rest)
    server = await serve(stage)

    def sink(data: bytes) -> bool:
        if b"b" in data:
            raise ZeroDivisionError
        stage.go.set()
        return False

    with pytest.raises(ZeroDivisionError):
        async with await ask(server.url) as response:
            await response.pipe(sink)
    assert not pool()._origin_of


async def test_a_sink_that_has_enough_ends_the_pipe(serve: Serve) -> None:
    """What comes after that is not given to it."""
    stage = Stage(b"a", rest=[b"b", b"c"])
    server = await serve(stage)
    pieces: list[bytes] = []

    def sink(data: bytes) -> bool:
        pieces.append(data)
        stage.go.set()
        return len(pieces) == 2

    async with await ask(server.url) as response:
        await response.pipe(sink)
        for _ in range(20):
            await asyncio.sleep(0)
    assert b"".join(pieces)[:2] == b"ab"
    assert len(pieces) == 2


@pytest.mark.parametrize("coding", ["", "gzip"])
async def test_nothing_is_given_to_a_sink_that_is_paused(serve: Serve, coding: str) -> None:
    """Until it is resumed; the idle timeout does not run meanwhile, and what the server sent then is not lost."""
    large = b"x" * 3_000_000
    pack = gzip.compress if coding else bytes
    go = asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        await say.head(headers=[("Content-Encoding", coding)] if coding else [])
        await say.chunk(pack(b"a"))
        await go.wait()
        await say.chunk(pack(large))
        await say.last()

    server = await serve(handler)
    pieces: list[bytes] = []
    async with await ask(server.url, timeouts=Timeouts(idle=0.05)) as response:

        def sink(data: bytes) -> bool:
            pieces.append(data)
            response.pause()
            return False

        piping = asyncio.ensure_future(response.pipe(sink))
        while not pieces:
            await asyncio.sleep(0)
        go.set()
        count = len(pieces)
        for _ in range(3):
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(pieces) == count
            assert response._connection.timer._due == inf, "the clock runs"
            assert response._connection._body_size <= 1024 * 1024
            response.resume()
            while len(pieces) == count:
                await asyncio.sleep(0)
            count = len(pieces)
        while not piping.done():
            response.resume()
            await asyncio.sleep(0)
        await piping
    assert b"".join(pieces).endswith(large)


async def test_a_server_that_is_lost_while_a_sink_is_paused(serve: Serve) -> None:
    """The sink has what came when it is resumed, and then the loss is raised."""
    go = asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        await say.head()
        await say.chunk(b"a")
        await go.wait()
        await say.chunk(b"b")
        await say.cut()

    server = await serve(handler)
    pieces: list[bytes] = []
    async with await ask(server.url) as response:
        piping = asyncio.ensure_future(response.pipe(lambda data: pieces.append(data) is not None))
        while not pieces:
            await asyncio.sleep(0)
        response.pause()
        response._connection.transport.resume_reading()  # as a transport that had a read under way
        go.set()
        while response._connection.error is None:
            await asyncio.sleep(0)
        assert (pieces, piping.done()) == ([b"a"], False)
        response.resume()
        with pytest.raises(errors.Truncated):
            await piping
    assert pieces == [b"a", b"b"]


async def test_a_response_that_another_task_closes_ends_its_pipe(serve: Serve) -> None:
    """With an error, and nothing of the next reply on the connection is given to its sink."""
    stage = Stage(b"a")
    server = await serve(stage)
    pieces: list[bytes] = []
    response = await ask(server.url)
    piping = asyncio.ensure_future(response.pipe(lambda data: pieces.append(data) is not None))
    while not pieces:
        await asyncio.sleep(0)
    response.close()
    with pytest.raises(errors.NotReady):
        await piping
    assert response._connection.sink is None


async def test_a_pipe_that_is_cancelled_gives_nothing_more(serve: Serve) -> None:
    """Its connection is closed with the response."""
    stage = Stage(b"a", rest=[b"b"])
    server = await serve(stage)
    pieces: list[bytes] = []
    async with await ask(server.url) as response:
        piping = asyncio.ensure_future(response.pipe(lambda data: pieces.append(data) is not None))
        while not pieces:
            await asyncio.sleep(0)
        piping.cancel()
        await asyncio.gather(piping, return_exceptions=True)
        assert response._connection.sink is None
    await until(stage.left)
    assert pieces == [b"a"]


@pytest.mark.parametrize("end", ["last", "cut"])
async def test_events_are_pushed_as_they_would_be_pulled(serve: Serve, end: str) -> None:
    """The first batch is taken of the one, the rest of the other; each ends in one ``Finish``."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.head(content_type="text/event-stream")
        for piece in (FIRST, text("Hel"), text("lo"), *((END, DONE) if end == "last" else ())):
            await say.chunk(piece)
            await asyncio.sleep(0)
        await getattr(say, end)()

    server = await serve(handler)
    async with await ask(server.url) as response:
        pulled = [event async for batch in response.events(Reader()) for event in batch]
    async with await ask(server.url) as response:
        reader = Reader()
        batches = response.events(reader)
        pushed = list(await anext(batches))
        await response.event_pipe(reader).pipe(lambda batch: pushed.extend(batch) is not None)
        await batches.aclose()
    assert [type(event) for event in pushed] == [type(event) for event in pulled]
    assert "".join(event.text for event in pushed if isinstance(event, Text)) == "Hello"
    assert isinstance(pushed[-1], Finish)
    assert pushed[-1].verdict == ("complete" if end == "last" else "truncated")

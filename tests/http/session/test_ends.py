"""How requests end: by a clock, by their caller, with their session."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from polychat import errors
from polychat.events import Finish, Text
from polychat.transport import StreamSession, Timeouts

from ...support import tls
from ...support.proxies import listening
from ...support.scripted_server import Say, Seen, Server, serving
from ...support.word_reader import Words

Serve = Callable[..., Awaitable[Server]]


async def hello(seen: Seen, say: Say) -> None:
    await say.whole({"path": seen.path, "method": seen.method})


# Timeouts


async def silent(seen: Seen, say: Say) -> None:
    await say.gone()


async def test_the_head_has_the_idle_clock(serve: Serve) -> None:
    """A server that takes the request and says nothing."""
    server = await serve(silent)
    async with StreamSession(timeout=Timeouts(first=0.05, idle=0.05, total=20)) as session:
        with pytest.raises(errors.TimedOut) as caught:
            await session.get(server.url)
    assert (caught.value.clock, caught.value.seconds) == ("first", 0.05)


async def test_the_body_has_the_idle_clock(serve: Serve) -> None:
    """What came is given; then the error."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.head()
        await say.chunk(b"a\n")
        await say.gone()

    server = await serve(handler)
    async with StreamSession(timeout=Timeouts(first=0.05, idle=0.05)) as session:
        response = await session.get(server.url)
        lines = response.iter_lines()
        assert await anext(lines) == b"a"
        with pytest.raises(errors.TimedOut, match="idle"):
            await anext(lines)
        response = await session.get(server.url)
        events = [event async for batch in response.events(Words()) for event in batch]
    match events:
        case [Text("a"), Finish("truncated", None, errors.TimedOut(clock="idle"))]:
            pass
        case _:
            pytest.fail(f"not what came: {events}")


async def test_the_total_clock_ends_a_reply_that_never_ends(serve: Serve) -> None:
    """Bytes keep coming; that does not help. The server is rid of us."""
    left = asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        try:
            await say.head()
            while True:
                await say.chunk(b"word\n" * 50_000)
        finally:
            left.set()

    server = await serve(handler)
    async with asyncio.timeout(60), StreamSession(timeout=0.1) as session:
        with pytest.raises(errors.TimedOut) as caught:
            async with session.get(server.url) as response:
                async for _ in response.iter_content():
                    pass
        await left.wait()
    assert (caught.value.clock, caught.value.seconds) == ("total", 0.1)


async def test_the_total_clock_ends_it_for_a_slow_reader_too(serve: Serve) -> None:
    """One that always finds something to read when it comes back, and never has to wait."""

    async def handler(seen: Seen, say: Say) -> None:
        if seen.path == "/":
            await say.whole(b"")
        else:
            await say.head()
            while True:
                await say.chunk(b"word\n" * 50_000)

    server = await serve(handler)
    async with asyncio.timeout(60), StreamSession() as session:
        response = await session.get(f"{server.url}/endless", timeout=0.1)
        with pytest.raises(errors.TimedOut, match="total"):
            async for _ in response.iter_content():
                await session.get(f"{server.url}/")


async def test_a_requests_timeout_is_in_place_of_the_sessions(serve: Serve) -> None:
    """For that request, its redirects and its head."""
    server = await serve(silent)
    async with StreamSession(timeout=60) as session:
        with pytest.raises(errors.TimedOut) as caught:
            await session.get(server.url, timeout=0.05)
    assert (caught.value.clock, caught.value.seconds) == ("total", 0.05)


async def test_a_connection_has_the_connect_clock() -> None:
    """TLS with a server that does not answer it is no connection yet."""

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(mute, "https") as server, StreamSession(timeout=Timeouts(connect=0.05)) as session:
        with pytest.raises(errors.TimedOut) as caught:
            await session.get(server.url)
    assert (caught.value.clock, caught.value.seconds) == ("connect", 0.05)


async def test_the_deadline_bounds_all_requests(serve: Serve) -> None:
    """One that is past sends nothing, not even on an idle connection; one that comes ends the request it finds."""

    async def handler(seen: Seen, say: Say) -> None:
        if seen.path == "/":
            await say.whole(b"")
        else:
            await say.head()
            await say.gone()

    server = await serve(handler)
    now = asyncio.get_running_loop().time()
    async with StreamSession(deadline=now + 0.2) as session:
        held = await session.get(f"{server.url}/hold")
        await session.get(f"{server.url}/")
        with pytest.raises(errors.TimedOut, match="total"):
            await held.read()
        with pytest.raises(errors.TimedOut, match="total"):
            await session.get(f"{server.url}/")
    assert [seen.path for seen in server.seen] == ["/hold", "/"]


async def test_no_clock_runs_while_the_caller_is_elsewhere(serve: Serve) -> None:
    """A caller that takes longer over a piece than the server may take for the next is not late."""

    async def handler(seen: Seen, say: Say) -> None:
        if seen.path == "/silent":
            await say.gone()
        await say.head()
        await say.chunk(b"one")
        await go.wait()
        await say.chunk(b"two")
        await say.last()

    go = asyncio.Event()
    server = await serve(handler)
    async with StreamSession(timeout=Timeouts(first=0.05, idle=0.05)) as session, session.get(server.url) as response:
        pieces = response.iter_content()
        assert await anext(pieces) == b"one"
        for _ in range(3):
            with pytest.raises(errors.TimedOut):  # this is how time passes here
                await session.get(f"{server.url}/silent")
        go.set()
        assert [piece async for piece in pieces] == [b"two"]


async def test_a_reply_that_came_in_time_may_be_read_late(serve: Serve) -> None:
    """The total clock does not take from the caller what had come whole."""

    async def handler(seen: Seen, say: Say) -> None:
        await (say.gone() if seen.path == "/silent" else say.whole(b"whole"))

    server = await serve(handler)
    async with StreamSession(timeout=0.1) as session:
        response = await session.get(server.url)
        with pytest.raises(errors.TimedOut):
            await session.get(f"{server.url}/silent")
        assert await response.text() == "whole"


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


# Closing


@pytest.mark.parametrize("path", ["/head", "/body"])
async def test_a_cancelled_callers_connection_is_closed(serve: Serve, path: str) -> None:
    """The server sees it, whether it has answered or not; the session goes on."""
    arrived, left = asyncio.Event(), asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        if seen.path == "/body":
            await say.head()
            await say.chunk(b"x")
        if seen.path != "/":
            arrived.set()
            await say.gone()
            left.set()
        else:
            await say.whole(b"")

    async def read() -> None:
        async with session.get(server.url + path) as response:
            await response.read()

    server = await serve(handler)
    async with StreamSession() as session, asyncio.timeout(60):
        task = asyncio.create_task(read())
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await left.wait()
        assert (await session.get(server.url)).ok


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("how", ["generator", "response", "session"])
async def test_leaving_early_closes_the_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str, secure: bool
) -> None:
    """By closing the generator, the response, or the session around them; over TLS too."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca_file(tmp_path)))
    left = asyncio.Event()

    async def handler(seen: Seen, say: Say) -> None:
        await say.head()
        await say.chunk(b"x")
        try:
            await say.gone()
        finally:
            left.set()

    server = await serve(handler, tls.server_context() if secure else None)
    async with asyncio.timeout(60):
        async with StreamSession() as session:
            response = await session.get(server.url)
            pieces = response.iter_content()
            assert await anext(pieces) == b"x"
            if how == "generator":
                await pieces.aclose()
                await left.wait()
            elif how == "response":
                response.close()
                await left.wait()
        await left.wait()
        await pieces.aclose()


@pytest.mark.parametrize("answers", [False, True])
async def test_a_server_that_does_not_read_holds_nobody_up(serve: Serve, answers: bool) -> None:
    """A request whose body is not taken ends with its clock or with the answer, and its connection with it."""
    full, over = asyncio.Event(), asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        if answers:
            await full.wait()
            writer.write(b"HTTP/1.1 413 Too large\r\nContent-Length: 5\r\n\r\n")
        await over.wait()
        writer.transport.abort()

    other = await serve(hello)
    async with listening(deaf) as server, asyncio.timeout(60):
        async with StreamSession(timeout=Timeouts(first=10 if answers else 0.1, idle=10 if answers else 0.1)) as session:
            asking = asyncio.create_task(_awaited(session.post(server.url, data=b"x" * 30_000_000)))
            for _ in range(20):
                await session.get(other.url)  # once these are answered, as much as can be is sent
            full.set()
            if answers:
                (await asking).close()
            else:
                with pytest.raises(errors.TimedOut, match="first"):
                    await asking
            await session.get(other.url)  # once this is answered, what was closed is closed
        assert not any(_is_open_to(server.port, thing) for thing in gc.get_objects())
        over.set()


def _is_open_to(port: int, thing: object) -> bool:
    try:
        if not isinstance(thing, asyncio.Transport) or thing.get_extra_info("peername") != ("127.0.0.1", port):
            return False
    except AttributeError:
        return False  # asyncio's TLS, when it is over and not yet collected
    return bool(thing.get_extra_info("socket").fileno() != -1)


async def test_a_response_that_was_read_is_not_kept(serve: Serve) -> None:
    """A session that lives long does not grow with its requests."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.head()
        await received.wait()
        received.clear()
        await say.last()

    received = asyncio.Event()
    server = await serve(handler)
    async with StreamSession() as session:
        references = []
        for _ in range(3):
            response = await session.get(server.url)
            received.set()
            await response.read()
            references.append(weakref.ref(response))
        del response
        gc.collect()
        assert [reference() for reference in references] == [None] * 3
    assert server.connections == 1


async def test_a_connection_is_used_again(serve: Serve) -> None:
    """For the next request of the session, where the last body came whole, read or not."""
    server = await serve(hello)
    async with StreamSession() as session:
        for _ in range(3):
            async with session.get(server.url) as response:
                assert response.ok
            await (await session.get(server.url)).read()
    assert (server.connections, len(server.seen)) == (1, 6)


def test_two_loops_in_two_threads_do_not_meet() -> None:
    """Each with sessions of its own, at the same time."""
    meet = threading.Barrier(2, timeout=20)
    failures: list[BaseException] = []

    async def ask(name: str) -> None:
        async def handler(seen: Seen, say: Say) -> None:
            await say.whole({"cookie": seen.headers.get("cookie", "")}, headers=[("Set-Cookie", f"set={name}; Path=/")])

        async with serving(handler) as server, StreamSession(cookies={"given": name}, timeout=20) as session:
            meet.wait()
            for _ in range(20):
                response = await session.get(server.url)
            assert sorted((await response.json())["cookie"].split("; ")) == [f"given={name}", f"set={name}"]

    def run(name: str) -> None:
        try:
            asyncio.run(ask(name))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []

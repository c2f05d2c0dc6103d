"""The ASGI application that mounts the answering halves, with a service of the test's own behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from polychat import errors
from polychat.config.settings import Route
from polychat.events import Event, Finish, Text
from polychat.gateway.sites import Sites, echo, routed
from polychat.transport import StreamSession
from polychat.wire.answering import Request, Response, SiteRequest
from polychat.wire.reading import complete

from ..support.running_gateway import FIRST, configured, gateway, good, row, streaming, text
from ..support.sites_application import running


class PlainWriter:
    """Text as it is; a failure as a line of its own, or as status 500 where the answer is whole."""

    def __init__(self, streams: bool) -> None:
        self.streams = streams
        self.status = 200
        self.content_type = "text/plain"
        self.headers = [("X-Plain", "yes")]
        self._held = b""

    def write(self, events: list[Event]) -> bytes:
        out = b""
        for event in events:
            match event:
                case Text(text):
                    out += text.encode()
                case Finish(error=BaseException() as error):
                    self.status = 500
                    out += f"!{type(error).__name__}: {error}".encode()
        if self.streams:
            return out
        self._held += out
        return b""

    def end(self) -> bytes:
        return b"." if self.streams else self._held


class PlainSite:
    """Any POST is a question; any GET says how it looks from here."""

    limits = 100

    def __init__(self) -> None:
        self.heard: list[Request] = []

    def receive(self, request: Request) -> Response | SiteRequest:
        self.heard.append(request)
        if request.method == "GET":
            return Response(
                203, f"{request.base} {request.path} {dict(request.query)} {request.cookie('c')}".encode(), "text/plain"
            )
        text = request.body.decode()
        return SiteRequest(text, [{"role": "user", "content": text}], PlainWriter(request.path == "/stream"))


def plain(answer: Any = echo) -> Sites:
    return Sites(answer, {"plain": PlainSite()})


async def test_a_site_sees_its_own_address_path_query_and_cookies() -> None:
    """The base is where clients reach it; the path is below that."""
    async with running(plain()) as url, StreamSession(cookies={"c": "d"}) as session:
        async with session.get(f"{url}/plain/a/b?x=1&y=") as response:
            assert (response.status, await response.text()) == (203, f"{url}/plain /a/b {{'x': '1', 'y': ''}} d")
        async with session.get(f"{url}/plain") as response:
            assert (await response.text()).split()[1] == "/"


async def test_the_root_lists_the_sites_and_the_rest_is_not_there() -> None:
    """A person who opens the address sees where to go; an unknown name is 404 with the same list."""
    async with running(plain()) as url, StreamSession() as session:
        for path, status in (("/", 200), ("/nope/x", 404)):
            async with session.get(url + path) as response:
                assert (response.status, await response.text()) == (status, f"{url}/plain\n")


@pytest.mark.parametrize(("path", "end"), [("/stream", "."), ("/whole", "")])
async def test_an_answer_streams_or_is_whole(path: str, end: str) -> None:
    """Both kinds of writer, with their headers."""
    async with (
        running(plain()) as url,
        StreamSession() as session,
        session.post(f"{url}/plain{path}", data="héllo") as response,
    ):
        assert response.headers["x-plain"] == "yes"
        assert await response.text() == "echo: héllo" + end


async def test_a_large_body_is_refused() -> None:
    """More than the site takes is 413, and the site never sees it."""
    app = plain()
    async with running(app) as url, StreamSession() as session:
        for size, status in ((100, 200), (101, 413), (5_000_000, 413)):
            async with session.post(f"{url}/plain/whole", data=b"x" * size) as response:
                assert response.status == status
    assert [len(request.body) for request in app.sites["plain"].heard] == [100]  # type: ignore[attr-defined]


async def test_a_backends_error_is_written_in_the_sites_own_way() -> None:
    """What the backend raises before or after its first piece reaches the writer as a ``Finish``."""

    async def early(question: SiteRequest) -> AsyncGenerator[list[Event], None]:
        raise errors.MissingWeights("pull first")
        yield []

    async def late(question: SiteRequest) -> AsyncGenerator[list[Event], None]:
        yield [Text("so far ")]
        raise errors.Truncated("cut")

    for answer, written in ((early, "!ReplyFailed: pull first"), (late, "so far !Truncated: cut")):
        async with running(plain(answer)) as url, StreamSession() as session:
            async with session.post(f"{url}/plain/whole", data="x") as response:
                assert (response.status, await response.text()) == (500, written)
            async with session.post(f"{url}/plain/stream", data="x") as response:
                assert (response.status, await response.text()) == (200, written + ".")


@pytest.mark.parametrize("path", ["/stream", "/whole"])
async def test_a_client_that_leaves_ends_the_answer(path: str) -> None:
    """The backend's answer is closed when the client's connection is, in a stream and before a whole answer."""
    begun, closed = asyncio.Event(), asyncio.Event()

    async def slow(question: SiteRequest) -> AsyncGenerator[list[Event], None]:
        try:
            yield [Text("x")]
            begun.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with asyncio.timeout(60), running(plain(slow)) as url:
        async with StreamSession() as session:
            asking = asyncio.create_task(_read(session, f"{url}/plain{path}"))
            await begun.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        await closed.wait()


async def test_a_client_that_leaves_amid_its_question_asks_nothing() -> None:
    """The site never sees what came of it."""
    app = plain()
    async with asyncio.timeout(60), running(app) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(b"POST /plain/whole HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\nhal")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with StreamSession() as session, session.post(f"{url}/plain/whole", data="whole") as response:
            assert response.status == 200
    assert [request.body for request in app.sites["plain"].heard] == [b"whole"]  # type: ignore[attr-defined]


async def test_a_target_whose_streams_break_off_is_passed_over(serve: Any) -> None:
    """For a route's other targets, as at the gateway's other endpoints."""
    bad, good_one = await serve(streaming(FIRST, text("so"), cut=True)), await serve(good)
    rows = {"bad": row("openai-chat", bad.url), "good": row("openai-chat", good_one.url)}
    route = Route(targets=("bad/small", "good/small"), strategy="ordered")
    async with gateway(configured(rows, routes={"mine": route})) as here:
        answer = routed(here.app.runtime, "mine")
        question = SiteRequest("hi", [{"role": "user", "content": "hi"}], PlainWriter(True))
        for _ in range(6):
            batches = [batch async for batch in answer(question)]
    assert good_one.seen
    assert "".join(event.text for batch in batches for event in batch if isinstance(event, Text)) == "Hello"


async def _read(session: Any, url: str) -> None:
    async with session.post(url, data="x") as response, aclosing(response.iter_content()) as pieces:
        async for _ in pieces:
            pass


async def test_echo_returns_the_prompt_in_pieces() -> None:
    """``echo: `` and the text, in more than one piece, complete."""
    question = SiteRequest("hello there", [], PlainWriter(True))
    batches = [batch async for batch in echo(question)]
    assert len(batches) > 3
    assert "".join(event.text for batch in batches for event in batch if isinstance(event, Text)) == "echo: hello there"
    assert batches[-1] == [complete("stop")]

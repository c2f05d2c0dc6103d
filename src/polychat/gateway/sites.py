"""The server side of the chat sites, as an ASGI application: each under the name of its provider's file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl

from ..backends.registry import Registry
from ..choices import SitesEra
from ..errors import PolychatError
from ..events import Event, Finish, Text
from ..http.server.asgi import (
    ClientLeft,
    Headers,
    Receive,
    Scope,
    Send,
    TooLarge,
    TooSlow,
    body_of,
    lifespan,
    respond,
    with_read_limits,
)
from ..providers import every
from ..routing import Target
from ..routing.attempts import Attempts
from ..wire.answering import ERA, Request, Response, Site, SiteRequest
from ..wire.reading import complete, failure_in, finish_of

if TYPE_CHECKING:
    from .runtime import Runtime

Answer: TypeAlias = Callable[[SiteRequest], AsyncGenerator[list[Event], None]]
"""Answers a question: its events, the last one a ``Finish``. It may raise ``PolychatError`` before the first."""

_ECHO_PIECE = 4


async def echo(question: SiteRequest) -> AsyncGenerator[list[Event], None]:
    """``echo: `` and the message or prompt as it arrived, a few characters at a time."""
    answer = f"echo: {question.text}"
    for start in range(0, len(answer), _ECHO_PIECE):
        yield [Text(answer[start : start + _ECHO_PIECE])]
        await asyncio.sleep(0)  # lets the loop detect that the client has left
    yield [complete("stop")]


def target(name: str, registry: Registry) -> Answer:
    """Answers by asking ``provider/model``. Raises ``UnknownTarget`` at once if there is no such provider."""
    backend, model = registry.resolve(name)

    def answer(question: SiteRequest) -> AsyncGenerator[list[Event], None]:
        settings: dict[str, Any] = dict(question.settings)
        return backend.events(model, question.messages, **settings)

    return answer


def routed(runtime: Runtime, name: str) -> Answer:
    """Answers with the targets that a model's name resolves to. Raises ``UnknownTarget`` and ``BadInput`` at once."""
    plan = runtime.resolver.plan(name)

    async def answer(question: SiteRequest) -> AsyncGenerator[list[Event], None]:
        settings: dict[str, Any] = dict(question.settings)

        async def ask(to: Target) -> tuple[AsyncGenerator[list[Event], None], list[Event]]:
            batches = to.backend.events(to.model or None, question.messages, **settings)
            return batches, await anext(batches)

        attempts = Attempts()
        batches, batch = await runtime.router.run(plan, ask, attempts)
        try:
            async with aclosing(batches):
                yield batch
                async for batch in batches:
                    yield batch
        finally:
            last = batch[-1]
            if isinstance(last, Finish) and last.error is None:
                attempts.completed()
            attempts.end(failure_in(batch))

    return answer


def services(era: SitesEra = ERA) -> dict[str, Site]:
    """A new ``Site`` of each service that has one, by the name under which it is mounted."""
    return {provider.__name__.lower(): _made(provider.site, era) for provider in every() if provider.site is not None}


def _made(site: type[Site], era: SitesEra) -> Site:
    dated: Callable[[SitesEra], Site] | None = getattr(site, "in_era", None)
    return site() if dated is None else dated(era)


class Sites:
    """The ASGI application. The state of its sites lives as long as it does.

    ``patience``: maximum seconds without a byte of a request's body; ``upload``: maximum for the whole body.
    """

    def __init__(
        self, answer: Answer, sites: Mapping[str, Site] | None = None, *, patience: float = 30.0, upload: float = 300.0
    ) -> None:
        self.sites = services() if sites is None else sites
        self._answer, self._patience, self._upload = answer, patience, upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            raise RuntimeError(f"the sites support HTTP only, not {scope['type']}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, _, rest = scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/").partition("/")
        site = self.sites.get(name)
        if site is None:
            await _respond(send, Response(200 if not name else 404, self._index(scope), "text/plain; charset=utf-8"))
            return
        try:
            body = await body_of(with_read_limits(receive, self._patience, self._upload), site.limits)
        except (TooLarge, TooSlow) as error:
            status = 413 if isinstance(error, TooLarge) else 408
            response = Response(status, f"{error}\n".encode(), "text/plain; charset=utf-8", [("Connection", "close")])
            await _respond(send, response)
            return
        except ClientLeft:
            return
        answer = site.receive(_request(scope, name, "/" + rest, body))
        if isinstance(answer, Response):
            await _respond(send, answer)
        else:
            await _until_left(receive, self._speak(answer, send))

    def _index(self, scope: Scope) -> bytes:
        return "".join(f"{_base(scope, name)}\n" for name in self.sites).encode()

    async def _speak(self, question: SiteRequest, send: Send) -> None:
        writer = question.writer
        if not writer.streams:
            async for batch in self._events(question):
                writer.write(batch)
            body = writer.end()
            await _respond(send, Response(writer.status, body, writer.content_type, writer.headers))
            return
        head = _head(writer.content_type, writer.headers)
        await send({"type": "http.response.start", "status": writer.status, "headers": head})
        async with aclosing(self._events(question)) as batches:
            async for batch in batches:
                if data := writer.write(batch):
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": writer.end(), "more_body": False})

    async def _events(self, question: SiteRequest) -> AsyncGenerator[list[Event], None]:
        """The answer's events; its errors too, as a ``Finish``."""
        try:
            async with aclosing(self._answer(question)) as batches:
                async for batch in batches:
                    yield batch
        except PolychatError as error:
            yield [finish_of(error)]


async def _until_left(receive: Receive, work: Any) -> None:
    """Run ``work`` until it is done or the client has left, whichever is first."""
    speaking = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({speaking, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (speaking, leaving):
            task.cancel()
        await asyncio.wait({speaking, leaving})
    if not speaking.cancelled():
        speaking.result()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _request(scope: Scope, name: str, path: str, body: bytes) -> Request:
    headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
    query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
    return Request(scope["method"], path, query, headers, body, _base(scope, name))


def _base(scope: Scope, name: str) -> str:
    host = next((value.decode("latin-1") for key, value in scope["headers"] if key == b"host"), None)
    if host is None:
        host = "{}:{}".format(*(scope.get("server") or ("127.0.0.1", 80)))
    return f"{scope.get('scheme', 'http')}://{host}{scope.get('root_path', '')}/{name}"


def _head(content_type: str, headers: list[tuple[str, str]]) -> Headers:
    return [
        (key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in [("content-type", content_type), *headers]
    ]


async def _respond(send: Send, response: Response) -> None:
    await respond(send, response.status, _head(response.content_type, response.headers), response.body)

"""A running gateway in the test's own loop whose records a test reads, and a client that is seen byte by byte."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from polychat.config import Config
from polychat.config.settings import GatewaySettings as Settings
from polychat.config.settings import Route
from polychat.gateway.admission.guards import guards_of, in_order
from polychat.gateway.app import Gateway
from polychat.gateway.context import Guard
from polychat.gateway.observe.record import Observer, Record
from polychat.http.server.protocol import ServerConnection
from polychat.http.server.state import ServerState

from .patience import PATIENCE
from .scripted_server import Say, Seen

BASES = {"openai-chat": "/v1", "openai-responses": "/v1", "anthropic": "", "gemini": "/v1beta", "ollama": ""}
"""Where each wire's paths begin."""


def row(wire: str, url: str, **more: Any) -> dict[str, Any]:
    """A backend of one's own, as ``[providers.NAME]`` says it; it serves ``small`` by default."""
    return {"wire": wire, "base_url": url + BASES[wire], "serves": ["small"], **more}


def configured(
    providers: Mapping[str, dict[str, Any]],
    *,
    routes: Mapping[str, tuple[str, ...] | Route] | None = None,
    aliases: Mapping[str, str] | None = None,
    **settings: Any,
) -> Config:
    """A gateway's configuration: no line a request, no sites, and no signs of life, unless ``settings`` say so."""
    plans = {
        name: one if isinstance(one, Route) else Route(targets=one, strategy="ordered") for name, one in (routes or {}).items()
    }
    options = Settings(**{"log": "off", "sites": "", "heartbeat": 0.0, **settings})
    return Config(providers=providers, gateway=options, routes=plans, aliases=aliases or {})


def with_guards(head: list[Guard], chat: list[Guard]) -> dict[str, Any]:
    """A gateway's own guards, and these after them."""
    return {"guards": lambda runtime, service: in_order([*guards_of(runtime, service).head, *head], chat)}


class Watched(Gateway):
    """Keeps the record of each request."""

    def __init__(self, configured: Config, **options: Any) -> None:
        self.records: list[Record] = []
        self.bugs: list[Exception] = []
        self._waiting: list[tuple[int, asyncio.Event]] = []
        super().__init__(configured, **options)

    def _observing(self) -> tuple[Observer, ...]:
        return (*super()._observing(), self._keep)

    def _keep(self, record: Record) -> None:
        self.records.append(record)
        for count, event in self._waiting:
            if len(self.records) >= count:
                event.set()

    def bug(self, error: Exception, record: Record) -> None:
        self.bugs.append(error)
        super().bug(error, record)

    async def recorded(self, count: int = 1) -> list[Record]:
        """The records, when there are so many."""
        event = asyncio.Event()
        self._waiting.append((count, event))
        if len(self.records) < count:
            async with asyncio.timeout(PATIENCE):
                await event.wait()
        return self.records


@dataclass
class Answer:
    """``headers`` by name in lower case; of one that is there twice the last."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[str]:
        """Of a stream: each event's lines, without the blank line."""
        return [event for event in self.body.decode().replace("\r\n", "\n").split("\n\n") if event]


class Caller:
    """One connection of a client. Requests go one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._chunked, self._left = False, 0

    def raw(self, data: bytes) -> None:
        self._writer.write(data)

    def ask(self, path: str, body: Any = None, method: str = "", headers: Mapping[str, str] | None = None) -> None:
        """``body`` goes as JSON where it is not bytes."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        all_headers = {
            "host": "127.0.0.1",
            **({"content-type": "application/json"} if body is not None else {}),
            **(headers or {}),
        }
        if body is not None:
            all_headers["content-length"] = str(len(data))
        lines = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items() if value is not None)
        method = method or ("GET" if body is None else "POST")
        self.raw(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + data)

    async def head(self) -> Answer:
        """The next answer's status and headers."""
        async with asyncio.timeout(PATIENCE):
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._chunked = headers.get("transfer-encoding") == "chunked"
        self._left = int(headers.get("content-length", 0))
        return Answer(int(first.split(" ", 2)[1]), headers)

    async def chunk(self) -> bytes:
        """What is sent next of a streamed body; nothing at its end. Raises ``IncompleteReadError`` for one that breaks off."""
        async with asyncio.timeout(PATIENCE):
            line = await self._reader.readline()
            if not line:
                raise asyncio.IncompleteReadError(b"", None)
            data = await self._reader.readexactly(int(line, 16))
            await self._reader.readexactly(2)
        return data

    async def until(self, mark: bytes) -> bytes:
        """Of a streamed body, as far as the chunk that brings ``mark``."""
        got = b""
        while mark not in got:
            data = await self.chunk()
            assert data, f"the body ended without {mark!r}: {got!r}"
            got += data
        return got

    async def rest(self) -> bytes:
        """What is left of the body."""
        if not self._chunked:
            async with asyncio.timeout(PATIENCE):
                return await self._reader.readexactly(self._left)
        parts = []
        while data := await self.chunk():
            parts.append(data)
        return b"".join(parts)

    async def whole(self) -> Answer:
        """The next answer."""
        answer = await self.head()
        answer.body = await self.rest()
        return answer

    async def some(self) -> bytes:
        """What comes next, whatever it is; nothing where the gateway has ended the connection."""
        return await self._reader.read(64 * 1024)

    async def over(self) -> bytes:
        """All that comes until the gateway closes the connection."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read()

    def stop_reading(self) -> None:
        """From here on, what is sent stays where it is."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    def small_window(self) -> None:
        """What comes and is not read is little: the gateway cannot send much more."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def read_again(self) -> None:
        """After ``stop_reading``."""
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]

    @property
    def unsent(self) -> int:
        """Bytes that the gateway has not taken."""
        return self._writer.transport.get_write_buffer_size()

    def end(self) -> None:
        """Say that nothing more is sent."""
        self._writer.write_eof()

    def leave(self) -> None:
        """As a program that is ended: at once."""
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()


@dataclass
class Running:
    """``url`` to ask, ``app`` that answers."""

    url: str
    app: Watched
    port: int
    callers: list[Caller] = field(default_factory=list)
    state: ServerState = field(default_factory=ServerState)

    @property
    def records(self) -> list[Record]:
        return self.app.records

    async def caller(self) -> Caller:
        """A new connection; it is closed at the end."""
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port))
        self.callers.append(caller)
        return caller

    async def ask(self, path: str, body: Any = None, method: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        """One request by a connection of its own."""
        caller = await self.caller()
        caller.ask(path, body, method, headers)
        answer = await caller.whole()
        caller.leave()
        return answer


@asynccontextmanager
async def gateway(
    configured: Config, *, under: Callable[[Gateway], Any] | None = None, **options: Any
) -> AsyncGenerator[Running, None]:
    """A gateway on a free port of loopback, in this loop.

    ``under`` gives the application it is a part of. ``options`` are the gateway's.
    An error that is a defect of the gateway is raised at the end.
    """
    app = Watched(configured, **options)
    loop = asyncio.get_running_loop()
    state = ServerState(under(app) if under else app, configured.gateway.limits)
    server = await loop.create_server(lambda: ServerConnection(state, loop), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    running = Running(f"http://127.0.0.1:{port}", app, port, state=state)
    try:
        yield running
    finally:
        for caller in running.callers:
            caller.leave()
        server.close()
        await ended(set(state.tasks))
        for connection in list(state.connections):
            connection.abort()
        state.close()
        await app.close()
    if app.bugs:
        raise app.bugs[0]


async def ended(tasks: set[asyncio.Task[Any]]) -> None:
    """When they are; those that do not end by themselves are cancelled."""
    if not tasks:
        return
    _, stuck = await asyncio.wait(tasks, timeout=PATIENCE)
    for task in stuck:
        task.cancel()
    assert not stuck, f"requests that do not end: {stuck}"


ASKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "openai-chat": ("/v1/chat/completions", "/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    "openai-completions": ("/v1/completions", "/v1/completions", {"prompt": "hi"}),
    "openai-responses": ("/v1/responses", "/v1/responses", {"input": "hi"}),
    "anthropic": ("/v1/messages", "/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}),
    "gemini": (
        "/v1beta/models/{model}:generateContent",
        "/v1beta/models/{model}:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
    ),
    "ollama": ("/api/chat", "/api/chat", {"messages": [{"role": "user", "content": "hi"}]}),
}
"""For each dialect, its path for a whole answer and for a stream, and the body."""


def asking(dialect: str, model: str = "house/small", *, stream: bool = False, **more: Any) -> tuple[str, dict[str, Any]]:
    """Path and body of the simplest request; the body is the caller's own to change."""
    whole, streamed, request_body = ASKS[dialect]
    request_body = deepcopy(request_body)
    body = {**request_body, **more} if dialect == "gemini" else {"model": model, "stream": stream, **request_body, **more}
    return (streamed if stream else whole).format(model=model), body


def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    """An event of OpenAI's."""
    value = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "small-1"}
    return event({**value, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more})


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


FIRST = chunk({"role": "assistant", "content": ""})
END = chunk({}, "stop")
USAGE = event({"id": "c", "model": "small-1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
DONE = b"data: [DONE]\n\n"


def text(words: str) -> bytes:
    return chunk({"content": words})


def completion(words: str, **more: Any) -> dict[str, Any]:
    """A whole answer of OpenAI's."""
    choice = {"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "small-1",
        "choices": [choice],
        "usage": usage,
        **more,
    }


def fault(status: int, kind: str = "server_error", message: str = "it says no", **headers: str) -> Any:
    """A backend that refuses everything."""

    async def handler(seen: Seen, say: Say) -> None:
        body = {"error": {"message": message, "type": kind, "code": None, "param": None}}
        await say.whole(body, status, headers=[(name.replace("_", "-"), value) for name, value in headers.items()])

    return handler


async def good(seen: Seen, say: Say) -> None:
    """A backend that answers ``Hello``."""
    if seen.json.get("stream"):
        usage = [USAGE] if (seen.json.get("stream_options") or {}).get("include_usage") else []
        await say.stream([FIRST, text("Hel"), text("lo"), END, *usage, DONE])
    else:
        await say.whole(completion("Hello"))


MODELS = {"object": "list", "data": [{"id": "small", "object": "model"}, {"id": "large", "object": "model"}]}


async def lists(seen: Seen, say: Say) -> None:
    """An API whose root is not there, as an API's is."""
    if seen.path == "/v1/models":
        await say.whole(MODELS)
    elif seen.path == "/v1/chat/completions":
        await good(seen, say)
    else:
        await say.whole({"error": {"message": "nothing here"}}, status=404)


def streaming(*pieces: bytes, cut: bool = False, apart: bool = False) -> Any:
    """A backend that streams these pieces, and ends or breaks off there; ``apart``: each is read before the next is sent."""

    async def handler(seen: Seen, say: Say) -> None:
        await say.head(content_type="text/event-stream")
        for piece in pieces:
            await say.chunk(piece)
            for _ in range(20 * apart):
                await asyncio.sleep(0)
        await (say.cut() if cut else say.last())

    return handler


class Stage:
    """A backend that says ``pieces``, then nothing until ``go``, then ``rest``; ``pieces`` of ``None`` is not even a head.

    ``asked``, ``left``: moments a test may wait for.
    """

    def __init__(self, *pieces: bytes | None, rest: Any = (), flowing: bool = False, then: Any = None) -> None:
        self.asked, self.left, self.go = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._pieces, self._rest, self._flowing, self._then = pieces, rest, flowing, then

    async def __call__(self, seen: Seen, say: Say) -> None:
        begins = self._pieces != (None,)
        if begins:
            await say.head(content_type="text/event-stream")
            for piece in self._pieces:
                await say.chunk(piece or b"")
        self.asked.set()
        if not await self._waited(say):
            self.left.set()
            return
        if self._then is not None:
            await self._then(seen, say)
            return
        if not begins:
            await say.head(content_type="text/event-stream")
        for piece in self._rest:
            if piece is None:
                await say.cut()
                return
            await say.chunk(piece)
        await say.last()

    async def _waited(self, say: Say) -> bool:
        """Whether the other side is still there when the test says ``go``."""
        gone, go = asyncio.ensure_future(say.gone()), asyncio.ensure_future(self.go.wait())
        try:
            if self._flowing:
                await self._flow(say, gone)
            await asyncio.wait({gone, go}, return_when=asyncio.FIRST_COMPLETED)
            return not gone.done()
        except ConnectionError:
            return False
        finally:
            for task in (gone, go):
                task.cancel()
            await asyncio.gather(gone, go, return_exceptions=True)

    async def _flow(self, say: Say, gone: asyncio.Future[None]) -> None:
        while not gone.done() and not self.go.is_set():
            await say.chunk(text("more "))
            await asyncio.sleep(0)


async def until(moment: asyncio.Event) -> None:
    """Wait for it, as long as it may take."""
    async with asyncio.timeout(PATIENCE):
        await moment.wait()

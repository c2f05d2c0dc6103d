"""The gateway's HTTP server in a thread of its own, with an application that a test can see into, and byte-level clients."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from polychat import config
from polychat.config.settings import GatewaySettings, Limits
from polychat.gateway.process.serving import Server
from polychat.http.server.listening import listen

from .patience import PATIENCE

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class News:
    """Where the application's log goes."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, message: str, **facts: Any) -> None:
        self.events.append((message, facts))


class App:
    """Answers by the path; remembers whom it met. ``on(path)`` sets what answers there."""

    def __init__(self, configured: config.Config | None = None, *, shared: Path | None = None) -> None:
        self.configured, self.shared = configured, shared
        self.log = News()
        self.seen: list[dict[str, Any]] = []
        self.closed = self.draining = False
        self.refused = ""
        self.running = 0
        self._idle = asyncio.Event()
        self._paths: dict[str, Any] = {}

    def on(self, path: str) -> Callable[[Any], Any]:
        return lambda answer: self._paths.setdefault(path, answer)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(scope)
        self.running += 1
        try:
            await self._paths.get(scope["path"], echo)(scope, receive, send)
        finally:
            self.running -= 1
            if not self.running:
                self._idle.set()

    def reload(self, configured: config.Config) -> None:
        self.configured = configured

    def drain(self) -> None:
        self.draining = True

    async def when_idle(self) -> None:
        self._idle.clear()
        if self.running:
            await self._idle.wait()

    async def close(self) -> None:
        self.closed = True

    @property
    def paths(self) -> list[str]:
        return [scope["path"] for scope in self.seen]


async def whole(receive: Any) -> bytes | None:
    """The request's body, or ``None`` where the client left first."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)


async def say(send: Any, body: bytes, status: int = 200, headers: Any = ()) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body = await whole(receive)
    if body is not None:
        seen = {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode(),
            "body": body.decode(),
        }
        await say(send, json.dumps(seen).encode())


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection, which sends exactly the given bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(PATIENCE)
        self.file = connection.makefile("rb")

    def send(self, *data: bytes) -> Client:
        for piece in data:
            self.socket.sendall(piece)
        return self

    def ask(self, path: str = "/", body: bytes = b"", *headers: bytes) -> Answer:
        self.send(request(path, body, *headers))
        return self.answer()

    def answer(self) -> Answer:
        """The next answer; raises ``EOFError`` where there is none."""
        first = self.file.readline()
        if not first:
            raise EOFError
        headers: dict[str, str] = {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name] = value.strip()
        return Answer(int(first.split(b" ", 2)[1]), headers, self._body(headers, first))

    def _body(self, headers: dict[str, str], first: bytes) -> bytes:
        if b" 100 " in first:
            return b""
        if "content-length" in headers:
            return self.file.read(int(headers["content-length"]))
        if "transfer-encoding" not in headers:
            return self.file.read()
        parts = []
        while size := int(self.file.readline(), 16):
            parts.append(self.file.read(size))
            self.file.readline()
        self.file.readline()
        return b"".join(parts)

    def answers(self) -> list[Answer]:
        """Those that come until the server closes the connection."""
        read_answers = []
        while True:
            try:
                read_answers.append(self.answer())
            except EOFError:
                return read_answers

    def ended(self) -> bool:
        """Whether the server closes the connection without another byte."""
        return self.file.read(1) == b""

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def request(path: str = "/", body: bytes = b"", *headers: bytes, method: bytes = b"") -> bytes:
    method = method or (b"POST" if body else b"GET")
    length = b"content-length: %d\r\n" % len(body) if body else b""
    return b"%b %b HTTP/1.1\r\nhost: here\r\n%b%b\r\n%b" % (
        method, path.encode(), length, b"".join(line + b"\r\n" for line in headers), body,
    )  # fmt: skip


@dataclass
class Hosted:
    """``port`` to connect to, ``app`` behind it; ``stop`` as a signal would."""

    app: App
    listener: socket.socket
    loop: asyncio.AbstractEventLoop = field(init=False)
    server: Server = field(init=False)
    up: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def client(self, tls: ssl.SSLContext | None = None) -> Client:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        return Client(tls.wrap_socket(connection, server_hostname="127.0.0.1") if tls else connection)

    def call(self, function: Any, *options: Any) -> Any:
        """A function's value, in the server's loop."""

        async def called() -> Any:
            return function(*options)

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(PATIENCE)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.server.stop)


@contextmanager
def hosted(
    app: App, limits: Limits | None = None, *, loop: str = "asyncio", tls: ssl.SSLContext | None = None, grace: float = 0.0
) -> Generator[Hosted]:
    """Serve ``app`` until the block ends; by then its thread has too."""
    settings = GatewaySettings(port=0, grace=grace, limits=limits or Limits())
    (listener,) = listen(settings)
    here = Hosted(app, listener)

    async def serving() -> None:
        here.loop = asyncio.get_running_loop()
        here.server = Server(app, settings, tls)
        task = asyncio.create_task(here.server.serve([listener.dup()]))
        await here.server.ready.wait()
        here.up.set()
        await task

    def run() -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(serving())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert here.up.wait(PATIENCE)
        yield here
    finally:
        here.stop()
        thread.join(PATIENCE)
        listener.close()
    assert not thread.is_alive()

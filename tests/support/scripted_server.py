"""A loopback HTTP server: the test writes each byte of its responses and reads each byte of its requests."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query, keep_blank_values=True).items()}

    @property
    def form(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Say:
    """The answering end of one request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.closing = False

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self, status: int = 200, headers: Iterable[tuple[str, str]] = (), content_type: str = "text/html") -> None:
        """A head that announces a chunked body."""
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", "Transfer-Encoding: chunked"]
        await self.raw("\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers), "", ""]).encode())

    async def chunk(self, data: bytes) -> None:
        if data:
            await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def last(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def stream(self, pieces: Iterable[bytes], content_type: str = "text/event-stream") -> None:
        """A whole chunked answer, a chunk a piece."""
        await self.head(content_type=content_type)
        for piece in pieces:
            await self.chunk(piece)
        await self.last()

    async def whole(
        self,
        body: bytes | dict[str, Any] | list[Any],
        status: int = 200,
        content_type: str = "application/json",
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """A whole answer of known length; what is not bytes goes as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", f"Content-Length: {len(data)}"]
        head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers), "", ""]).encode()
        await self.raw(head + data)

    async def cut(self) -> None:
        """Close the connection here, whatever was promised."""
        self.closing = True
        self._writer.close()

    async def gone(self) -> None:
        """Return when the client has closed its end."""
        while await self._reader.read(65536):
            pass


Handler = Callable[[Seen, Say], Awaitable[None]]


@dataclass
class Server:
    """``url`` to ask, ``seen`` what was asked, ``connections`` how many were opened, ``open`` how many are now."""

    url: str
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    failures: list[BaseException] = field(default_factory=list)

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0


async def _request(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Seen(method, target, headers, body)


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None) -> Any:
    """A server on 127.0.0.1 that answers by ``handler``; gives its ``Server``. A handler's own failure is raised at the end."""
    server = Server("")
    tasks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        server.open += 1
        try:
            while (seen := await _request(reader)) is not None:
                server.seen.append(seen)
                say = Say(reader, writer)
                await handler(seen, say)
                if say.closing or seen.headers.get("connection", "").lower() == "close":
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client left: what it left behind is the test's to judge
        except Exception as error:
            server.failures.append(error)
        except asyncio.CancelledError:
            writer.transport.abort()  # close() would wait for a client that reads no more
            raise
        finally:
            server.open -= 1
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(talk(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if server.failures:
        raise server.failures[0]

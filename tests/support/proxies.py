"""HTTP and SOCKS proxies on loopback that forward, and record what went through them."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

Login = tuple[str, str] | None
Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Passed:
    """One thing asked of a proxy: an HTTP request by its first line, a SOCKS connection as ``domain`` or ``address``."""

    what: str
    host: str
    port: int
    headers: dict[str, str] = field(default_factory=dict)
    """What the proxy could read, names in lower case."""


@dataclass
class Proxying:
    """``seen`` is everything asked, ``through`` how many connections were made onwards, ``logins`` the credentials given."""

    scheme: str
    port: int
    seen: list[Passed] = field(default_factory=list)
    through: int = 0
    logins: list[tuple[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def url_for(self, user: str, password: str, scheme: str = "") -> str:
        """With credentials, which are to be percent-encoded where they need it."""
        return f"{scheme or self.scheme}://{user}:{password}@127.0.0.1:{self.port}"


@asynccontextmanager
async def listening(talk: Talk, scheme: str = "http", tls: ssl.SSLContext | None = None) -> AsyncGenerator[Proxying, None]:
    """``talk`` on loopback, a connection a call. Its own failure is raised at the end."""
    tasks: set[asyncio.Task[None]] = set()

    failures: list[BaseException] = []

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # one side left: what that means is the test's to judge
        except asyncio.CancelledError:
            writer.transport.abort()  # the test is over: nobody reads what is still to be sent
            raise
        except Exception as error:
            failures.append(error)
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(guarded(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield Proxying(scheme, listener.sockets[0].getsockname()[1])
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if failures:
        raise failures[0]


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


async def _splice(client: Pipe, upstream: Pipe) -> None:
    """Both ways until one side ends, which ends the other."""
    try:
        await asyncio.gather(_pump(client[0], upstream[1]), _pump(upstream[0], client[1]))
    finally:
        upstream[1].close()


async def _head(reader: asyncio.StreamReader) -> tuple[str, list[str]]:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    return first, lines


@asynccontextmanager
async def http_proxy(
    login: Login = None,
    *,
    tls: ssl.SSLContext | None = None,
    refuse: int | None = None,
    hosts: Mapping[str, str] | None = None,
) -> AsyncGenerator[Proxying, None]:
    """Absolute-form requests and CONNECT. Without the right ``login`` it answers 407; with ``refuse`` it answers that to all.

    ``hosts`` are names that only the proxy knows.
    """
    login_header = "Basic " + base64.b64encode(":".join(login).encode()).decode() if login else None

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, lines = await _head(reader)
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        assert parts.hostname, f"not the form that a proxy is asked in: {first}"
        proxy.seen.append(Passed(f"{method} {target}", parts.hostname, parts.port or 80, headers))
        if (authorization := headers.get("proxy-authorization")) is not None:
            user, _, password = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            proxy.logins.append((user, password))
        status = 407 if login_header and authorization != login_header else refuse
        if status:
            writer.write(
                b"HTTP/1.1 %d No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status
            )
            return
        upstream = await asyncio.open_connection((hosts or {}).get(parts.hostname, parts.hostname), parts.port or 80)
        proxy.through += 1
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _splice((reader, writer), upstream)
        else:
            path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
            await _forward(f"{method} {path} HTTP/1.1", lines, (reader, writer), upstream)

    async with listening(talk, "https" if tls else "http", tls) as proxy:
        yield proxy


async def _forward(first: str, lines: list[str], client: Pipe, upstream: Pipe) -> None:
    """One request and its answer, each head with ``connection: close``."""
    kept_lines = [line for line in lines if not line.lower().startswith(("proxy-", "connection:"))]
    upstream[1].write("\r\n".join([first, *kept_lines, "Connection: close", "", ""]).encode("latin-1"))

    async def back() -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            first, lines = await _head(upstream[0])
            client[1].write("\r\n".join([first, *lines, "Connection: close", "", ""]).encode("latin-1"))
            await _pump(upstream[0], client[1])
        client[1].close()

    try:
        await asyncio.gather(_pump(client[0], upstream[1]), back())
    finally:
        upstream[1].close()


@asynccontextmanager
async def socks_proxy(
    login: Login = None, *, refuse: int = 0, hosts: Mapping[str, str] | None = None
) -> AsyncGenerator[Proxying, None]:
    """SOCKS5 with addresses and names. ``refuse`` is the reply code given to every connection; ``hosts`` as for HTTP."""

    async def greeted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        version, count = await reader.readexactly(2)
        assert version == 5, "no SOCKS5"
        methods = await reader.readexactly(count)
        if login is None and 0 in methods:
            writer.write(b"\x05\x00")
            return True
        if 2 not in methods:
            writer.write(b"\x05\xff")
            return False
        writer.write(b"\x05\x02")
        _, size = await reader.readexactly(2)
        user = (await reader.readexactly(size)).decode()
        password = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        proxy.logins.append((user, password))
        right = (user, password) == login
        writer.write(b"\x01\x00" if right else b"\x01\x01")
        return right

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not await greeted(reader, writer):
            return
        _, command, _, kind = await reader.readexactly(4)
        assert command == 1, "no CONNECT"
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly({1: 4, 4: 16}[kind])))
        port = int.from_bytes(await reader.readexactly(2), "big")
        proxy.seen.append(Passed("domain" if kind == 3 else "address", host, port))
        if refuse:
            writer.write(bytes([5, refuse, 0, 1, 0, 0, 0, 0, 0, 0]))
            return
        upstream = await asyncio.open_connection((hosts or {}).get(host, host), port)
        proxy.through += 1
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await _splice((reader, writer), upstream)

    async with listening(talk, "socks5") as proxy:
        yield proxy

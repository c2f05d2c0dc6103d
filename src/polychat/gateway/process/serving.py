"""One process that serves: where it listens, when it lets go, and what signals mean to it."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol, cast

from ... import config, costs
from ...backends.rows import rows_of
from ...config.settings import Gateway as Settings
from ...errors import MissingPackage, PolychatError
from ...http.server.listening import announce, encrypting, listen, open_files, renew, unlisten
from .source import ConfigSource, Log, later, signals, stays

try:
    import uvicorn

    from ...http.server.protocol import protocol_of
except ImportError as error:
    raise MissingPackage(error.name or "uvicorn", extra="gateway", purpose="polychat serve") from None

_COLLECT = (20_000, 20, 50)
"""When garbage is collected: a request makes some hundred objects, nearly all gone by its end without that."""
_WARM = 1.0
"""Seconds after the start at which the prices, slow to load, are loaded."""
_FLUSH = 1.0
"""Seconds for what is written to reach its readers once all is over, and for cancelled work to end."""


class Application(Protocol):
    """What is served: an ASGI application that can be told more than requests."""

    @property
    def log(self) -> Log: ...

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...
    def reload(self, configured: config.Config) -> None: ...
    def drain(self) -> None: ...
    def when_idle(self) -> Awaitable[object]: ...
    async def close(self) -> None: ...


Make = Callable[..., Application]


class Server(uvicorn.Server):
    """Serves ``app`` on sockets that listen already, until it is told to stop.

    Stopping: the application refuses new work (connections are still taken, so that somebody hears so), what runs is given
    ``grace`` seconds, then it is cancelled. Told twice, it waits for nothing.
    """

    def __init__(self, app: Application, settings: Settings, tls: ssl.SSLContext | None = None) -> None:
        self.protocol_factory = protocol_of(settings.limits)
        super().__init__(
            uvicorn.Config(
                app,
                http=cast(Any, self.protocol_factory),  # it is called as a class would be
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
            )
        )
        self.app, self.grace = app, settings.grace
        self.ready = asyncio.Event()
        self._tls = tls
        self._told = False
        self._ending, self._cut = asyncio.Event(), asyncio.Event()
        self._ticking: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """End when what runs is done; called again: now."""
        self.end(now=self._told)
        self._told = True

    def end(self, *, now: bool) -> None:
        """As ``stop``, which counts how often it was called; this may come beside it."""
        self._ending.set()
        if now:
            self._cut.set()

    def apply(self, settings: Settings) -> None:
        """What of the settings can change while serving."""
        self.protocol_factory.limits, self.grace = settings.limits, settings.grace

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield  # whoever runs the server has taken them

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._ticking = loop.create_task(self._tick())
        self.servers = [await self._served(loop, listener) for listener in sockets or ()]
        self.started = True
        self.ready.set()

    async def _served(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> asyncio.Server:
        patience = {"ssl_handshake_timeout": self.protocol_factory.limits.head_seconds} if self._tls is not None else {}
        create: Any = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
        served: asyncio.Server = await create(
            lambda: self.protocol_factory(self.config, self.server_state, {}, loop),
            **{"sock": listener, "ssl": self._tls, "backlog": self.config.backlog, **patience},
        )
        return served

    async def _tick(self) -> None:
        while True:
            await self.on_tick(0)  # the date
            await asyncio.sleep(1)

    async def main_loop(self) -> None:
        await self._ending.wait()
        self.app.drain()
        self.protocol_factory.draining = True
        await self._until(self.app.when_idle(), self.grace)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        tasks, connections = self.server_state.tasks, self.server_state.connections
        for server in self.servers:
            server.close()
        for connection in list(connections):
            connection.shutdown()
        await asyncio.sleep(0)
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(list(tasks), timeout=_FLUSH)
        if connections:
            await self._until(self.protocol_factory.wait_closed(), _FLUSH)
        for connection in list(connections):
            cast(Any, connection).abort()
        self.protocol_factory.close()
        if self._ticking is not None:
            self._ticking.cancel()
        await self.app.close()

    async def _until(self, done: Awaitable[object], seconds: float) -> None:
        """Wait for it so long, or until it is not to be waited for."""
        waits = {asyncio.ensure_future(done), asyncio.ensure_future(self._cut.wait())}
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)


def serve(source: ConfigSource, configured: config.Config, make: Make) -> int:
    """Serve in this process until SIGTERM or SIGINT; gives the exit code. Raises ``PolychatError`` where it cannot begin."""
    settings = configured.gateway
    tls = encrypting(settings)
    open_files()
    listeners = listen(settings)
    try:
        running(_serve(source, configured, make, listeners, tls))
    finally:
        unlisten(settings, listeners)
    return 0


def running(work: Coroutine[Any, Any, None]) -> None:
    """``asyncio.run``, on uvloop where it is installed; tasks that are deaf to their cancellation are left behind."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    loop = factory()
    try:
        loop.run_until_complete(work)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=_FLUSH))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _serve(
    source: ConfigSource, configured: config.Config, make: Make, listeners: Sequence[socket.socket], tls: ssl.SSLContext | None
) -> None:
    server = Server(make(configured), configured.gateway, tls)

    def reread() -> None:
        nonlocal configured
        try:
            found = source.read()
            take(server, configured, found, tls)
            configured = found
        except PolychatError as error:
            stays(server.app.log, error)

    signals(server.stop, reread)
    task = asyncio.create_task(server.serve(list(listeners)))
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        announce(configured, listeners)
        settle(configured)
    ready.cancel()
    await task


def settle(configured: config.Config) -> None:
    """Make this process fit for long service, once it serves."""
    gc.freeze()  # what is loaded by now stays: later collections need not look at it
    gc.enable()
    gc.set_threshold(*_COLLECT)
    loop = asyncio.get_running_loop()
    if any(
        os.environ.get(name) for row in rows_of(configured).values() for name in row.key
    ):  # else nobody is asked who has prices
        loop.call_later(_WARM, loop.run_in_executor, None, costs.warm)


def take(server: Server, before: config.Config, configured: config.Config, tls: ssl.SSLContext | None) -> None:
    """Go by ``configured`` and no longer by ``before``. Raises ``PolychatError``, and nothing has changed then."""
    settings = configured.gateway
    fresh = encrypting(settings)
    server.app.reload(configured)
    server.apply(settings)
    if tls is not None and fresh is not None:
        renew(tls, settings)
    server.app.log.event("configuration reloaded", file=str(configured.file or ""), **later(before, configured))

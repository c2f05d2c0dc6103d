"""One serving process: its listeners, its shutdown, and what it does on signals."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol

from ... import config, costs
from ...backends.rows import rows_of
from ...config.settings import GatewaySettings as Settings
from ...errors import PolychatError
from ...http.server.handover import HANDOVER_SECONDS, ClosingTurn, give_way
from ...http.server.listening import BACKLOG, announce, encrypting, listen, open_files, renew, unlisten
from ...http.server.protocol import ServerConnection
from ...http.server.state import ServerState
from ...worker_threads import in_thread
from .memory import memory_return
from .source import ConfigSource, EventLog, begin, later, signals, stays

_COLLECT = (10_000, 1_500, 0)
"""Thresholds of the garbage collector. A request makes some hundred objects; reference counting frees nearly all of them.

What it looks at are open streams, of 20 to 50 objects, and it frees nothing of them: so it looks at each object once, in pauses
of the 10,000 that are new since the last (3 ms), but for one in 1,500, which looks at all (200 ms with 10,000 streams).
"""
_WARM = 1.0
"""Seconds after the start at which the prices, slow to load, are loaded."""
_HANDOVERS = 10
"""How often others that end at the same time may give new connections to this process, which then gives them on."""
_FLUSH = 1.0
"""Seconds for written data to be sent and for cancelled tasks to end, at the shutdown."""


class Application(Protocol):
    """An ASGI application that can also be reconfigured and stopped."""

    refused: str
    """Why the configuration file was not taken over at the last start or reload; empty where it was."""

    @property
    def log(self) -> EventLog: ...

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...
    def reload(self, configured: config.Config) -> None: ...
    def drain(self) -> None: ...
    def when_idle(self) -> Awaitable[object]: ...
    async def close(self) -> None: ...


Make = Callable[..., Application]


class Server:
    """Serves ``app`` on sockets that already listen, until ``stop``.

    While stopping, the application refuses new requests with 503 (connections are still accepted), and running ones have
    ``grace`` seconds before they are cancelled. A second ``stop`` cancels them at once. With ``reuse_port`` another process is
    there for new connections: those that are open are answered to their end, and each closes with its next response.
    """

    def __init__(self, app: Application, settings: Settings, tls: ssl.SSLContext | None = None) -> None:
        self.app, self.grace, self._hands_over = app, settings.grace, settings.reuse_port
        self.state = ServerState(app, settings.limits)
        self.ready = asyncio.Event()
        """Set when it accepts connections."""
        self._tls = tls
        self._stop_requested = False
        self._ending, self._cut = asyncio.Event(), asyncio.Event()

    def stop(self) -> None:
        """End when the running requests are done; a second call ends at once."""
        self.end(now=self._stop_requested)
        self._stop_requested = True

    def end(self, *, now: bool) -> None:
        """End when the running requests are done, or at once. Does not count as a call of ``stop``."""
        self._ending.set()
        if now:
            self._cut.set()

    def apply(self, settings: Settings) -> None:
        """Use the settings that can change while serving: the limits and the grace."""
        self.state.limits, self.grace = settings.limits, settings.grace

    async def serve(self, listeners: Sequence[socket.socket]) -> None:
        """Accept connections until ``stop``; return when the last of them and the application are closed."""
        loop = asyncio.get_running_loop()
        servers = [await self._serve_on(loop, listener) for listener in listeners]
        self.ready.set()
        await self._ending.wait()
        self.state.draining = True
        if self._hands_over:
            await self._hand_over(listeners, servers)
        else:
            self.app.drain()
            await self._until(self.app.when_idle(), self.grace)
        await self._close(servers)

    async def _hand_over(self, listeners: Sequence[socket.socket], servers: Sequence[asyncio.Server]) -> None:
        for is_last in (*[False] * _HANDOVERS, True):
            await self._until(in_thread(give_way, listeners), self.grace)
            await self._until(asyncio.sleep(HANDOVER_SECONDS), HANDOVER_SECONDS)
            turn = await in_thread(ClosingTurn, listeners)
            if turn.may_close or is_last or self._cut.is_set():
                for server in servers:
                    server.close()
            turn.release()
            if not any(server.is_serving() for server in servers):
                break
        await self._until(self._no_new_ones(), HANDOVER_SECONDS)
        await self._until(self.app.when_idle(), self.grace)
        self.app.drain()

    async def _no_new_ones(self) -> None:
        """Returns when no connection waits for its first request, or the rest of one."""
        queues = self.state.timeout_queues(asyncio.get_running_loop())
        while queues.head or queues.held:  # noqa: ASYNC110  # an event would be set with each request
            await asyncio.sleep(HANDOVER_SECONDS / 50)

    async def _serve_on(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> asyncio.Server:
        patience = {"ssl_handshake_timeout": self.state.limits.head_seconds} if self._tls is not None else {}
        create: Any = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
        served: asyncio.Server = await create(
            lambda: ServerConnection(self.state, loop), sock=listener, ssl=self._tls, backlog=BACKLOG, **patience
        )
        return served

    async def _close(self, servers: Sequence[asyncio.Server]) -> None:
        tasks, connections = self.state.tasks, self.state.connections
        for server in servers:
            server.close()
        for connection in list(connections):
            connection.shutdown()
        await asyncio.sleep(0)
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(list(tasks), timeout=_FLUSH)
        if connections:
            await self._until(self.state.wait_closed(), _FLUSH)
        for connection in list(connections):
            connection.abort()
        self.state.close()
        await self.app.close()

    async def _until(self, done: Awaitable[object], seconds: float) -> None:
        """Wait until ``done``, for at most ``seconds``, or until a second ``stop``."""
        waits = {asyncio.ensure_future(done), asyncio.ensure_future(self._cut.wait())}
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)


def serve(source: ConfigSource, configured: config.Config, make: Make, refused: str = "") -> int:
    """Serve in this process until SIGTERM or SIGINT; give the exit code. Raises ``PolychatError`` if it cannot start.

    ``refused``: as in ``Application``.
    """
    settings = configured.gateway
    tls = encrypting(settings)
    open_files()
    listeners = listen(settings)
    try:
        running(_serve(source, configured, make, listeners, tls, refused))
    finally:
        unlisten(settings, listeners)
    return 0


def running(work: Coroutine[Any, Any, None]) -> None:
    """``asyncio.run``, on uvloop if it is installed; tasks that ignore their cancellation are abandoned after a second."""
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
    source: ConfigSource,
    configured: config.Config,
    make: Make,
    listeners: Sequence[socket.socket],
    tls: ssl.SSLContext | None,
    refused: str,
) -> None:
    server = Server(make(configured), configured.gateway, tls)
    server.app.refused = refused

    def reread() -> None:
        nonlocal configured
        try:
            fresh = source.read()
            take(server, configured, fresh, tls)
            configured, server.app.refused = fresh, ""
            source.keep(configured, server.app.log)
        except PolychatError as error:
            server.app.refused = str(error)
            stays(server.app.log, error)

    def stop() -> None:
        source.settle()
        server.stop()

    signals(stop, reread)
    task = asyncio.create_task(server.serve(list(listeners)))
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        announce(configured, listeners)
        begin(source, configured, server.app.log, refused)
        tune_process(configured)
    ready.cancel()
    await task


def tune_process(configured: config.Config) -> None:
    """Tune this process for a long run, once it serves."""
    gc.freeze()  # later collections skip what is loaded by now
    gc.enable()
    gc.set_threshold(*_COLLECT)
    loop = asyncio.get_running_loop()
    if (memory := memory_return()) is not None:
        memory.start(loop)
    if any(
        os.environ.get(name) for row in rows_of(configured).values() for name in row.key
    ):  # no vendor has a key, so no request has a price
        loop.call_later(_WARM, loop.run_in_executor, None, costs.warm)


def take(server: Server, before: config.Config, configured: config.Config, tls: ssl.SSLContext | None) -> None:
    """Switch from ``before`` to ``configured``. Raises ``PolychatError``, and then nothing has changed."""
    settings = configured.gateway
    fresh = encrypting(settings)
    server.app.reload(configured)
    server.apply(settings)
    if tls is not None and fresh is not None:
        renew(tls, settings)
    server.app.log.event("configuration reloaded", file=str(configured.file or ""), **later(before, configured))

"""Several processes behind one port: started, replaced where they die, and ended by the one that listens.

Supervisor and worker talk over a socket pair. Down go orders (pickled: both ends are ours), up comes a line when a worker is
ready or cannot be. Whichever end sees the other's gone knows that its process is: a worker without a supervisor drains.
"""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
import pkgutil
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import config
from ...errors import BadInput, PolychatError
from ...http.server.listening import announce, encrypting, listen, open_files, unlisten
from .source import ConfigSource, signals, stays

APPLICATION = "polychat.gateway.app:Gateway"
_YOUNG = 10.0
"""Seconds: a worker that dies sooner may have had no chance to work."""
_TRIES = 5
"""Young deaths in a row, of one place, after which nothing is tried any more."""
_PAUSE = 0.05
"""Seconds; doubled with every death in a row before the next try."""
_MERCY = 5.0
"""Seconds beyond the grace, for a worker that has to write its last."""


@dataclass(frozen=True)
class _Start:
    """A worker's first order."""

    application: str
    configured: config.Config
    listeners: tuple[int, ...]
    shared: Path


@dataclass(frozen=True)
class _Configure:
    configured: config.Config


@dataclass(frozen=True)
class _End:
    now: bool


def _packed(order: object) -> bytes:
    data = pickle.dumps(order)
    return len(data).to_bytes(4, "big") + data


# The supervisor's side.


def supervise(source: ConfigSource, configured: config.Config, application: str = APPLICATION) -> int:
    """Serve with ``gateway.workers`` processes until SIGTERM or SIGINT; gives the exit code. Raises ``BadInput``."""
    settings = configured.gateway
    encrypting(settings)  # what a worker could not read is told before any is started
    open_files()
    listeners = listen(settings)
    shared = Path(tempfile.mkdtemp(prefix="polychat-"))
    try:
        return asyncio.run(_Supervisor(source, configured, application, listeners, shared).run())
    finally:
        unlisten(settings, listeners)
        shutil.rmtree(shared, ignore_errors=True)


class _Worker:
    """One process, and the line to it."""

    def __init__(self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.process, self.pid = process, process.pid
        self._reader, self._writer = reader, writer

    def order(self, order: object) -> None:
        if not self._writer.is_closing():
            self._writer.write(_packed(order))

    async def word(self) -> dict[str, Any]:
        """What it says when it is ready or cannot be; nothing where it died before."""
        with suppress(ConnectionError):
            if line := await self._reader.readline():
                found: dict[str, Any] = json.loads(line)
                return found
        return {}

    async def end(self) -> int:
        """How it ended, when it has."""
        with suppress(ConnectionError):
            await self._reader.read()
        code = await asyncio.to_thread(self.process.wait)
        self._writer.close()
        return code


class _Supervisor:
    def __init__(
        self,
        source: ConfigSource,
        configured: config.Config,
        application: str,
        listeners: Sequence[socket.socket],
        shared: Path,
    ) -> None:
        from ..observe.logs import Log

        settings = configured.gateway
        self._source, self._configured, self._application = source, configured, application
        self._listeners, self._shared = listeners, shared
        self._log = Log(settings.log, settings.log_sample)
        self._workers: set[_Worker] = set()
        self._ready = asyncio.Event()
        self._ending = asyncio.Event()
        self._cut = asyncio.Event()
        self._refused = ""
        self._gave_up = ""

    async def run(self) -> int:
        signals(self._stop, self._reread)
        places = [asyncio.create_task(self._place()) for _ in range(self._configured.gateway.workers)]
        ready, ending = (asyncio.create_task(event.wait()) for event in (self._ready, self._ending))
        await asyncio.wait({ready, ending}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not self._ending.is_set():  # one answers by now, and the others are coming
            announce(self._configured, self._listeners)
        await ending
        await self._finish(places)
        self._log.close()
        if self._refused:
            raise BadInput(self._refused, field="gateway")
        if self._gave_up:
            raise PolychatError(self._gave_up)
        return 0

    # One place, and the workers that fill it one after the other.

    async def _place(self) -> None:
        clock = asyncio.get_running_loop().time
        tries = 0
        try:
            while not self._ending.is_set():
                begun = clock()
                code, word = await self._run_worker()
                tries = tries + 1 if clock() - begun < _YOUNG else 0
                if not self._ending.is_set():
                    await self._after_exit(code, word.get("refused", ""), tries)
        finally:
            self._ending.set()  # a place is left when all are to be, or when it cannot be filled

    async def _after_exit(self, code: int, refused: str, tries: int) -> None:
        if refused and not self._ready.is_set():
            self._refused = refused
            self._ending.set()
        elif tries >= _TRIES:
            self._gave_up = f"workers exit as soon as they start, {tries} times in a row; the last one {_ended(code)}"
            self._ending.set()
        else:
            self._log.event("worker exited; starting a replacement", how=_ended(code), **({"why": refused} if refused else {}))
            with suppress(TimeoutError):
                async with asyncio.timeout(_PAUSE * 2**tries):
                    await self._ending.wait()

    async def _run_worker(self) -> tuple[int, dict[str, Any]]:
        worker = await self._spawned()
        self._workers.add(worker)
        if self._ending.is_set():
            worker.order(_End(now=False))
        word = await worker.word()
        if "ready" in word:
            self._ready.set()
            self._log.event("worker ready", pid=worker.pid)
        code = await worker.end()
        self._workers.discard(worker)
        self._fold()
        return code, word

    async def _spawned(self) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            fds = tuple(listener.fileno() for listener in self._listeners)
            command = [sys.executable, "-P", "-c", _BEGIN.format(path=sys.path, number=theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=(theirs.fileno(), *fds), stdin=subprocess.DEVNULL)  # noqa: S603, ASYNC220  # this very Python
        worker = _Worker(process, *await asyncio.open_connection(sock=ours))
        worker.order(_Start(self._application, self._configured, fds, self._shared))
        return worker

    def _fold(self) -> None:
        from ..observe.metrics import fold

        fold(self._shared, {worker.pid for worker in self._workers})

    # What signals ask for.

    def _stop(self) -> None:
        if self._ending.is_set():
            self._cut.set()
        self._ending.set()
        for worker in self._workers:
            worker.order(_End(now=self._cut.is_set()))

    def _reread(self) -> None:
        try:
            configured = self._source.read()
            encrypting(configured.gateway)
        except PolychatError as error:
            stays(self._log, error)
            return
        self._configured = configured
        self._log.change(configured.gateway.log, configured.gateway.log_sample)
        for worker in self._workers:
            worker.order(_Configure(configured))

    async def _finish(self, places: Sequence[asyncio.Task[None]]) -> None:
        """Let the workers end, and end those that do not."""
        for worker in self._workers:
            worker.order(_End(now=False))
        done, cut = (asyncio.create_task(wait) for wait in (asyncio.wait(places), self._cut.wait()))
        await asyncio.wait({done, cut}, timeout=self._configured.gateway.grace + _MERCY, return_when=asyncio.FIRST_COMPLETED)
        if cut.done():
            await asyncio.wait({done}, timeout=_MERCY)
        cut.cancel()
        for worker in self._workers:
            worker.process.kill()
        await done
        for place in places:
            place.result()


def _ended(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


# The worker's side.

_BEGIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
if hasattr(signal, "pthread_sigmask"):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
sys.path[:] = {path!r}
from polychat.gateway.process.workers import work
sys.exit(work({number}))
"""
"""What a worker runs: importing from where its supervisor did, and deaf to Ctrl-C and SIGHUP meanwhile."""


def work(number: int) -> int:
    """Be a worker on the line with this file descriptor until it says otherwise."""
    gc.disable()  # until all is loaded
    from .serving import running

    control = socket.socket(fileno=number)
    start = _first(control)
    listeners = [socket.socket(fileno=listener) for listener in start.listeners]
    try:
        running(_work(control, start, listeners))
    except PolychatError as error:
        with suppress(OSError):
            control.sendall(json.dumps({"refused": str(error)}).encode() + b"\n")
        return 1
    return 0


def _first(control: socket.socket) -> _Start:
    size = int.from_bytes(control.recv(4, socket.MSG_WAITALL), "big")
    start = pickle.loads(control.recv(size, socket.MSG_WAITALL))  # noqa: S301  # from the process that started this one
    assert isinstance(start, _Start)
    return start


async def _work(control: socket.socket, start: _Start, listeners: list[socket.socket]) -> None:
    from .serving import Server, settle

    settings = start.configured.gateway
    tls = encrypting(settings)
    make = pkgutil.resolve_name(start.application)
    server = Server(make(start.configured, shared=start.shared), settings, tls)
    signals(server.stop, lambda: None)  # SIGHUP is the supervisor's to hear
    reader, writer = await asyncio.open_unix_connection(sock=control.dup())
    serving = asyncio.create_task(server.serve(listeners))
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    writer.write(b'{"ready": true}\n')
    obeying = asyncio.create_task(_obey(reader, server, start.configured, tls))
    settle(start.configured)
    await serving
    for task in (ready, obeying):
        task.cancel()
    writer.close()


async def _obey(reader: asyncio.StreamReader, server: Any, before: config.Config, tls: Any) -> None:
    from .serving import take

    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            size = int.from_bytes(await reader.readexactly(4), "big")
            order = pickle.loads(await reader.readexactly(size))  # noqa: S301  # from the process that started this one
            match order:
                case _End(now=now):
                    server.end(now=now)
                case _Configure(configured=configured):
                    try:
                        take(server, before, configured, tls)
                        before = configured
                    except PolychatError as error:
                        stays(server.app.log, error)
    server.end(now=False)  # the supervisor is gone

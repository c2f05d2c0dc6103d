"""Several processes on one port: a supervisor starts them, replaces those that exit, and stops them.

The *supervisor* opens the sockets, starts ``gateway.workers`` *workers* that inherit them and take connections from one queue,
and answers no request itself. A socket pair connects it with each worker. It sends orders (their length and a pickle: both
ends are ours): ``_Start`` once, ``_Configure`` for each reload, ``_End``. A worker sends one line of JSON: ready, or refused
and why. When the connection closes, each side knows that the other's process has ended, so none is left running: a worker whose
supervisor is gone drains as after ``_End``.

A *slot* is a task of the supervisor that keeps one worker there. It starts a worker, reads its report, waits for its exit, and
starts the next. A worker:

worker     event                      next       what follows
=========  =========================  =========  ====================================================================
none       its slot is empty          starting   a process with the sockets, this Python and this ``sys.path``
starting   it reports ready           ready      the first one makes the supervisor announce the address
starting   it reports a refusal       refused    of its configuration; it exits with code 1
starting   ``_End``                   draining   it begins to serve and stops at once
ready      ``_Configure``             ready      a configuration that it cannot use is logged, and the last one stays
ready      ``_Refuse``                ready      it says that the file was refused
ready      ``_End``                   draining   no new work; what runs has ``gateway.grace`` seconds
starting   its process ends           exited     replaced after 50 ms, doubled with each early exit in a row
ready      its process ends           exited     replaced, as above
refused    its process ends           exited     replaced, if others serve
draining   its process ends           exited     nothing follows: its slot is left
refused    time is up                 killed
draining   time is up                 killed     ``_EXTRA_GRACE`` after its grace, or after a second signal
killed     its process ends           exited
=========  =========================  =========  ====================================================================

The supervisor:

supervisor  event                      next      what follows
==========  =========================  ========  ====================================================================
starting    a worker is ready          serving   the line with the addresses is printed
starting    a worker refuses           ending    the exit raises ``BadInput`` with its reason: no other could serve either
starting    five early exits in a row  ending    the exit raises ``PolychatError``, for the service manager
serving     five early exits in a row  ending    likewise
starting    SIGTERM or SIGINT          ending    ``_End`` to all
serving     SIGTERM or SIGINT          ending    ``_End`` to all
starting    SIGHUP                     starting  as while serving
serving     SIGHUP                     serving   a readable configuration goes to all, and to those that come later
ending      SIGTERM or SIGINT          cut       ``_End(now=True)`` to all: nothing is waited for
ending      all slots are left         ended
ending      time is up                 ended     those that are left are killed
cut         all slots are left         ended
cut         time is up                 ended     those that are left are killed
==========  =========================  ========  ====================================================================

Invariants: a slot has at most one worker; one that is started while all ends is ordered to end at once; the sockets listen from
before the first worker to after the last, so a client waits and is not refused (``reuse_port``: to its end, as another
process is there); the Unix socket's file is the supervisor's.

Bounds: exits by ``_MAX_EARLY_EXITS`` in a row of one slot, each within ``_EARLY`` seconds of its start; the end by ``grace +
_EXTRA_GRACE``, after a second signal by ``_EXTRA_GRACE``. A start has no limit: weights may load, and a signal ends it.

Cancellation: signals set events, and no slot is cancelled: ``run`` waits until they end, or kills the workers they wait for.
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
from typing import Any, Literal, TypeAlias

from ... import config
from ...errors import BadInput, PolychatError
from ...http.server.listening import announce, encrypting, listen, open_files, unlisten
from .checking import check_servable
from .source import ConfigSource, begin, signals, stays

WorkerState: TypeAlias = Literal["starting", "ready", "refused", "draining", "killed", "exited"]
SupervisorState: TypeAlias = Literal["starting", "serving", "ending", "cut", "ended"]
APPLICATION = "polychat.gateway.app:Gateway"
_EARLY = 10.0
"""Seconds: a worker that exits sooner counts as an early exit."""
_MAX_EARLY_EXITS = 5
"""Early exits in a row of one slot after which the supervisor gives up."""
_BACKOFF = 0.05
"""Seconds before a replacement, doubled with each early exit in a row."""
_EXTRA_GRACE = 5.0
"""Seconds beyond the grace for a worker to flush its output, before it is killed."""


@dataclass(frozen=True)
class _Start:
    """A worker's first order."""

    application: str
    configured: config.Config
    listeners: tuple[int, ...]
    shared: Path
    refused: str
    """As in ``Application``."""


@dataclass(frozen=True)
class _Configure:
    configured: config.Config


@dataclass(frozen=True)
class _Refuse:
    """The file cannot be used, and the configuration stays."""

    reason: str


@dataclass(frozen=True)
class _End:
    now: bool


def _framed(order: object) -> bytes:
    data = pickle.dumps(order)
    return len(data).to_bytes(4, "big") + data


# The supervisor's side.


def supervise(source: ConfigSource, configured: config.Config, application: str = APPLICATION, refused: str = "") -> int:
    """Serve with ``gateway.workers`` processes until SIGTERM or SIGINT; give the exit code. Raises ``BadInput``.

    ``refused``: as in ``Application``.
    """
    settings = configured.gateway
    encrypting(settings)  # raises what a worker would raise, before any is started
    open_files()
    listeners = listen(settings)
    shared = Path(tempfile.mkdtemp(prefix="polychat-"))
    try:
        return asyncio.run(_Supervisor(source, configured, application, listeners, shared, refused).run())
    finally:
        unlisten(settings, listeners)
        shutil.rmtree(shared, ignore_errors=True)


class _Worker:
    """One process and the connection to it. ``state`` is one of the table above."""

    def __init__(self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.process, self.pid = process, process.pid
        self._reader, self._writer = reader, writer
        self.state: WorkerState = "starting"

    def order(self, order: object) -> None:
        """Send an order; one to a process that has ended is dropped."""
        if isinstance(order, _End) and self.state in ("starting", "ready"):
            self.state = "draining"
        if not self._writer.is_closing():
            self._writer.write(_framed(order))

    async def report(self) -> dict[str, Any]:
        """Its report, ready or refused; empty if its process ended before."""
        with suppress(ConnectionError):
            if line := await self._reader.readline():
                report: dict[str, Any] = json.loads(line)
                if self.state == "starting":
                    self.state = "ready" if "ready" in report else "refused"
                return report
        return {}

    def kill(self) -> None:
        self.state = "killed"
        self.process.kill()

    async def exit_code(self) -> int:
        """Wait for its end; give its exit code."""
        with suppress(ConnectionError):
            await self._reader.read()
        code = await asyncio.to_thread(self.process.wait)
        self._writer.close()
        self.state = "exited"
        return code


class _Supervisor:
    def __init__(
        self,
        source: ConfigSource,
        configured: config.Config,
        application: str,
        listeners: Sequence[socket.socket],
        shared: Path,
        refused: str = "",
    ) -> None:
        from ..observe.logs import Log

        settings = configured.gateway
        self._source, self._configured, self._application = source, configured, application
        self._listeners, self._shared, self._refused = listeners, shared, refused
        self._log = Log(settings.log, settings.log_sample)
        self._workers: set[_Worker] = set()
        self._ready = asyncio.Event()
        self._ending = asyncio.Event()
        self._cut = asyncio.Event()
        self._ended = False
        self._failure: PolychatError | None = None
        """Why the supervisor ends, if no signal asked for it."""

    @property
    def state(self) -> SupervisorState:
        if self._ended:
            return "ended"
        if self._ending.is_set():
            return "cut" if self._cut.is_set() else "ending"
        return "serving" if self._ready.is_set() else "starting"

    async def run(self) -> int:
        signals(self._stop, self._reload)
        slots = [asyncio.create_task(self._fill_slot()) for _ in range(self._configured.gateway.workers)]
        ready, ending = (asyncio.create_task(event.wait()) for event in (self._ready, self._ending))
        await asyncio.wait({ready, ending}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if not self._ending.is_set():  # one worker serves by now, and the others are starting
            announce(self._configured, self._listeners)
            begin(self._source, self._configured, self._log, self._refused)
        await ending
        await self._finish(slots)
        self._ended = True
        self._source.settle()
        self._log.close()
        if self._failure is not None:
            raise self._failure
        return 0

    # One slot, and the workers that fill it one after the other.

    async def _fill_slot(self) -> None:
        clock = asyncio.get_running_loop().time
        early_exits = 0
        try:
            while not self._ending.is_set():
                started_at = clock()
                code, report = await self._run_worker()
                early_exits = early_exits + 1 if clock() - started_at < _EARLY else 0
                if not self._ending.is_set():
                    await self._after_exit(code, report.get("refused", ""), early_exits)
        finally:
            self._ending.set()  # a slot ends when all end, or when it cannot be filled

    async def _after_exit(self, code: int, refused: str, early_exits: int) -> None:
        if refused and not self._ready.is_set():
            self._failure = BadInput(refused, field="gateway")
            self._ending.set()
        elif early_exits >= _MAX_EARLY_EXITS:
            self._failure = PolychatError(
                f"workers exit as soon as they start, {early_exits} times in a row; the last one {_how_it_ended(code)}"
            )
            self._ending.set()
        else:
            self._log.event(
                "worker exited; starting a replacement", how=_how_it_ended(code), **({"why": refused} if refused else {})
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(_BACKOFF * 2**early_exits):
                    await self._ending.wait()

    async def _run_worker(self) -> tuple[int, dict[str, Any]]:
        worker = await self._spawn()
        self._workers.add(worker)
        if self._ending.is_set():
            worker.order(_End(now=self._cut.is_set()))
        report = await worker.report()
        if "ready" in report:
            self._ready.set()
            self._log.event("worker ready", pid=worker.pid)
        code = await worker.exit_code()
        self._workers.discard(worker)
        self._fold_metrics()
        return code, report

    async def _spawn(self) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            fds = tuple(listener.fileno() for listener in self._listeners)
            command = [sys.executable, "-P", "-c", _BEGIN.format(path=sys.path, number=theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=(theirs.fileno(), *fds), stdin=subprocess.DEVNULL)  # noqa: S603, ASYNC220  # this very Python
        worker = _Worker(process, *await asyncio.open_connection(sock=ours))
        worker.order(_Start(self._application, self._configured, fds, self._shared, self._refused))
        return worker

    def _fold_metrics(self) -> None:
        from ..observe.metrics import fold

        fold(self._shared, {worker.pid for worker in self._workers})

    # What signals ask for.

    def _stop(self) -> None:
        if self._ending.is_set():
            self._cut.set()
        self._ending.set()
        for worker in self._workers:
            worker.order(_End(now=self._cut.is_set()))

    def _reload(self) -> None:
        try:
            configured = self._source.read()
            check_servable(configured)
        except PolychatError as error:
            stays(self._log, error)
            self._refused = str(error)
            for worker in self._workers:
                worker.order(_Refuse(self._refused))
            return
        self._configured, self._refused = configured, ""
        self._log.change(configured.gateway.log, configured.gateway.log_sample)
        for worker in self._workers:
            worker.order(_Configure(configured))
        self._source.keep(configured, self._log)

    async def _finish(self, slots: Sequence[asyncio.Task[None]]) -> None:
        """Stop the workers, and kill those that do not exit."""
        for worker in self._workers:
            worker.order(_End(now=False))
        if self._configured.gateway.reuse_port:  # nobody would accept what the system gave to these after the last worker's end
            for listener in self._listeners:
                listener.close()
        done, cut = (asyncio.create_task(wait) for wait in (asyncio.wait(slots), self._cut.wait()))
        await asyncio.wait(
            {done, cut}, timeout=self._configured.gateway.grace + _EXTRA_GRACE, return_when=asyncio.FIRST_COMPLETED
        )
        if cut.done():
            await asyncio.wait({done}, timeout=_EXTRA_GRACE)
        cut.cancel()
        for worker in self._workers:
            worker.kill()
        await done
        for slot in slots:
            slot.result()


def _how_it_ended(code: int) -> str:
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
"""What a worker runs: it imports from the supervisor's path, and ignores Ctrl-C and SIGHUP until it is ready."""


def work(number: int) -> int:
    """Run as a worker; ``number`` is the file descriptor of the connection to the supervisor."""
    gc.disable()  # until all is loaded
    from .serving import running

    control = socket.socket(fileno=number)
    start = _first_order(control)
    listeners = [socket.socket(fileno=listener) for listener in start.listeners]
    try:
        running(_work(control, start, listeners))
    except PolychatError as error:
        with suppress(OSError):
            control.sendall(json.dumps({"refused": str(error)}).encode() + b"\n")
        return 1
    return 0


def _first_order(control: socket.socket) -> _Start:
    size = int.from_bytes(control.recv(4, socket.MSG_WAITALL), "big")
    start = pickle.loads(control.recv(size, socket.MSG_WAITALL))  # noqa: S301  # from the process that started this one
    assert isinstance(start, _Start)
    return start


async def _work(control: socket.socket, start: _Start, listeners: list[socket.socket]) -> None:
    from .serving import Server, tune_process

    settings = start.configured.gateway
    tls = encrypting(settings)
    make = pkgutil.resolve_name(start.application)
    server = Server(make(start.configured, shared=start.shared), settings, tls)
    server.app.refused = start.refused
    signals(server.stop, lambda: None)  # SIGHUP is handled by the supervisor
    reader, writer = await asyncio.open_unix_connection(sock=control.dup())
    serving = asyncio.create_task(server.serve(listeners))
    ready = asyncio.create_task(server.ready.wait())
    await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    writer.write(b'{"ready": true}\n')
    following = asyncio.create_task(_follow_orders(reader, server, start.configured, tls))
    tune_process(start.configured)
    await serving
    for task in (ready, following):
        task.cancel()
    writer.close()


async def _follow_orders(reader: asyncio.StreamReader, server: Any, before: config.Config, tls: Any) -> None:
    from .serving import take

    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            size = int.from_bytes(await reader.readexactly(4), "big")
            order = pickle.loads(await reader.readexactly(size))  # noqa: S301  # from the process that started this one
            match order:
                case _End(now=now):
                    server.end(now=now)
                case _Refuse(reason=reason):
                    server.app.refused = reason
                case _Configure(configured=configured):
                    try:
                        take(server, before, configured, tls)
                        before, server.app.refused = configured, ""
                    except PolychatError as error:
                        server.app.refused = str(error)
                        stays(server.app.log, error)
    server.end(now=False)  # the supervisor is gone

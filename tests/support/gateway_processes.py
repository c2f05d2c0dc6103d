"""The gateway's processes, started as a person starts them, with an application that reports what happens to it."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polychat import config
from polychat.errors import BadInput

from .patience import PATIENCE
from .server_in_thread import App, Client, News, say, whole

ROOT = Path(__file__).parents[2]
NAME = "tests.support.gateway_processes:Standing"


class Loud(News):
    def event(self, message: str, **facts: Any) -> None:
        os.write(2, (json.dumps({"event": message, **facts}) + "\n").encode())  # at once: other processes write there too


class Standing(App):
    """By the path: ``/pid``, ``/routes``, ``/stream`` until ``/go``, and what is bad: ``/hang``, ``/block``, ``/die``."""

    def __init__(self, configured: config.Config, *, shared: Path | None = None) -> None:
        super().__init__(configured, shared=shared)
        if "refused" in configured.routes:
            raise BadInput("routes.refused: there is no such backend", field="routes.refused")
        if "doomed" in configured.routes:
            os._exit(7)
        self.log = Loud()
        self._go = asyncio.Event()
        for name in ("pid", "routes", "stream", "go", "hang", "block", "die"):
            self.on(f"/{name}")(getattr(self, f"_{name}_"))

    def reload(self, configured: config.Config) -> None:
        if "refused" in configured.routes:
            raise BadInput("routes.refused: there is no such backend", field="routes.refused")
        super().reload(configured)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.draining and scope["path"] != "/go":
            await say(send, b"draining", 503)
        else:
            await super().__call__(scope, receive, send)

    async def close(self) -> None:
        self.log.event("closed", pid=os.getpid())

    async def _pid_(self, scope: Any, receive: Any, send: Any) -> None:
        await say(send, str(os.getpid()).encode())

    async def _routes_(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.configured is not None
        await say(send, json.dumps([*self.configured.routes]).encode())

    async def _stream_(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        try:
            await self._go.wait()
        except asyncio.CancelledError:
            self.log.event("cut")
            raise
        await send({"type": "http.response.body", "body": b"ended"})

    async def _go_(self, scope: Any, receive: Any, send: Any) -> None:
        self._go.set()
        await say(send, b"")

    async def _hang_(self, scope: Any, receive: Any, send: Any) -> None:
        self.log.event("hanging")
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:  # what nothing but a signal can end
                self.log.event("deaf")

    async def _block_(self, scope: Any, receive: Any, send: Any) -> None:
        self.log.event("blocking")
        threading.Event().wait()  # the whole loop with it

    async def _die_(self, scope: Any, receive: Any, send: Any) -> None:
        await whole(receive)
        os.kill(os.getpid(), signal.SIGKILL)


_ONE = """
import sys
from pathlib import Path
from polychat.gateway.process import serving, source
from tests.support.gateway_processes import Standing
source = source.ConfigSource(Path(sys.argv[1]), {"port": 0} if len(sys.argv) == 2 else {})
sys.exit(serving.serve(source, source.read(), Standing))
"""
_SEVERAL = f"""
import sys
from pathlib import Path
from polychat.cli import complain
from polychat.errors import BadInput, PolychatError
from polychat.gateway.process import workers
from polychat.gateway.process.source import ConfigSource
source = ConfigSource(Path(sys.argv[1]), {{"port": 0}} if len(sys.argv) == 2 else {{}})
try:
    sys.exit(workers.supervise(source, source.read(), {NAME!r}))
except PolychatError as error:
    complain(str(error))
    sys.exit(2 if isinstance(error, BadInput) else 1)
"""


class Running:
    """A started gateway, and what it says."""

    def __init__(self, *command: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
        self.pid = self.process.pid
        self.lines: list[str] = []
        self._coming: queue.Queue[str | None] = queue.Queue()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._coming.put(line.rstrip("\n"))
        self._coming.put(None)

    def hears(self, what: str) -> str:
        """The next line that holds it."""
        while (line := self._coming.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
            if what in line:
                return line
        raise EOFError(f"it ended without saying {what!r}: {self.lines}")

    def listening(self) -> int:
        """The port."""
        line = self.hears("listening on ")
        match = re.search(r":(\d+);", line)
        return int(match[1]) if match else 0

    def settled(self, workers: int) -> int:
        """The port, when all workers are ready too."""
        missing = ["listening on ", *["worker ready"] * workers]
        while missing:
            line = self.hears("")
            for what in missing:
                if what in line:
                    missing.remove(what)
                    break
        return next(int(match[1]) for line in self.lines if (match := re.search(r"listening on .*:(\d+);", line)))

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reading.join(PATIENCE)
        while (line := self._coming.get()) is not None:
            self.lines.append(line)
        return code

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reading.join(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def started(*command: str, env: dict[str, str] | None = None) -> Generator[Running]:
    process = Running(*command, env=env)
    try:
        yield process
    finally:
        process.end()


def one(file: Path) -> Any:
    return started("-c", _ONE, str(file))


def several(file: Path) -> Any:
    return started("-c", _SEVERAL, str(file))


def at_its_port(file: Path, *, workers: bool) -> Any:
    """One process, or a supervisor with workers, on the port that the file says."""
    return started("-c", _SEVERAL if workers else _ONE, str(file), "its port")


def connected(port: int) -> Client:
    return Client(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))


def body_at(port: int, path: str) -> bytes:
    """The body of the answer to one request on a connection of its own."""
    with connected(port) as client:
        return client.ask(path, b"", b"connection: close").body

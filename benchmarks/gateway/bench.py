"""What every part of the measurement shares: the upstream, the gateways that run, and how they are asked."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import uvloop

from ..report import progress
from . import ways
from .load import Failed, connect, told
from .processes import LOAD_CORE, Running, prepare
from .upstream import SCENARIOS
from .ways import Gateway, Live, Way, started

T = TypeVar("T")


_NEAR = {"nginx", "polychat", "polychat compiled", "stand-in"}
"""Those that need no installing."""


class Absent(Exception):
    """A gateway that does not start, or does not answer as it should."""


@dataclass(frozen=True, eq=False)
class Row:
    """One way through one gateway; ``direct`` where ``live`` is ``None``."""

    live: Live | None
    way: Way
    port: int

    @property
    def slow(self) -> bool:
        return self.live is not None and self.live.gateway.slow

    @property
    def name(self) -> str:
        return "direct" if self.live is None else self.live.gateway.name

    def request(self, scenario: str) -> bytes:
        return self.way.request(self.port, scenario)

    def cells(self) -> list[str]:
        return [self.name, self.way.label]


class Bench:
    """``with`` it. Gateways are started when first asked for, and stay."""

    def __init__(self) -> None:
        self.files = prepare()
        self._stack = ExitStack()
        self._live: dict[str, Live | None] = {}
        self._checked: dict[str, bool] = {}
        self.notes: list[str] = []
        """What went wrong, for whoever reads the figures."""

    def __enter__(self) -> Bench:
        upstream = Running([sys.executable, "-m", "benchmarks.gateway.upstream"], core=LOAD_CORE)
        self.upstream = self._stack.enter_context(upstream)
        self.upstream_port = int(self.upstream.line_with(""))
        wanted = [name for name in os.environ.get("ONLY", "").split(",") if name]
        present = [ways.NGINX, *(ways.ours(wanted) if ways.has_gateway() else []), ways.STANDIN]
        found = [*present, *(ways.peers(self.upstream_port) if not wanted or set(wanted) - _NEAR else [])]
        self.gateways = [gateway for gateway in found if not wanted or gateway.name in wanted]
        self.folder = Path(self._stack.enter_context(TemporaryDirectory()))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @contextmanager
    def fresh(self, gateway: Gateway) -> Iterator[Live]:
        """One that was just started, and answers. Raises ``Absent``."""
        with started(gateway, self.upstream_port) as live:
            self.answered(live)
            yield live

    def answered(self, live: Live, timeout: float = 45.0) -> float:
        """Seconds from its start to the end of its first answer. Raises ``Absent``."""
        request = live.request(live.gateway.ways[0], "plain")
        said = ""
        while time.monotonic() - live.running.began < timeout:
            try:
                live.running.check()
                said = run(_one(live.port, request))
                return time.monotonic() - live.running.began
            except RuntimeError as error:
                said = str(error)
                break
            except (OSError, Failed, TimeoutError) as error:
                said = str(error)
                time.sleep(0.003 if isinstance(error, ConnectionRefusedError) else 0.1)
        raise Absent(f"{live.gateway.name} does not answer: {said}\n{live.running.last_words()}")

    def live(self, gateway: Gateway) -> Live | None:
        """The one that runs, which has answered each of its ways rightly; ``None``, and a note, where it does not."""
        if gateway.name not in self._live:
            progress(f"gateway: starting {gateway.name}")
            try:
                self._live[gateway.name] = self._stack.enter_context(self.fresh(gateway))
            except (Absent, TimeoutError, RuntimeError, OSError) as error:
                self.missing(gateway.name, error)
                self._live[gateway.name] = None
        return self._live[gateway.name]

    def missing(self, what: str, error: Exception) -> None:
        """Say it now, and below the tables."""
        print(f"\n{what}: left out: {error}", file=sys.stderr)
        self.notes.append(f"{what}: left out, it did not answer")

    def rows(self, *, direct: bool = False, brief: bool = False) -> list[Row]:
        """All ways of all gateways; those that give a wrong answer are left out. ``brief``: of slow gateways the first way."""
        found = [Row(None, ways.PASSED, self.upstream_port)] if direct else []
        for gateway in self.gateways:
            live = self.live(gateway)
            asked = gateway.ways[: 1 if brief and gateway.slow else None]
            if live is not None:
                found += [row for row in (Row(live, way, live.port) for way in asked) if self._right(row)]
        return found

    def with_tools(self) -> list[Row]:
        """The ways of polychat's gateways, with requests that have a tool."""
        found = [row for row in self.rows() if row.live is not None and row.live.gateway.ours and not row.live.gateway.standin]
        return [row for row in (replace(row, way=replace(row.way, tools=True)) for row in found) if self._right(row)]

    def _right(self, row: Row) -> bool:
        key = f"{row.name}, {row.way.label}"
        if key not in self._checked:
            self._checked[key] = True
            try:
                run(_checked(row))
            except (Failed, OSError, TimeoutError) as error:
                self._checked[key] = False
                self.missing(key, error)
        return self._checked[key]

    def seen(self) -> list[dict[str, Any]]:
        """What the upstream saw since it was last told to forget."""
        found: list[dict[str, Any]] = json.loads(run(told(self.upstream_port, "/bench/seen")))
        return found

    def told(self, word: str) -> None:
        run(told(self.upstream_port, f"/bench/{word}"))

    def cpu(self, row: Row, most: float = 5.0) -> float:
        """Seconds of CPU that the row's process took so far, when it has done with what clients left behind."""
        process = self.upstream if row.live is None else row.live.running
        end, last = time.monotonic() + most, process.cpu()
        while time.monotonic() < end:
            time.sleep(0.1)
            if (now := process.cpu()) - last < 0.03:
                return now
            last = now
        return last

    def wrk(self, port: int, request: bytes, *, together: int, seconds: float) -> Wrk:
        return wrk(self.folder, port, request, together=together, seconds=seconds)


def run(work: Coroutine[Any, Any, T]) -> T:
    return uvloop.run(work)


async def _one(port: int, request: bytes) -> str:
    """The text of one plain reply. Raises ``Failed`` if it is not a good one."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            got = b""
            while b"The sky is blue because" not in got:
                data = await reader.read(65536)
                got += data
                if not data or (len(got) > 12 and not got.startswith(b"HTTP/1.1 200")):
                    raise Failed(got[:600].decode(errors="replace"))
            return got.decode()
        finally:
            writer.close()


async def _checked(row: Row) -> None:
    """Raises ``Failed`` unless a plain and a streamed reply come, with every piece once."""
    await _one(row.port, row.request("plain"))
    async with asyncio.timeout(20):
        client = await connect(row.port)
        try:
            await client.ask(row.request("whole"))
            if client.pieces != SCENARIOS["whole"].pieces:
                raise Failed(f"{client.pieces} pieces came where {SCENARIOS['whole'].pieces} were sent")
        finally:
            client.transport.abort()


@dataclass(frozen=True)
class Wrk:
    """What ``wrk`` says of a run."""

    requests: int
    errors: int
    seconds: float
    p50: float
    p99: float
    """Microseconds."""


_SCRIPT = """
wrk.method = "POST"
request = function() return REQUEST end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("counted %d %d %d %d %d\\n", summary.requests, e.connect + e.read + e.write + e.status + e.timeout,
    summary.duration, latency:percentile(50), latency:percentile(99)))
end
"""


def wrk(folder: Path, port: int, request: bytes, *, together: int, seconds: float) -> Wrk:
    """The same request again and again, on kept connections. wrk runs on this process's core."""
    script = folder / "request.lua"
    script.write_text(f"REQUEST = {_lua(request)}\n{_SCRIPT}")
    asked = [
        "wrk",
        "-t1",
        f"-c{together}",
        f"-d{seconds:g}s",
        "--timeout",
        "20s",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}/",
    ]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    found = re.search(r"counted (\d+) (\d+) (\d+) (\d+) (\d+)", said)
    if not found:
        raise RuntimeError(f"wrk said nothing to be understood: {said}")
    requests, errors, took, p50, p99 = map(int, found.groups())
    return Wrk(requests, errors, took / 1e6, p50, p99)


def _lua(data: bytes) -> str:
    return '"' + "".join(f"\\{byte:03}" for byte in data) + '"'


def in_turns(rows: list[Row], rounds: int) -> Iterator[Row]:
    """Each row ``rounds`` times, in turns; slow ones in half of them."""
    for number in range(rounds):
        for row in rows:
            if not row.slow or number < max(1, rounds // 2):
                yield row

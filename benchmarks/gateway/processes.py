"""What is measured as processes of the system: started on a core of their own, read from ``/proc``, ended by their number."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

_CORES = sorted(os.sched_getaffinity(0))
LOAD_CORE, MEASURED_CORE = _CORES[0], _CORES[-1]
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def prepare() -> int:
    """Put this process, which is the load, on its core, and give all as many files as may be opened: how many, is returned."""
    os.sched_setaffinity(0, {LOAD_CORE})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended too
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Running:
    """A program and all it starts, on one core. What it says goes to a file, whose end is shown if it dies."""

    def __init__(self, command: list[str], *, core: int = MEASURED_CORE, env: Mapping[str, str] | None = None) -> None:
        self.said = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the process
        self.command = " ".join(command)
        self.began = time.monotonic()
        self.child = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdin=subprocess.DEVNULL,
            stdout=self.said,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # a ^C is ours to answer
        )

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        """SIGTERM; who has not gone after five seconds is killed, by its number."""
        known = self.tree()
        self.child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(5)
        for pid in known:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.child.wait()
        self.said.close()

    def check(self) -> None:
        if self.child.poll() is not None:
            raise RuntimeError(f"{self.command} ended with {self.child.returncode}:\n{self.last_words()}")

    def last_words(self, most: int = 2000) -> str:
        """Read without moving the place the process writes at, which is ours too."""
        size = os.fstat(self.said.fileno()).st_size
        return os.pread(self.said.fileno(), most, max(0, size - most)).decode(errors="replace")

    def line_with(self, text: str, timeout: float = 60.0) -> str:
        """The first line said that holds ``text``, when it is there."""
        end = time.monotonic() + timeout
        while True:
            *lines, _ = os.pread(self.said.fileno(), 65536, 0).decode(errors="replace").split("\n")
            for line in lines:
                if text in line:
                    return line
            self.check()
            if time.monotonic() > end:
                raise TimeoutError(f"{self.command} did not say {text!r}")
            time.sleep(0.005)

    def tree(self) -> list[int]:
        """The process and its descendants."""
        children: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (fields := _stat(int(entry))):
                children.setdefault(int(fields[1]), []).append(int(entry))
        found = [self.child.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu(self) -> float:
        """Seconds of CPU, user and system, of the whole tree; what its dead children took is in it."""
        ticks = 0
        for pid in self.tree():
            if fields := _stat(pid):
                ticks += sum(map(int, fields[11:15]))
        return ticks / _TICK

    def memory(self) -> float:
        """Bytes resident, the whole tree; pages that processes share are counted once each of them."""
        total = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        return total

    def sockets(self) -> int:
        """Open sockets of the whole tree."""
        found = 0
        for pid in self.tree():
            with contextlib.suppress(OSError):
                for entry in os.scandir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        found += os.readlink(entry.path).startswith("socket:")
        return found


def _stat(pid: int) -> list[str]:
    """The fields after the command's name, which may hold anything: state, parent, …; nothing where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []

"""Processes that listen on one port (``SO_REUSEPORT``): one that ends, mostly the oldest, leaves new connections to another.

The system deals connections out to all sockets of a port, and those that wait at a socket which is closed are reset. So before
it closes its own, a process tells the system to give all new ones to another socket, and accepts what has come by then.

The system knows sockets by their places in a list. A socket is added at its end, and where one is closed the last takes its
place, so after a while no process knows its own place. It finds one that is not its own by trial: it has new connections given
to a place, opens one, and sees whether that waits at its own socket or was accepted by one of its own processes.

Where several processes end, what one tells the system is changed by another, or means another socket once one is closed. So
each does that in a turn, and closes its socket in a turn in which it sees that new connections go elsewhere.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Literal, NamedTuple

HANDOVER_SECONDS = 1.0
"""How long connections that had begun to be opened before ``give_way`` are accepted after it: a few round trips."""
_ATTACH = 51
"""``SO_ATTACH_REUSEPORT_CBPF``: a program that gives the index of the socket, in the order in which they began to listen."""
_DETACH = 68
"""``SO_DETACH_REUSEPORT_BPF``: the system deals connections out again."""
_RETURN = 0x06
_LISTENS = "0A"
_IS_OPEN = "01"
_THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where one listens on all addresses
_LATEST: dict[int, int] = {}
"""The place of a socket to which this process gave way, by the inode of its own. It mostly still is that one's."""
_COUNTS: dict[int, int] = {}
"""How many sockets there were at that time."""
_TURN_SECONDS = 10.0
_ACCEPT_SECONDS = 2.0
"""For a process to accept a connection, when the machine is busy."""


def share_port(listener: socket.socket) -> None:
    """Let another process of this user listen on the same address. Raises ``OSError`` where the system cannot."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise OSError(0, "this system cannot share a port (gateway.reuse_port)")
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def take_share(listener: socket.socket) -> None:
    """Let a socket that listens have its share of new connections.

    What an earlier handover told the system stays with the port, and would give all of them to the youngest socket, whose
    process may not serve yet.
    """
    if sys.platform == "linux":
        with _turn(listener), suppress(OSError):  # nothing was told
            listener.setsockopt(socket.SOL_SOCKET, _DETACH, 0)


def give_way(listeners: Sequence[socket.socket]) -> None:
    """New connections go to another process from now on, if there is one. Elsewhere than on Linux this does nothing.

    Of several it is the youngest that accepts connections. Blocks; other threads go on to accept.
    """
    for listener in _shared(listeners):
        with _turn(listener), suppress(OSError):
            _leave_to_another(listener)


class ClosingTurn:
    """A time in which no other process on these ports changes where new connections go. To be released."""

    def __init__(self, listeners: Sequence[socket.socket]) -> None:
        """Blocks as ``give_way``."""
        self._turns = ExitStack()
        self.may_close = True
        """Whether new connections go elsewhere, if there is another process."""
        for listener in _shared(listeners)[:1]:
            self._turns.enter_context(_turn(listener))
        for listener in _shared(listeners):
            with suppress(OSError):
                own = os.fstat(listener.fileno()).st_ino
                count = _sockets_beside(own)
                self.may_close &= count == 1 or (count == _COUNTS.get(own) and _taker(listener, own) != "this")

    def release(self) -> None:
        self._turns.close()


def _shared(listeners: Sequence[socket.socket]) -> list[socket.socket]:
    return [each for each in listeners if each.family != socket.AF_UNIX] if sys.platform == "linux" else []


@contextmanager
def _turn(listener: socket.socket) -> Generator[None]:
    """Held by one process of this machine for each port, however it ends; not waited for without an end."""
    name = f"\0polychat-port-{listener.getsockname()[1]}"
    with socket.socket(socket.AF_UNIX) as lock:
        until = monotonic() + _TURN_SECONDS
        while monotonic() < until:
            try:
                lock.bind(name)
                break
            except OSError:
                sleep(_TURN_SECONDS / 2000)
        yield


def _leave_to_another(listener: socket.socket) -> None:
    own = os.fstat(listener.fileno()).st_ino
    others, latest = [], _LATEST.get(own, -1)
    _COUNTS[own] = count = _sockets_beside(own)
    for place in sorted(range(count), key=lambda place: (place == latest, place), reverse=True):
        _give_all_to(listener, place)
        taker = _taker(listener, own)
        if taker == "another":
            _LATEST[own] = place
            return
        if taker == "nobody":
            others.append(place)
    if others:
        _give_all_to(listener, others[0])


def _give_all_to(listener: socket.socket, place: int) -> None:
    import ctypes  # once in a process's life

    code = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, place))
    listener.setsockopt(socket.SOL_SOCKET, _ATTACH, struct.pack("HP", 1, ctypes.addressof(code)))


def _taker(listener: socket.socket, own: int) -> Literal["this", "another", "nobody"]:
    """Whose socket a connection comes to that is opened now; ``nobody``: another's that accepts none yet."""
    host, port = listener.getsockname()[:2]
    holders, before = _holders(own), _waiting(own)
    address = (_THIS_MACHINE.get(host, host), port)
    with socket.create_connection(address, _ACCEPT_SECONDS) as connection:
        ends = port, connection.getsockname()[1]
        until = monotonic() + _ACCEPT_SECONDS
        while monotonic() < until:
            row = next((row for row in _rows() if row.state == _IS_OPEN and row.ports == ends), None)
            if row is not None and row.inode:
                return "this" if row.inode in _sockets_of(holders) else "another"
            if row is not None and _waiting(own) > before:
                return "this"
            sleep(_ACCEPT_SECONDS / 200)
    return "nobody"


class _Row(NamedTuple):
    """Of the system's table of TCP sockets."""

    address: str
    ports: tuple[int, int]
    """Its own and the other end's."""
    state: str
    waiting: int
    """Of one that listens: the connections that wait to be accepted."""
    inode: int
    """0 of a connection that was not accepted yet."""


def _rows() -> Iterator[_Row]:
    """Those that listen come first. None where the system does not say."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError, ValueError), open(table, encoding="ascii") as rows:
            next(rows, None)
            for row in rows:
                _, address, other, state, queues, *more = row.split()
                ports = int(address.rpartition(":")[2], 16), int(other.rpartition(":")[2], 16)
                yield _Row(address, ports, state, int(queues.partition(":")[2], 16), int(more[4]))


def _row_of(own: int) -> _Row | None:
    return next((row for row in _rows() if row.inode == own), None)


def _sockets_beside(own: int) -> int:
    """How many listen on the address of this one, with it."""
    row = _row_of(own)
    return 0 if row is None else sum(each.state == _LISTENS and each.address == row.address for each in _rows())


def _waiting(own: int) -> int:
    row = _row_of(own)
    return 0 if row is None else row.waiting


def _holders(own: int) -> list[str]:
    """The processes that accept connections of this socket: this one, or all workers of its supervisor."""
    parent = os.getppid()
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii").split()
    except OSError:
        children = []
    workers = [child for child in children if own in _sockets_of([child])]
    return workers or [str(os.getpid())]


def _sockets_of(processes: Iterable[str]) -> set[int]:
    found = set()
    for process in processes:
        with suppress(OSError):
            for name in os.listdir(f"/proc/{process}/fd"):
                with suppress(OSError):
                    found.add(os.stat(f"/proc/{process}/fd/{name}").st_ino)
    return found

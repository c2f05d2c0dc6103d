"""Two processes that listen on one port (``SO_REUSEPORT``): one, mostly the older, leaves new connections to the other.

The system deals connections out to all sockets of a port, and those that wait at a socket which is closed are reset. So before
it closes its own, a process tells the system to give all new ones to the other socket, and accepts what has come by then.

The system knows sockets by the order in which they began to listen. Which one is its own a process knows from what listened on
the port before it; the workers of a supervisor do not know that, and take theirs for the older.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress

HANDOVER_SECONDS = 1.0
"""How long connections that had begun to be opened before ``give_way`` are accepted after it: a few round trips."""
_ATTACH = 51
"""``SO_ATTACH_REUSEPORT_CBPF``: a program that gives the index of the socket, in the order in which they began to listen."""
_DETACH = 68
"""``SO_DETACH_REUSEPORT_BPF``: the system deals connections out again."""
_RETURN = 0x06
_OLDER, _YOUNGER = 0, 1
"""Of two sockets. Where there is one only, the system takes that."""
_LISTENS = "0A"
_EARLIER: dict[int, frozenset[int]] = {}
"""Of this process's sockets, those that listened on the same address before. Sockets are known by their inodes."""


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
        with suppress(OSError):  # nothing was told
            listener.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
        own = os.fstat(listener.fileno()).st_ino
        _EARLIER[own] = _listening(own) - {own}


def give_way(listeners: Sequence[socket.socket]) -> None:
    """New connections go to the other process from now on, if there is one. Elsewhere than on Linux this does nothing."""
    if sys.platform != "linux":
        return
    import ctypes  # once in a process's life

    for listener in listeners:
        if listener.family != socket.AF_UNIX:
            own = os.fstat(listener.fileno()).st_ino
            other = _OLDER if _EARLIER.get(own, frozenset()) & _listening(own) else _YOUNGER
            code = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, other))
            program = struct.pack("HP", 1, ctypes.addressof(code))
            with suppress(OSError):
                listener.setsockopt(socket.SOL_SOCKET, _ATTACH, program)


def _listening(own: int) -> frozenset[int]:
    """The sockets that listen on the address of this one, with it; none where the system does not say."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        by_inode: dict[int, str] = {}
        with suppress(OSError, ValueError), open(table, encoding="ascii") as rows:
            next(rows, None)
            for row in rows:
                _, address, _, state, *more = row.split()
                if state != _LISTENS:
                    break  # those that listen come first; there may be a hundred thousand others
                by_inode[int(more[5])] = address
        if own in by_inode:
            return frozenset(inode for inode, address in by_inode.items() if address == by_inode[own])
    return frozenset()

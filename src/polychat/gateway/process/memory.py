"""Memory that a burst took goes back to the system.

glibc's allocator keeps the memory that large bodies free: once one was freed, later ones come from the heap, and pages in its
middle are returned by ``malloc_trim`` alone. A process that had a minute of megabytes would hold them for as long as it lives.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

EVERY = 10.0
"""Seconds between two looks at how much is resident."""
GROWTH = 2_000_000
"""Bytes by which a process has grown since it last returned memory, from which on it does so again."""
_STATM = Path("/proc/self/statm")


class MemoryReturn:
    """Looks every ``EVERY`` seconds whether the process has grown, and then returns what it does not use.

    ``resident`` gives the process's bytes in memory, ``trim`` returns the unused ones to the system.
    """

    def __init__(self, resident: Callable[[], int], trim: Callable[[], object]) -> None:
        self._resident, self._trim = resident, trim
        self._before = 0
        """Bytes that were resident after the last return."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look again and again, for as long as ``loop`` runs."""
        self.look()
        loop.call_later(EVERY, self.start, loop)

    def look(self) -> None:
        """Return memory if there is more of it than before."""
        resident = self._resident()
        if resident - self._before > GROWTH:
            self._trim()
            resident = self._resident()
        elif resident > self._before:
            return
        self._before = resident


def memory_return() -> MemoryReturn | None:
    """That of this process; ``None`` where the system's allocator has no ``malloc_trim`` (it is glibc's)."""
    import ctypes  # a gateway alone needs it

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if _STATM.exists() else None
    if trim is None:
        return None
    page = os.sysconf("SC_PAGE_SIZE")
    return MemoryReturn(lambda: int(_STATM.read_bytes().split()[1]) * page, lambda: trim(0))

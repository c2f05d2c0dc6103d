"""Returns memory to the system after a burst.

glibc's allocator keeps the memory that large bodies free: after one was freed, later ones are allocated from the heap, and
pages in its middle are returned only by ``malloc_trim``. Otherwise a process would hold a busy minute's memory for ever.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

EVERY = 10.0
"""Seconds between two checks of the resident memory."""
GROWTH = 2_000_000
"""Growth in bytes since the last return above which memory is returned again."""
LONGEST = 32
"""Checks between two returns without growth, at most."""
_STATM = Path("/proc/self/statm")


class MemoryReturn:
    """Checks every ``EVERY`` seconds whether the process has grown, and then returns unused memory.

    What was in use at that moment may be free soon after, and the process does not grow by it: while it is larger than it was
    at its smallest, memory is returned after 1, 2, 4, … checks too.

    ``resident`` returns the resident bytes of the process, ``trim`` returns the unused ones to the system.
    """

    def __init__(self, resident: Callable[[], int], trim: Callable[[], object]) -> None:
        self._resident, self._trim = resident, trim
        self._before = 0
        """Resident bytes after the last return."""
        self._smallest = float("inf")
        """The fewest resident bytes so far."""
        self._checks, self._wait = 0, 1
        """Checks since the last return, and how many there are until the next one without growth."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Check repeatedly, for as long as ``loop`` runs."""
        self.look()
        loop.call_later(EVERY, self.start, loop)

    def look(self) -> None:
        """Return memory if there is more of it than before, or if it is time to look whether some is free by now."""
        resident = self._resident()
        self._checks += 1
        if resident - self._before > GROWTH:
            self._wait = 1
        elif resident - self._smallest > GROWTH and self._checks >= self._wait:
            self._wait = min(2 * self._wait, LONGEST)
        else:
            self._note(min(resident, self._before))
            return
        self._trim()
        self._checks = 0
        self._note(self._resident())

    def _note(self, resident: int) -> None:
        self._before, self._smallest = resident, min(resident, self._smallest)


def memory_return() -> MemoryReturn | None:
    """The ``MemoryReturn`` of this process; ``None`` if the system's allocator has no ``malloc_trim`` (it is glibc's)."""
    import ctypes  # a gateway alone needs it

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if _STATM.exists() else None
    if trim is None:
        return None
    page = os.sysconf("SC_PAGE_SIZE")
    return MemoryReturn(lambda: int(_STATM.read_bytes().split()[1]) * page, lambda: trim(0))

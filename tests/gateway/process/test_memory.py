"""Memory that a burst of large bodies took is returned to the system."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from polychat.gateway.process import memory
from polychat.gateway.process.memory import GROWTH, MemoryReturn, memory_return

from ...support.gateway_processes import ROOT
from ...support.patience import PATIENCE

MB = 1_000_000
_BURST = """
from polychat.gateway.process.memory import memory_return
returning = memory_return()
freed = b"." * 8_000_000
del freed  # from here on the allocator takes what is smaller from the heap
returning.look()
before = returning._before
large, small = [], []
for number in range(300):
    large.append(b"." * 200_000)
    small.append(b"%01000d" % number)  # what stays stands between what goes
del large
returning.look()
print(returning._before - before)
"""


class _Process:
    """One whose memory is a number; a trim brings it down to what is in use."""

    def __init__(self) -> None:
        self.resident, self.in_use, self.trims = 50 * MB, 50 * MB, 0

    def trim(self) -> None:
        self.trims += 1
        self.resident = self.in_use

    def returning(self) -> MemoryReturn:
        return MemoryReturn(lambda: self.resident, self.trim)


def test_memory_is_returned_once_for_each_growth() -> None:
    """A process that grew returns memory at the next look, and not again before it grows again."""
    process = _Process()
    returning = process.returning()
    returning.look()
    assert process.trims == 1  # what its start left behind
    for resident, trims in [(50 * MB + GROWTH, 1), (90 * MB, 2), (50 * MB, 2), (51 * MB, 2), (90 * MB, 3)]:
        process.resident = resident
        returning.look()
        assert process.trims == trims


def test_memory_in_use_is_no_reason_to_return_it_each_time() -> None:
    """Growth counts from what was left after the last return: a cache that stays is not trimmed at every look."""
    process = _Process()
    returning = process.returning()
    process.resident = process.in_use = 80 * MB
    returning.look()
    returning.look()
    assert process.trims == 1
    process.resident = process.in_use = 60 * MB  # the cache is gone: growth counts from here
    returning.look()
    process.resident = 70 * MB
    returning.look()
    assert process.trims == 2


def test_what_was_in_use_at_a_return_is_returned_when_it_is_free() -> None:
    """A burst that ends after memory was returned leaves it to a process that does not grow any more. Of one that stays
    large it is looked at ever more seldom.
    """
    process = _Process()
    returning = process.returning()
    returning.look()
    process.resident = process.in_use = 90 * MB
    returning.look()
    process.in_use = 50 * MB
    returning.look()
    assert process.resident == 50 * MB
    process.resident = process.in_use = 90 * MB
    before = process.trims
    for _ in range(100):
        returning.look()
    assert process.trims - before == 1 + 6 + 1  # for its growth, after 1, 2, 4, 8, 16 and 32 looks, and 32 later


async def test_it_looks_again_for_as_long_as_the_loop_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look arranges the next."""
    monkeypatch.setattr(memory, "EVERY", 0.0)
    looked, looks = asyncio.Event(), 0

    def resident() -> int:
        nonlocal looks
        looks += 1
        if looks == 3:
            looked.set()
        return 0

    MemoryReturn(resident, lambda: None).start(asyncio.get_running_loop())
    async with asyncio.timeout(PATIENCE):
        await looked.wait()


@pytest.mark.skipif(memory_return() is None, reason="the system's allocator has no malloc_trim (it is glibc's)")
def test_what_lies_between_used_pages_is_returned() -> None:
    """60 MB that were freed between small pieces still in use are returned by a look."""
    ran = subprocess.run([sys.executable, "-c", _BURST], capture_output=True, text=True, cwd=ROOT, check=True)
    assert int(ran.stdout) < 5 * MB

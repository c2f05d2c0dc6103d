"""What a thread of the pool keeps of the work that it did."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from weakref import ref

import pytest

from polychat.worker_threads import in_store_thread, in_thread


class Large:
    """A body."""


async def test_a_thread_that_the_system_does_not_run_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither result nor arguments: a busy machine may let the thread wait for long after it has handed the result over."""
    wait, original = threading.Event(), Future.set_result

    def then_stopped(future: Future[object], result: object) -> None:
        original(future, result)
        wait.wait(10)

    monkeypatch.setattr(Future, "set_result", then_stopped)
    try:
        argument = Large()
        result = await in_thread(lambda body: (Large(), ref(body)), argument)
        made, argument_left = ref(result[0]), result[1]
        del result, argument
        assert made() is None
        assert argument_left() is None
    finally:
        wait.set()


async def test_what_is_raised_there_is_raised_here() -> None:
    """With the error's own type, and the next call works as the first."""
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)
    assert await in_thread(int, "7f", base=16) == 127


async def test_stores_that_hang_hold_up_no_other_thread() -> None:
    """However many requests wait for one, names of hosts are looked up in the event loop's threads meanwhile."""
    free = threading.Event()
    waiting = [asyncio.ensure_future(in_store_thread(free.wait)) for _ in range(100)]
    try:
        async with asyncio.timeout(60):
            assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
            assert await in_thread(lambda: 1) == 1
    finally:
        free.set()
    assert await asyncio.gather(*waiting) == [True] * 100

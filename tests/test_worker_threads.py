"""What a thread of the pool keeps of the work that it did."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from weakref import ref

import pytest

from polychat.worker_threads import in_thread


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

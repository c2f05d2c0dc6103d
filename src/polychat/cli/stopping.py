"""Signals that stop a reply: what had arrived is kept, as after Ctrl-C, also where the terminal goes away."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

ENDS = ("SIGHUP", "SIGTERM")
"""The terminal has gone, or the process is to end."""


_stops: dict[int, list[Callable[[], object]]] = {}
"""By signal, what the blocks call that are entered now, the innermost last: the loop knows one handler only."""


@contextmanager
def stopped_by(stop: Callable[[], object], *names: str) -> Generator[None]:
    """Within the block these signals call ``stop``, where the platform has them; those that are ignored stay so.

    After it they do what they did before.
    """
    with ExitStack() as stack:
        for name in names:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                with suppress(NotImplementedError):
                    stack.enter_context(_handled(number, stop))
        yield


@contextmanager
def _handled(number: int, stop: Callable[[], object]) -> Generator[None]:
    loop, stops, before = asyncio.get_running_loop(), _stops.setdefault(number, []), signal.getsignal(number)
    loop.add_signal_handler(number, stop)
    stops.append(stop)
    try:
        yield
    finally:
        stops.pop()
        if stops:
            loop.add_signal_handler(number, stops[-1])
        else:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL if before is None else before)


async def finished(task: asyncio.Task[Any], hurry: Callable[[], object] = lambda: None) -> None:
    """Wait for the end of a task, whatever it ends with. One who is cancelled meanwhile calls ``hurry`` and waits all the same.

    Raises ``CancelledError`` after it then.
    """
    interrupted: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            interrupted = error
            hurry()
    if interrupted is not None:
        raise interrupted


def run_to_end(work: Coroutine[Any, Any, int]) -> int:
    """Run ``work``. Raises ``KeyboardInterrupt`` after Ctrl-C, and where the terminal went away.

    A further Ctrl-C cuts short what ``work`` does at its end, and never the end itself: what it started would be left running.
    """

    async def run() -> int:
        task = asyncio.current_task()
        assert task is not None
        with stopped_by(task.cancel, "SIGINT", *ENDS):
            return await work

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None

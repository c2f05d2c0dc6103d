"""An async generator for synchronous code: it runs in a thread of its own, and its pieces arrive through a queue."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, suppress
from typing import Any, TypeVar

T = TypeVar("T")

_AHEAD = 64
"""Pieces in the queue, at most, before the generator is paused: a slow reader does not fill the memory."""


def pieces_of(start: Callable[[], AsyncGenerator[T, None]]) -> Generator[T, None, None]:
    """The pieces of ``start()``, which runs in a thread from the first ``next`` on. Closing the generator cancels it.

    Raises what the async generator raises.
    """
    pump = _Pump(start)
    try:
        yield from pump.pieces()
    finally:
        pump.stop()


def result_of(start: Callable[[], Awaitable[T]]) -> T:
    """The result of ``start()``, which runs in a thread. An exception in this thread meanwhile (Ctrl-C) cancels it.

    Raises what it raises.
    """

    async def once() -> AsyncGenerator[T, None]:
        yield await start()

    (result,) = pieces_of(once)
    return result


class _Pump:
    """The thread, its event loop, and the queue between it and the caller."""

    def __init__(self, start: Callable[[], AsyncGenerator[Any, None]]) -> None:
        self._start = start
        self._queue: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Semaphore | None = None
        self._ready = threading.Event()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="polychat-completion", daemon=True)

    def pieces(self) -> Generator[Any, None, None]:
        self._thread.start()
        while True:
            kind, value = self._queue.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            self._make_room()
            yield value

    def stop(self) -> None:
        if self._thread.ident is None or sys.is_finalizing():
            return  # not started; or the process exits: a daemon thread is stopped then, and joining it would block for ever
        self._ready.wait()
        if self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # the loop was closed since: the generator has ended
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def _make_room(self) -> None:
        if self._loop is not None and self._room is not None:
            with suppress(RuntimeError):  # as in stop()
                self._loop.call_soon_threadsafe(self._room.release)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            self._queue.put(("end", None))
        except BaseException as error:  # noqa: BLE001  # it is raised in the caller's thread, whatever it is
            self._queue.put(("error", error))
        else:
            self._queue.put(("end", None))
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._room = asyncio.Semaphore(_AHEAD)
        self._ready.set()
        async with aclosing(self._start()) as pieces:
            async for piece in pieces:
                await self._room.acquire()
                self._queue.put(("piece", piece))

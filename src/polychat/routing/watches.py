"""When attempts are looked after, by one timer for all that are under way: one for each would cost more than the rest.

The timer rings at the earliest of them that was set since it rang last, which may be over by then: ringing early does no harm.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf


class Watch(ABC):
    """One that is looked after from ``Watches.begin`` until ``Watches.end``."""

    __slots__ = ("due", "handle")

    due: float
    """The moment on its loop's clock."""
    handle: asyncio.TimerHandle | None
    """Its own timer, where the other watches are those of another loop."""

    @abstractmethod
    def look(self) -> float | None:
        """Called when it is due; gives the seconds after which it is to be called again."""


class Watches:
    """All of one router."""

    def __init__(self) -> None:
        self._watched: dict[Watch, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = inf

    def begin(self, watch: Watch, seconds: float) -> None:
        """Call its ``look`` after so many seconds, unless ``end`` comes first."""
        loop = asyncio.get_running_loop()
        watch.due = due = loop.time() + seconds
        watch.handle = None
        if loop is not self._loop and not self._move(loop):
            self._alone(watch, loop)
            return
        self._watched[watch] = None
        if due < self._rings_at:
            self._set(due, loop)

    def end(self, watch: Watch) -> None:
        """It is not looked after any more."""
        self._watched.pop(watch, None)
        if watch.handle is not None:
            watch.handle.cancel()

    def _alone(self, watch: Watch, loop: asyncio.AbstractEventLoop) -> None:
        def ring() -> None:
            seconds = watch.look()
            if seconds is not None:
                watch.due = loop.time() + seconds
                self._alone(watch, loop)

        watch.handle = loop.call_at(watch.due, ring)

    def _move(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this loop's attempts are watched from now on: not while another loop runs that has some."""
        if self._watched and self._loop is not None and not self._loop.is_closed():
            return False
        self._watched.clear()
        if self._timer is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._timer.cancel)
        self._loop, self._timer, self._rings_at = loop, None, inf
        return True

    def _set(self, due: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = due
        self._timer = loop.call_at(due, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:
            return
        self._timer, self._rings_at = None, inf
        now = loop.time()
        for watch in [watch for watch in self._watched if watch.due <= now]:
            seconds = watch.look()
            if seconds is None:
                self._watched.pop(watch, None)
            else:
                watch.due = now + seconds
        if self._watched:
            self._set(min(watch.due for watch in self._watched), loop)


class Patience(Watch):
    """Cancels the running task once its time is up; cheaper than ``asyncio.timeout``.

    ``ask`` is called then: 0 cancels it, other seconds are added, and ``None`` leaves it alone from then on.
    """

    __slots__ = ("_ask", "_cancelling", "_is_over", "_task", "_watches")

    def __init__(self, watches: Watches, seconds: float, ask: Callable[[], float | None]) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a router runs in a task")
        self._watches, self._task, self._ask = watches, task, ask
        self._cancelling, self._is_over = task.cancelling(), False
        watches.begin(self, seconds)

    def look(self) -> float | None:
        seconds = self._ask()
        if seconds == 0.0:
            self._is_over = True
            self._task.cancel()
            return None
        return seconds

    def is_over(self) -> bool:
        """Whether the task was cancelled by this alone."""
        return self._is_over and self._task.cancelling() <= self._cancelling + 1

    def end(self) -> None:
        """What was watched is over, however it ended."""
        self._watches.end(self)
        if self._is_over:
            self._task.uncancel()

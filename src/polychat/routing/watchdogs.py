"""When attempts are looked after, by one timer for all that are under way: one for each would cost more than the rest.

The timer rings at the earliest of them that was set since it rang last, which may be over by then: ringing early does no harm.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf


class Watchdog(ABC):
    """One that is looked after from ``Watchdogs.begin`` until ``Watchdogs.end``."""

    __slots__ = ("due", "handle")

    due: float
    """The moment on its loop's clock."""
    handle: asyncio.TimerHandle | None
    """Its own timer, where the other watchdogs are those of another loop."""

    @abstractmethod
    def look(self) -> float | None:
        """Called when it is due; gives the seconds after which it is to be called again."""


class Watchdogs:
    """All of one router."""

    def __init__(self) -> None:
        self._watched: dict[Watchdog, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = inf

    def begin(self, watchdog: Watchdog, seconds: float) -> None:
        """Call its ``look`` after so many seconds, unless ``end`` comes first."""
        loop = asyncio.get_running_loop()
        watchdog.due = due = loop.time() + seconds
        watchdog.handle = None
        if loop is not self._loop and not self._move(loop):
            self._alone(watchdog, loop)
            return
        self._watched[watchdog] = None
        if due < self._rings_at:
            self._set(due, loop)

    def end(self, watchdog: Watchdog) -> None:
        """It is not looked after any more."""
        self._watched.pop(watchdog, None)
        if watchdog.handle is not None:
            watchdog.handle.cancel()

    def _alone(self, watchdog: Watchdog, loop: asyncio.AbstractEventLoop) -> None:
        def ring() -> None:
            seconds = watchdog.look()
            if seconds is not None:
                watchdog.due = loop.time() + seconds
                self._alone(watchdog, loop)

        watchdog.handle = loop.call_at(watchdog.due, ring)

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
        for watchdog in [watchdog for watchdog in self._watched if watchdog.due <= now]:
            seconds = watchdog.look()
            if seconds is None:
                self._watched.pop(watchdog, None)
            else:
                watchdog.due = now + seconds
        if self._watched:
            self._set(min(watchdog.due for watchdog in self._watched), loop)


class Patience(Watchdog):
    """Cancels the running task once its time is up; cheaper than ``asyncio.timeout``.

    ``ask`` is called then: 0 cancels it, other seconds are added, and ``None`` leaves it alone from then on.
    """

    __slots__ = ("_ask", "_cancelling", "_is_over", "_task", "_watchdogs")

    def __init__(self, watchdogs: Watchdogs, seconds: float, ask: Callable[[], float | None]) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a router runs in a task")
        self._watchdogs, self._task, self._ask = watchdogs, task, ask
        self._cancelling, self._is_over = task.cancelling(), False
        watchdogs.begin(self, seconds)

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
        self._watchdogs.end(self)
        if self._is_over:
            self._task.uncancel()

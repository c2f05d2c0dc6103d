"""Alarms of an event loop that share one timer of it.

A timer of the loop's own takes 700 bytes, and each open connection waits for something. Here an alarm takes 200, and setting
it is a step in a heap. One that is cancelled stays in the heap until it is due, or until such are more than half.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

from .per_loop import PerLoop

_TOLERANCE = 0.0005
"""Seconds that an alarm may be early: a loop's clock may count whole milliseconds."""
_FEW = 64
"""Cancelled alarms that are never too many."""


class Alarm:
    """One that is set."""

    __slots__ = ("_alarms", "callback", "is_due")

    def __init__(self, alarms: LoopAlarms, callback: Callable[[], object]) -> None:
        self._alarms = alarms
        self.callback: Callable[[], object] | None = callback
        """``None`` if it rang, or was cancelled."""
        self.is_due = False
        """Whether it is about to ring."""

    def cancel(self) -> None:
        """It does not ring."""
        if self.callback is not None:
            self.callback = None
            if not self.is_due:
                self._alarms.note_cancelled()


class LoopAlarms:
    """Those of one loop."""

    __slots__ = ("__weakref__", "_cancelled", "_heap", "_loop", "_numbers", "_rings", "_timer", "closed", "time")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.time = self._loop.time
        self._heap: list[tuple[float, int, Alarm]] = []
        self._numbers = count()
        self._cancelled = 0
        self._timer: asyncio.TimerHandle | None = None
        self._rings = inf
        self.closed = False

    def __len__(self) -> int:
        """How many are held, those that were cancelled included."""
        return len(self._heap)

    def call_at(self, due: float, callback: Callable[[], object]) -> Alarm:
        """Call ``callback`` at a time on the loop's clock, unless it is cancelled."""
        alarm = Alarm(self, callback)
        heappush(self._heap, (due, next(self._numbers), alarm))
        if due < self._rings:
            self._set(due)
        return alarm

    def note_cancelled(self) -> None:
        """An alarm was cancelled: forget all such if they are many, or no other is set."""
        self._cancelled += 1
        if self._cancelled == len(self._heap):
            self._heap.clear()
            self._cancelled = 0
            self._stop()
        elif self._cancelled > _FEW and self._cancelled > len(self._heap) // 2:
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapify(self._heap)
            self._cancelled = 0

    async def close(self) -> None:
        """The loop is being shut down: nothing rings any more."""
        self.closed = True
        for _, _, alarm in self._heap:
            alarm.callback = None  # one that is cancelled later is not counted
        self._heap.clear()
        self._cancelled = 0
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._rings = None, inf

    def _set(self, due: float) -> None:
        self._stop()
        self._rings = due
        self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer, self._rings, now = None, inf, self._loop.time()
        due = self._take_due(now + _TOLERANCE)
        try:
            while due:
                self._call(due.popleft())
        finally:
            for alarm in due:  # ctrl-c came between: the loop may run again, as a notebook's does
                if alarm.callback is not None:
                    alarm.is_due = False
                    heappush(self._heap, (now, next(self._numbers), alarm))
            if self._heap and self._heap[0][0] < self._rings:
                self._set(self._heap[0][0])

    def _call(self, alarm: Alarm) -> None:
        callback, alarm.callback = alarm.callback, None
        try:
            if callback is not None:  # else one that rang before has cancelled it
                callback()
        except Exception as error:  # noqa: BLE001  # as a loop does
            self._loop.call_exception_handler({"message": "an alarm's callback failed", "exception": error})

    def _take_due(self, now: float) -> deque[Alarm]:
        """Those that are due; those that their callbacks set are not among them, and wait for another turn."""
        due: deque[Alarm] = deque()
        while self._heap and (self._heap[0][0] <= now or self._heap[0][2].callback is None):
            _, _, alarm = heappop(self._heap)
            if alarm.callback is None:
                self._cancelled -= 1
            else:
                alarm.is_due = True
                due.append(alarm)
        return due


alarms = PerLoop(LoopAlarms).get
"""The running loop's ``LoopAlarms``."""

"""How many requests a target has at once where its route limits that, and who waits for one of its slots.

A limit is given, or finds itself (additive increase, multiplicative decrease): one more for each round trip in which it was
reached, a tenth less when the target refuses a request as too many, or does not begin to answer in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from threading import RLock
from typing import Generic, Literal, TypeVar

from ..errors import BackendError, PolychatError, Resting, TimedOut
from .fair_queue import FairQueue, Waiter

K = TypeVar("K")
SLOTS_LOCK = RLock()
"""Of all slots: the threads of the library's synchronous calls, each with a loop of its own, share them."""
FIRST, MOST = 16.0, 1000.0
"""What a limit that finds itself begins with, and what it may come to."""
LESS = 0.9
_NEAR = 0.8
"""The share of a limit that is in use when it counts as reached."""
_LOOKS = 0.25
"""Seconds after which a waiting request checks whether its target may still be called."""
_WEIGHT = 0.1
"""How much the last request counts in what requests take."""


class AutoLimit:
    """Moments are seconds on the caller's clock."""

    __slots__ = ("_lowered_at", "value")

    def __init__(self) -> None:
        self.value = FIRST
        self._lowered_at = float("-inf")

    def answered(self, in_flight: int) -> None:
        """The target began to answer while so many requests were in flight."""
        if in_flight >= _NEAR * self.value:
            self.value = min(MOST, self.value + 1.0 / self.value)

    def refused(self, called_at: float, now: float) -> None:
        """Lower the limit after a refusal, unless the request began before the limit was last lowered."""
        if called_at >= self._lowered_at:
            self.value = max(1.0, self.value * LESS)
            self._lowered_at = now


class Slots:
    """Of one target, in all routes that limit it."""

    __slots__ = ("auto", "in_use", "limit", "queue", "seconds")

    def __init__(self) -> None:
        self.auto = AutoLimit()
        self.queue = FairQueue()
        self.in_use = 0
        """Slots that are taken: by requests in flight, and by those that got their turn just now."""
        self.limit = int(FIRST)
        """As of the latest request."""
        self.seconds = 0.0
        """What requests took recently; 0 where that is not known."""

    def set(self, concurrency: int | Literal["auto"]) -> None:
        """Apply the limit of the route whose request comes next."""
        self.limit = int(self.auto.value) if concurrency == "auto" else concurrency

    @property
    def is_full(self) -> bool:
        return self.in_use >= self.limit

    def estimate(self, priority: int) -> float:
        """Seconds until one more of this priority gets its turn, as far as that is known."""
        return (self.queue.before(priority) + 1) * self.seconds / self.limit

    def note(self, seconds: float) -> None:
        """A request was over after so long."""
        self.seconds += _WEIGHT * (seconds - self.seconds) if self.seconds else seconds

    def freed(self) -> None:
        """A slot is free again: it is the next one's who waits."""
        with SLOTS_LOCK:
            self.in_use -= 1
            self.grant()

    def grant(self) -> None:
        """Give the slots that are free to those that wait."""
        with SLOTS_LOCK:
            while not self.is_full and (waiter := self.queue.pop()) is not None:
                if isinstance(waiter, QueuedRequest) and not waiter.is_over:
                    waiter.is_over, waiter.slots = True, self
                    self.in_use += 1
                    waiter.wake()


class QueuedRequest(Waiter):
    """A request that waits in the running loop; ``slots`` is what it got one of."""

    __slots__ = ("_loop", "slots", "turn")

    def __init__(self, key: str, priority: int, prompt_tokens: int = 0) -> None:
        super().__init__(key, priority, prompt_tokens)
        self._loop = asyncio.get_running_loop()
        self.turn = self._loop.create_future()
        self.slots: Slots | None = None

    def wake(self) -> None:
        """It has its turn. May be called from another thread, or where no loop runs."""
        try:
            is_here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_here = False
        if is_here:
            self._woken()
        else:
            self._loop.call_soon_threadsafe(self._woken)

    def _woken(self) -> None:
        if not self.turn.done():
            self.turn.set_result(None)


def is_too_much(error: PolychatError) -> bool:
    """Whether a failure means that a target has too many requests."""
    if isinstance(error, TimedOut):
        return error.clock == "first"
    return isinstance(error, BackendError) and (error.kind == "rate_limit" or (error.kind is None and error.status == 429))


def busy(target: str, seconds: float) -> Resting:
    """The error of a request that would wait too long, or finds the queue full; ``seconds`` until its turn; 0: unknown."""
    error = Resting(
        f"{target} has as many requests as its route allows, and others wait", retry_after=max(1.0, round(seconds, 1))
    )
    error.kind, error.status = "rate_limit", 429
    return error


class Turns(Generic[K]):
    """The slots that a request may wait for, by what it would ask with each."""

    def __init__(self, slots: Mapping[K, Slots]) -> None:
        self._slots = slots

    def free(self) -> K | None:
        """The first that has a slot, which is taken; ``None`` where all are full."""
        with SLOTS_LOCK:
            for key, slots in self._slots.items():
                if not slots.is_full:
                    slots.in_use += 1
                    return key
        return None

    def estimate(self, priority: int) -> float:
        """Seconds until the first of them has a turn for one more of this priority."""
        return min(slots.estimate(priority) for slots in self._slots.values())

    def has_place(self, priority: int, places: int) -> bool:
        """Whether one more may wait."""
        return any(slots.queue.has_place(priority, places) for slots in self._slots.values())

    async def wait(self, waiter: QueuedRequest, seconds: float, rests: Callable[[K], bool]) -> K | None:
        """What has a slot first, which is taken; ``None`` where that takes longer than ``seconds``.

        ``rests`` is true for a target that must not be called now: it is not waited for any more then, and where all of them
        rest the wait is over.
        """
        with SLOTS_LOCK:
            for slots in self._slots.values():
                slots.queue.push(waiter)
        try:
            await self._look(waiter, seconds, rests)
        except asyncio.CancelledError:
            self._leave(waiter)
            if waiter.slots is not None:
                waiter.slots.freed()
            raise
        self._leave(waiter)
        return next((key for key, slots in self._slots.items() if slots is waiter.slots), None)

    async def _look(self, waiter: QueuedRequest, seconds: float, rests: Callable[[K], bool]) -> None:
        """Until it has its turn, or there is no use in waiting."""
        left = dict(self._slots)
        while left and seconds > 0 and not waiter.turn.done():
            await asyncio.wait((waiter.turn,), timeout=min(seconds, _LOOKS))
            seconds -= _LOOKS
            with SLOTS_LOCK:
                for key in [key for key in left if waiter.slots is None and rests(key)]:
                    left.pop(key).queue.left(waiter)

    def _leave(self, waiter: QueuedRequest) -> None:
        """Remove it from the queues, whether it has a slot or not."""
        with SLOTS_LOCK:
            waiter.is_over = True
            for slots in self._slots.values():
                if slots is not waiter.slots:
                    slots.queue.left(waiter)

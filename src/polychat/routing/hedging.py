"""A second target for a request whose first one takes longer than usual: who begins first answers, the other is left.

Off by default because it costs requests: at most one in fifty. The second target is called at the 95th percentile of the time
that the first one takes for requests of this kind, once that is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .windows import Window

T = TypeVar("T")
SHARE, SECONDS = 0.02, 60.0
"""Of the requests of a minute, how many may have a second target."""
_REQUEST, _HEDGE = 0, 1


class HedgeBudget:
    """Of one route. Moments are seconds on the caller's clock."""

    __slots__ = ("_window",)

    def __init__(self) -> None:
        self._window = Window(SECONDS, 2)

    def count_request(self, now: float) -> None:
        """Count a request of a client."""
        self._window.add(_REQUEST, now)

    def take(self, now: float) -> bool:
        """Whether a second target may be called, which is then counted."""
        requests, hedges = self._window.totals(now)
        if hedges + 1 > SHARE * requests:
            return False
        self._window.add(_HEDGE, now)
        return True


async def raced(
    first: Awaitable[T],
    seconds: Callable[[], float | None],
    second: Callable[[], Awaitable[T] | None],
    discard: Callable[[T], Awaitable[None]],
) -> tuple[T, bool]:
    """What ``first`` gives, or ``second`` if it gives something sooner; and whether it was the second.

    ``seconds`` is called once ``first`` has begun: ``second`` is called when ``first`` took so long. Both may give ``None``:
    no second. What both fail with is ``first``'s failure. The one that is left is cancelled, and over when this returns or
    raises; what it gave all the same goes to ``discard``.
    """
    tasks: list[asyncio.Future[T]] = [asyncio.ensure_future(first)]
    try:
        winner = await _winner(tasks, seconds, second)
        await _left([task for task in tasks if task is not winner], discard)
    except BaseException:
        await _left(tasks, discard)
        raise
    return winner.result(), winner is not tasks[0]


async def _winner(
    tasks: list[asyncio.Future[T]], seconds: Callable[[], float | None], second: Callable[[], Awaitable[T] | None]
) -> asyncio.Future[T]:
    """The task that is done first without a failure, else the first; a second one is added to ``tasks`` when it is due."""
    done, pending = await asyncio.wait(tasks, timeout=0)  # a turn of the loop, in which it begins
    if not done and (limit := seconds()) is not None:
        done, pending = await asyncio.wait(tasks, timeout=limit)
        if not done and (waiting := second()) is not None:
            tasks.append(asyncio.ensure_future(waiting))
            pending = set(tasks)
    while True:
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is None:
                return task
        if not pending:
            return tasks[0]
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)


async def _left(tasks: list[asyncio.Future[T]], discard: Callable[[T], Awaitable[None]]) -> None:
    for task in tasks:
        task.cancel()
    for given in await asyncio.gather(*tasks, return_exceptions=True):
        if not isinstance(given, BaseException):
            await discard(given)

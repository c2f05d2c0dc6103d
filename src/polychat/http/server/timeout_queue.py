"""Timeouts for thousands of connections: no timer for each connection, and none for each request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

Who = TypeVar("Who")


class TimeoutQueue(Generic[Who]):
    """Entries that wait for the same thing, all for the same time: the first to come is the first that is late.

    ``seconds`` is evaluated at every check, so that it may change; ``late`` is called with each entry that waited longer. What
    it raises goes to the loop's exception handler.
    """

    __slots__ = ("_late", "_loop", "_seconds", "_since", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: Callable[[], float], late: Callable[[Who], None]) -> None:
        self._loop, self._seconds, self._late = loop, seconds, late
        self._since: dict[Who, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, who: Who) -> bool:
        return who in self._since

    def start(self, who: Who) -> None:
        """Wait from now on; a connection that waits already gets no more time."""
        if who not in self._since:
            self._since[who] = self._loop.time()
            if self._timer is None:
                self._timer = self._loop.call_later(self._seconds(), self._look)

    def stop(self, who: Who) -> None:
        self._since.pop(who, None)

    def close(self) -> None:
        """Remove all entries."""
        self._since.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        # Half a millisecond of tolerance: a loop's clock may count whole ones.
        begin = self._loop.time() - self._seconds() + 0.0005
        late: list[tuple[Who, float]] = []
        for who, since in self._since.items():
            if since > begin:
                self._timer = self._loop.call_later(since - begin + 0.001, self._look)
                break
            late.append((who, since))
        for who, since in late:
            if self._since.get(who) != since:
                continue  # another's callback has stopped it, or it waits anew
            del self._since[who]
            try:
                self._late(who)
            except Exception as error:  # noqa: BLE001  # as a loop does: the others have their own time
                self._loop.call_exception_handler({"message": "a timeout's callback failed", "exception": error})

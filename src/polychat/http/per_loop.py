"""Objects that belong to an event loop: one for each loop, closed with it."""

from __future__ import annotations

import asyncio
import threading
from asyncio import get_running_loop
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary, ref


class Closable(Protocol):
    @property
    def closed(self) -> bool: ...

    def close(self) -> Awaitable[None]: ...


T = TypeVar("T", bound=Closable)


class PerLoop(Generic[T]):
    """The running loop's own ``T``: made at first use, closed when the loop is shut down."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._last: tuple[ref[asyncio.AbstractEventLoop], T] | None = None
        """The last result: most processes have one loop."""
        self.kept: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[T, AsyncGenerator[None, None]]] = WeakKeyDictionary()

    def get(self) -> T:
        """The caller must not close it. A closed one is replaced."""
        loop = get_running_loop()
        if (last := self._last) is not None:
            known, kept = last
            if known() is loop and not kept.closed:
                return kept
        with self._lock:
            entry = self.kept.get(loop)
        if entry is not None and not entry[0].closed:
            self._last = (ref(loop), entry[0])
            return entry[0]
        made, keeper = self._make(), self._keeping(loop)
        with self._lock:
            # Entries refer to their loop: the weak key alone would not release one that was closed without being shut down.
            for gone in [known for known in self.kept if known.is_closed()]:
                del self.kept[gone]
            self.kept[loop] = (made, keeper)
        with suppress(StopIteration):
            keeper.asend(None).send(None)  # up to its yield, which it reaches without waiting
        return made

    async def _keeping(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        """Closes the loop's entry when it is shut down: `asyncio.run` closes every async generator that was started in it."""
        try:
            yield
        finally:
            with self._lock:
                entry = self.kept.pop(loop, None)
            if entry is not None:
                await entry[0].close()

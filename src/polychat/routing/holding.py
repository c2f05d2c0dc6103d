"""The beginning of a stream, kept back for a little: until then another backend can still be called, unseen.

A wait for more is given up when the hold's time is over, and the stream goes on where it was. A response of the connection pool
can be left and taken up again. The generators of other backends must not be interrupted, so that they run in a task of their
own, from which batches are taken: ``Pumped``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..events import Event, Finish, Reasoning, Refusal, Text, ToolCallPiece
from .hold import Hold

if TYPE_CHECKING:
    from ..http.pool.event_pipe import EventPipe
    from ..http.pool.pool import PooledResponse
    from ..wire.contract import Reader

MOST = 256 * 1024
"""Bytes of a stream that are held, be it until a piece of an answer comes; what has begun with more than that is passed."""
_EVENTS = 8192
"""Events that are held."""
_QUEUED = 8
"""Batches that a task reads ahead."""


def characters_in(events: list[Event]) -> int:
    """Characters of the answer, its thoughts and its calls."""
    count = 0
    for event in events:
        if isinstance(event, (Text, Reasoning, Refusal)):
            count += len(event.text)
        elif type(event) is ToolCallPiece:
            count += len(event.arguments)
    return count


class OpeningHold:
    """The hold of one attempt, if there is one when its first piece is there.

    ``begun`` is called then: what is waited for from then on is ours.
    """

    def __init__(
        self, hold: Callable[[], Hold | None], begun: Callable[[], None], reader: Callable[[], Reader] | None = None
    ) -> None:
        """``reader`` is for ``more_bytes``."""
        self._hold, self._begun, self._reader = hold, begun, reader

    async def more_bytes(self, response: PooledResponse, first: bytes, take: Callable[[bytes], bool]) -> None:
        """Give the pieces after ``first`` to ``take`` until enough is held, the time is over, or ``take`` returns that it ends.

        An empty piece is the body's end. Raises what ``response.piece`` raises.
        """
        assert self._reader is not None  # given wherever bytes are held
        hold = self._hold()
        if hold is None:
            return
        reader = self._reader()
        self._begun()
        count, size = characters_in(reader.feed(first)), len(first)
        with suppress(TimeoutError):
            async with asyncio.timeout(hold.seconds):
                while not hold.is_over(count) and size < MOST:
                    data = await response.piece()
                    if take(data) or not data:
                        return
                    size += len(data)
                    count += characters_in(reader.feed(data))

    async def more_events(
        self, events: list[Event], pipe: EventPipe | None, batches: AsyncGenerator[list[Event], None]
    ) -> None:
        """Add to ``events`` until enough is held, the time is over, or the reply ends. Raises what the batches raise."""
        hold = self._hold()
        if hold is None:
            return
        self._begun()
        count = characters_in(events)

        def take(batch: list[Event]) -> bool:
            nonlocal count
            events.extend(batch)
            count += characters_in(batch)
            return hold.is_over(count) or type(batch[-1]) is Finish or len(events) >= _EVENTS

        if hold.is_over(count):
            return
        with suppress(TimeoutError, StopAsyncIteration):
            async with asyncio.timeout(hold.seconds):
                if pipe is not None:
                    await pipe.pipe(take)
                else:
                    while not take(await anext(batches)):
                        pass


class Pumped(AsyncGenerator[list[Event], None]):
    """The batches of a generator, which runs in a task: to wait for the next one may be given up, and done again later."""

    def __init__(self, batches: AsyncGenerator[list[Event], None]) -> None:
        self._batches = batches
        self._queue: asyncio.Queue[list[Event] | BaseException] = asyncio.Queue(_QUEUED)
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._is_over = False

    async def _run(self) -> None:
        end: BaseException = StopAsyncIteration()
        try:
            async for batch in self._batches:
                await self._queue.put(batch)
        except Exception as error:  # noqa: BLE001  # it is raised where the batches are read
            end = error
        finally:
            await self._batches.aclose()
        await self._queue.put(end)

    async def asend(self, value: None) -> list[Event]:
        if self._is_over:
            raise StopAsyncIteration
        batch = await self._queue.get()
        if isinstance(batch, BaseException):
            self._is_over = True
            raise batch
        return batch

    async def athrow(self, *arguments: Any) -> list[Event]:
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._is_over = True
        self._task.cancel()
        await asyncio.wait([self._task])

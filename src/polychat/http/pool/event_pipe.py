"""The rest of a pooled reply as pushed events, after the first of them were read from ``Body.events``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ...errors import BackendError
from ...events import Event, Finish
from ...wire.contract import Reader
from ...wire.repeats import Repeats


class Pipe(Protocol):
    """A response that pushes its body: see ``PooledResponse``."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    async def pipe(self, sink: Callable[[bytes], bool]) -> None: ...


class EventPipe:
    """The events that ``response.events(reader)`` would still return. ``change`` is applied to each batch."""

    __slots__ = ("_change", "_reader", "_response", "pause", "resume")

    def __init__(self, response: Pipe, reader: Reader, change: Callable[[list[Event]], list[Event]] | None = None) -> None:
        self._response, self._reader, self._change = response, reader, change
        self.pause, self.resume = response.pause, response.resume

    async def pipe(self, sink: Callable[[list[Event]], bool]) -> None:
        """Pass each batch to ``sink`` in the call that reads its bytes, until the ``Finish`` or until ``sink`` returns true.

        ``sink`` must not block or raise ``BackendError``; its other exceptions are raised here. The response stays open, and
        the rest of the reply can be passed to another sink.
        """
        reader, change = Repeats(self._reader), self._change
        feed = reader.feed
        is_enough = False

        def read(data: bytes) -> bool:
            nonlocal is_enough
            batch = feed(data)
            if batch and change is not None:
                batch = change(batch)
            is_enough = bool(batch) and sink(batch)
            return is_enough or reader.done

        if reader.done:
            return
        try:
            await self._response.pipe(read)
        except BackendError as error:
            rest = [*(event for event in reader.end() if type(event) is not Finish), Finish("truncated", error=error)]
        else:
            if is_enough and not reader.done:
                return  # there may be more of the reply: it is not over
            rest = reader.end()
        if rest:
            sink(rest if change is None else change(rest))

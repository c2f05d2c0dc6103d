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

    __slots__ = ("_change", "_feed", "_is_enough", "_reader", "_response", "_sink")

    def __init__(self, response: Pipe, reader: Reader, change: Callable[[list[Event]], list[Event]] | None = None) -> None:
        self._response, self._reader, self._change = response, reader, change
        self._feed: Callable[[bytes], list[Event]]
        self._sink: Callable[[list[Event]], bool]
        self._is_enough = False
        """Whether the sink accepts no more."""

    def pause(self) -> None:
        self._response.pause()

    def resume(self) -> None:
        self._response.resume()

    async def pipe(self, sink: Callable[[list[Event]], bool]) -> None:
        """Pass each batch to ``sink`` in the call that reads its bytes, until the ``Finish`` or until ``sink`` returns true.

        ``sink`` must not block or raise ``BackendError``; its other exceptions are raised here. The response stays open, and
        the rest of the reply can be passed to another sink.
        """
        reader = self._reader
        if reader.done:
            return
        self._feed, self._sink, self._is_enough = Repeats(reader).feed, sink, False
        try:
            await self._response.pipe(self._read)
        except BackendError as error:
            rest = [*(event for event in reader.end() if type(event) is not Finish), Finish("truncated", error=error)]
        else:
            if self._is_enough and not reader.done:
                return  # there may be more of the reply: it is not over
            rest = reader.end()
        finally:
            del self._feed, self._sink  # the sink's owner may refer to this object
        if rest:
            sink(rest if self._change is None else self._change(rest))

    def _read(self, data: bytes) -> bool:
        batch = self._feed(data)
        if batch and self._change is not None:
            batch = self._change(batch)
        self._is_enough = bool(batch) and self._sink(batch)
        return self._is_enough or self._reader.done

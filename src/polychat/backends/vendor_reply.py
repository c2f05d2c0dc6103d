"""One reply of a vendor as it is read: an asynchronous generator by its interface, without the cost of one.

A generator is entered and left for each batch through its own awaitable, known to the loop by a weak reference, and closed by
an exception that is thrown into it; a call of one short reply would pay as much for that as for reading ten chunks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ..calls.info import CallInfo
from ..events import Event, Finish
from .relay import rate_limits

if TYPE_CHECKING:
    from ..http.pool.pool import PooledResponse
    from ..wire.contract import Reader

MAX_REPLY = 64 * 1024 * 1024
"""Maximum bytes of a reply that is read whole."""

Change = Callable[[list[Event]], list[Event]]
"""Changes each batch, to restore the names that the request has for tools."""


class Sent:
    """A request that was sent, and how its reply is read."""

    __slots__ = ("change", "reader", "refusal", "response", "whole")

    def __init__(
        self,
        response: Awaitable[PooledResponse],
        refusal: Callable[[PooledResponse], Awaitable[Exception]],
        reader: Reader | None,
        whole: Callable[[bytes], list[Event]],
        change: Change | None = None,
    ) -> None:
        self.response, self.refusal = response, refusal
        self.reader = reader
        """The reader of a streamed reply; ``None`` for a whole one, which ``whole`` reads."""
        self.whole, self.change = whole, change


class VendorReply(AsyncGenerator[list[Event], None]):
    """The batches of one reply. ``send`` is called for the first of them.

    The connection goes back to its pool with the batch that ends the reply. A reply that is neither read to its end nor closed
    is closed by the loop that it came on, when nothing refers to it any more.
    """

    __slots__ = ("_call_info", "_change", "_loop", "_reader", "_response", "_send", "is_over")

    def __init__(self, send: Callable[[], Awaitable[Sent]] | Callable[[], Sent], call_info: CallInfo) -> None:
        self._send: Callable[[], Any] | None = send
        self._call_info = call_info
        self._response: PooledResponse
        """Of a reply that has begun, like the following members."""
        self._reader: Reader
        self._change: Change | None
        self.is_over = True
        """Whether the reply is over."""

    @classmethod
    def begun(cls, reader: Reader, change: Change | None, response: PooledResponse, call_info: CallInfo) -> VendorReply:
        """The rest of a streamed reply, whose beginning ``reader`` has read."""
        reply = cls(_is_sent, call_info)
        reply._send = None
        reply._begin(reader, change, response)
        return reply

    async def __anext__(self) -> list[Event]:
        if self._send is not None:
            send, self._send = self._send, None
            sending = send()
            sent: Sent = sending if type(sending) is Sent else await sending
            response = await sent.response
            if sent.reader is None or not response.ok:
                return await self._whole(sent, response)
            self._begin(sent.reader, sent.change, response)
        elif self.is_over:
            raise StopAsyncIteration
        response, reader, change = self._response, self._reader, self._change
        try:
            while not reader.done:
                data = response.held()
                batch = reader.feed(data) if data else await response.batch(reader)
                if batch:
                    if type(batch[-1]) is Finish:
                        self.is_over = True
                        response.finish()
                    return batch if change is None else change(batch)
        except BaseException:
            self._close()
            raise
        self.is_over = True
        response.finish()
        raise StopAsyncIteration

    def _begin(self, reader: Reader, change: Change | None, response: PooledResponse) -> None:
        """The reply's head was received, and the rest is streamed."""
        self._response, self._reader, self._change = response, reader, change
        self._loop = asyncio.get_running_loop()
        self.is_over = False
        self._call_info.limits = rate_limits(response)
        self._call_info.piped = (response, reader, change)

    async def _whole(self, sent: Sent, response: PooledResponse) -> list[Event]:
        """The events of a whole reply. Raises the error of a response other than 2xx."""
        call_info = self._call_info
        try:
            call_info.limits = rate_limits(response)
            if not response.ok:
                raise await sent.refusal(response)
            call_info.raw = await response.read(MAX_REPLY)
            events = sent.whole(call_info.raw)
        finally:
            response.close()
        return events if sent.change is None else sent.change(events)

    def _close(self) -> None:
        self._send = None
        if not self.is_over:
            self.is_over = True
            if self._reader.done:  # its end was read by way of ``CallInfo.pipe``
                self._response.finish()
            else:
                self._response.close()

    async def asend(self, value: None) -> list[Event]:
        return await self.__anext__()

    async def athrow(self, *arguments: Any) -> list[Event]:
        self._close()
        raise arguments[0]

    async def aclose(self) -> None:
        self._close()

    def __del__(self) -> None:
        if not self.is_over and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._response.close)


def _is_sent() -> Sent:
    raise AssertionError("the request was sent before")

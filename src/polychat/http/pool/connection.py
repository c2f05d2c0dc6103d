"""One connection of the pool: HTTP/1.1's framing by httptools, one exchange after the other, never two at a time."""

from __future__ import annotations

import asyncio
import select
from typing import cast

import httptools

from ...errors import BackendError, BadReply, Truncated, redact
from ..timeouts import Deadlines, Timer

MAX_HEAD = 64 * 1024
"""Bytes of a reply's head, what comes before it and after the body included."""
_MAX_HEADERS = 256
_HELD = 256 * 1024
"""Bytes of a body that wait for the caller before the server has to."""
_AT_ONCE = 64 * 1024
"""Bytes of a request that are written in one go."""


class Connection(asyncio.Protocol):
    """The reply under way: ``headed`` when ``status`` and ``headers`` are there, ``done`` when its body has come whole.

    ``error`` is what ended it before that; the bytes held then are still to be taken. ``heard``: something came.
    ``unsent``: not all of the request was written.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._full = self._paused = self._bodyless = self.whole = False
        self._held: list[bytes] = []
        self.transport: asyncio.Transport
        self.until = 0.0
        self.busy = False
        self.timer = Timer(self.loop, self.abort)
        self._poll: select.poll | None = None
        self._clear()

    def _clear(self) -> None:
        if not self.whole:
            self._parser = httptools.HttpResponseParser(self)
        self.whole = False
        """The parser has read a reply to its end, and could read another."""
        self.keep = self.heard = self.headed = self.done = self.unsent = self._until_close = False
        self.error: Exception | None = None
        self.status = self._size = self._fed = self._head = 0
        self.reason = self.coding = b""
        self.headers: list[tuple[bytes, bytes]] = []

    # What an exchange needs

    async def ask(self, head: bytes, body: bytes | None, times: Deadlines, *, bodyless: bool = False) -> float:
        """Send, and wait for the reply's head; gives the moment when all was sent.

        ``bodyless``: the reply has none, whatever its head says. Raises what ``error`` is.
        """
        self._clear()
        timer = self.timer
        timer.times = times
        self.busy, self._bodyless = True, bodyless
        if body is None or len(body) <= _AT_ONCE:
            self.transport.write(head + body if body else head)
        else:
            await self._send(head, body, timer)
        sent = self.loop.time()
        if not self.headed:
            timer.wait("first", sent, times.first)
            while not self.headed and self.error is None:
                await self.waiting()
            timer.rest()
            if not self.headed and self.error is not None:
                raise self.error
        return sent

    async def _send(self, head: bytes, body: bytes, timer: Timer) -> None:
        """As fast as the server reads, and no more once it replies: it has seen enough."""
        self.unsent = True
        self.transport.write(head)
        view = memoryview(body)
        for start in range(0, len(body), _AT_ONCE):
            while self._full and not self.headed and self.error is None:
                timer.wait("idle", self.loop.time(), timer.times.idle)
                await self.waiting()
            if self.headed or self.error is not None:
                self.keep = False
                break
            self.transport.write(view[start : start + _AT_ONCE])
        else:
            self.unsent = False
        timer.rest()

    def waiting(self) -> asyncio.Future[None]:
        """Done when something came, or was sent, or was lost. One at a time."""
        self._waiter = self.loop.create_future()
        return self._waiter

    def take(self) -> bytes:
        """What of the body has come; nothing if nothing has."""
        held = self._held
        data = held[0] if len(held) == 1 else b"".join(held)
        held.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        return data

    def free(self) -> bool:
        """No more of this exchange; says whether there can be another."""
        self.busy = False
        if self._held or self._paused:
            self.take()
        return self.done and self.keep and not self.transport.is_closing()

    def is_reusable(self, now: float) -> bool:
        """Whether it can carry another request: kept by both sides, not too old, and nothing has come since."""
        if not self.keep or now >= self.until or self.transport.is_closing():
            return False
        if self._poll is None:
            if not hasattr(select, "poll"):
                return True  # Windows: what the loop knows must do
            self._poll = select.poll()
            self._poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._poll.poll(0)  # the server may have closed it, and the loop had no turn to hear of it

    def abort(self, error: Exception | None) -> None:
        """The exchange ends here, with this error, and the connection with it."""
        if self.busy and not self.done and self.error is None:
            lost = _truncated("the connection was lost") if self.headed else ConnectionAbortedError("closed")
            self.error = error or lost
        self.keep = False
        self.timer.close()
        self.transport.abort()
        self.wake()

    def wake(self) -> None:
        """Whoever waits looks again."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.done or not self.busy:
            self.abort(None)  # it sends what nobody asked for
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.abort(BadReply("the server switched to another protocol, which was not requested"))
        except httptools.HttpParserError as error:
            self._broken(redact(str(error.__context__ or error)))
        if not self.headed:
            self._fed += len(data)
            if self._fed > MAX_HEAD:
                self._broken("its headers are too large")
        elif self._size > _HELD and not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()
        self.wake()

    def connection_lost(self, error: Exception | None) -> None:
        if self.headed and self._until_close and error is None and self.error is None:
            self.done = True
        self.abort(None if self.headed else error)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self.wake()

    def _broken(self, why: str) -> None:
        if self.done:
            self.keep = False  # more than was announced: the reply is whole, the connection is not to be trusted
        else:
            self.abort(_truncated(why) if self.headed else BadReply(f"the server did not send valid HTTP: {why}"))

    # What the parser calls

    def on_message_begin(self) -> None:
        if self.done:
            raise ValueError("more than one response")

    def on_status(self, reason: bytes) -> None:
        self.reason = reason
        self._head += len(reason)
        if self._head > MAX_HEAD:
            raise ValueError("headers larger than the limit")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headed:
            self.headers.append((name, value))
        self._head += len(name) + len(value) + 4
        if self._head > MAX_HEAD or len(self.headers) > _MAX_HEADERS:
            raise ValueError("headers larger than the limit")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers = []
            return
        framed = self._framed()
        self.keep = self._parser.should_keep_alive()
        self.headed = True
        self._until_close = not framed
        if self._bodyless:
            self.done = True

    def _framed(self) -> bool:
        """Whether the head says where the body ends; notes how it is compressed."""
        framed, transfers = False, b""
        for name, value in self.headers:
            size = len(name)
            if size == 14 and name.lower() == b"content-length":
                framed = True
            elif size == 16 and name.lower() == b"content-encoding":
                self.coding += b", " + value if self.coding else value
            elif size == 17 and name.lower() == b"transfer-encoding":
                transfers += b", " + value if transfers else value
        if (transfers and transfers.lower() != b"chunked") or self.status > 599:
            raise ValueError("an unexpected transfer coding or status")
        return framed or bool(transfers)

    def on_body(self, data: bytes) -> None:
        if not self._bodyless:
            self._held.append(data)
            self._size += len(data)
        else:
            self.keep = False

    def on_message_complete(self) -> None:
        if self.headed:
            self.done = self.whole = True


def _truncated(why: str) -> BackendError:
    return Truncated(f"the reply ended early: {why}")

"""One connection of the fast path: HTTP/1.1's framing by httptools, one exchange after the other, never two at a time."""

from __future__ import annotations

import asyncio
import select
from typing import cast

import httptools

from ..errors import BackendError, BadReply, Truncated, shown
from ._timer import Timer

MAX_HEAD = 64 * 1024
"""Bytes of a reply's head, what comes before it and after the body included."""
_MAX_HEADERS = 256
_HELD = 256 * 1024
"""Bytes of a body that wait for the caller before the server has to."""
_AT_ONCE = 64 * 1024
"""Bytes of a request that are written in one go."""


class Connection(asyncio.Protocol):
    """The reply under way: ``headed`` when ``status`` and ``headers`` are there, ``done`` when its body has come whole.

    ``error`` is what ended it before that; the bytes held then are still to be taken.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._full = self._paused = self._bodyless = False
        self._held: list[bytes] = []
        self.transport: asyncio.Transport
        self.until = 0.0
        self.busy = False
        self._clear()

    def _clear(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.keep = self.heard = self.headed = self.done = self._until_close = False
        self.error: Exception | None = None
        self.status = self._size = self._fed = self._head = 0
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []

    # What an exchange needs

    async def ask(self, head: bytes, body: bytes | None, timer: Timer, *, bodyless: bool = False) -> float:
        """Send, and wait for the reply's head; gives the moment when all was sent.

        ``bodyless``: the reply has none, whatever its head says. Raises what ``error`` is.
        """
        self._clear()
        self.busy, self._bodyless = True, bodyless
        if body is None or len(body) <= _AT_ONCE:
            self.transport.write(head + body if body else head)
        else:
            await self._send(head, body, timer)
        sent = self._loop.time()
        if not self.headed:
            timer.wait("first", sent, timer.times.first)
            while not self.headed and self.error is None:
                await self.waiting()
            timer.rest()
            if not self.headed and self.error is not None:
                raise self.error
        return sent

    async def _send(self, head: bytes, body: bytes, timer: Timer) -> None:
        """As fast as the server reads, and no more once it replies: it has seen enough."""
        self.transport.write(head)
        view = memoryview(body)
        for start in range(0, len(body), _AT_ONCE):
            while self._full and not self.headed and self.error is None:
                timer.wait("idle", self._loop.time(), timer.times.idle)
                await self.waiting()
            if self.headed or self.error is not None:
                self.keep = False
                break
            self.transport.write(view[start : start + _AT_ONCE])
        timer.rest()

    def waiting(self) -> asyncio.Future[None]:
        """Done when something came, or was sent, or was lost. One at a time."""
        self._waiter = self._loop.create_future()
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
        self.take()
        return self.done and self.keep and not self.transport.is_closing()

    def is_sound(self, now: float) -> bool:
        """Whether it can carry another request: kept by both sides, not too old, and nothing has come since."""
        if not self.keep or now >= self.until or self.transport.is_closing():
            return False
        if not hasattr(select, "poll"):
            return True  # Windows: what the loop knows must do
        poll = select.poll()  # the server may have closed it, and the loop had no turn to hear of it
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def lose(self, error: Exception | None) -> None:
        """The exchange ends here, with this error, and the connection with it."""
        if self.busy and not self.done and self.error is None:
            lost = _truncated("the connection broke off") if self.headed else ConnectionAbortedError("closed")
            self.error = error or lost
        self.keep = False
        self.transport.abort()
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.done or not self.busy:
            self.lose(None)  # it sends what nobody asked for
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.lose(BadReply("the server wants to speak another protocol, and was not asked to"))
        except httptools.HttpParserError as error:
            self._broken(shown(str(error.__context__ or error)))
        if not self.headed:
            self._fed += len(data)
            if self._fed > MAX_HEAD:
                self._broken("its head is too long")
        elif self._size > _HELD and not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        if self.headed and self._until_close and error is None and self.error is None:
            self.done = True
        self.lose(None if self.headed else error)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    def _broken(self, why: str) -> None:
        if self.done:
            self.keep = False  # more than was announced: the reply is whole, the connection is not to be trusted
        else:
            self.lose(_truncated(why) if self.headed else BadReply(f"what the server sent is not HTTP: {why}"))

    # What the parser calls

    def on_message_begin(self) -> None:
        if self.done:
            raise ValueError("more than one reply")

    def on_status(self, reason: bytes) -> None:
        self.reason = reason
        self._count(len(reason))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headed:
            self.headers.append((name, value))
        self._count(len(name) + len(value))

    def _count(self, size: int) -> None:
        self._head += size + 4
        if self._head > MAX_HEAD or len(self.headers) > _MAX_HEADERS:
            raise ValueError("a head beyond all bounds")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers = []
            return
        coding = header(self.headers, b"transfer-encoding").lower()
        if coding not in (b"", b"chunked") or self.status > 599:
            raise ValueError("a transfer coding or status that was not asked for")
        self.keep = self._parser.should_keep_alive()
        self.headed = True
        self._until_close = not coding and not any(name.lower() == b"content-length" for name, _ in self.headers)
        if self._bodyless:
            self.done = True

    def on_body(self, data: bytes) -> None:
        if not self._bodyless:
            self._held.append(data)
            self._size += len(data)
        else:
            self.keep = False

    def on_message_complete(self) -> None:
        if self.headed:
            self.done = True


def header(headers: list[tuple[bytes, bytes]], name: bytes) -> bytes:
    """The values of one header, joined as HTTP joins them; ``name`` is in lower case."""
    return b", ".join([value for key, value in headers if len(key) == len(name) and key.lower() == name])


def _truncated(why: str) -> BackendError:
    return Truncated(f"the reply stopped before its end: {why}")

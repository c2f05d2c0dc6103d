"""ASGI for the gateway: reading a request's head and body, responding, and detecting that the client has left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from io import BytesIO
from typing import Any, TypeAlias

from .cycle import RequestCycle

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]


class TooLarge(Exception):  # the body is too large
    """A body of more than ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the request body has more than {limit:,} bytes, which is the limit (gateway.limits.body): send a smaller one"
        )
        self.limit = limit


class TooSlow(Exception):
    """No byte of the body within ``seconds``; with ``whole``, not the complete body."""

    def __init__(self, seconds: float, *, whole: bool = False) -> None:
        what = "the request body did not arrive completely" if whole else "no data of the request body arrived"
        super().__init__(f"{what} within {seconds:g} s, which is the limit")
        self.seconds = seconds


class ClientLeft(Exception):
    """The client left before its request was complete."""


def received_body(receive: Receive) -> bytes | None:
    """The request's body, if our own server has all of it; ``None``: it must be received."""
    cycle = getattr(receive, "__self__", None)
    return cycle.take_rest() if isinstance(cycle, RequestCycle) else None


async def body_of(receive: Receive, limit: int, take: Callable[[int], None] | None = None) -> bytes:
    """The request's body; ``take`` gets the number of new bytes each time. Raises ``TooLarge`` for more than ``limit`` bytes,
    ``ClientLeft``, and what ``take`` raises."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientLeft
    body: bytes = message.get("body", b"")
    if take is not None:
        take(len(body))
    if message.get("more_body", False):
        body = await _rest(receive, body, limit, take)
    if len(body) > limit:
        raise TooLarge(limit)
    return body


async def _rest(receive: Receive, begun: bytes, limit: int, take: Callable[[int], None] | None) -> bytes:
    # One writer that becomes the body: a list of pieces would take the same memory again when they are joined.
    whole, size, more = BytesIO(), len(begun), True
    whole.write(begun)
    while more:
        if size > limit:
            raise TooLarge(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body: bytes = message.get("body", b"")
        size += len(body)
        if take is not None:
            take(len(body))
        whole.write(body)
        more = message.get("more_body", False)
    return whole.getvalue()


def with_read_limits(receive: Receive, seconds: float, total: float) -> Receive:
    """``receive``, with limits for reading a body: ``seconds`` for each wait, ``total`` seconds for all of them from now on.

    Raises ``TooSlow`` if one is exceeded.
    """
    cycle = getattr(receive, "__self__", None)
    return (
        receive if isinstance(cycle, RequestCycle) and not cycle.more_body else _Patience(receive, seconds, total)
    )  # all of it has arrived


class _Patience:
    __slots__ = ("_end", "_loop", "_receive", "_seconds", "_total")

    def __init__(self, receive: Receive, seconds: float, total: float) -> None:
        self._receive, self._seconds, self._total = receive, seconds, total
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + total

    async def __call__(self) -> MutableMapping[str, Any]:
        left = self._end - self._loop.time()
        if left <= 0:  # data that is always available leaves no wait to be limited
            raise TooSlow(self._total, whole=True)
        alarm = asyncio.timeout(min(self._seconds, left))
        try:
            async with alarm:
                return await self._receive()
        except TimeoutError:
            if not alarm.expired():
                raise
            whole = left < self._seconds
            raise TooSlow(self._total if whole else self._seconds, whole=whole) from None


def respond(send: Send, status: int, headers: Headers | bytes, body: bytes) -> Awaitable[None]:
    """A whole response, to be awaited at once; ``headers`` may be ``header_lines``.

    A large body is written as fast as the client reads: at once it would be held twice.
    """
    cycle = getattr(send, "__self__", None)
    if isinstance(cycle, RequestCycle) and len(body) <= _LARGE:
        return cycle.respond(status, headers, body)
    return _in_messages(send, status, headers_in(headers) if isinstance(headers, bytes) else headers, body)


def headers_in(lines: bytes) -> Headers:
    """The headers in these ``header_lines``, for a server that does not accept lines."""
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines.split(b"\r\n")[:-1])]


async def _in_messages(send: Send, status: int, headers: Headers, body: bytes) -> None:
    named = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": named})
    at = 0
    if len(body) > _LARGE:
        for at in range(_PIECE, len(body), _PIECE):
            await send({"type": "http.response.body", "body": body[at - _PIECE : at], "more_body": True})
    await send({"type": "http.response.body", "body": body[at:], "more_body": False})


_LARGE = 1024 * 1024
_PIECE = 256 * 1024


def on_leaving(receive: Receive, left: Callable[[], None]) -> Callable[[], None]:
    """Call ``left`` once, when the client has left, unless the returned function is called before.

    Our own server reports it; with any other a task waits for its message.
    """
    cycle = getattr(receive, "__self__", None)
    if isinstance(cycle, RequestCycle):
        cycle.on_disconnect(left)
        return cycle.off_disconnect
    return _Leaving(receive, left).stop


class _Leaving:
    __slots__ = ("_left", "_listening")

    def __init__(self, receive: Receive, left: Callable[[], None]) -> None:
        self._left = left
        self._listening: asyncio.Task[None] | None = asyncio.ensure_future(self._listen(receive))

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if self._listening is not None:
            self._left()

    def stop(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()


async def lifespan(receive: Receive, send: Send, close: Callable[[], Awaitable[None]] | None = None) -> None:
    """Answers the server's lifespan messages; ``close`` runs at the end."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown" and close is not None:
            with suppress(Exception):
                await close()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return

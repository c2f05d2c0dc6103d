"""One connection of the pool: HTTP/1.1's framing by httptools, one exchange after the other, never two at a time.

The peer is a server, perhaps a hostile one. ``exchange`` writes a request and waits for the reply's head; the caller then takes
the body with ``take_body`` and ``next_change``, or has it pushed to ``sink`` within ``data_received``; ``finish`` ends the
exchange. The pool decides what becomes of the connection then (see ``shared_connections.py``).

state    event                             next     what follows
=======  ================================  =======  ==================================================================
opening  it is open: the request is sent   head     made for one request, before there is a connection: see ``opening.py``
opening  it fails                          failed   it cannot be opened, not in time, or the request is not to be sent after all
opening  finish                            closed   it is not needed any more
free     exchange: it is written at once   head
free     exchange: a large body            sending  in pieces, as fast as the server reads
sending  all is written                    head
sending  a head comes                      body     the rest is not written, and the connection not kept
sending  a head without a body comes       whole    likewise
head     a head of 100 to 199 comes        head     it is dropped: the head's timeout runs on
head     a head comes                      body
head     a head without a body comes       whole    a body of no bytes, 204, 304, and all to HEAD or CONNECT
body     the body ends                     whole    by length, last chunk, or the connection's end if it has neither
sending  it fails                          failed   lost, late, malformed, too large: ``error`` says which
head     it fails                          failed   likewise; ``received_any``: whether a byte came before
body     it fails                          failed   ``Truncated``; what came before is still to be taken
whole    finish                            free     if both sides keep it: ``is_reusable`` until ``reusable_until``
whole    finish                            closed   if one of them does not, or more came than was announced
body     finish                            closed   its reader left early
failed   finish                            closed
free     lost, or bytes come               closed   they were not requested
=======  ================================  =======  ==================================================================

Invariants: ``error`` is set at most once in an exchange, and never after ``done``; a closed connection is never free again; no
byte of one exchange is ever given to another, since what comes outside of an exchange closes the connection; a parser that
has not read a reply to its end is not used for the next.

A sink gets the body in order: what was held before it was set is taken first. While ``sink_paused`` nothing is given, and the
socket is not read. A read for it that is one chunk is not parsed (``single_chunks.py``) if the one before it was one too: the
parser stands between two chunks then.

A whole reply whose head is like earlier ones of its server is not parsed, but matched (``known_replies.py``): the states are
the same. A ``taker`` may take it in that call: then nothing of it is kept here, and the exchange is over.

Bounds: the head and 1xx heads by ``MAX_HEAD`` and ``_MAX_HEADERS``; what is held for a caller that does not take it by
``_MAX_UNREAD`` and one read; what is written at once by ``WRITE_SIZE`` and the transport's own limit; each wait by the one
alarm of ``timer``, which aborts with ``TimedOut``.

Cancellation: there is no task here. A caller that is cancelled in ``exchange`` or while it waits for a change closes the
connection by way of the pool; ``abort`` may be called at any time, by any caller, and wakes all that wait.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, cast

import httptools

from ...errors import BackendError, BadReply, Truncated, redact
from ..alarms import alarms
from ..body import header_in
from ..timeouts import UNLIMITED, ExchangeTimeouts, ExchangeTimer
from .body import RequestBody, blocks
from .known_replies import LAST_CHUNK, KnownReplies, KnownReply
from .single_chunks import FRAMES, is_chunk

MAX_HEAD = 64 * 1024
"""Maximum bytes of a reply's head and the 1xx heads before it; and of the trailers after the body."""
_MAX_HEADERS = 256
_MAX_UNREAD = 256 * 1024
"""Bytes of a body that are held for the caller; above that the server has to wait."""
WRITE_SIZE = 64 * 1024
"""Maximum bytes of a request that are written at once."""


class Opener(Protocol):
    """What opens a connection for a request: see ``opening.py``."""

    def send(self) -> None:
        """The connection is open: send the request."""

    def cancel(self) -> None:
        """The connection is not needed any more."""


class ConnectionKeeper(Protocol):
    """What keeps connections that lie idle."""

    def lost(self, connection: PoolConnection) -> None:
        """It is closed, and carried no request."""


Taker: TypeAlias = Callable[[KnownReply, tuple[bytes, ...], bytes], bool]
"""Gets a reply that is recognized, the values of its headers and its body, and says whether it has taken it, and given back the
connection.
"""


class PoolConnection(asyncio.Protocol):
    """The current reply: ``has_head`` when ``status`` and ``headers`` are there, ``done`` when its body has come whole.

    ``error`` is what ended it before that; bytes held then can still be taken. ``received_any``: whether a byte arrived.
    ``partly_sent``: the request was not written completely. ``announced``: the head's ``Keep-Alive``, where it was parsed.
    """

    __slots__ = (
        *("announced", "coding", "done", "error", "has_head", "idle_since", "in_use", "keep_alive", "keeper", "listener"),
        *("loop", "on_body"),
        *("known_replies", "known_reply", "opening", "taker"),
        *("partly_sent", "reason", "received_any", "reusable_until", "sent_at", "sink", "sink_paused", "status", "timer"),
        *("transport", "_body", "_body_size", "_ends_at_close", "_head_bytes_fed", "_first_read", "_head_size", "_headers"),
        *(
            "_at_chunk",
            "_no_body",
            "_parser",
            "_parser_is_done",
            "_poll",
            "_read_paused",
            "_trailers_size",
            "_waiter",
            "_was_taken",
            "_write_paused",
        ),
    )

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._write_paused = self._read_paused = self._parser_is_done = self.sink_paused = False
        self._at_chunk = False
        """Whether the next read begins where a chunk does, and may be given to the ``sink``."""
        self.sink: Callable[[bytes, bytes], object] | None = None
        """Gets each read of a body in the call that receives it, unless ``sink_paused``. It must not raise.

        Its second argument is the chunk of HTTP, with its framing, that is all of it; empty if there is no such.
        """
        self.listener: Callable[[], None] | None = None
        """Called at each change in the call that causes it, instead of waking a waiter of ``next_change``."""
        self.taker: Taker | None = None
        """Gets a whole reply that is recognized, instead of the ``listener``, which is called if it does not take the reply."""
        self._was_taken = False
        """Whether it took the last one: then nothing else has changed that the next exchange looks at."""
        self._body: list[bytes] = []
        self.on_body = self._body.append  # the parser calls it for every chunk: a method of ours would cost as much as the rest
        self.transport: asyncio.Transport
        self.opening: Opener | None = None
        """What opens it, for one that was made before it is open; it has no ``transport`` until then."""
        self.known_replies: KnownReplies | None = None
        """The replies of its server, if they may be recognized."""
        self.keeper: ConnectionKeeper | None = None
        self.idle_since = self.reusable_until = 0.0
        self.sent_at = 0.0
        """When the current request was sent, if ``Pool.begin`` sent it."""
        self.in_use: bool
        self.timer = ExchangeTimer(alarms(), self.abort)
        self._poll: Callable[[float], list[tuple[int, int]]] | None = None
        """Looks what has come that the loop has not reported yet."""
        self._first_read = b""
        """The beginning of a reply that may be recognized the next time."""
        self.known_reply: tuple[KnownReply, tuple[bytes, ...]] | None = None
        """What the head is like, with its values, if it was recognized."""
        self._headers: list[tuple[bytes, bytes]]
        self._prepare(UNLIMITED, no_body=False)
        self.in_use = False

    def _prepare(self, timeouts: ExchangeTimeouts, *, no_body: bool) -> None:
        self._forget_reply()
        timer = self.timer
        timer.timeouts, timer.end = timeouts, timeouts.end
        self.in_use, self._no_body = True, no_body

    def _forget_reply(self) -> None:
        """The next exchange begins: nothing has come yet."""
        if self._was_taken:
            self._was_taken = self.done = False
        elif self.known_reply is None:
            self._reset()
        else:  # it was not parsed, and has changed nothing else that the next exchange looks at
            self.received_any = self.has_head = self.done = False
            self.known_reply, self.status, self.reason = None, 0, b""
            if self._headers:
                self._headers = []

    def _reset(self) -> None:
        if not self._parser_is_done:
            self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
            """``None`` once the connection is closed: it refers to this object, which would wait for the garbage collector."""
        self._parser_is_done = False
        """Whether the parser has read a reply to its end, and can read another."""
        self.keep_alive = self.received_any = self.has_head = self.done = self.partly_sent = self._ends_at_close = False
        self.error: Exception | None = None
        self.status = self._body_size = self._head_bytes_fed = self._head_size = self._trailers_size = 0
        # Held data of a body counts with its framing, as it was read.
        self.reason = self.coding = self.announced = b""
        self._headers = []

    # For an exchange

    def exchange(
        self, head: bytes, body: RequestBody | None, timeouts: ExchangeTimeouts, *, no_body: bool = False
    ) -> Awaitable[float]:
        """Send, and wait for the reply's head; returns the time when all was sent. Must be awaited at once.

        ``no_body``: the reply has no body, even if its head announces one. Raises ``error``.
        """
        if body is None or (isinstance(body, bytes) and len(body) <= WRITE_SIZE):
            return self.head(self.begin(head, body, timeouts, no_body=no_body))
        return self._exchange_large(head, body, timeouts, no_body=no_body)

    async def _exchange_large(self, head: bytes, body: RequestBody, timeouts: ExchangeTimeouts, *, no_body: bool) -> float:
        self._prepare(timeouts, no_body=no_body)
        await self._send(head, body, self.timer)
        return await self.head(self.loop.time())

    def begin(self, head: bytes, body: bytes | None, timeouts: ExchangeTimeouts, *, no_body: bool = False) -> float:
        """Send all of a request whose body has no more than ``WRITE_SIZE`` bytes; returns the time. ``head`` must follow."""
        self._prepare(timeouts, no_body=no_body)
        self.transport.write(head + body if body else head)
        return self.loop.time()

    def send(self, request: bytes, timeouts: ExchangeTimeouts, now: float) -> None:
        """As ``begin``, of a request with its body, at the moment ``now``, from which ``timeouts.total`` counts."""
        if self._was_taken:
            self._was_taken = self.done = False
        else:
            self._forget_reply()
        self.in_use, self._no_body, self.sent_at = True, False, now
        self.transport.write(request)
        self.timer.begin(timeouts, now)

    def begin_opening(self, opening: Opener, timeouts: ExchangeTimeouts) -> None:
        """As ``begin``, on a connection that is not open yet: ``opening`` sends the request. ``head`` may follow."""
        self._prepare(timeouts, no_body=False)
        self.opening = opening
        self.timer.wait("connect", self.loop.time(), timeouts.connect)

    def send_opened(self, request: bytes) -> None:
        """Send the request for which it was opened."""
        self.sent_at = sent_at = self.loop.time()
        self.transport.write(request)
        self.timer.wait("first", sent_at, self.timer.timeouts.first)

    async def head(self, sent: float) -> float:
        """Wait for the head of the reply to a request that was ``sent`` then; returns that time. Raises ``error``."""
        timer = self.timer
        if not self.has_head and self.opening is None:
            timer.wait("first", sent, timer.timeouts.first)
        while not self.has_head and self.error is None:
            await self.next_change()
        timer.stop()
        if not self.has_head and self.error is not None:
            raise self.error
        return sent

    async def _send(self, head: bytes, body: RequestBody, timer: ExchangeTimer) -> None:
        """As fast as the server reads, and no more once it replies."""
        self.partly_sent = True
        self.transport.write(head)
        for block in blocks(body, WRITE_SIZE):
            while self._write_paused and not self.has_head and self.error is None:
                timer.wait("idle", self.loop.time(), timer.timeouts.idle)
                await self.next_change()
            if self.has_head or self.error is not None:
                self.keep_alive = False
                break
            self.transport.write(block)
        else:
            self.partly_sent = False
        timer.stop()

    def next_change(self) -> asyncio.Future[None]:
        """A future that is done when data arrived, or was sent, or the connection was lost. One at a time."""
        self._waiter = self.loop.create_future()
        return self._waiter

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Those of the reply, in order."""
        if self.known_reply is not None and not self._headers:
            known, values = self.known_reply
            self._headers = list(zip(known.names, values, strict=True))
        return self._headers

    @property
    def content_type(self) -> bytes:
        """The first of the reply's headers of that name; empty if there is none."""
        if self.known_reply is None:
            return header_in(self._headers, b"content-type")
        known, values = self.known_reply
        return known.content_type(values)

    @property
    def held(self) -> bytes:
        """What ``take_body`` would return, without removing it."""
        held = self._body
        return held[0] if len(held) == 1 else b"".join(held)

    @property
    def holds_some(self) -> bool:
        """Whether anything of a body is held."""
        return bool(self._body)

    @property
    def holds_much(self) -> bool:
        """Whether so much of a body is held that no more is read until it is taken."""
        return self._read_paused

    def take_body(self) -> bytes:
        """The received part of the body, which is removed; empty if there is none."""
        held = self._body
        data = held[0] if len(held) == 1 else b"".join(held)
        held.clear()
        self._body_size = 0
        if self._read_paused:
            self._read_paused = False
            self.transport.resume_reading()
        return data

    def pause_sink(self) -> None:
        """The receiver of the ``sink`` cannot keep up: nothing is read for it until ``resume_sink``."""
        self.sink_paused, self._at_chunk = True, False
        self.timer.stop()
        if not (self._read_paused or self.done or self.transport.is_closing()):
            self._read_paused = True
            self.transport.pause_reading()

    def resume_sink(self) -> None:
        """The ``sink`` can take more, beginning with data that arrived meanwhile."""
        if not self.sink_paused:
            return
        self.sink_paused = False
        if self.sink is not None:
            if not self.done and self.error is None:
                self.timer.flow(self.loop.time())
            if data := self.take_body():
                self.sink(data, b"")
        self.wake()

    def finish(self) -> bool:
        """End this exchange; returns whether another is possible."""
        self.in_use = self.sink_paused = self._at_chunk = False
        if self._was_taken:
            return not self.transport.is_closing()
        if self._read_paused:
            self.take_body()
        elif self._body:
            self._body.clear()
            self._body_size = 0
        return self.done and self.keep_alive and not self.transport.is_closing()

    def is_reusable(self, now: float) -> bool:
        """Whether it can carry another request: kept by both sides, not too old, and no data arrived since."""
        if not self.keep_alive or now >= self.reusable_until or self.transport.is_closing():
            return False
        if self._poll is None:
            if not hasattr(select, "poll"):
                return True  # Windows: only the loop's own state is known
            poll = select.poll()
            poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
            self._poll = poll.poll
        return not self._poll(0)  # the server may have closed it, and the loop has not reported it yet

    def abort(self, error: Exception | None) -> None:
        """End the exchange with this error, and close the connection."""
        if self.in_use and not self.done and self.error is None:
            lost = _truncated("the connection was lost") if self.has_head else ConnectionAbortedError("closed")
            self.error = error or lost
        self.keep_alive = False
        self.timer.close()
        if self.opening is None:
            self.transport.abort()
        else:
            self.error = self.error or ConnectionAbortedError("closed")
            self.opening.cancel()
            self._parser = None
        self.wake()

    @property
    def state(self) -> str:
        """A state of the table above."""
        if not self.in_use:
            fit = self.keep_alive if self.done else not self.received_any and self.error is None
            return "free" if fit and self.opening is None and not self.transport.is_closing() else "closed"
        if self.error is not None:
            return "failed"
        if self.opening is not None:
            return "opening"
        if self.has_head:
            return "whole" if self.done else "body"
        return "sending" if self.partly_sent else "head"

    def wake(self) -> None:
        """Wake all waiters, which check again."""
        if self.listener is not None:
            self.listener()
            return
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # Callbacks of the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        opening, self.opening = self.opening, None
        if opening is None:
            return
        if self.error is None:
            opening.send()
        else:
            self.transport.abort()  # it failed just before it was open

    def data_received(self, data: bytes) -> None:
        if self._at_chunk and (sink := self.sink) is not None:
            lines, begin = FRAMES[len(data)]
            if data.startswith(lines) and data.endswith(b"\r\n"):
                self.timer.received = True
                sink(data[begin:-2], data)
                return
        self._at_chunk = False
        parser = self._parser
        if self.done or not self.in_use or parser is None:
            self.abort(None)  # it sends data that was not requested
        elif self.received_any or self.known_replies is None or not self._is_known(data, self.known_replies):
            self._parse(data, parser)

    def _parse(self, data: bytes, parser: httptools.HttpResponseParser) -> None:
        self.received_any = True
        self._head_bytes_fed += 0 if self.has_head else len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.abort(BadReply("the server switched to another protocol, which was not requested"))
        except httptools.HttpParserError as error:
            self._parse_failed(redact(str(error.__context__ or error)))
        sink, body = self.sink, self._body
        if self._no_body and body:
            body.clear()
            self.keep_alive = False
        if sink is not None and not self.sink_paused:
            if body:
                self._give(data, body, sink)
            if self._parser_is_done:
                self.wake()
            return
        if not self.has_head:
            if self._head_bytes_fed > MAX_HEAD:
                self._parse_failed("its headers are too large")
        elif body:
            self._body_size += len(data)
            if self._body_size > _MAX_UNREAD and not self._read_paused and not self.transport.is_closing():
                self._read_paused = True
                self.transport.pause_reading()
        self.wake()

    def _give(self, data: bytes, body: list[bytes], sink: Callable[[bytes, bytes], object]) -> None:
        """Give what the parser found in the read ``data``."""
        piece = body[0] if len(body) == 1 else b"".join(body)
        self._at_chunk = len(body) == 1 and is_chunk(data, piece)
        body.clear()
        self._body_size = 0
        self.timer.received = True
        sink(piece, data if self._at_chunk else b"")

    def _is_known(self, data: bytes, known_replies: KnownReplies) -> bool:
        """Whether ``data`` is a whole reply that is recognized, which is then taken."""
        if self.sink is not None or self._no_body or len(data) > _MAX_UNREAD:
            return False
        for known in known_replies.known:
            if (found := known.read(data)) is not None:
                values, body = found
                self.done = self.keep_alive = self._was_taken = True
                if (taker := self.taker) is not None and taker(known, values, body):
                    return True  # another request may have been sent since
                self._was_taken = False
                self.known_reply, self.status, self.reason = (known, values), 200, known.reason
                self.received_any = self.has_head = True
                self._body.append(body)
                self.wake()
                return True
        self._first_read = data if known_replies.can_learn else b""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        was_free = not self.in_use
        if self.has_head and self._ends_at_close and error is None and self.error is None:
            self.done = True
        self.abort(None if self.has_head else error)
        self._parser = None
        if was_free and self.keeper is not None:
            self.keeper.lost(self)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self.wake()

    def _parse_failed(self, why: str) -> None:
        if self.done:
            self.keep_alive = False  # more than was announced: the reply is complete, but the connection is not trusted
        else:
            self.abort(_truncated(why) if self.has_head else BadReply(f"the server did not send valid HTTP: {why}"))

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        if self.done:
            raise ValueError("more than one response")

    def on_status(self, reason: bytes) -> None:
        self.reason += reason  # a part of it, where a read ended within it

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:
            self._headers.append((name, value))  # of at most one read: see ``on_headers_complete``
            return
        self._trailers_size += len(name) + len(value) + 4
        if self._trailers_size > MAX_HEAD:
            raise ValueError("trailers larger than the limit")

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None  # it is what calls this
        self.status = parser.get_status_code()
        if len(self._headers) > _MAX_HEADERS:
            raise ValueError("more headers than the limit")
        if self._head_bytes_fed > MAX_HEAD:  # data after the head may belong to the body
            self._head_size += len(self.reason) + sum(len(name) + len(value) + 4 for name, value in self._headers)
            if self._head_size > MAX_HEAD:
                raise ValueError("headers larger than the limit")
        if self.status < 200:
            self._headers, self.reason = [], b""
            return
        framed = self._read_framing()
        self.keep_alive = parser.should_keep_alive()
        self.has_head = True
        self._ends_at_close = not framed
        if self._no_body:
            self.done = True
        if self._first_read and (self.status != 200 or not self.keep_alive or self._ends_at_close):
            self._first_read = b""

    def _read_framing(self) -> bool:
        """Whether the head determines the end of the body; also records its compression, and ``announced``."""
        framed, transfers = False, b""
        for name, value in self._headers:
            size = len(name)
            if not 14 <= size <= 17:
                if size == 10 and name.lower() == b"keep-alive":
                    self.announced = value
                continue
            if size == 14 and name.lower() == b"content-length":
                framed = True
            elif size == 16 and name.lower() == b"content-encoding":
                self.coding += b", " + value if self.coding else value
            elif size == 17 and name.lower() == b"transfer-encoding":
                transfers += b", " + value if transfers else value
        if (transfers and transfers.lower() != b"chunked") or self.status > 599:
            raise ValueError("an unexpected transfer coding or status")
        if self.coding or (transfers and self._first_read[-5:] != LAST_CHUNK):
            self._first_read = b""
        return framed or bool(transfers)

    def on_message_complete(self) -> None:
        if self.has_head:
            self.done = self._parser_is_done = True
            if self._first_read and self.known_replies is not None:
                self.known_replies.learn(self._first_read)
                self._first_read = b""


def _truncated(why: str) -> BackendError:
    return Truncated(f"the reply ended early: {why}")

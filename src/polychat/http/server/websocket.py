"""WebSocket (RFC 6455), the server's side: what a connection of ``protocol.py`` becomes when its client upgrades it.

``websockets`` reads and writes the frames; here is what it leaves open: clocks, sizes, back-pressure both ways, and how a
connection ends. The client is not trusted: it may send a byte a minute, fragments or pings without end, or never read.
A message is text; it is handed to a ``MessageHandler`` whole. No extension is agreed on: a compressed message could be a bomb.

connection   event                               next       what follows
===========  ==================================  =========  ==============================================================
open         a message is whole                  open       the session gets it
open         a ping                              open       its pong is written
open         a frame that breaks the protocol    ending     1002; 1003 for bytes, 1007 for no UTF-8, 1009 for too large
open         nothing since our last two pings    ending     1011
open         a message takes too long            ending     1008
open         no room for a message               ending     1013
open         old, or idle for too long           closing    1000, once the session is idle
open         the server ends                     closing    1001, once the session is idle
open         the client closes                   closed     its close frame is sent back
open         a client that is not read ends      closed     seen at the next ping
closing      the client's close frame            closed
closing      ``LINGER`` seconds                  closed     without it
ending       ``LINGER`` seconds, or its end      closed     what it still sends is read past
open         the connection is lost              closed     this holds in each state
===========  ==================================  =========  ==============================================================

Invariants: the session hears of the client's leaving once, at the first close frame or at the loss; no message follows.

Bounds: a message by ``limits.body`` and ``limits.upload_seconds``, what came of it by ``MessageHandler.hold`` too; what is
written to a client that does not read by ``limits.send_seconds``, and besides the answers, which wait, by ``_MOST_UNSENT``:
then it is not read. A read is looked at in slices of ``_SLICE``, with turns for others between them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER
from websockets.protocol import Protocol as Frames
from websockets.utils import accept_key

from .cycle import SMALL, App, RequestCycle, header_lines
from .protocol import ServerConnection
from .reset_probe import has_ended
from .state import ServerState

NORMAL, GOING_AWAY, UNSUPPORTED, NO_UTF8, POLICY, BROKEN, TRY_LATER = 1000, 1001, 1003, 1007, 1008, 1011, 1013
"""Codes of close frames."""
_MOST_SILENT = 2
"""Pings without an answer after which a client counts as gone."""
_MOST_UNSENT = 1024 * 1024
"""Bytes waiting to be sent above which the client is not read: its pings would add to them without end."""

_SLICE = 16 * 1024
"""Bytes that are read before others get their turn: thousands of frames, if a client sends the smallest."""


class Lifetime(Protocol):
    """Maximum lifetimes of connections, in seconds."""

    @property
    def life_seconds(self) -> float: ...
    @property
    def idle_seconds(self) -> float: ...
    @property
    def ping_seconds(self) -> float: ...


class MessageHandler(Protocol):
    """The session that handles the messages of one connection."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being answered and nothing waits."""

    def message(self, data: bytes) -> None:
        """A complete message, in UTF-8."""

    def hold(self, size: int) -> bool:
        """Whether there is room for a message of which ``size`` bytes have arrived; 0: there is none."""

    def left(self) -> None:
        """The client is gone, or was notified that the connection ends: nothing can be sent any more."""

    def write_paused(self, paused: bool) -> None:
        """The client reads slower than is written, or does not any more."""


class UpgradeRefusal(NamedTuple):
    """Why a request cannot become a WebSocket."""

    status: int
    message: str
    headers: list[tuple[bytes, bytes]]


def refusal_of(scope: Mapping[str, Any]) -> UpgradeRefusal | None:
    """What the request lacks of RFC 6455 (4.2.1); ``None`` if nothing is missing."""
    fields: Mapping[bytes, bytes] = scope["polychat.fields"]
    wishes = {wish.strip().lower() for wish in fields.get(b"connection", b"").split(b",")}
    if scope["http_version"] != "1.1" or b"upgrade" not in wishes:
        return UpgradeRefusal(
            426, "a WebSocket requires HTTP/1.1 and a Connection header with Upgrade", [(b"upgrade", b"websocket")]
        )
    if fields.get(b"sec-websocket-version") != b"13":
        return UpgradeRefusal(426, "the WebSocket's version must be 13", [(b"sec-websocket-version", b"13")])
    names = [name for name, _ in scope["headers"]]
    if names.count(b"sec-websocket-key") != 1 or not _is_key(fields[b"sec-websocket-key"]):
        return UpgradeRefusal(400, "sec-websocket-key must be there once, and be 16 bytes in base64", [])
    return None


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def upgraded(
    cycle: RequestCycle, lifetime: Lifetime, headers: bytes, session_of: Callable[[WebSocketConnection], MessageHandler]
) -> None:
    """Answer ``cycle``, a request that ``refusal_of`` accepts, with 101.

    Its connection belongs to the session that ``session_of`` returns. ``headers`` (``header_lines``) are added to the answer's.
    """
    connection = cycle.connection
    assert isinstance(connection, ServerConnection)
    key = accept_key(cycle.scope["polychat.fields"][b"sec-websocket-key"].decode("ascii")).encode()
    lines = b"%b%bupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: %b\r\n\r\n"
    connection.transport.write(b"HTTP/1.1 101 Switching Protocols\r\n" + lines % (connection.default_headers(), headers, key))
    cycle.started = cycle.complete = True
    server, write_paused, rest = connection.let_go()
    socket = WebSocketConnection(connection.transport, server, connection.loop, lifetime)
    socket.session = session_of(socket)
    server.connections.add(socket)
    connection.transport.set_protocol(socket)
    if write_paused:
        socket.pause_writing()
    socket.begin(rest)


class WebSocketConnection(asyncio.Protocol):
    """One client. ``send`` is for its session; everything else is for the transport and the server."""

    session: MessageHandler
    early_bytes_sent = False

    def __init__(
        self, transport: asyncio.Transport, server: ServerState, loop: asyncio.AbstractEventLoop, lifetime: Lifetime
    ) -> None:
        self.loop, self.server, self.transport = loop, server, transport
        self.write_paused = False
        """Whether the client reads slower than we write."""
        self._writable = asyncio.Event()
        self._lifetime = lifetime
        self._frames = Frames(SERVER, max_size=self.server.limits.body)
        self._born = self._latest = self.loop.time()
        self._partial: bytearray | None = None
        """The received part of a message in fragments."""
        self._since: float | None = None
        """When the incomplete message began."""
        self._unread = 0
        """The size of its received part in bytes."""
        self._waiting = b""
        """Received bytes that were not read yet: at most one read, because the transport is paused meanwhile."""
        self._silent = 0
        """How many of our pings nothing was received after."""
        self._has_sent = False
        """Whether a message was sent since the last ping, which is queued after it: the client may take long to read it."""
        self._is_over = self._paused = self._held_back = False
        self._ticking: asyncio.TimerHandle | None = None
        *_, self._linger_timeouts, self._send_timeouts = self.server.timeout_queues(self.loop)

    def begin(self, rest: bytes) -> None:
        """Take over the connection; ``rest`` was received already."""
        self._tick_later()
        if not self.transport.is_reading():
            self.transport.resume_reading()
        if rest:
            self.data_received(rest)

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return not self._is_over and self._frames.state is OPEN

    @property
    def is_old(self) -> bool:
        """Whether it has reached its maximum age."""
        return self.loop.time() - self._born >= self._lifetime.life_seconds

    # What comes in.

    def data_received(self, data: bytes) -> None:
        self._silent = 0
        self._waiting += data
        self._read_on()

    def _read_on(self) -> None:
        """Read the next slice of the received data: small frames take long, and others wait for the loop."""
        if not self._waiting or self.transport.is_closing() or ((self._paused or self._held_back) and not self._is_over):
            return
        data, self._waiting = self._waiting[:_SLICE], self._waiting[_SLICE:]
        self._received(data)
        if self._waiting:
            self.loop.call_soon(self._read_on)
        self._set_reading()

    def _received(self, data: bytes) -> None:
        self._frames.receive_data(data)
        if self._is_over:
            self._frames.events_received()  # they are skipped
            self._flush()
            return
        frames = self._frames.events_received()
        for frame in frames:
            if not self._take(frame):
                return
        self._flush()
        self._measure(len(data), came_whole=bool(frames) and self._partial is None)
        if self.transport.get_write_buffer_size() > _MOST_UNSENT:
            self._paused = True
            self._set_reading()

    def _take(self, frame: Any) -> bool:
        """Handle one frame; returns whether another may follow."""
        assert isinstance(frame, Frame)
        opcode, data = frame.opcode, frame.data
        if opcode is Opcode.BINARY:
            self._fail(UNSUPPORTED, "messages must be text")
        elif opcode is Opcode.TEXT and frame.fin:
            self._message(bytes(data))
        elif opcode is Opcode.TEXT:
            self._partial = bytearray(data)
        elif opcode is Opcode.CONT and self._partial is not None:
            self._partial += data
            if frame.fin:
                whole, self._partial = bytes(self._partial), None
                self._message(whole)
        return not self._is_over

    def _message(self, data: bytes) -> None:
        try:
            str(data, "utf-8")
        except UnicodeDecodeError:
            self._fail(NO_UTF8, "messages must be UTF-8")
            return
        self._latest = self.loop.time()
        if self.is_open:  # the client's close frame may have come in the same read
            self.session.message(data)

    def _measure(self, size: int, *, came_whole: bool) -> None:
        """Record how much of a message was received, and since when."""
        if came_whole:
            if self._unread > SMALL:
                self.session.hold(0)
            self._since, self._unread = None, 0
            return
        self._unread += size
        if self._since is None:
            self._since = self.loop.time()
        if self._unread > SMALL and not self._is_over and not self.session.hold(self._unread):
            self._fail(TRY_LATER, "the gateway has no room for the message: retry later")

    def hold_back(self, waits: bool) -> None:
        """The session accepts no more messages for now, or does again."""
        if self._held_back and not waits and self._waiting:
            self.loop.call_soon(self._read_on)
        self._held_back = waits
        self._set_reading()

    def _set_reading(self) -> None:
        wanted = not (self._paused or self._held_back or self._waiting)
        if not self.transport.is_closing() and wanted is not self.transport.is_reading():
            self.transport.resume_reading() if wanted else self.transport.pause_reading()

    def eof_received(self) -> bool:
        if not self._is_over:
            self._frames.receive_eof()
        self._leave()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connection_lost(self)
        self._leave()
        for queue in (self._send_timeouts, self._linger_timeouts):
            queue.stop(self)
        if self._ticking is not None:
            self._ticking.cancel()
        self._writable.set()

    # What goes out.

    def send(self, text: bytes) -> None:
        """A message, in UTF-8, at once; nothing is sent once the connection ends. For large or many messages, wait
        for ``drain``, or stop at ``MessageHandler.write_paused``.
        """
        if self.is_open:
            self._has_sent = True
            self._frames.send_text(text)
            self._flush()

    def _flush(self) -> None:
        for data in self._frames.data_to_send():
            if data:
                self.transport.write(data)
            else:  # both sides have closed, or the client broke the protocol
                self._leave()
                self._finish()

    def _finish(self) -> None:
        """Send no more, and read the client for a while: unread bytes at a close could destroy our close frame."""
        if self.transport.is_closing():
            return
        if self._frames.close_rcvd is not None or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._linger_timeouts.start(self)
        self.transport.write_eof()
        self._paused = self._held_back = False
        self._set_reading()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._writable.clear()
        self._send_timeouts.start(self)
        self.session.write_paused(True)

    def resume_writing(self) -> None:
        if self._paused and self._waiting:
            self.loop.call_soon(self._read_on)
        self.write_paused = self._paused = False
        self._send_timeouts.stop(self)
        self._set_reading()
        self.session.write_paused(False)
        self._writable.set()

    async def drain(self, cycle: RequestCycle) -> None:
        """Returns when the client has caught up, or the request of ``cycle`` was cancelled."""
        while self.write_paused and not cycle.disconnected:
            await self._writable.wait()

    # Ends.

    def end(self, code: int, reason: str = "") -> None:
        """Close the connection; the client has ``LINGER`` seconds to do the same."""
        if self._is_over or self._frames.state is not OPEN:
            return
        self._frames.send_close(code, reason)
        self._flush()
        self._linger_timeouts.start(self)
        self._leave()

    def _fail(self, code: int, reason: str) -> None:
        """Close the connection without waiting for the client to do the same."""
        if self.is_open:
            self._frames.fail(code, reason)
            self._flush()

    def end_when_idle(self) -> None:
        """Close the connection if it is old or the server ends, and the session is idle."""
        if self.is_open and self.session.is_idle:
            if self.server.draining:
                self.end(GOING_AWAY, "the gateway is shutting down")
            elif self.is_old:
                self.end(NORMAL, "the connection has reached its age limit: open another one")

    def _leave(self) -> None:
        if not self._is_over:
            self._is_over = True
            self.session.left()
            self.session.hold(0)
            self._writable.set()

    def _tick_later(self) -> None:
        self._ticking = self.loop.call_later(self._lifetime.ping_seconds, self._tick)

    def _tick(self) -> None:
        if not self.is_open:
            return
        if not self.transport.is_reading() and has_ended(self.transport):
            self.transport.abort()
            return
        now, limits = self.loop.time(), self.server.limits
        if self._silent >= _MOST_SILENT and not (self._paused or self._held_back or self._has_sent or self.write_paused):
            self._fail(BROKEN, "no answer to a ping")
        elif self._since is not None and now - self._since > limits.upload_seconds:
            self._fail(POLICY, f"a message did not arrive within {limits.upload_seconds:g} s, which is the limit")
        elif self.session.is_idle and now - self._latest > self._lifetime.idle_seconds:
            self.end(NORMAL, "the connection was idle")
        else:
            self.end_when_idle()
        if self.is_open:
            self._silent, self._has_sent = self._silent + 1, False
            self._frames.send_ping(b"")
            self._flush()
            self._tick_later()

    def touch(self) -> None:
        """An answer is complete: the connection is idle from now on."""
        self._latest = self.loop.time()
        self.end_when_idle()

    def shutdown(self) -> None:
        """The server ends: close at once if nothing is being answered, otherwise after the last answer."""
        self.end_when_idle()

    def head_timed_out(self) -> None: ...
    def parse_held(self) -> None: ...

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    # As its requests know it.

    def without_early_bytes(self, first: bytes) -> bytes:
        return first

    def default_headers(self) -> bytes:
        return b""

    def draining(self) -> bool:
        return self.server.draining

    def answer_in_task(self, cycle: RequestCycle, app: App) -> None:
        cycle.task = task = self.loop.create_task(cycle.run(app, self.server.tasks))
        self.server.tasks.add(task)

    def resume_reading(self) -> None: ...
    def response_complete(self, cycle: RequestCycle) -> None: ...

    def application_failed(self, cycle: RequestCycle, status: int, message: str) -> None:
        assert isinstance(cycle, MessageCycle)
        if not (cycle.disconnected or cycle.complete):
            cycle.complete = True
            cycle.failed(status, message)


class MessageCycle(RequestCycle):
    """A request that arrived as a message. Its answer is passed to ``taken`` instead of being written as HTTP."""

    __slots__ = ("lines", "status")

    def __init__(self, connection: WebSocketConnection, scope: dict[str, Any], body: bytes) -> None:
        super().__init__(connection, scope, True, False, body)
        self.status = 0
        self.lines = b""
        """The headers of the answer, as ``header_lines``."""

    def taken(self, data: bytes, more: bool) -> None:
        """The next bytes of the answer's body; ``status`` and ``lines`` are set."""
        raise NotImplementedError

    def failed(self, status: int, message: str) -> None:
        """There will be no answer, or not the rest of it."""
        raise NotImplementedError

    def _begin(self, status: int, lines: bytes, length: int) -> None:
        self.started, self.chunked, self._has_no_body = True, False, False
        self.status, self.lines = status, lines

    def _prepare_head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._begin(status, header_lines(headers), -1)

    def _send_body(self, body: bytes, more: bool) -> None:
        self._write(body, more)

    def _write(self, data: bytes, more: bool) -> None:
        if not more:
            self.complete = True
            if self._waiters:
                self._wake()
        self.taken(data, more)

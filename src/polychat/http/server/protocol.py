"""HTTP/1.1, the server's side: one client's connection, as a protocol of asyncio in front of an ASGI application.

llhttp reads, strictly; here is what it leaves open: clocks, sizes, order, what is refused and how a connection ends. The client
is not trusted: it may send a byte a minute, requests without end, or never read. Each request whose head is whole becomes a
``RequestCycle``, with a task in which the application answers it. Cycles are answered one after the other, in the order they
came; the bytes of later requests are kept unread until then.

connection   event                             next         what follows
===========  ================================  ===========  =========================================================
none         accepted                          head         the clock ``limits.head_seconds`` runs
head         the head is whole                 reading      the cycle starts, or waits in line after others
reading      the body is whole                 answering    a request without a body gets here in the same step
answering    another head, in the same read    reading      its cycle waits in line
answering    response complete, kept           idle         the clock ``limits.keep_alive`` runs; or the next in line starts
answering    response complete, kept           head         if a part of the next head came in the same read
reading      response complete, kept           discarding   the body's rest, at most ``SMALL`` by its length, is read past
discarding   the body is whole                 idle
idle         a byte comes                      head
idle         a known head with all its body    answering
head         likewise, on a new connection     answering
idle         a known head without all its body held         the clock ``HOLD`` runs: nothing is parsed until the body is whole
head         likewise, on a new connection     held
held         the body is whole                 answering
held         time is up, or one of us ends     idle         it is parsed, as any read
held         likewise, on a new connection     head
held         the connection is lost            closed       likewise
answering    response complete, not kept       closed
reading      response complete, not kept       lingering    as more is coming
answering    response complete, not kept       lingering    if more has come
head         malformed or too large            lingering    the refusal (400, 431, 501, 505) is written
reading      malformed, nothing sent of it     lingering    likewise, in the place of its response
reading      malformed, amid its response      closed
answering    what follows is malformed         refusing     the responses that are due come first
reading      what follows is malformed         refusing     likewise, without the response to the broken request
refusing     they are sent                     lingering    the refusal is written
refusing     the last of them is not kept      closed
reading      the application fails             lingering    500, or 503 when it was cancelled: nothing was sent of the response
answering    the application fails             lingering    likewise
refusing     the application fails             lingering    likewise
reading      the application fails             closed       amid its response
answering    the application fails             closed       likewise
head         time is up                        closed       with 408
idle         time is up                        closed
discarding   time is up                        closed
lingering    time is up, or the client ends    closed       ``LINGER`` seconds after our end
answering    the client ends its side          half closed  without TLS: its next responses come, if it is still there
refusing     the client ends its side          half closed  likewise
half closed  all is answered                   closed       or a probe finds that the client is gone
head         the client ends, or we do         closed       or the connection is lost; this holds in each state
idle         the client ends, or we do         closed
reading      the client ends, or we do         closed       its request is cut off
discarding   the client ends, or we do         closed
===========  ================================  ===========  =========================================================

Invariants: at most one cycle is answered at a time; in every state but ``reading``, ``answering``, ``refusing`` and ``half
closed`` exactly one clock runs, and neither single bytes nor empty lines extend it; in those the application has its own limits
(``with_read_limits`` in ``asgi.py``); nothing is read once a refusal is due.

A head that is the one before it again, or the first of another connection, but for the body's length, is not parsed
(``known_head.py``), and its request may be answered without a task (``cycle.FastPath``). If it could be, and only the body is
missing, the head waits for it: many clients send the two apart.

Bounds: a head by ``limits.head`` and ``MAX_HEADERS``; the requests in line by ``_MAX_PIPELINED``, their unread bytes and an
unread body each by ``SMALL`` and one read, then the socket is not read; what chunks may hold besides data by ``limits.head``; a
client that does not read, by ``limits.send_seconds`` since the transport's buffer was full.

Cancellation: a client that leaves cancels nothing. Cycles are notified (``disconnect``), the application decides. The server's
end cancels the tasks (``gateway/process/serving.py``), which becomes 503 where nothing was sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

from .cycle import EARLY, SMALL, App, FastPath, RequestCycle
from .known_head import KnownHead
from .refusals import FIRST, RefusedRequest
from .request_parser import RequestParser
from .reset_probe import ResetProbe, can_probe
from .state import ServerState, Timed
from .timeout_queue import TimeoutQueue

_MAX_PIPELINED = 64
"""Requests of one client that may wait for the one before them."""
_ASGI = {"version": "3.0", "spec_version": "2.3"}


class ServerConnection(asyncio.Protocol):
    """One client. Its requests are answered one after the other, in the order they came."""

    __slots__ = (
        *("default_headers", "early_bytes_sent", "loop", "transport", "write_paused"),
        *("_answering", "_begun", "_is_alone", "_parser", "_pipelined", "_pipelined_bytes", "_server", "_spent"),
        *("_half_closed", "_ignoring_input", "_paused", "_refusal", "_reset_probe", "_writers"),
        *(
            "_head_timeouts",
            "_held",
            "_held_timeouts",
            "_idle_timeouts",
            "_linger_timeouts",
            "_missing",
            "_send_timeouts",
            "_waiting_in",
        ),
    )

    def __init__(self, server: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.default_headers = loop, server.default_headers
        self.write_paused = False
        """Whether the client reads slower than we write."""
        self.early_bytes_sent = False
        """Whether the first bytes of the next answer's head are sent already."""
        self._half_closed = False
        """Whether the client ended its side, and still gets its responses."""
        self._reset_probe: ResetProbe | None = None
        self._server = server
        self._answering: RequestCycle | None = None
        """The one being answered."""
        self._begun: RequestCycle | None = None
        """The same, while the read with its head is parsed."""
        self._is_alone = False
        """Whether the request that is answered came in one read, and nothing has come besides, not the client's end either."""
        self._spent: RequestCycle | None = None
        """The last request, if it was so and is over, and its head may be repeated: nothing is known of the client since."""
        self._pipelined: deque[RequestCycle] | None = None
        self._pipelined_bytes: bytearray | None = None
        """What came while a request was being answered, and is not read yet."""
        self._refusal: RefusedRequest | None = None
        self._ignoring_input = self._paused = False
        self._writers: list[asyncio.Future[None]] = []
        self._held: list[bytes] = []
        """The beginning of a request whose head is known, until its body is whole."""
        self._missing = 0
        """How many bytes it misses."""
        queues = server.timeout_queues(loop)
        self._head_timeouts, self._idle_timeouts, self._held_timeouts, self._linger_timeouts, self._send_timeouts = queues
        self._waiting_in: TimeoutQueue[Timed] | None = None
        """The queue of what is waited for, if anything is."""

    @property
    def state(self) -> str:
        """A state of the table above."""
        if self.transport.is_closing():
            return "closed"
        if self._half_closed:
            return "half closed"
        if self._waiting_in is self._linger_timeouts:
            return "lingering"
        if self._held:
            return "held"
        last = self._parser.last
        has_more = last is not None and last.more_body
        if self._answering is not None:
            return "refusing" if self._refusal is not None else "reading" if has_more else "answering"
        if self._parser.in_head or last is None:
            return "head"
        return "discarding" if has_more else "idle"

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._server.connections.add(self)
        self._wait_for(self._head_timeouts)
        server, client = (transport.get_extra_info(name) for name in ("sockname", "peername"))
        scope_template = {
            "root_path": "",
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "server": tuple(server[:2]) if isinstance(server, tuple) else (server, None),
            "client": tuple(client[:2]) if isinstance(client, tuple) else None,
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
        }
        self._parser = RequestParser(self, self._server, scope_template)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._held:
            self.parse_held()
        self._server.connection_lost(self)
        self._send_timeouts.stop(self)
        if self._waiting_in is not None:
            self._waiting_in.stop(self)
        if self._reset_probe is not None:
            self._reset_probe.cancel()
        self._client_left()
        self._parser.close()
        self._answering = self._spent = self._pipelined = self._pipelined_bytes = None
        self._ignoring_input = True
        self.resume_writing()

    def eof_received(self) -> bool:
        """The client sends nothing more. Says whether it may be waiting for an answer all the same.

        TCP distinguishes one that only ended its side from one that is gone when data is sent to it: the latter's system resets
        the connection. So the next byte of the answer that is certain goes out now, and is looked after. With TLS, whose end
        is that of both sides here, and where a reset cannot be looked for, the end is a leaving.
        """
        if self._half_closed:
            return True
        if self._held:
            self.parse_held()
        cycle, last = self._answering, self._parser.last
        if cycle is None or (last is not None and last.more_body) or not can_probe(self.transport):
            # Before the transport is closed: that waits until the client has read all that is written, which it may never do.
            self._client_left()
            return False
        self._half_closed, self._is_alone = True, False
        cycle.send_early_byte()
        self._reset_probe = ResetProbe(self.loop, self.transport)
        return True

    def _client_left(self) -> None:
        for cycle in (self._answering, *(self._pipelined or ())):
            if cycle is not None:
                cycle.disconnect()
        self._wake_writers()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._send_timeouts.start(self)
        if self._answering is not None:
            self._answering.write_paused(True)

    def resume_writing(self) -> None:
        self.write_paused = False
        self._send_timeouts.stop(self)
        if self._answering is not None:
            self._answering.write_paused(False)
        self._wake_writers()

    def _wake_writers(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            if not writer.done():
                writer.set_result(None)

    async def drain(self, cycle: RequestCycle) -> None:
        while self.write_paused and not cycle.disconnected:
            writer = self.loop.create_future()
            self._writers.append(writer)
            await writer

    def shutdown(self) -> None:
        """The server ends: at once where nothing is under way, else with the answer."""
        if self._held:
            self.parse_held()
        if self._answering is None:
            self.transport.close()
        else:
            self._answering.keep_alive = False
            if (run := self._answering.fast_run) is not None:
                run.continue_in_task()  # what has a task can be cancelled

    # Ends.

    def head_timed_out(self) -> None:
        """No whole head in time; or not the rest of a body whose request is answered."""
        if self._parser.in_head or self._parser.last is None:
            seconds = f"{self._server.limits.head_seconds:g} seconds (gateway.limits.head_seconds)"
            self._write_refusal(RefusedRequest(408, f"the request's headers did not arrive within {seconds}"))
        self.transport.close()

    def let_go(self) -> tuple[ServerState, bool, bytes]:
        """Hand the connection over to another protocol, which its last request asked for. Returns the server, whether writing
        is paused, and the received bytes of that protocol.
        """
        state = self._server, self.write_paused, bytes(self._pipelined_bytes or b"")
        self._answering = None
        self.connection_lost(None)
        return state

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def _linger(self) -> None:
        """End our side, and read what the client sends for a while: unread bytes at a close would reset the connection."""
        self._ignoring_input = True
        self._pipelined_bytes = None
        if self.transport.is_closing():
            return
        if self._half_closed:
            self.transport.close()
            return
        self._wait_for(self._linger_timeouts)
        if self.transport.can_write_eof():
            try:
                self.transport.write_eof()
            except OSError:  # the client is gone, which the loop has not reported yet
                self.transport.abort()
                return
        self.resume_reading()

    def refuse(self, refusal: RefusedRequest) -> None:
        """After the answers that are due: say what is wrong, and end the connection."""
        self._ignoring_input = True
        last, cycle = self._parser.last, self._answering
        if last is not None and last.more_body and not last.complete:
            last.disconnect()  # it was its body that broke
            if last is cycle:
                self._answering = cycle = None
                if last.head_sent:
                    self.transport.abort()
                    return
            elif self._pipelined and self._pipelined[-1] is last:
                self._pipelined.pop()
        if cycle is not None:
            self._refusal = refusal
            return
        self._write_refusal(refusal)
        self._linger()

    def _write_refusal(self, refusal: RefusedRequest) -> None:
        first = self.without_early_bytes(FIRST[refusal.status])
        self.transport.write(b"".join((first, self.default_headers(), refusal.headers_and_body())))

    def without_early_bytes(self, first: bytes) -> bytes:
        """An answer's first line without what of it is sent already."""
        if not self.early_bytes_sent:
            return first
        self.early_bytes_sent = False
        return first.removeprefix(EARLY)

    # What comes in.

    def resume_reading(self) -> None:
        if self._paused and self._pipelined_bytes is None:
            self._paused = False
            self.transport.resume_reading()

    def pause_reading(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if (spent := self._spent) is not None:  # most requests are like the one before
            self._spent = None
            same = self._parser.known_head
            if same is not None and (body := same.request(data, self._server.limits.head)) is not None:
                spent.renew(same.template, body)
                self._begin_known(same, spent, body)
                return
        if not (self._ignoring_input or (self._held and not (data := self._with_held(data)))):
            self._read(data)

    def _read(self, data: bytes) -> None:
        """Answer the request in ``data`` if its head is known; else keep or parse what came."""
        parser = self._parser
        last = parser.last
        known: KnownHead | None = None
        if last is None:
            if not parser.in_head:
                known = self._server.heads.of(data)
        elif not last.more_body:
            if self._answering is not None:
                self._buffer_pipelined(data)
                return
            known = None if parser.in_head else parser.known_head
            if known is not None and known.is_identified:
                known = known.identified(data)
        if known is not None:
            if (body := known.request(data, self._server.limits.head)) is not None:
                parser.known_head = known = known if last is not None else known.at(parser.scope_template)
                if last is not None and last.is_spent:
                    last.renew(known.template, body)
                else:
                    parser.last = last = RequestCycle(self, known.template, True, False, body)
                self._begin_known(known, last, body)
                return
            if not self._half_closed and self._hold(known, data):
                return
        self._parse(data)

    def _hold(self, known: KnownHead, data: bytes) -> bool:
        """Keep ``data`` if it is the known head of a request that could be answered without a task, were its body whole."""
        self._missing = known.missing(data, self._server.limits.head)
        if not self._missing or not self._fast_path(known):
            return False
        self._held.append(data)
        self._wait_for(self._held_timeouts)
        return True

    def _with_held(self, data: bytes) -> bytes:
        """All that is held, with ``data``; empty while more is missing."""
        self._held.append(data)
        self._missing -= len(data)
        return b"" if self._missing > 0 else self._take_held()

    def _take_held(self) -> bytes:
        data = b"".join(self._held)
        self._held.clear()
        return data

    def parse_held(self) -> None:
        """The body does not come soon, or never: its request is answered as others are."""
        self._parse(self._take_held())

    def _parse(self, data: bytes) -> None:
        self._is_alone = False
        self._parser.feed(data)
        if (begun := self._begun) is not None:
            self._begun = None
            self._answer_parsed(begun)
        if self._answering is None and not self._ignoring_input:
            self._wait()

    def _answer_parsed(self, cycle: RequestCycle) -> None:
        """The read with a request's head is parsed: answer it, without a task if all of it came and the application can."""
        known = self._parser.known_head
        if known is not None and cycle.scope is known.template:
            self._answer_known(known, cycle, bytes(cycle.body))
        else:
            self.answer_in_task(cycle, self._server.app)

    def _begin_known(self, known: KnownHead, cycle: RequestCycle, body: bytes) -> None:
        """A request whose head is known came in one read: answer it, without a task if the application can."""
        if self._waiting_in is not None:
            self._waiting_in.stop(self)
            self._waiting_in = None
        self._answering, self._is_alone = cycle, not self._half_closed
        fast_path = known.fast_path or self._fast_path(known)
        if fast_path is None or not fast_path.begin(cycle, body):
            self.answer_in_task(cycle, self._server.app)

    def _answer_known(self, known: KnownHead, cycle: RequestCycle, body: bytes) -> None:
        """A request whose head is known was parsed: answer it, without a task if the application can."""
        fast_path = known.fast_path or self._fast_path(known)
        if fast_path is None or not fast_path.begin(cycle, body):
            self.answer_in_task(cycle, self._server.app)

    def _fast_path(self, known: KnownHead) -> FastPath | None:
        """The application's for requests with this head."""
        if not known.has_asked:
            known.has_asked = True
            known.fast_path = self._server.fast_path(known.template)
            if known.fast_path is not None:
                self._server.heads.keep(known)
        return known.fast_path

    def answer_in_task(self, cycle: RequestCycle, app: App) -> None:
        """Let ``app`` answer the request at hand, whose head is the known one."""
        known = self._parser.known_head
        if known is not None and cycle.scope is known.template:
            cycle.scope = known.scope(len(cycle.body))
        cycle.task = task = self.loop.create_task(cycle.run(app, self._server.tasks))
        self._server.tasks.add(task)

    def _wait(self) -> None:
        """For the rest of a head or of a body that the application does not read; else for another request."""
        parser = self._parser
        self._wait_for(
            self._head_timeouts if parser.in_head or parser.last is None or parser.last.more_body else self._idle_timeouts
        )

    def _wait_for(self, queue: TimeoutQueue[Timed]) -> None:
        if self._waiting_in is not queue:  # the timeout keeps running: neither empty lines nor single bytes extend it
            if self._waiting_in is not None:
                self._waiting_in.stop(self)
            self._waiting_in = queue
            queue.start(self)

    def _buffer_pipelined(self, data: bytes) -> None:
        """Requests that come before their turn are read when it has come; a client that sends too many is not read."""
        self._is_alone = False
        if self._pipelined_bytes is None:
            self._pipelined_bytes = bytearray()
        self._pipelined_bytes += data
        if len(self._pipelined_bytes) > SMALL:
            self.pause_reading()

    # The cycles' side.

    def begin(self, cycle: RequestCycle) -> None:
        """A request's head was read: answer it in its turn, which may be when this read is parsed."""
        if self._answering is None:
            self._answering = self._begun = cycle
            if self._waiting_in is not None:
                self._waiting_in.stop(self)
                self._waiting_in = None
            return
        if self._pipelined is None:
            self._pipelined = deque()
        if len(self._pipelined) >= _MAX_PIPELINED:
            raise RefusedRequest(400, f"more than {_MAX_PIPELINED} pipelined requests")
        self._pipelined.append(cycle)

    def draining(self) -> bool:
        return self._server.draining

    def application_failed(self, cycle: RequestCycle, status: int, message: str) -> None:
        """The application will not answer, or not to the end."""
        if cycle.disconnected or cycle.complete:
            return
        cycle.disconnect()
        self._answering = None
        if cycle.head_sent:
            self.transport.close()
        else:
            self._write_refusal(RefusedRequest(status, message))
            self._linger()

    def response_complete(self, cycle: RequestCycle) -> None:
        self._server.total_requests += 1
        self._answering = None
        if self._is_alone and cycle.is_spent:  # the usual end: it ended in the usual way too
            self._spent, self._waiting_in = cycle, self._idle_timeouts
            self._idle_timeouts.start(self)
        elif not self.transport.is_closing():
            self._await_next(cycle)

    def _await_next(self, cycle: RequestCycle) -> None:
        """The response to ``cycle`` is complete: answer the request after it, wait for one, or end the connection."""
        if not cycle.keep_alive:
            if cycle.more_body or self._pipelined_bytes or self._pipelined:
                self._linger()
            else:
                self._ignoring_input = True
                self.transport.close()
        elif self._pipelined:
            self._answering = cycle = self._pipelined.popleft()
            self.answer_in_task(cycle, self._server.app)
        elif self._refusal is not None:
            self._write_refusal(self._refusal)
            self._linger()
        else:
            self._read_next()

    def _read_next(self) -> None:
        self._wait()
        if self._pipelined_bytes is not None:
            unread, self._pipelined_bytes = self._pipelined_bytes, None
            self.data_received(bytes(unread))
        last = self._parser.last
        if self._half_closed and (self._answering is None or (last is not None and last.more_body)):
            self._client_left()
            self.transport.close()
        elif self._paused:
            self.resume_reading()

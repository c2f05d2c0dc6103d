"""HTTP/1.1, the server's side: one client's connection, as a protocol of asyncio in front of an ASGI application.

llhttp reads, strictly; here is what it leaves open: clocks, sizes, order, what is refused and how a connection ends. The client
is a stranger: it may send a byte a minute, requests without end, or never read. Each request whose head is whole becomes a
``RequestCycle``, with a task in which the application answers it. Cycles are answered one after the other, in the order they
came; the bytes of later requests are kept unread until then.

connection   event                             next         what follows
===========  ================================  ===========  =========================================================
none         accepted                          head         the clock ``limits.head_seconds`` runs
head         the head is whole                 reading      the cycle starts, or stands in line behind others
reading      the body is whole                 answering    a request without a body gets here in the same step
answering    another head, in the same read    reading      its cycle stands in line
answering    response complete, kept           idle         the clock ``limits.keep_alive`` runs; or the next in line starts
answering    response complete, kept           head         if a part of the next head came in the same read
reading      response complete, kept           discarding   the body's rest, at most ``SMALL`` by its length, is read past
discarding   the body is whole                 idle
idle         a byte comes                      head
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
(``patient`` in ``asgi.py``); nothing is read once a refusal is due.

A head that is the one before it again, but for the body's length, and whose body came in the same read, is not parsed
(``known_head.py``): the states are the same.

Bounds: a head by ``limits.head`` and ``MAX_HEADERS``; the requests in line by ``_MAX_PIPELINED``, their unread bytes and an
unread body each by ``SMALL`` and one read, then the socket is not read; what chunks may hold beside data by ``limits.head``; a
client that does not read, by ``limits.send_seconds`` since the transport's buffer was full.

Cancellation: the client's leaving cancels nothing. Cycles are told (``disconnect``), and the application decides. The server's
end cancels the tasks (``gateway/process/serving.py``), which becomes 503 where nothing was sent.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from typing import Any, cast
from urllib.parse import unquote

import httptools

from .cycle import EARLY, SMALL, RequestCycle
from .known_head import KnownHead
from .refusals import FIRST, MAX_HEADERS, RefusedRequest, check_head, framing_of, local
from .state import ServerState, Timed
from .timeout_queue import TimeoutQueue

_MAX_PIPELINED = 64
"""Requests of one client that may wait for the one before them."""
_RESET_PROBES = 12
"""How often is looked whether a client that ended its side is gone: after 1 ms, then each time after twice as long."""
_ASGI = {"version": "3.0", "spec_version": "2.3"}


class ServerConnection(asyncio.Protocol):
    """One client. Its requests are answered one after the other, in the order they came."""

    __slots__ = (
        *(
            "loop",
            "transport",
            "write_paused",
            "early_bytes_sent",
            "_half_closed",
            "_reset_probe",
            "_server",
            "_scope_template",
            "_parser",
        ),
        *(
            "_url",
            "_headers",
            "_in_head",
            "_head_size",
            "_feed_size",
            "_chunked",
            "_chunk_overhead_left",
            "_body_framing",
            "_answering",
            "_known_head",
            "_last_read",
            "_pipelined",
            "_pipelined_bytes",
        ),
        *(
            "_refusal",
            "_ignoring_input",
            "_paused",
            "_writers",
            "_head_timeouts",
            "_idle_timeouts",
            "_linger_timeouts",
            "_send_timeouts",
            "_waiting_in",
        ),
    )

    def __init__(self, server: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.write_paused = False
        """Whether the client reads slower than we write."""
        self.early_bytes_sent = False
        """Whether the first bytes of the next answer's head are sent already."""
        self._half_closed = False
        """Whether the client said that it sends nothing more, and is to be answered all the same."""
        self._reset_probe: asyncio.TimerHandle | None = None
        self._server = server
        self._scope_template: dict[str, Any] = {"root_path": ""}
        self._parser: Any = None
        self._in_head = False
        self._head_size = self._feed_size = self._chunk_overhead_left = 0
        self._chunked = False
        self._body_framing = b""
        self._answering: RequestCycle | None = None
        """The one being answered."""
        self._last_read: RequestCycle | None = None
        """The one whose head was read last."""
        self._known_head: KnownHead | None = None
        self._pipelined: deque[RequestCycle] | None = None
        self._pipelined_bytes: bytearray | None = None
        """What came while a request was being answered, and is not read yet."""
        self._refusal: RefusedRequest | None = None
        self._ignoring_input = self._paused = False
        self._writers: list[asyncio.Future[None]] = []
        self._head_timeouts, self._idle_timeouts, self._linger_timeouts, self._send_timeouts = server.timeout_queues(loop)
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
        last = self._last_read
        has_more = last is not None and last.more_body
        if self._answering is not None:
            return "refusing" if self._refusal is not None else "reading" if has_more else "answering"
        if self._in_head or last is None:
            return "head"
        return "discarding" if has_more else "idle"

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._server.connections.add(self)
        self._wait_for(self._head_timeouts)
        server, client = (transport.get_extra_info(name) for name in ("sockname", "peername"))
        self._scope_template |= {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "server": tuple(server[:2]) if isinstance(server, tuple) else (server, None),
            "client": tuple(client[:2]) if isinstance(client, tuple) else None,
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
        }

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connection_lost(self)
        self._send_timeouts.stop(self)
        if self._waiting_in is not None:
            self._waiting_in.stop(self)
        if self._reset_probe is not None:
            self._reset_probe.cancel()
        self._client_left()
        self._parser = self._answering = self._last_read = self._pipelined = self._pipelined_bytes = None
        self._ignoring_input = True
        self.resume_writing()

    def eof_received(self) -> bool:
        """The client sends nothing more. Says whether it may be waiting for an answer all the same.

        TCP tells one that only ended its side from one that is gone when something is sent to it: the latter's system resets
        the connection. So the next byte of the answer that is certain goes out now, and is looked after. With TLS, whose end
        is that of both sides here, and where a reset cannot be looked for, the end is a leaving.
        """
        if self._half_closed:
            return True
        cycle, last = self._answering, self._last_read
        if cycle is None or (last is not None and last.more_body) or not self._can_probe():
            # Before the transport is closed: that waits until the client has read all that is written, which it may never do.
            self._client_left()
            return False
        self._half_closed = True
        cycle.send_early_byte()
        self._probe_for_reset(0)
        return True

    def _can_probe(self) -> bool:
        return hasattr(select, "poll") and self.transport.get_extra_info("sslcontext") is None

    def _probe_for_reset(self, times: int) -> None:
        self._reset_probe = None
        if self.transport.is_closing():
            return
        if times:  # before that, nothing is sent yet
            poll = select.poll()
            poll.register(self.transport.get_extra_info("socket").fileno(), 0)
            if poll.poll(0):  # an error, or both sides' end
                self.transport.abort()
                return
        if times < _RESET_PROBES:
            self._reset_probe = self.loop.call_later(0.001 * 2**times, self._probe_for_reset, times + 1)

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
        if self._answering is None:
            self.transport.close()
        else:
            self._answering.keep_alive = False

    # Ends.

    def head_timed_out(self) -> None:
        """No whole head in time; or not the rest of a body whose request is answered."""
        if self._in_head or self._last_read is None:
            seconds = f"{self._server.limits.head_seconds:g} seconds (gateway.limits.head_seconds)"
            self._write_refusal(RefusedRequest(408, f"the request's headers did not arrive within {seconds}"))
        self.transport.close()

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def _linger(self) -> None:
        """Say no more, and hear the client out for a while: unread bytes at a close would reset the connection."""
        self._ignoring_input = True
        self._pipelined_bytes = None
        if self.transport.is_closing():
            return
        if self._half_closed:
            self.transport.close()
            return
        self._wait_for(self._linger_timeouts)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume_reading()

    def _refuse(self, refusal: RefusedRequest) -> None:
        """After the answers that are due: say what is wrong, and end the connection."""
        self._ignoring_input = True
        last, cycle = self._last_read, self._answering
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

    def _pause_reading(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self._ignoring_input:
            return
        last = self._last_read
        if last is not None and not last.more_body:
            if self._answering is not None:
                self._buffer_pipelined(data)
                return
            if (
                (known := self._known_head) is not None
                and last.keep_alive
                and not self._in_head
                and (request := known.request(data, self._server.limits.head)) is not None
            ):
                scope, body = request
                self._last_read = cycle = RequestCycle(self, scope, True, False, body)
                self._start_cycle(cycle)
                return
        self._feed(data)
        if self._answering is None and not self._ignoring_input:
            self._wait()

    def _wait(self) -> None:
        """For the rest of a head or of a body that nobody reads; else for another request."""
        self._wait_for(
            self._head_timeouts
            if self._in_head or self._last_read is None or self._last_read.more_body
            else self._idle_timeouts
        )

    def _wait_for(self, queue: TimeoutQueue[Timed]) -> None:
        if self._waiting_in is not queue:  # else time goes on: neither empty lines nor single bytes extend it
            if self._waiting_in is not None:
                self._waiting_in.stop(self)
            self._waiting_in = queue
            queue.start(self)

    def _buffer_pipelined(self, data: bytes) -> None:
        """Requests that come before their turn are read when it has come; who sends too many is not heard meanwhile."""
        if self._pipelined_bytes is None:
            self._pipelined_bytes = bytearray()
        self._pipelined_bytes += data
        if len(self._pipelined_bytes) > SMALL:
            self._pause_reading()

    def _feed(self, data: bytes | bytearray) -> None:
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        last = self._last_read
        in_body = last is not None and last.more_body
        begins = not (in_body or self._in_head)
        self._feed_size = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._refuse_unparsable(error)
            return
        cycle = self._last_read
        if begins and cycle is not last and cycle is not None and cycle.keep_alive and not cycle.more_body:
            self._known_head = KnownHead.of(bytes(data), cycle.scope)
        if not in_body and (self._in_head or self._last_read is last):
            self._head_size += len(data)
            if self._head_size > self._server.limits.head:
                self._refuse(self._too_large())
        elif self._chunked:
            self._chunk_overhead_left -= len(data)
            if self._chunk_overhead_left < 0:
                self._refuse(RefusedRequest(400, "the request's chunks contain more extensions and trailers than data"))

    def _decline_upgrade(self, rest: bytes | bytearray) -> None:
        """No other protocol is spoken here: who asks for one (Java's client does) is answered in this one.

        llhttp leaves the body of such a request unread, as if it were the other protocol's: it is given a head to go with it.
        """
        if self._body_framing:
            self._parser = httptools.HttpRequestParser(_UpgradeBody(self))
            self._parser.feed_data(self._body_framing)
            self._body_framing = b""
        if rest:
            self._feed(rest)

    def _refuse_unparsable(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        self._refuse(
            cause if isinstance(cause, RefusedRequest) else RefusedRequest(400, f"not a valid HTTP/1.1 request: {error}")
        )

    def _too_large(self) -> RefusedRequest:
        return RefusedRequest(
            431, (f"the request line and headers are larger than {self._server.limits.head:,} bytes (gateway.limits.head)")
        )

    # llhttp's side.

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = True
        self._head_size = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what comes behind a body is read past: nobody may add a header to a request that was let in
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        last = self._last_read
        if last is not None and not last.keep_alive:
            raise RefusedRequest(400, "a request after the connection's last one")
        headers, parser = self._headers, self._parser
        if self._head_size + self._feed_size > self._server.limits.head:
            size = len(self._url) + sum(len(name) + len(value) + 4 for name, value in headers)
            if size > self._server.limits.head:
                raise self._too_large()
        fields, version, count = dict(headers), parser.get_http_version(), len(headers)
        usual = version == "1.1" and b"host" in fields and len(fields) == count <= MAX_HEADERS
        if not usual or b"transfer-encoding" in fields or b"upgrade" in fields:
            self._check(version, fields)
        scope = self._scope_template.copy()
        if version != "1.1":
            scope["http_version"] = version
        method = parser.get_method()
        if method == b"CONNECT":
            raise RefusedRequest(501, "CONNECT is not supported: this is not a proxy")  # what follows its head is no request
        scope["method"] = method.decode("ascii")
        scope["headers"] = headers
        scope["polychat.fields"] = fields
        self._set_target(scope)
        self._in_head = False
        self._head_size = 0
        expects = b"expect" in fields and version == "1.1" and fields[b"expect"].lower() == b"100-continue"
        keep_alive = version == "1.1" and not self._body_framing and parser.should_keep_alive()
        self._last_read = cycle = RequestCycle(self, scope, keep_alive, expects)
        if self._answering is None:
            self._start_cycle(cycle)
        else:
            self._enqueue(cycle)

    def _check(self, version: str, fields: dict[bytes, bytes]) -> None:
        """What llhttp lets pass and two servers could read in two ways."""
        check_head(version, self._headers, fields)
        if self._parser.should_upgrade():
            self._body_framing = framing_of(fields)
        if b"transfer-encoding" in fields:
            self._chunked = True
            self._chunk_overhead_left = self._server.limits.head + self._feed_size

    def _set_target(self, scope: dict[str, Any]) -> None:
        """The request's target, as ASGI has it."""
        url = self._url
        if url[:1] != b"/":
            url = local(url, scope["method"])
        if b"#" in url:
            raise RefusedRequest(400, "the request target contains a fragment")
        raw, _, scope["query_string"] = url.partition(b"?")
        path = raw.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw

    def on_body(self, data: bytes) -> None:
        cycle = self._last_read
        assert cycle is not None
        if self._chunked:
            self._chunk_overhead_left += 9 * len(data)  # a chunk of a byte takes five more, and some pad the size with zeros
        if not cycle.complete and not cycle.disconnected and cycle.add_body(data) > SMALL:
            self._pause_reading()

    def on_message_complete(self) -> None:
        if self._body_framing:
            return  # it has only begun, see _decline_upgrade
        cycle = self._last_read
        assert cycle is not None
        self._chunked = False
        cycle.end_body()

    # The cycles' side.

    def _start_cycle(self, cycle: RequestCycle) -> None:
        self._answering = cycle
        if self._waiting_in is not None:
            self._waiting_in.stop(self)
            self._waiting_in = None
        cycle.task = task = self.loop.create_task(cycle.run(self._server.app, self._server.tasks))
        self._server.tasks.add(task)

    def _enqueue(self, cycle: RequestCycle) -> None:
        if self._pipelined is None:
            self._pipelined = deque()
        if len(self._pipelined) >= _MAX_PIPELINED:
            raise RefusedRequest(400, f"more than {_MAX_PIPELINED} pipelined requests")
        self._pipelined.append(cycle)

    def default_headers(self) -> bytes:
        return self._server.default_headers()

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
        if self.transport.is_closing():
            return
        if not cycle.keep_alive:
            if cycle.more_body or self._pipelined_bytes or self._pipelined:
                self._linger()
            else:
                self._ignoring_input = True
                self.transport.close()
        elif self._pipelined:
            self._start_cycle(self._pipelined.popleft())
        elif self._refusal is not None:
            self._write_refusal(self._refusal)
            self._linger()
        else:
            self._await_next()

    def _await_next(self) -> None:
        self._wait()
        if self._pipelined_bytes is not None:
            unread, self._pipelined_bytes = self._pipelined_bytes, None
            self.data_received(bytes(unread))
        if self._half_closed and (self._answering is None or (self._last_read is not None and self._last_read.more_body)):
            self._client_left()
            self.transport.close()
        elif self._paused:
            self.resume_reading()


class _UpgradeBody:
    """What llhttp reads of a body that follows a head of our own."""

    def __init__(self, connection: ServerConnection) -> None:
        self.on_body, self.on_message_complete = connection.on_body, connection.on_message_complete

    def on_message_begin(self) -> None: ...

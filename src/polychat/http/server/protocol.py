"""HTTP/1 for the gateway, as uvicorn's ``http=``: uvicorn's own lets silent connections live and heads grow without bound.

llhttp reads, strictly; here is what it leaves open: clocks, sizes, order, what is refused and how a connection ends.
"""

from __future__ import annotations

import asyncio
import json
import select
from collections import deque
from typing import Any, TypeAlias, cast
from urllib.parse import unquote

import httptools

from ...config.settings import Limits
from .cycle import EARLY, SMALL, App, RequestCycle
from .deadlines import Deadlines
from .refusals import FIRST, Refused, framing_of, local

_HEADERS = 128
_AHEAD = 64
"""Requests of one client that may wait for the one before them."""
_LINGER = 5.0
"""Seconds a client is heard after the answer that ended its connection: closing at once could take that answer from it."""
_LOOKS = 12
"""How often is looked whether a client that ended its side is gone: after 1 ms, then each time after twice as long."""
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_ONCE = (b"host", b"content-length", b"transfer-encoding")
_Clocks: TypeAlias = "Deadlines[Connection]"


class Entrance:
    """What all connections of one server share; uvicorn calls it for each as if it were the protocol's class.

    ``limits`` may be replaced while it runs. ``draining``: every answer that begins from now on ends its connection.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.draining = False
        self._connections: set[Any] = set()
        self._empty: asyncio.Event | None = None
        self._clocks: tuple[_Clocks, _Clocks, _Clocks, _Clocks] | None = None
        self._fields: tuple[object, bytes] = (None, b"")

    def __call__(
        self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None
    ) -> Connection:
        if not config.loaded:
            config.load()
        self._connections = server_state.connections
        return Connection(self, config, server_state, app_state, _loop or asyncio.get_running_loop())

    def clocks(self, loop: asyncio.AbstractEventLoop) -> tuple[_Clocks, _Clocks, _Clocks, _Clocks]:
        """Those that wait for: a head, another request, a client's end, a client that reads."""
        if self._clocks is None:
            self._clocks = (
                Deadlines(loop, lambda: self.limits.head_seconds, Connection.late),
                Deadlines(loop, lambda: self.limits.keep_alive, Connection.close),
                Deadlines(loop, lambda: _LINGER, Connection.abort),
                Deadlines(loop, lambda: self.limits.send_seconds, Connection.abort),
            )
        return self._clocks

    def fields(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """uvicorn's own headers (the date, a new list once a second) as lines of a head."""
        if self._fields[0] is not headers:
            self._fields = (headers, b"".join(b"%b: %b\r\n" % pair for pair in headers))
        return self._fields[1]

    async def empty(self) -> None:
        """Returns when no connection is left."""
        self._empty = asyncio.Event()
        if self._connections:
            await self._empty.wait()

    def lost(self) -> None:
        if self._empty is not None and not self._connections:
            self._empty.set()

    def close(self) -> None:
        for clock in self._clocks or ():
            clock.close()


def protocol_of(limits: Limits) -> Entrance:
    """What ``uvicorn.Config(http=…)`` takes."""
    return Entrance(limits)


class Connection(asyncio.Protocol):
    """One client. Its requests are answered one after the other, in the order they came."""

    __slots__ = (
        *(
            "loop",
            "transport",
            "full",
            "hinted",
            "_ended",
            "_looking",
            "_entrance",
            "_app",
            "_server",
            "_state",
            "_template",
            "_parser",
        ),
        *(
            "_url",
            "_headers",
            "_in_head",
            "_head_size",
            "_feeding",
            "_chunked",
            "_spare",
            "_body_framing",
            "_turn",
            "_last",
            "_queue",
            "_ahead",
        ),
        *("_refusal", "_ignoring_input", "_paused", "_writers", "_heads", "_idle", "_lingering", "_stalled", "_waited"),
    )

    def __init__(
        self, entrance: Entrance, config: Any, server_state: Any, state: dict[str, Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.loop = loop
        self.full = False
        """Whether the client reads slower than we write."""
        self.hinted = False
        """Whether the first bytes of the next answer's head are sent already."""
        self._ended = False
        """Whether the client said that it sends nothing more, and is to be answered all the same."""
        self._looking: asyncio.TimerHandle | None = None
        self._entrance = entrance
        self._app: App = config.loaded_app
        self._server, self._state = server_state, state
        self._template: dict[str, Any] = {"root_path": config.root_path}
        self._parser: Any = None
        self._in_head = False
        self._head_size = self._feeding = self._spare = 0
        self._chunked = False
        self._body_framing = b""
        self._turn: RequestCycle | None = None
        """The one being answered."""
        self._last: RequestCycle | None = None
        """The one whose head was read last."""
        self._queue: deque[RequestCycle] | None = None
        self._ahead: bytearray | None = None
        """What came while a request was being answered, and is not read yet."""
        self._refusal: Refused | None = None
        self._ignoring_input = self._paused = False
        self._writers: list[asyncio.Future[None]] = []
        self._heads, self._idle, self._lingering, self._stalled = entrance.clocks(loop)
        self._waited: _Clocks | None = None
        """The clock of what is waited for, if anything is."""

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._server.connections.add(self)
        self._wait_for(self._heads)
        server, client = (transport.get_extra_info(name) for name in ("sockname", "peername"))
        self._template |= {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "server": tuple(server[:2]) if isinstance(server, tuple) else (server, None),
            "client": tuple(client[:2]) if isinstance(client, tuple) else None,
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
        }

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._entrance.lost()
        self._stalled.stop(self)
        if self._waited is not None:
            self._waited.stop(self)
        if self._looking is not None:
            self._looking.cancel()
        self._left()
        self._parser = self._turn = self._last = self._queue = self._ahead = None
        self._ignoring_input = True
        self.resume_writing()

    def eof_received(self) -> bool:
        """The client sends nothing more. Says whether it may be waiting for an answer all the same.

        TCP tells one that only ended its side from one that is gone when something is sent to it: the latter's system resets
        the connection. So the next byte of the answer that is certain goes out now, and is looked after. With TLS, whose end
        is that of both sides here, and where a reset cannot be looked for, the end is a leaving.
        """
        if self._ended:
            return True
        turn, last = self._turn, self._last
        if turn is None or (last is not None and last.more_body) or not self._can_look():
            # Before the transport is closed: that waits until the client has read all that is written, which it may never do.
            self._left()
            return False
        self._ended = True
        turn.hint()
        self._look(0)
        return True

    def _can_look(self) -> bool:
        return hasattr(select, "poll") and self.transport.get_extra_info("sslcontext") is None

    def _look(self, times: int) -> None:
        self._looking = None
        if self.transport.is_closing():
            return
        if times:  # before that, nothing is sent yet
            poll = select.poll()
            poll.register(self.transport.get_extra_info("socket").fileno(), 0)
            if poll.poll(0):  # an error, or both sides' end
                self.transport.abort()
                return
        if times < _LOOKS:
            self._looking = self.loop.call_later(0.001 * 2**times, self._look, times + 1)

    def _left(self) -> None:
        for turn in (self._turn, *(self._queue or ())):
            if turn is not None:
                turn.leave()
        self._wake_writers()

    def pause_writing(self) -> None:
        self.full = True
        self._stalled.start(self)

    def resume_writing(self) -> None:
        self.full = False
        self._stalled.stop(self)
        self._wake_writers()

    def _wake_writers(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            if not writer.done():
                writer.set_result(None)

    async def drained(self, turn: RequestCycle) -> None:
        while self.full and not turn.gone:
            writer = self.loop.create_future()
            self._writers.append(writer)
            await writer

    def shutdown(self) -> None:
        """uvicorn's word that the server ends: at once where nothing is under way, else with the answer."""
        if self._turn is None:
            self.transport.close()
        else:
            self._turn.keep_alive = False

    # Ends.

    def late(self) -> None:
        """No whole head in time."""
        self._say(
            Refused(
                408,
                (
                    f"the request's headers did not arrive within {self._entrance.limits.head_seconds:g} seconds "
                    "(gateway.limits.head_seconds)"
                ),
            )
        )
        self.transport.close()

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def _linger(self) -> None:
        """Say no more, and hear the client out for a while: unread bytes at a close would reset the connection."""
        self._ignoring_input = True
        self._ahead = None
        if self.transport.is_closing():
            return
        if self._ended:
            self.transport.close()
            return
        self._wait_for(self._lingering)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.hear()

    def _refuse(self, refusal: Refused) -> None:
        """After the answers that are due: say what is wrong, and end the connection."""
        self._ignoring_input = True
        last, turn = self._last, self._turn
        if last is not None and last.more_body and not last.complete:
            last.leave()  # it was its body that broke
            if last is turn:
                self._turn = turn = None
                if last.begun:
                    self.transport.abort()
                    return
            elif self._queue:
                self._queue.pop()
        if turn is not None:
            self._refusal = refusal
            return
        self._say(refusal)
        self._linger()

    def _say(self, refusal: Refused) -> None:
        kind = "server_error" if refusal.status in (500, 503) else "invalid_request_error"
        body = json.dumps({"error": {"message": str(refusal), "type": kind}}).encode()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(b"".join((self.unhinted(FIRST[refusal.status]), self.fields(), head, body)))

    def unhinted(self, first: bytes) -> bytes:
        """An answer's first line without what of it is sent already."""
        if not self.hinted:
            return first
        self.hinted = False
        return first.removeprefix(EARLY)

    # What comes in.

    def hear(self) -> None:
        if self._paused and self._ahead is None:
            self._paused = False
            self.transport.resume_reading()

    def _hold(self) -> None:
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        if self._ignoring_input:
            return
        last = self._last
        if last is not None and not last.more_body and self._turn is not None:
            self._buffer_ahead(data)
            return
        self._feed(data)
        if self._turn is None and not self._ignoring_input:
            self._wait()

    def _wait(self) -> None:
        """For the rest of a head or of a body that nobody reads; else for another request."""
        self._wait_for(self._heads if self._in_head or self._last is None or self._last.more_body else self._idle)

    def _wait_for(self, clock: _Clocks) -> None:
        if self._waited is not clock:  # else time goes on: neither empty lines nor single bytes extend it
            if self._waited is not None:
                self._waited.stop(self)
            self._waited = clock
            clock.start(self)

    def _buffer_ahead(self, data: bytes) -> None:
        """Requests that come before their turn are read when it has come; who sends too many is not heard meanwhile."""
        if self._ahead is None:
            self._ahead = bytearray()
        self._ahead += data
        if len(self._ahead) > SMALL:
            self._hold()

    def _feed(self, data: bytes | bytearray) -> None:
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        last = self._last
        in_body = last is not None and last.more_body
        self._feeding = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._wrong(error)
            return
        if not in_body and (self._in_head or self._last is last):
            self._head_size += len(data)
            if self._head_size > self._entrance.limits.head:
                self._refuse(self._too_large())
        elif self._chunked:
            self._spare -= len(data)
            if self._spare < 0:
                self._refuse(Refused(400, "the request's chunks contain more extensions and trailers than data"))

    def _stay(self, rest: bytes | bytearray) -> None:
        """No other protocol is spoken here: who asks for one (Java's client does) is answered in this one.

        llhttp leaves the body of such a request unread, as if it were the other protocol's: it is given a head to go with it.
        """
        if self._body_framing:
            self._parser = httptools.HttpRequestParser(_Graft(self))
            self._parser.feed_data(self._body_framing)
            self._body_framing = b""
        if rest:
            self._feed(rest)

    def _wrong(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        self._refuse(cause if isinstance(cause, Refused) else Refused(400, f"not a valid HTTP/1.1 request: {error}"))

    def _too_large(self) -> Refused:
        return Refused(
            431, (f"the request line and headers are larger than {self._entrance.limits.head:,} bytes (gateway.limits.head)")
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
        last = self._last
        if last is not None and not last.keep_alive:
            raise Refused(400, "a request after the connection's last one")
        headers, parser = self._headers, self._parser
        if self._head_size + self._feeding > self._entrance.limits.head:
            size = len(self._url) + sum(len(name) + len(value) + 4 for name, value in headers)
            if size > self._entrance.limits.head:
                raise self._too_large()
        fields, version, count = dict(headers), parser.get_http_version(), len(headers)
        usual = version == "1.1" and b"host" in fields and len(fields) == count <= _HEADERS
        if not usual or b"transfer-encoding" in fields or b"upgrade" in fields:
            self._check(version, fields)
        scope = self._template.copy()
        if version != "1.1":
            scope["http_version"] = version
        method = parser.get_method()
        if method == b"CONNECT":
            raise Refused(501, "CONNECT is not supported: this is not a proxy")  # what follows its head is no request
        scope["method"] = method.decode("ascii")
        scope["headers"] = headers
        scope["polychat.fields"] = fields
        self._aim(scope)
        if self._state:
            scope["state"] = self._state.copy()
        self._in_head = False
        self._head_size = 0
        expects = b"expect" in fields and version == "1.1" and fields[b"expect"].lower() == b"100-continue"
        keep_alive = version == "1.1" and not self._body_framing and parser.should_keep_alive()
        self._last = turn = RequestCycle(self, scope, keep_alive, expects)
        if self._turn is None:
            self._begin(turn)
        else:
            self._enqueue(turn)

    def _check(self, version: str, fields: dict[bytes, bytes]) -> None:
        """What llhttp lets pass and two servers could read in two ways."""
        if version not in ("1.0", "1.1"):
            raise Refused(505, f"HTTP/{version} is not supported: use HTTP/1.1")
        if len(self._headers) > _HEADERS:
            raise Refused(431, f"the request has {len(self._headers)} headers; the limit is {_HEADERS}")
        names = [name for name, _ in self._headers]
        for name in _ONCE:
            if names.count(name) > 1:
                raise Refused(400, f"the request has more than one {name.decode()} header")
        if version == "1.1" and b"host" not in fields:
            raise Refused(400, "the request has no host header")
        if self._parser.should_upgrade():
            self._body_framing = framing_of(fields)
        coding = fields.get(b"transfer-encoding")
        if coding is not None:
            if version == "1.0":
                raise Refused(400, "HTTP/1.0 does not support transfer-encoding")
            if coding.strip().lower() != b"chunked":
                raise Refused(501, "the only supported transfer-encoding is chunked")
            self._chunked = True
            self._spare = self._entrance.limits.head + self._feeding

    def _aim(self, scope: dict[str, Any]) -> None:
        """The request's target, as ASGI has it."""
        url = self._url
        if url[:1] != b"/":
            url = local(url, scope["method"])
        if b"#" in url:
            raise Refused(400, "the request target contains a fragment")
        raw, _, scope["query_string"] = url.partition(b"?")
        path = raw.decode("ascii")
        root: str = scope["root_path"]
        scope["path"] = root + (unquote(path) if "%" in path else path)
        scope["raw_path"] = root.encode("ascii") + raw if root else raw

    def on_body(self, data: bytes) -> None:
        turn = self._last
        assert turn is not None
        if self._chunked:
            self._spare += 9 * len(data)  # a chunk of one byte takes five more, and some write the size with zeros before it
        if not turn.complete and not turn.gone and turn.take(data) > SMALL:
            self._hold()

    def on_message_complete(self) -> None:
        if self._body_framing:
            return  # it has only begun, see _stay
        turn = self._last
        assert turn is not None
        self._chunked = False
        turn.whole()

    # The turns' side.

    def _begin(self, turn: RequestCycle) -> None:
        self._turn = turn
        if self._waited is not None:
            self._waited.stop(self)
            self._waited = None
        turn.task = task = self.loop.create_task(turn.run(self._app, self._server.tasks))
        self._server.tasks.add(task)

    def _enqueue(self, turn: RequestCycle) -> None:
        if self._queue is None:
            self._queue = deque()
        if len(self._queue) >= _AHEAD:
            raise Refused(400, f"more than {_AHEAD} pipelined requests")
        self._queue.append(turn)

    def fields(self) -> bytes:
        return self._entrance.fields(self._server.default_headers)

    def closing(self) -> bool:
        return self._entrance.draining

    def failed(self, turn: RequestCycle, status: int, message: str) -> None:
        """The application will not answer, or not to the end."""
        if turn.gone or turn.complete:
            return
        turn.leave()
        self._turn = None
        if turn.begun:
            self.transport.close()
        else:
            self._say(Refused(status, message))
            self._linger()

    def answered(self, turn: RequestCycle) -> None:
        self._server.total_requests += 1
        self._turn = None
        if self.transport.is_closing():
            return
        if not turn.keep_alive:
            if turn.more_body or self._ahead or self._queue:
                self._linger()
            else:
                self._ignoring_input = True
                self.transport.close()
        elif self._queue:
            self._begin(self._queue.popleft())
        elif self._refusal is not None:
            self._say(self._refusal)
            self._linger()
        else:
            self._await_next()

    def _await_next(self) -> None:
        self._wait_for(self._idle)
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            self.data_received(bytes(ahead))
        if self._ended and (self._turn is None or (self._last is not None and self._last.more_body)):
            self._left()
            self.transport.close()
        elif self._paused:
            self.hear()


class _Graft:
    """What llhttp reads of a body that follows a head of our own."""

    def __init__(self, connection: Connection) -> None:
        self.on_body, self.on_message_complete = connection.on_body, connection.on_message_complete

    def on_message_begin(self) -> None: ...

"""One request and its response: the ``receive`` and ``send`` of an ASGI application, and the bytes that are written."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from http import HTTPStatus
from operator import itemgetter
from typing import Any, Protocol, TypeAlias

from ...values import mypyc_attr

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

SMALL = 64 * 1024
"""Bytes: of a body that are held for an application that does not read, and that are skipped to keep a connection."""

EARLY = b"HTTP/1.1 "
"""The beginning of every response: it may be sent before there is one, see ``RequestCycle.send_early_byte``."""
CHUNK = b"%x\r\n%b\r\n"
"""The form of a chunk: of its length and its data."""
_STATUS = {code.value: b"HTTP/1.1 %d %b\r\n" % (code.value, code.phrase.encode()) for code in HTTPStatus}
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = bytes({0x09, *range(0x20, 0x7F), *range(0x80, 0x100)})
"""The characters of a header's value: none that ends its line."""
_LENGTH, _CODING, _CONNECTION = b"content-length", b"transfer-encoding", b"connection"
_FRAMING = frozenset({_LENGTH, _CODING, _CONNECTION})
_CHUNKED, _CLOSE = b"transfer-encoding: chunked\r\n", b"connection: close\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\n%b%bcontent-length: %d\r\n\r\n%b"
"""A usual response, of its connection's lines and its own, and the length of its body and that."""
STREAM = b"HTTP/1.1 200 OK\r\n%b%btransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
"""The same, of a stream that has come as a whole."""
_names = set(_FRAMING)
"""The names of headers that were sent, in lower case. Applications have few of them."""
_name_of, _line_of = itemgetter(0), b": ".join
_BROKEN = (500, "internal error")
_log = logging.getLogger(__name__)


class CycleConnection(Protocol):
    """The connection, as its cycles use it."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    write_paused: bool
    early_bytes_sent: bool

    def without_early_bytes(self, first: bytes) -> bytes: ...
    def default_headers(self) -> bytes: ...
    def draining(self) -> bool: ...
    def resume_reading(self) -> None: ...
    async def drain(self, cycle: RequestCycle) -> None: ...
    def response_complete(self, cycle: RequestCycle) -> None: ...
    def application_failed(self, cycle: RequestCycle, status: int, message: str) -> None: ...
    def answer_in_task(self, cycle: RequestCycle, app: App) -> None: ...


class FastPath(Protocol):
    """What an application answers the usual requests with the same head by, within the calls that bring bytes: without a task.

    An application has it where its method ``fast_path`` gives one for the scope of a request, whose ``content-length`` is then
    not to be looked at.
    """

    def begin(self, cycle: RequestCycle, body: bytes) -> bool:
        """Begin to answer, and set ``cycle.fast_run``. ``False``: the request needs a task, and nothing was done."""


class FastRun(Protocol):
    """One request that is answered without a task."""

    def continue_in_task(self) -> None:
        """Continue in a task, also because the client has left."""


class Source(Protocol):
    """The origin of pushed pieces of a response."""

    def pause(self) -> None:
        """The client reads slower than they arrive."""

    def resume(self) -> None:
        """The client has caught up, or is gone."""


@mypyc_attr(allow_interpreted_subclasses=True)
class RequestCycle:
    """A request under way.

    The answer's head goes out with the first piece of its body, empty or not, as ASGI has it: one write for both.
    ``receive`` may be awaited by several tasks, and gives ``http.disconnect`` as soon as the client's end is seen.
    """

    __slots__ = (
        *(
            "body",
            "chunked",
            "complete",
            "disconnected",
            "fast_run",
            "keep_alive",
            "connection",
            "content_left",
            "more_body",
            "scope",
            "started",
            "task",
        ),
        *("end_delivered", "is_spent", "_head", "_has_no_body", "_on_disconnect", "_source", "_waiters", "_wants_continue"),
    )

    def __init__(
        self,
        connection: CycleConnection,
        scope: MutableMapping[str, Any],
        keep_alive: bool,
        wants_continue: bool,
        body: bytes | None = None,
    ) -> None:
        """``body``: all of it, if it has arrived."""
        self.connection, self.scope, self.keep_alive = connection, scope, keep_alive
        self.body: bytes | bytearray = body or b""
        """Received data that the application did not get yet."""
        self.more_body = body is None
        self.end_delivered = False
        """Whether the application was notified of the end of the body."""
        self.disconnected = False
        self.fast_run: FastRun | None = None
        """The run that answers the request, as long as it has no task."""
        self.started = False
        self.complete = False
        self._head = b""
        self._on_disconnect: Callable[[], None] | None = None
        self._source: Source | None = None
        self.task: asyncio.Task[None] | None = None
        self._waiters: list[asyncio.Future[None]] | None = None
        self._wants_continue = wants_continue
        self.is_spent = False
        """Whether it is complete, and nobody knows it any more but its connection: ``renew`` makes it the next one's."""

    def renew(self, scope: MutableMapping[str, Any], body: bytes) -> None:
        """Be the next request of the connection, of which all has arrived."""
        self.scope, self.body = scope, body
        self.started = self.complete = self.is_spent = False

    async def run(self, app: App, tasks: set[Any]) -> None:
        """The application's whole work on this request."""
        try:
            await app(self.scope, self.receive, self.send)
            if not self.complete and not self.disconnected:
                _log.error("the application ended %s %s without a complete response", self.scope["method"], self.scope["path"])
                self.connection.application_failed(self, *_BROKEN)
        except asyncio.CancelledError:
            self.connection.application_failed(self, 503, "the gateway is shutting down")
            raise
        except Exception:  # noqa: BLE001  # whatever an application raises ends its own request only
            if not self.disconnected:
                _log.exception("the application failed at %s %s", self.scope["method"], self.scope["path"])
                self.connection.application_failed(self, *_BROKEN)
        finally:
            tasks.discard(self.task)
            self.task = None

    @property
    def head_sent(self) -> bool:
        """Whether any part of the response was sent."""
        return self.started and not self._head

    # Receiving.

    async def receive(self) -> Message:
        while True:
            if self.disconnected or self.complete:
                return {"type": "http.disconnect"}
            if self.body or not (self.more_body or self.end_delivered):
                body, self.body = self.body, b""
                self.end_delivered = not self.more_body
                self.connection.resume_reading()
                return {"type": "http.request", "body": bytes(body), "more_body": self.more_body}
            if self._wants_continue:
                self._wants_continue = False
                self.connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.connection.resume_reading()
            await self._wait_for_change()

    def take_rest(self) -> bytes | None:
        """The rest of the body that ``receive`` would return, if it is complete: the application then knows the end."""
        if self.more_body or self.end_delivered or self.disconnected or self.complete:
            return None
        body, self.body = self.body, b""
        self.end_delivered = True
        self.connection.resume_reading()
        return bytes(body)

    def add_body(self, data: bytes) -> int:
        """Add a piece of the body; returns how many bytes are held now."""
        self._wants_continue = False
        if not self.body:
            self.body = data
        else:
            if isinstance(self.body, bytes):
                self.body = bytearray(self.body)
            self.body += data
        if self._waiters:
            self._wake()
        return len(self.body)

    def end_body(self) -> None:
        """The body has ended."""
        self.more_body = False
        self._wants_continue = False
        if self._waiters:
            self._wake()

    def disconnect(self) -> None:
        """The client is gone."""
        self.disconnected = True
        if self._source is not None:
            self._source.resume()
        if self._waiters:
            self._wake()
        if self._on_disconnect is not None:
            self._on_disconnect()
        elif self.fast_run is not None:
            self.fast_run.continue_in_task()

    def send_early_byte(self) -> None:
        """Send the next byte of the answer that is certain, if there is one: only a client that is gone is affected.

        Before the answer that is how every answer begins; amid one in chunks a zero, with which the next chunk's size begins.
        """
        if self.complete:
            return
        if not self.head_sent:
            self.connection.transport.write(EARLY)
            self.connection.early_bytes_sent = True
        elif self.chunked:
            self.connection.transport.write(b"0")

    def on_disconnect(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the client leaves, which is cheaper than a task that waits."""
        self._on_disconnect = callback
        if self.disconnected:
            self.connection.loop.call_soon(callback)

    def off_disconnect(self) -> None:
        """Call nothing any more."""
        self._on_disconnect = None

    async def _wait_for_change(self) -> None:
        # A future each: one that two tasks await is cancelled with the first of them.
        waiter = self.connection.loop.create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters or (), None
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # Sending.

    async def send(self, message: Message) -> None:
        if self.connection.write_paused and not self.disconnected:
            await self.connection.drain(self)
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.body" and self.started and not self.complete:
            self._send_body(message.get("body", b""), message.get("more_body", False))
        elif kind == "http.response.start" and not self.started:
            self._prepare_head(message["status"], list(message.get("headers", ())))
        else:
            stage = "complete" if self.complete else "begun" if self.started else "not begun"
            raise RuntimeError(f"the application sent {kind!r} where the answer is {stage}")

    async def respond(self, status: int, headers: Sequence[tuple[bytes, bytes]] | bytes, body: bytes) -> None:
        """A whole response, like two messages to ``send``; ``headers``, or their ``header_lines``, without its length."""
        if self.connection.write_paused and not self.disconnected:
            await self.connection.drain(self)
        if not self.disconnected:
            self.respond_now(status, headers, body)

    def respond_now(self, status: int, headers: Sequence[tuple[bytes, bytes]] | bytes, body: bytes) -> None:
        """``respond``, for a client that is connected and reads."""
        if self.started:
            raise RuntimeError("the application sent a response where one has begun")
        if type(headers) is not bytes:
            self._prepare_head(status, [*headers, (_LENGTH, b"%d" % len(body))])
        elif status == 200 and self.respond_at_once(WHOLE, headers, body):
            return
        else:
            self._begin(status, headers, len(body))
        self._write(b"" if self._has_no_body else body, False)

    def respond_at_once(self, form: bytes, lines: bytes, body: bytes) -> bool:
        """A response with status 200 in one write, in the ``form`` ``WHOLE`` or ``STREAM``, for a client that is connected and
        reads; returns whether it was sent. It is not if its head needs more than its ``lines``, or it has no body.
        """
        connection = self.connection
        if (
            self.started
            or not (self.keep_alive and body)
            or self.more_body
            or connection.early_bytes_sent
            or connection.draining()
            or self.scope["method"] == "HEAD"
        ):
            return False
        self.started = self.complete = True
        self.is_spent = self.task is None
        connection.transport.write(form % (connection.default_headers(), lines, len(body), body))
        if self._waiters:
            self._wake()
        connection.response_complete(self)
        return True

    def respond_stream_now(self, lines: bytes, body: bytes) -> None:
        """``start`` with status 200, and ``push_last``: a stream that has come as a whole, for a client that reads."""
        if self.disconnected or not self.respond_at_once(STREAM, lines, body):
            self.start(200, lines)
            self.push_last(body)

    def start(self, status: int, lines: bytes) -> None:
        """The head of a response in pieces; ``lines`` are its ``header_lines``. It is sent with the first piece."""
        if self.started:
            raise RuntimeError("the application sent a response where one has begun")
        if not self.disconnected:
            self._begin(status, lines, -1)

    async def send_piece(self, data: bytes, more: bool) -> None:
        """A piece of a response that has started, as in a message to ``send``."""
        if self.connection.write_paused and not self.disconnected:
            await self.connection.drain(self)
        if not self.disconnected:
            self._send_body(data, more)

    def push(self, data: bytes) -> None:
        """A piece of a response that has started, and not the last: sent at once, however slow the client is.

        For a ``Source`` that is coupled.
        """
        if self.disconnected:
            return
        if self.chunked and data and not self._head:
            self.connection.transport.write(CHUNK % (len(data), data))
        else:
            self._send_body(data, True)

    def push_last(self, data: bytes) -> None:
        """The end of a response that has started, with ``data`` as its last piece, to a client that is there and reads."""
        if not self.disconnected:
            self._send_body(data, False)

    def couple(self, source: Source | None) -> None:
        """``source`` is paused while the client reads slower than is pushed; ``None``: nothing is pushed any more."""
        self._source = source
        if source is not None and self.connection.write_paused and not self.disconnected:
            source.pause()

    def write_paused(self, paused: bool) -> None:
        """The client does not keep up, or does again."""
        source = self._source
        if source is not None and not self.disconnected:
            source.pause() if paused else source.resume()

    def _begin(self, status: int, lines: bytes, length: int) -> None:
        """The head, of lines that frame nothing; ``length`` of the body, -1 if only its end shows it."""
        self.started = True
        scope, connection, self.content_left = self.scope, self.connection, length
        self._has_no_body = scope["method"] == "HEAD" or status in (204, 304)
        if length >= 0:
            self.chunked, framing = False, b"content-length: %d\r\n" % length
        else:
            self.chunked = not self._has_no_body and scope["http_version"] == "1.1"
            framing = _CHUNKED if self.chunked else b""
        if self._must_close():
            self.keep_alive = False
            framing += _CLOSE
        first = _STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status
        self._head = b"".join((first, connection.default_headers(), lines, framing, b"\r\n"))

    def _prepare_head(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        lines = header_lines(headers)
        framing = {name: value for given, value in headers if (name := given.lower()) in _FRAMING}
        self.started = True
        first = _STATUS.get(status) or b"HTTP/1.1 %d \r\n" % status
        framed = self._framing_headers(status, framing)
        self._head = b"%b%b%b%b\r\n" % (first, self.connection.default_headers(), lines, framed)

    def _framing_headers(self, status: int, framing: dict[bytes, bytes]) -> bytes:
        """Headers that determine the end of the body, if the application set none."""
        length = framing.get(_LENGTH)
        self.content_left = int(length) if length is not None else -1
        self._has_no_body = self.scope["method"] == "HEAD" or status in (204, 304)
        self.chunked = length is None and not self._has_no_body and self.scope["http_version"] == "1.1"
        extra = _CHUNKED if self.chunked and _CODING not in framing else b""
        if (_CONNECTION in framing and b"close" in framing[_CONNECTION].lower()) or self._must_close():
            self.keep_alive = False
            if _CONNECTION not in framing:
                extra += _CLOSE
        return extra

    def _must_close(self) -> bool:
        """Whether the connection ends with this response."""
        if (
            not self.keep_alive
            or self.connection.draining()
            or (self.content_left < 0 and not self._has_no_body and not self.chunked)
        ):
            return True
        # A client that waits for 100 Continue may send or omit the body: where its next request begins is unknown.
        return self.more_body and (self._wants_continue or _announced(self.scope) > SMALL)

    def _send_body(self, body: bytes, more: bool) -> None:
        if self.chunked:
            data = CHUNK % (len(body), body) if body else b""
            if not more:
                data += b"0\r\n\r\n"
        elif self._has_no_body:
            data = b""
        else:
            data = self._checked_length(body, more)
        self._write(data, more)

    def _write(self, data: bytes, more: bool) -> None:
        """Write the head, if it was not sent, and the framed data."""
        if self._head:
            head = self.connection.without_early_bytes(self._head) if self.connection.early_bytes_sent else self._head
            data, self._head = head + data, b""
        if data:
            self.connection.transport.write(data)
        if not more:
            self.complete = True
            if self._waiters:
                self._wake()
            self.connection.response_complete(self)

    def _checked_length(self, body: bytes, more: bool) -> bytes:
        if self.content_left >= 0:
            self.content_left -= len(body)
            if self.content_left < 0 or (self.content_left and not more):
                raise RuntimeError("the response body does not match its content-length")
        return body


def header_lines(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Headers as lines of a head, names in lower case. Raises ``RuntimeError`` for values that no header may contain."""
    if not set(map(_name_of, headers)) <= _names:
        headers = [(_checked(name), value) for name, value in headers]
    lines = b"\r\n".join([*map(_line_of, headers), b""])
    if lines.translate(None, _VALUE) != b"\r\n" * len(headers):
        raise RuntimeError("a response header contains a line break or another character that is not allowed")
    return lines


def _checked(name: bytes) -> bytes:
    """A header's name in lower case."""
    if not _NAME.fullmatch(name):
        raise RuntimeError(f"the response has a header with an invalid name: {name!r}")
    name = name.lower()
    if len(_names) < 1000:
        _names.add(name)
    return name


def _announced(scope: MutableMapping[str, Any]) -> int:
    """Bytes of the request's body according to its head; more than any limit if the head has no length."""
    length: bytes | None = scope["polychat.fields"].get(b"content-length")
    return SMALL + 1 if length is None else int(length)

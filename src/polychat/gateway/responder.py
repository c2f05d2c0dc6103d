"""The connection to one client: what is sent, and whether the client is still connected."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from math import ceil
from typing import Any, Protocol

from ..errors import BackendError, redact
from ..http.server.asgi import Headers, Receive, Send, headers_in, on_leaving, respond
from ..http.server.cycle import RequestCycle, Source, header_lines
from ..wire.faults import Fault, helps_to_retry, kind_of
from .observe.record import Record
from .reply_copy import ReplyCopy

MOST_OF_END = 4
"""Bytes at the end of a piece that show whether it ends within an event."""
_STREAM = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
"""Proxies must not buffer a stream."""
_WHOLE = [(b"cache-control", b"no-store")]
_NO_RETRY = (b"x-should-retry", b"false")
"""OpenAI's and Anthropic's clients obey it, for every status."""


def end_of(latest: bytes, data: bytes) -> bytes:
    """The end of what was sent, after ``data``: with ``latest`` before it, if ``data`` alone does not show where events end."""
    return data if len(data) >= MOST_OF_END else latest[-MOST_OF_END:] + data


@lru_cache(maxsize=64)
def _usual_lines(content_type: str, stream: bool) -> bytes:
    return header_lines([(b"content-type", content_type.encode("latin-1")), *(_STREAM if stream else _WHOLE)])


def usual_lines(id_header: bytes, request_id: str, content_type: str, *, stream: bool) -> bytes:
    """The ``header_lines`` of every response, whole or streamed. ``id_header``: a dialect's own for the request's id."""
    name = request_id.encode()  # characters that a header can contain: see ``context.id_in``
    lines = b"x-request-id: %b\r\n%b" % (name, _usual_lines(content_type, stream))
    if id_header:
        lines += b"%b: %b\r\n" % (id_header, name)
    return lines


class ClientDialect(Protocol):
    """The part of a dialect that does not depend on the request: its name, header for ids, list of models, errors."""

    @property
    def name(self) -> str: ...
    @property
    def id_header(self) -> bytes: ...
    @property
    def models_path(self) -> str: ...
    def refusal(self, fault: Fault, request_id: str | None, headers: Mapping[bytes, bytes]) -> tuple[int, bytes]: ...


class Refused(Exception):  # a request is
    """A request that no backend answers, and why."""

    def __init__(self, fault: Fault, headers: Headers | None = None) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.headers = headers or []


class Responder:
    """Sends one response: whole, or in pieces from ``start`` to ``last``."""

    # Attributes that are seldom set are the class's until then.
    started = left = False
    latest = b""
    """The piece that was sent last, or its last bytes."""
    _taps: tuple[Callable[[bytes], bytes], ...] = ()
    _copy: ReplyCopy[Any] | None = None
    _copied: Callable[[], None] | None = None
    stopped: BackendError | None = None
    """Why the gateway ends the request before its time, if it does."""
    _drain_seconds = 0.0
    _draining: asyncio.TimerHandle | None = None
    _task: asyncio.Task[None] | None = None
    _stop_listening: Callable[[], None] | None = None
    """Stops detecting that the client leaves, while that is active."""

    def __init__(self, send: Send, dialect: ClientDialect, record: Record, headers: Mapping[bytes, bytes]) -> None:
        """``headers`` are the request's."""
        self._send, self._dialect, self._record, self._headers = send, dialect, record, headers
        cycle = getattr(send, "__self__", None)
        self._cycle = cycle if isinstance(cycle, RequestCycle) else None
        self.more: Headers = []
        """Headers of the answer in addition to the usual ones."""

    # Sending

    def tap(self, change: Callable[[bytes], bytes]) -> None:
        """Pass each piece of the response from here on, and a whole one, through ``change``; not heartbeats."""
        own = 0 if self._copy is None else 1  # a copy has what is sent
        self._taps = (*self._taps[: len(self._taps) - own], change, *self._taps[len(self._taps) - own :])

    def copy_to(self, copy: ReplyCopy[Any], over: Callable[[], None]) -> None:
        """Let ``copy`` have all of the response; ``over`` is called when the request is over."""
        self._copy, self._copied = copy, over
        self._taps = (*self._taps, copy.piece)

    @property
    def id_headers(self) -> Headers:
        """The headers with the request's id."""
        name = self._record.request_id.encode()
        return [(header, name) for header in (b"x-request-id", self._dialect.id_header) if header]

    def _tapped(self, data: bytes) -> bytes:
        for change in self._taps:
            data = change(data)
        return data

    def lines(self, content_type: str, *, stream: bool) -> bytes:
        """The ``header_lines`` of every response, whole or streamed."""
        return usual_lines(self._dialect.id_header, self._record.request_id, content_type, stream=stream)

    def whole_headers(self, content_type: str) -> Headers:
        """The headers of every response in one piece that is no chat's."""
        headers = headers_in(self.lines(content_type, stream=False))
        meter = self._record.meter
        return headers if meter is None else [*headers, *meter.headers(self._record)]

    async def start(self, status: int, lines: bytes) -> None:
        """The head of a response in pieces; ``lines`` are its ``header_lines``."""
        self.started = True
        self._record.status = status
        if self._copy is not None:
            self._copy.start(status, lines, stream=True)
        if self._cycle is not None:
            self._cycle.start(status, lines)
        else:
            await self._send({"type": "http.response.start", "status": status, "headers": headers_in(lines)})

    def resume(self, latest: bytes) -> None:
        """A response has begun elsewhere; ``latest`` is the end of the piece that was sent last."""
        self.started, self.latest = True, latest

    def piece(self, data: bytes) -> Awaitable[None]:
        """A piece of the response, to be awaited at once."""
        if self._taps:
            data = self._tapped(data)
        # A first piece may be long, and so may be the wait for the next, which is pushed.
        self.latest = end_of(self.latest, data)[-MOST_OF_END:]
        return self._sent(data, more=True)

    def _sent(self, data: bytes, *, more: bool) -> Awaitable[None]:
        if self._cycle is not None:
            return self._cycle.send_piece(data, more)
        return self._send({"type": "http.response.body", "body": data, "more_body": more})

    @property
    def pushes(self) -> bool:
        """Whether pieces may be pushed: our own server supports it, with others each piece is awaited."""
        return self._cycle is not None

    def push(self, data: bytes) -> None:
        """``piece``, without waiting: for a coupled source."""
        cycle = self._cycle
        assert cycle is not None
        if self._taps:
            data = self._tapped(data)
        self.latest = end_of(self.latest, data)
        cycle.push(data)

    def couple(self, source: Source | None) -> None:
        """Pause and resume ``source``, whose pieces are pushed, as the client reads; ``None``: no more is pushed."""
        assert self._cycle is not None
        self._cycle.couple(source)

    def heartbeat(self, data: bytes) -> Awaitable[None]:
        """Send a heartbeat, which is not a piece, to be awaited at once."""
        if self._copy is not None:
            self._copy.beat(data)
        return self._sent(data, more=True)

    def last(self, data: bytes = b"") -> Awaitable[None]:
        """The end of a response in pieces, with ``data`` as the last of them, to be awaited at once."""
        self.stop_listening()
        if self._taps and data:
            data = self._tapped(data)
        if self._copy is not None:
            self._copy.end()
        return self._sent(data, more=False)

    def whole(self, status: int, headers: Headers | bytes, body: bytes) -> Awaitable[None]:
        """A response in one piece, to be awaited at once; ``headers`` may be ``header_lines``."""
        self.started = True
        self._record.status = status
        if self._stop_listening is not None:
            self.stop_listening()
        if self._copy is not None:
            self._copy.start(status, headers if isinstance(headers, bytes) else header_lines(headers), stream=False)
        if self._taps:
            body = self._tapped(body)
        if self._copy is not None:
            self._copy.end()
        return respond(self._send, status, headers, body)

    @property
    def cycle(self) -> RequestCycle | None:
        """The request at our own server; ``None`` at any other."""
        return self._cycle

    def switch_protocol(self) -> None:
        """Switch the connection to another protocol at once: the response is 101."""
        self.started, self._record.status = True, 101
        self.stop_listening()

    async def json(self, body: bytes, status: int = 200) -> None:
        """A whole JSON response that must not be cached."""
        await self.whole(status, [*self.whole_headers("application/json"), *self.more], body)

    async def refuse(self, fault: Fault, headers: Headers | None = None) -> None:
        """Send the failure in the request's dialect; does nothing if a response has begun, which has its own end."""
        record = self._record
        record.error = record.error or redact(fault.message, 400)
        if self.started or (self.left and not self._is_read):
            return
        status, body = self._dialect.refusal(fault, record.request_id, self._headers)
        answer_headers = [*self.whole_headers("application/json"), *(headers or [])]
        if fault.retry_after is not None:
            answer_headers += retry_after(fault.retry_after)
        if not helps_to_retry(fault):
            answer_headers.append(_NO_RETRY)
        await self.whole(status, answer_headers, body)

    def break_off(self, error: Exception) -> None:
        """End a response that has begun and cannot be completed, unless it is complete already.

        The connection ends. Raises ``error`` at another server than ours, which ends it then.
        """
        self.stop_listening()
        if self._cycle is None:
            raise error
        self._cycle.connection.application_failed(self._cycle, 500, "internal error")

    # Clients that leave

    @property
    def streams(self) -> bool:
        """Whether a response has begun and is not over, and the client is connected."""
        return self.started and not self.left and self._stop_listening is not None

    def listen(self, receive: Receive, drain_seconds: float) -> None:
        """From here on the running task is cancelled when the client leaves, or ``drain_seconds`` later."""
        self._drain_seconds, cycle = drain_seconds, self._cycle
        if cycle is not None:
            self._task = cycle.task
            cycle.on_disconnect(self._has_left)
            self._stop_listening = cycle.off_disconnect
        else:
            self._task = asyncio.current_task()
            self._stop_listening = on_leaving(receive, self._has_left)

    def stop_listening(self) -> None:
        stop, self._stop_listening = self._stop_listening, None
        if stop is not None:
            stop()

    def close(self) -> None:
        """The request is over."""
        if self._stop_listening is not None:
            self.stop_listening()
        if self._draining is not None:
            self._draining.cancel()
        if self._copied is not None:
            self._copied()

    def stop(self, error: BackendError) -> None:
        """End the request now: the running task is cancelled, and the client gets the error."""
        if not self.left and self.stopped is None and self._task is not None and self._stop_listening is not None:
            self.stopped = error
            self._task.cancel()

    def absorbs_cancellation(self) -> bool:
        """Whether the running task was cancelled because the client left, or by ``stop``; if so, the cancellation is undone."""
        if not (self.left or self.stopped) or self._task is None:
            return False
        self._task.uncancel()
        return True

    def _has_left(self) -> None:
        if self.left or self._stop_listening is None:
            return  # a server may report it twice, and late
        self.left = True
        if self._copy is None or not self._copy.goes_on(self._give_up):
            self._give_up()

    def _give_up(self) -> None:
        """Nobody gets the response any more."""
        if self._drain_seconds:
            # The request continues without a receiver: for backends that bill it anyway, and for replies that are stored.
            self._draining = asyncio.get_running_loop().call_later(self._drain_seconds, self._cancel)
        else:
            self._cancel()

    def _cancel(self) -> None:
        assert self._task is not None
        if self._copy is None or not self._copy.goes_on(self._cancel):  # others may have joined meanwhile
            self._task.cancel()

    @property
    def _is_read(self) -> bool:
        return self._copy is not None and self._copy.has_readers


def retry_after(seconds: float) -> Headers:
    """In whole seconds, as in HTTP, and in the milliseconds that OpenAI's and Anthropic's clients read first."""
    left = max(0.0, seconds)
    return [(b"retry-after", b"%d" % ceil(left)), (b"retry-after-ms", b"%d" % ceil(left * 1000))]


def marking_final(send: Send) -> Send:
    """``send`` that adds ``x-should-retry: false`` to each refusal whose status means that the same request fails again.

    For responses that no ``Responder`` sends.
    """

    async def marked(message: Any) -> None:
        if message["type"] == "http.response.start" and 400 <= (status := message["status"]) < 500:
            headers = list(message.get("headers", ()))
            if _NO_RETRY not in headers and not helps_to_retry(Fault("", kind_of(status), status)):
                message = {**message, "headers": [*headers, _NO_RETRY]}
        await send(message)

    return marked

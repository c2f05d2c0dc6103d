"""The reply to a request of the pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Protocol

from multidict import CIMultiDict

from ...errors import BackendError, NotReady, StatusError
from ...events import Event
from ...redact import Redaction
from ...wire.contract import Reader
from ..body import CLOSED, MAX_BODY, Body
from ..coding import decoder, ended, taken
from ..timeouts import ExchangeTimer
from .connection import PoolConnection
from .event_pipe import EventPipe
from .heads import PoolRequest
from .push import SinkPush


class ConnectionOwner(Protocol):
    """The owner of a reply's connection."""

    def give_back(self, connection: PoolConnection) -> None:
        """The reply is complete: the connection can be reused."""

    def linger(self, connection: PoolConnection) -> None:
        """The reply's content has arrived, but its last bytes may be missing."""


class PooledResponse(Body):
    """The counterpart of ``StreamResponse`` for the pool. The connection of a complete reply goes back to its pool."""

    status: int = 0
    raw_headers: Sequence[tuple[bytes, bytes]] = ()

    def __init__(
        self, pool: ConnectionOwner, connection: PoolConnection, request: PoolRequest, *, sent_at: float, provider: str | None
    ) -> None:
        """Raises ``BadReply`` for a compression that was not requested."""
        self._provider, self._body = provider, None
        self._pool, self._connection, self._request, self._sent_at = pool, connection, request, sent_at
        self._headers: CIMultiDict[str] | None = None
        self.status, self._reason, self.raw_headers = connection.status, connection.reason, connection.headers
        self._secrets = secrets = request.secrets
        self._redaction: Redaction | None = None
        """Of a body that is read in pieces."""
        if secrets is not None:
            self._reason, self.raw_headers = secrets.whole(self._reason), secrets.headers(self.raw_headers)
        coding = connection.coding
        self._decoder = decoder(coding if secrets is None else secrets.whole(coding)) if coding else None
        self._body_begun = self._closed = False
        self._failure: BackendError | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers; names in any case."""
        if self._headers is None:
            self._headers = CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw_headers)
        return self._headers

    @property
    def url(self) -> str:
        return str(self._request.place.url)

    def error(self, detail: str = "") -> StatusError:
        """As in ``StreamResponse``; a bot wall is recognized if the body was read before."""
        from ..statuses import status_error  # it is an error of aiohttp's too, which is slow to load

        return status_error(
            self.status,
            self._reason.decode("latin-1"),
            self._request.place.url,
            self.headers,
            method=self._request.method,
            sent=dict(self._request.headers),
            detail=detail,
            body=self._body or b"",
            provider=self._provider,
        )

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._connection.timer.stop()
            self._connection.wake()  # another task may be reading
            self._pool.give_back(self._connection)

    def finish(self) -> None:
        if not self._closed:
            connection = self._connection
            if connection.done:
                self.close()
                return
            self._closed = True
            connection.timer.stop()
            connection.wake()
            self._pool.linger(connection)

    async def read(self, limit: int = MAX_BODY) -> bytes:
        connection = self._connection
        if connection.done and not (self._closed or self._body_begun) and self._decoder is None and self._failure is None:
            self._body = connection.take_body()  # all of it arrived with the head
            self.close()
            if len(self._body) <= limit:
                self._body = self._body if self._secrets is None else self._secrets.whole(self._body)
                return self._body
            raise self._bad(f"the reply has more than {limit:,} bytes, which is the limit")
        return await super().read(limit)

    async def piece(self) -> bytes:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise NotReady(CLOSED)
        redaction = self._redaction
        if redaction is None and self._secrets is not None:
            redaction = self._redaction = Redaction(self._secrets)
        try:
            while data := await (self._next_raw() if self._decoder is None else self._next_decoded()):
                if redaction is None or (data := redaction.feed(data)):
                    return data
        except BackendError as error:
            error.provider = error.provider or self._provider
            self._failure = self.redacted(error)
            self.close()
            if redaction is None or not (data := redaction.end()):
                raise
            return data
        return b"" if redaction is None else redaction.end()

    def held(self) -> bytes:
        """What ``piece`` returns without waiting; empty if it has to wait, to decompress, or to raise."""
        connection = self._connection
        if not connection.holds_some or self._decoder is not None or self._closed or self._failure is not None:
            return b""
        if not connection.done and self._is_late():
            return b""
        self._body_begun = True
        data = connection.take_body()
        if self._secrets is None:
            return data
        if self._redaction is None:
            self._redaction = Redaction(self._secrets)
        return self._redaction.feed(data)

    def skip_held(self, redaction: Redaction | None) -> bool:
        """Take what ``held`` would return from a caller that has read it already, with ``redaction``; ``False``: it is late."""
        connection = self._connection
        if not connection.done and self._is_late():
            return False
        self._body_begun, self._redaction = True, redaction
        connection.take_body()
        return True

    # A body that is pushed

    async def pipe(self, sink: Callable[[bytes], bool]) -> None:
        """Pass the rest of the body to ``sink``, each read in the call that receives it, until ``sink`` returns true.

        The caller sleeps meanwhile. ``sink`` must not block; its exceptions end the pipe and are raised here, as are those of
        ``piece``, after all received bytes were passed. Between ``pause`` and ``resume`` nothing is read or passed; bytes that
        arrive all the same, at most as many as are held for a caller that waits, are passed afterwards.
        """
        if self._can_push() and await self._pushed(sink):
            return
        while data := await self.piece():
            if sink(data) or await self._pushed(sink):
                return

    def _can_push(self) -> bool:
        """Whether the next read can be pushed as it is: nothing is held, and the body has begun."""
        is_plain = self._decoder is None and self._body_begun and (self._redaction is not None or self._secrets is None)
        return is_plain and not (self._closed or self._failure is not None or self._connection.holds_some)

    def pause(self) -> None:
        """The receiver of piped data cannot keep up."""
        if not self._closed:
            self._connection.pause_sink()

    def resume(self) -> None:
        """The receiver of piped data can take more."""
        if not self._closed:
            self._connection.resume_sink()

    def event_pipe(self, reader: Reader, change: Callable[[list[Event]], list[Event]] | None = None) -> EventPipe:
        """Pushes the later batches of ``events(reader)``, each through ``change``, after the first were read."""
        return EventPipe(self, reader, change)

    @property
    def redaction(self) -> Redaction | None:
        """What removes credentials from a body that is read in pieces; for a ``Push``."""
        return self._redaction

    async def _pushed(self, sink: Callable[[bytes], bool]) -> bool:
        """Push until something else has to be done; returns whether ``sink`` accepts no more."""
        connection = self._connection
        push = SinkPush(connection, sink, self._redaction)
        if self._decoder is None:  # decompressed data is produced only as fast as it is read
            push.start()
        try:
            while not push.over and (connection.sink_paused or push.goes_on):
                await connection.next_change()
                if self._closed:
                    raise NotReady(CLOSED)
        finally:
            push.stop()
        if push.error is not None:
            raise push.error
        return push.over

    async def _next_decoded(self) -> bytes:
        decoder_in_use = self._decoder
        assert decoder_in_use is not None
        while not (data := taken(decoder_in_use)):
            if not (raw := await self._next_raw()):
                ended(decoder_in_use)
                return b""
            decoder_in_use.feed(raw)
        return data

    async def _next_raw(self) -> bytes:
        """The next bytes of the connection, empty at the end of the body."""
        connection = self._connection
        timer = connection.timer
        timer_started = False
        while not (data := connection.take_body()):
            if connection.done:
                return b""
            if connection.error is not None:
                raise connection.error
            if not timer_started:  # once: waking without a byte of body does not show that the server is alive
                timer_started = True
                self._start_timer(timer)
            await connection.next_change()
            if self._closed:  # meanwhile: data that arrives now may belong to another request
                raise NotReady(CLOSED)
        if timer_started:
            timer.stop()
        self._body_begun = True
        if not connection.done and self._is_late():
            raise timer.timeouts.past()  # or one that never finishes and always has data would never end
        return data

    def _is_late(self) -> bool:
        """Whether the time for the whole request is over."""
        connection = self._connection
        end = connection.timer.end
        return end != inf and connection.loop.time() >= end

    def _start_timer(self, timer: ExchangeTimer) -> None:
        if self._body_begun:
            timer.wait("idle", self._connection.loop.time(), timer.timeouts.idle)
        else:
            timer.wait("first", self._sent_at, timer.timeouts.first)

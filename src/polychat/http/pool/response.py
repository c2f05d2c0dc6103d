"""The reply to a request of the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Protocol

from multidict import CIMultiDict

from ...errors import BackendError, NotReady, StatusError
from ...redact import Redaction
from ..body import CLOSED, MAX_BODY, Body
from ..coding import decoder, ended, taken
from ..timeouts import ExchangeTimer
from .connection import Connection
from .heads import PoolRequest


class ConnectionOwner(Protocol):
    """Who the connection of a reply goes back to."""

    def give_back(self, connection: Connection) -> None:
        """The reply has come whole: the connection is for the next."""

    def linger(self, connection: Connection) -> None:
        """The reply's words have come, and its last bytes may still."""


class PooledResponse(Body):
    """What ``StreamResponse`` is to ``StreamSession``. A connection whose reply has come whole goes back to its pool."""

    def __init__(
        self, pool: ConnectionOwner, connection: Connection, request: PoolRequest, *, sent_at: float, provider: str | None
    ) -> None:
        """Raises ``BadReply`` for a compression that was not asked for."""
        self._provider, self._body = provider, None
        self._decoder = decoder(connection.coding.lower()) if connection.coding else None
        self._pool, self._connection, self._request, self._sent_at = pool, connection, request, sent_at
        self._headers: CIMultiDict[str] | None = None
        self._status, self._reason, self._raw_headers = connection.status, connection.reason, connection.headers
        self._secrets = secrets = request.secrets
        self._redaction: Redaction | None = None
        """Of a body that is read in pieces."""
        if secrets is not None:
            self._reason, self._raw_headers = secrets.whole(self._reason), secrets.headers(self._raw_headers)
        self._body_begun = self._closed = False
        self._failure: BackendError | None = None

    @property
    def status(self) -> int:
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in any case."""
        if self._headers is None:
            self._headers = CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in self._raw_headers)
        return self._headers

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        return self._raw_headers

    @property
    def url(self) -> str:
        return str(self._request.place.url)

    def error(self, said: str = "") -> StatusError:
        """As ``StreamResponse`` has it; a bot wall is told of when the body was read before."""
        from ..statuses import status_error  # it is an error of aiohttp's too, which is slow to load

        return status_error(
            self._status,
            self._reason.decode("latin-1"),
            self._request.place.url,
            self.headers,
            method=self._request.method,
            sent=dict(self._request.headers),
            said=said,
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
            self._closed = True
            self._connection.timer.stop()
            self._connection.wake()
            self._pool.linger(self._connection)

    async def read(self, limit: int = MAX_BODY) -> bytes:
        connection = self._connection
        if connection.done and not (self._closed or self._body_begun) and self._decoder is None and self._failure is None:
            self._body = connection.take_body()  # all of it came with the head
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
        """The next bytes off the connection, nothing at the end of the body."""
        connection = self._connection
        timer = connection.timer
        timer_started = False
        while not (data := connection.take_body()):
            if connection.done:
                return b""
            if connection.error is not None:
                raise connection.error
            if not timer_started:  # once: what wakes us without a byte of body is no sign of life
                timer_started = True
                self._start_timer(timer)
            await connection.next_change()
            if self._closed:  # meanwhile: what comes now may be for another request
                raise NotReady(CLOSED)
        if timer_started:
            timer.stop()
        self._body_begun = True
        if not connection.done and timer.timeouts.end != inf and connection.loop.time() >= timer.timeouts.end:
            raise timer.timeouts.past()  # or one that is never done, and always has something, would never end
        return data

    def _start_timer(self, timer: ExchangeTimer) -> None:
        if self._body_begun:
            timer.wait("idle", self._connection.loop.time(), timer.timeouts.idle)
        else:
            timer.wait("first", self._sent_at, timer.timeouts.first)

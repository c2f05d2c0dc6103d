"""``StreamResponse``: the response to one request of a session, read once, whole or piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import aiohttp

from ...errors import BackendError, NotReady
from ...redact import Secrets
from ..body import CLOSED, Body
from ..failures import FOREIGN, loss_of
from ..request import OutgoingRequest
from ..statuses import CHALLENGED, StatusError, status_error
from .timer import SessionTimer

_GLANCE = 64 * 1024
"""Bytes of an error page, at most, that are searched for a bot wall."""
_GLANCE_SECONDS = 10.0
"""Seconds, at most, to read them."""


class StreamResponse(Body):
    """A response of ``StreamSession``. ``forget`` is called when it is closed."""

    def __init__(
        self,
        answer: aiohttp.ClientResponse,
        request: OutgoingRequest,
        timer: SessionTimer,
        forget: Callable[[StreamResponse], None],
        provider: str | None = None,
        *,
        secrets: Secrets | None = None,
    ) -> None:
        self._answer = answer
        self._request = request
        self._timer = timer
        self._forget = forget
        super().__init__(provider)
        self._secrets = secrets
        self._content = answer.content
        self._glanced = b""
        self._ahead = b""
        self._loss: BackendError | None = None
        self._closed = False
        self._watched = _closing_of(answer)
        if self._watched is not None:
            self._watched.add_done_callback(self._cut_off)

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; names match in any case."""
        return self._answer.headers

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        return self._answer.raw_headers

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that this response sets, by name."""
        return {name: morsel.value for name, morsel in self._answer.cookies.items()}

    @property
    def url(self) -> str:
        """The address that the response came from, after redirects."""
        return str(self._request.url)

    def error(self, detail: str = "") -> StatusError:
        """The error for this status; it is returned, not raised. ``detail`` is the service's own message, safe to show."""
        error = status_error(
            self.status,
            self._answer.reason or "",
            self._request.url,
            self.headers,
            method=self._request.method,
            sent=self._request.headers,
            detail=detail,
            body=self._glanced,
            provider=self._provider,
        )
        return self.redacted(error)

    async def glance(self) -> None:
        """Read the beginning of an error page, for ``error`` to recognise a bot wall. The body can still be read whole."""
        if self.status not in CHALLENGED or self.content_type != "text/html":
            return
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(_GLANCE_SECONDS):
                while sum(map(len, pieces)) < _GLANCE and (data := await self.piece()):
                    pieces.append(data)
        except TimeoutError:
            pass  # reading continues later; a timeout of the request is raised then
        except BackendError:
            pass  # raised again where the body is read
        self._glanced = self._ahead = b"".join(pieces)

    def close(self) -> None:
        """Release the connection: it is reused if the body was read to its end, else closed. May be called again."""
        if self._closed:
            return
        self._closed = True
        self._timer.stop()
        if self._watched is not None:
            self._watched.remove_done_callback(self._cut_off)
        connection = self._answer.connection
        transport = None if connection is None else connection.transport
        self._answer.close()
        if transport is not None:
            transport.abort()  # close() alone waits until the server has read what we sent
        self._forget(self)

    async def piece(self) -> bytes:
        """The next bytes; empty at the end. Raises ``Truncated`` or ``TimedOut`` after the last byte that arrived."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        if self._loss is not None:
            raise self._loss
        if self._closed:
            raise NotReady(CLOSED)
        try:
            self._timer.wait(self._content)
            return await self._content.readany()
        except FOREIGN as error:
            loss = loss_of(error)
        finally:
            self._timer.rest()
        if self._closed:  # by another task, while this one waited
            raise NotReady(CLOSED)
        return self._lost(loss)

    def _cut_off(self, _: asyncio.Future[None]) -> None:
        # aiohttp 3.14 closes the connection when a chunk is broken, and does not wake a reader of the next one.
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError())

    def _lost(self, loss: BackendError) -> bytes:
        """The unread bytes that arrived before ``loss``, which the next read raises; without any, raises it now."""
        loss.provider = loss.provider or self._provider
        self._loss = self.redacted(loss)
        self._content.set_exception(None)  # type: ignore[arg-type]  # or read_nowait raises it and keeps the bytes
        unread = self._content.read_nowait()
        self.close()
        if unread:
            return unread
        raise loss


def _closing_of(answer: aiohttp.ClientResponse) -> asyncio.Future[None] | None:
    """A future that is done when the connection is closed; ``None`` if the body has arrived already."""
    protocol = None if answer.connection is None else answer.connection.protocol
    closing = None if protocol is None else protocol.closed
    if closing is not None:
        closing.remove_done_callback(_seen)
        closing.add_done_callback(_seen)
    return closing


def _seen(closing: asyncio.Future[None]) -> None:
    if not closing.cancelled():
        closing.exception()  # retrieved, or asyncio would log it for a connection that is no longer used

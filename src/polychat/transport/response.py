"""The reply to one request, read as it comes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from types import TracebackType
from typing import Any

import aiohttp

from ..errors import BackendError, BadReply, NotReady, shown
from ..events import Event, Finish
from ..wire.framing import MAX_LINE, Lines, LineTooLong
from ..wire.reading import Reader
from ._clocks import Clocks
from ._failures import FOREIGN, loss_of
from ._request import Asked
from .statuses import CHALLENGED, StatusError, status_error

MAX_BODY = 16 * 1024 * 1024
"""Bytes of a body that is read whole, unless a caller says otherwise; after decompression."""

_GLANCE = 64 * 1024
"""Bytes of a refusal's page that are looked at for a bot wall."""
_GLANCE_SECONDS = 10.0
_CHARSET = re.compile(r"""(?i)\bcharset\s*=\s*["']?([^\s;"']+)""")


class StreamResponse:
    """A status, headers, and a body, read once: whole (``read``, ``text``, ``json``) or as it comes (``iter_…``, ``events``).

    What breaks midway is raised as ``Truncated`` or ``TimedOut``, after all that came before it.
    """

    def __init__(
        self,
        answer: aiohttp.ClientResponse,
        asked: Asked,
        clocks: Clocks,
        forget: Callable[[StreamResponse], None],
        provider: str | None = None,
    ) -> None:
        self._answer = answer
        self._asked = asked
        self._clocks = clocks
        self._forget = forget
        self._provider = provider
        self._content = answer.content
        self._glanced = b""
        self._ahead = b""
        self._loss: BackendError | None = None
        self._body: bytes | None = None
        self._closed = False
        self._watched = _closing_of(answer)
        if self._watched is not None:
            self._watched.add_done_callback(self._cut_off)

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self._answer.status < 300

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in any case."""
        return self._answer.headers

    @property
    def cookies(self) -> dict[str, str]:
        """What this answer sets."""
        return {name: morsel.value for name, morsel in self._answer.cookies.items()}

    @property
    def url(self) -> str:
        """Where the answer came from, after redirects."""
        return str(self._asked.url)

    @property
    def content_type(self) -> str:
        """In lower case and without parameters; empty where the server gave none."""
        return self._answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def raise_for_status(self) -> None:
        """Raises the error of a status other than 2xx; it is an ``aiohttp.ClientResponseError`` too."""
        if not self.ok:
            raise self.error()

    def error(self, said: str = "") -> StatusError:
        """The error of this status, not raised. ``said`` is what the service says of it, fit to be shown."""
        return status_error(
            self.status,
            self._answer.reason or "",
            self._asked.url,
            self.headers,
            method=self._asked.method,
            sent=self._asked.headers,
            said=said,
            body=self._glanced,
            provider=self._provider,
        )

    async def glance(self) -> None:
        """Look at a refusal's page for a bot wall, for ``error`` to tell of it. It remains to be read."""
        if self.status not in CHALLENGED or self.content_type != "text/html":
            return
        pieces: list[bytes] = []
        try:
            async with asyncio.timeout(_GLANCE_SECONDS):
                while sum(map(len, pieces)) < _GLANCE and (data := await self._next()):
                    pieces.append(data)
        except TimeoutError:
            pass  # ours: whoever reads on waits on; or a clock's, which will be raised again
        except BackendError:
            pass  # raised again where the body is read
        self._glanced = self._ahead = b"".join(pieces)

    async def read(self, limit: int = MAX_BODY) -> bytes:
        """The whole body. Raises ``BadReply`` if it has more than ``limit`` bytes, ``Truncated``, ``TimedOut``."""
        if self._body is None:
            pieces: list[bytes] = []
            size = 0
            try:
                while data := await self._next():
                    pieces.append(data)
                    size += len(data)
                    if size > limit:
                        raise self._bad(f"the reply has more than {limit:,} bytes, which is our limit")
            finally:
                self.close()
            self._body = b"".join(pieces)
        return self._body

    async def text(self) -> str:
        """The body as text, by the charset the server names, else as UTF-8; what does not decode is replaced."""
        body = await self.read()
        named = _CHARSET.search(self.headers.get("Content-Type", ""))
        try:
            return body.decode(named[1] if named else "utf-8", "replace")
        except (LookupError, ValueError):  # no such charset, or one like "base64" that is not for text
            return body.decode("utf-8", "replace")

    async def json(self) -> Any:
        """The body's value. Raises ``BadReply`` that shows its beginning if it is no JSON."""
        body = await self.read()
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            bad = self._bad(f"the reply is not JSON: {shown(body) or 'it is empty'}")
        raise bad

    async def iter_content(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes, a network read a piece."""
        try:
            while data := await self._next():
                yield data
        finally:
            self.close()

    async def iter_lines(self, limit: int = MAX_LINE) -> AsyncGenerator[bytes, None]:
        """The body's lines, without their ends: LF, CRLF or CR. Raises ``BadReply`` for one of more than ``limit`` bytes."""
        lines = Lines(limit)
        try:
            while data := await self._next():
                for line in self._cut(lines, data):
                    yield line
            for line in lines.end():
                yield line
        finally:
            self.close()

    async def events(self, reader: Reader) -> AsyncGenerator[list[Event], None]:
        """What ``reader`` makes of the body, a batch a network read. The last event is a ``Finish``.

        The connection is closed when the reader is done. One that breaks before, or a clock that runs out, ends the reply with
        ``truncated``.
        """
        try:
            while not reader.done:
                try:
                    data = await self._next()
                except BackendError as error:
                    yield [*(event for event in reader.end() if type(event) is not Finish), Finish("truncated", error=error)]
                    return
                batch = reader.feed(data) if data else reader.end()
                if batch:
                    yield batch
                if not data:
                    return
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connection: for the next request if the body has come whole, else for good."""
        if self._closed:
            return
        self._closed = True
        self._clocks.stop()
        if self._watched is not None:
            self._watched.remove_done_callback(self._cut_off)
        connection = self._answer.connection
        transport = None if connection is None else connection.transport
        self._answer.close()
        if transport is not None:
            transport.abort()  # close() alone waits until the server has read what we sent
        self._forget(self)

    async def __aenter__(self) -> StreamResponse:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def _next(self) -> bytes:
        """The next bytes, nothing at the end. Raises ``Truncated`` or ``TimedOut`` when all that came is given."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        if self._loss is not None:
            raise self._loss
        if self._closed:
            raise NotReady("the response is closed: read it once, and inside its `async with`")
        try:
            self._clocks.wait(self._content)
            return await self._content.readany()
        except FOREIGN as error:
            loss = loss_of(error)
        finally:
            self._clocks.rest()
        return self._lost(loss)

    def _cut_off(self, _: asyncio.Future[None]) -> None:
        # aiohttp 3.14 closes the connection when a chunk is broken, and tells nobody who waits for the next.
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError())

    def _lost(self, loss: BackendError) -> bytes:
        """What came before the loss and was not read; raises the loss, now or with the next read."""
        loss.provider = loss.provider or self._provider
        self._loss = loss
        self._content.set_exception(None)  # type: ignore[arg-type]  # or aiohttp keeps what it holds, and raises instead
        left = self._content.read_nowait()
        self.close()
        if left:
            return left
        raise loss

    def _cut(self, lines: Lines, data: bytes) -> list[bytes]:
        try:
            return lines.feed(data)
        except LineTooLong as error:
            raise self._bad(f"the service sent {error}") from None

    def _bad(self, message: str) -> BadReply:
        return BadReply(message, provider=self._provider, status=self.status)


def _closing_of(answer: aiohttp.ClientResponse) -> asyncio.Future[None] | None:
    """What is done when the connection is closed; ``None`` if the body is there already."""
    protocol = None if answer.connection is None else answer.connection.protocol
    closing = None if protocol is None else protocol.closed
    if closing is not None:
        closing.remove_done_callback(_seen)
        closing.add_done_callback(_seen)
    return closing


def _seen(closing: asyncio.Future[None]) -> None:
    if not closing.cancelled():
        closing.exception()  # or asyncio would complain, of a connection that nobody uses any more, that nobody has looked

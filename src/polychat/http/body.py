"""The body of a reply and ways to read it, for every transport."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, TypeVar

from ..errors import BackendError, BadReply, PolychatError, StatusError, redact
from ..events import Event, Finish
from ..redact import Redaction, Secrets
from ..wire.contract import Reader
from ..wire.framing import MAX_LINE, Lines, LineTooLong

MAX_BODY = 16 * 1024 * 1024
"""Default maximum bytes of a body that is read whole, after decompression."""

CLOSED = "the response is closed: read it once, and inside its `async with`"
_CHARSET = re.compile(r"""(?i)\bcharset\s*=\s*["']?([^\s;"']+)""")
Self = TypeVar("Self", bound="Body")
Error = TypeVar("Error", bound=PolychatError)


def header_in(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes:
    """The first value of one header, by its name in lower case; empty if it is not there."""
    size = len(name)
    for key, value in headers:
        if len(key) == size and key.lower() == name:
            return value
    return b""


@lru_cache(maxsize=64)
def media_type(value: bytes) -> str:
    """A content type in lower case and without parameters."""
    return value.partition(b";")[0].strip().lower().decode("latin-1")


class Body(ABC):
    """A status, headers, and a body that is read once: whole (``read``, ``text``, ``json``), or ``iter_…`` and ``events``.

    A failure midway is raised as ``Truncated`` or ``TimedOut``, after the data that arrived before it.
    """

    _is_over = False
    """Whether ``batch`` reached the end of the body, or its loss."""

    def __init__(self, provider: str | None) -> None:
        self._provider = provider
        self._secrets: Secrets | None = None
        """The credentials of its request: no error shows them."""
        self._redaction: Redaction | None = None
        """Removes them from the body, if that is required."""
        self._body: bytes | None = None

    @property
    @abstractmethod
    def status(self) -> int: ...

    @property
    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """Headers; names in any case."""

    @property
    @abstractmethod
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The headers as received, including repeated ones."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL of the response."""

    @abstractmethod
    def error(self, detail: str = "") -> StatusError:
        """The error of this status, which is not raised. ``detail`` is the service's own message, redacted."""

    @abstractmethod
    def close(self) -> None:
        """Release the connection: for the next request if the body is complete, otherwise close it."""

    @abstractmethod
    async def piece(self) -> bytes:
        """The next bytes, empty at the end. Raises ``Truncated`` or ``TimedOut`` after all data that arrived was returned."""

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def content_type(self) -> str:
        """In lower case and without parameters; empty if the server sent none."""
        return media_type(self.header(b"content-type"))

    def header(self, name: bytes) -> bytes:
        """The first value of one header, by its name in lower case; empty if it was not sent."""
        return header_in(self.raw_headers, name)

    def raise_for_status(self) -> None:
        """Raises the error of a status other than 2xx, which is an ``aiohttp.ClientResponseError`` too."""
        if not self.ok:
            raise self.error()

    async def read(self, limit: int = MAX_BODY) -> bytes:
        """The whole body. Raises ``BadReply`` if it has more than ``limit`` bytes, ``Truncated``, ``TimedOut``."""
        if self._body is None:
            pieces: list[bytes] = []
            size = 0
            try:
                while data := await self.piece():
                    pieces.append(data)
                    size += len(data)
                    if size > limit:
                        raise self._bad(f"the reply has more than {limit:,} bytes, which is the limit")
            finally:
                self.close()
            body = b"".join(pieces)
            self._body = body if self._secrets is None or self._redaction is None else self._secrets.whole(body)
        return self._body

    async def text(self) -> str:
        """The body as text, in the charset that the server names, otherwise UTF-8; invalid bytes are replaced."""
        body = await self.read()
        named = _CHARSET.search(self.headers.get("Content-Type", ""))
        try:
            return body.decode(named[1] if named else "utf-8", "replace")
        except (LookupError, ValueError):  # no such charset, or one like "base64" that is not for text
            return body.decode("utf-8", "replace")

    async def json(self) -> Any:
        """The body's value. Raises ``BadReply``, which shows its beginning, if it is not JSON."""
        body = await self.read()
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            bad = self._bad(f"the reply is not JSON: {redact(body) or 'it is empty'}")
        raise bad

    async def iter_content(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives, a piece for each network read."""
        try:
            while data := await self.piece():
                yield data
        finally:
            self.close()

    async def iter_lines(self, limit: int = MAX_LINE) -> AsyncGenerator[bytes, None]:
        """The body's lines, without their ends: LF, CRLF or CR. Raises ``BadReply`` for one of more than ``limit`` bytes."""
        lines = Lines(limit)
        try:
            while data := await self.piece():
                for line in self._cut(lines, data):
                    yield line
            for line in lines.end():
                yield line
        finally:
            self.close()

    async def events(self, reader: Reader) -> AsyncGenerator[list[Event], None]:
        """The events that ``reader`` reads from the body, a batch for each network read. The last event is a ``Finish``.

        The connection is closed when the reader is done. A lost connection or a timeout before that ends the reply with
        ``truncated``.
        """
        try:
            while not (reader.done or self._is_over):
                if batch := await self.batch(reader):
                    yield batch
        finally:
            if reader.done:
                self.finish()
            else:
                self.close()

    async def batch(self, reader: Reader) -> list[Event]:
        """The events of the next network read, which may be none; at the end of the body, the last events.

        After a lost connection or a timeout these end with ``truncated``. Not for a reader that is done.
        """
        try:
            data = await self.piece()
        except BackendError as error:
            self._is_over = True
            return [*(event for event in reader.end() if type(event) is not Finish), Finish("truncated", error=error)]
        if data:
            return reader.feed(data)
        self._is_over = True
        return reader.end()

    def finish(self) -> None:
        """The reader has its end: no further data is needed."""
        self.close()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _cut(self, lines: Lines, data: bytes) -> list[bytes]:
        try:
            return lines.feed(data)
        except LineTooLong as error:
            raise self._bad(f"the service sent {error}") from None

    def _bad(self, message: str) -> BadReply:
        return self.redacted(BadReply(message, provider=self._provider, status=self.status))

    def redacted(self, error: Error) -> Error:
        """The same error, without the credentials of the request."""
        return error if self._secrets is None else self._secrets.error(error)

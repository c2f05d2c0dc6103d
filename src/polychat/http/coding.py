"""Compressed bodies, decompressed as they come and no faster than they are read."""

from __future__ import annotations

import zlib
from typing import Protocol

from ..errors import BadReply, Truncated, redact

try:
    import brotli
except ImportError:
    brotli = None

_PIECE = 256 * 1024
"""Bytes made at a time, whatever they were made from."""
# Before 1.2 brotli gives all at once, however much that is.
_HAS_BROTLI = hasattr(getattr(brotli, "Decompressor", None), "can_accept_more_data")
_BROKEN: tuple[type[Exception], ...] = (zlib.error, brotli.error) if _HAS_BROTLI else (zlib.error,)
ACCEPTED = "gzip, br" if _HAS_BROTLI else "gzip"


class Decoder(Protocol):
    """``whole``: what was fed ends where the compressed body does. It is so before the first byte: some say gzip of nothing."""

    whole: bool

    def feed(self, data: bytes) -> None:
        """To be called only when ``take`` has nothing more. ``take`` raises for what is broken."""

    def take(self) -> bytes:
        """The next of what was fed, nothing when more is needed."""


class Gzip:
    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(31)
        self._rest = b""
        self.whole = True

    def feed(self, data: bytes) -> None:
        self._rest = data
        self.whole = False

    def take(self) -> bytes:
        while self._rest:
            if self._inflate.eof:
                if self._rest[:1] != b"\x1f":
                    self._rest = b""  # padding
                    break
                self._inflate = zlib.decompressobj(31)  # one gzip after the other is one body
            data = self._inflate.decompress(self._rest, _PIECE)
            self._rest = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if data:
                return data
        self.whole = self._inflate.eof
        return b""


class Brotli:
    def __init__(self) -> None:
        self._inflate = brotli.Decompressor()
        self._rest = b""
        self._more = False
        self.whole = True

    def feed(self, data: bytes) -> None:
        self._rest = data
        self.whole = False

    def take(self) -> bytes:
        while (self._rest or self._more) and not self._inflate.is_finished():
            takes = self._inflate.can_accept_more_data()
            data: bytes = self._inflate.process(self._rest if takes else b"", output_buffer_limit=_PIECE)
            self._rest = b"" if takes else self._rest
            self._more = bool(data)  # there may be more, though it could take more too
            if data:
                return data
        self.whole = self._inflate.is_finished()
        return b""


def decoder(coding: bytes) -> Decoder | None:
    """For a Content-Encoding in any case; ``None`` where there is nothing to decode. Raises ``BadReply``."""
    name = coding.lower()
    if name in (b"", b"identity"):
        return None
    if name in (b"gzip", b"x-gzip"):
        return Gzip()
    if name == b"br" and _HAS_BROTLI:
        return Brotli()
    raise BadReply(f"the reply is compressed as {redact(coding)}, which was not requested")


def taken(inflate: Decoder) -> bytes:
    """``take``, with what is broken as ours."""
    try:
        return inflate.take()
    except _BROKEN:
        pass
    raise Truncated("the reply ended early: its compressed data is damaged")


def ended(inflate: Decoder) -> None:
    """Raises ``Truncated`` if the body is over and what was compressed is not."""
    if not inflate.whole:
        raise Truncated("the reply ended early: its compressed data is incomplete")

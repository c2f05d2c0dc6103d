"""Compressed bodies, decompressed as they arrive and no faster than they are read."""

from __future__ import annotations

import zlib
from typing import Protocol

from ..errors import BadReply, Truncated, redact

try:
    import brotli
except ImportError:
    brotli = None

_PIECE = 256 * 1024
"""Maximum bytes of output at a time, for any input."""
# Before 1.2 brotli returns all output at once, of any size.
_HAS_BROTLI = hasattr(getattr(brotli, "Decompressor", None), "can_accept_more_data")
_BROKEN: tuple[type[Exception], ...] = (zlib.error, brotli.error) if _HAS_BROTLI else (zlib.error,)
ACCEPTED = "gzip, br" if _HAS_BROTLI else "gzip"


class Decoder(Protocol):
    """``whole``: the input ends where the compressed body does. True before the first byte, because some servers send empty
    gzip.
    """

    whole: bool

    def feed(self, data: bytes) -> None:
        """Add input. Only to be called when ``take`` has nothing more. ``take`` raises for invalid input."""

    def take(self) -> bytes:
        """The next output; empty if more input is needed."""


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
                self._inflate = zlib.decompressobj(31)  # several gzip members are one body
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
            self._more = bool(data)  # there may be more output, though it could accept more input too
            if data:
                return data
        self.whole = self._inflate.is_finished()
        return b""


def decoder(coding: bytes) -> Decoder | None:
    """The decoder for a Content-Encoding in any case; ``None`` if there is nothing to decode. Raises ``BadReply``."""
    name = coding.lower()
    if name in (b"", b"identity"):
        return None
    if name in (b"gzip", b"x-gzip"):
        return Gzip()
    if name == b"br" and _HAS_BROTLI:
        return Brotli()
    raise BadReply(f"the reply is compressed as {redact(coding)}, which was not requested")


def taken(inflate: Decoder) -> bytes:
    """``take``, with errors of the library as ``BadReply``."""
    try:
        return inflate.take()
    except _BROKEN:
        pass
    raise Truncated("the reply ended early: its compressed data is damaged")


def ended(inflate: Decoder) -> None:
    """Raises ``Truncated`` if the body is over and the compressed data is incomplete."""
    if not inflate.whole:
        raise Truncated("the reply ended early: its compressed data is incomplete")

"""Compressed request bodies: gzip and deflate, and zstd with Python 3.14 or later."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

from ...errors import BadInput, redact
from ...worker_threads import in_thread
from .asgi import TooLarge

_PIECE = 256 * 1024
"""Bytes of output at a time."""
_AT_ONCE = 64 * 1024
"""Compressed bytes up to which a body is decompressed in the event loop; larger ones in a thread, so that no request waits."""


class UnknownCoding(Exception):  # the coding is unknown
    """A Content-Encoding that is not supported; ``known`` are those that are."""

    def __init__(self, coding: str) -> None:
        self.known = ", ".join(sorted(_CODINGS))
        super().__init__(
            f"the body is compressed as {redact(coding, 40)}, which is not supported: send it uncompressed, or as {self.known}"
        )


async def inflated(body: bytes, coding: str, limit: int) -> bytes:
    """The decompressed body.

    Raises ``UnknownCoding``, ``TooLarge`` if it exceeds ``limit`` bytes (no more are produced), and ``BadInput`` if it
    is invalid or incomplete.
    """
    for name in reversed([entry.strip().lower() for entry in coding.split(",", 3)]):
        if name in ("", "identity"):
            continue
        maker = _CODINGS.get(name)
        if maker is None:
            raise UnknownCoding(name)
        if len(body) <= _AT_ONCE:
            body = _whole(body, maker(), name, limit)
        else:
            body = await in_thread(_whole, body, maker(), name, limit)
    return body


def _whole(body: bytes, stream: Any, name: str, limit: int) -> bytes:
    # One writer that becomes the body: a list of pieces would take the same memory again when they are joined.
    whole, size, at, data = BytesIO(), 0, 0, b""
    try:
        while not stream.eof:
            if not data:
                data = body[at : at + _AT_ONCE]
                at += len(data)
            piece = stream.decompress(data, _PIECE)
            data = getattr(stream, "unconsumed_tail", b"")  # zstd itself keeps the input that it has not read
            if not piece and not data and at >= len(body) and not stream.eof:
                raise BadInput(f"the body's {name} data is incomplete: send all of it", field="body")
            size += len(piece)
            if size > limit:
                raise TooLarge(limit)
            whole.write(piece)
    except _BROKEN as error:
        raise BadInput(f"the body is not valid {name}: {redact(str(error))}", field="body") from None
    if stream.unused_data or at < len(body):
        raise BadInput(f"the body has data after the end of its {name}: send one compressed body", field="body")
    return whole.getvalue()


def _inflate() -> Any:
    return zlib.decompressobj(32 + zlib.MAX_WBITS)  # gzip or zlib, by the first bytes


_CODINGS: dict[str, Callable[[], Any]] = dict.fromkeys(("gzip", "x-gzip", "deflate"), _inflate)
_BROKEN: tuple[type[Exception], ...] = (zlib.error,)
if sys.version_info >= (3, 14):
    from compression import zstd

    _CODINGS["zstd"] = zstd.ZstdDecompressor
    _BROKEN = (zlib.error, zstd.ZstdError)

"""Reads that are one chunk of HTTP each: so most servers send the events of a stream.

Whoever knows that a read begins where a chunk does sees by its length and its first line that it is one chunk and no more: it
needs no parser, and can be sent on as it came.
"""

from __future__ import annotations

from typing import TypeAlias

_LONGEST = 4096
"""Bytes of a chunk, with its framing, above which it is parsed: a parser costs little beside them."""
_CRLF = b"\r\n"

Frame: TypeAlias = tuple[tuple[bytes, ...], int]
"""The first lines that a chunk may have, and the length of each."""
_NONE: Frame = ((), 0)
"""No chunk has this length, or one that is parsed: no read begins with any of no lines."""


class _Frames(dict[int, Frame]):
    """The ``Frame`` of a chunk by the chunk's length."""

    def __missing__(self, length: int) -> Frame:
        if length > _LONGEST:
            return _NONE
        self[length] = frame = _frame_of(length)
        return frame


def _frame_of(length: int) -> Frame:
    for digits in range(1, 5):
        line = b"%x\r\n" % max(0, length - digits - 4)
        if len(line) == digits + 2 and line[:1] != b"0":  # a chunk of no bytes is the last one
            return tuple(sorted({line, line.upper()})), len(line)
    return _NONE


FRAMES: dict[int, Frame] = _Frames()


def is_chunk(read: bytes, body: bytes) -> bool:
    """Whether a read is one whole chunk, and the next read begins where a chunk does. ``body``: the only piece a parser gave.

    A read amid a chunk may look like one, but gives its own beginning first.
    """
    lines, begin = FRAMES[len(read)]
    return read.startswith(lines) and read.endswith(_CRLF) and len(body) == len(read) - begin - 2 and not read.startswith(body)

"""Splits a JSON array into its objects as they arrive, wherever reads are cut: the format of streams without ``alt=sse``."""

from __future__ import annotations

import re

from ..framing import MAX_LINE, CutShort, FramingError, LineTooLong
from ..json_text import decoded

_OUTSIDE = re.compile(rb'["{}\[\]]')
_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
"""The rest of a string, without its end."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BETWEEN = re.compile(rb"[ \t\r\n,]*+")


class NoArray(FramingError):
    """Something other than objects is between the brackets, or after them: the message shows nothing of it."""


class Objects:
    """The objects of one array, or a sequence of objects without an array. Of an object only strings and brackets are read."""

    __slots__ = ("_array", "_ended", "_held", "_level", "_size", "_skip", "_string", "limit")

    def __init__(self, limit: int = MAX_LINE) -> None:
        self.limit = limit
        self._array: bool | None = None
        self._ended = False
        self._level = 0
        self._string = self._skip = False
        self._held = bytearray()
        self._size = 0

    @property
    def closed(self) -> bool:
        """Whether the array is closed; without an array, whether its last object is."""
        return self._ended or (self._array is False and not self._level)

    def feed(self, data: bytes) -> list[bytes]:
        """The objects that ``data`` completes. Raises ``NoArray`` and ``LineTooLong``."""
        if self._array and not self._level and not self._ended:
            # The usual read is one object. Data that can be decoded is one object, and not two.
            whole = data.strip(b" \t\r\n,")
            if whole[:1] == b"{" and len(whole) <= self.limit and _is_json(whole):
                return [whole]
        objects: list[bytes] = []
        at = start = 0
        while at < len(data):
            if not self._level:
                at = start = self._between(data, at)
                continue
            at = self._inside(data, at)
            self._hold(data[start:at])
            if not self._level:
                objects.append(bytes(self._held))
                self._held.clear()
                self._size = 0
        return objects

    def end(self) -> list[bytes]:
        """Nothing: every object was returned when it was complete. Raises ``CutShort`` if one is not closed."""
        if not self.closed:
            raise CutShort("its JSON is not closed")
        return []

    def _between(self, data: bytes, at: int) -> int:
        """Where the next object begins; the characters before it open and close the array."""
        blank = _BETWEEN.match(data, at)
        at = at if blank is None else blank.end()
        sign = data[at : at + 1]
        if not sign:
            return at
        if sign == b"{" and not self._ended:
            self._array = bool(self._array)
            self._level = 1
            self._hold(sign)
        elif sign == b"[" and self._array is None:
            self._array = True
        elif sign == b"]" and self._array and not self._ended:
            self._ended = True
        else:
            raise NoArray("something other than a JSON array of objects")
        return at + 1

    def _inside(self, data: bytes, at: int) -> int:
        """Where the object ends, or the end of ``data``."""
        while at < len(data) and self._level:
            if self._skip:
                self._skip = False
                at += 1
                continue
            if self._string:
                rest = _REST.match(data, at)
                at = at if rest is None else rest.end()
                self._string = data[at : at + 1] != b'"'
                self._skip = data[at : at + 1] == b"\\"  # the escaped character comes with the next data
                at += 1
                continue
            sign = _OUTSIDE.search(data, at)
            if sign is None:
                return len(data)
            at = sign.end()
            if sign[0] == b'"':
                # A string that is complete is skipped at once.
                string = _STRING.match(data, sign.start())
                self._string = string is None
                at = at if string is None else string.end()
            else:
                self._level += 1 if sign[0] in b"{[" else -1
        return at

    def _hold(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self.limit:
            raise LineTooLong(self.limit)
        self._held += data


def _is_json(data: bytes) -> bool:
    try:
        decoded(data)
    except ValueError:
        return False
    return True

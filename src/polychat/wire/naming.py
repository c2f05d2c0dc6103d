"""Writes the model name that a client requested into replies that are passed through, if the backend has another name for it.

Clients compare them: Claude Code discards reasoning of a model other than the requested one. All other bytes are unchanged.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

from .json_text import decoded, encoded

_HELD = 65_536
"""Maximum bytes at the beginning of a stream that are held until the model's name is found."""
_SHALLOW = msgspec.json.Decoder(dict[str, msgspec.Raw])
_WITHIN = ("response", "message")
"""Members that contain the reply in some events of a stream."""


@lru_cache(maxsize=8)
def _pattern(member: str) -> re.Pattern[bytes]:
    return re.compile(rb'("%b"\s{0,9}:\s{0,9})("(?:[^"\\]|\\.){1,400}")' % member.encode())


def named_body(body: bytes, member: str, served: str | None, name: str) -> bytes:
    """A whole reply with ``name`` in its ``member`` in place of ``served``; unchanged if it does not have that."""
    matches = [] if served is None else [match for match in _pattern(member).finditer(body) if _names(match, served)]
    if not matches:
        return body
    if len(matches) == 1:
        begin, end = matches[0].span(2)
        return b"".join((body[:begin], encoded(name), body[end:]))
    return _exactly(body, member, name)


def _names(match: re.Match[bytes], served: str) -> bool:
    try:
        return bool(decoded(match[2]) == served)
    except ValueError:
        return False


def _exactly(body: bytes, member: str, name: str) -> bytes:
    """JSON with ``name`` in the reply's own ``member``, and in none that is deeper. Unchanged if it is not such an object."""
    try:
        fields: dict[str, Any] = _SHALLOW.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body
    if member in fields:
        return encoded({**fields, member: name})
    for inner in _WITHIN:
        if inner in fields:
            return encoded({**fields, inner: msgspec.Raw(_exactly(bytes(fields[inner]), member, name))})
    return body


class Naming:
    """Replaces the model's name in each event of one stream by ``name``. ``end``: the end of each unit, an event or a line.

    Nothing is decoded: the bytes of the model member in the backend's first unit are searched for and replaced.
    """

    __slots__ = ("_end", "_held", "_member", "_name", "_new", "_off", "_old")

    def __init__(self, member: str, name: str, end: bytes) -> None:
        self._member, self._name, self._end = member, name, end
        self._held = bytearray()
        """A unit from before the backend's name for the model was known, or the beginning of a line."""
        self._old = self._new = b""
        self._off = False

    def feed(self, data: bytes, served: str | None) -> bytes:
        """The bytes to forward now. ``served`` is the backend's name for the model, once known."""
        if self._off:
            return data
        if not self._old:
            return self._begin(data, served)
        if not self._held and data[-1:] == b"\n":  # the usual read: whole lines
            return self.renamed(data)
        return self._lines(data)

    def end(self) -> bytes:
        """The held bytes, at the end of the stream."""
        rest = self.renamed(bytes(self._held))
        self._held.clear()
        return rest

    def _lines(self, data: bytes) -> bytes:
        """Forward whole lines: no client can use part of one. Of a long line, all but what may be the beginning of the name."""
        held = self._held
        if whole := data.rfind(b"\n") + 1:
            passed = bytes(held) + data[:whole]
            held.clear()
            held += data[whole:]
            return self.renamed(passed)
        held += data
        if len(held) <= _HELD:
            return b""
        passed = bytes(held)
        held_back = self._held_back(passed)
        del held[: len(held) - held_back]
        return self.renamed(passed[: len(passed) - held_back])

    def renamed(self, data: bytes) -> bytes:
        """Whole events with the new name."""
        if not self._old or (count := data.count(self._old)) == 0:
            return data
        if count == 1:
            return data.replace(self._old, self._new)
        return b"\n".join(map(self._line, data.split(b"\n")))

    def _line(self, line: bytes) -> bytes:
        if line.count(self._old) < 2:
            return line.replace(self._old, self._new)
        begin, end = line.find(b"{"), line.rfind(b"}") + 1
        return line[:begin] + _exactly(line[begin:end], self._member, self._name) + line[end:]

    def _begin(self, data: bytes, served: str | None) -> bytes:
        """Until the name is known, whole units are forwarded, and the beginning of the next is held."""
        held = self._held
        seen = max(0, len(held) - 3)
        held += data
        if served is None:
            whole = len(held) if len(held) > _HELD else self._last_end(held, seen)
            passed = bytes(held[:whole])
            del held[:whole]
            return passed
        text = bytes(held)
        held.clear()
        match = next((candidate for candidate in _pattern(self._member).finditer(text) if _names(candidate, served)), None)
        if match is None:
            self._off = True
            return text
        self._old, self._new = match[0], match[1] + encoded(self._name)
        return self.feed(text, served)

    def _last_end(self, held: bytearray, begin: int) -> int:
        if self._end == b"\n":
            return held.rfind(b"\n", begin) + 1
        return max(
            (place + len(mark) for mark in (b"\n\n", b"\n\r\n", b"\r\r") if (place := held.rfind(mark, begin)) >= 0), default=0
        )

    def _held_back(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of the old name."""
        if data.endswith(self._old):
            return 0
        at = data.find(b'"', max(0, len(data) - len(self._old) + 1))
        while at >= 0:
            if self._old.startswith(data[at:]):
                return len(data) - at
            at = data.find(b'"', at + 1)
        return 0

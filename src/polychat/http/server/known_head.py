"""Recognizes a request's head that is repeated: it is compared, and not parsed.

Clients send the same head with every request, except for the length of its body, on one connection and on the next. Some
write the head and the body separately, as those of Python do: the head may come without its body.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

from .cycle import SMALL, FastPath

_LENGTH = b"content-length"
_DIGITS = 15
"""Maximum digits of a length that is compared; a longer one is left to the parser."""
_LENGTHS = re.compile(rb"[1-9]\d{0,%d}" % (_DIGITS - 1)).fullmatch
_UNSUPPORTED = (b"transfer-encoding", b"upgrade", b"expect")
"""Headers of requests that need more than a head and a body: these are parsed each time."""


_LINE = b"\r\ncontent-length: "
_MOST, _LARGE = 256, 4096
"""Maximum number of heads that are kept for further connections, and bytes of each: clients may send any number."""


class KnownHead:
    """A parsed head in two parts: the bytes before its ``content-length`` and those after it."""

    __slots__ = ("_place", "fast_path", "has_asked", "parts", "template")

    def __init__(self, before: bytes, after: bytes, scope: MutableMapping[str, Any]) -> None:
        self.parts = before, after
        self.template = {**scope, "headers": list(scope["headers"]), "polychat.fields": dict(scope["polychat.fields"])}
        """The scope of its requests, without the length of their bodies; must not be changed."""
        self.fast_path: FastPath | None = None
        """The fast path for its requests."""
        self.has_asked = False
        """Whether the application was asked for it."""
        self._place = [name for name, _ in scope["headers"]].index(_LENGTH)

    @classmethod
    def of(cls, data: bytes, scope: MutableMapping[str, Any]) -> KnownHead | None:
        """The head of ``data``, which the parser read as the beginning of a request with this ``scope``.

        ``None`` unless ``data`` is exactly that head and no more than a body of the length in it.
        """
        fields = scope["polychat.fields"]
        length: bytes | None = fields.get(_LENGTH)
        if length is None or any(name in fields for name in _UNSUPPORTED):
            return None
        end = data.find(b"\r\n\r\n") + 4
        line = b"\r\n%b: %b\r\n" % (_LENGTH, length)
        place = data[:end].lower().find(line)
        if place < 0 or len(data) - end > int(length):
            return None
        after = place + len(line) - 2
        return cls(data[: after - len(length)], data[after:end], scope)

    def at(self, scope_template: MutableMapping[str, Any]) -> KnownHead:
        """The same head at the beginning of another connection, whose scopes have these members in common."""
        known = KnownHead(*self.parts, {**self.template, **scope_template})
        known.fast_path, known.has_asked = self.fast_path, self.has_asked
        return known

    def request(self, data: bytes, limit: int) -> bytes | None:
        """The body, if ``data`` is this head with any length and a body of that length.

        ``None`` if it is not, if the length begins with a zero, or if the head exceeds ``limit`` bytes: then the
        parser reads it.
        """
        before, after = self.parts
        if not data.startswith(before):
            return None
        place = len(before)
        end = data.find(b"\r\n", place, place + _DIGITS + 2)
        if end < 0 or not data.startswith(after, end):
            return None
        length, begin = data[place:end], end + len(after)
        if begin > limit or length != b"%d" % (len(data) - begin):
            return None
        return data[begin:]

    def missing(self, data: bytes, limit: int) -> int:
        """How many bytes are still to come, if ``data`` is this head with any length and the beginning of such a body.

        0 if it is not, as in ``request``, if nothing is missing, or if the body is larger than ``SMALL``.
        """
        before, after = self.parts
        if not data.startswith(before):
            return 0
        end = data.find(b"\r\n", len(before))
        begin, length = end + len(after), data[len(before) : max(end, 0)]
        if begin > limit or not data.startswith(after, end) or not _LENGTHS(length) or int(length) > SMALL:
            return 0
        return max(0, int(length) - (len(data) - begin))

    def scope(self, size: int) -> dict[str, Any]:
        """The scope of a request whose body has this many bytes."""
        scope = self.template.copy()
        scope["headers"] = headers = scope["headers"].copy()
        scope["polychat.fields"] = fields = scope["polychat.fields"].copy()
        fields[_LENGTH] = length = b"%d" % size
        headers[self._place] = _LENGTH, length
        return scope


class KnownHeads:
    """Heads of requests that a fast path may answer: connections begin with them. They are found by hash, as they hold keys."""

    def __init__(self) -> None:
        self._heads: dict[tuple[bytes, bytes], KnownHead] = {}

    def keep(self, known: KnownHead) -> None:
        if sum(map(len, known.parts)) > _LARGE:
            return
        if len(self._heads) >= _MOST:
            self._heads.clear()
        self._heads[known.parts] = known

    def of(self, data: bytes) -> KnownHead | None:
        """The one that ``data`` may begin with, which its ``request`` tells."""
        end = data.find(b"\r\n\r\n") + 4
        place = data[:end].lower().find(_LINE) + len(_LINE)
        after = data.find(b"\r\n", place, end)
        return None if after < 0 else self._heads.get((data[:place], data[after:end]))

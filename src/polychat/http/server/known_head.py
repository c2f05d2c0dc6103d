"""Recognizes a request's head that is repeated: it is compared, and not parsed.

Clients send the same head with every request, except for the length of its body and for what identifies the request, on one
connection and on the next. Some write the head and the body separately, as those of Python do: the head may come without its
body.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

from .cycle import SMALL, FastPath

_LENGTH = b"content-length"
_DIGITS = 15
"""Maximum digits of a length that is compared; a longer one is left to the parser."""
IDENTIFYING = frozenset(
    {
        *(b"x-request-id", b"x-client-request-id", b"x-correlation-id", b"x-amzn-trace-id", b"x-cloud-trace-context"),
        *(b"traceparent", b"tracestate", b"baggage", b"b3", b"sentry-trace"),
    }
)
"""Headers that tell one request from another, or trace it: each request has others."""
_VALUE = rb"[!-~](?:[ -~]*[!-~])?"
_DIFFERING = re.compile(rb"\r\n(?:%b): (%b)(?=\r\n)" % (b"|".join([_LENGTH, *IDENTIFYING]), _VALUE), re.IGNORECASE)
"""Lines whose values may differ between requests with the same head."""
_IDENTITY = 512
"""Maximum bytes of such a value that is not parsed."""
_is_value = re.compile(_VALUE).fullmatch
_LENGTHS = re.compile(rb"[1-9]\d{0,%d}" % (_DIGITS - 1)).fullmatch
_UNSUPPORTED = (b"transfer-encoding", b"upgrade", b"expect")
"""Headers of requests that need more than a head and a body: these are parsed each time."""


_LINE = b"\r\ncontent-length: "
_MOST, _LARGE = 256, 4096
"""Maximum number of heads that are kept for further connections, and bytes of each: clients may send any number."""


class KnownHead:
    """A parsed head in two parts: the bytes before its ``content-length`` and those after it."""

    __slots__ = ("_around", "_form", "_place", "_places", "fast_path", "has_asked", "is_identified", "parts", "template")

    def __init__(
        self,
        parts: tuple[bytes, bytes],
        template: dict[str, Any],
        place: int,
        around: tuple[bytes, ...] = (),
        places: tuple[int, ...] = (),
    ) -> None:
        """``place``: that of the length among the headers.

        Of a head with more values that may differ: ``places``, those of all such values among the headers, and the bytes
        ``around`` them.
        """
        self.parts, self.template = parts, template
        before, after = parts
        self._form = before, after, len(before), len(before) + _DIGITS + len(after), len(after)
        """The parts, where the length begins, where both end at most, and the size of the second."""
        # ``template``: the scope of its requests, without the length of their bodies; must not be changed
        self._place, self._around, self._places = place, around, places
        self.is_identified = len(places) > 0
        """Whether it has ``IDENTIFYING`` headers: the next request is of ``identified``."""
        self.fast_path: FastPath | None = None
        """The fast path for its requests."""
        self.has_asked = False
        """Whether the application was asked for it."""

    @classmethod
    def of(cls, data: bytes, scope: MutableMapping[str, Any]) -> KnownHead | None:
        """The head of ``data``, which the parser read as the beginning of a request with this ``scope``.

        ``None`` unless ``data`` is exactly that head and no more than a body of the length in it.
        """
        headers, fields = scope["headers"], scope["polychat.fields"]
        length: bytes | None = fields.get(_LENGTH)
        end = data.find(b"\r\n\r\n") + 4
        if length is None or any(name in fields for name in _UNSUPPORTED) or len(data) - end > int(length):
            return None
        places = [at for at, (name, _) in enumerate(headers) if name == _LENGTH or name in IDENTIFYING]
        spans = [found.span(1) for found in _DIFFERING.finditer(data, 0, end)]
        if [headers[at][1] for at in places] != [data[begin:over] for begin, over in spans]:
            return None  # unusually written
        index = [headers[at][0] for at in places].index(_LENGTH)
        parts = data[: spans[index][0]], data[spans[index][1] : end]
        template = {**scope, "headers": list(headers), "polychat.fields": dict(fields)}
        if len(places) == 1:
            return cls(parts, template, places[0])
        begins, ends = [0, *(over for _, over in spans)], [*(begin for begin, _ in spans), end]
        around = tuple(data[begin:over] for begin, over in zip(begins, ends, strict=True))
        return cls(parts, template, places[index], around, tuple(places))

    def at(self, scope_template: MutableMapping[str, Any]) -> KnownHead:
        """The same head at the beginning of another connection, whose scopes have these members in common."""
        return self._like(self.parts, {**self.template, **scope_template})

    def _like(self, parts: tuple[bytes, bytes], template: dict[str, Any]) -> KnownHead:
        known = KnownHead(parts, template, self._place, self._around, self._places)
        known.fast_path, known.has_asked = self.fast_path, self.has_asked
        return known

    def identified(self, data: bytes) -> KnownHead | None:
        """This head with what identifies the request in ``data``; ``None`` if ``data`` begins with another."""
        template, begin, length = self.template.copy(), 0, (0, 0)
        template["headers"] = headers = template["headers"].copy()
        template["polychat.fields"] = fields = template["polychat.fields"].copy()
        *around, rest = self._around
        for at, before in zip(self._places, around, strict=True):
            begin += len(before)
            end = data.find(b"\r\n", begin, begin + _IDENTITY)
            value = data[begin:end] if end >= 0 else b""
            if not data.startswith(before, begin - len(before)) or not _is_value(value):
                return None
            if at == self._place:
                length = begin, end
            name = headers[at][0]
            headers[at] = name, value
            fields[name] = value
            begin = end
        if not data.startswith(rest, begin):
            return None
        return self._like((data[: length[0]], data[length[1] : begin + len(rest)]), template)

    def request(self, data: bytes, limit: int) -> bytes | None:
        """The body, if ``data`` is this head with any length and a body of that length.

        ``None`` if it is not, if the length begins with a zero, or if the head exceeds ``limit`` bytes: then the
        parser reads it.
        """
        before, after, place, most, size = self._form
        if not data.startswith(before) or (end := data.find(after, place, most)) < 0 or (begin := end + size) > limit:
            return None
        body = data[begin:]
        return body if data[place:end] == b"%d" % len(body) else None

    def missing(self, data: bytes, limit: int) -> int:
        """How many bytes are still to come, if ``data`` is this head with any length and the beginning of such a body.

        0 if it is not, as in ``request``, if nothing is missing, or if the body is larger than ``SMALL``.
        """
        before, after = self.parts
        if not data.startswith(before):
            return 0
        end = data.find(b"\r\n", len(before))
        begin, length = end + len(after), data[len(before) : end] if end >= 0 else b""
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
    """Heads of requests that a fast path may answer, and that connections may begin with. They are found by hash, as they
    hold keys.
    """

    def __init__(self) -> None:
        self._heads: dict[tuple[bytes, bytes], KnownHead] = {}

    def keep(self, known: KnownHead) -> None:
        if known.is_identified or sum(map(len, known.parts)) > _LARGE:
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

"""Recognizes the head of a reply like earlier ones: it is matched as a whole, and not parsed line by line.

A server sends the same header lines with every reply to the same kind of request, of which most differ in a value: a date, an
id, what is left of a limit. A ``KnownReply`` is such a series of lines; all that the connection decides by a head is the same
for each. Only whole replies that come in one read are recognized, with a body of the announced length, or of a few chunks, as a
short stream is. Everything else, and whatever is not exactly as it was, is left to the parser.
"""

from __future__ import annotations

import re

_FEW = 3
"""Replies with the same lines before these are known."""
_MOST, _TRIES = 4, 64
"""Maximum number of known series, and of heads that are looked at to find them: a server may send others each time."""
_LINES, _SIZE = 64, 4096
"""Maximum lines and bytes of a head that is looked at, or recognized."""
_LENGTH, _TRANSFER, _TYPE = b"content-length", b"transfer-encoding", b"content-type"
_CONSTANT = frozenset({b"connection", b"proxy-connection", _TRANSFER})
"""Headers whose values are part of what is known."""
_UNSUPPORTED = frozenset({b"content-encoding", b"upgrade", b"trailer"})
"""Headers of replies that need more than a head and a body."""
_STATUS = re.compile(rb"HTTP/1\.[01] 200 .*")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = rb"([!-~][ -~]*)(?<! )"
"""A value in group ``n``. It does not contain the end of its line, so that matching takes linear time."""
_is_value = re.compile(_VALUE).fullmatch
LAST_CHUNK = b"0\r\n\r\n"
"""The end of a body in chunks, without trailers."""
_chunk_size = re.compile(rb"([1-9a-fA-F][0-9a-fA-F]{0,5})\r\n").match
_usual_size = [b"\r\n", *(b"%x" % size for size in range(1, 1024))].__getitem__
"""How the size of a short chunk is mostly written; that of none, as only the last is empty, is one that is never found."""
_CHUNKS, _CHUNKED = 24, 8192
"""Maximum chunks of a body, and bytes of a reply in chunks: for many, the parser takes less time."""


class KnownReply:
    """A series of header lines with any values, after a status line."""

    __slots__ = ("_content_type", "_length", "_match", "names", "places", "reason")

    def __init__(self, status: bytes, lines: list[tuple[bytes, bytes]]) -> None:
        """``status`` is the status line; ``lines`` are names and values, one of them the body's length or transfer coding."""
        self.reason = status[len(b"HTTP/1.1 200 ") :]
        self.names = tuple(name for name, _ in lines)
        self.places: tuple[tuple[int, bytes], ...] | None = None
        """The places of the headers that a caller always looks for, with their names in lower case, once it has found them."""
        pattern = re.escape(status) + rb"\r\n"
        for name, value in lines:
            lower = name.lower()
            allowed = rb"(\d{1,9})" if lower == _LENGTH else b"(%b)" % re.escape(value) if lower in _CONSTANT else _VALUE
            pattern += b"%b: %b\\r\\n" % (re.escape(name), allowed)
        self._match = re.compile(pattern + rb"\r\n").match
        names = [name.lower() for name, _ in lines]
        self._length = 1 + names.index(_LENGTH) if _LENGTH in names else 0
        """The group with the body's length; 0 for a body in chunks."""
        self._content_type = names.index(_TYPE) if _TYPE in names else -1

    def read(self, data: bytes) -> tuple[tuple[bytes, ...], bytes] | None:
        """The values of the headers and the body of a reply that is complete in ``data``; ``None`` if it is not such a one."""
        length = self._length
        if not length and (len(data) > _CHUNKED or not data.endswith(LAST_CHUNK)):
            return None
        if (found := self._match(data)) is None or (end := found.end()) > _SIZE:
            return None
        if length:
            body: bytes | None = data[end:]
            return (found.groups(), body) if body and int(found[length]) == len(body) else None
        body = _body_of_chunks(data, end)
        return None if body is None else (found.groups(), body)

    def content_type(self, values: tuple[bytes, ...]) -> bytes:
        """The first content type in these values of the headers; empty if there is none."""
        return b"" if self._content_type < 0 else values[self._content_type]


def _body_of_chunks(data: bytes, begin: int) -> bytes | None:
    """The body whose chunks begin there, and end with ``data``; ``None`` if it has none, or many, or anything else."""
    last = len(data) - len(LAST_CHUNK)
    if begin >= last:
        return None
    sizes_and_chunks = data[begin:last].split(b"\r\n", 2 * _CHUNKS)
    rest, chunks = sizes_and_chunks.pop(), sizes_and_chunks[1::2]
    # Few chunks are long or contain the end of a line, and most servers write sizes in this form.
    try:
        if sizes_and_chunks[::2] == list(map(_usual_size, map(len, chunks))) and chunks and not rest:
            return b"".join(chunks)
    except IndexError:
        pass
    chunks = []
    while begin < last and len(chunks) < _CHUNKS:
        size = _chunk_size(data, begin)
        if size is None:
            return None
        start = size.end()
        end = start + int(size[1], 16)
        if data[end : end + 2] != b"\r\n":
            return None
        chunks.append(data[start:end])
        begin = end + 2
    return b"".join(chunks) if chunks and begin == last else None


class KnownReplies:
    """Those of one server. ``known`` has the one that came last at the beginning."""

    __slots__ = ("_seen", "_tries", "known")

    def __init__(self) -> None:
        self.known: list[KnownReply] = []
        self._seen: dict[tuple[bytes, ...], int] = {}
        self._tries = 0

    @property
    def can_learn(self) -> bool:
        """Whether heads are still looked at."""
        return self._tries < _TRIES and len(self.known) < _MOST

    def learn(self, data: bytes) -> None:
        """Look at the first read of a reply that was parsed, with status 200, on a connection that is kept: all of it, if its
        body is in chunks.
        """
        self._tries += 1
        status, *lines = data[: max(0, data.find(b"\r\n\r\n", 0, _SIZE))].split(b"\r\n", _LINES)
        fields = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        names = [name.lower() for name, _ in fields]
        is_usual = all(_NAME.fullmatch(name) and _is_value(value) for name, value in fields) and _STATUS.fullmatch(status)
        if not is_usual or names.count(_LENGTH) + names.count(_TRANSFER) != 1 or _UNSUPPORTED.intersection(names):
            return
        kind = status, *(line if name in _CONSTANT else name for name, line in zip(names, lines, strict=True))
        self._seen[kind] = count = self._seen.get(kind, 0) + 1
        if count == _FEW:
            self.known.insert(0, KnownReply(status, fields))
            self._tries = 0

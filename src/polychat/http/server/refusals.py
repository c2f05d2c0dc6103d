"""What a request's head leaves open, and how a request is refused before any application hears of it."""

from __future__ import annotations

import httptools

FIRST = {
    400: b"HTTP/1.1 400 Bad Request\r\n",
    408: b"HTTP/1.1 408 Request Timeout\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
    500: b"HTTP/1.1 500 Internal Server Error\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\n",
    501: b"HTTP/1.1 501 Not Implemented\r\n",
    505: b"HTTP/1.1 505 HTTP Version Not Supported\r\n",
}


class Refused(Exception):  # a request is
    """A status and what is wrong."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def framing_of(fields: dict[bytes, bytes]) -> bytes:
    """A head with the same framing and nothing else; nothing where there is no body."""
    for name in (b"content-length", b"transfer-encoding"):
        if fields.get(name, b"0") != b"0":
            return b"POST / HTTP/1.1\r\nhost: -\r\nconnection: close\r\n%b: %b\r\n\r\n" % (name, fields[name])
    return b""


def local(url: bytes, method: str) -> bytes:
    """The path of a target that does not begin with one."""
    if method == "OPTIONS" and url == b"*":
        return url
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        parsed = None
    if parsed is None or parsed.schema not in (b"http", b"https") or not parsed.host:
        raise Refused(400, "the request target must be a path or an http URL")
    return b"?".join((parsed.path or b"/", parsed.query)) if parsed.query else parsed.path or b"/"

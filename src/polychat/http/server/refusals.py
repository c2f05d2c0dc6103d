"""Ambiguities in a request's head, and how a request is refused before it reaches the application."""

from __future__ import annotations

import json
from collections.abc import Sequence

import httptools

MAX_HEADERS = 128
_ONCE = (b"host", b"content-length", b"transfer-encoding")
FIRST = {
    400: b"HTTP/1.1 400 Bad Request\r\n",
    408: b"HTTP/1.1 408 Request Timeout\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
    500: b"HTTP/1.1 500 Internal Server Error\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\n",
    501: b"HTTP/1.1 501 Not Implemented\r\n",
    505: b"HTTP/1.1 505 HTTP Version Not Supported\r\n",
}


_MAY_PASS_LATER = (408, 500, 503)


class RefusedRequest(Exception):  # a request is
    """A status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    def headers_and_body(self) -> bytes:
        """The response after its first line; it ends the connection."""
        kind = "server_error" if self.status in (500, 503) else "invalid_request_error"
        body = json.dumps({"error": {"message": str(self), "type": kind}}).encode()
        final = b"" if self.status in _MAY_PASS_LATER else b"x-should-retry: false\r\n"
        head = b"content-type: application/json\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n" % (len(body), final)
        return head + body


def check_head(version: str, headers: Sequence[tuple[bytes, bytes]], fields: dict[bytes, bytes]) -> None:
    """Raises ``RefusedRequest`` for heads that llhttp accepts and two servers could interpret differently."""
    if version not in ("1.0", "1.1"):
        raise RefusedRequest(505, f"HTTP/{version} is not supported: use HTTP/1.1")
    if len(headers) > MAX_HEADERS:
        raise RefusedRequest(431, f"the request has {len(headers)} headers; the limit is {MAX_HEADERS}")
    names = [name for name, _ in headers]
    for name in _ONCE:
        if names.count(name) > 1:
            raise RefusedRequest(400, f"the request has more than one {name.decode()} header")
    if version == "1.1" and b"host" not in fields:
        raise RefusedRequest(400, "the request has no host header")
    coding = fields.get(b"transfer-encoding")
    if coding is not None and version == "1.0":
        raise RefusedRequest(400, "HTTP/1.0 does not support transfer-encoding")
    if coding is not None and coding.strip().lower() != b"chunked":
        raise RefusedRequest(501, "the only supported transfer-encoding is chunked")


def framing_of(fields: dict[bytes, bytes]) -> bytes:
    """A head with the same framing and nothing else; empty if there is no body."""
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
        raise RefusedRequest(400, "the request target must be a path or an http URL")
    return b"?".join((parsed.path or b"/", parsed.query)) if parsed.query else parsed.path or b"/"

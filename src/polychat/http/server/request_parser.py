"""The requests of one connection, read with llhttp: each whose head is whole becomes a ``RequestCycle``.

llhttp is strict; the rest is decided here: the maximum size of a head and of the overhead of chunks, heads that two
servers could interpret differently (``refusals.py``), and requests for another protocol, which are answered in this one.
"""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import unquote

import httptools

from .cycle import SMALL, CycleConnection, RequestCycle
from .known_head import KnownHead
from .refusals import MAX_HEADERS, RefusedRequest, check_head, framing_of, local
from .state import ServerState


class ParserConnection(CycleConnection, Protocol):
    """The connection, as its parser uses it."""

    def begin(self, cycle: RequestCycle) -> None:
        """A request's head was read. Raises ``RefusedRequest`` if too many wait already."""

    def refuse(self, refusal: RefusedRequest) -> None:
        """Refuse the request; nothing more is read."""

    def pause_reading(self) -> None:
        """The application reads slower than the client sends."""

    def data_received(self, data: bytes) -> None:
        """The client sent more."""


class RequestParser:
    """Parses requests: ``feed`` accepts the client's bytes; ``last`` is the request whose head was read last."""

    __slots__ = (
        *("in_head", "known_head", "last", "scope_template", "_connection", "_parser", "_server"),
        *("_body_framing", "_chunk_overhead_left", "_chunked", "_feed_size", "_head_size", "_headers", "_url"),
    )

    __deletable__ = ("_connection",)

    def __init__(self, connection: ParserConnection, server: ServerState, scope_template: dict[str, Any]) -> None:
        """``scope_template``: the common members of the scopes of all requests of this connection."""
        self._connection, self._server, self.scope_template = connection, server, scope_template
        self.in_head = False
        """Whether part of a head was read."""
        self.last: RequestCycle | None = None
        self.known_head: KnownHead | None = None
        """The last head, which the next request may repeat."""
        self._parser: Any = None
        self._head_size = self._feed_size = self._chunk_overhead_left = 0
        self._chunked = False
        self._body_framing = b""

    def close(self) -> None:
        """Release all references to the connection: nothing is fed after this."""
        self._parser = self.last = None
        del self._connection

    def feed(self, data: bytes | bytearray) -> None:
        """Raises nothing: invalid input is refused at the connection."""
        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        last = self.last
        in_body = last is not None and last.more_body
        begins = not (in_body or self.in_head)
        self._feed_size = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._refuse_unparsable(error)
            return
        cycle = self.last
        if begins and cycle is not last and cycle is not None and cycle.keep_alive:
            self.known_head = known = KnownHead.of(bytes(data), cycle.scope)
            if known is not None and not cycle.more_body:
                cycle.scope = known.template
        if not in_body and (self.in_head or self.last is last):
            self._head_size += len(data)
            if self._head_size > self._server.limits.head:
                self._connection.refuse(self._too_large())
        elif self._chunked:
            self._chunk_overhead_left -= len(data)
            if self._chunk_overhead_left < 0:
                self._connection.refuse(
                    RefusedRequest(400, "the request's chunks contain more extensions and trailers than data")
                )

    def _decline_upgrade(self, rest: bytes | bytearray) -> None:
        """A client that requests another protocol (Java's does) is answered in this one, unless the application switches to it.

        llhttp leaves the body of such a request unread, as if it were the other protocol's: it is given a head to go with it.
        Data after the request waits for its response.
        """
        if self._body_framing:
            self._parser = httptools.HttpRequestParser(_UpgradeBody(self))
            self._parser.feed_data(self._body_framing)
            self._body_framing = b""
        if rest:
            self._connection.data_received(bytes(rest))

    def _refuse_unparsable(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        self._connection.refuse(
            cause if isinstance(cause, RefusedRequest) else RefusedRequest(400, f"not a valid HTTP/1.1 request: {error}")
        )

    def _too_large(self) -> RefusedRequest:
        return RefusedRequest(
            431, (f"the request line and headers are larger than {self._server.limits.head:,} bytes (gateway.limits.head)")
        )

    # llhttp's side.

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self.in_head = True
        self._head_size = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:  # trailers are skipped: no header may be added to a request that was accepted
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        last = self.last
        if last is not None and not last.keep_alive:
            raise RefusedRequest(400, "a request after the connection's last one")
        headers, parser = self._headers, self._parser
        if self._head_size + self._feed_size > self._server.limits.head:
            size = len(self._url) + sum(len(name) + len(value) + 4 for name, value in headers)
            if size > self._server.limits.head:
                raise self._too_large()
        fields, version, count = dict(headers), parser.get_http_version(), len(headers)
        usual = version == "1.1" and b"host" in fields and len(fields) == count <= MAX_HEADERS
        if not usual or b"transfer-encoding" in fields or b"upgrade" in fields:
            self._check(version, fields)
        scope = self.scope_template.copy()
        if version != "1.1":
            scope["http_version"] = version
        method = parser.get_method()
        if method == b"CONNECT":
            raise RefusedRequest(501, "CONNECT is not supported: this is not a proxy")  # data after its head is not a request
        scope["method"] = method.decode("ascii")
        scope["headers"] = headers
        scope["polychat.fields"] = fields
        self._set_target(scope)
        self.in_head = False
        self._head_size = 0
        expects = b"expect" in fields and version == "1.1" and fields[b"expect"].lower() == b"100-continue"
        keep_alive = version == "1.1" and not self._body_framing and parser.should_keep_alive()
        self.last = cycle = RequestCycle(self._connection, scope, keep_alive, expects)
        self._connection.begin(cycle)

    def _check(self, version: str, fields: dict[bytes, bytes]) -> None:
        """Heads that llhttp accepts and two servers could interpret differently."""
        check_head(version, self._headers, fields)
        if self._parser.should_upgrade():
            self._body_framing = framing_of(fields)
        if b"transfer-encoding" in fields:
            self._chunked = True
            self._chunk_overhead_left = self._server.limits.head + self._feed_size

    def _set_target(self, scope: dict[str, Any]) -> None:
        """The request's target, as ASGI has it."""
        url = self._url
        if url[:1] != b"/":
            url = local(url, scope["method"])
        if b"#" in url:
            raise RefusedRequest(400, "the request target contains a fragment")
        raw, _, scope["query_string"] = url.partition(b"?")
        path = raw.decode("ascii")
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = raw

    def on_body(self, data: bytes) -> None:
        cycle = self.last
        assert cycle is not None
        if self._chunked:
            self._chunk_overhead_left += 9 * len(data)  # a chunk of a byte takes five more, and some pad the size with zeros
        if not cycle.complete and not cycle.disconnected and cycle.add_body(data) > SMALL:
            self._connection.pause_reading()

    def on_message_complete(self) -> None:
        if self._body_framing:
            return  # it has only begun, see _decline_upgrade
        cycle = self.last
        assert cycle is not None
        self._chunked = False
        cycle.end_body()


class _UpgradeBody:
    """The parser's callbacks for a body that follows a substitute head."""

    def __init__(self, parser: RequestParser) -> None:
        self.on_body, self.on_message_complete = parser.on_body, parser.on_message_complete

    def on_message_begin(self) -> None: ...

"""A request of the pool as bytes, and its destination."""

from __future__ import annotations

import base64
import re
import ssl
from functools import lru_cache
from typing import NamedTuple

from yarl import URL

from ...errors import BadInput
from ...redact import Secrets, secrets_of
from ...version import __version__
from ..coding import ACCEPTED
from ..proxy import Proxy, proxy_of
from ..request import url_of
from ..tls import tls
from .body import RequestBody

_METHOD = re.compile(r"[A-Z]{1,20}")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_OURS = frozenset({"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
"""Headers that frame a message or belong to the connection."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_DEFAULTS = {"accept": "*/*", "accept-encoding": ACCEPTED, "user-agent": f"polychat/{__version__}"}


class URLParts(NamedTuple):
    """The parts of a URL."""

    url: URL
    host: str
    port: int
    authority: str
    """As in ``Host``."""
    target: str
    authorization: str
    """The ``Authorization`` for the URL's user and password; empty without them."""

    @property
    def is_tls(self) -> bool:
        return self.url.scheme == "https"


def place_of(url: str) -> URLParts:
    """Raises ``BadInput``."""
    parsed = url_of(url, None)
    login = f"{parsed.user or ''}:{parsed.password or ''}".encode() if parsed.user is not None else b""
    basic = f"Basic {base64.b64encode(login).decode()}" if login else ""
    return URLParts(
        parsed, parsed.raw_host or "", parsed.port or 0, parsed.host_port_subcomponent or "", parsed.raw_path_qs, basic
    )


class Origin(NamedTuple):
    """How a server is reached: requests with the same origin may share connections."""

    scheme: str
    host: str
    port: int
    proxy: Proxy | None
    tls: ssl.SSLContext | None


class PoolRequest:
    """A request as bytes, without its body. Not to be changed."""

    __slots__ = ("begins", "headers", "is_safe", "method", "origin", "place", "proxy", "secrets")

    def __init__(
        self,
        method: str,
        place: URLParts,
        headers: tuple[tuple[str, str], ...],
        begins: bytes,
        is_safe: bool,
        proxy: Proxy | None,
        origin: Origin | None,
        secrets: Secrets | None,
    ) -> None:
        """``begins``: the head up to the body's size, which is the same for successive requests to a vendor.

        ``is_safe``: whether sending the request twice has the same effect as once. ``origin`` is ``None`` if it needs TLS,
        whose certificates may change from one request to the next. ``secrets`` are its credentials, which are removed from
        the reply.
        """
        self.method, self.place, self.headers, self.begins, self.is_safe = method, place, headers, begins, is_safe
        self.proxy, self.origin, self.secrets = proxy, origin, secrets

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.method} {self.place.authority})"  # other members contain keys

    def server(self) -> Origin:
        """How its server is reached now."""
        if self.origin is not None:
            return self.origin
        return Origin(self.place.url.scheme, self.place.host, self.place.port, self.proxy, tls())

    def head(self, body: RequestBody | None) -> bytes:
        if body is not None or self.method in ("POST", "PUT", "PATCH"):
            return b"%bcontent-length: %d\r\n\r\n" % (self.begins, len(body or b""))
        return self.begins + b"\r\n"

    def with_body(self, body: bytes) -> bytes:
        """``head`` and the body."""
        return b"%bcontent-length: %d\r\n\r\n%b" % (self.begins, len(body), body)

    def adding(self, name: str, value: str) -> PoolRequest:
        """The request with a further header, of printable ASCII, that is no credential."""
        begins = b"%b%b: %b\r\n" % (self.begins, name.encode(), value.encode())
        headers = *self.headers, (name, value)
        return PoolRequest(self.method, self.place, headers, begins, self.is_safe, self.proxy, self.origin, self.secrets)


@lru_cache(maxsize=512)
def pool_request(method: str, url: str, headers: tuple[tuple[str, str], ...], proxy: str | None) -> PoolRequest:
    """The request, addressed to ``url`` or, without TLS, to ``proxy``. Raises ``BadInput``."""
    if not _METHOD.fullmatch(method) or method == "CONNECT":
        raise BadInput("method must be an HTTP method in capitals, such as GET or POST", field="method")
    place, via = place_of(url), None if proxy is None else proxy_of(proxy)
    target, own = place.target, _defaults(place)
    if via is not None and not via.is_socks and not place.is_tls:
        target = f"http://{place.authority}{target}"
        own.update((name.lower(), value) for name, value in via.headers.items())
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers:
        if not _NAME.fullmatch(name) or name.lower() in _OURS or name.lower() == "proxy-authorization":
            raise BadInput("headers contains an invalid name, or one that the connection sets itself", field="headers")
        if _NO_VALUE.search(value):
            raise BadInput(f"headers: the value of {name} contains control characters: remove them", field="headers")
        own.pop(name.lower(), None)
        lines.append(f"{name}: {value}")
    lines += [f"{name}: {value}" for name, value in own.items()]
    is_safe = method in _SAFE or any(name.lower() == "idempotency-key" for name, _ in headers)
    needs_tls = place.is_tls or (via is not None and via.scheme == "https")
    origin = None if needs_tls else Origin(place.url.scheme, place.host, place.port, via, None)
    known = secrets_of([*headers, ("authorization", place.authorization), *(via.headers.items() if via is not None else ())])
    return PoolRequest(method, place, headers, "\r\n".join([*lines, ""]).encode(), is_safe, via, origin, known)


def _defaults(place: URLParts) -> dict[str, str]:
    """Headers that are sent unless the caller sets them."""
    own = {"host": place.authority, **_DEFAULTS}
    if place.authorization:
        own["authorization"] = place.authorization
    return own

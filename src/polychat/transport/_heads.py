"""What a request on the fast path is in bytes, and where it goes."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from yarl import URL

from .. import __version__
from ..errors import BadInput
from ._coding import ACCEPTED
from ._request import url_of
from .proxy import Proxy

_METHOD = re.compile(r"[A-Z]{1,20}")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_OURS = frozenset({"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
"""Headers that frame a message or belong to the connection."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_DEFAULTS = {"accept": "*/*", "accept-encoding": ACCEPTED, "user-agent": f"polychat/{__version__}"}


class Place(NamedTuple):
    """A URL taken apart."""

    url: URL
    host: str
    port: int
    authority: str
    """As ``Host`` has it."""
    target: str
    authorization: str
    """What the URL's user and password come to; empty without them."""

    @property
    def is_tls(self) -> bool:
        return self.url.scheme == "https"


@lru_cache(maxsize=512)
def place_of(url: str) -> Place:
    """Raises ``BadInput``."""
    found = url_of(url, None)
    login = f"{found.user or ''}:{found.password or ''}".encode() if found.user is not None else b""
    basic = f"Basic {base64.b64encode(login).decode()}" if login else ""
    return Place(found, found.raw_host or "", found.port or 0, found.host_port_subcomponent or "", found.raw_path_qs, basic)


class Asked(NamedTuple):
    """A request in bytes."""

    method: str
    place: Place
    headers: Mapping[str, str]
    head: bytes
    body: bytes | None
    is_safe: bool
    """Whether asking twice is as asking once."""


def asked(method: str, place: Place, headers: Mapping[str, str], body: bytes | None, proxy: Proxy | None) -> Asked:
    """The request, to go to ``place`` itself or, where that is not TLS, to ``proxy``. Raises ``BadInput``."""
    begins, is_safe = _begins(method, place, tuple(headers.items()), proxy)
    size = b"content-length: %d\r\n" % len(body or b"") if body is not None or method in ("POST", "PUT", "PATCH") else b""
    return Asked(method, place, headers, begins + size + b"\r\n", body, is_safe)


@lru_cache(maxsize=512)
def _begins(method: str, place: Place, headers: tuple[tuple[str, str], ...], proxy: Proxy | None) -> tuple[bytes, bool]:
    """The head up to the body's size: from one ask of a vendor to the next it is the same. And whether asking twice is safe."""
    if not _METHOD.fullmatch(method) or method == "CONNECT":
        raise BadInput("method must be an HTTP method in capitals, such as GET or POST", field="method")
    target, own = place.target, _defaults(place)
    if proxy is not None and not place.is_tls:
        target = f"http://{place.authority}{target}"
        own.update((name.lower(), value) for name, value in proxy.headers.items())
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers:
        if not _NAME.fullmatch(name) or name.lower() in _OURS or name.lower() == "proxy-authorization":
            raise BadInput("headers holds a name that no header can have, or one that the connection needs", field="headers")
        if _NO_VALUE.search(value):
            raise BadInput(f"headers: what {name} holds cannot be sent: it has control characters in it", field="headers")
        own.pop(name.lower(), None)
        lines.append(f"{name}: {value}")
    lines += [f"{name}: {value}" for name, value in own.items()]
    head = "\r\n".join([*lines, ""]).encode()
    is_safe = method in _SAFE or any(name.lower() == "idempotency-key" for name, _ in headers)
    return head, is_safe


def _defaults(place: Place) -> dict[str, str]:
    """What goes along unless the caller says otherwise."""
    own = {"host": place.authority, **_DEFAULTS}
    if place.authorization:
        own["authorization"] = place.authorization
    return own

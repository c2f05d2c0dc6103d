"""Which web pages may make a browser send requests here."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


class OriginPolicy:
    """Refuses requests that a web page of another site makes a browser send: its origin is neither ours nor an allowed one.

    Without keys it also refuses a host name that was made to point here (DNS rebinding).
    """

    def __init__(self, origins: tuple[str, ...], hosts: tuple[str, ...], *, guarded: bool) -> None:
        self._origins = {origin.rstrip("/").lower() for origin in origins}
        self._hosts = {host.lower() for host in hosts}
        self._guarded = guarded
        self._known: dict[bytes, bool] = {}

    def wrong(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Why the request is refused; ``None`` if it is not."""
        if not self._guarded:
            host = headers.get(b"host", b"")
            good = self._known.get(host)
            if good is None:
                good = self._is_ours(host)
                if len(self._known) < 256 and len(host) <= 256:
                    self._known[host] = good
            if not good:
                return "host not allowed: without gateway.keys the gateway accepts loopback addresses only"
        origin = headers.get(b"origin")
        if origin is None or "*" in self._origins:
            return None
        site = origin.decode("latin-1").lower()
        authority = site.partition("://")[2].partition("/")[0]  # browsers send no path with it; some programs do
        if site in self._origins or authority.encode("latin-1") == headers.get(b"host", b"").lower():
            return None
        if headers.get(b"sec-fetch-site") == b"same-origin":
            return None  # pages cannot set this header, and a browser sends it to the page's own host only
        return "origin not allowed: add it to gateway.cors"

    def _is_ours(self, host: bytes) -> bool:
        try:
            name = (urlsplit(f"//{host.decode('latin-1')}").hostname or "") if host else ""
        except ValueError:  # not a host
            return False
        if name in ("localhost", "") or name.endswith(".localhost") or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True  # an address, unlike a name, cannot be redirected

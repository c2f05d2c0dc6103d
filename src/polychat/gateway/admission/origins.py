"""Which web pages may make a browser send requests here."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


class OriginPolicy:
    """Refuses what a web page of somebody else's makes a browser send: its origin is not ours, nor one that was let in.

    Where no key guards the gateway a name that was made to point here (DNS rebinding) is refused too.
    """

    def __init__(self, origins: tuple[str, ...], hosts: tuple[str, ...], *, guarded: bool) -> None:
        self._origins = {origin.rstrip("/").lower() for origin in origins}
        self._hosts = {host.lower() for host in hosts}
        self._guarded = guarded
        self._known: dict[bytes, bool] = {}

    def wrong(self, headers: Mapping[bytes, bytes]) -> str | None:
        """What is wrong with the request, if anything."""
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
        authority = site.partition("://")[2].partition("/")[0]  # no browser sends a path with it; programs do
        if site in self._origins or authority.encode("latin-1") == headers.get(b"host", b"").lower():
            return None
        if headers.get(b"sec-fetch-site") == b"same-origin":
            return None  # pages cannot set this header, and a browser says it of its own host only: it is a program
        return "origin not allowed: add it to gateway.cors"

    def _is_ours(self, host: bytes) -> bool:
        try:
            name = (urlsplit(f"//{host.decode('latin-1')}").hostname or "") if host else ""
        except ValueError:  # no host at all
            return False
        if name in ("localhost", "") or name.endswith(".localhost") or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True  # an address cannot be made to point elsewhere

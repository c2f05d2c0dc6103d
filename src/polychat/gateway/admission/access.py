"""Who may come in: by a key, and where there are none, nobody whom a web page sends."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from ...config.secrets import secret
from ...errors import BadInput

_SHORTEST = 8
_SEEN = 1024


class Keys:
    """The configuration's keys by name. What is kept of each is its digest."""

    def __init__(self, references: Mapping[str, str]) -> None:
        """Raises ``NotReady`` for a reference to nothing, ``BadInput`` for a key that is too short or is there twice."""
        self._names: dict[bytes, str] = {}
        self._seen: dict[bytes, str] = {}
        """Whole headers that were right. What is looked up here meets them by a hash with a secret seed: one that is nearly
        right takes as long as any other."""
        for name, reference in references.items():
            key = secret(reference, f"gateway.keys.{name}")
            if len(key) < _SHORTEST:
                raise BadInput(f"gateway.keys.{name} has fewer than {_SHORTEST} letters: choose a longer key", field="keys")
            digest = _digest(key.encode())
            if digest in self._names:
                raise BadInput(f"gateway.keys.{name} is the same key as {self._names[digest]}", field="keys")
            self._names[digest] = name

    def __bool__(self) -> bool:
        return bool(self._names)

    def name_of(self, headers: Mapping[bytes, bytes], query: bytes) -> str:
        """Whose key the request has, wherever the vendors' clients put it; empty for none that is known.

        OpenAI: ``Authorization: Bearer``; Azure: ``api-key``; Anthropic: ``x-api-key``, its newer clients both; Google:
        ``x-goog-api-key``, or ``key`` in the query.
        """
        name = self._seen.get(headers.get(b"authorization", b""))
        if name is not None:
            return name
        for given in _given(headers, query):
            digest = _digest(given)
            # A digest tells nothing of how much of the key was right, so looking it up takes the same time for all.
            for known, name in self._names.items():
                if hmac.compare_digest(known, digest):
                    authorization = headers.get(b"authorization", b"")
                    if authorization[7:] == given and len(self._seen) < _SEEN:
                        self._seen[authorization] = name
                    return name
        return ""


def _given(headers: Mapping[bytes, bytes], query: bytes) -> list[bytes]:
    found = []
    authorization = headers.get(b"authorization")
    if authorization is not None and authorization[:7].lower() == b"bearer ":
        found.append(authorization[7:].strip())
    for name in (b"x-api-key", b"x-goog-api-key", b"api-key"):
        value = headers.get(name)
        if value is not None and value not in found:
            found.append(value)
    if not found and b"key=" in query:
        found += [value.encode() for value in parse_qs(query.decode("latin-1")).get("key", [])[:1]]
    return found


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


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
                return "the Host is not this gateway's: without keys it answers to loopback addresses only"
        origin = headers.get(b"origin")
        if origin is None or "*" in self._origins:
            return None
        said = origin.decode("latin-1").lower()
        authority = said.partition("://")[2].partition("/")[0]  # no browser sends a path with it; programs do
        if said in self._origins or authority.encode("latin-1") == headers.get(b"host", b"").lower():
            return None
        if headers.get(b"sec-fetch-site") == b"same-origin":
            return None  # pages cannot set this header, and a browser says it of its own host only: it is a program
        return "pages of this origin are not let in: name it in gateway.cors"

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

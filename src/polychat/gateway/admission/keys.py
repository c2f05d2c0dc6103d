"""The gateway's keys: whose key a request has."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qs

from ...errors import BadInput
from ...user.secrets import secret

_SHORTEST = 8
_SEEN = 1024


class Keys:
    """The configuration's keys by name. What is kept of each is its digest."""

    def __init__(self, references: Mapping[str, str], table: str = "gateway.keys") -> None:
        """``table`` is where they are configured. Raises ``NotReady`` for a reference to nothing, ``BadInput`` for a key
        that is too short or is there twice."""
        self._names: dict[bytes, str] = {}
        self._seen: dict[bytes, str] = {}
        """Whole headers that were right. What is looked up here meets them by a hash with a secret seed: one that is nearly
        right takes as long as any other."""
        for name, reference in references.items():
            key = secret(reference, f"{table}.{name}")
            if len(key) < _SHORTEST:
                raise BadInput(f"{table}.{name} has fewer than {_SHORTEST} characters: choose a longer key", field="keys")
            digest = _digest(key.encode())
            if digest in self._names:
                raise BadInput(f"{table}.{name} is the same key as {self._names[digest]}", field="keys")
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
        for key in _keys_in(headers, query):
            digest = _digest(key)
            # A digest tells nothing of how much of the key was right, so looking it up takes the same time for all.
            for known, name in self._names.items():
                if hmac.compare_digest(known, digest):
                    authorization = headers.get(b"authorization", b"")
                    if authorization[7:] == key and len(self._seen) < _SEEN:
                        self._seen[authorization] = name
                    return name
        return ""


def _keys_in(headers: Mapping[bytes, bytes], query: bytes) -> list[bytes]:
    """The keys that a request has, by the headers of each vendor's clients."""
    keys = []
    authorization = headers.get(b"authorization")
    if authorization is not None and authorization[:7].lower() == b"bearer ":
        keys.append(authorization[7:].strip())
    for name in (b"x-api-key", b"x-goog-api-key", b"api-key"):
        value = headers.get(name)
        if value is not None and value not in keys:
            keys.append(value)
    if not keys and b"key=" in query:
        keys += [value.encode() for value in parse_qs(query.decode("latin-1")).get("key", [])[:1]]
    return keys


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()

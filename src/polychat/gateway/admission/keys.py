"""The gateway's API keys, and which of them a request carries."""

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
    """The configuration's keys by name. Only their digests are kept."""

    def __init__(self, references: Mapping[str, str], table: str = "gateway.keys") -> None:
        """``table`` is where they are configured. Raises ``NotReady`` for a reference that has no value, ``BadInput`` for a key
        that is too short or a duplicate."""
        self._names: dict[bytes, str] = {}
        self._seen: dict[bytes, str] = {}
        """Headers that were valid. The lookup is by a hash with a secret seed, so a header that is nearly
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
        """The name of the request's key, from whichever header a vendor's client uses; empty if the key is missing or unknown.

        OpenAI: ``Authorization: Bearer``; Azure: ``api-key``; Anthropic: ``x-api-key``, its newer clients both; Google:
        ``x-goog-api-key``, or ``key`` in the query.
        """
        name = self._seen.get(headers.get(b"authorization", b""))
        if name is not None:
            return name
        for key in keys_in(headers, query):
            digest = _digest(key)
            # A digest does not show how much of the key was right, so the comparison takes the same time for every key.
            for own_digest, name in self._names.items():
                if hmac.compare_digest(own_digest, digest):
                    authorization = headers.get(b"authorization", b"")
                    if authorization[7:] == key and len(self._seen) < _SEEN:
                        self._seen[authorization] = name
                    return name
        return ""


def keys_in(headers: Mapping[bytes, bytes], query: bytes) -> list[bytes]:
    """The keys in the headers of a request, and in its query if the headers have none."""
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

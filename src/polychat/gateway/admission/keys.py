"""The gateway's API keys, and which of them a request carries."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import time
from urllib.parse import parse_qs

from ...errors import BadInput, NotReady
from ...user.command_secret import CommandSecret, Token, command_secret
from ...user.secrets import secret
from ...wire.faults import Fault
from ..responder import Refused

UNKNOWN_KEY = "missing or unknown API key: send a valid one as Authorization: Bearer …"
_SHORTEST = 8
_SEEN = 1024


class Keys:
    """The configuration's keys by name. Only their digests are kept.

    One that a command prints (``exec:``) is renewed: the next one is accepted as soon as the command has printed it, and the
    one before until it expires. No request waits for that.
    """

    def __init__(self, references: Mapping[str, str], table: str = "gateway.keys", clock: Callable[[], float] = time) -> None:
        """``table`` is where they are configured. Raises ``NotReady`` for a reference that has no value, ``BadInput`` for a key
        that is too short or a duplicate."""
        self._table, self._clock = table, clock
        self._names: dict[bytes, str] = {}
        self._commands: dict[str, CommandSecret] = {}
        self._tokens: dict[str, Token] = {}
        """The latest of each command."""
        self._ends: dict[bytes, float] = {}
        """By digest, when a command's key expires."""
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
            kind, _, command = reference.partition(":")
            if kind == "exec":
                self._commands[name] = command_secret(command)

    def __bool__(self) -> bool:
        return bool(self._names)

    @property
    def renews(self) -> bool:
        """Whether a key that is accepted now may not be accepted later."""
        return bool(self._commands)

    def name_of(self, headers: Mapping[bytes, bytes], query: bytes) -> str:
        """The name of the request's key, from whichever header a vendor's client uses; empty if the key is missing or unknown.

        OpenAI: ``Authorization: Bearer``; Azure: ``api-key``; Anthropic: ``x-api-key``, its newer clients both; Google:
        ``x-goog-api-key``, or ``key`` in the query.
        """
        if self._commands:
            self._renew()
        name = self._seen.get(headers.get(b"authorization", b""))
        if name is not None:
            return name
        for key in keys_in(headers, query):
            digest = _digest(key)
            # A digest does not show how much of the key was right, so the comparison takes the same time for every key.
            for own_digest, name in self._names.items():
                if hmac.compare_digest(own_digest, digest):
                    authorization = headers.get(b"authorization", b"")
                    if authorization[7:] == key and len(self._seen) < _SEEN and name not in self._commands:
                        self._seen[authorization] = name
                    return name
        return ""

    def _renew(self) -> None:
        """Begin runs of commands that are due, take what others have printed since, and forget what has expired."""
        now = self._clock()
        for name, command in self._commands.items():
            with suppress(NotReady):  # the command is run again later
                command.fresh(f"{self._table}.{name}")
            token = command.token
            if token is not None and token is not self._tokens.get(name) and len(token.value) >= _SHORTEST:
                self._tokens[name] = token
                digest = _digest(token.value.encode())
                self._names.setdefault(digest, name)
                self._ends[digest] = token.last
        for digest in [digest for digest, end in self._ends.items() if end <= now]:
            del self._ends[digest]
            self._names.pop(digest, None)


def unauthorized(message: str = UNKNOWN_KEY) -> Refused:
    """The refusal of a request whose key is missing or not accepted."""
    return Refused(Fault(message, "authentication", 401), [(b"www-authenticate", b"Bearer")])


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

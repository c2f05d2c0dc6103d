"""Texts that are kept are encrypted with a key of the gateway's owner: AES-256-GCM, by the package ``cryptography``.

A text is bound to its place, so one that is moved to another is not read. It begins with the name of its key, which is a part
of the key's SHA-256: keys are changed by a new one before the old ones, which still read what they wrote. Each text has a
random number of 96 bits, which is enough for four billion texts with one key.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from ..errors import BadInput, MissingPackage
from .store import TextPlace

_SIZE, _NAME, _NONCE = 32, 4, 12
_VERSION = b"\x01"


class TextCipher:
    """Encrypts with the first of the keys, and decrypts with any of them."""

    def __init__(self, keys: Sequence[str], field: str = "gateway.state.encryption_keys") -> None:
        """Each key is 32 random bytes in base64. Raises ``BadInput``; ``MissingPackage`` without the extra ``encryption``."""
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise MissingPackage("cryptography", extra="encryption", purpose=field) from None
        raw = [_key_in(key, field) for key in keys]
        self._wrong = InvalidTag
        self._keys: dict[bytes, Any] = {sha256(key).digest()[:_NAME]: AESGCM(key) for key in raw}
        self._first = sha256(raw[0]).digest()[:_NAME]

    def encrypt(self, data: bytes, place: TextPlace) -> bytes:
        nonce = os.urandom(_NONCE)
        encrypted: bytes = self._keys[self._first].encrypt(nonce, data, _bound(place))
        return b"".join((_VERSION, self._first, nonce, encrypted))

    def decrypt(self, data: bytes, place: TextPlace) -> bytes | None:
        """``None`` where none of the keys wrote it for this place."""
        name, rest = data[1 : 1 + _NAME], data[1 + _NAME :]
        key = self._keys.get(name)
        if data[:1] != _VERSION or key is None or len(rest) < _NONCE:
            return None
        try:
            text: bytes = key.decrypt(rest[:_NONCE], rest[_NONCE:], _bound(place))
        except self._wrong:
            return None
        return text


def _key_in(text: str, field: str) -> bytes:
    try:
        key = base64.b64decode(text.strip().translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _SIZE:
        raise BadInput(
            f"{field} must be {_SIZE} random bytes in base64: make them with  openssl rand -base64 {_SIZE}", field=field
        )
    return key


def _bound(place: TextPlace) -> bytes:
    return b"".join(b"%d:%b" % (len(part), part) for part in map(str.encode, place))

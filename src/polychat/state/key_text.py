"""The text of a gateway key: ``pc-<public id>-<secret>-<checksum>``.

part        characters  what it is for
==========  ==========  ========================================================================
public id   12          names the key in logs, reports and errors; it opens nothing
secret      43          256 random bits
checksum    6           CRC-32 of all before it: a typo is reported without asking any store, and
                        a scanner that finds the form can tell a key from a text that looks alike
==========  ==========  ========================================================================

Characters are digits and letters, so a double click selects each part, and no part contains the hyphen that separates them.

Stores keep only ``digest_of`` the whole text. A slow password hash would add nothing: with 256 random bits there is no list of
likely secrets to try, and a request must not pay for one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from string import ascii_letters, digits
from typing import NamedTuple
from zlib import crc32

from ..errors import BadInput

PREFIX = "pc-"
PUBLIC, SECRET, CHECKSUM = 12, 43, 6
"""Characters of each part."""
LONGEST = len(PREFIX) + PUBLIC + 1 + SECRET + 1 + CHECKSUM
_ALPHABET = digits + ascii_letters
PATTERN = rf"pc-[0-9A-Za-z]{{{PUBLIC}}}-[0-9A-Za-z]{{{SECRET}}}-[0-9A-Za-z]{{{CHECKSUM}}}"
"""The form, for scanners of secrets; ``mistake_in`` tells a key from a text of that form."""
_FORM = re.compile(PATTERN.encode())


class NewKey(NamedTuple):
    """A key that was just made. Its text is shown once, to the person who gets it, and is not kept."""

    public_id: str
    text: str

    def __repr__(self) -> str:
        return f"NewKey({self.public_id!r}, …)"


def new_key() -> NewKey:
    """A random key."""
    public_id = _random(PUBLIC)
    text = f"{PREFIX}{public_id}-{_random(SECRET)}"
    return NewKey(public_id, f"{text}-{_checksum(text.encode())}")


def is_key(text: bytes) -> bool:
    """Whether a text means to be a key of this form, mistyped or not."""
    return text.startswith(b"pc-")


def mistake_in(text: bytes) -> str:
    """What is wrong with the text of a key, as the rest of a sentence that begins with ``the key``; empty where nothing is."""
    if _FORM.fullmatch(text) is None:
        if len(text) != LONGEST:
            return f"has {len(text):,} characters instead of {LONGEST}: copy it completely"
        return "does not have the form pc-ID-SECRET-CHECKSUM: copy it again"
    if _checksum(text[: -CHECKSUM - 1]) != text[-CHECKSUM:].decode():
        return "contains a typo: its checksum does not match"
    return ""


def public_id_of(text: bytes) -> str:
    """The public id. Raises ``BadInput`` for a text that is not a whole key; the error does not contain the text."""
    if mistake := mistake_in(text):
        raise BadInput(f"the key {mistake}", field="key")
    return text[len(PREFIX) : len(PREFIX) + PUBLIC].decode()


def digest_of(text: bytes) -> bytes:
    """What a store keeps of a key, and finds it by."""
    return hashlib.sha256(text).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(text: bytes) -> str:
    number, letters = crc32(text), ""
    for _ in range(CHECKSUM):
        number, rest = divmod(number, len(_ALPHABET))
        letters = _ALPHABET[rest] + letters
    return letters

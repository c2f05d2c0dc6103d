"""Signed keys: a key that says itself whose it is, what it may do and until when, and needs no store.

A text is ``pcs-1.CLAIMS.SIGNATURE``:

part        what it is
==========  =========================================================================================
``pcs-1``   the form and its version
CLAIMS      ``Claims`` as JSON in one fixed form, in Base64 for URLs without padding; anybody can read it
SIGNATURE   HMAC-SHA256 of all before it, by a secret that only gateways and their operator have
==========  =========================================================================================

Whoever can verify can also sign: the secret belongs on gateways alone. A text is valid in one form only: claims that another
version wrote with more in them are refused, as what they restrict would be ignored.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from msgspec import DecodeError, Struct, ValidationError, json

from ..errors import BadInput
from .store import Ownership, Policy

PREFIX = b"pcs-1."
LONGEST = 4_096
"""Bytes of a key, at most."""
SHORTEST_SECRET = 32
"""Characters."""
_FORM = re.compile(rb"pcs-1\.[0-9A-Za-z_-]{1,%d}\.[0-9A-Za-z_-]{43}" % LONGEST)
_SKEW = 300.0
"""Seconds that the clock of whoever signed may be ahead."""
_DAY = 86_400


class Claims(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a key says of itself."""

    id: str
    """Public: logs and usage name the key by it."""
    name: str = ""
    issued: int
    """Seconds since 1970."""
    expires: int
    person: str = ""
    team: str = ""
    org: str = ""
    policy: Policy = Policy()

    @property
    def ownership(self) -> Ownership:
        return Ownership(key=self.id, person=self.person, team=self.team, org=self.org)


_CLAIMS = json.Decoder(Claims)


def is_signed(text: bytes) -> bool:
    """Whether a text means to be a signed key, of this version or another."""
    return text.startswith(b"pcs-")


def sign(claims: Claims, secret: str) -> str:
    """The text of a key. Raises ``BadInput`` if it would be too long."""
    signed = PREFIX + _base64(json.encode(claims))
    text = signed + b"." + _signature(signed, secret)
    if len(text) > LONGEST:
        message = f"the key would have {len(text):,} characters, and {LONGEST:,} is the limit: name fewer models"
        raise BadInput(message, field="models")
    return text.decode()


class KeyVerifier:
    """Verifies keys that were signed with one of ``secrets``."""

    def __init__(self, secrets: Sequence[str], revoked: Collection[str] = (), longest_days: int = 366) -> None:
        """``revoked``: ids. Keys that live longer than ``longest_days`` are refused. Raises ``BadInput`` for a short secret."""
        for secret in secrets:
            if len(secret) < SHORTEST_SECRET:
                raise BadInput(
                    f"the secret of gateway.signed_keys has fewer than {SHORTEST_SECRET} characters: make one with "
                    "`openssl rand -base64 48`",
                    field="gateway.signed_keys.secret",
                )
        self._secrets = tuple(secrets)
        self._revoked = frozenset(revoked)
        self._longest = longest_days * _DAY

    def claims(self, text: bytes, now: float) -> Claims | str:
        """What the key says, if it is valid at this moment; else why not, as the rest of a sentence that begins with it."""
        if len(text) > LONGEST or _FORM.fullmatch(text) is None:
            return "is not complete, or of another version: copy it again, or ask for a new one"
        signed, _, signature = text.rpartition(b".")
        # Every secret is tried, and each comparison takes the same time for every signature.
        matches = [hmac.compare_digest(_signature(signed, secret), signature) for secret in self._secrets]
        if not any(matches):
            return "is not valid: its signature does not match"
        return self._accepted(signed[len(PREFIX) :], now)

    def _accepted(self, part: bytes, now: float) -> Claims | str:
        try:
            content = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
            claims = _CLAIMS.decode(content)
        except (ValueError, DecodeError, ValidationError):
            return "cannot be read: it was made by another version; ask for a new one"
        if json.encode(claims) != content:
            return "says more than this version knows: ask for a new one"
        if claims.id in self._revoked:
            return "is revoked"
        if claims.expires <= now:
            return f"expired at {_moment(claims.expires)}: ask for a new one"
        if claims.issued > now + _SKEW:
            return f"is valid from {_moment(claims.issued)} on"
        if claims.expires - claims.issued > self._longest:
            return "has a longer life than gateway.signed_keys.longest_days allows: ask for a new one"
        return claims


def _signature(signed: bytes, secret: str) -> bytes:
    return _base64(hmac.digest(secret.encode(), signed, hashlib.sha256))


def _base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _moment(at: int) -> str:
    return datetime.fromtimestamp(min(at, 253_402_300_799), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""The accounts of signed keys: verified once, kept in memory, and valid until they expire or the configuration revokes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ...state.signed_keys import Claims, KeyVerifier, is_signed
from ...user.secrets import secret
from .accounts import Account, Buckets, Holder
from .guesses import Guesses
from .keys import keys_in, unauthorized

if TYPE_CHECKING:
    from ...config.access import SignedKeySettings

_KNOWN = 10_000


def verifier_of(settings: SignedKeySettings) -> KeyVerifier:
    """Raises ``NotReady`` for a secret that is not there, ``BadInput`` for one that is too short."""
    references = {"secret": settings.secret, **{f"previous[{n}]": old for n, old in enumerate(settings.previous)}}
    secrets = [secret(reference, f"gateway.signed_keys.{name}") for name, reference in references.items()]
    return KeyVerifier(secrets, settings.revoked, settings.longest_days)


class SignedAccounts:
    """Those of the keys that one configuration accepts."""

    def __init__(
        self, verifier: KeyVerifier, buckets: Buckets, clock: Callable[[], float], earlier: SignedAccounts | None = None
    ) -> None:
        """``clock``: seconds since 1970. ``earlier``: those of the configuration before, of which requests may be under way."""
        self._verifier, self._buckets, self._clock = verifier, buckets, clock
        self._by_key: dict[bytes, Account] = {}
        """Accounts by the texts of their keys, which were valid once."""
        self._by_id: dict[str, Account] = {}
        self._guesses = Guesses(clock)
        for key in [] if earlier is None else list(earlier._by_key):
            claims = verifier.claims(key, clock())
            if isinstance(claims, Claims):
                self._kept(key, claims)

    def account(self, key: str) -> Account | None:
        """By the id of a key that was accepted."""
        return self._by_id.get(key)

    def known(self, headers: Mapping[bytes, bytes], query: bytes) -> Account | None:
        """That of a request's key, if it is a signed one and was accepted before."""
        if not self._by_key:
            return None
        for key in keys_in(headers, query):
            account = self._by_key.get(key)
            if account is not None and account.expires_at is not None and account.expires_at > self._clock():
                return account
        return None

    def find(self, headers: Mapping[bytes, bytes], query: bytes, address: str) -> Account | None:
        """That of a request's key; ``None`` if it has no signed one. Raises ``Refused`` for one that is not accepted."""
        for key in keys_in(headers, query):
            if is_signed(key):
                self._guesses.check(address)
                claims = self._verifier.claims(key, self._clock())
                if isinstance(claims, Claims):
                    return self._kept(key, claims)
                self._guesses.add(address)
                raise unauthorized(f"the signed API key {claims}")
        return None

    def _kept(self, key: bytes, claims: Claims) -> Account:
        if len(self._by_key) >= _KNOWN:
            self._forget_expired()
        holder = Holder("key", claims.id, claims.policy)
        account = Account(claims.id, [holder], self._buckets, claims.ownership, claims.expires)
        self._by_key[key] = self._by_id[claims.id] = account
        return account

    def _forget_expired(self) -> None:
        now = self._clock()
        for key, account in list(self._by_key.items()):
            if account.expires_at is not None and account.expires_at <= now:
                del self._by_key[key]
                self._by_id.pop(account.name, None)

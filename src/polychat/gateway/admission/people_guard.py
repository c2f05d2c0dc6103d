"""Refuses requests without a known key, where a database holds keys or keys are signed, beside those of the configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..context import Guard, RequestContext
from .accounts import Account
from .keys import Keys, unauthorized
from .people_keys import PeopleKeys
from .signed_accounts import SignedAccounts


class PeopleKeyGuard(Guard):
    """Records the name of a key of the configuration, or the id of another."""

    def __init__(self, keys: Keys, people: PeopleKeys | None, signed: SignedAccounts | None, *, guarded: bool) -> None:
        """``guarded``: a key is required also while the database has none."""
        self._keys, self._people, self._signed, self._guarded = keys, people, signed, guarded

    def admission(self, context: RequestContext) -> Callable[[], bool]:
        return lambda: self._passes(context)

    def before(self, context: RequestContext) -> Awaitable[None] | None:
        return None if self._passes(context) else self._found(context)

    def _passes(self, context: RequestContext) -> bool:
        """Whether the request's key is known, or none is required; its record gets the key's name."""
        headers, query, record = context.headers, context.query_string, context.record
        record.key = self._keys.name_of(headers, query)
        if record.key:
            return True
        people, signed = self._people, self._signed
        account = None if people is None else people.known(headers, query)
        if account is None and signed is not None:
            account = signed.known(headers, query)
        if account is not None:
            _note(context, account)
            return True
        return people is not None and people.is_open() and not self._guarded

    async def _found(self, context: RequestContext) -> None:
        headers, query, address = context.headers, context.query_string, context.address
        account = None if self._signed is None else self._signed.find(headers, query, address)
        if account is None:
            if self._people is None:
                raise unauthorized()
            account = await self._people.find(headers, query, address, required=self._guarded)
        if account is not None:
            _note(context, account)


def _note(context: RequestContext, account: Account) -> None:
    context.record.key, context.record.ownership = account.name, account.ownership

"""Refuses requests without a known key, where a database holds keys of people beside those of the configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..context import Guard, RequestContext
from .keys import Keys
from .people_keys import PeopleKeys


class PeopleKeyGuard(Guard):
    """Records the name of a key of the configuration, or the id of one of the database."""

    def __init__(self, keys: Keys, people: PeopleKeys, *, guarded: bool) -> None:
        """``guarded``: a key is required also while the database has none."""
        self._keys, self._people, self._guarded = keys, people, guarded

    def admission(self, context: RequestContext) -> Callable[[], bool]:
        return lambda: self._passes(context)

    def before(self, context: RequestContext) -> Awaitable[None] | None:
        return None if self._passes(context) else self._found(context)

    def _passes(self, context: RequestContext) -> bool:
        """Whether the request's key is known, or none is required; its record gets the key's name."""
        headers, query, record = context.headers, context.query_string, context.record
        record.key = self._keys.name_of(headers, query)
        if not record.key and (account := self._people.known(headers, query)) is not None:
            record.key, record.ownership = account.name, account.ownership
        return bool(record.key) or (self._people.is_open() and not self._guarded)

    async def _found(self, context: RequestContext) -> None:
        cycle = context.responder.cycle
        client = None if cycle is None else cycle.scope.get("client")
        account = await self._people.find(
            context.headers, context.query_string, client[0] if client else "", required=self._guarded
        )
        if account is not None:
            context.record.key, context.record.ownership = account.name, account.ownership

"""What one gateway counts for its keys: made when the first of them has a limit, and kept when the configuration changes."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import TYPE_CHECKING

from ...costs import pricing_of, warm
from ...state.ledger import Ledger
from ...state.sharing import SharedBuckets
from ...state.store import Ownership, StateStore
from .accounts import Account, Buckets, Holder, policy_of
from .demand import Prices
from .limits import LIFETIME, LimitGuard
from .people_keys import PeopleKeys

if TYPE_CHECKING:
    from ...config import Config
    from ..observe.record import Record
    from ..runtime import Runtime


class Accounting:
    """The accounts of the configuration's keys, and what is used of their limits in this process."""

    def __init__(self, configured: Config, store: StateStore | None = None) -> None:
        self.clock: Callable[[], float] = time
        """Seconds since 1970."""
        self._buckets, self._ledger = Buckets(shared=store is not None), Ledger(LIFETIME)
        self._shared = None if store is None else SharedBuckets(store, self._ledger, self._now)
        self._accounts: dict[str, Account] = {}
        self.people = None if store is None else PeopleKeys(store, self._buckets, self._now)
        """The keys of ``store``."""
        self.configure(configured)

    def configure(self, configured: Config) -> None:
        """Use these limits from now on; what was used of them stays."""
        accounts = {
            name: Account(name, [Holder("key", name, policy_of(settings))], self._buckets, Ownership(key=name))
            for name, settings in configured.gateway.key_settings.items()
        }
        self._accounts = {name: account for name, account in accounts.items() if account.is_limited}
        if any(bucket.name.metric == "dollars" for account in accounts.values() for bucket in account.buckets):
            warm()

    def _now(self) -> float:
        return self.clock()

    def start(self) -> None:
        """Keep up with the store. A second call does nothing."""
        for kept in (self.people, self._shared):
            if kept is not None:
                kept.start()

    def close(self) -> None:
        """Blocks until what was spent is reported."""
        for kept in (self.people, self._shared):
            if kept is not None:
                kept.close()

    def __bool__(self) -> bool:
        return bool(self._accounts) or self.people is not None

    def guard(self, runtime: Runtime) -> LimitGuard:
        """What reserves for requests that one configuration serves."""
        return LimitGuard(self, self._ledger, Prices(pricing_of(runtime.configured.prices)), runtime.catalog, self._shared)

    def account(self, key: str) -> Account | None:
        """That of a key by its name or id; ``None`` for one without limits."""
        account = self._accounts.get(key)
        if account is None and self.people is not None:
            account = self.people.account(key)
        return None if account is None or not account.is_limited else account

    def settle(self, record: Record) -> None:
        """An observer: a request is over."""
        if record.meter is not None:
            record.meter.settle(record)


def accounting(configured: Config, earlier: Accounting | None, store: StateStore | None = None) -> Accounting | None:
    """What the configuration needs counted, going on from what ``earlier`` counted; ``None`` for nothing.

    ``store`` has keys of its own.
    """
    if earlier is not None:
        earlier.configure(configured)
        return earlier
    if not configured.gateway.key_settings and store is None:
        return None
    return Accounting(configured, store) or None

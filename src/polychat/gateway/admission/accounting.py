"""What one gateway counts for its keys: made when the first of them has a limit, and kept when the configuration changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from time import time
from typing import TYPE_CHECKING

from ...costs import warm
from ...state.ledger import Ledger
from ...state.process_count import ProcessCount
from ...state.sharing import SharedBuckets
from ...state.store import LedgerStore, Ownership, StateStore
from ...state.windows import KINDS, WindowKind
from .accounts import Account, Buckets, Holder, policy_of
from .demand import Prices
from .limits import LIFETIME, LimitGuard
from .people_keys import PeopleKeys
from .signed_accounts import SignedAccounts, verifier_of
from .soft_limits import SoftLimits

if TYPE_CHECKING:
    from ...config import Config
    from ..observe.record import Record
    from ..runtime import Runtime

_FAST: tuple[WindowKind | None, ...] = (None, "minute")
"""Windows whose buckets may be lost: a minute later they are empty anyway."""
_LASTING: tuple[WindowKind | None, ...] = tuple(kind for kind in KINDS if kind not in _FAST)


def _silent(message: str) -> None:
    """Where nothing is logged."""


class Accounting:
    """The accounts of the configuration's keys, and what is used of their limits in this process."""

    def __init__(
        self,
        configured: Config,
        store: StateStore | None = None,
        fast: LedgerStore | None = None,
        tell: Callable[..., None] = _silent,
    ) -> None:
        """``store``: for keys, and for what is shared; ``fast``: for what is shared and ends within a minute."""
        self.clock: Callable[[], float] = time
        """Seconds since 1970."""
        self._buckets, self._ledger = Buckets(self._now, shared=store is not None), Ledger(LIFETIME)
        self._fast = fast
        self._processes = ProcessCount()
        self._shared: dict[str, SharedBuckets] = {}
        """By the name of their store."""
        if fast is not None:
            self._share("valkey", fast, _FAST, tell)
        if store is not None:
            self._share("database", store, _LASTING if fast is not None else (*_FAST, *_LASTING), tell)
        self._accounts: dict[str, Account] = {}
        self.people = None if store is None else PeopleKeys(store, self._buckets, self._now)
        """The keys of ``store``."""
        self.signed: SignedAccounts | None = None
        self.configure(configured)

    def _share(self, name: str, store: LedgerStore, windows: Collection[WindowKind | None], tell: Callable[..., None]) -> None:
        def change(is_away: bool) -> None:
            if is_away:
                tell(f"shared limits: {name} cannot be reached; each process applies its share of them")
            else:
                tell(f"shared limits: {name} is back")

        self._shared[name] = SharedBuckets(
            store, self._ledger, self._now, windows=windows, count=self._processes, on_change=change
        )

    @property
    def soft_limits(self) -> SoftLimits:
        """What warns of the limits that are nearly used up."""
        return self._buckets.soft_limits

    def away(self) -> dict[str, bool]:
        """Of each store of shared limits, whether it cannot be reached now."""
        return {name: shared.is_away for name, shared in self._shared.items()}

    def configure(self, configured: Config) -> None:
        """Use these limits from now on; what was used of them stays. Raises what ``verifier_of`` raises, before any change."""
        signing = configured.gateway.signed_keys
        verifier = None if signing is None else verifier_of(signing)
        accounts = {
            name: Account(name, [Holder("key", name, policy_of(settings))], self._buckets, Ownership(key=name))
            for name, settings in configured.gateway.key_settings.items()
        }
        self._accounts = {name: account for name, account in accounts.items() if account.is_limited}
        self.signed = None if verifier is None else SignedAccounts(verifier, self._buckets, self._now, self.signed)
        if any(bucket.name.metric == "dollars" for account in accounts.values() for bucket in account.buckets):
            warm()

    def _now(self) -> float:
        return self.clock()

    def start(self, end_requests: Callable[[str], None]) -> None:
        """Keep up with the store, in the running loop. A second call does nothing.

        ``end_requests`` ends what runs for a key, by its id, that was revoked so.
        """
        if self.people is not None:
            loop = asyncio.get_running_loop()
            self.people.end_requests = lambda key: loop.call_soon_threadsafe(end_requests, key)
        for kept in (self.people, *self._shared.values()):
            if kept is not None:
                kept.start()

    def close(self) -> None:
        """Blocks until what was spent is reported."""
        for kept in (self.people, *self._shared.values(), self._fast):
            if kept is not None:
                kept.close()

    def __bool__(self) -> bool:
        return bool(self._accounts) or self.people is not None or self.signed is not None

    def guard(self, runtime: Runtime) -> LimitGuard:
        """What reserves for requests that one configuration serves."""
        prices, shared = Prices(runtime.pricing), [*self._shared.values()]
        return LimitGuard(self, self._ledger, prices, runtime.catalog, shared, names_users=self.people is not None)

    def account(self, key: str) -> Account | None:
        """That of a key by its name or id; ``None`` for one without limits."""
        account = self._accounts.get(key) or self._made(key)
        return None if account is None or not account.is_limited else account

    def is_accepted(self, key: str) -> bool:
        """Whether this is the id of a key of the store, or of a signed one, that is accepted now."""
        return self._made(key) is not None

    def _made(self, key: str) -> Account | None:
        """The account of a key that is not the configuration's, by its id."""
        account = None if self.people is None else self.people.account(key)
        return self.signed.account(key) if account is None and self.signed is not None else account

    def settle(self, record: Record) -> None:
        """An observer: a request is over."""
        if record.meter is not None:
            record.meter.settle(record)


def accounting(
    configured: Config,
    earlier: Accounting | None,
    store: StateStore | None = None,
    fast: LedgerStore | None = None,
    tell: Callable[..., None] = _silent,
) -> Accounting | None:
    """What the configuration needs counted, going on from what ``earlier`` counted; ``None`` for nothing.

    ``store`` has keys of its own. ``tell`` logs a message; it is called in any thread.
    """
    if earlier is not None:
        earlier.configure(configured)
        return earlier
    gateway = configured.gateway
    if not gateway.key_settings and gateway.signed_keys is None and store is None:
        return None
    return Accounting(configured, store, fast, tell) or None

"""The keys of the store, as one process knows them: looked up once, kept in memory, and refreshed when the store changes.

key                   what its request does
====================  =================================================================================
known                 nothing waits: the account is in memory
not known yet         it waits for one look into the store, of which few run at a time
known as unknown      refused at once, for ``_FORGOTTEN`` seconds
mistyped              refused at once: the checksum does not match, and the store is not asked
one guess too many    refused with 429: an address may send so many unknown keys a minute. A key that was revoked is no
                      guess, and keys of another form, as clients send them by mistake, are counted apart: behind a
                      proxy all clients have one address, and must not keep each other's keys from being looked up
====================  =================================================================================

A thread asks every ``_EVERY`` seconds what has changed: a key that was revoked, and one whose owner's policy was changed, is
known to be so after that time. While the store cannot be reached, keys that are known go on as they were.

Of so many keys that not all are known at a time, the one that was learned first and has no request at the moment is forgotten,
and looked up again when it has one.

Keys are found by their SHA-256, so the time that a search takes says nothing about how much of a guess was right.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import islice
from threading import Event, Lock, Thread
from time import time
from typing import get_args

from ...errors import PolychatError
from ...state.key_admin import owners_above, ownership, state_of
from ...state.key_text import digest_of, is_key, mistake_in
from ...state.store import KeyStore, OwnerKind, StoredKey, StoreUnavailable
from ...wire.faults import Fault
from ...worker_threads import in_store_thread
from ..responder import Refused
from .accounts import Account, Buckets, Holder
from .guesses import Guesses
from .keys import UNKNOWN_KEY, keys_in, unauthorized

_LOG = logging.getLogger(__name__)
_EVERY = 2.0
_FORGOTTEN = 5.0
_KNOWN, _UNKNOWN = 50_000, 4_096
_BEGIN_SECONDS = 10.0
"""As long as the tables of SQLite may take to be made. Of a server that hangs, those that wait are told when the first is."""
_LOOKED_AT = 8
"""Keys among which the one to forget is chosen."""
_LOOKING, _WAITING = 4, 256


class PeopleKeys:
    """The keys of one store. ``close`` ends its thread."""

    def __init__(self, store: KeyStore, buckets: Buckets, clock: Callable[[], float] = time) -> None:
        """``clock``: seconds since 1970."""
        self._store, self._buckets, self.clock = store, buckets, clock
        self._change: int | None = None
        """The last change that is known; ``None`` before the store was asked."""
        self.has_keys = True
        """Whether anything was ever put into the store; so it is said before that is known."""
        self._accounts: dict[str, Account] = {}
        self._by_header: dict[bytes, str] = {}
        """Ids by the ``Authorization`` headers that were valid, one of each key."""
        self._headers: dict[str, bytes] = {}
        """By id."""
        self._ids: dict[bytes, str] = {}
        """Ids by digest."""
        self._digests: dict[str, bytes] = {}
        self._refused: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        """By digest: until when a key is known as unknown, and what is wrong with it."""
        self._guesses, self._foreign = Guesses(clock), Guesses(clock)
        """Of keys that could be the store's, and of those that could not."""
        self._used: dict[str, float] = {}
        self._looking = asyncio.Semaphore(_LOOKING)
        self._waiting = 0
        self.end_requests: Callable[[str], object] = lambda key: None
        """Ends what runs for a key, by its id; any thread may call it."""
        self._lock = Lock()
        """Held while what is known changes; not while the store is asked for one key."""
        self._closed = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin to ask for changes. A second call does nothing."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="polychat-keys", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join(_EVERY)

    # On a request's way

    def account(self, key: str) -> Account | None:
        """That of a key by its id, if it is known and accepted."""
        account = self._accounts.get(key)
        if account is None or (account.expires_at is not None and account.expires_at <= self.clock()):
            return None
        return account

    def known(self, headers: Mapping[bytes, bytes], query: bytes) -> Account | None:
        """That of a request's key, without a look into the store; ``None`` if the key is not known or not accepted."""
        authorization = headers.get(b"authorization", b"")
        name = self._by_header.get(authorization)
        if name is None:
            for key in keys_in(headers, query):
                if (name := self._ids.get(digest_of(key))) is not None:
                    break
            else:
                return None
            # Only if the key is in it: a client may send another header's key beside an Authorization that anyone can guess.
            if authorization[7:] == key and name not in self._headers and name in self._digests:
                self._by_header[authorization], self._headers[name] = name, authorization
        account = self.account(name)
        if account is not None:
            self._used[name] = self.clock()
        return account

    def is_open(self) -> bool:
        """Whether it is known that the store is empty, so that it asks nobody for a key."""
        return not self.has_keys

    async def find(self, headers: Mapping[bytes, bytes], query: bytes, address: str, *, required: bool) -> Account | None:
        """That of a request's key. Raises ``Refused``; where no key is ``required`` and the store is empty it is ``None``."""
        if self._change is None:
            await self._looked(self._begin)
        if self.is_open() and not required:
            return None
        for key in keys_in(headers, query):
            if not is_key(key):
                continue
            if mistake := mistake_in(key):
                raise unauthorized(f"the API key {mistake}")
            await self._look_up(digest_of(key), address)
        if (account := self.known(headers, query)) is not None:
            return account
        if any(keys_in(headers, query)):  # of another form than the store's: those of the file have any
            self._foreign.check(address)
            self._foreign.add(address)
        raise unauthorized(UNKNOWN_KEY)

    async def _look_up(self, digest: bytes, address: str) -> None:
        """Raises ``Refused`` for a key that is not accepted."""
        until, wrong = self._refused.get(digest, (0.0, ""))
        if until <= self.clock():
            self._guesses.check(address)
            found = await self._looked(lambda: self._load(digest))
            if isinstance(found, Account):
                return
            wrong, refused = str(found), self._refused
            if wrong == UNKNOWN_KEY:
                self._guesses.add(address)
            if len(refused) >= _UNKNOWN:
                refused.popitem(last=False)
            refused[digest] = self.clock() + _FORGOTTEN, wrong
        raise unauthorized(wrong)

    async def _looked(self, look: Callable[[], object]) -> object:
        """What a look into the store gives, in a thread. Raises ``Refused`` where too many wait, or the store is away."""
        if self._waiting >= _WAITING:
            raise Refused(Fault("too many new API keys at a time: retry later", "overloaded", 503, retry_after=1.0))
        self._waiting += 1
        try:
            async with self._looking:
                return await in_store_thread(look)
        except PolychatError:
            message = "the API key cannot be checked, as the gateway's database cannot be reached: retry later"
            raise Refused(Fault(message, "overloaded", 503, retry_after=2.0)) from None
        finally:
            self._waiting -= 1

    # In a thread

    def _run(self) -> None:
        while not self._closed.wait(_EVERY):
            try:
                self.refresh()
            except PolychatError:
                continue  # what is known goes on
            except Exception:  # noqa: BLE001  # a thread that ended would do no more
                _LOG.exception("changes of keys could not be read; please report this")

    def refresh(self) -> None:
        """Learn what has changed in the store since the last time. Any thread may call it. Raises ``StoreUnavailable``."""
        with self._lock:
            self._refresh()

    def _begin(self) -> None:
        """Ask the store for the first time, for a request. Raises ``StoreUnavailable``, also while another is at that."""
        if not self._lock.acquire(timeout=_BEGIN_SECONDS):
            raise StoreUnavailable("the keys are being read")
        try:
            if self._change is None:
                self._learn()
        finally:
            self._lock.release()

    def _refresh(self) -> None:
        self._learn()
        used, self._used = self._used, {}
        if used:  # after the changes: a store that cannot be written may still be read
            self._store.keys_used(used)

    def _learn(self) -> None:
        if self._change is None:
            self._change = self._store.last_change()
            self.has_keys = self._change > 0
            return
        changes = self._store.changes(self._change)
        if changes.last == self._change:
            return
        changed = {key.id: key for key in changes.keys}
        self.has_keys = True
        for key_id in self._concerned({(owner.kind, owner.name) for owner in changes.owners}) - changed.keys():
            if (key := self._store.key_by_id(key_id)) is not None:
                changed[key_id] = key
        for key in changed.values():
            if key.id in self._accounts:
                self._keep(key, self._account_of(key))
            if key.revoked_at is not None and key.ends_streams:
                self.end_requests(key.id)
        self._refused = OrderedDict()
        self._change = changes.last

    def _concerned(self, owners: set[tuple[str, str]]) -> set[str]:
        """The ids of known keys that are under one of these owners."""
        if not owners:
            return set()
        return {
            name
            for name, account in list(self._accounts.items())
            if any((kind, getattr(account.ownership, kind)) in owners for kind in get_args(OwnerKind))
        }

    def _load(self, digest: bytes) -> Account | str:
        while True:
            change = self._change
            key = self._store.key_by_digest(digest)
            if key is None:
                return UNKNOWN_KEY
            account = self._account_of(key)
            with self._lock:
                # What was read may be older than a change that was learned meanwhile: a key that was just revoked.
                if self._change == change:
                    return self._keep(key, account)

    def _account_of(self, key: StoredKey) -> Account | str:
        """The account of a key as the store has it; of one that is not accepted, why."""
        chain = owners_above(self._store, key)
        gone = next((f"the {owner.kind} {owner.name} was deleted" for owner in chain if owner.deleted_at is not None), "")
        if wrong := state_of(key, self.clock()) or gone:
            return f"the API key {key.id} is not accepted: {wrong}"
        holders = [Holder("key", key.id, key.policy), *(Holder(owner.kind, owner.name, owner.policy) for owner in chain)]
        return Account(key.id, holders, self._buckets, ownership(key, chain), key.expires_at)

    def _keep(self, key: StoredKey, account: Account | str) -> Account | str:
        """Keep what is known of a key; what is not accepted is not kept."""
        if isinstance(account, str):
            self._forget(key.id)
            return account
        if len(self._accounts) >= _KNOWN and key.id not in self._accounts:
            self._forget(self._unused())
        self._accounts[key.id] = account
        self._ids[key.digest], self._digests[key.id] = key.id, key.digest
        return account

    def _unused(self) -> str:
        """The first of the known keys that was not used since the last refresh; those before it are looked at later."""
        first = list(islice(self._accounts, _LOOKED_AT))
        for name in first:
            if name not in self._used:
                return name
            self._accounts[name] = self._accounts.pop(name)
        return first[0]

    def _forget(self, name: str) -> None:
        self._accounts.pop(name, None)
        self._ids.pop(self._digests.pop(name, b""), None)
        self._by_header.pop(self._headers.pop(name, b""), None)

"""Buckets that several processes spend together, through a store.

Each process takes an *allotment*: a part of what is left in a bucket, which it then spends from memory without asking. A part
is at most half of what is left, so that near the cap parts become small, down to a single request's. What is not spent goes
back: when a part is renewed, when nothing was spent of it for a while, and after ``_SECONDS`` if its process is gone.

While the store is away, a process goes on with what it knew to be left: the cap without what others had spent or held by then.

Reservations are a process's own (``ledger``), and an allotment is renewed by giving it back and taking another. If another
process comes between the two, it may spend what running requests had reserved: a cap is passed at most by these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from secrets import token_hex
from threading import Event, Lock, Thread
from typing import NamedTuple

from .ledger import Bucket, Charge
from .store import Ask, LedgerStore, Settlement, StoredBucket, StoreUnavailable

_SECONDS = 15.0
"""How long an allotment lasts; it is renewed after a third of that if anything was spent."""
_EVERY = 1.0
_REQUESTS = 8
"""Requests like the one at hand that an allotment is asked for."""
_PARTS = 16
"""Into how many parts a cap is divided for larger allotments."""


class _Open(NamedTuple):
    """The allotment that a bucket is spent from."""

    id: str
    stored: StoredBucket
    base: int
    """What this process had used of the bucket when it was taken."""
    until: float


class SharedBuckets:
    """The allotments of one process. ``close`` gives back what was not spent."""

    def __init__(self, store: LedgerStore, clock: Callable[[], float]) -> None:
        """``clock``: seconds since 1970."""
        self._store, self._clock = store, clock
        self._holder = token_hex(8)
        self._open: dict[Bucket, _Open] = {}
        self._elsewhere: dict[Bucket, int] = {}
        """What other processes held of a bucket when that was last looked up."""
        self._full: dict[Bucket, tuple[float, int, int]] = {}
        """Until when it is taken for granted that so much of a bucket with this cap is not left."""
        self._lock = Lock()
        self._closed = Event()
        self._thread: Thread | None = None
        self.is_away = False
        """Whether the store could not be reached the last time."""

    def start(self) -> None:
        """Report what is spent, each second. A second call does nothing."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="polychat-limits", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join(2 * _EVERY)
        with self._lock:
            self._report(closed=True)

    def top_up(self, charges: Sequence[Charge]) -> None:
        """Take larger allotments of the buckets in which a request does not fit, as far as there is anything left. Blocks."""
        with self._lock:
            now = self._clock()
            for bucket, amount in charges:
                if bucket.granted is None or not amount:
                    continue
                bucket.roll(now)
                needed = bucket.reserved + amount
                if bucket.granted - bucket.used < needed and not self._is_known_as_full(bucket, needed, now):
                    self._renew(bucket, needed, now)

    def _is_known_as_full(self, bucket: Bucket, needed: int, now: float) -> bool:
        """Whether the store had no such amount left a moment ago: a flood of refused requests does not ask it each time."""
        until, amount, cap = self._full.get(bucket, (0.0, 0, 0))
        return now < until and needed >= amount and bucket.hard == cap

    def refresh(self) -> None:
        """Report what was spent, renew what ends soon, and give back what nobody uses. Blocks."""
        with self._lock:
            self._report(closed=False)
            now = self._clock()
            for bucket, kept in list(self._open.items()):
                if bucket.window.start != kept.stored.start or now >= bucket.window.end:
                    del self._open[bucket]  # what an ended window counts is of no use to anybody
                    self._elsewhere.pop(bucket, None)
                    self._full.pop(bucket, None)
                elif kept.until - now < _SECONDS * 2 / 3:
                    self._renew(bucket, bucket.reserved, now)

    def _run(self) -> None:
        while not self._closed.wait(_EVERY):
            self.refresh()

    def _renew(self, bucket: Bucket, needed: int, now: float) -> None:
        """Close the bucket's allotment, and take one that ``needed`` fits in, if that much is left."""
        cap, used = bucket.hard or 0, bucket.used
        kept = self._open.get(bucket)
        stored = StoredBucket(*bucket.name, bucket.window.start, bucket.window.end)
        is_idle = kept is not None and not needed and used == kept.base
        wanted = 0 if is_idle else max(needed * _REQUESTS, cap // _PARTS)
        name = token_hex(12)
        try:
            if kept is not None and kept.stored == stored:
                self._store.settle([_settlement(kept, used, closed=True)], now)
            level = self._store.levels([stored], now)[0]
            amount = self._taken(name, Ask(stored, cap, wanted, needed), now) if wanted else 0
            self._full.pop(bucket, None)
            if wanted and not amount:
                self._full[bucket] = (now + _EVERY, needed, cap)
            if not amount and bucket.reserved:  # what runs keeps what it reserved
                amount = self._taken(name, Ask(stored, cap, bucket.reserved, bucket.reserved), now)
            self.is_away = False
        except StoreUnavailable:
            self.is_away = True
            bucket.granted = max(0, cap - bucket.others - self._elsewhere.get(bucket, 0))
            return
        self._elsewhere[bucket] = level.allotted
        bucket.others = max(0, level.spent - used)
        bucket.granted = used + amount
        if amount:
            self._open[bucket] = _Open(name, stored, used, now + _SECONDS)
        else:
            self._open.pop(bucket, None)

    def _taken(self, name: str, ask: Ask, now: float) -> int:
        return self._store.take({name: ask}, self._holder, now + _SECONDS, now)[name].amount

    def _report(self, *, closed: bool) -> None:
        settlements = [
            _settlement(kept, bucket.used, closed=closed)
            for bucket, kept in self._open.items()
            if bucket.window.start == kept.stored.start and (closed or bucket.used != kept.base)
        ]
        if not settlements:
            return
        try:
            self._store.settle(settlements, self._clock())
            self.is_away = False
        except StoreUnavailable:
            self.is_away = True


def _settlement(kept: _Open, used: int, *, closed: bool) -> Settlement:
    return Settlement(kept.id, kept.stored, max(0, used - kept.base), closed)

"""Buckets that several processes spend together, through a store.

Each process has an *allotment* of each bucket that it spends: a part of what is left, which it spends from memory without
asking. A part is at most half of what is left, so that near the cap parts become small, down to a single request's. A process
renews it in one step of the store, in which it keeps at least what its running requests reserved: so all that processes hold
and have spent is never more than the cap, and a bucket is passed only by what requests use beyond their reservations.

an allotment             what happens
=======================  ============================================================================================
too small for a request  ``top_up`` renews it while the request waits
spent from               it is reported each second, and renewed before it ends, smaller where little is left
not spent from           it is given back
of requests at a time    what no request holds is given back within a second
of a killed process      others get what was not reported of it after ``_SECONDS``
=======================  ============================================================================================

While the store is away no request waits for it. Each process goes on with what it held, or with its share of the cap: as much
as if all processes spend alike, and at least one request. Each tells the store all the time that it is there, also while it has
nothing to spend, so the count of processes has those that only spend once the store is away. What others spent before is known
of the buckets that this process spends, so all together pass a cap by less than another cap.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from secrets import token_hex
from threading import Event, Lock, Thread
from time import monotonic, sleep
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from .ledger import Bucket, Charge, Ledger
from .process_count import ProcessCount
from .store import AllotmentRequest, Grant, LedgerStore, Settlement, StoredBucket, StoreUnavailable
from .windows import KINDS, WindowKind

_LOG = logging.getLogger(__name__)
_SECONDS = 15.0
"""How long an allotment lasts; it is renewed after a third of that."""
_EVERY = 1.0
_REQUESTS = 8
"""Requests like the one at hand that an allotment is asked for."""
_PARTS = 16
"""Into how many parts a cap is divided for larger allotments."""
_AT_ONCE = 100
"""Buckets that are reported or renewed in one transaction."""
_LAST_SECONDS = 2.0
"""For which a process that ends tries to report what it spent."""
_REMEMBERED = 1800.0
"""Seconds after its end for which every store still knows what was reported of an allotment."""

_Answer = TypeVar("_Answer")


class _Idle(NamedTuple):
    """An allotment that was given back, for when its bucket is spent from again: another one would stay in the store."""

    id: str
    base: int
    start: int
    """When the window began."""
    until: float


class _Open:
    """The allotment that a bucket is spent from."""

    __slots__ = ("base", "bucket", "id", "reported", "seen", "stored", "until")

    def __init__(self, bucket: Bucket, now: float, idle: _Idle | None = None) -> None:
        self.bucket = bucket
        window = bucket.window
        self.stored = StoredBucket(*bucket.name, window.start, None if bucket.name.window is None else window.end)
        self.until = now
        self.seen = bucket.used
        """What the bucket held as used when it was renewed."""
        self.begin(bucket.used)
        if idle is not None and idle.start == window.start and now <= idle.until + _REMEMBERED:
            self.id, self.base, self.until = idle.id, idle.base, idle.until

    def begin(self, base: int) -> None:
        """By another name, for what is used beyond ``base``."""
        self.id = token_hex(12)
        self.base = self.reported = base

    def is_over(self, now: float) -> bool:
        """Whether its window has ended: what that counts is of no use to anybody."""
        return self.bucket.window.start != self.stored.start or self.bucket.is_over(now)

    def idle(self) -> _Idle:
        return _Idle(self.id, self.base, self.stored.start, self.until)

    @property
    def spent(self) -> int:
        return max(0, self.bucket.used - self.base)

    @property
    def rest(self) -> int:
        """What may still be spent of it, reserved or not."""
        return max(0, (self.bucket.granted or 0) - self.bucket.used)


class _Wish(NamedTuple):
    """What is asked for an allotment, and what its bucket held as used then."""

    kept: _Open
    ask: AllotmentRequest
    used: int


class SharedBuckets:
    """The allotments of one process. ``close`` gives back what was not spent."""

    def __init__(
        self,
        store: LedgerStore,
        ledger: Ledger,
        clock: Callable[[], float],
        *,
        windows: Collection[WindowKind | None] = (None, *KINDS),
        count: ProcessCount | None = None,
        on_change: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """``clock``: seconds since 1970. ``windows``: of which buckets; others are left alone.

        ``count``: what is known of other processes through any store. ``on_change`` gets ``is_away`` when it changes, in any
        thread.
        """
        self._store, self._ledger, self._clock = store, ledger, clock
        self._windows = frozenset(windows)
        self._on_change = on_change
        self._name = token_hex(8)
        self._count = count or ProcessCount()
        self._announced_at = float("-inf")
        """When it last told the store that it is there."""
        self._open: dict[Bucket, _Open] = {}
        self._idle: WeakKeyDictionary[Bucket, _Idle] = WeakKeyDictionary()
        self._full: dict[Bucket, tuple[float, int, int]] = {}
        """Until when it is taken for granted that so much of a bucket with this cap is not left."""
        self._lock = Lock()
        """For one conversation with the store at a time."""
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
            now = self._clock()
            with self._ledger.lock:
                closing = [kept for kept in self._open.values() if not kept.is_over(now)]
                reports = [(kept, Settlement(kept.id, kept.stored, kept.spent, True)) for kept in closing]
            self._leave(now)
            self._settle(reports, now)

    def _leave(self, now: float) -> None:
        """Tell the store that this process is not there any more; one that is away may be back in a moment."""
        until = monotonic() + _LAST_SECONDS
        self._announce(now, 0.0)
        while self.is_away and monotonic() < until:
            sleep(_LAST_SECONDS / 8)
            self._announce(now, 0.0)

    # For a request

    def top_up(self, charges: Sequence[Charge]) -> None:
        """Take larger allotments of the buckets in which a request does not fit, as far as there is anything left. Blocks."""
        if not self.is_away:
            with self._lock:
                now = self._clock()
                with self._ledger.lock:
                    wishes = [wish for bucket, amount in charges if (wish := self._larger(bucket, amount, now)) is not None]
                self._renew(wishes, now)
        if self.is_away:
            with self._ledger.lock:
                self._share(charges, self._clock())

    def _larger(self, bucket: Bucket, amount: int, now: float) -> _Wish | None:
        """The wish for an allotment that so much more fits in; ``None`` if it fits already, or is known not to be left."""
        if not amount or not self._counts(bucket):
            return None
        bucket.roll(now)
        needed, cap = bucket.reserved + amount, bucket.hard or 0
        kept = self._opened(bucket, now)
        until, too_much, full_cap = self._full.get(bucket, (0.0, 0, 0))
        if kept.rest >= needed or (until - _EVERY <= now < until and needed >= too_much and cap == full_cap):
            return None
        is_parallel = bucket.name.window is None
        wanted = needed + needed // 2 if is_parallel else max(needed * _REQUESTS, cap // _PARTS)
        return self._wish(kept, max(kept.rest, bucket.reserved), wanted, needed)

    def _counts(self, bucket: Bucket) -> bool:
        return bucket.granted is not None and bucket.name.window in self._windows

    def _opened(self, bucket: Bucket, now: float) -> _Open:
        kept = self._open.get(bucket)
        if kept is None or kept.is_over(now):
            self._full.pop(bucket, None)
            kept = self._open[bucket] = _Open(bucket, now, self._idle.pop(bucket, None))
        elif kept.until + _REMEMBERED < now:
            kept.begin(kept.reported)
        return kept

    def _wish(self, kept: _Open, keep: int, amount: int, least: int) -> _Wish:
        bucket = kept.bucket
        return _Wish(
            kept, AllotmentRequest(kept.id, kept.stored, bucket.hard or 0, kept.spent, keep, amount, least), bucket.used
        )

    def _share(self, charges: Sequence[Charge], now: float) -> None:
        """Without the store: let these be spent up to this process's share of them."""
        for bucket, amount in charges:
            if not self._counts(bucket):
                continue
            bucket.roll(now)
            self._opened(bucket, now)
            cap = bucket.hard or 0
            is_empty = not bucket.used and not bucket.reserved
            share = max(cap // self._count.known, min(amount, cap) if is_empty else 0)
            if bucket.name.window is None:
                bucket.granted = max(1, share)
            else:
                bucket.granted = max(bucket.granted or 0, min(cap - bucket.others - bucket.elsewhere, share))

    # Each second

    def _run(self) -> None:
        while True:
            try:
                self.refresh()
            except Exception:  # noqa: BLE001  # a thread that ended would do no more
                _LOG.exception("limits were not reported to the store; please report this")
            if self._closed.wait(_EVERY):
                return

    def refresh(self) -> None:
        """Report what was spent, renew what ends soon, and give back what nobody uses. Blocks.

        Some at a time: requests that need more are served in between.
        """
        now, was_away = self._clock(), self.is_away
        if was_away or abs(now - self._announced_at) >= _SECONDS / 3:  # also after the clock was set back
            with self._lock:
                self._announce(now, _SECONDS)
        opened = list(self._open.items())
        for start in range(0, len(opened), _AT_ONCE):
            some = opened[start : start + _AT_ONCE]
            with self._lock:
                with self._ledger.lock:
                    reports, wishes = self._due(some, now, all_of_them=was_away)
                self._settle(reports, now)
                self._renew(wishes, now)
                if self.is_away:
                    with self._ledger.lock:
                        self._share([(bucket, 0) for bucket, kept in some if not kept.is_over(now)], now)

    def _due(
        self, some: Sequence[tuple[Bucket, _Open]], now: float, *, all_of_them: bool
    ) -> tuple[list[tuple[_Open, Settlement]], list[_Wish]]:
        reports, wishes = [], []
        for bucket, kept in some:
            if self._open.get(bucket) is not kept:
                continue
            if kept.is_over(now):
                del self._open[bucket]
                self._full.pop(bucket, None)
                continue
            self._opened(bucket, now)
            is_loose = bucket.name.window is None and kept.rest > bucket.reserved
            if is_loose or all_of_them or not _SECONDS * 2 / 3 <= kept.until - now <= _SECONDS:
                wishes.append(self._renewal(kept))
            elif bucket.used != kept.reported:
                reports.append((kept, Settlement(kept.id, kept.stored, kept.spent, False)))
        return reports, wishes

    def _renewal(self, kept: _Open) -> _Wish:
        """The wish to go on with what is needed of an allotment. The rest is not spent from now on."""
        bucket, cap = kept.bucket, kept.bucket.hard or 0
        if bucket.name.window is None:
            keep = wanted = bucket.reserved
        elif not bucket.reserved and bucket.used == kept.seen:
            keep = wanted = 0
        else:
            wanted = max(bucket.reserved * _REQUESTS, cap // _PARTS)
            left = cap - bucket.others - bucket.elsewhere - bucket.used
            keep = max(bucket.reserved, min(kept.rest, wanted, left // 2))
        bucket.granted = min(bucket.granted or 0, bucket.used + keep)
        return self._wish(kept, keep, wanted, 0)

    # The store

    def _renew(self, wishes: Sequence[_Wish], now: float) -> None:
        if self.is_away or not wishes:
            return
        until = now + _SECONDS
        grants = self._reached(lambda: self._store.renew([wish.ask for wish in wishes], until, now))
        if grants is None:
            return
        with self._ledger.lock:
            for wish, grant in zip(wishes, grants, strict=True):
                if not wish.kept.is_over(now) and wish.kept.id == wish.ask.allotment:
                    self._granted(wish, grant, now)

    def _granted(self, wish: _Wish, grant: Grant, now: float) -> None:
        kept, bucket, ask = wish.kept, wish.kept.bucket, wish.ask
        kept.until, kept.reported, kept.seen = now + _SECONDS, wish.used, wish.used
        bucket.others, bucket.elsewhere = max(0, grant.spent - wish.used), grant.elsewhere
        bucket.granted = wish.used + grant.amount
        if grant.amount < ask.least:
            self._full[bucket] = now + _EVERY, ask.least, ask.cap
        else:
            self._full.pop(bucket, None)
        if not grant.amount and not bucket.reserved and bucket.used == wish.used:
            self._open.pop(bucket, None)
            self._idle[bucket] = kept.idle()

    def _settle(self, reports: Sequence[tuple[_Open, Settlement]], now: float) -> None:
        if not self.is_away and reports:
            self._reached(lambda: self._store.settle([settlement for _, settlement in reports], now))
        if not self.is_away:
            for kept, settlement in reports:
                kept.reported = kept.base + settlement.spent

    def _announce(self, now: float, seconds: float) -> None:
        """Tell the store that this process is there for so long, and count all. Also shows whether the store is back."""
        count = self._reached(lambda: self._store.announce(self._name, now + seconds, now))
        if count is not None:
            self._announced_at = now
            self._count.learn(self._name, count, now)

    def _reached(self, call: Callable[[], _Answer]) -> _Answer | None:
        """The store's answer; ``None`` if it is away."""
        was_away = self.is_away
        try:
            answer = call()
            self.is_away = False
        except StoreUnavailable:
            answer, self.is_away = None, True
        if was_away != self.is_away:
            self._on_change(self.is_away)
        return answer

"""Reserve before, settle after: what limits and budgets count, as pure arithmetic on whole numbers.

A request reserves the most that it may use, in every bucket that it counts in or in none of them. When it is over, it is
settled by what it did use, which may be less or more. Between the two, nothing else can take what it reserved, so requests that
run at the same time cannot spend the same money.

state of a reservation   event                       next        what its buckets hold of it
=======================  ==========================  ==========  ===========================================
none                     it fits in every bucket     open        the reserved amounts, as reserved
none                     it does not fit in one      none        nothing
open                     ``settle``                  settled     what was used, as used
open                     its time is over            expired     nothing
expired                  ``settle``                  settled     what was used, as used
settled                  ``settle``                  settled     what was used at the first time
=======================  ==========================  ==========  ===========================================

A bucket's cap can be passed in two ways only: a request uses more than it reserved, or is settled after its reservation has
expired. What a bucket counts ends with its window: a request counts in the window that it was reserved in, whenever it ends.

Amounts are whole: requests, tokens, and billionths of a US dollar (``NANO``), so that no sum depends on the order of its parts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Literal, NamedTuple, TypeAlias

from .windows import Window, WindowKind, window_at

Metric: TypeAlias = Literal["requests", "tokens", "dollars", "concurrent"]
NANO = 1_000_000_000
"""Units of a US dollar."""
_FOREVER = Window(0, 1 << 62)
_SET_BACK = 300.0
"""Seconds before its window in which a bucket stays in it, as clocks are corrected by little. A clock that is set back by more
begins the window of its moment: after a minute in next year, all would be refused until next year."""


class BucketName(NamedTuple):
    """Whose, of what, and in which window; ``None``: what runs at one time, which no window ends."""

    level: str
    """``org``, ``team``, ``person``, ``key`` or ``user``."""
    owner: str
    metric: Metric
    window: WindowKind | None


class Bucket:
    """One limit, and what is used and reserved of it in the window at hand."""

    __slots__ = ("__weakref__", "elsewhere", "granted", "hard", "name", "others", "reserved", "soft", "used", "window")

    def __init__(self, name: BucketName, hard: int | None, soft: int | None = None) -> None:
        self.name = name
        self.hard = hard
        """What is refused beyond; ``None``: nothing is."""
        self.soft = soft
        """What is warned of from here on."""
        self.used = self.reserved = 0
        self.others = 0
        """What other processes are known to have used."""
        self.elsewhere = 0
        """What other processes are known to hold, and may use."""
        self.granted: int | None = None
        """Up to where this process may spend without asking others; ``None``: it shares the bucket with nobody."""
        self.window = _FOREVER if name.window is None else Window(0, 0)

    def roll(self, now: float) -> None:
        """Begin the window of this moment, if the last one is over."""
        if self.is_over(now) and (kind := self.name.window) is not None:
            self.window = window_at(kind, now)
            self.used = self.reserved = self.others = self.elsewhere = 0
            if self.granted is not None:
                self.granted = 0

    def is_over(self, now: float) -> bool:
        """Whether its window has ended, or the clock was set back to long before it."""
        return now >= self.window.end or now < self.window.start - _SET_BACK

    @property
    def left(self) -> int | None:
        """What may still be reserved; ``None`` without a hard limit."""
        return None if self.hard is None else max(0, self.hard - self.others - self.elsewhere - self.used - self.reserved)

    def fits(self, amount: int) -> bool:
        """Whether so much more may be reserved now."""
        if not amount or self.hard is None:
            return True
        total = self.used + self.reserved + amount
        return total + self.others <= self.hard and (self.granted is None or total <= self.granted)

    @property
    def is_warned(self) -> bool:
        """Whether the soft limit is reached."""
        return self.soft is not None and self.others + self.used + self.reserved >= self.soft


class BucketFull(NamedTuple):
    """The first bucket in which ``amount`` does not fit."""

    bucket: Bucket
    amount: int

    @property
    def is_final(self) -> bool:
        """Whether the request is too large for an empty bucket too: to wait does not help."""
        return self.bucket.hard is not None and self.amount > self.bucket.hard


Charge: TypeAlias = tuple[Bucket, int]


class Reservation:
    """What one request reserved: the table above has its states."""

    __slots__ = ("_starts", "charges", "state", "until")

    def __init__(self, charges: Sequence[Charge], until: float) -> None:
        self.charges = charges
        self.until = until
        self.state: Literal["open", "settled", "expired"] = "open"
        self._starts = [bucket.window.start for bucket, _ in charges]

    def take(self) -> None:
        for bucket, amount in self.charges:
            bucket.reserved += amount

    def give_back(self) -> None:
        """Nothing is reserved any more."""
        for (bucket, amount), start in zip(self.charges, self._starts, strict=True):
            if bucket.window.start == start:
                bucket.reserved -= amount

    def use(self, amounts: Sequence[int]) -> None:
        for (bucket, _), start, amount in zip(self.charges, self._starts, amounts, strict=True):
            if bucket.window.start == start and bucket.name.metric != "concurrent":
                bucket.used += amount


class Ledger:
    """The reservations of one process. Each lasts ``seconds`` unless it is settled before."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.lock = Lock()
        """Whoever holds it sees what all buckets hold at one moment. It is never held while anything is waited for."""
        self._open: OrderedDict[Reservation, None] = OrderedDict()
        """The oldest, which expires next, first."""

    def reserve(self, charges: Sequence[Charge], now: float) -> Reservation | BucketFull:
        """All of them, or none. ``now``: seconds since 1970; an earlier moment than the last is possible."""
        with self.lock:
            if self._open and next(iter(self._open)).until <= now:
                self._expire(now)
            for bucket, amount in charges:
                if bucket.is_over(now):
                    bucket.roll(now)
                if not bucket.fits(amount):
                    return BucketFull(bucket, amount)
            reservation = Reservation(charges, now + self._seconds)
            reservation.take()
            self._open[reservation] = None
            return reservation

    def settle(self, reservation: Reservation, amounts: Sequence[int]) -> None:
        """It is over, and used these, one for each of its charges. To settle it again does nothing."""
        with self.lock:
            if reservation.state == "settled":
                return
            if reservation.state == "open":
                del self._open[reservation]
                reservation.give_back()
            reservation.state = "settled"
            reservation.use(amounts)

    def add(self, reservation: Reservation, amounts: Sequence[int]) -> None:
        """It used these as well, after it was settled."""
        with self.lock:
            reservation.use(amounts)

    def expire(self, now: float) -> None:
        """Give back what was reserved by requests that nobody settled in time."""
        with self.lock:
            self._expire(now)

    def _expire(self, now: float) -> None:
        while self._open and (oldest := next(iter(self._open))).until <= now:
            del self._open[oldest]
            oldest.state = "expired"
            oldest.give_back()

    def __len__(self) -> int:
        """Open reservations."""
        return len(self._open)

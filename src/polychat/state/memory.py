"""The store in the memory of one process: what the others are compared with, and what tests of rules run on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from msgspec import structs

from .store import (
    MOST_AHEAD,
    AllotmentRequest,
    AuditEntry,
    Changes,
    Grant,
    Level,
    Owner,
    OwnerKind,
    Place,
    Settlement,
    StoredBucket,
    StoredKey,
    TextPlace,
    UsageDimension,
    UsageFilter,
    UsagePlace,
    UsageRecord,
    UsageSum,
    check_current,
    days_in_order,
)


class MemoryStore:
    """``StateStore``. Nothing is kept when the process ends."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._change = 0
        self._owners: dict[tuple[OwnerKind, str], Owner] = {}
        self._keys: dict[str, StoredKey] = {}
        self._audit: dict[str, AuditEntry] = {}
        self._spent: dict[StoredBucket, int] = {}
        self._allotments: dict[str, _Held] = {}
        self._processes: dict[str, float] = {}
        self._usage: dict[tuple[int, int], UsageRecord] = {}
        self._texts: dict[TextPlace, tuple[bytes, float]] = {}

    def close(self) -> None:
        """There is nothing to close."""

    # Texts

    def keep_text(self, place: TextPlace, data: bytes, until: float) -> None:
        with self._lock:
            self._texts[place] = data, until

    def claim_text(self, place: TextPlace, data: bytes, until: float, now: float) -> bytes | None:
        with self._lock:
            kept, ends = self._texts.get(place, (data, 0.0))
            if ends <= now:
                self._texts[place] = data, until
                return None
            return None if kept == data else kept

    def hold_texts(self, held: Mapping[TextPlace, bytes], until: float) -> None:
        with self._lock:
            for place, data in held.items():
                if self._texts.get(place, (None, 0.0))[0] == data:
                    self._texts[place] = data, until

    def replace_text(self, place: TextPlace, held: bytes, data: bytes, until: float, now: float) -> bool:
        with self._lock:
            kept, ends = self._texts.get(place, (held, 0.0))
            if kept != held and ends > now:
                return False
            self._texts[place] = data, until
            return True

    def text(self, place: TextPlace, now: float) -> bytes | None:
        with self._lock:
            data, until = self._texts.get(place, (None, 0.0))
            return data if until > now else None

    def forget_text(self, place: TextPlace, held: bytes | None = None) -> None:
        with self._lock:
            if held is None or self._texts.get(place, (None, 0.0))[0] == held:
                self._texts.pop(place, None)

    def forget_texts(self, before: float) -> int:
        with self._lock:
            old = [place for place, (_, until) in self._texts.items() if until <= before]
            for place in old:
                del self._texts[place]
            return len(old)

    # Keys and owners

    def put_owner(self, owner: Owner, entry: AuditEntry) -> Owner:
        with self._lock:
            before = self._owners.get((owner.kind, owner.name))
            if before is not None and entry.id in self._audit:
                return before
            check_current(owner, None if before is None else before.change)
            fresh = structs.replace(owner, change=self._next_change(entry))
            self._owners[owner.kind, owner.name] = fresh
            return fresh

    def put_key(self, key: StoredKey, entry: AuditEntry) -> StoredKey:
        with self._lock:
            before = self._keys.get(key.id)
            if before is not None and entry.id in self._audit:
                return before
            check_current(key, None if before is None else before.change)
            last_used = _later(key.last_used_at, None if before is None else before.last_used_at)
            fresh = structs.replace(key, change=self._next_change(entry), last_used_at=last_used)
            self._keys[key.id] = fresh
            return fresh

    def _next_change(self, entry: AuditEntry) -> int:
        self._audit.setdefault(entry.id, entry)
        self._change += 1
        return self._change

    def owners(
        self, kind: OwnerKind | None = None, *, after: str | None = None, limit: int | None = None, deleted: bool = True
    ) -> list[Owner]:
        owners = [self._owners[name] for name in sorted(self._owners) if kind in (None, name[0])]
        wanted = [owner for owner in owners if (deleted or owner.deleted_at is None) and (after is None or owner.name > after)]
        return wanted[:limit]

    def owner(self, kind: OwnerKind, name: str) -> Owner | None:
        return self._owners.get((kind, name))

    def keys(
        self,
        *,
        owner: tuple[OwnerKind, str] | None = None,
        name: str | None = None,
        after: Place | None = None,
        limit: int | None = None,
    ) -> list[StoredKey]:
        meant = (key for key in self._keys.values() if owner in (None, key.owner) and name in (None, key.name))
        ordered = sorted((key.created_at, key.id) for key in meant)
        return [self._keys[place[1]] for place in ordered if after is None or place > after][:limit]

    def key_by_digest(self, digest: bytes) -> StoredKey | None:
        return next((key for key in self._keys.values() if key.digest == digest), None)

    def key_by_id(self, key_id: str) -> StoredKey | None:
        return self._keys.get(key_id)

    def key_names(self, ids: Collection[str]) -> dict[str, str]:
        return {name: key.name for name in ids if (key := self._keys.get(name)) is not None}

    def changes(self, after: int) -> Changes:
        owners = sorted((owner for owner in self._owners.values() if owner.change > after), key=lambda owner: owner.change)
        keys = sorted((key for key in self._keys.values() if key.change > after), key=lambda key: key.change)
        return Changes(self._change, owners, keys)

    def last_change(self) -> int:
        return self._change

    def keys_used(self, moments: Mapping[str, float]) -> None:
        with self._lock:
            for name, moment in moments.items():
                if (key := self._keys.get(name)) is not None:
                    self._keys[name] = structs.replace(key, last_used_at=_later(key.last_used_at, moment))

    def audit(self, *, since: float = 0.0, limit: int = 100, after: Place | None = None) -> list[AuditEntry]:
        ordered = sorted(((entry.at, entry.id) for entry in self._audit.values() if entry.at >= since), reverse=True)
        return [self._audit[place[1]] for place in ordered if after is None or place < after][:limit]

    def forget_audit(self, before: float) -> int:
        return _dropped(self._audit, [name for name, entry in self._audit.items() if entry.at < before])

    # Limits and budgets

    def renew(self, asks: Sequence[AllotmentRequest], until: float, now: float) -> list[Grant]:
        with self._lock:
            return [self._renewed(ask, until, now) for ask in asks]

    def _renewed(self, ask: AllotmentRequest, until: float, now: float) -> Grant:
        held = self._counted(ask.allotment, ask.bucket, ask.spent, now)
        held.closed = True
        spent, elsewhere = self._level(ask.bucket, now)
        amount = ask.granted(ask.cap - spent - elsewhere)
        held.amount, held.until, held.closed = held.spent + amount, until, False
        return Grant(amount, spent, elsewhere)

    def settle(self, settlements: Sequence[Settlement], now: float) -> None:
        with self._lock:
            for settlement in settlements:
                held = self._counted(settlement.allotment, settlement.bucket, settlement.spent, now)
                held.closed |= settlement.closed

    def _counted(self, name: str, bucket: StoredBucket, spent: int, now: float) -> _Held:
        held = self._allotments.setdefault(name, _Held(bucket, now))
        more = max(0, spent - held.spent)
        held.spent += more
        self._spent[bucket] = self._spent.get(bucket, 0) + more
        return held

    def levels(self, buckets: Sequence[StoredBucket], now: float) -> list[Level]:
        return [self._level(bucket, now) for bucket in buckets]

    def _level(self, bucket: StoredBucket, now: float) -> Level:
        rests = (held.rest(now) for held in self._allotments.values() if held.bucket == bucket)
        return Level(self._spent.get(bucket, 0), sum(rests))

    def announce(self, process: str, until: float, now: float) -> int:
        self._processes[process] = until
        return sum(until > now for until in self._processes.values())

    def forget_buckets(self, before: float) -> int:
        old = [bucket for bucket in self._spent if bucket.end is not None and bucket.end < before]
        _dropped(self._processes, [name for name, until in self._processes.items() if until < before])
        _dropped(
            self._allotments, [name for name, held in self._allotments.items() if held.bucket in old or held.until < before]
        )
        return _dropped(self._spent, old)

    # Usage

    def write_usage(self, records: Sequence[UsageRecord]) -> None:
        for record in records:
            self._usage.setdefault((record.at, record.id), record)

    def usage(
        self, by: UsageDimension, which: UsageFilter, *, after: UsagePlace | None = None, limit: int | None = None
    ) -> list[UsageSum]:
        groups: dict[str, list[UsageRecord]] = defaultdict(list)
        for record in self._usage.values():
            if _is_meant(record, which):
                groups[_name_of(record, by)].append(record)
        sums = [_sum(name, records) for name, records in groups.items()]
        if by == "day":
            return days_in_order(sums, after, limit)
        ordered = sorted(sums, key=lambda one: one.place)
        return [one for one in ordered if after is None or one.place > after][:limit]

    def forget_usage(self, before: float) -> int:
        return _dropped(self._usage, [known for known in self._usage if known[0] < int(before * 1000)])


class _Held:
    """An allotment."""

    def __init__(self, bucket: StoredBucket, until: float) -> None:
        self.bucket, self.until = bucket, until
        self.amount = self.spent = 0
        self.closed = False

    def rest(self, now: float) -> int:
        """What its process may still spend."""
        is_open = not self.closed and now < self.until <= now + MOST_AHEAD
        return max(0, self.amount - self.spent) if is_open else 0


def _later(*moments: float | None) -> float | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _dropped(table: dict[Any, Any], names: Iterable[Any]) -> int:
    count = 0
    for name in names:
        del table[name]
        count += 1
    return count


def _is_meant(record: UsageRecord, which: UsageFilter) -> bool:
    until = record.at + 1 if which.until is None else int(which.until * 1000)
    values = (getattr(record.labels, name) == value for name, value in which.labels.items())
    return int(which.since * 1000) <= record.at < until and all(values)


def _name_of(record: UsageRecord, by: UsageDimension) -> str:
    if by == "day":
        return datetime.fromtimestamp(record.at // 1000, UTC).date().isoformat()
    return str(getattr(record.labels, by))


def _sum(name: str, records: Sequence[UsageRecord]) -> UsageSum:
    tokens = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost")
    return UsageSum(
        name=name,
        requests=sum(record.attempts > 0 for record in records),
        failed=sum(record.attempts > 0 and record.labels.verdict != "complete" for record in records),
        unpriced=sum(record.attempts > 0 and record.cost is None for record in records),
        **{name: sum(getattr(record, name) or 0 for record in records) for name in tokens},
    )

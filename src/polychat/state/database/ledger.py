"""The ledger of limits and budgets in SQL. A transaction locks its buckets, in one order, before it reads them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, delete, func, select, update

from ..store import Ask, Grant, Level, Settlement, StoredBucket
from .engine import Database
from .statements import inserting
from .tables import allotments, buckets


class _Locked(NamedTuple):
    """A bucket that nobody else changes until the transaction is over."""

    id: int
    spent: int


class DatabaseLedger:
    """``LedgerStore``, on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def renew(self, asks: Sequence[Ask], holder: str, until: float, now: float) -> list[Grant]:
        def renew(connection: Connection) -> list[Grant]:
            ordered = sorted(asks, key=lambda ask: _order(ask.bucket))
            granted = {ask.allotment: _renewed(connection, ask, holder, until, now) for ask in ordered}
            return [granted[ask.allotment] for ask in asks]

        grants: list[Grant] = self._database.write(renew)
        return grants

    def settle(self, settlements: Sequence[Settlement], now: float) -> None:
        def settle(connection: Connection) -> None:
            for settlement in sorted(settlements, key=lambda one: _order(one.bucket)):
                _settled(connection, settlement, now)

        self._database.write(settle)

    def levels(self, wanted: Sequence[StoredBucket], now: float) -> list[Level]:
        with self._database.reading() as connection:
            return [_level(connection, bucket, now) for bucket in wanted]

    def holders(self, now: float) -> int:
        count = select(func.count(allotments.c.holder.distinct())).where(
            (allotments.c.until > now) & (allotments.c.holder != "")
        )
        with self._database.reading() as connection:
            return int(connection.execute(count).scalar_one())

    def forget_buckets(self, before: float) -> int:
        ended = ceil(before)  # PostgreSQL rounds what it compares with a whole number

        def forget(connection: Connection) -> int:
            old = select(buckets.c.id).where(buckets.c.end < ended)
            connection.execute(delete(allotments).where(allotments.c.bucket.in_(old) | (allotments.c.until < before)))
            deleted: int = connection.execute(delete(buckets).where(buckets.c.end < ended)).rowcount
            return deleted

        count: int = self._database.write(forget)
        return count


def _order(bucket: StoredBucket) -> tuple[str, ...]:
    return tuple(str(part) for part in bucket)


def _is(bucket: StoredBucket) -> Any:
    return (
        (buckets.c.owner == bucket.owner)
        & (buckets.c.level == bucket.level)
        & (buckets.c.metric == bucket.metric)
        & (buckets.c.window == (bucket.window or ""))
        & (buckets.c.start == bucket.start)
    )


def _locked(connection: Connection, bucket: StoredBucket) -> _Locked:
    values = {**bucket._asdict(), "window": bucket.window or "", "spent": 0}
    connection.execute(inserting(connection, buckets).once(), values)
    row = connection.execute(select(buckets.c.id, buckets.c.spent).where(_is(bucket)).with_for_update()).one()
    return _Locked(row.id, row.spent)


def _renewed(connection: Connection, ask: Ask, holder: str, until: float, now: float) -> Grant:
    bucket, before = _locked(connection, ask.bucket), _spent(connection, ask.allotment)
    total = bucket.spent + _counted(connection, bucket, ask.spent, before)
    elsewhere = _allotted(connection, bucket.id, now, besides=ask.allotment)
    amount = ask.granted(ask.cap - total - elsewhere)
    spent = max(ask.spent, before or 0)
    values = {"id": ask.allotment, "bucket": bucket.id, "holder": holder, "amount": spent + amount, "spent": spent}
    connection.execute(inserting(connection, allotments).replacing({**values, "until": until, "closed": False}, "id"))
    return Grant(amount, total, elsewhere)


def _spent(connection: Connection, allotment: str) -> int | None:
    """``None`` for an allotment that is not known."""
    spent: int | None = connection.execute(select(allotments.c.spent).where(allotments.c.id == allotment)).scalar()
    return spent


def _counted(connection: Connection, bucket: _Locked, spent: int, before: int | None) -> int:
    """Count what was spent of an allotment beyond what was counted ``before``; give how much that is."""
    more = max(0, spent - (before or 0))
    if more:
        connection.execute(update(buckets).where(buckets.c.id == bucket.id).values(spent=buckets.c.spent + more))
    return more


def _allotted(connection: Connection, bucket: int, now: float, *, besides: str = "") -> int:
    rest = allotments.c.amount - allotments.c.spent
    is_open = (allotments.c.bucket == bucket) & (allotments.c.until > now) & ~allotments.c.closed & (allotments.c.id != besides)
    total: int = connection.execute(
        select(func.coalesce(func.sum(case((rest > 0, rest), else_=0)), 0)).where(is_open)
    ).scalar_one()
    return int(total)


def _settled(connection: Connection, settlement: Settlement, now: float) -> None:
    bucket, before = _locked(connection, settlement.bucket), _spent(connection, settlement.allotment)
    if before is None:
        values = {"id": settlement.allotment, "bucket": bucket.id, "holder": "", "amount": 0, "until": now}
        connection.execute(allotments.insert(), {**values, "spent": settlement.spent, "closed": settlement.closed})
    else:
        changed = {"spent": max(before, settlement.spent), **({"closed": True} if settlement.closed else {})}
        connection.execute(update(allotments).where(allotments.c.id == settlement.allotment).values(**changed))
    _counted(connection, bucket, settlement.spent, before)


def _level(connection: Connection, bucket: StoredBucket, now: float) -> Level:
    row = connection.execute(select(buckets.c.id, buckets.c.spent).where(_is(bucket))).first()
    return Level(0, 0) if row is None else Level(row.spent, _allotted(connection, row.id, now))

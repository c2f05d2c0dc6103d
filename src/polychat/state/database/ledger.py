"""The ledger of limits and budgets in SQL. A transaction locks its buckets, in one order, before it reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, delete, func, select, update

from ..store import Allotment, Ask, Level, Settlement, StoredBucket
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

    def take(self, asks: Mapping[str, Ask], holder: str, until: float, now: float) -> dict[str, Allotment]:
        def take(connection: Connection) -> dict[str, Allotment]:
            ordered = sorted(asks.items(), key=lambda named: _order(named[1].bucket))
            return {name: _taken(connection, name, ask, holder, until, now) for name, ask in ordered}

        taken: dict[str, Allotment] = self._database.write(take)
        return taken

    def settle(self, settlements: Sequence[Settlement], now: float) -> None:
        def settle(connection: Connection) -> None:
            for settlement in sorted(settlements, key=lambda one: _order(one.bucket)):
                _settled(connection, settlement, now)

        self._database.write(settle)

    def levels(self, wanted: Sequence[StoredBucket], now: float) -> list[Level]:
        with self._database.reading() as connection:
            return [_level(connection, bucket, now) for bucket in wanted]

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


def _taken(connection: Connection, name: str, ask: Ask, holder: str, until: float, now: float) -> Allotment:
    bucket = _locked(connection, ask.bucket)
    row = connection.execute(select(allotments.c.amount, allotments.c.until).where(allotments.c.id == name)).first()
    if row is not None:
        return Allotment(name, ask.bucket, row.amount, row.until)
    amount = ask.granted(ask.cap - bucket.spent - _allotted(connection, bucket.id, now))
    if amount:
        values = {"id": name, "bucket": bucket.id, "holder": holder, "amount": amount, "spent": 0}
        connection.execute(allotments.insert(), {**values, "until": until, "closed": False})
    return Allotment(name, ask.bucket, amount, until)


def _allotted(connection: Connection, bucket: int, now: float) -> int:
    rest = allotments.c.amount - allotments.c.spent
    is_open = (allotments.c.bucket == bucket) & (allotments.c.until > now) & ~allotments.c.closed
    total: int = connection.execute(
        select(func.coalesce(func.sum(case((rest > 0, rest), else_=0)), 0)).where(is_open)
    ).scalar_one()
    return int(total)


def _settled(connection: Connection, settlement: Settlement, now: float) -> None:
    bucket = _locked(connection, settlement.bucket)
    row = connection.execute(select(allotments.c.spent).where(allotments.c.id == settlement.allotment)).first()
    if row is None:
        values = {"id": settlement.allotment, "bucket": bucket.id, "holder": "", "amount": 0, "until": now, "closed": True}
        connection.execute(allotments.insert(), {**values, "spent": settlement.spent})
    else:
        spent = max(row.spent, settlement.spent)
        changed: dict[str, Any] = {"spent": spent, **({"closed": True} if settlement.closed else {})}
        connection.execute(update(allotments).where(allotments.c.id == settlement.allotment).values(**changed))
    more = settlement.spent - (0 if row is None else row.spent)
    if more > 0:
        connection.execute(update(buckets).where(buckets.c.id == bucket.id).values(spent=buckets.c.spent + more))


def _level(connection: Connection, bucket: StoredBucket, now: float) -> Level:
    row = connection.execute(select(buckets.c.id, buckets.c.spent).where(_is(bucket))).first()
    return Level(0, 0) if row is None else Level(row.spent, _allotted(connection, row.id, now))

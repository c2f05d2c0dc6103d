"""The ledger of limits and budgets in SQL: a few statements for any number of buckets, which a transaction locks first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

from sqlalchemy import Boolean, Connection, bindparam, case, delete, func, select, tuple_, update

from ..store import MOST_AHEAD, AllotmentRequest, Grant, Level, Settlement, StoredBucket
from .engine import Database
from .statements import inserting
from .tables import allotments, buckets, keepable, processes


class _Locked(NamedTuple):
    """A bucket that nobody else changes until the transaction is over."""

    id: int
    spent: int


class DatabaseLedger:
    """``LedgerStore``, on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def renew(self, asks: Sequence[AllotmentRequest], until: float, now: float) -> list[Grant]:
        grants: list[Grant] = self._database.write(lambda connection: _renewed(connection, asks, until, now))
        return grants

    def settle(self, settlements: Sequence[Settlement], now: float) -> None:
        if settlements:
            self._database.write(lambda connection: _settled(connection, settlements, now))

    def levels(self, wanted: Sequence[StoredBucket], now: float) -> list[Level]:
        with self._database.reading() as connection:
            return [_level(connection, bucket, now) for bucket in wanted]

    def announce(self, process: str, until: float, now: float) -> int:
        count = select(func.count()).select_from(processes).where(processes.c.until > now)

        def write(connection: Connection) -> int:
            connection.execute(inserting(connection, processes).replacing({"id": process, "until": until}, "id"))
            return int(connection.execute(count).scalar_one())

        number: int = self._database.write(write)
        return number

    def forget_buckets(self, before: float) -> int:
        ended = ceil(before)  # PostgreSQL rounds what it compares with a whole number

        def forget(connection: Connection) -> int:
            old = select(buckets.c.id).where(buckets.c.end < ended)
            connection.execute(delete(allotments).where(allotments.c.bucket.in_(old) | (allotments.c.until < before)))
            connection.execute(delete(processes).where(processes.c.until < before))
            deleted: int = connection.execute(delete(buckets).where(buckets.c.end < ended)).rowcount
            return deleted

        count: int = self._database.write(forget, slow=True)
        return count


def _place(bucket: StoredBucket) -> tuple[str, str, str, str, int]:
    """What is unique."""
    return keepable(bucket.owner), bucket.level, bucket.metric, bucket.window or "", bucket.start


_PLACE = (buckets.c.owner, buckets.c.level, buckets.c.metric, buckets.c.window, buckets.c.start)


def _locked(connection: Connection, wanted: Iterable[StoredBucket]) -> dict[StoredBucket, _Locked]:
    """Buckets that nobody else changes until the transaction is over; they are made first where they are not there.

    No two transactions wait for each other: each makes all that it needs in one order, and then locks it in another.
    """
    ordered = sorted(set(wanted), key=_place)
    places = tuple_(*_PLACE).in_([_place(bucket) for bucket in ordered])
    # Each insertion takes a number, also where the row is there: only what is missing is inserted.
    there = {tuple(place) for place in connection.execute(select(*_PLACE).where(places))}
    values = [
        {**bucket._asdict(), "window": bucket.window or "", "spent": 0} for bucket in ordered if _place(bucket) not in there
    ]
    if values:
        connection.execute(inserting(connection, buckets).once(), values)
    query = select(buckets.c.id, buckets.c.spent, *_PLACE).where(places).order_by(buckets.c.id).with_for_update()
    found = {tuple(place): _Locked(number, spent) for number, spent, *place in connection.execute(query)}
    return {bucket: found[_place(bucket)] for bucket in ordered}


def _renewed(connection: Connection, asks: Sequence[AllotmentRequest], until: float, now: float) -> list[Grant]:
    if not asks:
        return []
    locked = _locked(connection, [ask.bucket for ask in asks])
    names = [ask.allotment for ask in asks]
    before, elsewhere = _spent(connection, names), _elsewhere(connection, locked, names, now)
    grants, rows, more = [], [], {}
    for ask in asks:
        number, counted = locked[ask.bucket]
        spent = max(ask.spent, before.get(ask.allotment, 0))
        more[number] = spent - before.get(ask.allotment, 0)
        held = elsewhere.get(number, 0)
        grant = Grant(ask.granted(ask.cap - counted - more[number] - held), counted + more[number], held)
        values = {"id": ask.allotment, "bucket": number, "spent": spent, "amount": spent + grant.amount}
        rows.append({**values, "until": until, "closed": False})
        grants.append(grant)
    connection.execute(inserting(connection, allotments).replacing_all("id"), rows)
    _count(connection, more)
    return grants


def _settled(connection: Connection, settlements: Sequence[Settlement], now: float) -> None:
    locked = _locked(connection, [settlement.bucket for settlement in settlements])
    before = _spent(connection, [settlement.allotment for settlement in settlements])
    more: dict[int, int] = defaultdict(int)
    known, new = [], []
    for settlement in settlements:
        number = locked[settlement.bucket].id
        spent = max(settlement.spent, before.get(settlement.allotment, 0))
        more[number] += spent - before.get(settlement.allotment, 0)
        if settlement.allotment in before:
            known.append({"name": settlement.allotment, "now_spent": spent, "now_closed": settlement.closed})
        else:
            values = {"id": settlement.allotment, "bucket": number, "amount": 0, "until": now}
            new.append({**values, "spent": spent, "closed": settlement.closed})
    if known:
        closed = allotments.c.closed | bindparam("now_closed", type_=Boolean)
        change = update(allotments).where(allotments.c.id == bindparam("name"))
        connection.execute(change.values(spent=bindparam("now_spent"), closed=closed), known)
    if new:
        connection.execute(allotments.insert(), new)
    _count(connection, more)


def _spent(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """Of those allotments that are known."""
    query = select(allotments.c.id, allotments.c.spent).where(allotments.c.id.in_(names))
    return {row.id: row.spent for row in connection.execute(query)}


def _elsewhere(
    connection: Connection, locked: Mapping[StoredBucket, _Locked], names: Sequence[str], now: float
) -> dict[int, int]:
    """What allotments but those of these ``names`` hold, by the numbers of buckets."""
    numbers = [bucket.id for bucket in locked.values()]
    query = select(allotments.c.bucket, _rest()).where(_is_open(now), allotments.c.bucket.in_(numbers))
    rows = connection.execute(query.where(allotments.c.id.not_in(names)).group_by(allotments.c.bucket))
    return {number: int(rest) for number, rest in rows}


def _rest() -> Any:
    """The sum of what is not spent of allotments."""
    rest = allotments.c.amount - allotments.c.spent
    return func.coalesce(func.sum(case((rest > 0, rest), else_=0)), 0)


def _is_open(now: float) -> Any:
    return (allotments.c.until > now) & (allotments.c.until <= now + MOST_AHEAD) & ~allotments.c.closed


def _count(connection: Connection, more: Mapping[int, int]) -> None:
    """Add to what was spent of these buckets."""
    rows = [{"number": number, "more": amount} for number, amount in more.items() if amount]
    if rows:
        change = update(buckets).where(buckets.c.id == bindparam("number"))
        connection.execute(change.values(spent=buckets.c.spent + bindparam("more")), rows)


def _level(connection: Connection, bucket: StoredBucket, now: float) -> Level:
    is_it = tuple_(*_PLACE) == tuple_(*_place(bucket))
    row = connection.execute(select(buckets.c.id, buckets.c.spent).where(is_it)).first()
    if row is None:
        return Level(0, 0)
    rest = select(_rest()).where(_is_open(now), allotments.c.bucket == row.id)
    return Level(row.spent, int(connection.execute(rest).scalar_one()))

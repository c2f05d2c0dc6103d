"""Usage in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from msgspec import json, structs
from sqlalchemy import Connection, Row, Select, case, collate, delete, exists, func, select, text, tuple_

from ..store import UsageDimension, UsageFilter, UsageLabels, UsagePlace, UsageRecord, UsageSum, days_in_order
from .engine import Database
from .statements import inserting
from .tables import usage, usage_labels

_DAY = 86_400_000
_CHUNK = 10_000
"""Rows that are deleted in one transaction: others write meanwhile."""
_TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")


class DatabaseUsage:
    """``UsageStore``, on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write_usage(self, records: Sequence[UsageRecord]) -> None:
        if not records:
            return
        ids = {labels: _id_of(labels) for labels in {record.labels for record in records}}
        labels = [{"id": number, **labels._asdict()} for labels, number in sorted(ids.items())]
        rows = [{**structs.asdict(record), "labels": ids[record.labels]} for record in records]

        def write(connection: Connection) -> None:
            connection.execute(inserting(connection, usage_labels).once(), labels)
            connection.execute(inserting(connection, usage).once(), rows)

        self._database.write(write, slow=True)

    def usage(
        self, by: UsageDimension, which: UsageFilter, *, after: UsagePlace | None = None, limit: int | None = None
    ) -> list[UsageSum]:
        dimension = usage.c.at // _DAY if by == "day" else usage_labels.c[by]
        query = select(dimension.label("name"), *_sums()).join(usage_labels, usage.c.labels == usage_labels.c.id)
        for condition in _conditions(which):
            query = query.where(condition)
        query = query.group_by(dimension)
        with self._database.reading(slow=True) as connection:
            rows = connection.execute(query if by == "day" else self._page(query, after).limit(limit))
            sums = [_sum(row, by) for row in rows]
        return days_in_order(sums, after, limit) if by == "day" else sums

    def _page(self, sums: Select[Any], after: UsagePlace | None) -> Select[Any]:
        """The sums in their order, behind a place."""
        table = sums.subquery()
        name = table.c.name if self._database.is_sqlite else collate(table.c.name, "C")  # in the same order everywhere
        place = -table.c.cost, -table.c.prompt_tokens - table.c.completion_tokens, name
        query = select(table).order_by(*place)
        return query if after is None else query.where(tuple_(*place) > tuple_(*after))

    def forget_usage(self, before: float) -> int:
        total = 0
        while count := self._database.write(lambda connection: _forget_chunk(connection, int(before * 1000)), slow=True):
            total += count
        if total:
            self._database.write(_forget_labels, slow=True)
        return total


def _id_of(labels: UsageLabels) -> int:
    """Two sets of labels have the same with a probability of one in a million for six million sets."""
    return int.from_bytes(blake2b(json.encode(labels), digest_size=8).digest(), signed=True)


def _sums() -> list[Any]:
    is_request = usage.c.attempts > 0
    conditions = {
        "requests": is_request,
        "failed": is_request & (usage_labels.c.verdict != "complete"),
        "unpriced": is_request & usage.c.cost.is_(None),
    }
    columns = [func.sum(case((condition, 1), else_=0)).label(name) for name, condition in conditions.items()]
    return columns + [func.coalesce(func.sum(usage.c[name]), 0).label(name) for name in (*_TOKENS, "cost")]


def _conditions(which: UsageFilter) -> list[Any]:
    conditions = [usage.c.at >= int(which.since * 1000)]
    if which.until is not None:
        conditions.append(usage.c.at < int(which.until * 1000))
    return conditions + [usage_labels.c[name] == value for name, value in which.labels.items()]


def _sum(row: Row[Any], by: UsageDimension) -> UsageSum:
    values = {name: int(value) for name, value in row._mapping.items() if name != "name"}
    name = datetime.fromtimestamp(row.name * _DAY // 1000, UTC).date().isoformat() if by == "day" else row.name
    return UsageSum(name=name, **values)


def _forget_chunk(connection: Connection, before: int) -> int:
    oldest = select(usage.c.at).where(usage.c.at < before).order_by(usage.c.at)
    end = connection.execute(oldest.offset(_CHUNK).limit(1)).scalar()
    # Rows of one moment are deleted together, so a chunk may be larger, and none is for ever too small.
    count: int = connection.execute(delete(usage).where(usage.c.at < (before if end is None else end + 1))).rowcount
    return count


def _forget_labels(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
        connection.execute(text("LOCK TABLE usage_labels IN SHARE ROW EXCLUSIVE MODE"))
    connection.execute(delete(usage_labels).where(~exists().where(usage.c.labels == usage_labels.c.id)))

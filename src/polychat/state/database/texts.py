"""Texts in SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from ..store import TextPlace
from .engine import Database
from .statements import inserting
from .tables import texts


class DatabaseTexts:
    """``TextStore``, on a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep_text(self, place: TextPlace, data: bytes, until: float) -> None:
        values = {**place._asdict(), "data": data, "until": until}

        def write(connection: Connection) -> None:
            connection.execute(inserting(connection, texts).replacing(values, *place._fields))

        self._database.write(write)

    def claim_text(self, place: TextPlace, data: bytes, until: float, now: float) -> bytes | None:
        values = {"data": data, "until": until}

        def write(connection: Connection) -> bytes | None:
            new = inserting(connection, texts).statement.values(**place._asdict(), **values)
            connection.execute(
                new.on_conflict_do_update(index_elements=list(place._fields), set_=values, where=texts.c.until <= now)
            )
            kept: bytes = bytes(connection.execute(select(texts.c.data).where(*_at(place))).scalar_one())
            return None if kept == data else kept

        found: bytes | None = self._database.write(write)
        return found

    def hold_texts(self, held: Mapping[TextPlace, bytes], until: float) -> None:
        columns = [texts.c[name] == bindparam(f"at_{name}") for name in TextPlace._fields]
        change = update(texts).where(*columns, texts.c.data == bindparam("held")).values(until=until)
        # In one order, so that no two transactions wait for each other.
        rows = [
            {**{f"at_{name}": value for name, value in place._asdict().items()}, "held": data}
            for place, data in sorted(held.items())
        ]
        if rows:
            self._database.write(lambda connection: connection.execute(change, rows) and None)

    def replace_text(self, place: TextPlace, held: bytes, data: bytes, until: float, now: float) -> bool:
        values = {"data": data, "until": until}

        def write(connection: Connection) -> bool:
            new = inserting(connection, texts).statement.values(**place._asdict(), **values)
            is_free = (texts.c.data == held) | (texts.c.until <= now)
            connection.execute(new.on_conflict_do_update(index_elements=list(place._fields), set_=values, where=is_free))
            return bytes(connection.execute(select(texts.c.data).where(*_at(place))).scalar_one()) == data

        is_kept: bool = self._database.write(write)
        return is_kept

    def text(self, place: TextPlace, now: float) -> bytes | None:
        query = select(texts.c.data).where(*_at(place), texts.c.until > now)
        with self._database.reading() as connection:
            found: bytes | None = connection.execute(query).scalar()
        return None if found is None else bytes(found)

    def forget_text(self, place: TextPlace, held: bytes | None = None) -> None:
        which = _at(place) if held is None else [*_at(place), texts.c.data == held]
        self._database.write(lambda connection: connection.execute(delete(texts).where(*which)) and None)

    def forget_texts(self, before: float) -> int:
        def forget(connection: Connection) -> int:
            return connection.execute(delete(texts).where(texts.c.until <= before)).rowcount

        count: int = self._database.write(forget, slow=True)
        return count


def _at(place: TextPlace) -> list[Any]:
    return [texts.c[name] == value for name, value in place._asdict().items()]

"""Statements that SQLite and PostgreSQL both have and standard SQL has not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def inserting(connection: Connection, table: Table) -> Inserting:
    """``INSERT`` with a rule for rows that are there already."""
    return Inserting(table, (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table))


class Inserting(NamedTuple):
    table: Table
    statement: Any

    def once(self) -> Any:
        """Rows that are there stay as they are."""
        return self.statement.on_conflict_do_nothing()

    def replacing_all(self, *known_by: str) -> Any:
        """Of each row that is given, the one with the same values in the columns ``known_by`` gets all other values."""
        others = {column.name: self.statement.excluded[column.name] for column in self.table.c if column.name not in known_by}
        return self.statement.on_conflict_do_update(index_elements=list(known_by), set_=others)

    def replacing(self, values: Mapping[str, Any], *known_by: str) -> Any:
        """The row with the same values in the columns ``known_by`` gets all other ``values``."""
        others = {name: value for name, value in values.items() if name not in known_by}
        return self.statement.values(**values).on_conflict_do_update(index_elements=list(known_by), set_=others)

"""Which schema a database has, and the way from it to the current one."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from ..store import StoreUnavailable

HEAD = "0004"
"""The revision that ``tables`` describes; a test compares it with the latest migration."""
_VERSIONS = "alembic_version"


def is_current(connection: Connection) -> bool:
    """Whether nothing is to be migrated."""
    return revision_of(connection) == HEAD


def load() -> None:
    """Import what ``upgrade`` needs for a migration, which takes a quarter of a second."""


def upgrade(connection: Connection, revision: str = HEAD) -> None:
    """Migrate to ``revision`` in the running transaction. Raises ``StoreUnavailable`` for a schema of a later polychat."""
    current = revision_of(connection)
    if current == revision:
        return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    settings = Config(attributes={"connection": connection})
    settings.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    try:
        command.upgrade(settings, revision)
    except CommandError as error:
        raise StoreUnavailable(
            f"the database has the schema {current}, which this polychat does not know: install the version that wrote it"
        ) from error


def revision_of(connection: Connection) -> str:
    """The schema's revision; empty before the first."""
    if not inspect(connection).has_table(_VERSIONS):
        return ""
    revision: str | None = connection.execute(text(f"SELECT version_num FROM {_VERSIONS}")).scalar()  # noqa: S608  # a constant
    return revision or ""

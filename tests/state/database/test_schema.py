"""The schema: every released one comes up to the current one, which is what the code reads and writes."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from polychat.state.database import migrations, schema, tables
from polychat.state.database.engine import Database
from polychat.state.database.store import DatabaseStore
from polychat.state.store import StoreUnavailable

from ...support.database_servers import PostgreSQL

SCRIPTS = ScriptDirectory(str(Path(migrations.__file__).parent))
REVISIONS = [script.revision for script in SCRIPTS.walk_revisions()][::-1]


def test_the_current_revision_is_the_latest_migration() -> None:
    """There is one line of migrations, and its end is what a new database gets."""
    assert SCRIPTS.get_heads() == [schema.HEAD]


@pytest.fixture
def empty(url: str, request: pytest.FixtureRequest) -> str:
    """A database without any table."""
    if not url.startswith("sqlite"):
        server: PostgreSQL = request.getfixturevalue("postgresql_server")
        database = Database(server.url)
        with database._engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        database.close()
    return url


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_schema_comes_up_to_the_tables_of_the_code(empty: str, revision: str) -> None:
    """From each revision the migrations lead to the tables that the code describes, and another run does nothing."""
    database = Database(empty)
    with database._engine.begin() as connection:
        schema.upgrade(connection, revision)
        assert schema.revision_of(connection) == revision
    with database._engine.begin() as connection:
        schema.upgrade(connection)
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
        schema.upgrade(connection)
        assert schema.revision_of(connection) == schema.HEAD
    database.close()


def test_a_migration_may_take_longer_than_a_request_waits(
    postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that wrote a table of some million rows anew was ended after ten seconds, at each start. It has minutes, by
    the server's clock and ours; what is asked on the same connection afterwards has seconds."""
    clocks = []

    def look(connection: Connection) -> None:
        asked = connection.execute(text("SHOW statement_timeout")).scalar_one()
        clocks.append((asked, connection.connection.dbapi_connection.patience))  # type: ignore[union-attr]

    monkeypatch.setattr(schema, "upgrade", look)
    monkeypatch.setattr(schema, "is_current", lambda connection: False)
    database = Database(postgresql_server.url)
    with database.reading() as connection:
        look(connection)
    database.close()
    assert clocks == [("10min", 600.0), ("10s", 3.0)]


def test_a_schema_of_a_later_version_is_left_alone(empty: str) -> None:
    """The error says which schema it is and what to install; nothing is changed. A gateway goes on as without a database: usage
    waits in the spool for the right version."""
    store = DatabaseStore(empty)
    assert store.last_change() == 0
    store.close()
    database = Database(empty)
    with database._engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    later = DatabaseStore(empty)
    with pytest.raises(StoreUnavailable, match="schema 9999.*install the version that wrote it"):
        later.last_change()
    later.close()
    with database._engine.begin() as connection:
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{schema.HEAD}'"))
    database.close()


def test_the_file_is_this_users_alone(tmp_path: Path) -> None:
    """The database and the files beside it have mode 0600 while it is open, also where the file was there with another mode."""
    file = tmp_path / "folder" / "gateway.db"
    for _ in range(2):
        store = DatabaseStore(f"sqlite:///{file}")
        assert store.last_change() == 0
        assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()} == dict.fromkeys(
            ("gateway.db", "gateway.db-shm", "gateway.db-wal"), 0o600
        )
        store.close()
        file.chmod(0o644)

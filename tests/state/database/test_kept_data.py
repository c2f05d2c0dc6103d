"""What operators are told of kept data: the table has every table there is, and the commands for backups do what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="needs the extra: pip install 'polychat[state]'")

from polychat.state.database.store import DatabaseStore
from polychat.state.database.tables import metadata
from polychat.state.key_admin import KeyAdmin
from polychat.state.store import StateStore

from ...support.database_servers import PostgreSQL, emptied

PAGE = (Path(__file__).parents[3] / "docs" / "state.md").read_text("utf-8")


def test_every_table_is_in_the_page() -> None:
    """The table of all data names each table of the database, and no other."""
    rows = [line.split("|")[2] for line in PAGE.splitlines() if "| database: " in line]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {*metadata.tables, "alembic_version"}


def commands(heading: str = "## Backup and restore") -> list[str]:
    """The commands in the page, by their blocks."""
    return re.findall(r"```sh\n(.*?)```", PAGE.partition(heading)[2], re.DOTALL)


def run(script: str, folder: Path, **variables: str) -> None:
    search = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    subprocess.run(["sh", "-ec", script], cwd=folder, env={"PATH": search, **variables}, check=True, timeout=60)


def names(store: StateStore) -> list[str]:
    kept = store.keys()
    return [key.name for key in kept]


def test_sqlite_is_copied_while_it_is_written(tmp_path: Path) -> None:
    """The copy has what was committed, which a plain copy of the file lacks, and is its owner's alone; after the restore the
    database is as it was at the copy, and is written on."""
    backup, restore, _ = commands()
    store = DatabaseStore(f"sqlite:///{tmp_path}/gateway.db")
    KeyAdmin(store, "test", 1.0).create("before")
    run(backup, tmp_path)
    assert (tmp_path / "copy.db").stat().st_mode & 0o077 == 0
    KeyAdmin(store, "test", 2.0).create("after")
    assert names(store) == ["before", "after"]
    store.close()
    (tmp_path / "gateway.db-wal").write_bytes(b"left by a gateway that was killed")
    run(restore, tmp_path)
    restored = DatabaseStore(f"sqlite:///{tmp_path}/gateway.db")
    KeyAdmin(restored, "test", 3.0).create("later")
    assert names(restored) == ["before", "later"]
    restored.close()


def test_postgresql_is_copied_and_restored(postgresql_server: PostgreSQL, tmp_path: Path) -> None:
    """After the restore it is as it was at the copy."""
    if shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed: apt-get install postgresql-client")
    url = postgresql_server.url
    store = emptied(DatabaseStore(url))
    KeyAdmin(store, "test", 1.0).create("before")
    dump, restore = commands()[2].splitlines()
    run(dump, tmp_path, POLYCHAT_DATABASE_URL=url)
    KeyAdmin(store, "test", 2.0).create("after")
    store.close()
    run(restore, tmp_path, POLYCHAT_DATABASE_URL=url)
    restored = DatabaseStore(url)
    KeyAdmin(restored, "test", 3.0).create("later")
    assert names(restored) == ["before", "later"]
    emptied(restored).close()

"""Opening a database, and connections to one whose URL a command prints."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import text

from polychat.config.settings import State
from polychat.errors import BadInput, NotReady
from polychat.gateway.storage import store_of
from polychat.state.database.engine import Database
from polychat.state.database.store import DatabaseStore
from polychat.state.store import StoreUnavailable

from ...support.database_servers import PostgreSQL


def test_a_new_connection_logs_in_with_what_the_url_says_now(postgresql_server: PostgreSQL) -> None:
    """A password that expires is fetched for each connection; where it cannot be, the database counts as away."""
    url, users = postgresql_server.url, ["polychat"]

    def renewed() -> str:
        if not users:
            raise NotReady("gateway.state.url runs vault, which ended with status 1")
        return url.replace("polychat@", f"{users[0]}:word@")

    database = Database(url, renewed=renewed)
    with database.reading() as connection:
        connection.execute(text("CREATE ROLE second LOGIN SUPERUSER"))
    for user in ("polychat", "second"):
        users[:] = [user]
        database._engine.dispose()
        with database.reading() as connection:
            assert connection.execute(text("SELECT current_user")).scalar() == user
    users.clear()
    database._engine.dispose()
    with pytest.raises(StoreUnavailable, match="runs vault"), database.reading():
        pass
    users.append("polychat")
    with database.reading() as connection:
        connection.execute(text("DROP ROLE second"))
    database.close()


def test_the_url_may_be_what_a_command_prints(tmp_path: Path) -> None:
    """In the configuration as ``exec:COMMAND``; what it prints is checked as any other URL."""
    for printed, kind in (("sqlite:///there.db", ""), ("mysql://h/d", "begins with mysql")):
        file = tmp_path / f"{len(kind)}.py"
        file.write_text(f"print({printed!r})")
        state = State(url=f"exec:{sys.executable} -S -E '{file}'")
        if kind:
            with pytest.raises(BadInput, match=kind):
                store_of(state)
        else:
            store_of(state).close()


def test_our_clock_leaves_the_server_time_to_say_what_is_locked(postgresql_server: PostgreSQL) -> None:
    """A command waits longer for a lock than requests do: our clock of a statement, of few rows or of many, ends later than the
    server's for locks, also after one that went through many rows on the same connection."""
    for patience in (0.5, 5.0):
        database = Database(postgresql_server.url, patience=patience)
        for slow in (False, True, False):
            with database.reading(slow=slow) as connection:
                server = int(
                    connection.execute(text("SELECT setting FROM pg_settings WHERE name = 'lock_timeout'")).scalar_one()
                )
                ours = connection.connection.dbapi_connection.patience  # type: ignore[union-attr]
            assert server == patience * 1000 + 1000 < ours * 1000
        database.close()


def test_a_pool_without_a_free_connection_is_no_server_that_is_away(postgresql_server: PostgreSQL) -> None:
    """Who gets no connection in time is told so, and the server, which was not asked, is asked by the next one at once."""
    database = Database(postgresql_server.url)
    database._engine.pool._timeout = 0.01  # type: ignore[attr-defined]  # of SQLAlchemy's QueuePool
    with ExitStack() as others, pytest.raises(StoreUnavailable, match="no connection was free in time"):
        for _ in range(100):
            others.enter_context(database.reading())
    with database.reading() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    database.close()


def test_a_new_database_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    """As by the workers of a gateway: each waits until one of them has made the tables, and none is refused."""
    together = Barrier(6)

    def first_use(_: int) -> int:
        with closing(DatabaseStore(f"sqlite:///{tmp_path / 'new.db'}", patience=0.01)) as store:
            together.wait(10)
            return store.last_change()

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(first_use, range(6))) == [0] * 6

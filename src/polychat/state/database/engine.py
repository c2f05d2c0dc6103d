"""Connections to the database, and its schema.

SQLite has one file in WAL mode, which several processes write: each transaction that writes takes the write lock at its
beginning (``BEGIN IMMEDIATE``), so none fails in its middle because another was faster, and one that cannot get the lock within
``patience`` seconds raises ``StoreUnavailable``. ``synchronous`` is ``FULL``: what is committed survives a power cut.

PostgreSQL may hang, or be out of reach. What waits for it, and for how long:

a call                         waits at most
=============================  ==================================================================================
for a connection               2 s, and for one of the pool to be free as long
for a lock                     ``patience`` and a second
for its tables to be made      2 s; with SQLite, which other processes may be the first to open, 10 s
of few rows                    3 s for each statement, or ``patience`` and two seconds if that is more
of many, or a sum              10 s for each statement, by the server's clock, and 12 s by ours
a migration                    10 minutes for each statement, by both
while the server is away       not at all, but for one call a second: see ``availability``
=============================  ==================================================================================

A pool's connection is tried first, and replaced where it does not answer: the first calls to a server that hangs take 5 s.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.url import URL
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ...errors import BadInput, MissingPackage, PolychatError, redact
from ..store import StoreUnavailable
from .availability import Availability

_BEGIN, _PATIENCE = "polychat_begin", "polychat_patience"
_LOCK = 0x706F6C79
"""PostgreSQL's advisory lock for migrations."""
_CONNECT_SECONDS = 2
_FIRST_OPENING = 10.0
"""Seconds for SQLite's tables to be made, by this process or another."""
QUICK_SECONDS = 3.0
"""Enough for what requests may wait for, and for locks."""
_STATEMENT_MILLISECONDS = 10_000
_SLOW_SECONDS = 12.0
"""For what goes through many rows; the server ends it before that."""
_MIGRATION_SECONDS = 600
"""A statement that writes each row of a large table anew, and is ended early, has to begin again."""


class Database:
    """An engine whose schema is brought up to date when it is first used. Nothing is opened before."""

    def __init__(self, url: str, *, patience: float = 0.5, renewed: Callable[[], str] | None = None) -> None:
        """``renewed``: see ``DatabaseStore``.

        Raises ``BadInput`` for a URL that is neither SQLite's nor PostgreSQL's, ``MissingPackage`` without its driver.
        """
        self._url = _readable(url)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self.file = Path(self._url.database) if self.is_sqlite and self._url.database else None
        """SQLite's file."""
        self._engine = _sqlite(self._url, patience) if self.is_sqlite else _postgresql(self._url, patience, renewed)
        event.listen(self._engine, "begin", _begin)
        self._quick = _quick(patience)
        self._is_current = False
        self._availability = Availability()
        self._lock = Lock()

    @contextmanager
    def reading(self, *, slow: bool = False) -> Generator[Connection]:
        """A transaction that sees one state of the database. ``slow``: it may go through many rows."""
        self._prepare()
        with self._asking(), self._transaction(self._engine, slow) as connection:
            yield connection

    def write(self, work: Callable[[Connection], Any], *, slow: bool = False) -> Any:
        """Run ``work`` in a transaction that writes. It runs once more if the connection turns out to be lost."""
        self._prepare()
        with self._asking():
            begun = monotonic()
            try:
                return self._written(work, slow)
            except DBAPIError as error:
                if not error.connection_invalidated or monotonic() - begun > _CONNECT_SECONDS:
                    raise
                return self._written(work, slow)

    def _written(self, work: Callable[[Connection], Any], slow: bool) -> Any:
        with self._transaction(self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}), slow) as connection:
            return work(connection)

    @contextmanager
    def _transaction(self, engine: Engine, slow: bool) -> Generator[Connection]:
        with engine.connect() as connection:
            raw: Any = connection.connection.dbapi_connection
            if slow and not self.is_sqlite:
                raw.patience = _SLOW_SECONDS
            try:
                with connection.begin():
                    yield connection
            finally:
                if slow and not self.is_sqlite:
                    raw.patience = self._quick

    @contextmanager
    def _asking(self) -> Generator[None]:
        """One call. Raises ``StoreUnavailable``, at once where the server did not answer a moment ago."""
        if self.is_sqlite:
            with _errors_translated():
                yield
            return
        self._availability.check()
        try:
            with _errors_translated():
                yield
        except StoreUnavailable as error:
            if isinstance(error.__cause__, PoolTimeout):
                self._availability.not_asked()
            elif _is_silent(error):
                self._availability.failed()
            else:
                self._availability.answered()
            raise
        except BaseException:
            self._availability.answered()
            raise
        self._availability.answered()

    def _prepare(self) -> None:
        if self._is_current:
            return
        if not self._lock.acquire(timeout=_FIRST_OPENING if self.is_sqlite else _CONNECT_SECONDS):
            raise StoreUnavailable("the database cannot be used yet: its tables are being made")
        try:
            with self._asking():
                if not self._is_current:
                    if self.file is not None:
                        _private(self.file)
                    self._migrate()
                    self._is_current = True
        finally:
            self._lock.release()

    def _migrate(self) -> None:
        from .schema import is_current, load, upgrade

        with self._transaction(self._engine, True) as connection:
            if is_current(connection):
                return
        load()  # takes long: others wait for the lock
        options = {_BEGIN: "BEGIN IMMEDIATE", _PATIENCE: _FIRST_OPENING}
        with self._transaction(self._engine.execution_options(**options), True) as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
                _allow_long_statements(connection)
            upgrade(connection)
        if self.is_sqlite:
            self._engine.dispose()  # the connection that waits so long

    def close(self) -> None:
        self._engine.dispose()


def _readable(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadInput("gateway.state.url is not a URL: write sqlite:///PATH or postgresql://HOST/NAME", field="url") from None
    if parsed.drivername not in ("sqlite", "postgresql"):
        message = (
            f"gateway.state.url begins with {redact(parsed.drivername, 40)}: write sqlite:///PATH or postgresql://HOST/NAME"
        )
        raise BadInput(message, field="url")
    return parsed


def _sqlite(url: URL, patience: float) -> Engine:
    engine = create_engine(url, connect_args={"timeout": patience, "isolation_level": None})
    event.listen(engine, "connect", _set_up)
    return engine


def _set_up(connection: Any, _: object) -> None:
    _write_ahead(connection)
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "cache_size = -8000"):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """The first process that opens a file changes its mode; where several do at a time, SQLite refuses rather than waits."""
    until = monotonic() + _FIRST_OPENING
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > until:
                raise
            sleep(_FIRST_OPENING / 500)
        else:
            return


def _begin(connection: Connection) -> None:
    """The driver would begin at the first change, when another may have the write lock."""
    if connection.dialect.name == "sqlite":
        options = connection.get_execution_options()
        if (patience := options.get(_PATIENCE)) is not None:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {patience * 1000:.0f}")
        connection.exec_driver_sql(options.get(_BEGIN, "BEGIN"))


def _postgresql(url: URL, patience: float, renewed: Callable[[], str] | None) -> Engine:
    options = f"-c statement_timeout={_STATEMENT_MILLISECONDS} -c lock_timeout={int(patience * 1000) + 1000} -c timezone=UTC"
    arguments = {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": 5000, "options": options}
    arguments |= {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args=arguments,
            pool_size=3,
            pool_timeout=_CONNECT_SECONDS,
            hide_parameters=True,
            pool_pre_ping=True,  # a server that was restarted costs no reader an error
        )
        from .timed_connection import TimedConnection
    except ImportError:
        raise MissingPackage("psycopg", extra="postgres", purpose="gateway.state.url with postgresql://") from None

    def connect(dialect: object, record: object, arguments: list[Any], named: dict[str, Any]) -> TimedConnection:
        if renewed is not None:
            named |= _account(renewed)
        connection = TimedConnection.connect(*arguments, **named)
        connection.patience = _quick(patience)
        return connection

    event.listen(engine, "do_connect", connect)
    return engine


def _allow_long_statements(connection: Connection) -> None:
    """In PostgreSQL, in this transaction."""
    connection.execute(text(f"SET LOCAL statement_timeout = '{_MIGRATION_SECONDS}s'"))
    raw: Any = connection.connection.dbapi_connection
    raw.patience = float(_MIGRATION_SECONDS)


def _quick(patience: float) -> float:
    """Our clock of a statement about few rows: the server's for locks ends before it, and says what was waited for."""
    return max(QUICK_SECONDS, patience + 2)


def _account(renewed: Callable[[], str]) -> dict[str, str | None]:
    """What a new connection logs in with, as the URL of now says. Raises ``StoreUnavailable`` where there is none."""
    try:
        url = _readable(renewed())
    except PolychatError as error:
        raise StoreUnavailable(str(error)) from error
    return {"user": url.username, "password": url.password}


def _is_silent(error: StoreUnavailable) -> bool:
    """Whether the server did not answer; its own errors, such as of a lock, have a code."""
    cause = error.__cause__
    is_own = isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", None) is not None
    return isinstance(cause, DBAPIError) and not is_own


def _private(file: Path) -> None:
    """Only this user may read it; SQLite gives the files beside it the same mode."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            with suppress(PermissionError):  # another user's
                file.chmod(0o600)
    except OSError as error:
        raise StoreUnavailable(f"{file}: {error.strerror}: gateway.state.url must name a file that can be written") from error


@contextmanager
def _errors_translated() -> Generator[None]:
    """Raises ``StoreUnavailable`` for whatever time may heal, ``ValueError`` for a value that no column holds."""
    try:
        yield
    except IntegrityError:
        raise
    except DataError as error:
        raise ValueError(f"the database refuses a value: {redact(str(error.orig))}") from error
    except DBAPIError as error:
        raise StoreUnavailable(f"the database cannot be used: {redact(str(error.orig))}") from error
    except PoolTimeout as error:
        raise StoreUnavailable("the database cannot be used: no connection was free in time") from error

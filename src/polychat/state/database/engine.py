"""Connections to the database, and its schema.

SQLite has one file in WAL mode, which several processes write: each transaction that writes takes the write lock at its
beginning (``BEGIN IMMEDIATE``), so none fails in its middle because another was faster, and one that cannot get the lock within
``patience`` seconds raises ``StoreUnavailable``. ``synchronous`` is ``FULL``: what is committed survives a power cut.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.url import URL
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ...errors import BadInput, MissingPackage, PolychatError, redact
from ..store import StoreUnavailable

_BEGIN = "polychat_begin"
_LOCK = 0x706F6C79
"""PostgreSQL's advisory lock for migrations."""
_CONNECT_SECONDS = 2
_STATEMENT_MILLISECONDS = 10_000


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
        self._engine = _sqlite(self._url, patience) if self.is_sqlite else _postgresql(self._url, patience)
        event.listen(self._engine, "begin", _begin)
        if renewed is not None and not self.is_sqlite:
            event.listen(self._engine, "do_connect", partial(_use_renewed, renewed))
        self._is_current = False
        self._lock = Lock()

    @contextmanager
    def reading(self) -> Generator[Connection]:
        """A transaction that sees one state of the database."""
        self._prepare()
        with _errors_translated(), self._engine.begin() as connection:
            yield connection

    def write(self, work: Callable[[Connection], Any]) -> Any:
        """Run ``work`` in a transaction that writes. It runs once more if the connection turns out to be lost."""
        self._prepare()
        with _errors_translated():
            try:
                return self._written(work)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                return self._written(work)

    def _written(self, work: Callable[[Connection], Any]) -> Any:
        with self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}).begin() as connection:
            return work(connection)

    def _prepare(self) -> None:
        if self._is_current:
            return
        with self._lock, _errors_translated():
            if not self._is_current:
                if self.file is not None:
                    _private(self.file)
                self._migrate()
                self._is_current = True

    def _migrate(self) -> None:
        with self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}).begin() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
            from .schema import upgrade

            upgrade(connection)

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
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -8000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    """The driver would begin at the first change, when another may have the write lock."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))


def _postgresql(url: URL, patience: float) -> Engine:
    options = f"-c statement_timeout={_STATEMENT_MILLISECONDS} -c lock_timeout={int(patience * 1000) + 1000} -c timezone=UTC"
    arguments = {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": 5000, "options": options}
    arguments |= {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args=arguments,
            pool_size=3,
            pool_timeout=_CONNECT_SECONDS,
            hide_parameters=True,
            pool_pre_ping=True,  # a server that was restarted costs no reader an error
        )
    except ImportError:
        raise MissingPackage("psycopg", extra="postgres", purpose="gateway.state.url with postgresql://") from None


def _use_renewed(
    renewed: Callable[[], str], dialect: object, record: object, arguments: list[Any], named: dict[str, Any]
) -> None:
    """A new connection logs in as the URL of now says. Raises ``StoreUnavailable`` where there is none."""
    try:
        url = _readable(renewed())
    except PolychatError as error:
        raise StoreUnavailable(str(error)) from error
    named.update(user=url.username, password=url.password)


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

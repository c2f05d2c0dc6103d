"""PostgreSQL and Valkey on loopback, in folders of their own, and empty stores."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import create_engine, delete, text, update

from polychat.state.database import tables
from polychat.state.database.store import DatabaseStore
from polychat.state.spool import Spool, deliver

MISSING = "PostgreSQL is not installed: apt-get install postgresql"


class PostgreSQL(NamedTuple):
    """A server that was initialised in ``folder``, and may be started and stopped."""

    folder: Path
    port: int
    programs: Path
    account: dict[str, Any]
    """The keywords of ``subprocess`` that run a program as a user that PostgreSQL accepts; it refuses root."""

    @property
    def url(self) -> str:
        return f"postgresql://polychat@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off -c max_connections=40 -c shared_buffers=16MB"
        self._control("start", "-w", "-o", options, "-l", str(self.folder / "log"))

    def stop(self) -> None:
        self._control("stop", "-w", "-m", "immediate")

    def _control(self, *arguments: str) -> None:
        command = [str(self.programs / "pg_ctl"), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, **self.account)


@contextmanager
def hung(server: PostgreSQL) -> Generator[None]:
    """All of its processes are stopped, so that connections to it stay open and nothing answers."""
    first = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    processes = [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            os.kill(process, signal.SIGCONT)


@contextmanager
def locked(server: PostgreSQL) -> Generator[None]:
    """Each of its tables is locked, so that statements about them wait."""
    engine = create_engine(server.url.replace("postgresql", "postgresql+psycopg", 1))
    names = ", ".join(table.name for table in tables.metadata.sorted_tables)
    with engine.begin() as connection:
        connection.execute(text(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"))
        yield
    engine.dispose()


@contextmanager
def full(server: PostgreSQL) -> Generator[None]:
    """What is written fails as on a disk without room; what is read is there."""
    engine = create_engine(server.url.replace("postgresql", "postgresql+psycopg", 1), isolation_level="AUTOCOMMIT")
    names = [table.name for table in tables.metadata.sorted_tables]
    with engine.connect() as connection:
        body = "BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END"
        connection.execute(text(f"CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"))
        for name in names:
            connection.execute(text(f"CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON {name} EXECUTE FUNCTION no_room()"))
        try:
            yield
        finally:
            connection.execute(text("DROP FUNCTION no_room CASCADE"))
    engine.dispose()


@contextmanager
def postgresql() -> Generator[PostgreSQL]:
    """A running server; skips the test where none is installed."""
    programs = _programs()
    if programs is None:
        pytest.skip(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="polychat-postgresql-"))  # not below pytest's folder, which other users cannot enter
    account = _account()
    server = PostgreSQL(folder, _free_port(), programs, account)
    try:
        if account:
            os.chown(folder, account["user"], account["group"])
        initdb = [
            str(programs / "initdb"),
            "-D",
            str(folder / "data"),
            "-U",
            "polychat",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run(initdb, check=True, cwd=folder, stdout=subprocess.DEVNULL, **account)
        server.start()
        try:
            yield server
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    """Debian has them in a folder of each version, which is on nobody's path."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    if debian:
        return debian[-1].parent
    initdb = shutil.which("initdb")
    return None if initdb is None else Path(initdb).parent


def _account() -> dict[str, Any]:
    if os.getuid():
        return {}
    user = next(entry for name in ("postgres", "nobody") for entry in pwd.getpwall() if entry.pw_name == name)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": ()}


class ValkeyServer:
    """A Valkey, or Redis, that keeps nothing on disk, and may be started and stopped."""

    def __init__(self, folder: Path) -> None:
        """Skips the test where neither is installed."""
        program = shutil.which("valkey-server") or shutil.which("redis-server")
        if program is None:
            pytest.skip("neither Valkey nor Redis is installed: apt-get install redis-server")
        self._port = _free_port()
        options = {"port": self._port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder}
        self._command = [program, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._process = server = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        assert any("eady to accept connections" in line for line in server.stdout), "it ended"

    def stop(self) -> None:
        if (server := self._process) is not None:
            with server:
                server.kill()
            self._process = None


@contextmanager
def valkey_server(folder: Path) -> Generator[ValkeyServer]:
    """A running one."""
    server = ValkeyServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def valkey(folder: Path) -> Generator[str]:
    """The URL of a running one."""
    with valkey_server(folder) as server:
        yield server.url


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def delivered(store: DatabaseStore, spool: Path) -> DatabaseStore:
    """The store, with what waits in a spool: on a slow machine the end of a gateway leaves records there."""
    for file in Spool(spool).files():
        deliver(file, store.write_usage)
    return store


def emptied(store: DatabaseStore) -> DatabaseStore:
    """The store without rows, as after the first migration."""
    with store._database.reading() as connection:
        for table in tables.metadata.sorted_tables:
            if table is not tables.changes:
                connection.execute(delete(table))
        connection.execute(update(tables.changes).values(last=0))
    return store

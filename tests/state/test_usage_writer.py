"""Usage reaches the store once, whatever becomes of the store, the disk and the process."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from polychat.state import spool as spool_module
from polychat.state import usage_writer
from polychat.state.database.store import DatabaseStore
from polychat.state.memory import MemoryStore
from polychat.state.spool import Spool, deliver
from polychat.state.store import StoreUnavailable, UsageFilter, UsageLabels, UsageRecord
from polychat.state.usage_writer import UsageWriter

from ..support.database_servers import PostgreSQL, delivered, emptied
from ..support.patience import PATIENCE


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals that are short: the tests wait for events, and these come after them."""
    for name, seconds in (("INTERVAL", 0.005), ("_RETRY", 0.01), ("_PATIENCE", 0.05), ("_LOOK", 0.01)):
        monkeypatch.setattr(usage_writer, name, seconds)


def record(number: int) -> UsageRecord:
    return UsageRecord(at=number, id=number, took=1, labels=UsageLabels(model="small", verdict="complete"), prompt_tokens=1)


class Events(list[str]):
    """What the writer reports."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self.dropped = 0

    def __call__(self, message: str, **facts: Any) -> None:
        with self._changed:
            self.append(message)
            self.dropped += facts.get("records", 0)
            self._changed.notify_all()

    def wait(self, text: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: any(text in message for message in self), PATIENCE), (text, self)


class Fickle(MemoryStore):
    """A store that is away, or hangs, while told so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.free = threading.Event()
        self.free.set()
        self.written = threading.Condition()

    def write_usage(self, records: Sequence[UsageRecord]) -> None:
        self.free.wait(PATIENCE)
        if self.is_away:
            raise StoreUnavailable("it is away")
        with self.written:
            super().write_usage(records)
            self.written.notify_all()

    def holds(self, count: int) -> None:
        """Wait until there are so many records."""
        with self.written:
            assert self.written.wait_for(lambda: len(self._usage) >= count, PATIENCE)
        assert len(self._usage) == count


def writing(store: Any, folder: Path, tell: Callable[..., None] | None = None) -> UsageWriter[UsageRecord]:
    writer = UsageWriter[UsageRecord](store, Spool(folder), lambda made: made, Events() if tell is None else tell)
    writer.start()
    return writer


def total(store: Any) -> int:
    return sum(one.requests for one in store.usage("model", UsageFilter()))


def test_records_wait_in_the_spool_while_the_store_is_away(tmp_path: Path) -> None:
    """They are on disk, mode 0600, before the store is back; then each is in it once, and the files are gone."""
    store, events = Fickle(), Events()
    store.is_away = True
    writer = writing(store, tmp_path / "spool", events)
    for number in range(5):
        writer.add(record(number))
    events.wait("not stored")
    while not (files := [file for file in (tmp_path / "spool").glob("usage-*.spool") if file.stat().st_size]):
        pass
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    store.is_away = False
    store.holds(5)
    events.wait("stored again")
    writer.add(record(5))
    store.holds(6)
    writer.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_store_is_back_when_something_was_stored(tmp_path: Path) -> None:
    """While there is nothing to store, no look for that and no shutdown says that usage is stored again."""
    store, events = Fickle(), Events()
    store.is_away = True
    looks = threading.Semaphore(0)

    def chores() -> None:
        looks.release()
        if store.is_away:
            raise StoreUnavailable("it is away")

    writer = UsageWriter[UsageRecord](store, Spool(tmp_path), lambda made: made, events, chores)
    writer.start()
    events.wait("not stored")
    for _ in range(3):
        assert looks.acquire(timeout=PATIENCE)
    writer.close()
    assert len(events) == 1, events
    store.is_away = False
    writer = UsageWriter[UsageRecord](store, Spool(tmp_path), lambda made: made, events, chores)
    writer._is_away = True
    writer.start()
    events.wait("stored again")
    writer.close()


def test_a_store_that_hangs_holds_up_nothing(tmp_path: Path) -> None:
    """What it does not answer for is in the spool meanwhile; when it answers after all, each record is there once."""
    store = Fickle()
    store.free.clear()
    writer = writing(store, tmp_path)
    for number in range(3):
        writer.add(record(number))
        while sum(len(content(file)) for file in tmp_path.glob("*.spool")) <= number:
            pass
    store.free.set()
    store.holds(3)
    writer.close()
    assert total(store) == 3


def content(file: Path) -> list[UsageRecord]:
    """What a file of the spool holds; it is not delivered."""
    records: list[UsageRecord] = []
    copy = file.with_suffix(".copy")
    try:
        copy.write_bytes(file.read_bytes())
    except FileNotFoundError:
        return []
    deliver(copy, records.extend)
    return records


def test_a_full_disk_keeps_records_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While neither the store nor the spool takes them, they stay in memory up to a limit, which is said once; the rest is
    reported."""
    monkeypatch.setattr(usage_writer, "MOST", 4)
    monkeypatch.setattr(usage_writer, "_QUEUED", 4)
    store, events = Fickle(), Events()
    store.is_away = True
    (tmp_path / "spool").write_text("a file where the folder would be: as good as a disk without room")
    writer = writing(store, tmp_path / "spool", events)
    writer.add(record(0))
    events.wait("not stored")
    for number in range(1, 9):
        writer.add(record(number))
    events.wait("dropped")
    store.is_away = False
    events.wait("stored again")
    writer.close()
    assert len([event for event in events if "in memory alone" in event]) == 1
    assert 1 <= events.dropped == 9 - total(store)
    assert total(store) <= 2 * 4  # in the queue, and of those that the spool refused


@pytest.mark.parametrize("wrong", ["version", "value"])
def test_a_file_that_cannot_be_stored_holds_up_no_other(tmp_path: Path, wrong: str) -> None:
    """Records of another version, or with a value that no database takes, are reported and kept aside; the rest is stored."""

    class Strict(Fickle):
        def write_usage(self, records: Sequence[UsageRecord]) -> None:
            if any(one.took < 0 for one in records):
                raise ValueError("it is negative")
            super().write_usage(records)

    spool, store, events = Spool(tmp_path), Strict(), Events()
    bad = [record(0)] if wrong == "version" else [UsageRecord(at=0, id=0, took=-1, labels=UsageLabels())]
    spool.append([{"other": 1}] if wrong == "version" else bad)  # type: ignore[list-item]
    spool.close()
    spool.append([record(1)])
    spool.close()
    writer = writing(store, tmp_path, events)
    store.holds(1)
    writer.close()
    assert [file.suffix for file in tmp_path.iterdir()] == [".unreadable"]
    assert "not stored" in events[0]


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_spool_that_was_cut_short_gives_what_is_whole(tmp_path: Path, cut: int) -> None:
    """A file without its last bytes gives every batch before them; and the next process delivers what a killed one left."""
    spool = Spool(tmp_path)
    spool.append([record(0), record(1)])
    whole = next(tmp_path.iterdir()).stat().st_size
    spool.append([record(2)])
    assert Spool(tmp_path).files() == []  # its process is there
    spool.close()
    (file,) = Spool(tmp_path).files()
    os.truncate(file, file.stat().st_size - cut)
    records: list[UsageRecord] = []
    deliver(file, records.extend)
    assert [one.id for one in records] == [0, 1, 2][: 3 if cut == 0 else 2 if file_size(whole, cut) else 0]
    assert not file.exists()


def file_size(whole: int, cut: int) -> bool:
    """Whether the first batch is whole: the second is longer than any cut."""
    return cut < whole


def test_a_file_that_is_being_opened_was_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that looks into the spool between the making of another's file and its lock delivers and deletes nothing."""
    looks: list[list[Path]] = []
    locked = spool_module.fcntl.flock

    def flock(number: int, kind: int) -> None:
        monkeypatch.setattr(spool_module.fcntl, "flock", locked)
        looks.append(Spool(tmp_path).files())
        locked(number, kind)

    monkeypatch.setattr(spool_module.fcntl, "flock", flock)
    spool = Spool(tmp_path)
    spool.append([record(1)])
    assert looks == [[]]
    assert len(spool.files()) == 1


@pytest.mark.parametrize("trouble", ["locked", "full"])
def test_sqlite_that_is_locked_or_full_loses_nothing(tmp_path: Path, trouble: str) -> None:
    """While another program holds the lock, or the database may not grow, records wait; afterwards each is in it once."""
    store, events = DatabaseStore(f"sqlite:///{tmp_path}/gateway.db", patience=0.02), Events()
    assert store.last_change() == 0
    other = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
    writer = writing(store, tmp_path / "spool", events)
    if trouble == "locked":
        other.execute("BEGIN IMMEDIATE")
    else:
        pages = store._database._engine
        from sqlalchemy import event

        event.listen(pages, "begin", lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1"))
    for number in range(3000):
        writer.add(record(number))
    events.wait("not stored")
    if trouble == "locked":
        other.execute("ROLLBACK")
    else:
        event.listen(pages, "begin", lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1000000"))
    events.wait("stored again")
    writer.add(record(3000))
    writer.close()
    delivered(store, tmp_path / "spool")
    assert other.execute("SELECT count(*), sum(prompt_tokens) FROM usage").fetchone() == (3001, 3001)
    other.close()
    store.close()


def test_postgresql_that_is_stopped_loses_nothing(tmp_path: Path, postgresql_server: PostgreSQL) -> None:
    """Records of the time without a server are in it once when it is back."""
    store, events = emptied(DatabaseStore(postgresql_server.url)), Events()
    writer = writing(store, tmp_path, events)
    postgresql_server.stop()
    try:
        for number in range(500):
            writer.add(record(number))
        events.wait("not stored")
    finally:
        postgresql_server.start()
    events.wait("stored again")
    writer.add(record(500))
    writer.close()
    assert total(delivered(store, tmp_path)) == 501
    store.close()


KILLED = """
import sys
from pathlib import Path
from time import monotonic, sleep
from polychat.state import spool as spool_module
from polychat.state import usage_writer
from polychat.state.database.store import DatabaseStore
from polychat.state.spool import Spool
from polychat.state.store import UsageLabels, UsageRecord
folder = Path(sys.argv[1])
store = DatabaseStore(f"sqlite:///{folder}/gateway.db")
writer = usage_writer.UsageWriter(store, Spool(folder / "spool"), lambda one: one, lambda *a, **f: None)
writer.start()
process = int(sys.argv[2])
for number in range(1, 1 << 40):
    writer.add(UsageRecord(at=int(monotonic() * 1000), id=process << 40 | number, took=0, labels=UsageLabels()))
    if number % 50 == 0:
        sleep(0.02)
        sys.stdout.write(f"{number} {monotonic()}\\n")
        sys.stdout.flush()
        sys.stdin.readline()
"""
"""Adds 2,500 records a second at most, and prints how many there are, and when the last was added."""


@pytest.mark.parametrize("is_away", [False, True], ids=["stored", "spooled"])
def test_a_process_that_is_killed_loses_no_record_older_than_a_second(tmp_path: Path, is_away: bool) -> None:
    """Three write one database, there or locked, and are killed at random moments; all but a last second is there, once."""
    rng = random.Random(13)
    store = DatabaseStore(f"sqlite:///{tmp_path}/gateway.db")
    assert store.last_change() == 0
    other = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
    if is_away:
        other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor() as pool:
        ends = {process: rng.uniform(0.2, 2.5) for process in range(1, 4)}
        moments = dict(zip(ends, pool.map(lambda end: _killed(tmp_path, *end), ends.items()), strict=True))
    if is_away:
        other.execute("ROLLBACK")
    delivered(store, tmp_path / "spool")
    for process, marks in moments.items():
        ids = [row[0] for row in other.execute("SELECT id FROM usage WHERE id >> 40 = ? ORDER BY id", (process,))]
        assert ids == list(range(process << 40 | 1, (process << 40) + len(ids) + 1)), "there is a gap"
        killed_at = marks[-1][1]
        late = max(after - before for (_, before), (_, after) in pairwise(marks))  # by which the machine let it wait
        older = max((number for number, moment in marks if moment < killed_at - 1.0 - 3 * late), default=0)
        assert len(ids) >= older
    other.close()
    store.close()


def _killed(folder: Path, process: int, seconds: float) -> list[tuple[int, float]]:
    """Run one, and kill it when it says that so much time has passed; give what it printed."""
    command = [sys.executable, "-c", KILLED, str(folder), str(process)]
    marks: list[tuple[int, float]] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for line in child.stdout:
            number, moment = line.split()
            marks.append((int(number), float(moment)))
            if marks[-1][1] - marks[0][1] > seconds:
                child.send_signal(signal.SIGKILL)
                break
            child.stdin.write("\n")
            child.stdin.flush()
    return marks

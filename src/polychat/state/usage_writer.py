"""Usage records from the requests of a process to its store, by two threads, so that no request and no record waits for it.

The *collector* takes what has ended and gives it to the *deliverer*, which writes it to the store. What the deliverer has
not written ``_PATIENCE`` seconds later, as the store is away, locked, full or slow, the collector writes to the spool; if it is
written to the store after all, it is there once, by its id. So a record is in the store or in the spool ``INTERVAL`` +
``_PATIENCE`` seconds after its request, which is less than a second, and a process that is killed loses no older one.

where a record is   event                              next
==================  =================================  ==============================================================
queue               ``INTERVAL`` after the first one   with the deliverer if that is free and the store not away, else spool
with the deliverer  written                            store
with the deliverer  failed, or ``_PATIENCE`` is over   spool
spool               a later write succeeds             store, and its file is deleted
spool               the disk is full                   memory, at most ``MOST``, and tried again with the next ones
==================  =================================  ==============================================================

Beyond ``_QUEUED`` in the queue and ``MOST`` in memory, records are dropped and counted, and the count is reported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic, sleep
from typing import Generic, TypeVar

from .spool import Spool, deliver
from .store import StoreUnavailable, UsageRecord, UsageStore

T = TypeVar("T")
INTERVAL = 0.2
"""Seconds from a record to the next batch."""
MOST = 100_000
"""Records in memory that the spool has no room for."""
_PATIENCE = 0.4
_RETRY = 2.0
"""Seconds until a store that was away is tried again."""
_BATCH = 5000
"""Records of a transaction."""
_QUEUED = 20_000
"""Requests that the collector has not taken yet: it does so all the time, unless the disk hangs."""
_AT_ONCE = 32
"""Records that are made before the thread that serves requests gets its turn."""
_HOUR = 3600.0
_LOOK = 60.0
"""Seconds between looks for what other processes left in the spool."""
_END = 5.0
"""Seconds that the end waits for a thread."""


class _Delivery:
    """Records on their way to the store, and files of the spool that go after them."""

    def __init__(self, records: Sequence[UsageRecord], files: Sequence[Path]) -> None:
        self.records, self.files = records, files
        self.tried = Event()
        """Set when the records are stored, or are not going to be."""
        self.is_stored = False
        self.over = Event()
        """Set when the deliverer is done with the files too."""


class UsageWriter(Generic[T]):
    """Takes what ``convert`` makes a record of; ``tell`` reports what an operator should know, from any thread.

    ``chores`` runs once an hour with the store at hand, such as the deletion of old records.
    """

    def __init__(
        self,
        store: UsageStore,
        spool: Spool,
        convert: Callable[[T], UsageRecord],
        tell: Callable[..., None],
        chores: Callable[[], object] = lambda: None,
    ) -> None:
        self._store, self._spool = store, spool
        self._convert, self._tell, self._chores = convert, tell, chores
        self._queue: deque[T] = deque()
        self._some, self._closing = Event(), Event()
        self._unspooled: list[UsageRecord] = []
        """What the spool had no room for."""
        self._dropped = 0
        self._jobs: SimpleQueue[_Delivery | None] = SimpleQueue()
        self._job: _Delivery | None = None
        self._away_until = 0.0
        self._is_away = self._is_in_memory = False
        """Whether that was reported."""
        self._has_spooled = False
        """Whether the spool may have files to deliver."""
        self._next_look = self._next_chores = 0.0
        self._threads: tuple[Thread, ...] = ()

    def add(self, item: T) -> None:
        """Constant time, without a lock."""
        queue = self._queue
        if len(queue) >= _QUEUED:
            self._dropped += 1
            return
        queue.append(item)
        if len(queue) == 1:
            self._some.set()

    def start(self) -> None:
        """Start the threads; what earlier processes left in the spool is then delivered too."""
        self._threads = tuple(
            Thread(target=run, name=f"polychat-{name}", daemon=True)
            for name, run in (("usage", self._collect), ("usage-store", self._deliver))
        )
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Returns when all records are in the store or in the spool, or when that takes too long."""
        self._closing.set()
        self._some.set()
        for thread in self._threads:
            thread.join(3 * _END)
        self._threads = ()

    # The collector's thread

    def _collect(self) -> None:
        self._hand_over([])  # what earlier processes left
        while not self._closing.is_set():
            self._some.wait(_RETRY if self._is_away or self._has_spooled or self._unspooled else _LOOK)
            self._closing.wait(INTERVAL)
            self._hand_over(self._taken())
        if self._job is not None:
            self._job.over.wait(_END)
        self._hand_over(self._taken(), _END)
        self._spool.close()
        self._jobs.put(None)

    def _taken(self) -> list[UsageRecord]:
        """What is in the queue now; what is added meanwhile is for the next time."""
        self._some.clear()
        records, self._unspooled = self._unspooled, []
        for number in range(len(self._queue)):
            if number % _AT_ONCE == 0:
                sleep(0)
            try:
                records.append(self._convert(self._queue.popleft()))
            except Exception as error:  # noqa: BLE001  # a defect costs its record, and no other
                self._tell("a usage record could not be made; please report it", error=f"{type(error).__name__}: {error}")
        if self._queue:
            self._some.set()
        return records

    def _hand_over(self, records: list[UsageRecord], patience: float | None = None) -> None:
        is_free = self._job is None or self._job.over.is_set()
        if is_free and (monotonic() >= self._away_until or self._closing.is_set()):
            self._job = job = _Delivery(records, self._to_deliver())
            self._jobs.put(job)
            job.tried.wait(_PATIENCE if patience is None else patience)
            if job.is_stored:
                return
        if records:
            self._keep(records)

    def _to_deliver(self) -> list[Path]:
        if not self._has_spooled and monotonic() < self._next_look:
            return []
        self._next_look = monotonic() + _LOOK
        files = self._spool.files()
        self._has_spooled = bool(files)  # until another look finds none
        return files

    def _keep(self, records: list[UsageRecord]) -> None:
        try:
            self._spool.append(records)
            self._has_spooled, self._is_in_memory = True, False
        except OSError as error:
            self._dropped += max(0, len(records) - MOST)
            self._unspooled = records[-MOST:]
            self._report_in_memory(f"{self._spool.folder}: {error.strerror}")
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._tell("usage records dropped: neither the database nor the spool has room", records=dropped)

    def _report_away(self, reason: str) -> None:
        if not self._is_away:
            self._is_away = True
            self._tell("usage is not stored; records wait in the spool", reason=reason, spool=str(self._spool.folder))

    def _report_in_memory(self, reason: str) -> None:
        if not self._is_in_memory:
            self._is_in_memory = True
            self._tell("usage records wait in memory alone, where a killed process loses them", reason=reason)

    # The deliverer's thread

    def _deliver(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._write(job.records)
                job.is_stored = True
                job.tried.set()
                for file in job.files:
                    deliver(file, self._write)
                self._do_chores()
            except Exception as error:  # noqa: BLE001  # whatever it is, the records go to the spool, and it is tried again
                self._away_until = monotonic() + _RETRY
                self._report_away(str(error) if isinstance(error, StoreUnavailable) else f"{type(error).__name__}: {error}")
            finally:
                job.over.set()
                job.tried.set()

    def _write(self, records: Sequence[UsageRecord]) -> None:
        for start in range(0, len(records), _BATCH):
            self._store.write_usage(records[start : start + _BATCH])
            self._report_back()

    def _report_back(self) -> None:
        if self._is_away:
            self._is_away = self._is_in_memory = False
            self._tell("usage is stored again")

    def _do_chores(self) -> None:
        if monotonic() >= self._next_chores:
            self._next_chores = monotonic() + _LOOK
            self._chores()
            self._next_chores = monotonic() + _HOUR
            self._report_back()

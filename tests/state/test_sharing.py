"""Processes that spend the same buckets through one store: together they never pass a cap, and what one leaves others get."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from polychat.state.ledger import Bucket, BucketFull, BucketName, Ledger, Reservation
from polychat.state.memory import MemoryStore
from polychat.state.sharing import SharedBuckets
from polychat.state.store import StoredBucket, StoreUnavailable

NAME = BucketName("team", "red", "tokens", "day")


class Store(MemoryStore):
    """Counts how often it is asked for allotments, and cannot be reached while it is ``away``."""

    away = False
    renewals = 0

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """``meanwhile`` happens while a renewal is on its way, there and back."""
        super().__init__()
        self.meanwhile = meanwhile

    def renew(self, *arguments: Any) -> Any:
        self._check()
        self.renewals += 1
        self.meanwhile()
        granted = super().renew(*arguments)
        self.meanwhile()
        return granted

    def settle(self, *arguments: Any) -> None:
        self._check()
        super().settle(*arguments)

    def announce(self, *arguments: Any) -> int:
        self._check()
        return super().announce(*arguments)

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("the database cannot be used")


class Process:
    """A ledger, its bucket, and its connection to the store."""

    def __init__(self, store: Store, clock: Any, cap: int, name: BucketName = NAME) -> None:
        self.bucket, self.ledger = Bucket(name, cap), Ledger(3600.0)
        self.bucket.granted = 0
        self.changes: list[bool] = []
        self.shared = SharedBuckets(store, self.ledger, clock, on_change=self.changes.append)
        self.clock = clock
        self.running: list[Reservation] = []
        self.looks = 0

    def reserve(self, amount: int) -> bool:
        """As a request does: from memory, else once more after a look into the store."""
        for _ in range(2):
            if self.reserve_from_memory(amount):
                return True
            self.looks += 1
            self.shared.top_up([(self.bucket, amount)])
        return False

    def reserve_from_memory(self, amount: int) -> bool:
        result = self.ledger.reserve([(self.bucket, amount)], self.clock())
        if isinstance(result, BucketFull):
            return False
        self.running.append(result)
        return True

    def settle(self, number: int, *, share: float = 1.0) -> None:
        """One of its requests is over, and used this share of what it reserved."""
        reservation = self.running.pop(number)
        self.ledger.settle(reservation, [int(reservation.charges[0][1] * share)])

    @property
    def held(self) -> int:
        return self.bucket.used + self.bucket.reserved


@pytest.mark.parametrize("seed", range(20))
def test_processes_together_keep_the_cap(seed: int) -> None:
    """Eight processes reserve, settle by less and crash at random, also while a renewal is on its way: used and reserved by all
    is never above the cap, and in the end all of it was spent, that of the crashed ones included once their time is over."""
    random, cap, now = Random(seed), 10_000, [1_000_000_000.0]

    def meanwhile() -> None:
        process = random.choice(processes)
        if random.random() < 0.6:
            process.reserve_from_memory(random.randint(1, 80))
        elif process.running:
            process.settle(random.randrange(len(process.running)), share=random.random())

    store = Store(meanwhile)
    processes = [Process(store, lambda: now[0], cap) for _ in range(8)]
    crashed, refused = 0, 0
    for _ in range(1500):
        process = random.choice(processes)
        if random.random() < 0.6:
            refused += not process.reserve(random.randint(1, 80))
        elif process.running:
            process.settle(random.randrange(len(process.running)), share=random.random())
        if random.random() < 0.1:
            now[0] += 1.0
            for one in processes:
                one.shared.refresh()
        if random.random() < 0.004 and len(processes) > 3:
            processes.remove(process)
            process.shared.refresh()
            crashed += process.bucket.used
        assert sum(one.held for one in processes) + crashed <= cap, seed
    now[0] += 60
    store.meanwhile = lambda: None
    for process in processes:
        while process.running:
            process.settle(0, share=0)
        process.shared.close()
    last = processes[0]
    while last.reserve(1):
        last.settle(0)
        last.shared.refresh()
    assert refused
    assert sum(one.bucket.used for one in processes) + crashed == cap


def test_most_requests_ask_nobody() -> None:
    """A process with room looks into the store for one request in many, and gives back what it does not spend at its end."""
    now = [1_000_000_000.0]
    store = Store()
    first, second = (Process(store, lambda: now[0], 1_000_000) for _ in range(2))
    for _ in range(1000):
        assert first.reserve(100)
        first.settle(0)
    assert first.looks < 10
    for _ in range(100):
        assert not first.reserve(990_000)
    assert store.renewals < 20, "a full bucket is looked at once a second"
    first.shared.close()
    assert second.reserve(900_000), "the first one's rest is free"
    assert not second.reserve(1)
    assert second.bucket.others == 100_000
    assert second.bucket.left == 0


def test_a_new_process_goes_on_from_what_was_spent() -> None:
    """After a restart the bucket is as full as it was; in the next window it is empty."""
    now = [1_000_000_000.0]
    store = Store()
    first = Process(store, lambda: now[0], 1000)
    assert first.reserve(700)
    first.settle(0)
    first.shared.close()
    second = Process(store, lambda: now[0], 1000)
    assert [second.reserve(301), second.reserve(300)] == [False, True]
    now[0] += 86_400
    assert second.reserve(1000)


def test_without_the_store_each_spends_its_share() -> None:
    """While the store is away a process spends up to its share of the cap, of what others are not known to have or hold, and
    asks for nothing; what was spent then is reported when the store is back."""
    now = [1_000_000_000.0]
    store = Store()
    first, second, third = (Process(store, lambda: now[0], 1000) for _ in range(3))
    for process in (first, second):
        assert process.reserve(300)
        process.settle(0)
        process.shared.refresh()
    now[0] += 5
    second.shared.refresh()
    store.away = True
    renewals = store.renewals
    assert [second.reserve(201), second.reserve(200), second.reserve(1)] == [False, True, False], "half of the cap, of two"
    assert [third.reserve(1001), third.reserve(600)] == [False, True], "one request, whatever the share"
    assert (second.changes, store.renewals) == ([True], renewals)
    while second.running:
        second.settle(0)
    now[0] += 3600
    second.shared.refresh()
    store.away = False
    second.shared.refresh()
    assert second.changes == [True, False]
    (level,) = store.levels([StoredBucket(*NAME, second.bucket.window.start, second.bucket.window.end)], now[0])
    assert level.spent == 800, "600 before, and 200 meanwhile"
    assert second.bucket.others == 300


def test_requests_at_a_time_are_shared_too() -> None:
    """Of a limit of concurrent requests, processes hold no more than it together; a slot that no request needs is another
    process's after a second, and that of a killed process when its allotment is over. Without the store each has its share."""
    now = [1_000_000_000.0]
    store = Store()
    first, second = (Process(store, lambda: now[0], 4, BucketName("key", "k", "concurrent", None)) for _ in range(2))
    assert [first.reserve(1) for _ in range(3)] == [True] * 3
    assert [second.reserve(1), second.reserve(1)] == [True, False]
    first.settle(0)
    first.shared.refresh()
    now[0] += 1
    assert [second.reserve(1), second.reserve(1), first.reserve(1)] == [True, False, False]
    for _ in range(15):  # the first one is killed
        now[0] += 1
        second.shared.refresh()
    assert [second.reserve(1), second.reserve(1), second.reserve(1)] == [True, True, False]
    third = Process(store, lambda: now[0], 4, second.bucket.name)
    while second.running:
        second.settle(0)
    second.shared.refresh()
    assert third.reserve(1)
    second.reserve(1)
    now[0] += 5
    third.shared.refresh()
    store.away = True
    third.shared.refresh()
    assert [third.reserve(1), third.reserve(1)] == [True, False], "half of them"


def test_processes_that_were_idle_are_counted() -> None:
    """Each tells the store that it is there, whether it spends or not: when the store goes away, those that begin to spend only
    then take their share, and all together no more than the cap. The count is not believed to be lower at once, as a store that
    is back hears of one process after the other."""
    now = [1_000_000_000.0]
    store = Store()
    processes = [Process(store, lambda: now[0], 1000) for _ in range(8)]
    for _ in range(2):
        now[0] += 5
        for process in processes:
            process.shared.refresh()
    for _ in range(2):
        store.away = True
        for process in processes:
            while process.reserve(5):
                process.settle(0)
        assert sum(process.held for process in processes) == 1000
        now[0] += 3600 * 24
        store.away = False
        for process in processes:
            process.shared.refresh()


def test_a_clock_that_is_set_back_hides_no_process() -> None:
    """A process goes on to say that it is there, and hears of those that began meanwhile, also where its clock was an hour
    fast: until its clock was there again, it took the share of one that is alone."""
    now = [1_000_000_000.0]
    store = Store()
    first, *others = (Process(store, lambda: now[0], 1000) for _ in range(4))
    first.shared.refresh()
    now[0] -= 3600
    for process in (*others, first):
        process.shared.refresh()
    store.away = True
    assert [first.reserve(250), first.reserve(1)] == [True, False]


def test_a_clock_that_is_set_back_frees_what_is_shared() -> None:
    """What was known to be full in a window of the future is asked for again today, and what is spent today is reported."""
    now = [1_000_000_000.0]
    store = Store()
    process = Process(store, lambda: now[0], 1000)
    now[0] += 86400 * 400
    assert [process.reserve(1000), process.reserve(1)] == [True, False]
    now[0] -= 86400 * 400
    assert [process.reserve(900), process.reserve(200)] == [True, False]
    process.shared.refresh()
    assert Process(store, lambda: now[0], 1000).reserve(200) is False


def test_a_process_that_never_reached_the_store_takes_little() -> None:
    """It cannot know how many there are: it spends a sixteenth of the cap, and one request if that is more."""
    store = Store()
    store.away = True
    first, second = (Process(store, lambda: 1_000_000_000.0, 1600) for _ in range(2))
    assert [first.reserve(50), first.reserve(50), first.reserve(1)] == [True, True, False]
    assert [second.reserve(900), second.reserve(1)] == [True, False]


@pytest.mark.parametrize("name", [NAME, BucketName("key", "k", "concurrent", None)])
def test_a_bucket_that_is_idle_and_busy_in_turn_leaves_one_allotment(name: BucketName) -> None:
    """It is given back each time, and the same one is taken again: a store looks at all of a bucket's in each step. After half
    an hour, when stores begin to forget what was reported of it, it is another."""
    now = [1_000_000_000.0]
    store = Store()
    process = Process(store, lambda: now[0], 1000, name)
    for _ in range(100):
        assert process.reserve(5)
        process.settle(0)
        for _ in range(12):
            now[0] += 1
            process.shared.refresh()
        assert not process.shared._open
    spent = store.levels([StoredBucket(*name, process.bucket.window.start, _end(process))], now[0])[0].spent
    assert (len(store._allotments), spent) == (1, 0 if name.window is None else 500)
    now[0] += 1900
    assert process.reserve(5)
    assert len(store._allotments) == 2


def _end(process: Process) -> int | None:
    return None if process.bucket.name.window is None else process.bucket.window.end


class Turns:
    """In place of the event that ends a thread: it ends after so many turns."""

    def __init__(self, count: int) -> None:
        self._left = count

    def wait(self, seconds: float) -> bool:
        self._left -= 1
        return self._left < 0


def test_a_defect_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the next second is tried again: without the thread nothing would be reported any more."""
    shared = Process(Store(), lambda: 0.0, 10).shared
    turns = []

    def refresh() -> None:
        turns.append(1)
        raise ValueError("the database refuses a value")

    monkeypatch.setattr(shared, "refresh", refresh)
    monkeypatch.setattr(shared, "_closed", Turns(2))
    shared._run()
    assert (len(turns), caplog.text.count("limits were not reported")) == (3, 3)

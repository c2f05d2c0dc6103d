"""Processes that spend the same buckets through one store: together they never pass a cap, and what one leaves others get."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from polychat.state.ledger import Bucket, BucketFull, BucketName, Ledger, Reservation
from polychat.state.memory import MemoryStore
from polychat.state.sharing import SharedBuckets
from polychat.state.store import StoreUnavailable

NAME = BucketName("team", "red", "tokens", "day")


class Store(MemoryStore):
    """Counts how often it is asked for an allotment, and cannot be reached while it is ``away``."""

    away = False
    takes = 0

    def take(self, *arguments: Any) -> Any:
        self.takes += 1
        return super().take(*arguments)

    def settle(self, *arguments: Any) -> None:
        self._check()
        super().settle(*arguments)

    def levels(self, *arguments: Any) -> Any:
        self._check()
        return super().levels(*arguments)

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("the database cannot be used")


class Process:
    """A ledger, its bucket, and its connection to the store."""

    def __init__(self, store: Store, clock: Any, cap: int) -> None:
        self.bucket, self.ledger = Bucket(NAME, cap), Ledger(3600.0)
        self.bucket.granted = 0
        self.shared = SharedBuckets(store, clock)
        self.clock = clock
        self.running: list[Reservation] = []
        self.looks = 0

    def reserve(self, amount: int) -> bool:
        """As a request does: from memory, else once more after a look into the store."""
        for _ in range(2):
            result = self.ledger.reserve([(self.bucket, amount)], self.clock())
            if isinstance(result, Reservation):
                self.running.append(result)
                return True
            assert isinstance(result, BucketFull)
            self.looks += 1
            self.shared.top_up([(self.bucket, amount)])
        return False

    @property
    def held(self) -> int:
        return self.bucket.used + self.bucket.reserved


@pytest.mark.parametrize("seed", range(20))
def test_processes_together_keep_the_cap(seed: int) -> None:
    """Eight processes reserve, settle by less and crash at random: used and reserved by all is never above the cap, and in the
    end all of it was spent, that of the crashed ones included once their time is over."""
    random, cap, now = Random(seed), 10_000, [1_000_000_000.0]
    store = Store()
    processes = [Process(store, lambda: now[0], cap) for _ in range(8)]
    crashed, refused = 0, 0
    for _ in range(1500):
        process = random.choice(processes)
        if random.random() < 0.6:
            refused += not process.reserve(random.randint(1, 80))
        elif process.running:
            reservation = process.running.pop(random.randrange(len(process.running)))
            process.ledger.settle(reservation, [random.randint(0, reservation.charges[0][1])])
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
    for process in processes:
        for reservation in process.running:
            process.ledger.settle(reservation, [0])
        process.shared.close()
    last = processes[0]
    while last.reserve(1):
        last.ledger.settle(last.running.pop(), [1])
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
        first.ledger.settle(first.running.pop(), [100])
    assert first.looks < 10
    for _ in range(100):
        assert not first.reserve(990_000)
    assert store.takes < 20, "a full bucket is looked at once a second"
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
    first.ledger.settle(first.running.pop(), [700])
    first.shared.close()
    second = Process(store, lambda: now[0], 1000)
    assert [second.reserve(301), second.reserve(300)] == [False, True]
    now[0] += 86_400
    assert second.reserve(1000)


def test_without_the_store_the_known_rest_is_spent() -> None:
    """While the store is away, what others had spent or held is respected, and nothing more is known; what was spent then is
    reported when it is back."""
    now = [1_000_000_000.0]
    store = Store()
    first, second = (Process(store, lambda: now[0], 1000) for _ in range(2))
    assert first.reserve(400)
    first.ledger.settle(first.running.pop(), [400])
    first.shared.refresh()
    assert second.reserve(10)
    store.away = True
    assert [second.reserve(491), second.reserve(490)] == [False, True]
    assert second.shared.is_away
    for reservation in second.running:
        second.ledger.settle(reservation, [reservation.charges[0][1]])
    store.away = False
    second.shared.refresh()
    assert [first.reserve(100), first.reserve(1)] == [True, False], "it held an allotment of 100 all the time"
    assert first.bucket.others == 500

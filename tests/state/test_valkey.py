"""The ledger in Valkey does what the one in memory does, and many spend one budget there without exceeding it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from polychat.state.memory import MemoryStore
from polychat.state.store import AllotmentRequest, Settlement, StoredBucket, StoreUnavailable
from polychat.state.valkey import ValkeyLedger

from ..support.database_servers import valkey

BUCKETS = [StoredBucket(level, "a, b", "dollars", "day", 0, 86_400) for level in ("key", "team")] + [
    StoredBucket("key", "4:user", "concurrent", None, 0, None)
]
MOMENTS = st.integers(0, 100_000).map(lambda milliseconds: milliseconds / 1000)
CALLS = st.tuples(
    st.sampled_from(["renew", "settle", "announce"]),
    st.sampled_from(range(len(BUCKETS))),
    st.integers(0, 3),
    st.tuples(*[st.integers(0, 2**49)] * 5),
    st.booleans(),
    MOMENTS,
    MOMENTS,
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def ledger(url: str) -> Iterator[ValkeyLedger]:
    ledger = ValkeyLedger(url, patience=10)
    ledger._client.flushall()
    yield ledger
    ledger.close()


def called(ledger: Any, call: Any) -> Any:
    kind, number, name, (cap, spent, still, amount, least), closed, now, lasts = call
    bucket = BUCKETS[number]
    if kind == "renew":
        return ledger.renew([AllotmentRequest(f"{number}-{name}", bucket, cap, spent, still, amount, least)], now + lasts, now)
    if kind == "announce":
        return ledger.announce(str(name), lasts, now)
    return ledger.settle([Settlement(f"{number}-{name}", bucket, spent, closed)], now)


@settings(max_examples=60, phases=[Phase.explicit, Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(CALLS, max_size=12), now=MOMENTS)
def test_valkey_does_what_memory_does(ledger: ValkeyLedger, calls: list[Any], now: float) -> None:
    """Whatever is taken and settled in whatever order, up to a million dollars, both grant the same and hold the same."""
    memory = MemoryStore()
    ledger._client.flushall()
    for call in calls:
        assert called(ledger, call) == called(memory, call)
    assert ledger.levels(BUCKETS, now) == memory.levels(BUCKETS, now)


def test_many_spend_one_budget_and_not_more(ledger: ValkeyLedger, url: str) -> None:
    """Six that take parts of one bucket at the same time get no more than its cap together."""
    bucket, granted = BUCKETS[0], []

    def spend(name: int) -> None:
        own = ValkeyLedger(url, patience=10)
        for count in range(30):
            allotment = f"{name}-{count}"
            (grant,) = own.renew([AllotmentRequest(allotment, bucket, 1000, 0, 0, 300, 1)], 100, 0)
            granted.append(grant.amount)
            own.settle([Settlement(allotment, bucket, grant.amount // 2, True)], 0)
        own.close()

    threads = [threading.Thread(target=spend, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (level,) = ledger.levels([bucket], 0)
    assert level == (sum(amount // 2 for amount in granted), 0)
    assert 900 < level.spent <= 1000


def test_what_a_clock_that_was_ahead_took_is_not_held_for_long(ledger: ValkeyLedger) -> None:
    """By a process that was killed then, for example."""
    ledger.renew([AllotmentRequest("a", BUCKETS[0], 4, 0, 0, 4, 4)], 3615.0, 3600.0)
    assert [ledger.levels(BUCKETS[:1], now)[0].allotted for now in (3600.0, 0.0)] == [4, 0]


def test_buckets_end_and_a_server_that_is_away_is_reported(ledger: ValkeyLedger, tmp_path: Path) -> None:
    """The server forgets every bucket some time after its window; without a server the error is the one of any store."""
    ledger.renew([AllotmentRequest("a", BUCKETS[0], 10, 0, 0, 1, 1)], 100, 86_000)
    ledger.settle([Settlement("b", BUCKETS[2], 1, False)], 0)
    lifetimes = sorted(ledger._client.ttl(key) for key in ledger._client.scan_iter("polychat:bucket:*"))
    assert lifetimes[0] <= 172_800 < lifetimes[1] <= 173_200
    with valkey(tmp_path) as gone:
        pass
    away = ValkeyLedger(gone)
    with pytest.raises(StoreUnavailable, match="Valkey cannot be used"):
        away.levels(BUCKETS, 0)
    away.close()

"""Every store does what the store in memory does, whatever is asked of it in whatever order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import structs

from polychat.errors import BadInput
from polychat.state.database.store import DatabaseStore
from polychat.state.memory import MemoryStore
from polychat.state.store import (
    AllotmentRequest,
    AuditEntry,
    Owner,
    Policy,
    Settlement,
    StateStore,
    StoredBucket,
    StoredKey,
    Superseded,
    TextPlace,
    UsageFilter,
    UsageLabels,
    UsageLimit,
    UsageRecord,
)

from ..support.database_servers import emptied

Step = Callable[[StateStore], Any]
"""One call; what it gives is compared."""


def made(kind: Callable[..., Any], /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """With these fields, and the defaults of all others."""
    return st.fixed_dictionaries(fields).map(lambda values: kind(**values))


NAMES = st.sampled_from(["", "a", "b", "'; DROP TABLE keys; --", "ü\u2028"])
MOMENTS = st.floats(0, 100).map(lambda moment: round(moment, 3))
BUCKETS = made(
    StoredBucket,
    level=st.sampled_from(["key", "team"]),
    owner=NAMES,
    metric=st.sampled_from(["tokens", "concurrent"]),
    window=st.sampled_from(["minute", None]),
    start=st.sampled_from([0, 60]),
    end=st.just(60),
)
ALLOTMENTS = st.tuples(st.sampled_from("xyz"), BUCKETS).map(lambda known: (f"{known[0]} of {tuple(known[1])}", known[1]))
AMOUNTS = st.integers(0, 50)
ASKS = ALLOTMENTS.flatmap(
    lambda known: st.builds(AllotmentRequest, *map(st.just, known), st.integers(0, 120), st.integers(0, 90), *[AMOUNTS] * 3)
)
POLICIES = made(
    Policy,
    limits=st.lists(made(UsageLimit, metric=st.just("dollars"), window=st.just("day"), cap=st.integers(0, 2**62))).map(tuple),
    models=st.lists(NAMES, max_size=2).map(tuple),
    unpriced=st.sampled_from([None, "refuse", 5]),
)
OWNERS = made(
    Owner, kind=st.sampled_from(["org", "team"]), name=NAMES, parent=NAMES, policy=POLICIES, deleted_at=st.none() | MOMENTS
)
KEYS = st.sampled_from("abc").flatmap(
    lambda letter: made(
        StoredKey,
        id=st.just(letter),
        digest=st.just(letter.encode() * 32),
        name=NAMES,
        owner=st.none() | st.tuples(st.just("team"), NAMES),
        policy=POLICIES,
        expires_at=st.none() | MOMENTS,
        last_used_at=st.none() | MOMENTS,
        ends_streams=st.booleans(),
    )
)
TOKENS = st.none() | st.integers(0, 2**40)
RECORDS = made(
    UsageRecord,
    at=st.integers(0, 3 * 86_400_000),
    id=st.integers(0, 2**63 - 1),
    attempts=st.integers(0, 20),
    took=st.integers(0, 2**40),
    labels=made(
        UsageLabels,
        status=st.sampled_from([0, 599]),
        key=NAMES,
        team=NAMES,
        model=NAMES,
        verdict=st.sampled_from(["complete", "failed"]),
    ),
    prompt_tokens=TOKENS,
    completion_tokens=TOKENS,
    reasoning_tokens=TOKENS,
    cost=TOKENS,
)


def put(call: Callable[..., Any], value: Any, before: Any, entry: AuditEntry, is_current: bool) -> Any:
    """What it gives; ``is_current``: the value was made from the one that is kept."""
    try:
        return call(structs.replace(value, change=before.change if before is not None and is_current else 0), entry)
    except Superseded:
        return "superseded"


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """A call with its arguments."""
    kinds = ["owner", "key", "used", "renew", "announce", "settle", "forget", "usage", "forget usage", "text"]
    kind = draw(st.sampled_from(kinds))
    now, is_current = draw(MOMENTS), draw(st.booleans())
    entry = AuditEntry(id=f"{now}", at=now, actor="test", action="put", subject="x", facts={"models": ["a"]})
    match kind:
        case "owner":
            owner = draw(OWNERS)
            return lambda store: put(store.put_owner, owner, store.owner(owner.kind, owner.name), entry, is_current)
        case "key":
            key = draw(KEYS)
            return lambda store: put(store.put_key, key, store.key_by_id(key.id), entry, is_current)
        case "used":
            moments = draw(st.dictionaries(st.sampled_from("abcd"), MOMENTS))
            return lambda store: store.keys_used(moments)
        case "renew":
            asks = draw(st.lists(ASKS, max_size=3, unique_by=lambda ask: ask.bucket))
            until = now + draw(MOMENTS)
            return lambda store: [store.renew(asks, until, now), store.renew(asks, until, now)]
        case "announce":
            process, until = draw(st.sampled_from(["one", "other"])), draw(MOMENTS)
            return lambda store: store.announce(process, until, now)
        case "settle":
            settlement = ALLOTMENTS.flatmap(
                lambda known: st.builds(Settlement, *map(st.just, known), st.integers(0, 90), st.booleans())
            )
            settlements = draw(st.lists(settlement, max_size=3, unique_by=lambda one: one.allotment))
            return lambda store: store.settle(settlements, now)
        case "forget":
            return lambda store: store.forget_buckets(now)
        case "usage":
            records = draw(st.lists(RECORDS, max_size=4))
            return lambda store: [store.write_usage(records), store.write_usage(records)]
        case "text":
            place, until = TextPlace("reply", draw(NAMES), draw(NAMES)), draw(MOMENTS)
            data, other, more = draw(st.sampled_from([b"\0", b"1"])), draw(st.sampled_from([b"\0", b"3"])), draw(MOMENTS)
            last = draw(st.sampled_from([lambda store: store.forget_text(place), lambda store: store.forget_texts(now)]))
            return lambda store: [
                [store.claim_text(place, one, until, now) for one in (b"\0", b"1")],
                [store.hold_texts({place: data}, until + more), store.text(place, now)],
                [store.replace_text(place, data, b"3", until, now), store.forget_text(place, other)],
                [store.keep_text(place, b"2", until), store.text(place, now), last(store), store.text(place, 0)],
            ]
        case _:
            return lambda store: store.forget_usage(now * 86.4 * 36)


def seen(store: StateStore, buckets: list[StoredBucket]) -> Any:
    """All that can be read."""
    which = UsageFilter(since=60, until=2 * 86_400, labels={"team": "a"})
    return [
        store.owners(),
        store.owners("team"),
        store.owners("team", after="", limit=1, deleted=False),
        store.owner("team", "a"),
        store.keys(),
        store.keys(owner=("team", "a"), after=(0.0, "a"), limit=1),
        store.audit(after=(50.0, "50.0"), limit=3),
        store.key_by_id("a"),
        store.key_names(["a", "b", *(f"none-{number}" for number in range(1200))]),
        store.key_by_digest(b"b" * 32),
        [store.changes(after) for after in (0, 2)],
        store.last_change(),
        {entry.id: entry for entry in store.audit(since=20)},
        [store.levels(buckets, now) for now in (0, 50, 150)],
        store.keys(name="a"),
        [store.usage(by, which) for by in ("key", "day")],
        [store.usage(by, UsageFilter(), after=(0, -1, ""), limit=1) for by in ("model", "verdict", "day")],
        [store.usage(by, UsageFilter()) for by in ("model", "verdict", "day")],
    ]


@pytest.fixture
def store(url: str) -> Any:
    store = emptied(DatabaseStore(url, patience=10))
    yield store
    store.close()


@settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(calls=st.lists(steps(), max_size=12), buckets=st.lists(BUCKETS, max_size=3))
def test_a_database_does_what_memory_does(store: DatabaseStore, calls: list[Step], buckets: list[StoredBucket]) -> None:
    """Whatever is called in whatever order, both give the same, and hold the same at the end."""
    memory = MemoryStore()
    emptied(store)
    for call in calls:
        assert call(store) == call(memory)
    assert seen(store, buckets) == seen(memory, buckets)


def test_what_a_clock_that_was_ahead_took_is_not_held_for_long(url: str) -> None:
    """A process that was killed while its clock was an hour ahead leaves an allotment that lasts an hour: it holds nothing."""
    bucket = StoredBucket("key", "a", "concurrent", None, 0, None)
    for store in (MemoryStore(), emptied(DatabaseStore(url, patience=10))):
        store.renew([AllotmentRequest("a", bucket, 4, 0, 0, 4, 4)], 3615.0, 3600.0)
        assert store.levels([bucket], 3600.0) == [(0, 4)]
        assert store.levels([bucket], 0.0) == [(0, 0)]
        (grant,) = store.renew([AllotmentRequest("b", bucket, 4, 0, 0, 4, 4)], 15.0, 0.0)
        assert grant.amount == 4
        store.close()


def test_many_processes_spend_one_budget_and_not_more(url: str) -> None:
    """Stores of one database that take parts of one bucket at the same time get no more than its cap together."""
    emptied(DatabaseStore(url, patience=10)).close()
    bucket = StoredBucket("team", "blue", "dollars", "day", 0, 86_400)
    granted: list[int] = []

    def spend(name: int) -> None:
        store = DatabaseStore(url, patience=30)
        for count in range(12):
            allotment = f"{name}-{count}"
            (grant,) = store.renew([AllotmentRequest(allotment, bucket, 1000, 0, 0, 300, 1)], 100, 0)
            granted.append(grant.amount)
            store.settle([Settlement(allotment, bucket, grant.amount // 2, True)] if grant.amount else [], 0)
        store.close()

    threads = [threading.Thread(target=spend, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with_all = DatabaseStore(url)
    spent, allotted = with_all.levels([bucket], 0)[0]
    with_all.close()
    assert spent == sum(amount // 2 for amount in granted)
    assert 900 < spent <= 1000
    assert allotted == 0


@pytest.mark.parametrize("wrong", ["mysql://u:hunter2@h/d", "nothing", "postgresql+asyncpg://h/d"])
def test_another_database_is_refused(wrong: str) -> None:
    """The error names the setting and the two forms, and shows no password."""
    with pytest.raises(BadInput, match=r"gateway\.state\.url .* sqlite:///PATH or postgresql://HOST/NAME") as error:
        DatabaseStore(wrong)
    assert "hunter2" not in str(error.value)

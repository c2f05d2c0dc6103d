"""Accounts: what the levels above a key make of its limits."""

from __future__ import annotations

import pytest

from polychat.gateway.admission import accounts
from polychat.gateway.admission.accounts import Account, Buckets, Holder
from polychat.state.store import Ownership, Policy, UsageLimit


def per_user(cap: int) -> Policy:
    return Policy(user_limits=(UsageLimit(metric="requests", window="minute", cap=cap),))


def test_the_smallest_limit_of_an_end_user_holds() -> None:
    """Of the key or of who is above it: an end user has one bucket, in which a request counts once."""
    holders = [Holder("key", "laptop", per_user(10)), Holder("team", "red", per_user(100))]
    account = Account("laptop", holders, Buckets(lambda: 0.0), Ownership(key="laptop"))
    assert [bucket.hard for bucket in account.registry.of_user("laptop", "ada", account._user_limits)] == [10]


def test_a_user_whose_name_no_database_keeps_has_a_bucket() -> None:
    """A request may name any: PostgreSQL refuses a text with a zero in it."""
    buckets = Buckets(lambda: 0.0).of_user("laptop", "a\0", per_user(10).user_limits)
    assert ["\0" in bucket.name.owner for bucket in buckets] == [False]


def test_buckets_that_hold_nothing_are_forgotten_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of keys without a store, which may be any number in time; one that was used stays until its window is over."""
    monkeypatch.setattr(accounts, "_MOST", 10)
    now, limits = [0.0], per_user(10).user_limits
    buckets = Buckets(lambda: now[0])
    (used,) = buckets.of("key", "used", limits)
    used.roll(0.0)
    used.used = 3
    for number in range(100):
        buckets.of("key", f"key {number}", limits)
        assert len(buckets._kept) <= 10
    assert buckets.of("key", "used", limits) == (used,)
    now[0] = 60.0
    for number in range(10):
        buckets.of("key", f"key {number}", limits)
    assert buckets.of("key", "used", limits) != (used,)


def test_made_up_end_users_share_one_bucket_while_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they used then waits to be reported, and is bounded. Keys have their own buckets all the same."""
    monkeypatch.setattr(accounts, "_MOST_SHARED", 4)
    limits, buckets = per_user(10).user_limits, Buckets(lambda: 0.0, shared=True)
    unreported = [buckets.of_user("laptop", f"made up {number}", limits)[0] for number in range(20)]
    assert [bucket.name.owner for bucket in unreported[3:6]] == ["laptop/made up 3", *["laptop/(all others)"] * 2]
    assert len(set(unreported)) == 5
    assert buckets.of("key", "laptop", limits)[0].name.owner == "laptop"
    assert buckets.of_user("laptop", "made up 1", limits) == (unreported[1],)

"""Accounts: what the levels above a key make of its limits."""

from __future__ import annotations

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

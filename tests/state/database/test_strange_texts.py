"""Texts of strangers that a database does not take."""

from __future__ import annotations

from typing import Any

import pytest

from polychat.state.database.store import DatabaseStore
from polychat.state.database.tables import keepable
from polychat.state.key_admin import KeyAdmin
from polychat.state.store import (
    AllotmentRequest,
    Settlement,
    StoredBucket,
    TextPlace,
    UsageFilter,
    UsageLabels,
    UsageRecord,
)

from ...support.database_servers import emptied

WRONG = "a\0b\ud800"


def test_what_is_replaced() -> None:
    """A NUL and half a pair; whole pairs and all else stay."""
    assert keepable(WRONG) == "a\ufffdb\ufffd"
    for text in ("", "abc", "ü\u2028", "\N{GRINNING FACE}"):
        assert keepable(text) == text


@pytest.fixture
def store(url: str) -> Any:
    store = emptied(DatabaseStore(url))
    yield store
    store.close()


def test_strange_texts_are_kept_and_found_or_not_there(store: DatabaseStore) -> None:
    """Wherever a stranger's text reaches the database, in a row or in what is looked for, nothing fails."""
    place = TextPlace("response", WRONG, WRONG)
    assert (store.text(place, 0), store.forget_text(place)) == (None, None)
    store.keep_text(place, b"x", 10)
    assert store.text(place, 0) == b"x"
    record = UsageRecord(at=1000, id=1, took=1, labels=UsageLabels(model="a\0b", user="a\0b", verdict="complete"))
    store.write_usage([record])
    assert [one.name for one in store.usage("model", UsageFilter(labels={"user": "a\0b"}))] == ["a\ufffdb"]
    assert store.usage("model", UsageFilter(labels={"person": WRONG})) == []
    assert (store.key_by_id(WRONG), store.owner("team", WRONG)) == (None, None)
    bucket = StoredBucket("user", WRONG, "tokens", "day", 0, 86_400)
    (grant,) = store.renew([AllotmentRequest("a", bucket, 100, 0, 0, 10, 1)], 100, 0)
    store.settle([Settlement("a", bucket, grant.amount, True)], 0)
    assert store.levels([bucket], 0)[0].spent == grant.amount == 10
    store.announce(WRONG, 10, 0)
    KeyAdmin(store, WRONG, 1.0).put_owner("team", "red")
    assert store.audit()[0].actor == "a\ufffdb\ufffd"

"""PostgreSQL that hangs: each of its processes is stopped, and its machine goes on to acknowledge what it is sent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from polychat.state.database import availability
from polychat.state.database.store import DatabaseStore
from polychat.state.store import StoreUnavailable

from ...support.database_servers import PostgreSQL, emptied, hung


def test_calls_end_and_later_ones_fail_at_once(postgresql_server: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks a server that hangs gets an error after its patience, and is not alone in that: nobody asks it again for a
    moment, then one call at a time. When it is back, calls are answered."""
    store = emptied(DatabaseStore(postgresql_server.url))
    with hung(postgresql_server), ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(store.key_by_id, "a"), threads.submit(store.announce, "one", 10.0, 0.0)]
        for call in calls:
            with pytest.raises(StoreUnavailable, match="the database cannot be used"):
                call.result()
        now = availability.monotonic()
        monkeypatch.setattr(availability, "monotonic", lambda: now)
        for _ in range(100):
            with pytest.raises(StoreUnavailable, match="did not answer a moment ago"):
                store.last_change()
        monkeypatch.undo()
    while True:
        try:
            assert store.last_change() == 0
            break
        except StoreUnavailable:
            continue
    store.close()

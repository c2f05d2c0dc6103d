"""Counts of what happened of late."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polychat.routing.windows import Window


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 20)), max_size=60), st.floats(0, 60))
def test_what_is_counted(events: list[tuple[int, float]], after: float) -> None:
    """Everything of the last 25 seconds, nothing of more than 30 seconds ago, whatever the pauses; not what was taken back."""
    window, now, seen = Window(30.0, 2), 1000.0, []
    for kind, passed in events:
        now += passed
        window.add(kind, now)
        seen.append((kind, now))
    now += after
    for kind, moment in seen[::3]:
        window.take_back(kind, moment, now)
    del seen[::3]
    for kind in (0, 1):
        least = sum(1 for each, moment in seen if each == kind and now - moment < 25.0)
        most = sum(1 for each, moment in seen if each == kind and now - moment <= 30.0)
        assert least <= window.totals(now)[kind] <= most

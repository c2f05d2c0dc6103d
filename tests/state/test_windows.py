"""Windows: every moment is in exactly one of each kind, and the next begins where it ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.state.windows import KINDS, WindowKind, longest_in, window_at

MOMENTS = st.floats(0, 4_000_000_000)


@given(st.sampled_from(KINDS), MOMENTS)
def test_windows_follow_each_other(kind: WindowKind, now: float) -> None:
    """A moment is in its window, the window's own start and last moment are too, and its end is the next one's start."""
    window = window_at(kind, now)
    assert window.start <= now < window.end
    assert window_at(kind, window.start) == window == window_at(kind, window.end - 0.001)
    assert window_at(kind, window.end).start == window.end
    assert 0 < window.left(now) <= longest_in(kind)
    assert window.left(window.end + 5) == 0


@given(MOMENTS)
def test_a_window_begins_with_the_calendars_period(now: float) -> None:
    """In UTC, with leap years and months of every length: compared with ``datetime``."""
    today = datetime.fromtimestamp(now, UTC).replace(microsecond=0, second=0)
    expected = (today, today.replace(minute=0), today.replace(minute=0, hour=0), today.replace(minute=0, hour=0, day=1))
    assert [window_at(kind, now).start for kind in KINDS] == [moment.timestamp() for moment in expected]


@pytest.mark.parametrize(
    ("now", "end"), [("2024-02-29T23:59:59", "2024-03-01"), ("2026-12-31T12:00:00", "2027-01-01"), ("2025-02-01", "2025-03-01")]
)
def test_a_month_ends(now: str, end: str) -> None:
    """In a leap year, at a year's end, and from its first moment."""
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in (now, end)]
    assert window_at("month", moments[0]).end == moments[1]

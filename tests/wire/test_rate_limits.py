"""How much more a backend may be asked, by the headers of its answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.wire.rate_limits import Limit, is_used_up, limits_of

NOW = 1_700_000_000.0
SAID: dict[str, tuple[dict[str, str], list[Limit]]] = {
    "openai": (
        {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-limit-tokens": "150000",
            "x-ratelimit-remaining-requests": "59",
            "x-ratelimit-remaining-tokens": "149984",
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        [Limit("requests", "requests", 59.0, 60.0, 1.0), Limit("tokens", "tokens", 149984.0, 150000.0, 360.0)],
    ),
    "anthropic": (
        {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2023-11-14T22:13:30Z",
            "anthropic-ratelimit-input-tokens-limit": "40000",
            "anthropic-ratelimit-input-tokens-remaining": "39000",
            "anthropic-ratelimit-input-tokens-reset": "2023-11-14T22:14:20+00:00",
        },
        [Limit("requests", "requests", 0.0, 50.0, 10.0), Limit("input-tokens", "tokens", 39000.0, 40000.0, 60.0)],
    ),
    "cerebras": (
        {
            "x-ratelimit-limit-requests-day": "1000",
            "x-ratelimit-remaining-requests-day": "998",
            "x-ratelimit-reset-requests-day": "33011.382867",
            "x-ratelimit-remaining-tokens-minute": "0",
            "x-ratelimit-reset-tokens-minute": "11.38",
        },
        [
            Limit("requests-day", "requests", 998.0, 1000.0, 33011.382867),
            Limit("tokens-minute", "tokens", 0.0, None, 11.38),
        ],
    ),
    "openrouter": (
        {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000030000"},
        [Limit("", "requests", 0.0, 20.0, 30.0)],
    ),
    "github": (
        {"x-ratelimit-limit": "15", "x-ratelimit-remaining": "14", "x-ratelimit-reset": "1700000060"},
        [Limit("", "requests", 14.0, 15.0, 60.0)],
    ),
    "ietf": (
        {"ratelimit-limit": "10", "ratelimit-remaining": "1", "ratelimit-reset": "7"},
        [Limit("", "requests", 1.0, 10.0, 7.0)],
    ),
    "mistral": (
        {"ratelimitbysize-limit": "500000", "ratelimitbysize-remaining": "0", "ratelimitbysize-reset": "12"},
        [Limit("", "tokens", 0.0, 500000.0, 12.0)],
    ),
}


def pairs(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


@pytest.mark.parametrize("vendor", SAID)
def test_every_dialect(vendor: str) -> None:
    """Limits, what is left of them, and seconds until they are whole, by every vendor's own names and forms of time."""
    headers, limits = SAID[vendor]
    assert limits_of(pairs(headers), NOW) == limits
    assert is_used_up(pairs(headers)) == any(limit.remaining < 1 for limit in limits)


def test_what_is_no_limit() -> None:
    """A number that is none, one without what remains of it, and headers of other things are passed over."""
    odd = {"x-ratelimit-remaining-requests": "many", "x-ratelimit-limit-tokens": "5", "x-ratelimit-policy": "a", "date": "0"}
    assert limits_of(pairs(odd), NOW) == []
    assert limits_of(pairs({f"x-ratelimit-remaining-{'a' * number}": "1" for number in range(1, 500)}), NOW)[32:] == []


def test_it_grows_back() -> None:
    """Evenly until its reset; less than one request is none. Without a limit there is nothing until then."""
    limit = Limit("requests", "requests", 0.0, 60.0, 60.0)
    assert [limit.share(passed) for passed in (0.0, 0.9, 30.0, 60.0, 99.0)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert [Limit("", "requests", 0.0, None, 9.0).share(passed) for passed in (8.9, 9.0)] == [0.0, 1.0]
    assert [Limit("", "requests", 0.0).share(passed) for passed in (59.0, 61.0)] == [0.0, 1.0]
    assert Limit("", "requests", 30.0, 60.0, 60.0).share(0.0) == 0.5


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=30)), max_size=9), st.floats(0, 1e5))
def test_any_headers(headers: list[tuple[bytes, bytes]], passed: float) -> None:
    """Whatever a backend sends, there is an answer, and shares are from 0 to 1."""
    named = [(b"x-ratelimit-remaining" + name, value) for name, value in headers]
    assert all(0.0 <= limit.share(passed) <= 1.0 for limit in limits_of([*named, *headers], NOW))

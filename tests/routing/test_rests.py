"""For how long somebody is not to be asked at all."""

from __future__ import annotations

from random import Random

from polychat.errors import RateLimited, StatusError, Unauthorized
from polychat.routing import Health
from polychat.routing.rests import Rest


def test_the_latest_word_holds() -> None:
    """Of several moments that it named the last one; an answer that was asked for before does not end it."""
    rest = Rest()
    rest.note_retry_after(RateLimited("slower", status=429), 40.0, 0.0)
    rest.note_retry_after(RateLimited("much slower", status=429), 10.0, 5.0)
    rest.answered()
    assert (rest.left(5.0), rest.why, rest.kind) == (35.0, "slower", "rate_limit")
    assert rest.left(40.0) == 0.0
    rest.note_retry_after(RateLimited("next year", status=429), 1e9, 50.0)
    assert rest.left(50.0) == 86_400.0


def test_what_is_down_rests_long() -> None:
    """Half a minute at first, doubled up to five minutes, between half of it and all of it; an answer ends it."""
    rest, rests = Rest(), []
    for _ in range(6):
        rest.down_until = 0.0
        rest.go_down(Unauthorized("no such key", status=401), 0.0, 15.0, Random(2))
        rests.append(rest.left(0.0))
    assert [15 <= rests[0] <= 30, 30 <= rests[1] <= 60, 60 <= rests[2] <= 120, 150 <= rests[5] <= 300] == [True] * 4
    rest.answered()
    assert rest.left(0.0) == 0.0


def test_who_shares_a_key() -> None:
    """All models of a backend rest where its key is refused or its quota is used up, and say why; those of another do not."""
    health = Health()
    one, two, other = (health.facts("route", name) for name in ("a/1", "a/2", "b/1"))
    for facts, domain in ((one, "a"), (two, "a"), (other, "b")):
        facts.domain = health.domain(domain)
    error = StatusError("pay first", status=402)
    error.kind = "quota"
    one.down(error, 0.0, 15.0, Random(1))
    assert [bool(facts.rest_of(1.0)) for facts in (one, two, other)] == [True, True, False]
    resting = two.resting(1.0)
    assert (resting.kind, resting.status, "pay first" in str(resting)) == ("quota", 402, True)
    assert one.retry_after_left(1.0) == 0.0, "by our reckoning, not by its own word"

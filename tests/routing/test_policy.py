"""What a failure calls for: whether it is asked again, elsewhere, or not."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.errors import (
    BackendError,
    BadInput,
    BadReply,
    CertificateRefused,
    ChallengeRequired,
    ConnectionFailed,
    EmptyReply,
    LimitReached,
    MissingPackage,
    NotReady,
    PolychatError,
    ProxyFailed,
    RateLimited,
    ReplyFailed,
    StatusError,
    TimedOut,
    Truncated,
    Unauthorized,
    UnknownTarget,
    WrongAddress,
)
from polychat.routing import Health
from polychat.routing.policy import CONSEQUENCES, attribution_of, pause_before, step_after


def test_health_has_an_end() -> None:
    """Names without end do not fill the memory; the oldest are forgotten."""
    health = Health()
    for number in range(5000):
        health.facts("", str(number)).note_retry_after(RateLimited("wait", status=429), 10.0, 0.0)
    assert len(health.every()) == 4096
    assert health.facts("", "0").is_well(0.0)
    assert not health.facts("", "4999").is_well(0.0)


def status(number: int, kind: Any = None, cls: type[StatusError] = StatusError) -> StatusError:
    error = cls("said", status=number)
    error.kind = kind
    return error


def error_of_kind(kind: Any) -> ReplyFailed:
    error = ReplyFailed("said")
    error.kind = kind
    return error


def paid(error: BackendError) -> BackendError:
    error.paid = True
    return error


STEPS: list[tuple[PolychatError, str, bool]] = [
    (UnknownTarget("no such"), "give up", False),
    (BadInput("it has no tools", field="tools"), "next_target", False),
    (NotReady("no key"), "next_target", True),
    (MissingPackage("x", extra="y", purpose="z"), "next_target", True),
    (BadInput("no variable KEY", field="providers.a.api_key"), "next_target", True),
    (TimedOut("total", 5), "give up", True),
    (TimedOut("connect", 5), "again", True),
    (TimedOut("first", 5), "again", True),
    (TimedOut("idle", 5), "again", True),
    (ConnectionFailed("no"), "again", True),
    (ProxyFailed("no"), "again", True),
    (CertificateRefused("no"), "next_target", True),
    (WrongAddress("no"), "next_target", True),
    (status(401, "authentication", Unauthorized), "next_target", True),
    (status(403, "permission", Unauthorized), "next_target", True),
    (status(429, "rate_limit", RateLimited), "again", True),
    (RateLimited("of a site", status=429), "again", True),
    (status(429, "quota", RateLimited), "next_target", True),
    (status(402, "quota"), "next_target", True),
    (status(503, None, ChallengeRequired), "next_target", True),
    (status(400, "invalid_request"), "give up", False),
    (status(422, "invalid_request"), "give up", False),
    (status(413, "too_large"), "give up", False),
    (status(400, "context_length"), "next_target", False),
    (status(404, "not_found"), "next_target", False),
    (status(408, "timeout"), "again", True),
    (status(500, "server"), "again", True),
    (status(502), "again", True),
    (status(503, "overloaded"), "again", True),
    (status(529, "overloaded"), "again", True),
    (BadReply("what"), "again", True),
    (EmptyReply("nothing"), "again", True),
    (Truncated("cut"), "again", True),
    (LimitReached("that was all"), "next_target", True),
    (error_of_kind("server"), "again", True),
    (error_of_kind("overloaded"), "again", True),
    (error_of_kind("invalid_request"), "give up", False),
    (error_of_kind("too_large"), "give up", False),
    (error_of_kind("authentication"), "next_target", True),
    (error_of_kind("permission"), "next_target", True),
    (error_of_kind("quota"), "next_target", True),
    (error_of_kind("context_length"), "next_target", False),
    (paid(BadReply("what")), "give up", False),
    (paid(EmptyReply("nothing")), "give up", False),
    (BackendError("?"), "again", True),
]


@pytest.mark.parametrize(("error", "step", "at_fault"), STEPS, ids=lambda value: str(value) if isinstance(value, str) else None)
def test_what_a_failure_calls_for(error: PolychatError, step: str, at_fault: bool) -> None:
    """What every backend would say ends it; what this one lacks goes elsewhere; what may pass is tried again.

    A request's own faults do not tell of the target's health.
    """
    assert step_after(error) == step
    assert (CONSEQUENCES[attribution_of(error)].rests != "nothing") is at_fault


@given(st.integers(1, 1000), st.none() | st.floats(0, 1000), st.integers(0, 2**32))
def test_the_pause(attempt: int, retry_after: float | None, seed: int) -> None:
    """Never shorter than the backend asked for; else any part of a time that doubles with the attempts, up to eight seconds."""
    pause = pause_before(attempt, ConnectionFailed("no", retry_after=retry_after), Random(seed))
    assert (retry_after or 0.0) <= pause <= max(retry_after or 0.0, min(8.0, 0.25 * 2.0 ** (attempt - 2)))


def test_pauses_grow() -> None:
    """The next is twice the one before it, but for chance."""
    pauses = [pause_before(attempt, ConnectionFailed("no"), Random(3)) for attempt in range(2, 8)]
    assert all(1.9 < after / before < 2.1 for before, after in pairwise(pauses) if after < Random(3).random() * 7)

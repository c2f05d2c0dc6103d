"""The tree of errors, and what may be shown of foreign text."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polychat import errors
from polychat.errors import redact


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('{"data":{"token":"abc.def","expires_at":1}}', "abc.def"),
        ("proxy http://me:hunter2@host:80/x", "hunter2"),
        ("GET /stream?token=abc123&y=1", "abc123"),
        ("Authorization: Bearer xyz987", "xyz987"),
        ("authorization=Basic bWU6aHVudGVyMg==", "bWU6"),
        ("Bearer xyz987", "xyz987"),
        ('{"restNonce":"d329f178a8"}', "d329f178a8"),
        ("_wpnonce=94d05cd44b&post_id=5", "94d05cd44b"),
        ("X-WP-Nonce: 9339bdf90f", "9339bdf90f"),
        ('data-nonce="94d05cd44b"', "94d05cd44b"),
        ("Set-Cookie: sid=s3cr3t; Path=/", "s3cr3t"),
        ("Cookie: a=b; sid=s3cr3t; c=d", "s3cr3t"),
        ('{"password": "hunter2"}', "hunter2"),
        ("api_key=sk-12345", "sk-12345"),
        ("the key pcs-1.eyJpZCI6ImEifQ.c2lnbmF0dXJl is refused", "eyJpZCI6"),
        ("{'sessionId': 'q1w2e3'}", "q1w2e3"),
    ],
)
def test_no_credential_is_shown(text: str, secret: str) -> None:
    """Tokens, nonces, cookies, keys and passwords are cut out of what an error shows; what they were called stays."""
    assert secret in text
    assert secret not in redact(text)
    assert "…" in redact(text)
    assert secret not in redact(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "Error invalid_api_key: Incorrect API key provided: dummy.",
        '{"code":"rest_cookie_invalid_nonce","message":"Cookie check failed"}',
        "You have reached your token limit.",
        "the token expired",
        "http://host:80/path?x=1",
    ],
)
def test_plain_words_are_shown_as_they_are(text: str) -> None:
    """A message about a token is no token."""
    assert redact(text) == text


@example("a" * 400, 60)
@example("a\n" * 6_000, 300)
@given(st.text(), st.integers(10, 300))
def test_what_is_shown_is_one_short_line(text: str, limit: int) -> None:
    """Whatever comes in: one line, no longer than the limit."""
    line = redact(text, limit)
    assert len(line) <= limit
    assert "\n" not in line
    assert "\r" not in line


def test_the_seeds_errors_are_kept() -> None:
    """Everything a backend does wrong is a RuntimeError, and the standard kinds are what they are called."""
    for kind in (errors.BadReply, errors.Truncated, errors.MissingCookies, errors.ChatNotFound, errors.StatusError):
        assert issubclass(kind, RuntimeError)
    assert isinstance(errors.TimedOut("idle", 3), TimeoutError)
    assert isinstance(errors.ConnectionFailed("x"), ConnectionError)
    assert isinstance(errors.BadInput("x", field="y"), ValueError)
    assert isinstance(errors.MissingPackage("a", extra="b", purpose="c"), ImportError)
    assert isinstance(errors.UnknownTarget("x"), LookupError)


@pytest.mark.parametrize(
    "error",
    [
        errors.TimedOut("idle", 3, provider="GPTalk"),
        errors.MissingCookies("h", url="http://h"),
        errors.MissingPackage("a", extra="b", purpose="c"),
        errors.MessageTooLong(field="f", size=2, limit=1),
        errors.UnknownTarget("x", near=("y",)),
        errors.RateLimited("slow", status=429, retry_after=2.5),
    ],
)
def test_an_error_survives_copying_and_pickling(error: errors.PolychatError) -> None:
    """Between processes and in copies an error keeps its kind, its words and what it knows."""
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(twin), str(twin), twin.__dict__) == (type(error), str(error), error.__dict__)

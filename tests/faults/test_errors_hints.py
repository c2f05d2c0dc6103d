"""Kinds of fault: a backend says when to come back, in one of a dozen forms, and is asked before that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from polychat.gateway.paths import DIALECTS
from polychat.wire.hints import retry_after_of

from ..support.cookie_files import tokyo as tokyo  # a fixture, used by its name
from ..support.running_gateway import asking, configured, gateway, row
from ..support.scripted_server import Say, Seen

NOW = 1445412480.0  # Wed, 21 Oct 2015 07:28:00 GMT
LEFT = "x-ratelimit-remaining-"
FORMS: list[tuple[dict[str, str], str, float | None]] = [
    ({"Retry-After": "20"}, "", 20),
    ({"Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT"}, "", 30),
    ({"retry-after": "2m30s"}, "", 150),
    ({"retry-after-ms": "1500", "retry-after": "2"}, "", 1.5),
    ({"x-ratelimit-reset-requests": "6m0s", f"{LEFT}requests": "0"}, "", 360),
    ({"x-ratelimit-reset-tokens": "120ms", f"{LEFT}tokens": "0"}, "", 0.12),
    ({"x-ratelimit-reset-requests": "2m59.56s", f"{LEFT}requests": "0"}, "", 179.56),
    ({"x-ratelimit-reset-requests": "1d2h3m4s", f"{LEFT}requests": "0"}, "", 93784),
    ({"x-ratelimit-reset-requests-day": "33011.38", f"{LEFT}requests-day": "0"}, "", 33011.38),
    ({"x-ratelimit-reset": str(int(NOW) + 40)}, "", 40),
    ({"x-ratelimit-reset": str((int(NOW) + 40) * 1000)}, "", 40),
    ({"RateLimit-Reset": "15"}, "", 15),
    ({"ratelimitbysize-reset": "21"}, "", 21),
    ({"anthropic-ratelimit-tokens-reset": "2015-10-21T07:28:45Z", "anthropic-ratelimit-tokens-remaining": "0"}, "", 45),
    ({"anthropic-ratelimit-unified-reset": str(int(NOW) + 90)}, "", 90),
    (
        {"x-ratelimit-reset-requests": "1s", f"{LEFT}requests": "7", "x-ratelimit-reset-tokens": "9s", f"{LEFT}tokens": "0"},
        "",
        9,
    ),
    (
        {"x-ratelimit-reset-requests": "1s", f"{LEFT}requests": "0", "x-ratelimit-reset-tokens": "9s", f"{LEFT}tokens": "0"},
        "",
        9,
    ),
    ({"retry-after": "3", "x-ratelimit-reset-tokens": "9s", f"{LEFT}tokens": "0"}, "", 3),
    ({}, "Rate limit reached. Please try again in 7.66s. Visit …", 7.66),
    ({}, "Please try again in 6m0s.", 360),
    ({}, "Please try again in 120ms.", 0.12),
    ({}, "Please retry after 26 seconds.", 26),
    ({}, "Please retry in 29.3s.", 29.3),
    ({}, "wait for 2 minutes", 120),
    ({"retry-after": "5"}, "try again in 60s", 5),
    ({}, "slow down", None),
    ({"retry-after": "soon", "x-ratelimit-reset": "never"}, "", None),
    ({"x-ratelimit-limit-requests": "60"}, "", None),
]


@pytest.mark.parametrize(("headers", "message", "seconds"), FORMS)
def test_every_form(headers: dict[str, str], message: str, seconds: float | None) -> None:
    """Headers of the answer go first, then the body, then words; of limits that are used up the latest counts."""
    delay = retry_after_of(headers, NOW, status=429, message=message)
    assert delay == pytest.approx(seconds)


@pytest.mark.usefixtures("tokyo")
@pytest.mark.parametrize(
    "date",
    [
        *("2015-10-21T07:28:30", "2015-10-21T07:28:30Z", "2015-10-21T09:28:30+02:00"),
        *("Wed, 21 Oct 2015 07:28:30", "Wed, 21 Oct 2015 09:28:30 +0200"),
    ],
)
def test_a_date_is_of_the_zone_that_it_names(date: str) -> None:
    """One that names none is UTC, in whatever time zone the process runs."""
    assert retry_after_of({"retry-after": date}, NOW) == 30


def test_not_under_every_status() -> None:
    """Headers that tell of limits are on good answers and refused keys too: there they say nothing about coming back."""
    headers = {"x-ratelimit-reset-requests": "6m0s", f"{LEFT}requests": "0"}
    assert retry_after_of(headers, NOW, status=401) is None
    assert retry_after_of({"retry-after": "9"}, NOW, status=401) == 9


def refusing(body: dict[str, Any], headers: dict[str, str]) -> Any:
    async def handler(seen: Seen, say: Say) -> None:
        await say.whole(body, 429, headers=list(headers.items()))

    return handler


def openai(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "rate_limit_error", "code": None, **more}}


BACKENDS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "openai": ("openai-chat", openai("no"), {"x-ratelimit-reset-requests": "1m0s", f"{LEFT}requests": "0"}),
    "words": ("openai-chat", openai("Please try again in 60s."), {}),
    "openrouter": ("openai-chat", openai("no", metadata={"headers": {"X-RateLimit-Reset": "60"}}), {}),
    "responses": ("openai-responses", openai("no"), {"retry-after-ms": "60000"}),
    "anthropic": (
        "anthropic",
        {"type": "error", "error": {"type": "rate_limit_error", "message": "no"}},
        {
            "date": datetime(2026, 1, 1, tzinfo=UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "anthropic-ratelimit-requests-reset": "2026-01-01T00:01:00Z",
            "anthropic-ratelimit-requests-remaining": "0",
        },
    ),
    "gemini": (
        "gemini",
        {
            "error": {
                "code": 429,
                "status": "RESOURCE_EXHAUSTED",
                "message": "no",
                "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "60s"}],
            }
        },
        {},
    ),
    "ollama": ("ollama", {"error": "no"}, {"retry-after": "60"}),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_kept_across_requests(serve: Any, backend: str, dialect: str) -> None:
    """In every form the client gets it, and the next request does not ask the backend."""
    wire_name, body, headers = BACKENDS[backend]
    served = await serve(refusing(body, headers))
    async with gateway(configured({"house": row(wire_name, served.url)})) as here:
        for _ in range(2):
            answer = await here.ask(*asking(dialect))
            assert answer.status == 429
            assert 55 <= int(answer.headers["retry-after"]) <= 60
    assert len(served.seen) == 1

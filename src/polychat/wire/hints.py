"""When to retry a request, as backends report it: every form, in seconds, in one module.

In order of reliability: ``retry-after-ms`` and ``Retry-After``; the error's body (``Fault.retry_after``); the headers
of a rate limit that is used up; and only without any of these, the text of the message.

Sources: RFC 9110 10.2.3; platform.openai.com/docs/guides/rate-limits (``6m0s``, ``120ms``);
docs.anthropic.com/en/api/rate-limits (RFC 3339); console.groq.com/docs/rate-limits; inference-docs.cerebras.ai (seconds of a
day); openrouter.ai/docs (milliseconds since 1970, in the error's body too); docs.github.com (seconds since 1970); the IETF
draft ``RateLimit-Reset``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_NUMBER = re.compile(r"\d{1,16}(?:\.\d{1,9})?")
_DURATION = re.compile(
    r"(?:(\d{1,4})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,12}(?:\.\d{1,9})?)ms)?"
)
_RESET = re.compile(r"(?:x-)?ratelimit-(?:[a-z-]*-)?reset(?:-[a-z-]+)?|anthropic-ratelimit-[a-z-]+-reset|ratelimitbysize-reset")
_WORDS = re.compile(
    r"(?:try again|retry|come back|wait)(?: after| in| for)? (\d{1,6}(?:\.\d{1,9})?) ?"
    r"(ms|milliseconds?|s|sec|seconds?|m|min|minutes?)\b"
    r"|(?:try again|retry) (?:after|in) ((?:\d{1,4}h)?(?:\d{1,4}m)?\d{1,6}(?:\.\d{1,9})?m?s)\b",
    re.IGNORECASE,
)
_READ = 2_000
"""Maximum characters of a message that are searched."""
_EPOCH = 1e9
"""Numbers above this are times in seconds since 1970; above a thousand times that, in milliseconds."""
_LIMITED = frozenset({429, 503, 529})
"""Statuses that a rate limit may cause; with other statuses its headers only report what remains."""


def retry_after_of(
    headers: Mapping[str, str], now: float, *, status: int = 0, in_body: float | None = None, message: str = ""
) -> float | None:
    """Seconds until a retry may succeed, by a response's ``headers`` (names in any case), ``in_body``, or its text.

    ``now``: seconds since 1970, used if the response has no ``Date``.
    """
    named = {name.lower(): value.strip() for name, value in headers.items()}
    sent = moment(named.get("date", ""))
    now = now if sent is None else sent
    header_seconds = retry_after(named, now)
    if header_seconds is not None:
        return header_seconds
    if in_body is not None:
        return in_body
    if status in _LIMITED and (reset := _reset(named, now)) is not None:
        return reset
    return seconds_in_message(message) if status in _LIMITED else None


def retry_after(named: Mapping[str, str], now: float) -> float | None:
    """Seconds by ``retry-after-ms`` or ``retry-after``; names are in lower case."""
    if _NUMBER.fullmatch(milliseconds := named.get("retry-after-ms", "")):
        return float(milliseconds) / 1000
    return seconds_of(named.get("retry-after", ""), now)


def _reset(named: Mapping[str, str], now: float) -> float | None:
    """The latest reset of the limits with nothing left, because all must be available; if none is reported used up, the
    earliest.
    """
    spent: list[float] = []
    others: list[float] = []
    for name, value in named.items():
        if _RESET.fullmatch(name) is None or (seconds := seconds_of(value, now)) is None:
            continue
        remaining = named.get(name.replace("reset", "remaining"), "")
        (spent if remaining in ("0", "0.0") else others).append(seconds)
    return max(spent) if spent else min(others, default=None)


def seconds_in_message(message: str) -> float | None:
    """Seconds from a sentence such as ``Please try again in 6m0s``."""
    match = _WORDS.search(message[:_READ])
    if match is None:
        return None
    if match[3]:
        return duration(match[3].lower())
    unit = match[2].lower()
    return float(match[1]) * (0.001 if unit.startswith(("ms", "mil")) else 60.0 if unit.startswith("m") else 1.0)


def duration(text: str) -> float | None:
    """Seconds of ``6m0s``, ``1h2m3.5s``, ``120ms``."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        return None
    days, hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return days * 86_400 + hours * 3_600 + minutes * 60 + seconds + milliseconds / 1000


def seconds_of(text: str, now: float) -> float | None:
    """Seconds of a number of seconds, a duration, or a time in any of its forms; a time in the past is 0."""
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number > _EPOCH * 1000:
            number /= 1000
        return max(0.0, number - now) if number > _EPOCH else number
    if (span := duration(text)) is not None:
        return span
    when = moment(text)
    return None if when is None else max(0.0, when - now)


def moment(date: str) -> float | None:
    """Seconds since 1970 of a date in the format of HTTP or RFC 3339."""
    if not date or len(date) > 64:
        return None
    try:
        when = datetime.fromisoformat(date) if date[:4].isdigit() else parsedate_to_datetime(date)
        # A date without a zone is UTC in HTTP; Python would take it for local time.
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None

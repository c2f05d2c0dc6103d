"""The remaining capacity of a backend's rate limits, from the headers of its responses, before it rejects a request.

Every vendor has its own names for the same three numbers (the limit, what remains of it, when it resets), for
requests and for tokens, and for several periods: ``x-ratelimit-remaining-requests``, ``ratelimit-remaining``,
``x-ratelimit-remaining-tokens-minute``, ``anthropic-ratelimit-input-tokens-remaining``. The rest of a name without the
name of the number identifies the limit.

Sources: platform.openai.com/docs/guides/rate-limits; docs.anthropic.com/en/api/rate-limits; console.groq.com/docs/rate-limits;
inference-docs.cerebras.ai; docs.mistral.ai; openrouter.ai/docs; the IETF draft ``RateLimit``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from .hints import seconds_of

_NAME = re.compile(r"(?:x-|anthropic-)?ratelimit(bysize)?-([a-z-]{1,80})")
_NUMBERS = ("limit", "remaining", "reset")
_NUMBER = re.compile(r"\d{1,16}(?:\.\d{1,9})?")
_MOST = 32
"""Maximum headers that are examined."""
UNKNOWN_RESET = 60.0
"""Seconds after which a limit counts as fully available if its backend does not report when it is."""


class Limit(NamedTuple):
    """One limit, as of the response."""

    name: str
    """The rest of its headers' names: ``requests``, ``tokens-minute``; empty if there is none."""
    unit: Literal["requests", "tokens"]
    remaining: float
    limit: float | None = None
    reset: float | None = None
    """Seconds until it is fully available."""

    def share(self, passed: float) -> float:
        """The available part of it, from 0 to 1, ``passed`` seconds after the response; 0 below one request or token.

        Vendors refill it evenly (a token bucket).
        """
        reset = UNKNOWN_RESET if self.reset is None else self.reset
        if passed >= reset:
            return 1.0
        if not self.limit:
            return 1.0 if self.remaining >= 1 else 0.0
        there = self.remaining + max(0.0, self.limit - self.remaining) * passed / reset
        return min(1.0, there / self.limit) if there >= 1 else 0.0


def is_used_up(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether any of these headers may report that less than one is left; a check that costs next to nothing."""
    for _, value in headers:  # noqa: SIM110  # a generator takes several times as long
        if value[:1] == b"0":
            return True
    return False


def limits_of(headers: Iterable[tuple[bytes, bytes]], now: float) -> list[Limit]:
    """The limits in a response's headers, whose names are in lower case. ``now``: seconds since 1970."""
    values: dict[tuple[str, bool], dict[str, str]] = {}
    for count, (name, value) in enumerate(headers):
        match = _NAME.fullmatch(name.decode("latin-1")) if count < _MOST else None
        if match is None:
            continue
        segments = match[2].split("-")
        number = next((number_name for number_name in _NUMBERS if number_name in segments), None)
        if number is not None:
            segments.remove(number)
            values.setdefault(("-".join(segments), match[1] is not None), {})[number] = value.decode("latin-1").strip()
    limits = []
    for (name_of, by_size), numbers in values.items():
        remaining = numbers.get("remaining", "")
        if _NUMBER.fullmatch(remaining):
            unit: Literal["requests", "tokens"] = "tokens" if by_size or "token" in name_of else "requests"
            limit = numbers.get("limit", "")
            limits.append(
                Limit(
                    name_of,
                    unit,
                    float(remaining),
                    float(limit) if _NUMBER.fullmatch(limit) else None,
                    seconds_of(numbers.get("reset", ""), now),
                )
            )
    return limits

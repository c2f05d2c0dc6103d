"""A status other than 2xx as an error: its class, when to retry, and no secrets in it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from aiohttp import ClientResponseError, RequestInfo
from multidict import CIMultiDict
from yarl import URL

from .. import errors
from ..wire import hints


class StatusError(errors.StatusError, ClientResponseError):
    """Members that ``errors`` documents and that code written for aiohttp reads: ``message``, ``request_info``, ``headers``.

    All three are without possible credentials: no query, no user, no cookie, only headers that are known to be harmless.
    """

    status: int

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        retry_after: float | None = None,
        provider: str | None = None,
        request: RequestInfo | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        errors.StatusError.__init__(self, message, provider=provider, retry_after=retry_after)
        self.status = status
        self.message = message
        self.request_info = request or request_info("GET", URL(), {})
        self.headers = CIMultiDict(_harmless_of_response(headers or {}))
        self.history = ()

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, status={self.status})"


class Unauthorized(StatusError, errors.Unauthorized):
    """``errors.Unauthorized`` that is also aiohttp's error."""


class RateLimited(StatusError, errors.RateLimited):
    """``errors.RateLimited`` that is also aiohttp's error."""


class ChallengeRequired(StatusError, errors.ChallengeRequired):
    """``errors.ChallengeRequired`` that is also aiohttp's error."""


_KINDS: Mapping[int, type[StatusError]] = {401: Unauthorized, 403: Unauthorized, 429: RateLimited}

_REQUEST_HEADERS = frozenset(
    {"accept", "accept-encoding", "accept-language", "content-length", "content-type", "host", "user-agent"}
)
_SECRET_HEADERS = re.compile(r"(?i)cookie|auth|token|nonce|secret|session|key|location|link|refresh")
_COUNTS = re.compile(r"(?i)(x-)?ratelimit-")
"""Headers like ``x-ratelimit-remaining-tokens``: numbers, despite their names."""


def status_error(
    status: int,
    reason: str,
    url: URL,
    headers: Mapping[str, str],
    *,
    method: str = "GET",
    sent: Mapping[str, str] | None = None,
    detail: str = "",
    body: bytes = b"",
    provider: str | None = None,
) -> StatusError:
    """The error for this response. ``detail`` ends its message; ``body`` is searched for a bot wall."""
    wall = wall_of(status, headers, body)
    wait = retry_after(headers, time.time(), status)
    message = f"{url.host} answered {status} {errors.redact(reason, 60)}".rstrip()
    if wall:
        message += f": {_challenge(wall, url)}"
    elif detail:
        message += f": {detail}"
    if wait is not None and not wall:
        message += f" (retry after {wait:g} s)"
    kind = ChallengeRequired if wall else _KINDS.get(status, StatusError)
    request = request_info(method, url, sent or {})
    return kind(message, status=status, retry_after=wait, provider=provider, request=request, headers=headers)


def _challenge(wall: str, url: URL) -> str:
    return (
        f"a human check ({wall}) blocks it: open {redacted_url(url.with_path('/'))} in a browser and pass it, "
        "then give polychat that browser's cookies (cookies={…}) and its user-agent (headers={…}), from "
        "the same network"
    )


def request_info(method: str, url: URL, headers: Mapping[str, str]) -> RequestInfo:
    """aiohttp's record of a request, without secrets."""
    kept = [(name, value) for name, value in headers.items() if name.lower() in _REQUEST_HEADERS]
    bare = url.with_query(None).with_fragment(None).with_user(None) if url.absolute else URL()
    # Not aiohttp's read-only view of the headers: it cannot be pickled, and errors are passed between processes.
    return RequestInfo(bare, method, CIMultiDict(kept), bare)  # type: ignore[arg-type]


def _harmless_of_response(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if _COUNTS.match(name) or not _SECRET_HEADERS.search(name)]


def redacted_url(url: URL) -> str:
    """A URL as a message may show it: no user, no query."""
    return errors.redact(str(url.with_user(None).with_query(None).with_fragment(None)))


def retry_after(headers: Mapping[str, str], now: float, status: int = 0) -> float | None:
    """Seconds until a retry is allowed, by the headers of a response with ``status``, counted from ``Date`` or ``now``."""
    return hints.retry_after_of(headers, now, status=status)


CHALLENGED = frozenset({403, 429, 503})
"""Statuses of bot walls' pages."""

_WALL_HEADERS = (
    ("cf-mitigated", "challenge", "Cloudflare"),
    ("x-vercel-mitigated", "challenge", "Vercel"),
    ("x-amzn-waf-action", "challenge", "AWS WAF"),
    ("x-amzn-waf-action", "captcha", "AWS WAF"),
)
_WALL_PAGES = (
    (rb"challenge-platform|_cf_chl_opt|cf-chl-|challenges\.cloudflare\.com|<title>Just a moment", "Cloudflare"),
    (rb"Attention Required! \| Cloudflare", "Cloudflare"),
    (rb"ddos-guard", "DDoS-Guard"),
    (rb"sucuri_cloudproxy|Sucuri WebSite Firewall", "Sucuri"),
    (rb"_Incapsula_Resource", "Imperva"),
    (rb"px-captcha|captcha\.px-cdn\.net", "HUMAN"),
    (rb"captcha-delivery\.com", "DataDome"),
    (rb"awsWafCookieDomainList|token\.awswaf\.com", "AWS WAF"),
    (rb"/\.within\.website/x/cmd/anubis", "Anubis"),
    (rb"""class=["']?(?:h-captcha|g-recaptcha|cf-turnstile)""", "captcha"),
)
_WALLS = re.compile(b"|".join(b"(?P<w%d>%b)" % (index, page) for index, (page, _) in enumerate(_WALL_PAGES)), re.IGNORECASE)


def wall_of(status: int, headers: Mapping[str, str], body: bytes = b"") -> str | None:
    """The vendor of a human check before the service, by a header or the page's beginning; ``None`` if there is no check."""
    for name, value, wall in _WALL_HEADERS:
        if headers.get(name, "").lower() == value:
            return wall
    match = _WALLS.search(body) if status in CHALLENGED else None
    return _WALL_PAGES[int((match.lastgroup or "w0")[1:])][1] if match else None

"""A cookie, and which hosts it is for, as RFC 6265 has it."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address

from yarl import URL

LATEST = 253_402_300_799.0
"""The end of the year 9999, in seconds since 1970: no date is later."""

_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBERED = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)")
_SUFFIX = re.compile(r"[^.]+|(ac|co|com|edu|gov|mil|net|org)\.[a-z]{2}")
_NAME = re.compile(r"[^\x00-\x20\x7f;=,\ud800-\udfff]+")
_VALUE = re.compile(r"[^\x00-\x1f\x7f;\ud800-\udfff]*")
_DECIMAL = re.compile(r"[+-]?\d+(\.\d*)?")


class Unusable(ValueError):
    """Why an entry is not a cookie; the message shows no value."""


def host_name(text: str) -> str | None:
    """A host as hosts are compared: lower case, IDNA, no dot at either end. ``None`` where it is no host."""
    bare = text.strip().removeprefix(".").removesuffix(".").lower()
    if ":" in bare or bare[-1:].isdigit():
        with suppress(ValueError):
            return ip_address(bare.removeprefix("[").removesuffix("]")).compressed
    try:
        # Written as the session writes it when it connects: a cookie goes to the host it was looked up for.
        bare = bare if bare.isascii() else URL.build(scheme="http", host=bare).raw_host or ""
    except ValueError:
        return None
    return bare if len(bare) <= 253 and _HOST.fullmatch(bare) else None


def is_address(host: str) -> bool:
    """Whether a host is an IP address, or what systems read as one (``127.1``). It has no parent domain and no subdomains."""
    return ":" in host or _NUMBERED.fullmatch(host) is not None


def reaches(domain: str, host: str) -> bool:
    """RFC 6265's domain-match: the host is the domain or a subdomain of it. Both are as ``host_name`` gives them.

    No cookie is valid for a suffix of many owners. Of these we know single labels (``com``) and names such as ``co.uk``;
    browsers know them all and took no cookie for the others.
    """
    return host == domain or (host.endswith(f".{domain}") and not is_address(host) and not _SUFFIX.fullmatch(domain))


def family(host: str) -> str:
    """The host's last two labels: a cookie that reaches ``host`` has a domain that ends in them."""
    return host if is_address(host) else ".".join(host.split(".")[-2:])


@dataclass(slots=True, frozen=True)
class Cookie:
    """One cookie. ``domain`` is as ``host_name`` gives it; ``expires`` counts seconds since 1970, ``None`` is a session's."""

    name: str
    value: str = field(repr=False)
    domain: str
    host_only: bool
    path: str = "/"
    secure: bool = False
    expires: float | None = None

    def goes_to(self, host: str) -> bool:
        return host == self.domain if self.host_only else reaches(self.domain, host)


def cookie_of(
    name: object,
    value: object,
    domain: str,
    *,
    host_only: object = None,
    path: object = None,
    secure: object = False,
    expires: object = None,
) -> Cookie:
    """A cookie of what a file holds. Without ``host_only``, a dot before ``domain`` decides. Raises ``Unusable``."""
    host = host_name(domain)
    if host is None:
        raise Unusable("its domain is not a host")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Unusable("it has no name, or one that no header can carry")
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        raise Unusable("its value is not text that a header can carry")
    is_host_only = host_only if isinstance(host_only, bool) else not domain.lstrip().startswith(".")
    scope = path if isinstance(path, str) and path.startswith("/") else "/"
    return Cookie(name, value, host, is_host_only, scope, bool(secure), moment(expires))


def moment(value: object) -> float | None:
    """An expiry (a number, digits, an ISO date) in seconds since 1970; ``None`` for a session's. Raises ``Unusable``."""
    match value:
        case None | "" | bool():
            return None
        case str(text) if not _DECIMAL.fullmatch(text):
            return _dated(text)
        case int() | float() | str():
            return _counted(value)
    raise Unusable("its expiry is not a date")


def _counted(number: float | str) -> float | None:
    try:
        seconds = float(number)
    except OverflowError:
        seconds = math.inf
    if math.isnan(seconds):
        raise Unusable("its expiry is not a date")
    if seconds <= 0:
        return None  # cookies.txt writes a session as 0, browser automation as -1
    return seconds if seconds <= LATEST else seconds / 1000  # Firefox 142 and later count milliseconds


def _dated(text: str) -> float | None:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise Unusable("its expiry is not a date") from None
    seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    return None if seconds == -1 else seconds  # a HAR may write a session's -1 as a date; 1970 itself deletes the cookie

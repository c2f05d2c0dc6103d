"""The files that hold cookies, as pure functions: cookies.txt, the JSON of browser extensions, HAR."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from .cookie_domains import LATEST, Cookie, Unusable, cookie_of, family, host_name, moment

_AGE = re.compile(r"-?[0-9]{1,12}")


class CookieFile(NamedTuple):
    """What a file held: its cookies, a later one after an earlier one, and what was wrong where."""

    cookies: list[Cookie]
    damaged: list[str]


def read(data: bytes, host: str) -> CookieFile:
    """A file's cookies that reach ``host``; the format shows in its first character. Never raises.

    A damaged cookie spoils no other; of JSON that cannot be read, nothing is used.
    """
    text = data.decode("utf-8-sig", "surrogateescape")
    result = _json(text, host) if text.lstrip()[:1] in ("[", "{") else _netscape(text)
    return CookieFile([cookie for cookie in result.cookies if cookie.goes_to(host)], result.damaged)


def _read_each(items: Iterable[tuple[str, Any]], reading: Callable[[Any], Cookie]) -> CookieFile:
    """What ``reading`` makes of each item, with the place it was found at."""
    result = CookieFile([], [])
    for place, item in items:
        try:
            result.cookies.append(reading(item))
        except Unusable as error:
            result.damaged.append(f"{place}: {error}")
    return result


def _numbered(items: Iterable[Any]) -> list[tuple[str, Any]]:
    return [(f"cookie {number}", item) for number, item in enumerate(items, 1)]


def _netscape(text: str) -> CookieFile:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    numbered = [(f"line {number}", line.removeprefix("#HttpOnly_")) for number, line in enumerate(lines, 1)]
    return _read_each(
        [(place, line) for place, line in numbered if line.strip() and not line.lstrip().startswith("#")], _netscape_line
    )


def _netscape_line(line: str) -> Cookie:
    fields = line.split("\t")
    if len(fields) == 6:
        fields.append("")  # an empty value, whose tab an editor took away
    match fields:
        case [domain, subdomains, path, secure, expires, name, value]:
            host_only = not _flag(subdomains)
            return cookie_of(name, value, domain, host_only=host_only, path=path, secure=_flag(secure), expires=expires.strip())
    raise Unusable("these are not the seven fields of a cookies.txt, separated by tabs")


def _flag(text: str) -> bool:
    if text.upper() not in ("TRUE", "FALSE"):
        raise Unusable("its second or fourth field is neither TRUE nor FALSE")
    return text.upper() == "TRUE"


def _json(text: str, host: str) -> CookieFile:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return CookieFile([], [f"line {error.lineno}: this is not JSON"])
    except (ValueError, RecursionError):  # a number of too many digits, lists in lists without end
        return CookieFile([], ["this is not JSON that can be read"])
    match value:
        case {"log": {"entries": list(entries)}}:
            return _har(entries, host)
        case list(items) | {"cookies": list(items)}:
            return _read_each(_numbered(items), _exported)
        case dict() if all(isinstance(pairs, dict) for pairs in value.values()):
            by_host = [(name, content, domain) for domain, pairs in value.items() for name, content in pairs.items()]
            return _read_each(_numbered(by_host), lambda parts: cookie_of(*parts))
    return CookieFile(
        [], ['no cookies that name their host; names and values alone go under it: {"chat.example": {"name": "value"}}']
    )


def _exported(item: Any) -> Cookie:
    """A cookie as browser extensions and browser automation write it."""
    match item:
        case {"name": name, "value": value, "domain": str(domain)}:
            dates = [item.get(key) for key in ("expirationDate", "expires", "expiry")]
            return cookie_of(
                name,
                value,
                domain,
                host_only=item.get("hostOnly"),
                path=item.get("path"),
                secure=item.get("secure"),
                expires=next((date for date in dates if date is not None), None),
            )
    raise Unusable("it has no name, value and domain")


def _har(entries: list[Any], host: str) -> CookieFile:
    """The latest cookie of each name: from requests to ``host`` itself, else to a host it shares a domain with."""
    recorded = [_Entry.of(f"entry {number}", entry) for number, entry in enumerate(entries, 1)]
    related = [entry for entry in recorded if entry.host is not None and family(entry.host) == family(host)]
    related.sort(key=lambda entry: (entry.host == host, entry.started or 0))
    result = _read_each([(entry.place, (entry, raw)) for entry in related for raw in entry.cookies()], _recorded)
    if not result.cookies and not result.damaged and any(entry.host == host for entry in related):
        # Chrome leaves cookies out by default.
        result.damaged.append(f"its requests to {host} have no cookies: export it once more, with sensitive data")
    latest = {cookie.name: cookie for cookie in result.cookies if cookie.goes_to(host)}
    return CookieFile(list(latest.values()), result.damaged)


@dataclass(slots=True, frozen=True)
class _Entry:
    """One request of a recording, and its response. ``host`` is ``None`` where its address has none (``data:``)."""

    place: str
    host: str | None
    https: bool
    started: float | None
    request: dict[str, Any]
    response: dict[str, Any]

    @classmethod
    def of(cls, place: str, entry: Any) -> _Entry:
        match entry:
            case {"request": {"url": str(url)} as request}:
                address = _split(url)
                host, https = host_name(address.hostname or ""), address.scheme == "https"
                response = entry.get("response")
                started = _start(entry.get("startedDateTime"))
                return cls(place, host, https, started, request, response if isinstance(response, dict) else {})
        return cls(place, None, False, None, {}, {})

    def cookies(self) -> list[Any]:
        """What was sent, then what was set, in the shape of an export: from the lists, or the headers where those are empty."""
        sent, set_by_server = self.request.get("cookies"), self.response.get("cookies")
        sent = sent or [_pair(pair) for line in _headers(self.request, "cookie") for pair in line.split(";")]
        set_by_server = set_by_server or [_set_cookie(line, self.started) for line in _headers(self.response, "set-cookie")]
        return [raw for half in (sent, set_by_server) if isinstance(half, list) for raw in half if raw]


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # an unclosed [
        return urlsplit("")


def _start(date: object) -> float | None:
    try:
        return moment(date)
    except Unusable:
        return None


def _recorded(item: tuple[_Entry, Any]) -> Cookie:
    """A recorded cookie. Without a domain it was set by the entry's host, and is taken to be for that host alone."""
    entry, raw = item
    host = entry.host or ""
    match raw:
        case {"domain": str(domain)} if domain:
            # The list may hold the attribute's value, which has no dot: a parent's domain is accepted in either form.
            cookie = _exported({**raw, "hostOnly": False} if host_name(domain) != host else raw)
        case dict():
            cookie = _exported({"secure": entry.https, **raw, "domain": host, "hostOnly": True})
        case _:
            raise Unusable("it has no name and value")
    if not cookie.goes_to(host):
        raise Unusable("its host must not set cookies for its domain")
    return cookie


def _headers(message: dict[str, Any], name: str) -> Iterator[str]:
    """The values of a header; Chrome writes several Set-Cookie as the lines of one."""
    headers = message.get("headers")
    for header in headers if isinstance(headers, list) else ():
        match header:
            case {"name": str(called), "value": str(value)} if called.lower() == name:
                yield from value.split("\n")


def _pair(text: str) -> dict[str, Any]:
    """A cookie's name and value; empty where there is no ``=``, as RFC 6265 has it."""
    name, equals, value = text.partition("=")
    return {"name": name.strip(), "value": value.strip()} if equals else {}


def _set_cookie(line: str, started: float | None) -> dict[str, Any]:
    """A Set-Cookie header of an answer to what was sent at ``started``, in the shape of an export."""
    pair, *rest = line.split(";")
    cookie = _pair(pair)
    attribute = {name.strip().lower(): value.strip() for name, _, value in (part.partition("=") for part in rest)}
    if not cookie:
        return {}
    if domain := attribute.get("domain", "").removeprefix("."):
        cookie["domain"] = f".{domain}"
    return {**cookie, "path": attribute.get("path"), "secure": "secure" in attribute, "expires": _expiry(attribute, started)}


def _expiry(attribute: dict[str, str], started: float | None) -> float | None:
    """The expiry that a Set-Cookie header sets: Max-Age, else Expires; ``None`` where neither can be read."""
    seconds: float | None = None
    if _AGE.fullmatch(attribute.get("max-age", "")):
        age = int(attribute["max-age"])
        seconds = 0 if age <= 0 else None if started is None else started + age
    elif "expires" in attribute:
        with suppress(ValueError):
            date = parsedate_to_datetime(attribute["expires"])
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    return None if seconds is None else min(max(seconds, 1), LATEST)  # 0 is a session's in an export

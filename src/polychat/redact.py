"""Exact redaction: a credential of a request is removed from its reply, wherever a backend repeats it.

``errors.redact`` guesses what looks like a credential in any foreign text. Here nothing is guessed: a ``Secrets`` knows the
credentials of one request (its key, tokens in its headers, passwords in its addresses, its cookies), and takes exactly these
out of the reply: status line, headers, body, errors. Transports do it where bytes enter, so that no reader, log or client sees
them. Besides the plain text it knows how JSON, URLs, HTML and base64 write the same.

All of it is linear in what it looks at. A stream holds back only an end that could be the beginning of a credential.

A credential that is split over several events of a stream, with their JSON between them, is not found: that takes reading
each event that passes and holding its text. A backend that echoes a key does so whole, in errors and headers above all; one
that means to hide it can write it in any other way.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from .errors import PolychatError

MASK = "[redacted]"
"""What replaces a credential: ASCII, so that headers, JSON and any charset can carry it."""

_LEAST = 8
"""Minimum characters of a key; a shorter text may be part of any word."""
_LEAST_PASSWORD = 6
_LEAST_COOKIE = 12
"""Shorter cookies are settings: ``lang=en``, ``consent=accepted``."""
_PLACEHOLDERS = frozenset(
    {
        *("lm-studio", "not-needed", "notneeded", "no-key", "no-key-required", "sk-no-key-required", "no-api-key", "unused"),
        *("placeholder", "password", "changeme", "anything", "whatever", "anonymous", "undefined", "your-api-key", "api-key"),
    }
)
"""Placeholders for servers that require some key and check none: ordinary words, which an answer may contain."""
_PUBLIC = frozenset(
    {
        *("accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "connection", "content-encoding"),
        *("content-length", "content-type", "date", "dnt", "expect", "host", "idempotency-key", "if-modified-since", "origin"),
        *("pragma", "priority", "range", "referer", "http-referer", "te", "traceparent", "tracestate", "upgrade"),
        *("upgrade-insecure-requests", "user-agent", "x-request-id", "x-requested-with", "x-title"),
    }
)
"""Request headers that say nothing secret; besides these, versions (``anthropic-version``) and features (``openai-beta``)."""
_PUBLIC_KINDS = ("-version", "-beta")
_SCHEME = re.compile(r"(?:bearer|basic|token|apikey|key)[ \t]+(?=\S)", re.IGNORECASE)
_BACKSLASH, _ESCAPE = ord("\\"), b"\\u00"
_CUT = 6
"""Letters of a credential's beginning that are taken for one where a shortened text ends."""

E = TypeVar("E", bound=PolychatError)


class Secrets:
    """The credentials of one request, for every place in which its reply may repeat them. Not shown by ``repr``."""

    __slots__ = ("_bytes", "_escaped", "_rare", "_texts", "begins", "needles", "shortest")

    def __init__(self, secrets: Iterable[str]) -> None:
        plain = sorted(set(secrets), key=len, reverse=True)
        needles = {form for secret in plain for form in _forms(secret)}
        rare = {form for secret in plain for form in _rare_forms(secret)} - needles
        self.needles = _by_length(needles)
        self._rare = _by_length(rare)
        self._bytes = (*self.needles, *self._rare)
        self._texts = tuple(sorted(needles | rare, key=len, reverse=True))
        self._escaped = re.compile(b"|".join(_escaped(secret) for secret in plain))
        self.begins = frozenset(letter for needle in self.needles for letter in needle[:-1])
        self.shortest = min(map(len, self._texts))

    def whole(self, data: bytes) -> bytes:
        """A whole body, a reason phrase or a header without them."""
        # Every header and body comes by here: the usual one is looked at, and nothing is called for it.
        if len(data) < self.shortest:
            return data
        if max(map(data.find, self._bytes)) < 0 and (_BACKSLASH not in data or data.find(_ESCAPE) < 0):
            return data
        return _without(self.piece(data), self._rare)

    def piece(self, data: bytes) -> bytes:
        """A part of a stream without those that are whole in it, in the forms that do not depend on where they begin."""
        data = _without(data, self.needles)
        return self._escaped.sub(MASK.encode(), data) if _BACKSLASH in data and data.find(_ESCAPE) >= 0 else data

    def headers(self, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The same list where there are no secrets."""
        least = self.shortest
        long: list[bytes] = []
        for name, value in fields:
            if len(value) >= least:
                long.append(value)
            if len(name) >= least:
                long.append(name)
        # One search in all of them: each would cost as much as some hundred bytes.
        if not long or self.whole(together := b"\n".join(long)) is together:
            return fields
        return [(self.whole(name), self.whole(value)) for name, value in fields]

    def text(self, text: str) -> str:
        """Text without them, and without the beginning of one at the end of shortened text (``…``)."""
        for secret in self._texts:
            text = text.replace(secret, MASK)
        if "\\u00" in text:
            text = self._escaped.sub(MASK.encode(), text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
        if "…" not in text:
            return text
        return "…".join(self._without_end(part) for part in text.split("…"))

    def _without_end(self, text: str) -> str:
        cut = max((_overlap(text, secret) for secret in self._texts), default=0)
        return text[:-cut] + MASK if cut >= _CUT else text

    def tail(self, data: bytes) -> int:
        """How many bytes at the end are the beginning of a credential, and not all of it."""
        return max(_overlap(data, needle) for needle in self.needles)

    def tail_of(self, text: str) -> int:
        """``tail`` of text, in letters."""
        return max(_overlap(text, secret) for secret in self._texts)

    def error(self, error: E) -> E:
        """The same error, and what caused it, without them: in its message and everything else that it carries."""
        links: list[BaseException | None] = [error]
        seen: set[int] = set()
        while links:
            link = links.pop()
            if link is None or id(link) in seen:
                continue
            seen.add(id(link))
            link.args = tuple(self.value(entry) for entry in link.args)
            for name, value in vars(link).items():
                setattr(link, name, self.value(value))
            links += (link.__cause__, link.__context__)
        return error

    def value(self, value: Any) -> Any:
        """A value without them: text, bytes, and what lists, tuples and mappings hold of these."""
        match value:
            case str():
                return self.text(value)
            case bytes():
                return self.whole(value)
            case list():
                return [self.value(entry) for entry in value]
            case tuple() if type(value) is tuple:
                return tuple(self.value(entry) for entry in value)
            case MutableMapping():
                make: Any = type(value)
                return make([(self.value(name), self.value(entry)) for name, entry in value.items()])
        return value


class Redaction:
    """Redacts one stream, cut anywhere."""

    __slots__ = ("_begins", "_held", "_needles", "_secrets")

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._needles, self._begins = secrets.needles, secrets.begins
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What may go on of ``data`` and of what was held: all but an end that may be a credential's beginning."""
        if self._held:
            data, self._held = self._held + data, b""
        # Every chunk of a stream comes by here: the usual one is looked at, and nothing is called for it.
        for needle in self._needles:
            if data.find(needle) >= 0:
                data = self._secrets.piece(data)
                break
        else:
            if _BACKSLASH in data and data.find(_ESCAPE) >= 0:
                data = self._secrets.piece(data)
        if data and data[-1] in self._begins and (cut := self._secrets.tail(data)):
            self._held, data = data[-cut:], data[:-cut]
        return data

    def end(self) -> bytes:
        """What was held: it was no credential."""
        held, self._held = self._held, b""
        return held


def redact(text: str, secrets: Secrets | None) -> str:
    """``text`` without these; as it is where there are none."""
    return text if secrets is None else secrets.text(text)


def secrets_of(
    headers: Iterable[tuple[str, str]], cookies: Mapping[str, str] | None = None, passwords: Iterable[str] = ()
) -> Secrets | None:
    """What of a request is a credential: its headers but those known to be public, its cookies, passwords of its addresses.

    ``None`` if there is nothing: placeholders, and values too short to be distinguished, are not searched for.
    """
    secrets = {secret for name, value in headers for secret in _of_header(name.lower(), value.strip())}
    secrets |= {value for value in (cookies or {}).values() if len(value) >= _LEAST_COOKIE}
    secrets |= {password for password in passwords if len(password) >= _LEAST_PASSWORD}
    secrets -= _PLACEHOLDERS
    return _secrets(frozenset(secrets)) if secrets else None


@lru_cache(maxsize=256)
def _secrets(secrets: frozenset[str]) -> Secrets:
    return Secrets(secrets)


def _of_header(name: str, value: str) -> Iterator[str]:
    if name in _PUBLIC or name.endswith(_PUBLIC_KINDS):
        return
    if name == "cookie":
        pairs = (pair.strip().partition("=")[2] for pair in value.split(";"))
        yield from (cookie for cookie in pairs if len(cookie) >= _LEAST_COOKIE)
        return
    scheme = _SCHEME.match(value)
    token = value[scheme.end() :] if scheme else value
    if len(token) >= _LEAST:
        yield token
    if scheme and scheme[0].lower().startswith("basic"):
        yield from _of_basic(token)


def _of_basic(token: str) -> Iterator[str]:
    try:
        user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
    except ValueError:
        return
    if len(password or user) >= _LEAST_PASSWORD:
        yield password or user  # a token may be alone before the ``@``


def _forms(secret: str) -> Iterator[str]:
    """Its spellings in plain text, JSON and URLs; for most keys they are all the same."""
    yield secret
    for text in (json.dumps(secret), json.dumps(secret, ensure_ascii=False)):
        yield text[1:-1]
        yield text[1:-1].replace("/", "\\/")
    for percent in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield percent
        yield re.sub("%..", lambda code: code[0].lower(), percent)


def _rare_forms(secret: str) -> Iterator[str]:
    data = secret.encode("utf-8", "surrogatepass")
    yield base64.b64encode(data).decode().rstrip("=")
    yield base64.urlsafe_b64encode(data).decode().rstrip("=")
    yield html.escape(secret)


def _escaped(secret: str) -> bytes:
    """Its pattern in JSON, each letter as itself or by its code: some libraries write ``+`` as ``\\u002b``, and ``\\/`` too."""
    return b"".join(map(_letter, secret))


def _letter(letter: str) -> bytes:
    """As JSON writes it, with an escape or not, and by its code, with hexadecimal digits in either case."""
    code = "".join(f"\\\\u{unit:04x}" for unit in _units(letter)).encode()
    written = re.escape(json.dumps(letter, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass"))
    # No spelling begins another one, or a text of backslashes could be read in very many ways.
    return b"(?:%b|(?i:%b))" % (rb"\\?/" if letter == "/" else written, code)


def _units(letter: str) -> memoryview:
    """Its code units in UTF-16."""
    return memoryview(letter.encode("utf-16", "surrogatepass")[2:]).cast("H")


def _by_length(forms: Iterable[str]) -> tuple[bytes, ...]:
    """The longest first: one may be a part of another."""
    return tuple(sorted({form.encode("utf-8", "surrogatepass") for form in forms}, key=len, reverse=True))


def _without(data: bytes, needles: tuple[bytes, ...]) -> bytes:
    for needle in needles:
        if data.find(needle) >= 0:  # ``in`` takes twice as long
            data = data.replace(needle, MASK.encode())
    return data


def bare_url(url: str) -> str:
    """A URL without user, password, query and fragment: what may be shown of it. It may have placeholders, ``{name}``."""
    scheme, separator, rest = url.partition("://")
    shown = re.split("[?#]", rest, maxsplit=1)[0]
    authority, slash, path = shown.partition("/")
    host = authority.rpartition("@")[2]
    # An "@" after the authority may be that of a password with a letter in it that should have been escaped.
    if not separator or "@" in rest[len(authority) :]:
        return MASK if "@" in url else url
    return f"{scheme}://{host}{slash}{path}"


T = TypeVar("T", str, bytes)


def _overlap(text: T, secret: T) -> int:
    """The length of the longest end of ``text`` that ``secret`` begins with, all of it excluded."""
    start = max(0, len(text) - len(secret) + 1)
    while (start := text.find(secret[:1], start)) >= 0:
        if secret.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0

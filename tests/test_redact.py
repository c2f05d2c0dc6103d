"""Exact redaction: what counts as a credential of a request, and every spelling of it that a reply may use."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

import pytest

from polychat.errors import redact
from polychat.redact import MASK, Redaction, Secrets, secrets_of

KEY = 'sk-é/+ "<&key?>~~~'
"""Its spellings differ: in JSON, URLs, HTML, and in both alphabets of base64."""


def spellings() -> Iterable[str]:
    yield from (KEY, json.dumps(KEY)[1:-1], json.dumps(KEY, ensure_ascii=False)[1:-1].replace("/", "\\/"))
    yield from (quote(KEY), quote(KEY, safe=""), quote_plus(KEY), quote(KEY, safe="").lower())
    yield html.escape(KEY)
    yield base64.b64encode(KEY.encode()).decode()
    yield base64.urlsafe_b64encode(KEY.encode()).decode()


@pytest.mark.parametrize("spelling", sorted(set(spellings())))
def test_every_spelling_is_found_in_texts_bodies_and_headers(spelling: str) -> None:
    """Whole; what stands around it stays, and what has none of it is the same object."""
    assert base64.b64encode(KEY.encode()) != base64.urlsafe_b64encode(KEY.encode())
    secrets = Secrets([KEY])
    masked = secrets.text(f"before {spelling} after")
    assert masked.replace("=", "") == f"before {MASK} after"
    assert secrets.whole(f"before {spelling} after".encode()).decode().replace("=", "") == masked.replace("=", "")
    fields = [(b"x-plain", b"nothing to be seen here, whatever it is"), (b"x-echo", spelling.encode())]
    plain, (_, echo) = secrets.headers(fields)
    assert (plain, echo.rstrip(b"=")) == (fields[0], MASK.encode())
    assert secrets.headers(fields[:1]) == fields[:1]
    assert spelling not in str(secrets.value({"a": [(spelling, spelling.encode())]}))


def test_letters_by_their_codes_are_found() -> None:
    """As some libraries write JSON: all of them, in both cases of letters, or one."""
    key = "sk-0123+/456"
    secrets = Secrets([key])
    for codes in ("".join(f"\\u{ord(letter):04X}" for letter in key), key.replace("+", "\\u002b").replace("/", "\\/")):
        assert (secrets.text(codes), secrets.piece(codes.encode())) == (MASK, MASK.encode())


def test_letters_that_json_escapes_are_found_by_their_codes_too() -> None:
    """Of a key with any of them, in any mixture: capitals in codes, halves of an emoji, quotes and backslashes."""
    key = 'sk-\u00e9"\\\U0001f600x'
    secrets = Secrets([key])
    for spelling in (
        r"sk-\u00E9\"\\\uD83D\uDE00x",
        r"sk-\u00e9\u0022\u005C\uD83d\uDE00\u0078",
        "sk-\u00e9\\u0022\\\\\U0001f600\\u0078",
    ):
        assert json.loads(f'"{spelling}"') == key
        assert (secrets.text(spelling), secrets.piece(spelling.encode())) == (MASK, MASK.encode())


def test_a_stream_holds_back_no_more_than_may_begin_a_credential() -> None:
    """At every split, one of nothing too, the key is masked, all else goes on, and what may begin one is given at the end."""
    key = "sk-0123456789"
    data = f"a{key}b{key[:5]}".encode()
    for split in range(len(data) + 1):
        redaction = Redaction(Secrets([key]))
        came = redaction.feed(data[:split]) + redaction.feed(data[split:])
        assert (came, redaction.end(), redaction.end()) == (f"a{MASK}b".encode(), key[:5].encode(), b"")


def test_shortened_texts_show_no_beginning_of_a_credential() -> None:
    """From six letters on, before each ellipsis; fewer may be the beginning of anything, and a text's own end is none."""
    secrets = Secrets(["sk-0123456789"])
    assert secrets.text("a sk-012… b sk-01…") == f"a {MASK}… b sk-01…"
    assert secrets.text("sk-0123") == "sk-0123"


def test_what_of_a_request_is_a_credential() -> None:
    """Long values of headers that are not known to be public, both halves of a login, long cookies, and passwords."""
    login = base64.b64encode(b"user:pass-word").decode()
    alone = base64.b64encode(b"token-alone:").decode()
    headers = [
        ("Authorization", "Bearer bearer-key"),
        ("x-api-key", "the-key-1"),
        ("x-short", "1234567"),
        ("X-Basic", f"basic {login}"),
        ("x-alone", f"Basic {alone}"),
        ("user-agent", "public-agent"),
        ("anthropic-version", "2023-06-01"),
        ("cookie", "a=cookie-of-12-letters; b=short"),
        ("api-key", "not-needed"),
    ]
    secrets = secrets_of(headers, {"c": "another-cookie", "d": "consent"}, ["secret", "short"])
    assert secrets is not None
    text = " ".join([*(value for _, value in headers), "pass-word token-alone another-cookie consent secret short"])
    harmless = ["Bearer", "1234567", "basic", "Basic", "public-agent", "2023-06-01", "a", "b", "short", "not-needed"]
    words = re.split("[ ;=]+", secrets.text(text).replace(MASK, " "))
    assert words == [*harmless, "consent", "short"]
    assert secrets_of([("api-key", "not-needed"), ("x-short", "1234567")], {"d": "consent"}, ["short"]) is None


def test_foreign_text_is_cut_before_it_is_looked_at() -> None:
    """However long it is: twenty letters for each that may be shown are read, eighty bytes are decoded."""

    class Watched(bytes):
        asked: slice

        def __getitem__(self, key: object) -> bytes:  # type: ignore[override]  # a slice is all that is asked for
            assert isinstance(key, slice)
            self.asked = key
            return super().__getitem__(key)

    assert (redact(" " * 200 + "seen", 10), redact(" " * 196 + "seen", 10)) == ("", "seen")
    data = Watched(b"x" * 4000)
    assert redact(data, 10) == "x" * 9 + "…"
    assert data.asked == slice(None, 800)

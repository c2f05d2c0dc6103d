"""The user's own cookies: whose they are, the files that hold them, the browsers, and what is never shown."""

from __future__ import annotations

import asyncio
import http.cookiejar
import inspect
import ipaddress
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polychat.errors import BadInput
from polychat.transport import cookies_for, get_cookies
from polychat.transport.cookie_domains import Cookie, family, host_name, reaches
from polychat.transport.cookie_files import Read, read
from polychat.transport.cookies import LIMIT, ExposedCookies, UnusedCookies

NOW = 1_790_000_000.0
"""21 September 2026."""
LATER = int(NOW) + 86_400 * 300
PAST = int(NOW) - 86_400

HOST = "chat-gpt.org"

NETSCAPE = """\
# Netscape HTTP Cookie File
# https://curl.se/docs/http-cookies.html
# This is a generated file! Do not edit.

.chat-gpt.org\tTRUE\t/\tTRUE\t1815920000\t_ga\tGA1.1.1092384756.1789991111
#HttpOnly_chat-gpt.org\tFALSE\t/\tTRUE\t0\tPHPSESSID\tq5s9u2hv8k1rj0c4n7m3l6t2ea
#HttpOnly_.chat-gpt.org\tTRUE\t/\tTRUE\t1815920000.742\tcf_clearance\tN0.x-1789990000-1.2.1.1-abc
chat-gpt.org\tFALSE\t/\tFALSE\t1815920000\tconsent\t
.chat-gpt.org\tTRUE\t/\tFALSE\t1789000000\told\tlong-gone
.example.com\tTRUE\t/\tFALSE\t1815920000\tother\tnot-ours
"""
NETSCAPE_HOLDS = {
    "_ga": "GA1.1.1092384756.1789991111",
    "PHPSESSID": "q5s9u2hv8k1rj0c4n7m3l6t2ea",
    "cf_clearance": "N0.x-1789990000-1.2.1.1-abc",
    "consent": "",
}

EDIT_THIS_COOKIE = """\
[
{
    "domain": ".chat-gpt.org",
    "expirationDate": 1815920000.742317,
    "hostOnly": false,
    "httpOnly": false,
    "name": "_ga",
    "path": "/",
    "sameSite": "unspecified",
    "secure": false,
    "session": false,
    "storeId": "0",
    "value": "GA1.1.1092384756.1789991111",
    "id": 1
},
{
    "domain": "chat-gpt.org",
    "hostOnly": true,
    "httpOnly": true,
    "name": "PHPSESSID",
    "path": "/",
    "sameSite": "unspecified",
    "secure": true,
    "session": true,
    "storeId": "0",
    "value": "q5s9u2hv8k1rj0c4n7m3l6t2ea",
    "id": 2
},
{
    "domain": ".chat-gpt.org",
    "expirationDate": 1789000000,
    "hostOnly": false,
    "httpOnly": true,
    "name": "old",
    "path": "/",
    "sameSite": "no_restriction",
    "secure": true,
    "session": false,
    "storeId": "0",
    "value": "long-gone",
    "id": 3
}
]
"""

COOKIE_EDITOR = """\
[
    {
        "name": "_ga",
        "value": "GA1.1.1092384756.1789991111",
        "domain": ".chat-gpt.org",
        "hostOnly": false,
        "path": "/",
        "secure": false,
        "httpOnly": false,
        "sameSite": null,
        "session": false,
        "firstPartyDomain": "",
        "partitionKey": null,
        "expirationDate": 1815920000,
        "storeId": null
    },
    {
        "name": "PHPSESSID",
        "value": "q5s9u2hv8k1rj0c4n7m3l6t2ea",
        "domain": "chat-gpt.org",
        "hostOnly": true,
        "path": "/",
        "secure": true,
        "httpOnly": true,
        "sameSite": "lax",
        "session": true,
        "firstPartyDomain": "",
        "partitionKey": null,
        "storeId": null
    }
]
"""

PLAYWRIGHT = """\
{
  "cookies": [
    {"name": "_ga", "value": "GA1.1.1092384756.1789991111", "domain": ".chat-gpt.org", "path": "/", "expires": 1815920000.5,
     "httpOnly": false, "secure": false, "sameSite": "Lax"},
    {"name": "PHPSESSID", "value": "q5s9u2hv8k1rj0c4n7m3l6t2ea", "domain": "chat-gpt.org", "path": "/", "expires": -1,
     "httpOnly": true, "secure": true, "sameSite": "Lax"}
  ],
  "origins": []
}
"""

BY_HOST = '{"chat-gpt.org": {"_ga": "GA1.1.1092384756.1789991111", "PHPSESSID": "q5s9u2hv8k1rj0c4n7m3l6t2ea"}}'

EXPORTED = {"_ga": "GA1.1.1092384756.1789991111", "PHPSESSID": "q5s9u2hv8k1rj0c4n7m3l6t2ea"}

DEVTOOLS_HAR = """\
{
  "log": {
    "version": "1.2",
    "creator": {"name": "WebInspector", "version": "537.36"},
    "pages": [{"startedDateTime": "2026-09-20T18:20:01.114Z", "id": "page_1", "title": "https://chat-gpt.org/chat",
               "pageTimings": {"onContentLoad": 411.2, "onLoad": 903.7}}],
    "entries": [
      {
        "_initiator": {"type": "other"}, "_priority": "VeryHigh", "_resourceType": "document",
        "cache": {}, "connection": "443", "pageref": "page_1",
        "request": {
          "method": "GET", "url": "https://chat-gpt.org/chat", "httpVersion": "http/2.0",
          "headers": [
            {"name": ":authority", "value": "chat-gpt.org"}, {"name": ":method", "value": "GET"},
            {"name": "cookie", "value": "_ga=GA1.1.1092384756.1789991111; PHPSESSID=before-the-login"},
            {"name": "user-agent", "value": "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0.0.0 Safari/537.36"}
          ],
          "queryString": [],
          "cookies": [
            {"name": "_ga", "value": "GA1.1.1092384756.1789991111", "path": "/", "domain": ".chat-gpt.org",
             "expires": "2027-07-18T09:33:20.742Z", "httpOnly": false, "secure": false},
            {"name": "PHPSESSID", "value": "before-the-login", "path": "/", "domain": "chat-gpt.org",
             "expires": "1969-12-31T23:59:59.000Z", "httpOnly": true, "secure": true, "sameSite": "Lax"}
          ],
          "headersSize": -1, "bodySize": 0
        },
        "response": {
          "status": 200, "statusText": "", "httpVersion": "http/2.0",
          "headers": [
            {"name": "content-type", "value": "text/html; charset=utf-8"},
            {"name": "set-cookie", "value": "PHPSESSID=q5s9u2hv8k1rj0c4n7m3l6t2ea; path=/; secure; HttpOnly\\nseen=1; max-age=60"}
          ],
          "cookies": [],
          "content": {"size": 14, "mimeType": "text/html", "text": "<!doctype html>"},
          "redirectURL": "", "headersSize": -1, "bodySize": -1, "_transferSize": 8120, "_error": null
        },
        "serverIPAddress": "203.0.113.7", "startedDateTime": "2026-09-20T18:20:01.110Z", "time": 391.5,
        "timings": {"blocked": 2.3, "dns": 0.01, "ssl": 20.1, "connect": 40.2, "send": 0.3, "wait": 300, "receive": 1.2}
      },
      {
        "request": {"method": "GET", "url": "https://www.google-analytics.com/collect?v=2", "headers": [],
                    "cookies": [{"name": "NID", "value": "theirs", "path": "/", "domain": ".google-analytics.com",
                                 "expires": "2027-07-18T09:33:20.742Z", "httpOnly": true, "secure": true}]},
        "response": {"status": 204, "headers": [], "cookies": []},
        "startedDateTime": "2026-09-20T18:20:02.000Z"
      },
      {
        "request": {"method": "GET", "url": "data:image/svg+xml;utf8,<svg/>", "headers": [], "cookies": []},
        "response": {"status": 200, "headers": [], "cookies": []},
        "startedDateTime": "2026-09-20T18:20:02.100Z"
      }
    ]
  }
}
"""


@pytest.fixture(autouse=True)
def _no_browsers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's browser is opened here, unless a test brings one."""
    monkeypatch.setitem(sys.modules, "browser_cookie3", None)


def put(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``named(text)`` writes a file and names it in POLYCHAT_COOKIES."""

    def name(text: str | bytes, called: str = "cookies.txt", mode: int = 0o600) -> Path:
        path = put(tmp_path / called, text, mode)
        monkeypatch.setenv("POLYCHAT_COOKIES", str(path))
        return path

    return name


def line(name: str = "n", value: str = "v", domain: str = HOST, *, path: str = "/", expires: int = 0, wide: str = "FALSE") -> str:
    return f"{domain}\t{wide}\t{path}\tFALSE\t{expires}\t{name}\t{value}\n"


def held(domain: str = HOST, **options: Any) -> dict[str, str]:
    return get_cookies(domain, now=lambda: NOW, **options)


def values(text: str | bytes, host: str = HOST) -> dict[str, str]:
    """What a file holds for a host, where nothing in it is damaged."""
    found = read(text.encode() if isinstance(text, str) else text, host)
    assert found.damaged == []
    return {cookie.name: cookie.value for cookie in found.cookies}


# Whose a cookie is

LABELS = st.lists(st.sampled_from(["a", "b", "ab", "c-d", "xn--e1afmkfd", "org", "uk", "co", "com"]), min_size=1, max_size=4)
HOSTS = LABELS.map(".".join)


@pytest.mark.parametrize(
    ("domain", "host", "goes"),
    [
        ("chat-gpt.org", "chat-gpt.org", True),
        ("chat-gpt.org", "www.chat-gpt.org", True),
        ("chat-gpt.org", "a.b.chat-gpt.org", True),
        ("chat-gpt.org", "evilchat-gpt.org", False),
        ("chat-gpt.org", "chat-gpt.org.evil.example", False),
        ("www.chat-gpt.org", "chat-gpt.org", False),
        ("org", "chat-gpt.org", False),
        ("co.uk", "bank.co.uk", False),
        ("bank.co.uk", "www.bank.co.uk", True),
        ("localhost", "localhost", True),
        ("localhost", "a.localhost", False),
        ("0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("1.127.1", "a.1.127.1", False),
        ("::1", "::1", True),
    ],
)
def test_a_domain_reaches_itself_and_what_stands_below_it(domain: str, host: str, goes: bool) -> None:
    """RFC 6265's domain-match: no substrings, nothing below an address, nothing below a suffix that strangers share."""
    assert reaches(domain, host) is goes
    assert Cookie("n", "v", domain, host_only=False).goes_to(host) is goes


@given(HOSTS, st.text("ab-c.", min_size=1, max_size=6))
def test_no_match_begins_within_a_label(domain: str, before: str) -> None:
    """What stands before a domain without a dot between makes it another domain."""
    assert before.endswith(".") or not reaches(domain, before + domain)
    assert not reaches(domain, domain + before)


@given(LABELS, LABELS)
def test_matching_is_by_labels_from_the_right(domain: list[str], host: list[str]) -> None:
    """A match is one of whole labels, and of as many as the domain has."""
    alike = host[-len(domain) :] == domain
    shared = len(domain) == 1 or (len(domain) == 2 and domain[0] in ("co", "com") and domain[1] == "uk")
    assert reaches(".".join(domain), ".".join(host)) is (host == domain or (alike and not shared))


@given(HOSTS, HOSTS, HOSTS)
def test_matching_goes_one_way_and_on(first: str, second: str, third: str) -> None:
    """Two hosts reach each other only if they are one; and who reaches a host reaches what that one reaches."""
    assert not (reaches(first, second) and reaches(second, first)) or first == second
    assert not (reaches(first, second) and reaches(second, third)) or reaches(first, third)


@given(HOSTS, HOSTS)
def test_what_reaches_a_host_is_of_its_family(domain: str, host: str) -> None:
    """The text that browsers are searched with is in every domain that could match."""
    assert not reaches(domain, host) or family(host) in domain


@given(st.ip_addresses(), st.ip_addresses())
def test_an_address_is_reached_by_itself_alone(one: ipaddress.IPv4Address, two: ipaddress.IPv4Address) -> None:
    """IP addresses match as a whole, however they are written."""
    host, other = host_name(str(one)), host_name(two.exploded.upper())
    assert host
    assert other
    assert reaches(host, other) is (one == two)
    assert not reaches(host.partition(".")[2], host)


@given(HOSTS, st.data())
def test_case_and_outer_dots_do_not_tell_hosts_apart(host: str, data: st.DataObject) -> None:
    """A host is the same in capitals, with a dot before it and with one after it."""
    dressed = "".join(letter.upper() if data.draw(st.booleans()) else letter for letter in host)
    assert host_name(dressed) == host_name(f".{dressed}") == host_name(f"{dressed}.") == host


@given(st.one_of(st.text(max_size=30), HOSTS))
def test_a_host_name_is_its_own_host_name(text: str) -> None:
    """What is once written as a host stays as it is; what is none is ``None``, whatever the text."""
    name = host_name(text)
    assert name is None or host_name(name) == name


def test_a_host_may_be_written_in_its_own_script() -> None:
    """A name beyond ASCII is the one that is connected to: straße.de is not strasse.de."""
    jar = line("n", "v", "xn--e1afmkfd.xn--p1ai") + line("s", "ss", "strasse.de") + line("s", "ß", "straße.de")
    assert values(jar, host_name("Пример.рф") or "") == {"n": "v"}
    assert values(jar, host_name("STRASSE.de") or "") == {"s": "ss"}
    assert values(jar, host_name("straße.de") or "") == {"s": "ß"}


@pytest.mark.parametrize("domain", ["", ".", " ", "a..b", "a b", "https://chat-gpt.org/chat", "chat-gpt.org:443", "chat-gpt.org/", "\ud800.org"])
def test_what_is_no_host_is_refused(domain: str) -> None:
    """A URL, a port, an empty name: ``BadInput`` that names the argument."""
    with pytest.raises(BadInput, match="not a host") as refused:
        get_cookies(domain)
    assert refused.value.field == "domain"


# Files


def test_cookies_txt(named: Any) -> None:
    """``#HttpOnly_`` is a cookie and not a comment, 0 a session, an empty value a value; the expired and others' are left out."""
    named(NETSCAPE)
    assert held() == NETSCAPE_HOLDS


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
def test_cookies_txt_from_any_system(named: Any, end: str, mark: bytes) -> None:
    """Line ends of any system and a byte order mark change nothing."""
    named(mark + NETSCAPE.replace("\n", end).encode())
    assert held() == NETSCAPE_HOLDS


def test_only_line_ends_end_a_line(named: Any) -> None:
    """A value may hold what Python takes for a line end, such as U+2028."""
    named(line("n", "a\u2028b\x85c"))
    assert held() == {"n": "a\u2028b\x85c"}


def test_an_editor_may_trim_the_tab_of_an_empty_value() -> None:
    """A line of six fields is one whose value is empty."""
    assert values(f"{HOST}\tFALSE\t/\tFALSE\t0\tconsent\n") == {"consent": ""}


@pytest.mark.parametrize("text", [EDIT_THIS_COOKIE, COOKIE_EDITOR, PLAYWRIGHT, BY_HOST], ids=["EditThisCookie", "Cookie-Editor", "Playwright", "by host"])
@pytest.mark.parametrize("called", ["export.json", "cookies.txt"])
def test_json_exports(named: Any, text: str, called: str) -> None:
    """The exports of extensions and of browser automation are told by what they hold, not by the file's name."""
    named(text, called)
    assert held() == EXPORTED


def test_host_only_cookies_stay_with_their_host(named: Any) -> None:
    """What is told, or else the dot before the domain, says whether a subdomain gets a cookie; an inner dot is not it."""
    for text in (NETSCAPE, EDIT_THIS_COOKIE, COOKIE_EDITOR, PLAYWRIGHT):
        named(text)
        assert "_ga" in held("www.chat-gpt.org")
        assert "PHPSESSID" not in held("www.chat-gpt.org")
    named(BY_HOST)
    assert held("www.chat-gpt.org") == {}


def test_the_narrower_reading_counts() -> None:
    """Where the flag says host-only and the dot says domain, the cookie goes to the host alone."""
    assert values(line(domain=f".{HOST}", wide="FALSE"), f"www.{HOST}") == {}
    assert values(line(domain=HOST, wide="TRUE"), f"www.{HOST}") == {"n": "v"}


@pytest.mark.parametrize(
    ("expires", "live"),
    [(None, True), (0, True), (-1, True), (NOW + 1, True), (NOW, False), (1, False), (str(LATER), True), (LATER * 1000, True), (PAST * 1000, False), ("2027-07-18T09:33:20Z", True), ("2026-09-20T18:20:01", False), ("1970-01-01T00:00:00.000Z", False), (253402300799, True), (float("inf"), True)],
)
def test_expiry(named: Any, expires: object, live: bool) -> None:
    """Seconds, Firefox's milliseconds, digits and ISO dates; 0 and less are a session's; at its expiry a cookie is out."""
    named(json.dumps([{"name": "n", "value": "v", "domain": HOST, "expires": expires}, {"name": "x", "value": "x", "domain": HOST}]))
    assert ("n" in held()) is live


def test_the_clock_is_given(named: Any) -> None:
    """The same file holds a cookie until the clock passes its expiry."""
    named(line(expires=1000) + line("session"))
    assert get_cookies(HOST, now=lambda: 999) == {"n": "v", "session": "v"}
    assert get_cookies(HOST, now=lambda: 1000) == {"session": "v"}


def test_secure_cookies_may_be_left_out(named: Any) -> None:
    """``secure=False`` leaves out what only https may carry."""
    named(NETSCAPE)
    assert set(held(secure=False)) == {"consent"}


PRINTABLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
NAMES = st.text(PRINTABLE.filter(lambda letter: letter not in ";="), min_size=1, max_size=8)
VALUES = st.text(PRINTABLE.filter(lambda letter: letter != ";"), max_size=12)


@given(st.dictionaries(NAMES, st.tuples(VALUES, st.booleans(), st.booleans(), st.booleans(), st.none() | st.integers(1, 2**33)), max_size=5))
def test_what_the_standard_library_writes_we_read(jar: dict[str, tuple[str, bool, bool, bool, int | None]]) -> None:
    """A cookies.txt of ``http.cookiejar`` comes back as it went: names, values, domains, flags, expiry."""
    written = http.cookiejar.MozillaCookieJar()
    for name, (value, wide, secure, http_only, expires) in jar.items():
        domain = f".{HOST}" if wide else HOST
        rest = {"HttpOnly": None} if http_only else {}
        fields = (0, name, value, None, False, domain, wide, wide, "/", True, secure, expires, expires is None, None, None)
        written.set_cookie(http.cookiejar.Cookie(*fields, rest))  # type: ignore[arg-type]  # typeshed wants str in rest
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "cookies.txt")
        written.save(str(file), ignore_discard=True, ignore_expires=True)
        found = read(file.read_bytes(), HOST)
    assert found.damaged == []
    assert {c.name: (c.value, not c.host_only, c.secure, c.expires) for c in found.cookies} == {
        name: (value, wide, secure, expires) for name, (value, wide, secure, _, expires) in jar.items()
    }


# HAR


def entry(url: str, started: str = "2026-09-20T18:20:01.110Z", *, sent: str = "", given: str = "", **parts: Any) -> dict[str, Any]:
    """A HAR's entry with its cookies in the headers; ``parts`` go over ``request`` and ``response``."""
    request = {"url": url, "headers": [{"name": "Cookie", "value": sent}] if sent else [], **parts.get("request", {})}
    response = {"headers": [{"name": "Set-Cookie", "value": given}] if given else [], **parts.get("response", {})}
    return {"startedDateTime": started, "request": request, "response": response}


def har(*entries: object) -> str:
    return json.dumps({"log": {"version": "1.2", "entries": entries}})


def test_a_recording_of_devtools(named: Any) -> None:
    """What was sent and what was set, the later one last; a session's date of 1969 is one; other sites' are not ours."""
    named(DEVTOOLS_HAR, "chat-gpt.org.har")
    assert held() == EXPORTED  # seen=1 lived for a minute
    assert get_cookies(HOST, now=lambda: NOW - 84_390) == EXPORTED | {"seen": "1"}


def test_the_latest_entry_has_the_last_word() -> None:
    """Entries count by when they began, not by where they stand; a name that was taken back is gone."""
    url = f"https://{HOST}/api"
    early = entry(url, "2026-09-20T18:20:01Z", sent="a=1; b=1; c=1")
    late = entry(url, "2026-09-20T18:20:03Z", sent="a=3", given="c=; Max-Age=0")
    middle = entry(url, "2026-09-20T18:20:02Z", sent="a=2; b=2")
    found = read(har(late, early, middle).encode(), HOST).cookies
    assert {c.name: c.value for c in found if c.expires is None} == {"a": "3", "b": "2"}


@pytest.mark.parametrize("how", ["Max-Age=0", "max-age=-1", "Expires=Thu, 01 Jan 1970 00:00:00 GMT", "expires=Thu, 01-Jan-1970 00:00:01 GMT"])
def test_a_recorded_deletion_deletes(named: Any, how: str) -> None:
    """The ways a site takes a cookie back."""
    named(har(entry(f"https://{HOST}/", sent="sid=1; kept=1"), entry(f"https://{HOST}/logout", "2026-09-20T18:20:02Z", given=f"sid=deleted; {how}")))
    assert held() == {"kept": "1"}


@pytest.mark.parametrize(("attributes", "live"), [("Max-Age=86400000; Expires=Thu, 01 Jan 1970 00:00:00 GMT", True), ("Max-Age=9; Expires=Fri, 01 Jan 2100 00:00:00 GMT", False), ("Max-Age=soon; Expires=Fri, 01 Jan 2100 00:00:00 GMT", True), ("Expires=whenever", True), ("Max-Age=999999999999", True), ("", True)])
def test_max_age_goes_before_expires(named: Any, attributes: str, live: bool) -> None:
    """Max-Age counts from the entry and goes before Expires; what is no date leaves a session's cookie."""
    named(har(entry(f"https://{HOST}/", given=f"n=v; {attributes}")))
    assert held(browsers=False) == ({"n": "v"} if live else {}) if live else True
    if not live:
        assert [c.expires for c in read(Path(os.environ["POLYCHAT_COOKIES"]).read_bytes(), HOST).cookies] == [1789928410.11]


def test_headers_and_lists_say_the_same() -> None:
    """Cookies are taken from the lists of an entry, and from its headers where the lists are empty or missing."""
    cookies = [{"name": "n", "value": "v"}]
    for parts in ({"request": {"cookies": cookies}}, {"response": {"cookies": cookies}}):
        assert values(har(entry(f"https://{HOST}/", **parts))) == {"n": "v"}
    assert values(har(entry(f"https://{HOST}/", sent="n=v"))) == {"n": "v"}
    assert values(har(entry(f"https://{HOST}/", given="n=v", response={"cookies": [], "headers": [{"name": "set-cookie", "value": "n=v"}]}))) == {"n": "v"}


def test_a_recorded_cookie_without_a_domain_is_its_hosts_alone() -> None:
    """A Cookie header does not say whose the cookie is: it goes back to where it went, and over https if it went so."""
    recorded = har(entry(f"https://{HOST}/", sent="n=v"))
    assert values(recorded, f"www.{HOST}") == {}
    assert [cookie.secure for cookie in read(recorded.encode(), HOST).cookies] == [True]
    assert [cookie.secure for cookie in read(recorded.replace("https:", "http:").encode(), HOST).cookies] == [False]


def test_a_cookie_of_the_domain_reaches_its_other_hosts() -> None:
    """What www sets for the whole domain reaches the domain; of two with a name, the host's own entry has the last word."""
    www = f"https://www.{HOST}/"
    assert values(har(entry(www, given=f"n=v; Domain={HOST}; Path=/"))) == {"n": "v"}
    assert values(har(entry(www, response={"cookies": [{"name": "n", "value": "v", "domain": HOST}]}))) == {"n": "v"}
    own = entry(f"https://{HOST}/", "2026-09-20T18:00:00Z", sent="n=own")
    assert values(har(own, entry(www, given=f"n=v; Domain={HOST}"))) == {"n": "own"}


@pytest.mark.parametrize("domain", ["chat-gpt.org", "other.evil.org", "org"])
def test_nobody_sets_a_cookie_for_a_host_that_is_not_theirs(domain: str) -> None:
    """A Domain that the entry's own host is not under is not believed."""
    assert read(har(entry("https://www.evil.org/", given=f"n=v; Domain={domain}")).encode(), domain).cookies == []
    shared = har(entry("https://evil.co.uk/", given="n=v; Domain=co.uk"))
    assert read(shared.encode(), "bank.co.uk") == Read([], ["entry 1: its domain is not its host's to set"])


# Damage

DAMAGED = [
    ("chat-gpt.org\tFALSE\t/\tFALSE\t0\tS3CR3T", None),
    ("chat-gpt.org FALSE / FALSE 0 n S3CR3T", "seven fields"),
    ("chat-gpt.org\tFALSE\t/\tFALSE\t0\tn\tS3CR3T\tmore", "seven fields"),
    ("chat-gpt.org\tmaybe\t/\tFALSE\t0\tn\tS3CR3T", "TRUE nor FALSE"),
    ("chat-gpt.org\tFALSE\t/\tS3CR3T\t0\tn\tS3CR3T", "TRUE nor FALSE"),
    ("chat-gpt.org\tFALSE\t/\tFALSE\tS3CR3T\tn\tS3CR3T", "expiry"),
    ("chat-gpt.org\tFALSE\t/\tFALSE\t0\t\tS3CR3T", "name"),
    ("chat-gpt.org\tFALSE\t/\tFALSE\t0\tn\tS3CR3T;x=y", "value"),
    ("chat-gpt.org\tFALSE\t/\tFALSE\t0\tn\tS3CR3T\x00", "value"),
    ("chat gpt.org\tFALSE\t/\tFALSE\t0\tn\tS3CR3T", "domain"),
    ("<html>S3CR3T</html>", "seven fields"),
]


@pytest.mark.parametrize(("text", "why"), DAMAGED[1:])
def test_a_damaged_line_is_reported_and_the_others_are_used(named: Any, text: str, why: str) -> None:
    """The warning names the file, the line and the reason, and never the value."""
    file = named(f"# comment\r\n{line('good')}\r\n{text}\r\n{line('fine')}")
    with pytest.warns(UnusedCookies, match=rf"^{re.escape(str(file))}: line 5: .*{why}") as told:
        assert held() == {"good": "v", "fine": "v"}
    assert "S3CR3T" not in str(told[0].message)
    assert told[0].filename == __file__  # the warning points at who asked


def test_bytes_that_are_no_text_spoil_their_own_line(named: Any) -> None:
    """One line that is not UTF-8 is damaged; the file is not."""
    named(line("good").encode() + line("bad").encode().replace(b"\tv", b"\t\xff\xfe"))
    with pytest.warns(UnusedCookies, match="line 2"):
        assert held() == {"good": "v"}


def test_much_damage_is_one_warning(named: Any) -> None:
    """Of a file that is something else, three places are shown and the rest is counted."""
    named("nonsense\n" * 1000)
    with pytest.warns(UnusedCookies, match=r"line 1: .*; line 2: .*; line 3: .*; and 997 more$") as told:
        assert held() == {}
    assert len(told) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"name": "n", "value": "S3CR3T", "domain": "chat-gpt.org"', "line 1: this is not JSON"),
        ('{"log": {"entries": [\n{"request": S3CR3T', "line 2: this is not JSON"),
        ('{"n": "S3CR3T"}', "no cookies that name their host"),
        ('{"n": {"value": "S3CR3T"}, "m": 5}', "no cookies that name their host"),
        ('[["S3CR3T"]]', "cookie 1: it has no name, value and domain"),
        ('[{"name": "n", "value": "S3CR3T"}]', "cookie 1: it has no name, value and domain"),
        ('[{"name": "n", "value": ["S3CR3T"], "domain": "chat-gpt.org"}]', "cookie 1: its value is not text"),
        ('[{"name": "n", "value": "S3CR3T\\r\\nX-Y: z", "domain": "chat-gpt.org"}]', "cookie 1: its value is not text"),
        ('[{"name": "n", "value": "S3CR3T\\ud800", "domain": "chat-gpt.org"}]', "cookie 1: its value is not text"),
        ('[{"name": 5, "value": "S3CR3T", "domain": "chat-gpt.org"}]', "cookie 1: it has no name"),
        ('[{"name": "n", "value": "S3CR3T", "domain": "chat-gpt.org", "expires": "S3CR3T"}]', "cookie 1: its expiry"),
        ('[{"name": "n", "value": "S3CR3T", "domain": "chat-gpt.org", "expires": NaN}]', "cookie 1: its expiry"),
        ('[{"name": "n", "value": "S3CR3T", "domain": "https://chat-gpt.org/"}]', "cookie 1: its domain"),
        (har(entry("https://chat-gpt.org", response={"cookies": ["S3CR3T"]})), "entry 1: it has no name"),
        (har(entry("https://chat-gpt.org", given="n=S3CR3T\x07")), "entry 1: its value"),
        ("[" * 100_000, "this is not JSON that can be read"),
        ('[{"expires": 1' + "0" * 5000 + "}]", "this is not JSON that can be read"),
    ],
)
def test_damaged_json_is_reported(named: Any, text: str, says: str) -> None:
    """The warning says what and where, and never the value."""
    named(text, "export.json")
    with pytest.warns(UnusedCookies, match=re.escape(says)) as told:
        assert held() == {}
    assert "S3CR3T" not in str(told[0].message)


def test_one_odd_cookie_of_a_list_spoils_no_other(named: Any) -> None:
    """In an export and in a recording's entry, the cookies beside a damaged one are used."""
    good = {"name": "good", "value": "v", "domain": HOST}
    odd = {"name": "odd", "value": None, "domain": HOST}
    for text in (json.dumps([odd, good]), har(entry(f"https://{HOST}/", request={"cookies": [odd, good]}))):
        named(text)
        with pytest.warns(UnusedCookies, match="1: its value"):
            assert held() == {"good": "v"}


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "n", HOST, f"https://{HOST}/", "http://[", "Set-Cookie", "cookie", "a=b;c", "2026-09-20", "\ud800"]) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "value", "domain", "expires", "request", "response", "url", "headers", "cookies", "startedDateTime", HOST]), inner, max_size=6)
    ),
    max_leaves=25,
)


@given(JSONS, st.lists(st.fixed_dictionaries({"request": st.fixed_dictionaries({"url": st.just(f"https://{HOST}/"), "headers": JSONS, "cookies": JSONS}), "response": JSONS}), max_size=2))
def test_no_json_stops_the_reading(value: object, entries: list[object]) -> None:
    """Whatever JSON a file holds, reading it gives cookies and complaints and raises nothing."""
    read(json.dumps(value).encode(), HOST)
    read(json.dumps({"log": {"entries": [value, *entries]}}).encode(), HOST)


@given(st.binary(max_size=200))
def test_no_bytes_stop_the_reading(data: bytes) -> None:
    """Nor whatever bytes."""
    read(data, HOST)


SECRET = "S3CR3T"


@given(st.sampled_from([NETSCAPE, EDIT_THIS_COOKIE, COOKIE_EDITOR, BY_HOST, DEVTOOLS_HAR]), st.data())
def test_no_damage_shows_a_value(text: str, data: st.DataObject) -> None:
    """Wherever a file breaks, neither the complaint nor a cookie's ``repr`` holds a value."""
    text = text.replace("q5s9u2hv8k1rj0c4n7m3l6t2ea", SECRET)
    place, size = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 9))
    broken = text[:place] + data.draw(st.sampled_from(["", "\t", '"', "\n", "{", ";", "\x00", "é"])) + text[place + size :]
    found = read(broken.encode(), HOST)
    shown = " ".join(found.damaged) + " ".join(repr(cookie) for cookie in found.cookies if SECRET not in cookie.name + cookie.path)
    assert SECRET not in shown


# Which of several


@pytest.mark.parametrize(
    ("loser", "winner"),
    [
        (line(value="domain", domain=f".{HOST}", wide="TRUE", expires=LATER), line(value="host")),
        (line(value="part", path="/chat", expires=LATER), line(value="whole")),
        (line(value="sooner", expires=LATER - 1), line(value="later", expires=LATER)),
        (line(value="session"), line(value="dated", expires=LATER)),
        (line(value="expired", expires=PAST), line(value="live")),
        (line(value="elsewhere", domain=f"evil{HOST}", expires=LATER), line(value="here")),
    ],
    ids=["the closer domain", "the wider path", "the later expiry", "a date", "the live one", "the host's"],
)
def test_which_of_two_files_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loser: str, winner: str) -> None:
    """The closer domain, then the wider path, then the later expiry, whatever the order of the files and their age."""
    expected = winner.rstrip("\n").rpartition("\t")[2]
    for number, texts in enumerate([(loser, winner), (winner, loser)]):
        folder = tmp_path / str(number)
        for name, text in zip("ab", texts, strict=True):
            put(folder / f"{name}.txt", text)
        monkeypatch.setenv("POLYCHAT_COOKIES", str(folder))
        assert held() == {"n": expected}


def test_between_equals_the_newer_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two session cookies of one name: the one exported last, whatever the files are called."""
    monkeypatch.setenv("POLYCHAT_COOKIES", str(tmp_path))
    for name, written in (("a", 2000), ("b", 1000)):
        os.utime(put(tmp_path / f"{name}.txt", line(value=name)), (written, written))
    assert held() == {"n": "a"}
    os.utime(tmp_path / "b.txt", (3000, 3000))
    assert held() == {"n": "b"}


def test_files_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of several files and formats come together."""
    monkeypatch.setenv("POLYCHAT_COOKIES", str(tmp_path))
    put(tmp_path / "one.txt", line("a"))
    put(tmp_path / "two.JSON", BY_HOST)
    put(tmp_path / "three.har", DEVTOOLS_HAR)
    assert held() == EXPORTED | {"a": "v"}


# Where they lie


def test_the_configuration_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``cookies.txt`` and the folder ``cookies`` of the configuration folder are read; other kinds of files are not."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert held() == {}
    put(tmp_path / "polychat/cookies.txt", line("single"))
    put(tmp_path / "polychat/cookies/site.txt", line("folder"))
    put(tmp_path / "polychat/cookies/README.md", line("readme"))
    put(tmp_path / "polychat/cookies/below/site.txt", line("below"))
    assert held() == {"single": "v", "folder": "v"}


def test_without_xdg_it_is_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``~/.config`` where XDG_CONFIG_HOME is not set."""
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / ".config/polychat/cookies.txt", line())
    assert held() == {"n": "v"}


def test_a_named_path_stands_in_for_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: Any) -> None:
    """POLYCHAT_COOKIES, a file of any name or a folder, is read in place of the configuration folder; ``~`` is home."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / "config/polychat/cookies.txt", line("folder"))
    named(line("named"), "jar")
    assert held() == {"named": "v"}
    monkeypatch.setenv("POLYCHAT_COOKIES", "~/jar")
    assert held() == {"named": "v"}
    put(tmp_path / "jars/a.txt", line("listed"))
    monkeypatch.setenv("POLYCHAT_COOKIES", str(tmp_path / "jars"))
    assert held() == {"listed": "v"}
    monkeypatch.setenv("POLYCHAT_COOKIES", "")
    assert held() == {"folder": "v"}


def test_a_named_path_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is not there is an error, not the want of cookies."""
    monkeypatch.setenv("POLYCHAT_COOKIES", str(tmp_path / "nowhere.txt"))
    with pytest.raises(BadInput, match=r"POLYCHAT_COOKIES names .*nowhere\.txt, which is not there") as missing:
        held()
    assert missing.value.field == "POLYCHAT_COOKIES"


def test_a_file_may_be_too_large(named: Any) -> None:
    """What is over the limit is not read into memory as a whole; it is left out and named."""
    file = named(line())
    with file.open("r+b") as grown:
        grown.truncate(LIMIT + 1)
    with pytest.warns(UnusedCookies, match="larger than 67,108,864 bytes"):
        assert held() == {}


def test_a_folder_that_is_a_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system refuses is a warning with the system's reason; the rest is used."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    put(tmp_path / "polychat/cookies.txt", line())
    put(tmp_path / "polychat/cookies", line())
    with pytest.warns(UnusedCookies, match="cookies: Not a directory"):
        assert held() == {"n": "v"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a file that is there and cannot be read, by root either")
def test_a_file_that_cannot_be_read_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while reading is a warning that names the file."""
    monkeypatch.setenv("POLYCHAT_COOKIES", "/proc/self/mem")
    with pytest.warns(UnusedCookies, match=r"^/proc/self/mem: Input/output error"):
        assert held() == {}


def test_expired_files_say_so(named: Any) -> None:
    """Where nothing is found because an export is too old, the warning says to export again; else nothing is said."""
    named(line(expires=PAST))
    with pytest.warns(UnusedCookies, match=r"its cookies for chat-gpt\.org have expired: export them again"):
        assert held() == {}
    assert held("example.com") == {}
    named(line(expires=PAST) + line("live"))
    assert held() == {"live": "v"}


# Who may read them


@pytest.mark.skipif(os.name != "posix", reason="the mode says who may read on POSIX only")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_open_to_others_is_reported_once(named: Any, mode: int) -> None:
    """Its cookies are used; the warning holds the command that closes it, and comes once a process."""
    file = named(line(), "a jar's cookies.txt", mode)
    with pytest.warns(ExposedCookies, match="run  chmod 600 ") as told:
        assert held() == {"n": "v"}
    assert held() == {"n": "v"}
    command = str(told[0].message).partition("run  ")[2]
    subprocess.run(shlex.split(command), check=True)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_private_file_is_not_reported(named: Any) -> None:
    """Warnings are errors in tests: there is none."""
    named(line(), mode=0o400)
    assert held() == {"n": "v"}


# Browsers


def jar_of(*cookies: tuple[Any, ...]) -> http.cookiejar.CookieJar:
    jar = http.cookiejar.CookieJar()
    for domain, name, value, expires in cookies:
        wide = domain.startswith(".")
        jar.set_cookie(http.cookiejar.Cookie(0, name, value, None, False, domain, wide, wide, "/", True, True, expires, False, None, None, {}))
    return jar


Browser = Callable[..., http.cookiejar.CookieJar]


@pytest.fixture
def browsers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``browsers(…)`` puts a stand-in for browser_cookie3 in place that has these browsers."""

    def install(*every: Browser) -> None:
        module = types.ModuleType("browser_cookie3")
        vars(module).update(all_browsers=list(every), BrowserCookieError=type("BrowserCookieError", (Exception,), {}))
        monkeypatch.setitem(sys.modules, "browser_cookie3", module)

    return install


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The installed browser_cookie3."""
    monkeypatch.delitem(sys.modules, "browser_cookie3")
    return pytest.importorskip("browser_cookie3")


def chrome(cookie_file: Any = None, domain_name: str = "", key_file: Any = None) -> http.cookiejar.CookieJar:
    every = [(f".{HOST}", "a", "chrome", LATER), (HOST, "b", "chrome", None), (HOST, "old", "x", PAST), (f"evil{HOST}", "evil", "x", LATER)]
    return jar_of(*[cookie for cookie in every if domain_name in cookie[0]])


def firefox(cookie_file: Any = None, domain_name: str = "", key_file: Any = None) -> http.cookiejar.CookieJar:
    every = [(f".{HOST}", "a", "firefox", LATER * 1000), (HOST, "c", "firefox", LATER), (HOST, "bytes", b"\xff", LATER), (HOST, "none", None, LATER), (HOST, "old", "x", PAST * 1000)]
    return jar_of(*[cookie for cookie in every if domain_name in cookie[0]])


def test_the_stand_in_has_the_shape_of_the_package(real: Any) -> None:
    """What our stand-in for browser_cookie3 has, the package has: a list of functions with ``domain_name``, an error."""
    assert issubclass(real.BrowserCookieError, Exception)
    assert {"chrome", "firefox", "safari"} <= {browser.__name__ for browser in real.all_browsers}
    for browser in real.all_browsers:
        assert inspect.signature(browser).parameters["domain_name"].default == ""
    for ours in (chrome, firefox):
        assert inspect.signature(ours).parameters.keys() == inspect.signature(getattr(real, ours.__name__)).parameters.keys()
    made = real.create_cookie(f".{HOST}", "/", 1, None, "n", "v", False)
    assert isinstance(made, http.cookiejar.Cookie)


def test_browsers_come_after_files(named: Any, browsers: Any) -> None:
    """Browsers are opened where the files hold nothing live for the host, and not at all where they do or may not be."""
    opened = []

    def watched(**options: Any) -> http.cookiejar.CookieJar:
        opened.append(options)
        return chrome(**options)

    browsers(watched)
    named(line())
    assert held() == {"n": "v"}
    named(line(expires=PAST) + line(domain="example.com"))
    assert held(browsers=False) == {} if not opened else False

"""Cookie files as browsers, their extensions and other tools write them, and functions that write more."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

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
            {"name": "set-cookie",
             "value": "PHPSESSID=q5s9u2hv8k1rj0c4n7m3l6t2ea; path=/; secure; HttpOnly\\nseen=1; max-age=60"}
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


def line(
    name: str = "n", value: str = "v", domain: str = HOST, *, path: str = "/", expires: int = 0, wide: str = "FALSE"
) -> str:
    return f"{domain}\t{wide}\t{path}\tFALSE\t{expires}\t{name}\t{value}\n"


def exported(value: str, *, path: str = "/") -> str:
    return json.dumps([{"name": "n", "value": value, "domain": HOST, "path": path}])


def entry(
    url: str, started: str = "2026-09-20T18:20:01.110Z", *, sent: str = "", set_cookie: str = "", **parts: Any
) -> dict[str, Any]:
    """A HAR's entry with its cookies in the headers; ``parts`` go over ``request`` and ``response``."""
    request = {"url": url, "headers": [{"name": "Cookie", "value": sent}] if sent else [], **parts.get("request", {})}
    response = {"headers": [{"name": "Set-Cookie", "value": set_cookie}] if set_cookie else [], **parts.get("response", {})}
    return {"startedDateTime": started, "request": request, "response": response}


def har(*entries: object) -> str:
    return json.dumps({"log": {"version": "1.2", "entries": entries}})


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process runs in another time zone: a date that names none is UTC all the same."""
    if not hasattr(time, "tzset"):
        pytest.skip("the time zone cannot be set here")
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()

"""What an address of a service must be: in a file, in the environment, and as an argument."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

BASE_URL = r"([Hh][Tt][Tt][Pp][Ss]?://[^\s?#/]|\{\w+\})[^\s?#]*"
"""The pattern of a base URL, as far as a pattern can check it; ``{name}`` in it is filled in later."""
_PLACE = re.compile(r"\{\w+\}")
_NO_LETTER = re.compile(r"[\s\x00-\x20\x7f]")
"""A blank of any alphabet, or a control character."""
_NETLOC = re.compile(r"(?:.*@)?(?:\[[^][@]+\]|[^][:@]+)(?::[0-9]+)?")
"""Host and port, with a user before them; brackets are for IPv6 addresses only."""
_FORM = "must be a URL that begins with http:// or https:// and names a host"


def address_fault(url: object) -> str:
    """What is wrong with a base URL, as the rest of a sentence that names it; empty where nothing is.

    ``{name}`` in it stands for a part that is filled in later. The URL itself is not shown: it may hold a password.
    """
    if not isinstance(url, str):
        return _FORM
    whole = _PLACE.match(url)  # what begins so has scheme and host in it
    text = _PLACE.sub("1", f"http://host{url[whole.end() :]}" if whole else url)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:  # half an IPv6 address, or a port that is none
        return f"{_FORM}, and a port from 0 to 65535 if any"
    if parts.scheme not in ("http", "https") or not host or not _NETLOC.fullmatch(parts.netloc) or _NO_LETTER.search(text):
        return _FORM
    if "{" in text or "}" in text:
        return "has a { or } that is no part of a {name}: letters, digits and _ between { and }"
    if "?" in text or "#" in text:
        return "must end with a path: paths are put after it, so it can have no ? or #"
    return ""

"""Opaque parts on a wire that is not their vendor's: how they survive a client that knows this wire alone.

Where the wire has a place for its own signatures, another vendor's goes there as ``pc1.<vendor>.<data>``; behind the vendor
stand ``~r`` if it is redacted and ``~<id>`` if it has one. The client hands it back unread and it is what it was.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from ..types import Opaque

_TAG = re.compile(r"pc1\.(?P<vendor>[^.~]+)(?P<redacted>~r)?(?:~(?P<id>[^.~]*))?\.(?P<data>.*)", re.DOTALL)


def tagged(opaque: Opaque, native: str) -> str:
    """What stands in the place for signatures of ``native``'s wire. The native's own is its data as it is: for its id, and
    for whether it is redacted, that wire has places."""
    if opaque.vendor == native and not opaque.data.startswith("pc1."):
        return opaque.data
    redacted = "~r" if opaque.redacted else ""
    item = "" if opaque.id is None else "~" + _quoted(opaque.id)
    if item == "~r":
        item = "~%72"  # an id that looks like the mark
    return f"pc1.{_quoted(opaque.vendor)}{redacted}{item}.{opaque.data}"


def untagged(text: str, native: str) -> Opaque:
    """The opaque part that ``tagged`` wrote; what is not tagged is ``native``'s own. Never raises."""
    match = _TAG.fullmatch(text)
    if match is None:
        return Opaque(native, text)
    item = match["id"]
    return Opaque(
        unquote(match["vendor"]), match["data"], None if item is None else unquote(item), match["redacted"] is not None
    )


def _quoted(name: str) -> str:
    return quote(name, safe="", errors="replace").replace(".", "%2E").replace("~", "%7E")

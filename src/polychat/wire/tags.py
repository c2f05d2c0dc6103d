"""Opaque parts on a wire that is not their vendor's: how they survive a client that knows only this wire.

If the wire has a member for its own signatures, another vendor's is written there as ``pc1.<vendor>.<data>``; the vendor is
followed by ``~r`` if the part is redacted and by ``~<id>`` if it has an id. The client returns it unread and unchanged.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from ..types import Opaque

_TAG = re.compile(r"pc1\.(?P<vendor>[^.~]+)(?P<redacted>~r)?(?:~(?P<id>[^.~]*))?\.(?P<data>.*)", re.DOTALL)


def tagged(opaque: Opaque, native: str) -> str:
    """The value for the signature member of ``native``'s wire. The native vendor's own is its data
    unchanged: that wire has other members for the id and for whether the part is redacted.
    """
    if opaque.vendor == native and not opaque.data.startswith("pc1."):
        return opaque.data
    redacted = "~r" if opaque.redacted else ""
    item = "" if opaque.id is None else "~" + _quoted(opaque.id)
    if item == "~r":
        item = "~%72"  # an id that looks like the mark
    return f"pc1.{_quoted(opaque.vendor)}{redacted}{item}.{opaque.data}"


def untagged(text: str, native: str) -> Opaque:
    """The opaque part that ``tagged`` wrote; a value without a tag is ``native``'s own. Never raises."""
    match = _TAG.fullmatch(text)
    if match is None:
        return Opaque(native, text)
    item = match["id"]
    return Opaque(
        unquote(match["vendor"]), match["data"], None if item is None else unquote(item), match["redacted"] is not None
    )


def _quoted(name: str) -> str:
    return quote(name, safe="", errors="replace").replace(".", "%2E").replace("~", "%7E")

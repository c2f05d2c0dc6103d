"""Lists in pages: ``limit`` says how many at most, ``next`` of a page is ``after`` of the one that follows.

A place is opaque to clients. It is that of the last thing on a page in the order of the list, so what is added or deleted
meanwhile makes no other thing be listed twice or left out.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec import DecodeError, ValidationError, json

from ...errors import BadInput
from .pages import AdminCall

T = TypeVar("T")
_USUAL, _MOST = 100, 1000
_LONGEST = 1000
"""Characters of a place."""


def limit_in(call: AdminCall, usual: int = _USUAL) -> int:
    """How many things a page has at most."""
    wanted = call.query.get("limit", "")
    return max(1, min(_MOST, int(wanted))) if wanted.isdecimal() and len(wanted) < 9 else usual


def place_in(call: AdminCall, kind: Any) -> Any:
    """The place, of this type, behind which a page begins; ``None`` for the first page. Raises ``BadInput``."""
    text = call.query.get("after", "")
    if not text:
        return None
    try:
        content = urlsafe_b64decode(text[:_LONGEST].encode() + b"==")
        if b"\\u0000" in content:
            raise ValueError("no database keeps it")  # as what cannot be decoded
        return json.decode(content, type=kind)
    except (ValueError, DecodeError, ValidationError):
        message = "after is not what next of a page of this list said: leave it out for the first page"
        raise BadInput(message, field="after") from None


def next_after(things: Sequence[T], limit: int, place: Callable[[T], Any]) -> str | None:
    """Where the next page begins; ``None`` if there are no more than ``limit`` of ``things``."""
    return cursor(place(things[limit - 1])) if len(things) > limit else None


def cursor(place: Any) -> str:
    """A place as ``after`` has it."""
    return urlsafe_b64encode(json.encode(place)).rstrip(b"=").decode()

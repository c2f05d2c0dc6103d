"""Opaque parts on this wire: the encrypted content of reasoning items, and whole items that only the backend understands.

A tool call has no member for a signature. A call with one is preceded by a reasoning item whose encrypted content is
``call~<call id>.<signature>``: a client that returns its reasoning items, as it must, returns that too.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from ...errors import BadInput
from ...types import Opaque
from ..json_text import decoded, json_of
from ..tags import tagged, untagged
from .constants import VENDOR, Object

_OF_CALL = re.compile(r"call~(?P<call>[^.]*)\.(?P<signature>.*)", re.DOTALL)
_OWN_PREFIX = "rs_pc1_"


def whole_item(item: Object, path: str, vendor: str = VENDOR, *, redacted: bool = True) -> Opaque:
    """An item that is returned unchanged. Raises ``BadInput`` for one that JSON cannot contain."""
    try:
        return Opaque(vendor, json_of({"type": item.get("type"), **item}), redacted=redacted)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadInput(f"{path} contains a value that cannot be sent as JSON: {error}", field=path) from error


def item_of(opaque: Opaque) -> Object | None:
    """The item in ``opaque``, if it is a whole item."""
    if not opaque.data.startswith('{"'):
        return None
    try:
        item = decoded(opaque.data.encode())
    except ValueError:
        return None
    return item if isinstance(item, dict) and isinstance(item.get("type"), str) else None


def generated_id(reply: str, index: int) -> str:
    """The id of a reasoning item without an id of its vendor's."""
    return f"{_OWN_PREFIX}{reply}_{index}"


def item_id(name: object) -> str | None:
    """The vendor's id; ``None`` for one that ``generated_id`` made."""
    return name if isinstance(name, str) and not name.startswith(_OWN_PREFIX) else None


def sealed(opaque: Opaque, own_id: str | None = None) -> str:
    """Encrypted content for an item of ours whose id is ``own_id``; ``unsealed`` reverses it."""
    native = opaque.vendor == VENDOR and not opaque.redacted and opaque.id in (None, own_id)
    return opaque.data if native and untagged(opaque.data, "") == Opaque("", opaque.data) else tagged(opaque, "")


def unsealed(content: str, own_id: object = None) -> Opaque:
    opaque = untagged(content, VENDOR)
    if opaque == Opaque(VENDOR, content):
        opaque.id = item_id(own_id)
    return opaque


def of_call(call: str, signature: str) -> str:
    """Encrypted content that contains the signature of a tool call."""
    return f"call~{quote(call, safe='', errors='replace').replace('.', '%2E')}.{signature}"


def call_of(content: str) -> tuple[str, str] | None:
    """The call's id and its signature, if ``of_call`` wrote ``content``."""
    match = _OF_CALL.fullmatch(content)
    return (unquote(match["call"]), match["signature"]) if match else None

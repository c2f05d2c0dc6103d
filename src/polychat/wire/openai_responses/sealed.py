"""Opaque parts on this wire: the encrypted content of reasoning items, and whole items that only the backend understands.

A tool call has no place of its own for a signature. One that has it is preceded by a reasoning item whose encrypted content is
``call~<call id>.<signature>``: a client that keeps its reasoning items, as it must, brings that back too.
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
_MADE_UP = "rs_pc1_"


def whole_item(item: Object, path: str, vendor: str = VENDOR, *, redacted: bool = True) -> Opaque:
    """An item that goes back as it is. Raises ``BadInput`` for one that JSON cannot carry."""
    try:
        return Opaque(vendor, json_of({"type": item.get("type"), **item}), redacted=redacted)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadInput(f"{path} contains a value that cannot be sent as JSON: {error}", field=path) from error


def item_of(opaque: Opaque) -> Object | None:
    """The item that ``opaque`` is, where it is a whole one."""
    if not opaque.data.startswith('{"'):
        return None
    try:
        item = decoded(opaque.data.encode())
    except ValueError:
        return None
    return item if isinstance(item, dict) and isinstance(item.get("type"), str) else None


def made_up(reply: str, index: int) -> str:
    """The id of a reasoning item that has none of its vendor's."""
    return f"{_MADE_UP}{reply}_{index}"


def item_id(name: object) -> str | None:
    """The vendor's id; ``None`` for one of ours."""
    return name if isinstance(name, str) and not name.startswith(_MADE_UP) else None


def sealed(opaque: Opaque, own_id: str | None = None) -> str:
    """Encrypted content as the answering half writes it, in an item whose id is ``own_id``; ``unsealed`` undoes it."""
    native = opaque.vendor == VENDOR and not opaque.redacted and opaque.id in (None, own_id)
    return opaque.data if native and untagged(opaque.data, "") == Opaque("", opaque.data) else tagged(opaque, "")


def unsealed(content: str, own_id: object = None) -> Opaque:
    opaque = untagged(content, VENDOR)
    if opaque == Opaque(VENDOR, content):
        opaque.id = item_id(own_id)
    return opaque


def of_call(call: str, signature: str) -> str:
    """The encrypted content that carries the signature of a tool call."""
    return f"call~{quote(call, safe='', errors='replace').replace('.', '%2E')}.{signature}"


def call_of(content: str) -> tuple[str, str] | None:
    """The call and its signature, where ``content`` is what ``of_call`` wrote."""
    match = _OF_CALL.fullmatch(content)
    return (unquote(match["call"]), match["signature"]) if match else None

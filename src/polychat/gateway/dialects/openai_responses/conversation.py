"""The conversation that a ``response.create`` continues, as the ``input`` of a stateless request."""

from __future__ import annotations

from typing import Any

import msgspec

from ....errors import BadInput
from ....wire.json_text import encoded
from ..bodies import Object, value_of


class _Item(msgspec.Struct):
    type: str = ""
    encrypted_content: str | None = None
    content: list[Any] | None = None


_items = msgspec.json.Decoder(list[msgspec.Raw])
_item = msgspec.json.Decoder(_Item)
_members = msgspec.json.Decoder(dict[str, Any])


class Remembered:
    """A response that a later request may continue. ``items`` is its conversation: JSON values separated by commas."""

    __slots__ = ("items", "name")

    def __init__(self, name: str, items: bytes) -> None:
        self.name, self.items = name, items


def conversation(fields: Object, previous: Remembered | None) -> bytes:
    """The items of the whole conversation; ``fields`` becomes a body with them. Raises ``BadInput``."""
    for name in ("type", "stream_id"):
        fields.pop(name, None)
    if value_of(fields, "generate") is not False:
        fields.pop("generate", None)
    fields["stream"] = msgspec.Raw(b"true")
    items = items_of(fields.get("input"))
    if previous is not None:
        items = b",".join(part for part in (previous.items, items) if part)
        fields["input"] = msgspec.Raw(b"[%b]" % items)
        del fields["previous_response_id"]
    return items


def items_of(value: msgspec.Raw | None) -> bytes:
    """The items in ``input``. Raises ``BadInput``."""
    text = b"" if value is None else bytes(value).strip()
    if text.startswith(b'"'):
        return b'{"type":"message","role":"user","content":%b}' % text
    if text.startswith(b"["):
        return text[1:-1].strip()
    if text in (b"", b"null"):
        return b""
    raise BadInput("input must be text or a list of items", field="input")


def sendable(output: bytes) -> bytes:
    """The items of a response as a later request may send them.

    Reasoning that consists of an id only is omitted, and so are the ids of other items: they refer to the vendor's own storage,
    which answers an unknown id with an error.
    """
    if b'"reasoning"' not in output:
        return output.strip()[1:-1].strip()
    items = _items.decode(output)
    kept = [item for item in items if _has_more_than_a_name(item)]
    if len(kept) == len(items):
        return b",".join(bytes(item) for item in kept)
    return b",".join(encoded({name: value for name, value in _members.decode(item).items() if name != "id"}) for item in kept)


def _has_more_than_a_name(item: msgspec.Raw) -> bool:
    try:
        read = _item.decode(item)
    except msgspec.DecodeError:
        return True
    return read.type != "reasoning" or bool(read.encrypted_content or read.content)

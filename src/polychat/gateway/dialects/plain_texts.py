"""Requests whose messages are one text each, and what their translation depends on besides these texts."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from msgspec import Meta
from msgspec.json import Decoder

from ...wire.json_text import encoded
from ...wire.usual_bodies import PlainMessage

PlainTexts: TypeAlias = tuple[bytes, list[str]]
"""What identifies all of a request but the texts of its messages, and these texts."""
MAX_MESSAGES = 16
"""Longer conversations are rarely of the same length as another."""
_SIZE = 16 * 1024
"""Maximum bytes of a request that is decoded so: a larger one that is not plain would take long to be decoded twice."""
_KEY = 1024
"""Maximum bytes of what identifies the rest of a request: it is kept."""
_ROLE = b'"role"'
_decode = Decoder(Annotated[list[PlainMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]).decode


def plain_texts(body: bytes, fields: dict[str, Any]) -> PlainTexts | None:
    """The texts of a request with these top-level ``fields``, which are still JSON; ``None`` if it has other content too."""
    messages = fields.get("messages")
    if messages is None or "tools" in fields or len(body) > _SIZE or body.count(_ROLE) > MAX_MESSAGES:
        return None
    try:
        decoded = _decode(messages)
    except (ValueError, RecursionError):
        return None
    roles: list[str] = []
    texts: list[str] = []
    for message in decoded:
        roles.append(message.role)
        texts.append(message.content)
    key = encoded({**fields, "messages": roles})
    return (key, texts) if len(key) <= _KEY else None

"""A passed reply under the name that its client asked for: Claude Code leaves out thoughts of another model's than it asked."""

from __future__ import annotations

import re
from typing import Any

from .._json import decoded, encoded
from ..passing import Reading
from .reply import Reader

_END = re.compile(rb"\r?\n\r?\n")
_MODEL = re.compile(rb'("model"\s{0,9}:\s{0,9})"[^"\\]{0,999}"')
_HELD = 65_536
"""Bytes of a first event that are held until it is whole."""


class Renamed(Reading):
    """As ``Reading``; the model in ``message_start`` is ``name``, unless what is there is that model by its longer name."""

    def __init__(self, name: str) -> None:
        super().__init__(Reader())
        self._name = name
        self._held: bytes | None = b""

    def feed(self, data: bytes) -> bytes:
        data = super().feed(data)
        if self._held is None:
            return data
        self._held += data
        if _END.search(self._held) is None and len(self._held) < _HELD and self.finish is None:
            return b""
        held, self._held = self._held, None
        return started_as(held, self._name)

    def end(self) -> bytes:
        rest = super().end()
        held, self._held = self._held or b"", None
        return held + rest


def started_as(data: bytes, name: str) -> bytes:
    """A stream's beginning with the name in its first event."""
    found = re.match(rb"((?:[^\n]*\n){0,3}?data: ?)(\{[^\n]*\})", data)
    if found is None or b"message_start" not in found[2]:
        return data
    try:
        value = decoded(found[2])
    except ValueError:
        return data
    message = value.get("message") if isinstance(value, dict) else None
    if not isinstance(message, dict) or not _renames(message, name):
        return data
    written = _MODEL.sub(lambda member: member[1] + encoded(name), found[2], count=1)
    return found[1] + written + data[found.end() :]


def named_as(body: bytes, name: str) -> bytes:
    """A whole message with the name in it."""
    try:
        value = decoded(body)
    except ValueError:
        return body
    if not _renames(value, name):
        return body
    if len(_MODEL.findall(body)) == 1:  # the rest stays byte for byte
        return _MODEL.sub(lambda member: member[1] + encoded(name), body)
    return encoded({**value, "model": name})


def _renames(message: Any, name: str) -> bool:
    """Whether another model is named than was asked for."""
    served = message.get("model") if isinstance(message, dict) else None
    return isinstance(served, str) and not served.startswith(name)

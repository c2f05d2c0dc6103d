"""What each client's key used, in metrics of their own: no other metric has a label for keys, as there may be many."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from ...errors import redact
from .record import Record
from .totals import Totals

KEYS = 500
"""Maximum number of keys that have numbers of their own; what others use is counted as ``other``."""
_OTHER = "other"

_Count = Annotated[int, Meta(ge=0)]


class KeyNumbers(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """What the requests of one key used."""

    requests: _Count = 0
    refused: _Count = 0
    """Those with status 429."""
    prompt: _Count = 0
    completion: _Count = 0
    cost: Annotated[float, Meta(ge=0)] = 0.0

    def add(self, other: KeyNumbers) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


Counts = list[tuple[str, KeyNumbers]]
"""As snapshots carry them."""


class KeyCounts(Totals[str, KeyNumbers]):
    """The numbers of all keys, by name or public id."""

    def count(self, record: Record) -> None:
        numbers = self.get(record.key)
        if numbers is None:
            numbers = self._of(record.key)
        numbers.requests += 1
        if record.status == 429:
            numbers.refused += 1
        numbers.prompt += record.prompt_tokens or 0
        numbers.completion += record.completion_tokens or 0
        numbers.cost += record.cost or 0.0

    def add(self, labels: str, number: KeyNumbers) -> None:
        self._of(labels).add(number)

    def _of(self, key: str) -> KeyNumbers:
        name = redact(key, 120)
        return self.setdefault(name if name in self or len(self) < KEYS else _OTHER, KeyNumbers())

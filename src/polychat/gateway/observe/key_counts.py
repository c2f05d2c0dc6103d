"""What each client's key used, in metrics of their own: no other metric has a label for keys, as there may be many."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from msgspec import Meta, Struct

from ...errors import redact
from .totals import Totals

KEYS = 500
"""Maximum number of keys that have numbers of their own; what others use is counted as ``other``."""
_OTHER = "other"

_Count = Annotated[int, Meta(ge=0)]


class Used(NamedTuple):
    """What requests used: tokens and US dollars."""

    prompt: int
    completion: int
    cost: float


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

    def count(self, key: str, requests: int, used: Used, *, status: int) -> None:
        """Requests of one key, all with this status, that used so much; without a key there is nothing to count."""
        if not key:
            return
        numbers = self.get(key)
        if numbers is None:
            numbers = self._of(key)
        numbers.requests += requests
        if status == 429:
            numbers.refused += requests
        numbers.prompt += used.prompt
        numbers.completion += used.completion
        numbers.cost += used.cost

    def add(self, labels: str, number: KeyNumbers) -> None:
        self._of(labels).add(number)

    def _of(self, key: str) -> KeyNumbers:
        name = redact(key, 120)
        return self.setdefault(name if name in self or len(self) < KEYS else _OTHER, KeyNumbers())

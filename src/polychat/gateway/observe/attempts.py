"""Attempts by target and outcome: a backend that fails is counted by its own name, even if another one answers."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from msgspec import Meta

from ...errors import redact
from .record import Record
from .totals import Totals

SETS = 2000
"""Maximum number of label sets; what exceeds it is counted as ``other``."""
_TARGETS = 2000
_OTHER = "other"


class Attempt(NamedTuple):
    """The labels of an attempt."""

    route: str
    target: str
    outcome: str
    """``answered``, ``continued`` if it continued another target's reply, or a word for the kind of failure: see
    ``outcome_of``.
    """


Count = Annotated[int, Meta(ge=0)]
Counts = list[tuple[Attempt, Count]]
"""As snapshots carry them."""


class AttemptCounts(Totals[Attempt, int]):
    """How many attempts there were.

    A target of a route is named in full, for the configuration names it. One that a client names is so only once it answered:
    before that it is its provider alone, so that no client makes up labels.
    """

    def __init__(self) -> None:
        super().__init__()
        self._answered: dict[str, None] = {}

    def count(self, record: Record) -> None:
        if target := record.answered:
            if target not in self._answered:
                if len(self._answered) >= _TARGETS:
                    del self._answered[next(iter(self._answered))]
                self._answered[target] = None
            self.add(Attempt(record.route, target, "continued" if record.seams else "answered"), 1)
        for failure in record.failures if record.attempts else ():
            self.add(Attempt(record.route, self._named(record.route, failure.target), failure.outcome), 1)

    @property
    def is_full(self) -> bool:
        """Whether a target that answers for the first time takes the place of another."""
        return len(self._answered) >= _TARGETS

    def _named(self, route: str, target: str) -> str:
        return target if route or target in self._answered else target.partition("/")[0]

    def add(self, labels: Attempt, number: int) -> None:
        if labels not in self:
            labels = Attempt(redact(labels.route, 120), redact(labels.target, 120), labels.outcome)
            if labels not in self and len(self) >= SETS:
                labels = Attempt(_OTHER, _OTHER, labels.outcome)
        self[labels] = self.get(labels, 0) + number

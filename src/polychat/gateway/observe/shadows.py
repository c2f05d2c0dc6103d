"""What became of requests that were mirrored, by the target that answered and by the shadow."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

from ...errors import redact
from .totals import Totals

SETS = 1000
"""Maximum number of label sets; what exceeds it is counted as ``other``."""
_OTHER = "other"


class TargetResult(NamedTuple):
    """Of a request at one target."""

    target: str
    verdict: str
    seconds: float
    cost: float | None
    """US dollars, where it is known."""


class ShadowLabels(NamedTuple):
    """Of mirrored requests at one target."""

    route: str
    target: str
    role: Literal["answer", "shadow"]
    verdict: str


class ShadowNumbers(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """What is counted for one set of labels."""

    requests: Annotated[int, Meta(ge=0)] = 0
    seconds: Annotated[float, Meta(ge=0)] = 0.0
    cost: Annotated[float, Meta(ge=0)] = 0.0

    def add(self, other: ShadowNumbers) -> None:
        """What another worker counted too."""
        self.requests += other.requests
        self.seconds += other.seconds
        self.cost += other.cost


Counts = list[tuple[ShadowLabels, ShadowNumbers]]
"""As snapshots carry them."""


class ShadowCounts(Totals[ShadowLabels, ShadowNumbers]):
    """The numbers of both sides: the same requests are in each."""

    def count(self, route: str, answer: TargetResult, shadow: TargetResult) -> None:
        """A mirrored request is over."""
        for role, outcome in (("answer", answer), ("shadow", shadow)):
            labels = ShadowLabels(redact(route, 120), redact(outcome.target, 120), role, outcome.verdict)  # type: ignore[arg-type]
            self.add(labels, ShadowNumbers(1, outcome.seconds, outcome.cost or 0.0))

    def add(self, labels: ShadowLabels, number: ShadowNumbers) -> None:
        if labels not in self and len(self) >= SETS:
            labels = labels._replace(route=_OTHER, target=_OTHER)
        self.setdefault(labels, ShadowNumbers()).add(number)

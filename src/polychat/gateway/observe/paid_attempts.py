"""Attempts beside a request's answer that vendors are paid for too: hedged and mirrored ones.

A request's own record has what its answer used, all parts of it where another target continued it. What was sent to another
target as well is on another bill: it has a record of its own, which counts as no request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ...events import Usage

if TYPE_CHECKING:
    from ...events import Verdict
    from ...routing import Target
    from .record import Record

Pricing: TypeAlias = "Callable[[Target, Usage], float | None]"


class PaidAttempt(NamedTuple):
    """One of them, with what it used."""

    record: Record
    """Of the request."""
    target: str
    why: str
    """``hedged`` or ``mirrored``."""
    verdict: Verdict
    usage: Usage
    cost: float | None
    """US dollars, where the price is known."""

    @property
    def tokens(self) -> int:
        return (self.usage.prompt_tokens or 0) + (self.usage.completion_tokens or 0)


def paid_beside(record: Record, pricing: Pricing) -> list[PaidAttempt]:
    """Those of a request that is over, but for mirrored ones: each got the same prompt, and nobody wanted its reply."""
    usage = Usage(record.prompt_tokens or 0, 0, estimated=True)
    targets = {} if record.plan is None else {target.name: target for target in record.plan.targets}
    hedged = [failure.target for failure in record.failures if failure.outcome == "hedged"]
    costs = [pricing(targets[target], usage) if target in targets else None for target in hedged]
    return [PaidAttempt(record, target, "hedged", "cancelled", usage, cost) for target, cost in zip(hedged, costs, strict=True)]

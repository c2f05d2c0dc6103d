"""What is known of one request when it is over: what the log, the metrics and the traces are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ...errors import Failure
from ...events import Verdict
from ...routing.choice import UNLISTED

if TYPE_CHECKING:
    from ...errors import PolychatError
    from ...routing import Plan, Target
    from ...routing.choice import PassedOver


class Record:
    """Facts of one request, filled in while it runs; every observer gets them once, at its end. In ``time.monotonic``."""

    # Defaults are the class's: setting two dozen attributes on each record would cost more than most of the request.
    started_at: float | None = None
    """``start`` in seconds since 1970, if an observer needs it."""
    first: float | None = None
    """When the first piece was sent to the client."""
    over = 0.0
    key = ""
    """The name of the client's key."""
    model = ""
    """The model as the client named it."""
    route = ""
    """The route that this name means; empty if it names a target."""
    provider = ""
    served = ""
    """The model that answered, by its provider's name."""
    attempts = 0
    answered = ""
    """The target that began to answer: ``provider/model``."""
    failures: Sequence[Failure] = ()
    """Each attempt that failed, in order, and, where all targets rest, each of these."""
    times: Sequence[tuple[float, float]] = ()
    """When each of these attempts began and was over."""
    passed: Sequence[PassedOver] = ()
    """Targets that stood behind all others, and why."""
    resting: Sequence[tuple[Target, PolychatError]] = ()
    """Targets that were not asked when it was their turn, and why."""
    seams: Sequence[str] = ()
    """Where a reply that was cut off went on: by which target, behind how many characters."""
    plan: Plan | None = None
    """Who could have answered."""
    asked: float | None = None
    """When the target was asked that answered, or was asked last."""
    stream = False
    passthrough = False
    """Whether the backend's bytes were passed through."""
    status = 0
    verdict: Verdict | None = None
    """``None`` if no backend was called."""
    reason: str | None = None
    error = ""
    """What went wrong, redacted."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cost: float | None = None
    """US dollars."""
    fields_dropped = 0
    """Number of request fields that the backend does not support."""
    losses: Sequence[str] = ()
    """Their names."""
    text: tuple[str, str] | None = None
    """The texts of request and response, if they are to be logged."""
    traceparent = ""
    """The client's trace context, in the W3C's format."""

    def __init__(self, request_id: str, dialect: str, method: str, path: str, start: float) -> None:
        self.request_id = request_id
        self.dialect = dialect
        """Which dialect: ``openai-chat``, ``anthropic``, …"""
        self.method = method
        self.path = path
        self.start = start


def passed_over(record: Record) -> dict[str, str]:
    """The targets that were not asked though they could have been before others, each with the reason."""
    plan = record.plan
    if not record.passed and not record.resting and (plan is None or not plan.unlisted):
        return {}
    reasons = {over.target.name: over.reason for over in record.passed}
    reasons |= {target.name: str(error) for target, error in record.resting}
    if plan is not None:
        reasons |= dict.fromkeys(plan.unlisted, UNLISTED)
    asked = {record.answered, *(failure.target for failure in record.failures)}
    return {name: reason for name, reason in reasons.items() if name not in asked}


Observer: TypeAlias = Callable[[Record], None]
"""Called with each request's record at its end. Must not block or raise."""

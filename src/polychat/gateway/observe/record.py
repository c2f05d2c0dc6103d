"""What is known of one request when it is over: what the log, the metrics and the traces are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ...errors import Failure
from ...events import Usage, Verdict
from ...routing.choice import UNLISTED

if TYPE_CHECKING:
    from ...errors import PolychatError
    from ...http.server.asgi import Headers
    from ...routing import Plan, Target
    from ...routing.choice import PassedOver
    from ...state.store import Ownership


class RequestMeter(Protocol):
    """What a request reserved in limits and budgets."""

    @property
    def tokens_so_far(self) -> int:
        """About how many tokens of its stream were read."""

    def reader(self, end: bytes) -> Callable[[bytes], bytes]:
        """Counts the pieces of a stream whose events end so, and returns each unchanged."""

    def settle(self, record: Record) -> None:
        """The request is over; a second time does nothing. The record gets estimates of what its backend did not count."""

    def add(self, tokens: int, dollars: float) -> None:
        """Another attempt of it, after it was over, used these."""

    def headers(self, record: Record) -> Headers:
        """What the client is told of its limits."""


RECORD_FIELDS = (
    "answered",
    "attempts",
    "billed",
    "cached_tokens",
    "called_at",
    "completion_tokens",
    "cost",
    "dialect",
    "error",
    "failures",
    "fields_dropped",
    "first",
    "key",
    "kind",
    "losses",
    "meter",
    "method",
    "model",
    "over",
    "ownership",
    "passed",
    "passthrough",
    "path",
    "plan",
    "prompt_tokens",
    "provider",
    "queued",
    "reason",
    "request_id",
    "resting",
    "route",
    "seams",
    "served",
    "start",
    "started_at",
    "status",
    "stream",
    "text",
    "times",
    "traceparent",
    "usage",
    "user",
    "verdict",
)
"""The names of a record's facts."""


class Record:
    """Facts of one request, filled in while it runs; every observer gets them once, at its end. In ``time.monotonic``."""

    # Slots: what is read from an object of another kind, or from its class, takes several times as long, and all of it is read.
    __slots__ = RECORD_FIELDS

    def __init__(self, request_id: str, dialect: str, method: str, path: str, start: float) -> None:  # noqa: PLR0915  # a field each
        self.request_id = request_id
        self.dialect = dialect
        """Which dialect: ``openai-chat``, ``anthropic``, …"""
        self.method = method
        self.path = path
        self.start = start
        self.started_at: float | None = None
        """``start`` in seconds since 1970, if an observer needs it."""
        self.first: float | None = None
        """When the first piece was sent to the client."""
        self.over = 0.0
        self.key = ""
        """The name of the client's key."""
        self.user = ""
        """The end user that it names, where that is kept or limited."""
        self.ownership: Ownership | None = None
        """Whose key it is, where that is known."""
        self.kind: RecordKind | None = None
        """Set where it is known that others agree with this one."""
        self.meter: RequestMeter | None = None
        """Set where its key has limits."""
        self.model = ""
        """The model as the client named it."""
        self.route = ""
        """The route that this name means; empty if it names a target."""
        self.provider = ""
        self.served = ""
        """The model that answered, by its provider's name."""
        self.attempts = 0
        self.billed = False
        """Whether the reply of a request that failed arrived, and only could not be read here: its vendor is paid for it."""
        self.answered = ""
        """The target that began to answer: ``provider/model``."""
        self.failures: Sequence[Failure] = ()
        """Each attempt that failed, in order, and, where all targets rest, each of these."""
        self.times: Sequence[tuple[float, float]] = ()
        """When each of these attempts began and was over."""
        self.passed: Sequence[PassedOver] = ()
        """Targets that were moved to the end of the order, and why."""
        self.resting: Sequence[tuple[Target, PolychatError]] = ()
        """Targets that were not called in their turn, and why."""
        self.queued = 0.0
        """Seconds that it waited, as its targets had as many requests as their route allows."""
        self.seams: Sequence[str] = ()
        """Where a reply that was cut off continued: the target, and after how many characters."""
        self.plan: Plan | None = None
        """Who could have answered."""
        self.called_at: float | None = None
        """When the target was called that answered, or was called last."""
        self.stream = False
        self.passthrough = False
        """Whether the backend's bytes were passed through."""
        self.status = 0
        self.verdict: Verdict | None = None
        """``None`` if no backend was called."""
        self.reason: str | None = None
        self.error = ""
        """What went wrong, redacted."""
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.usage: Usage | None = None
        """All that the backend counted."""
        self.cost: float | None = None
        """US dollars."""
        self.fields_dropped = 0
        """Number of request fields that the backend does not support."""
        self.losses: Sequence[str] = ()
        """Their names."""
        self.text: tuple[str, str] | None = None
        """The texts of request and response, if they are to be logged."""
        self.traceparent = ""
        """The client's trace context, in the W3C's format."""

    def __copy__(self) -> Record:
        copied = Record(self.request_id, self.dialect, self.method, self.path, self.start)
        for name in RECORD_FIELDS:
            setattr(copied, name, getattr(self, name))
        return copied

    def note_usage(self, usage: Usage) -> None:
        """Its backend counted this."""
        self.usage = usage
        self.prompt_tokens, self.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        self.cached_tokens = usage.cached_tokens


class KindIdentity:
    """Stands for a ``RecordKind``, and refers to nothing."""

    __slots__ = ()


class RecordKind:
    """Requests whose records agree in all but ids, moments, tokens and cost: an observer may keep what it makes of these.

    ``common`` is one of their records, for what all have in common. It refers to their plan: an observer keeps what it makes by
    ``identity``, which keeps no configuration alive that is no longer in force. It is ``None`` of a kind with a single request.
    """

    __slots__ = ("common", "identity")

    def __init__(self, common: Record, *, is_single: bool = False) -> None:
        self.common, self.identity = common, None if is_single else KindIdentity()

    def record(self, request: RequestFacts) -> Record:
        """The record of a request of this kind."""
        if self.identity is None:
            return self.common
        record = copy(self.common)
        record.kind, record.request_id, record.start, record.called_at, record.first, record.over, usage, record.cost = request
        if usage is not None:
            record.note_usage(usage)
        return record


UsualRequest: TypeAlias = tuple[RecordKind, str, float, float, float, float, Usage | None, float | None]
"""A usual request that is over, from which its record can be made: its kind, its id, when it began, was called, answered and
over, what the backend counted, and US dollars. Most need no record: one takes as long as a tenth of such a request.
"""
RequestFacts: TypeAlias = tuple[RecordKind, str, float, float | None, float | None, float, Usage | None, float | None]
"""The same facts of any request: one form from which the log and the metrics are made, whether there is a record or not."""


def facts_of(record: Record) -> RequestFacts:
    """The facts of a request of which there is a record."""
    kind = record.kind
    if kind is None or record.traceparent:  # which is no other's
        kind = RecordKind(record, is_single=True)
    prompt, completion, cached, usage = record.prompt_tokens, record.completion_tokens, record.cached_tokens, None
    if not (prompt is None and completion is None and cached is None):
        usage = Usage(prompt, completion, cached_tokens=cached)
    return kind, record.request_id, record.start, record.called_at, record.first, record.over, usage, record.cost


def has_passed_over(record: Record) -> bool:
    """Whether any target may have been passed over."""
    return bool(record.passed or record.resting or (record.plan is not None and record.plan.unlisted))


def passed_over(record: Record) -> dict[str, str]:
    """The targets that were skipped although they came before others, each with the reason."""
    plan = record.plan
    if not has_passed_over(record):
        return {}
    reasons = {over.target.name: over.reason for over in record.passed}
    reasons |= {target.name: str(error) for target, error in record.resting}
    if plan is not None:
        reasons |= dict.fromkeys(plan.unlisted, UNLISTED)
    asked = {record.answered, *(failure.target for failure in record.failures)}
    return {name: reason for name, reason in reasons.items() if name not in asked}


Observer: TypeAlias = Callable[[Record], None]
"""Called with each request's record at its end. Must not block. What it raises is logged as a defect."""

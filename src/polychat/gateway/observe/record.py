"""What is known of one request when it is over: what the log, the metrics and the traces are made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from ...errors import Failure
from ...events import Verdict

if TYPE_CHECKING:
    from ...routing import Plan


class Record:
    """Filled in as the request goes; handed to every observer once, at its end. Moments are ``time.monotonic`` seconds."""

    # What is never said of a request stays the class's: setting two dozen attributes on each would cost more than most of it.
    started_at: float | None = None
    """Seconds since 1970 of ``start``, where somebody wanted to know."""
    first: float | None = None
    """When the first piece went to the client."""
    over = 0.0
    key = ""
    """The name of the key the client came with."""
    model = ""
    """The model as the client named it."""
    route = ""
    """The route it meant; empty where it named a target."""
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
    passed: Sequence[Failure] = ()
    """Targets that were not asked when it was their turn, and why."""
    plan: Plan | None = None
    """Who could have answered."""
    asked: float | None = None
    """When the target was asked that answered, or was asked last."""
    stream = False
    passthrough = False
    """Whether the backend's bytes passed through."""
    status = 0
    verdict: Verdict | None = None
    """``None`` if no backend was called."""
    reason: str | None = None
    error = ""
    """What went wrong, fit to be shown."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cost: float | None = None
    """US dollars."""
    fields_dropped = 0
    """Parts of the request that the backend could not take."""
    losses: Sequence[str] = ()
    """Their names."""
    text: tuple[str, str] | None = None
    """The texts of request and response, if the configuration wants them logged."""
    traceparent = ""
    """The client's, as the W3C has it."""

    def __init__(self, request_id: str, dialect: str, method: str, path: str, start: float) -> None:
        self.request_id = request_id
        self.dialect = dialect
        """Which dialect: ``openai-chat``, ``anthropic``, …"""
        self.method = method
        self.path = path
        self.start = start


Observer: TypeAlias = Callable[[Record], None]
"""Called with each request's record at its end. It does not block, and never raises."""

"""One request in progress: what it is, who sent it, and what is recorded of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from ..errors import PolychatError
from ..http.server.asgi import Scope, Send
from ..routing.clocks import Deadline, patience_of
from .observe.record import Record, RequestMeter
from .responder import ClientDialect, Responder

if TYPE_CHECKING:
    from ..http.pool.connection import PoolConnection
    from ..routing import Plan, Target
    from ..routing.attempts import Attempts
    from ..routing.straight import StraightAttempt
    from .admission.demand import Demand
    from .chat.replies import OpenReply
    from .dialects.bodies import Opened
    from .dialects.dialect import InboundChat
    from .runtime import Runtime
    from .service import Service

_SECONDS = re.compile(rb"\d{1,6}(?:\.\d{1,9})?")
_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")


class EarlyStream(NamedTuple):
    """A stream whose beginning was sent before the request got a task."""

    resumed: Callable[[], OpenReply]
    """Returns the reply; raises the defect that ended it."""
    attempt: StraightAttempt
    latest: bytes
    """The piece that was sent last."""
    api_url: str


class EarlyAttempt(NamedTuple):
    """The first attempt of a request whose target was called before the request got a task."""

    target: Target
    connection: PoolConnection
    called_at: float
    is_silent: bool = False
    """Whether a heartbeat is due."""
    stream: EarlyStream | None = None
    """The reply, if its beginning was sent."""


class RequestContext:
    """Created for each request, and passed to everything that handles it. ``responder`` sends its response."""

    __slots__ = (
        "body",
        "chat",
        "dialect",
        "early",
        "guards",
        "headers",
        "method",
        "model_guards",
        "opened",
        "path",
        "query_string",
        "record",
        "responder",
        "runtime",
        "service",
    )

    def __init__(
        self,
        service: Service,
        dialect: ClientDialect,
        path: str,
        scope: Scope,
        send: Send,
        *,
        runtime: Runtime | None = None,
        record: Record | None = None,
    ) -> None:
        """``runtime`` and ``record``: those of a request that is in progress already."""
        self.service = service
        self.runtime = runtime or service.runtime
        """The configuration in force when the request arrived; a reload affects later requests."""
        self.dialect = dialect
        self.path = path
        self.method: str = scope["method"]
        self.query_string: bytes = scope["query_string"]
        self.headers: Mapping[bytes, bytes] = scope.get("polychat.fields") or dict(scope["headers"])
        """By name in lower case; of a repeated header the last."""
        self.record = record or Record(id_in(self.headers) or service.next_id(), dialect.name, self.method, path, monotonic())
        if service.is_traced:
            self.record.traceparent = self.headers.get(b"traceparent", b"").decode("latin-1")
        self.body = b""
        self.opened: Opened | None = None
        """The body as dialects read it, if it was opened outside the loop."""
        self.early: EarlyAttempt | None = None
        """The first attempt, if it was made already and its response was not taken yet."""
        self.chat: InboundChat | None = None
        """The chat, once the request was read as one."""
        self.guards: Sequence[Guard] = ()
        """The guards to call before a chat."""
        self.model_guards: Sequence[ModelGuard] = ()
        """Those to call before any model is asked."""
        self.responder = Responder(send, dialect, self.record, self.headers)

    def take_early_connection(self) -> PoolConnection | None:
        """The attempt that was made before the request got a task; returned once."""
        early, self.early = self.early, None
        return None if early is None else early.connection

    @property
    def request_id(self) -> str:
        return self.record.request_id

    @property
    def query(self) -> str:
        return self.query_string.decode("latin-1")

    @property
    def address(self) -> str:
        """The client's address; empty where it has none."""
        cycle = self.responder.cycle
        client = None if cycle is None else cycle.scope.get("client")
        return client[0] if client else ""

    @property
    def repeated(self) -> int:
        """How many times the client sent this request before, by the retry header of OpenAI's and Anthropic's clients."""
        count = self.headers.get(b"x-stainless-retry-count")
        return int(count) if count is not None and count.isdigit() and len(count) < 4 else 0

    @property
    def deadline(self) -> Deadline | None:
        """When the client gives up, by its headers: ``x-request-timeout`` limits the whole reply; the header of OpenAI's and

        Anthropic's clients limits its beginning.
        """
        headers = self.headers
        whole = headers.get(b"x-request-timeout")
        seconds = headers.get(b"x-stainless-timeout") if whole is None else whole
        if seconds is None or not _SECONDS.fullmatch(seconds) or not float(seconds):
            return None
        return Deadline(self.record.start + patience_of(float(seconds)), of_all=whole is not None)

    @contextmanager
    def asking(self, attempts: Attempts) -> Generator[None]:
        """While targets are asked for what is no chat: the record tells how that ends."""
        try:
            yield
            attempts.completed()
        except PolychatError:
            self.record.verdict = "failed"
            raise
        finally:
            self.credit(attempts)
        self.record.verdict = "complete"

    def credit(self, attempts: Attempts) -> Target | None:
        """Record the target that answers or was tried last, and the outcome of each attempt."""
        record, target = self.record, attempts.target
        record.attempts, record.failures, record.times = attempts.count, attempts.failures, attempts.times
        record.passed, record.resting, record.queued = attempts.passed, attempts.resting, attempts.queued
        if target is not None:
            record.provider, record.served = target.label, target.model
            if attempts.answered:
                record.answered = target.name
        return target


def id_in(headers: Mapping[bytes, bytes]) -> str:
    """The id that a client gave its request; empty if it gave none that can be used."""
    request_id = headers.get(b"x-request-id")
    return request_id.decode() if request_id is not None and _SANE_ID.fullmatch(request_id) else ""


class Guard:
    """A guard. Subclasses define ``before``, ``after`` or both. One guard serves all requests, many at a time."""

    by_head: ClassVar[bool] = False
    """Whether ``before`` reads only a request's head, without what identifies the request (``IDENTIFYING`` in
    ``known_head.py``): its result is then valid for all requests with the same head.
    """

    def admits(self) -> bool:
        """Whether ``before`` would admit any request at this moment; a guard that cannot know returns false."""
        return False

    def admission(self, context: RequestContext) -> Callable[[], bool]:
        """``admits`` for all requests with the head of this one, whose record gets what the head says."""
        return self.admits

    def before(self, context: RequestContext) -> Awaitable[OpenReply | None] | None:
        """Refuse by raising ``Refused``, admit with ``None``, or, before a chat, answer it with a reply.

        It is an ``async def`` if it has to wait; a plain ``def`` costs less.
        With ``context.responder.tap`` a guard reads, and may change, each piece of the answer on its way to the client.
        """
        return None

    def after(self, context: RequestContext) -> None:
        """The request is over, or was refused: ``context.record`` has its verdict, usage, cost and times. Called once."""


class ModelGuard(Protocol):
    """What decides about a request whose model is known, before any backend is asked: a chat, texts to embed, tokens to count.

    A request may have no task yet, so ``reserve`` does not wait.
    """

    def before(self, context: RequestContext, plan: Plan, demand: Demand) -> Awaitable[None] | None:
        """Raises ``Refused``, at once or when what it gives is awaited. What it reserves is in the record as ``meter``."""

    def reserve(self, record: Record, plan: Plan, demand: Demand) -> RequestMeter | None:
        """``before`` of a request for a whole reply that has no context. Raises ``Refused``, also where ``before`` waits."""


def reason_of(error: PolychatError) -> str:
    """The error's message for the log, which may name variables and files of the gateway's operator."""
    if len(error.failures) > 1:
        return "; ".join(f"{failure.target}: {failure.reason}" for failure in error.failures)
    return str(error)

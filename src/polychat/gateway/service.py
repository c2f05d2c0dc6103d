"""The gateway as its requests use it: what they share in one process."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol

from ..http.server.asgi import Receive, Scope, Send
from ..state.responses import ResponseStore
from .admission.bodies import Bodies
from .admission.running import RunningRequests
from .observe.in_progress import InProgress
from .observe.paid_attempts import PaidAttempt
from .observe.record import Record, UsualRequest
from .observe.shadows import TargetResult
from .runtime import Runtime
from .tasks import BackgroundTasks

if TYPE_CHECKING:
    from .admission.accounts import Account
    from .admission.people_keys import PeopleKeys
    from .admission.signed_accounts import SignedAccounts
    from .kept_texts import KeptTexts


class Service(Protocol):
    """The interface of the gateway for its requests."""

    running: int
    """How many requests are in progress."""
    in_progress: InProgress | None
    """Their records; ``None`` if there is no admin key."""
    draining: bool
    """Whether it is shutting down."""
    is_traced: bool
    """Whether requests carry a trace id."""
    bodies: Bodies
    shadows: BackgroundTasks
    """Mirrored requests in progress."""
    responses: ResponseStore
    of_people: RunningRequests
    """Those of people's keys."""
    texts: KeptTexts | None
    """Texts that are kept in the database; ``None`` without a key to encrypt them."""
    people: PeopleKeys | None
    """The keys of the database; ``None`` without one."""
    runtime: Runtime
    """The configuration in force now."""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer another request, as an ASGI application."""

    @property
    def signed(self) -> SignedAccounts | None:
        """The accounts of signed keys; ``None`` if none are accepted."""

    def account(self, key: str) -> Account | None:
        """What requests with this key may use; ``None`` for one without limits."""

    def next_id(self) -> str:
        """A new unique id for a request."""

    def ended(self, record: Record) -> None:
        """A request is over. Does not raise: what fails in an observer is logged, and the others are notified."""

    def ended_usually(self, request: UsualRequest) -> None:
        """A usual request is over, of which no record was made. Does not raise."""

    def shadowed(self, answer: TargetResult, shadow: TargetResult, paid: PaidAttempt) -> None:
        """A mirrored request is over."""

    def bug(self, error: Exception, record: Record) -> None:
        """A defect of the gateway, for the log."""

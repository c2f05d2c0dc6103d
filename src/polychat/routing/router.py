"""The one owner of retries: ``Router.run`` asks the targets of a plan until one begins to answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import PolychatError
from .attempts import Attempts
from .clocks import Deadline, Kind
from .context import RoutingContext
from .resolve import Plan, Target
from .run import Run
from .traits import UNKNOWN, Traits

T = TypeVar("T")


class Router(RoutingContext):
    """Chooses targets and retries."""

    def run(
        self,
        plan: Plan,
        ask: Callable[[Target], Awaitable[T]],
        attempts: Attempts,
        *,
        repeated: int = 0,
        traits: Traits = UNKNOWN,
        kind: Callable[[], Kind] | None = None,
        deadline: Deadline | None = None,
        after: PolychatError | None = None,
        is_extra: bool = False,
    ) -> Awaitable[T]:
        """The result of ``ask`` for the first target that begins to answer. The caller calls
        ``attempts.completed`` when that answer is complete, and ``attempts.end`` in any case.

        ``ask`` returns when the first piece is there, and raises ``PolychatError`` before it. Raises the most
        informative of these when the plan's attempts, targets or seconds are used up, with ``failures`` where several targets
        were tried, and ``Resting`` where every target rests.

        ``repeated`` is how many times the client sent this request before: there are as many fewer attempts, and no target is
        called twice, since its retries and ours would multiply. ``traits`` are the properties of the request that the choice
        depends on. ``kind`` gives the class of requests whose time to the first token is measured; without it an attempt has
        all of its ``timeouts``. ``deadline``: when its client gives up. ``after`` is the error that cut off the answer of
        ``attempts`` before: this is then a retry, and targets that failed before come last. ``is_extra``: the second request
        of a hedge.
        """
        run = Run(self, plan, ask, attempts, repeated, traits, kind, deadline)
        if after is not None:
            return run.retry_after_cut(after)
        return run.answer() if is_extra else run.first_answer()

"""Log events for what only the operator can fix: a key that is missing or refused, an address that is wrong.

The request that met it has its own line. This one is there besides, with any ``log`` and any ``log_sample``, and where another
target answered; once for a while, so that a backend that every request meets does not fill the log.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from ...errors import Failure
from .record import Record

EVENT = "backend misconfigured"
OUTCOMES = frozenset(("not_set_up", "authentication", "wrong_address", "certificate"))
"""Outcomes that are caused neither by a request nor by a temporary failure of the backend."""
_PAUSE = 300.0
"""Seconds after which the same is logged again."""
_KEPT = 500
"""When each target and outcome was logged last."""


class SetupEvents:
    """Takes every request's ``Record``; ``tell`` writes an event with its facts."""

    def __init__(self, tell: Callable[..., None], *, clock: Callable[[], float] = monotonic) -> None:
        self._tell, self._clock = tell, clock
        self._quiet_until: dict[tuple[str, str], float] = {}

    def __call__(self, record: Record) -> None:
        if not record.failures:
            return
        for failure in record.failures:
            if failure.outcome in OUTCOMES and self._is_news(failure, record):
                self._tell(
                    EVENT,
                    target=failure.target[:200],
                    outcome=failure.outcome,
                    reason=failure.reason,
                    request_id=record.request_id,
                )

    def _is_news(self, failure: Failure, record: Record) -> bool:
        """Clients can make up model names without end: a target that no route names is logged by its provider alone."""
        target = failure.target if record.route else failure.target.partition("/")[0]
        known, now = (target, failure.outcome), self._clock()
        if now < self._quiet_until.get(known, now):
            return False
        self._quiet_until.pop(known, None)
        if len(self._quiet_until) >= _KEPT:
            del self._quiet_until[next(iter(self._quiet_until))]
        self._quiet_until[known] = now + _PAUSE
        return True

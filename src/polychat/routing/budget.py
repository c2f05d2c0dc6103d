"""How many retries a route may make: a share of its requests, so that its targets never get many more than clients sent."""

from __future__ import annotations

from .windows import Window

SECONDS, SHARE, LEAST = 10.0, 0.1, 3.0
"""In a window of so many seconds: a tenth as many retries as requests, and at least three a second."""
_REQUEST, _RETRY = 0, 1


def allows(requests: int, retries: int) -> bool:
    """Whether one retry more is within the budget of a window."""
    return retries < max(SHARE * requests, LEAST * SECONDS)


class RetryBudget:
    """Of one route. Moments are seconds on the caller's clock."""

    __slots__ = ("_window",)

    def __init__(self) -> None:
        self._window = Window(SECONDS, 2)

    def asked(self, now: float) -> None:
        """A client sent a request."""
        self._window.add(_REQUEST, now)

    def take(self, now: float) -> bool:
        """Whether a retry may be made, which is then counted."""
        if not allows(*self._window.totals(now)):
            return False
        self._window.add(_RETRY, now)
        return True

    def left(self, now: float) -> float:
        """Retries that may be made now."""
        requests, retries = self._window.totals(now)
        return max(0.0, max(SHARE * requests, LEAST * SECONDS) - retries)

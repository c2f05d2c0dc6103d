"""How many retries a route may make: a share of its requests, so that its targets never get many more than clients sent.

What a minute has left over may be used at once, for a target that is reliable: one that fails takes up to a few seconds to be
known as such, all requests of those seconds need a retry then, and the others can carry them. While all fail none is
reliable, and the seconds' own share is all there is.
"""

from __future__ import annotations

from .windows import Window

SECONDS, SHARE, LEAST = 10.0, 0.1, 3.0
"""In a window of so many seconds: a tenth as many retries as requests, and at least three a second."""
KEPT = 6.0
"""Windows whose unused retries are kept for reliable targets."""
_REQUEST, _RETRY = 0, 1


def allowance(requests: int) -> float:
    """Retries that a window with so many requests may have."""
    return max(SHARE * requests, LEAST * SECONDS)


class RetryBudget:
    """Of one route. Moments are seconds on the caller's clock."""

    __slots__ = ("_looked", "_saved", "_window")

    def __init__(self) -> None:
        self._window = Window(SECONDS, 2)
        self._saved = KEPT * allowance(0)
        """Retries that are kept, as they were at ``_looked``."""
        self._looked = 0.0

    def count_request(self, now: float) -> None:
        """Count a request of a client."""
        self._window.add(_REQUEST, now)

    def take(self, now: float, *, is_reliable: bool = False) -> bool:
        """Whether a retry may be made, which is then counted. ``is_reliable``: of the target that it is for."""
        requests, retries = self._window.totals(now)
        allowed = allowance(requests)
        self._saved = min(KEPT * allowed, self._saved + allowed * (now - self._looked) / SECONDS)
        self._looked = now
        if retries >= allowed and not (is_reliable and self._saved >= 1.0):
            return False
        self._saved = max(0.0, self._saved - 1.0)
        self._window.add(_RETRY, now)
        return True

    def left(self, now: float) -> float:
        """Retries that may be made now, at any target."""
        requests, retries = self._window.totals(now)
        return max(0.0, allowance(requests) - retries)

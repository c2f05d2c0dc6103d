"""How many retries a route may make: a share of its requests, so that its targets never get many more than clients sent.

What a minute has left over may be used at once, for a target that is reliable: one that fails takes up to a few seconds to be
known as such, all requests of those seconds need a retry then, and the others can carry them. While all fail none is
reliable, and the seconds' own share is all there is.

The least of three a second is generous to few requests: at 20 a second it is 15 %. So an account is kept of the tenth over a
longer time: each request earns a tenth of a retry, and each retry uses one, whatever it was for.

| retries beyond what was earned | what is not done for now                                                                  |
|--------------------------------|-------------------------------------------------------------------------------------------|
| none                           | nothing                                                                                   |
| any (*overdrawn*)              | no request tries whether a failing target has recovered while others could answer it, but |
|                                | one does ``LATE`` after the target was due                                                |
| 20                             | unless the target is reliable, a retry beyond the tenth and one a second                  |

So failures that nobody could foresee come first, and what is left of the tenth goes to finding out.
"""

from __future__ import annotations

from .windows import Window

SECONDS, SHARE, LEAST = 10.0, 0.1, 3.0
"""In a window of so many seconds: a tenth as many retries as requests, and at least three a second."""
KEPT = 6.0
"""Windows whose unused retries are kept for reliable targets."""
EARNED = 3.0
"""Most retries that are earned ahead."""
OVER, DEBT = 20.0, 60.0
"""Retries beyond what was earned at which the least of a second becomes ``FLOOR``, and the most that are counted."""
FLOOR = 1.0
LATE = 15.0
"""Seconds after which a target that is due is tried though the account is overdrawn."""
_RETRY = 1
"""The kind of what is counted; 0: requests."""


def allowance(requests: int, least: float = LEAST) -> float:
    """Retries that a window with so many requests may have; ``least``: in a second, however few the requests."""
    return max(SHARE * requests, least * SECONDS)


class RetryBudget:
    """Of one route. Moments are seconds on the caller's clock."""

    __slots__ = ("_earned", "_looked", "_saved", "_window")

    def __init__(self) -> None:
        self._window = Window(SECONDS, 2)
        self._saved = KEPT * allowance(0)
        """Retries that are kept, as they were at ``_looked``."""
        self._looked = 0.0
        self._earned = EARNED
        """Retries that were earned and not used; below 0 where more were used."""

    def count_request(self, now: float) -> None:
        """Count a request of a client."""
        self._window.add_first(now)
        self._earned += SHARE

    def take(self, now: float, *, is_reliable: bool = False) -> bool:
        """Whether a retry may be made, which is then counted. ``is_reliable``: of the target that it is for."""
        requests, retries = self._window.totals(now)
        allowed = allowance(requests)
        self._saved = min(KEPT * allowed, self._saved + allowed * (now - self._looked) / SECONDS)
        self._looked = now
        if retries >= self._allowed(requests) and not (is_reliable and self._saved >= 1.0):
            return False
        self._saved = max(0.0, self._saved - 1.0)
        self._earned = max(-DEBT, min(EARNED, self._earned) - 1.0)
        self._window.add(_RETRY, now)
        return True

    def left(self, now: float) -> float:
        """Retries that may be made now, at any target."""
        requests, retries = self._window.totals(now)
        return max(0.0, self._allowed(requests) - retries)

    def is_overdrawn(self) -> bool:
        """Whether more retries were made than a tenth of the requests: none is to be risked that can be avoided."""
        return self._earned < 0.0

    def _allowed(self, requests: int) -> float:
        return allowance(requests, LEAST if self._earned > -OVER else FLOOR)

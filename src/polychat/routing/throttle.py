"""Fewer requests to a target the more of them it fails: the client-side throttling of Google's SRE book (chapter 21).

It matters where a sick target is called all the same, since too many others are sick too (see ``ejection``): there it counts
what is wanted of the target since its breaker opened. The first answer closes the breaker, and ends this.
"""

from __future__ import annotations

from .windows import Window

_K = 2.0
"""Attempts for each that is answered, before any is held back."""
_WINDOW = 10.0
_TRIES = 1.0
"""Seconds after which one is let through whatever was held back: so soon it shows that a target is well again."""
_WANTED = 0


def held_back(wanted: int, answered: int = 0) -> float:
    """The share of attempts that are not to be made, of ``wanted`` in the window, ``answered`` of which went well."""
    return max(0.0, (wanted - _K * answered) / (wanted + 1))


class Throttle:
    """Of one target of one route. Moments are seconds on the caller's clock."""

    __slots__ = ("_latest", "_window")

    def __init__(self) -> None:
        self._window = Window(_WINDOW, 1)
        self._latest = -_TRIES

    def admits(self, now: float, draw: float) -> bool:
        """Whether an attempt may be made; ``draw`` is a number from 0 to 1, drawn by chance."""
        (wanted,) = self._window.totals(now)
        self._window.add(_WANTED, now)
        if draw < held_back(wanted) and now - self._latest < _TRIES:
            return False
        self._latest = now
        return True

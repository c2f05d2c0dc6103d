"""Windows: the periods that limits and budgets are counted in, each from a full minute, hour, day or month of UTC to the next.

Pure arithmetic on seconds since 1970. Every machine computes the same windows from its clock, so nothing needs to be agreed on.
A window is fixed, not sliding: up to twice a limit can pass within one period that spans the end of a window, and in return a
limit can name the moment when it resets, and one number a window is all that machines have to share.
"""

from __future__ import annotations

from calendar import timegm
from time import gmtime
from typing import Literal, NamedTuple, TypeAlias, get_args

WindowKind: TypeAlias = Literal["minute", "hour", "day", "month"]
KINDS: tuple[WindowKind, ...] = get_args(WindowKind)
"""From the shortest to the longest."""
_SECONDS: dict[str, int] = {"minute": 60, "hour": 3600, "day": 86400}


class Window(NamedTuple):
    """From ``start`` up to and not including ``end``, in seconds since 1970."""

    start: int
    end: int

    def left(self, now: float) -> float:
        """Seconds until it ends; 0 when it has."""
        return max(0.0, self.end - now)


def window_at(kind: WindowKind, now: float) -> Window:
    """The window that a moment is in."""
    if kind != "month":
        seconds = _SECONDS[kind]
        start = int(now // seconds) * seconds
        return Window(start, start + seconds)
    today = gmtime(now)
    year, month = today.tm_year, today.tm_mon
    following = (year + month // 12, month % 12 + 1)
    return Window(timegm((year, month, 1, 0, 0, 0)), timegm((*following, 1, 0, 0, 0)))


def longest_in(kind: WindowKind) -> int:
    """Seconds of the longest window of a kind, for what rounds down to policies such as ``100;w=60``."""
    return _SECONDS.get(kind, 31 * 86400)

"""Soft limits: the first request that passes one in a period makes a warning, before requests are refused.

The period of a budget is its window. That of a limit per minute, or of concurrent requests, is an hour: a key that works near
its limit is no news each minute.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...state.ledger import NANO, Bucket, BucketName
from ...state.windows import Window, window_at

_KEPT = 10_000
"""Buckets of which it is known that they were warned of."""


class LimitWarning(NamedTuple):
    """A soft limit that is passed, at the moment at which it was."""

    bucket: BucketName
    used: int
    """What requests used, and what those that run have reserved; of a limit that refused one also what other processes hold."""
    soft: int
    hard: int | None
    resets_at: int | None
    """``None`` for what no window ends."""
    period: Window
    """In which there is one warning of this bucket."""

    @classmethod
    def of(cls, bucket: Bucket, period: Window, *, is_full: bool = False) -> LimitWarning:
        """That of a bucket whose soft limit is passed now, or that refused a request."""
        resets_at = None if bucket.name.window is None else bucket.window.end
        used = bucket.others + bucket.used + bucket.reserved + (bucket.elsewhere if is_full else 0)
        return cls(bucket.name, used, bucket.soft or 0, bucket.hard, resets_at, period)

    def amount(self, amount: int | None) -> float | int | None:
        """As people read it: dollars in dollars."""
        return amount / NANO if amount is not None and self.bucket.metric == "dollars" else amount

    def facts(self) -> dict[str, Any]:
        """For the log and the webhook: whose, of what, how much, and until when (in seconds since 1970)."""
        level, owner, metric, window = self.bucket
        key, _, user = owner.partition("/") if level == "user" else (owner, "", "")
        return {
            "level": level,
            "owner": key,
            **({"user": user} if level == "user" else {}),
            "metric": metric,
            "window": window,
            "used": self.amount(self.used),
            "warn_at": self.amount(self.soft),
            "limit": self.amount(self.hard),
            "resets_at": self.resets_at,
        }


class SoftLimits:
    """Knows of what it has warned. ``report`` gets each warning, on the request's way: it must not wait."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock``: seconds since 1970."""
        self._clock = clock
        self.report: Callable[[LimitWarning], object] = lambda warning: None
        self._warned: OrderedDict[BucketName, int] = OrderedDict()
        """When the period ends in which there was a warning, the oldest first."""

    def look_at(self, buckets: Sequence[Bucket], full: Bucket | None = None) -> None:
        """Report those whose soft limit is passed, each once in its period.

        ``full`` refused a request. It is looked at with what other processes hold: they may have used that by now, and no
        limit is to refuse requests before it warned.
        """
        now = self._clock()
        for bucket in buckets:
            is_full = bucket is full
            is_passed = bucket.is_warned or (is_full and bucket.soft is not None and _taken(bucket) >= bucket.soft)
            if is_passed and self._warned.get(bucket.name, 0) <= now:
                kind = bucket.name.window
                period = window_at("hour" if kind in (None, "minute") else kind, now)
                self._keep(bucket.name, period.end)
                self.report(LimitWarning.of(bucket, period, is_full=is_full))

    def _keep(self, name: BucketName, end: int) -> None:
        self._warned.pop(name, None)
        if len(self._warned) >= _KEPT:
            self._warned.popitem(last=False)
        self._warned[name] = end


def _taken(bucket: Bucket) -> int:
    """Of the limit, by whoever it is."""
    return (bucket.hard or 0) - (bucket.left or 0)

"""The buckets that a request counts in, and the headers about them: what does not change is made once for all requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...state.ledger import NANO, Bucket, Charge, Metric
from ...state.windows import longest_in
from .limit_texts import sendable, warning_of

if TYPE_CHECKING:
    from ...http.server.asgi import Headers

_MICRODOLLAR = NANO // 1_000_000


class _Shown(NamedTuple):
    """A bucket with a window, in the headers of the IETF's draft."""

    bucket: Bucket
    hard: int
    label: str
    unit: int
    """By which its amounts are divided."""


class _OfMinute(NamedTuple):
    """A bucket of a minute, in the headers of OpenAI's API."""

    bucket: Bucket
    hard: int
    limit: tuple[bytes, bytes]
    remaining: bytes
    reset: bytes
    """The names of two headers."""


class ChargedBuckets:
    """Buckets with their caps as they are now: a change of a cap makes another."""

    __slots__ = ("_look_at", "_minutes", "_policies", "_shown", "buckets", "metrics")

    def __init__(self, buckets: Sequence[Bucket], look_at: Callable[..., object] = lambda *buckets: None) -> None:
        """``look_at`` gets the buckets when the soft limit of one may be passed, and the one that refused a request."""
        self.buckets, self._look_at = tuple(buckets), look_at
        self.metrics: tuple[Metric, ...] = tuple(bucket.name.metric for bucket in buckets)
        self._shown = [_shown(bucket, bucket.hard) for bucket in buckets if bucket.name.window and bucket.hard is not None]
        policies = ", ".join(f"{one.label};q={one.hard // one.unit};w={_seconds(one.bucket)}" for one in self._shown)
        self._policies: Headers = [(b"ratelimit-policy", policies.encode())] if policies else []
        minutes = [_of_minute(one.bucket, one.hard) for one in self._shown if one.bucket.name.window == "minute"]
        metrics = dict.fromkeys(one.bucket.name.metric for one in minutes)
        self._minutes = [[one for one in minutes if one.bucket.name.metric == metric] for metric in metrics]

    def charges(self, amounts: Mapping[Metric, int]) -> list[Charge]:
        """Each bucket with the amount of its metric."""
        return [(bucket, amounts[metric]) for bucket, metric in zip(self.buckets, self.metrics, strict=True)]

    def headers(self, now: float) -> Headers:
        """What is left: in the headers of the IETF's draft, and, of the tightest limits of a minute, in those of OpenAI's API.

        Where a soft limit is reached there is a warning too.
        """
        second, states = int(now), []
        for bucket, hard, label, unit in self._shown:
            left, seconds = hard - bucket.others - bucket.elsewhere - bucket.used - bucket.reserved, bucket.window.end - second
            states.append(f"{label};r={left // unit if left > 0 else 0};t={seconds if seconds > 0 else 0}")
        headers = self._policies.copy()
        if states:
            headers.append((b"ratelimit", ", ".join(states).encode()))
        for limits in self._minutes:
            tightest = limits[0] if len(limits) == 1 else min(reversed(limits), key=lambda one: one.bucket.left or 0)
            left, seconds = tightest.bucket.left or 0, tightest.bucket.window.end - second
            headers += [tightest.limit, (tightest.remaining, b"%d" % left), (tightest.reset, b"%ds" % max(seconds, 0))]
        if any([bucket.is_warned for bucket in self.buckets]):  # noqa: C419  # a generator takes twice as long
            warnings = "; ".join(warning_of(bucket) for bucket in self.buckets if bucket.is_warned)
            headers.append((b"x-polychat-limit-warning", sendable(warnings)))
            self._look_at(self.buckets)
        return headers

    def warn(self, full: Bucket | None = None) -> None:
        """Report the soft limits that are passed, where no headers follow, or where one of the buckets refused a request."""
        self._look_at(self.buckets, full)


def _shown(bucket: Bucket, hard: int) -> _Shown:
    name = bucket.name
    unit = _MICRODOLLAR if name.metric == "dollars" else 1
    label = f'"{name.level}-{"microdollars" if name.metric == "dollars" else name.metric}-{name.window}"'
    return _Shown(bucket, hard, label, unit)


def _seconds(bucket: Bucket) -> int:
    return 0 if bucket.name.window is None else longest_in(bucket.name.window)


def _of_minute(bucket: Bucket, hard: int) -> _OfMinute:
    limit, remaining, reset = (f"x-ratelimit-{word}-{bucket.name.metric}".encode() for word in ("limit", "remaining", "reset"))
    return _OfMinute(bucket, hard, (limit, b"%d" % hard), remaining, reset)

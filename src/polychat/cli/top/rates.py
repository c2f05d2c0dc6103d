"""What changed between two looks at ``/metrics``: rates, shares and quantiles of the last minute."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import inf
from typing import NamedTuple, TypeVar

from .scrape import Scrape, TargetName

_Label = TypeVar("_Label")

WINDOW = 60.0
"""Seconds over which quantiles and verdicts are counted."""
_RECENT = 10.0
"""Seconds over which rates are counted: requests end together, and a shorter time would jump."""


class GatewayRates(NamedTuple):
    """``seconds``: how far back verdicts and quantiles go; 0 where there was one look only, and nothing is known."""

    seconds: float
    requests: float
    """Those that ended, a second."""
    prompt_tokens: float
    completion_tokens: float
    """A second, counted when a request ends."""
    verdicts: Mapping[str, int]
    statuses: Mapping[str, int]
    p50: float | None
    p95: float | None
    """Seconds to the first token; ``inf`` beyond the last bound of the histogram."""
    attempts: Mapping[TargetName, float]
    """A second."""
    failures: Mapping[TargetName, int]
    dropped: int
    """Fields of requests that backends do not support."""
    cost: float
    """US dollars."""


class MetricsHistory:
    """The looks of the last minute."""

    def __init__(self) -> None:
        self._scrapes: deque[Scrape] = deque()

    def add(self, scrape: Scrape) -> None:
        """The latest. One whose counters went down is of a gateway that began anew: what was before is forgotten."""
        if self._scrapes and scrape.requests < self._scrapes[-1].requests:
            self._scrapes.clear()
        self._scrapes.append(scrape)
        while len(self._scrapes) > 2 and self._scrapes[1].at <= scrape.at - WINDOW:
            self._scrapes.popleft()

    @property
    def latest(self) -> Scrape | None:
        return self._scrapes[-1] if self._scrapes else None

    def rates(self) -> GatewayRates | None:
        """``None`` before the first look."""
        if not self._scrapes:
            return None
        last, first = self._scrapes[-1], self._scrapes[0]
        recent = next(scrape for scrape in self._scrapes if scrape is last or scrape.at >= last.at - _RECENT)
        if recent is last and len(self._scrapes) > 1:
            recent = self._scrapes[-2]  # looks are further apart
        return _between(first, recent, last)


def _between(first: Scrape, recent: Scrape, last: Scrape) -> GatewayRates:
    seconds = last.at - recent.at
    per_second = 1 / seconds if seconds > 0 else 0.0
    times = last.first.since(first.first)
    return GatewayRates(
        seconds=last.at - first.at,
        requests=(last.requests - recent.requests) * per_second,
        prompt_tokens=(last.tokens["prompt"] - recent.tokens["prompt"]) * per_second,
        completion_tokens=(last.tokens["completion"] - recent.tokens["completion"]) * per_second,
        verdicts=_more(last.verdicts.since(first.verdicts)),
        statuses=_more(last.statuses.since(first.statuses)),
        p50=quantile(0.5, times),
        p95=quantile(0.95, times),
        attempts={name: number * per_second for name, number in last.attempts.since(recent.attempts).items()},
        failures=_more(last.failures.since(first.failures)),
        dropped=round(last.dropped - first.dropped),
        cost=last.cost - first.cost,
    )


def _more(changes: Mapping[_Label, float]) -> dict[_Label, int]:
    return {label: round(number) for label, number in changes.items() if number > 0}


def quantile(share: float, times: Mapping[float, float]) -> float | None:
    """The time within which this share of all is, from counts by upper bound, each with all below; ``None`` of nothing.

    Within a bucket the times are taken to be spread evenly.
    """
    bounds = sorted(times)
    total = times[bounds[-1]] if bounds else 0
    if total <= 0:
        return None
    rank, below, lower = share * total, 0.0, 0.0
    for bound in bounds:
        count = times[bound]
        if count >= rank:
            return inf if bound == inf else lower + (bound - lower) * (rank - below) / (count - below)
        below, lower = count, bound
    return inf

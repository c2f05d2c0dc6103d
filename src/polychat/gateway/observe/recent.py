"""The latest requests, and which targets each went to and why, for operators.

A request costs an append here. The explanation is made on demand from the request's record; it has no text of a conversation
and no key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from copy import copy
from datetime import UTC, datetime
from itertools import islice
from time import monotonic, time
from typing import Any

from ...errors import redact
from ...routing.choice import UNLISTED
from .record import Record, passed_over

_NAME = 120
_ERROR = 400


class RecentRequests:
    """Takes every request's ``Record`` and keeps the latest ``most``, without their text."""

    def __init__(self, most: int, *, clock: Callable[[], float] = monotonic, now: Callable[[], float] = time) -> None:
        self._records: deque[Record] = deque(maxlen=most)
        self._ended = 0
        """How many have ended, which is the number of the latest."""
        self._clock, self._now = clock, now

    def __call__(self, record: Record) -> None:
        if record.text is not None:
            record = copy(record)
            record.text = None
        for _, error in record.resting:
            error.__traceback__ = error.__context__ = None  # they would keep the whole request in memory
        self._records.append(record)
        self._ended += 1

    def resized(self, most: int) -> None:
        """Keep ``most`` requests from now on."""
        if most != self._records.maxlen:
            self._records = deque(self._records, maxlen=most)

    def find(self, request_id: str) -> Record | None:
        """The latest request of this name; clients may give two the same."""
        return next((record for record in reversed(self._records) if record.request_id == request_id), None)

    def explained(self, record: Record) -> dict[str, Any]:
        """``explanation`` with the time of day at which the request came."""
        came = self._now() - (self._clock() - record.start)
        return {"time": datetime.fromtimestamp(came, UTC).isoformat(timespec="milliseconds"), **explanation(record)}

    def summaries(self, most: int, before: int | None = None) -> tuple[list[dict[str, Any]], int | None]:
        """Requests in brief, the last first, and where the next page begins: ``before`` this number; ``None`` at the end."""
        first = self._ended if before is None else max(0, min(before - 1, self._ended))
        skipped = self._ended - first
        page = list(islice(reversed(self._records), skipped, skipped + most))
        last = first - len(page) + 1
        brief = [{name: value for name, value in self.explained(record).items() if name in _SUMMARY} for record in page]
        return brief, last if page and skipped + len(page) < len(self._records) else None


_SUMMARY = ("time", "request_id", "method", "path", "model", "route", "target", "status", "verdict", "duration_ms", "error")


def explanation(record: Record) -> dict[str, Any]:
    """Why a request went to its target: the candidates, the attempts with their times, the losses, and the cost.

    Times are milliseconds since the request's headers.
    """
    target = record.answered or (f"{record.provider}/{record.served}" if record.provider else "")
    values: dict[str, Any] = {
        "request_id": redact(record.request_id),
        "dialect": record.dialect,
        "method": record.method,
        "path": redact(record.path, _NAME),
        "status": record.status,
        "verdict": record.verdict,
        "finish_reason": record.reason and redact(record.reason, _NAME),
        "error": redact(record.error, _ERROR),
        "key": record.key,
        "model": redact(record.model, _NAME),
        "route": redact(record.route, _NAME),
        "strategy": record.plan.strategy if record.plan is not None and record.route else "",
        "target": redact(target, _NAME),
        "model_served": redact(record.served, _NAME),
        "stream": record.stream,
        "passthrough": record.passthrough,
        "duration_ms": _since(record, record.over),
        "queued_ms": round(record.queued * 1000, 2),
        "time_to_first_token_ms": None if record.first is None else _since(record, record.first),
        "candidates": list(_candidates(record)),
        "attempts": list(_attempts(record)),
        "losses": [redact(loss, _ERROR) for loss in record.losses],
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "cached_tokens": record.cached_tokens,
        "cost_usd": record.cost,
    }
    return values


def _since(record: Record, moment: float) -> float:
    return round((moment - record.start) * 1000, 2)


def _candidates(record: Record) -> Iterator[dict[str, Any]]:
    """Each target that could have answered, in the order of the configuration, and what became of it."""
    if record.plan is None:
        return
    failed = {failure.target: failure for failure in record.failures}
    passed = passed_over(record)
    for target in record.plan.targets:
        entry: dict[str, Any] = {"target": redact(target.name, _NAME)}
        if target.name == record.answered:
            entry["outcome"] = "answered"
        elif (failure := failed.get(target.name)) is not None:
            entry |= {"outcome": failure.outcome, "reason": failure.reason}
        elif target.name in passed:
            entry |= {"outcome": "passed over", "reason": redact(passed[target.name], _ERROR)}
        else:
            entry |= {
                "outcome": "not asked",
                "reason": "another answered" if record.answered else "the request was over before",
            }
        yield entry
    for name in record.plan.unlisted:
        yield {"target": redact(name, _NAME), "outcome": "unlisted", "reason": UNLISTED}


def _attempts(record: Record) -> Iterator[dict[str, Any]]:
    """Each request that was sent to a target, on one time line."""
    times = [*record.times, *(None for _ in range(len(record.failures) - len(record.times)))]
    for failure, moments in zip(record.failures if record.attempts else (), times, strict=False):
        entry: dict[str, Any] = {"target": redact(failure.target, _NAME)}
        if moments is not None:
            entry |= {"begin_ms": _since(record, moments[0]), "end_ms": _since(record, moments[1])}
        yield {**entry, "outcome": failure.outcome, "reason": failure.reason}
    if record.answered:
        entry = {"target": redact(record.answered, _NAME)}
        if record.called_at is not None:
            entry["begin_ms"] = _since(record, record.called_at)
        if record.first is not None:
            entry["time_to_first_token_ms"] = _since(record, record.first)
        yield {**entry, "end_ms": _since(record, record.over), "outcome": record.verdict or "answered", "reason": record.error}

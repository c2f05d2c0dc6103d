"""The requests that are not over, for ``GET /admin/running``.

A request costs an entry in a dict, and only where there is an admin key. What is shown of it is read from its record on demand.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal, TypeAlias

from ...errors import redact
from .record import Record

InProgress: TypeAlias = dict[Record, None]
"""The records of these requests, the oldest first."""
RequestState: TypeAlias = Literal["reading", "waiting", "answering"]
"""``reading``: its body is not read; ``waiting``: for the first piece of a reply; ``answering``: the reply arrives."""
_SEARCHED = 10_000
"""Records that one search looks at, at most."""
_NAME = 120


def running(records: InProgress, most: int, text: str, now: float) -> list[dict[str, Any]]:
    """The oldest ``most``, or the oldest in which ``text`` is part of a name. ``now`` is in ``time.monotonic``."""
    found = records if not text else _having(islice(records, _SEARCHED), text.casefold())
    return [_facts(record, now) for record in islice(found, most)]


def _having(records: Iterator[Record], text: str) -> Iterator[Record]:
    for record in records:
        names = (record.model, record.route, target_of(record), record.key, record.request_id, record.dialect)
        if any(text in name.casefold() for name in names):
            yield record


def _facts(record: Record, now: float) -> dict[str, Any]:
    """Times are milliseconds."""
    first = record.first
    return {
        "request_id": redact(record.request_id),
        "dialect": record.dialect,
        "key": redact(record.key, _NAME),
        "model": redact(record.model, _NAME),
        "route": redact(record.route, _NAME),
        "target": redact(target_of(record), _NAME),
        "state": _state(record),
        "stream": record.stream,
        "age_ms": round((now - record.start) * 1000, 1),
        "time_to_first_token_ms": None if first is None else round((first - record.start) * 1000, 1),
        "tokens": None if record.meter is None or first is None else record.meter.tokens_so_far,
    }


def target_of(record: Record) -> str:
    """The target that answers; before, the one that was called last, or the only one that can be; else empty."""
    if record.answered:
        return record.answered
    if record.provider:
        return f"{record.provider}/{record.served}" if record.served else record.provider
    targets = () if record.plan is None else record.plan.targets
    return targets[0].name if len(targets) == 1 else ""


def _state(record: Record) -> RequestState:
    if record.first is not None:
        return "answering"
    return "waiting" if record.model else "reading"

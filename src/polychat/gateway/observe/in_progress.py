"""The requests that are not over, for ``GET /admin/running``.

A request costs an entry in a dict, and only where there is an admin key. What is shown of it is read from its record on demand;
of several workers each leaves its oldest in its snapshot, for the one that is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from ...errors import redact
from .record import Record

InProgress: TypeAlias = dict[Record, None]
"""The records of these requests, the oldest first."""
RequestState: TypeAlias = Literal["reading", "waiting", "answering"]
"""``reading``: its body is not read; ``waiting``: for the first piece of a reply; ``answering``: the reply arrives."""
SHARED = 50
"""How many a worker shows the others."""
_SEARCHED = 10_000
"""Records that one search looks at, at most."""
_NAME = 120


class RunningRequest(Struct, array_like=True, forbid_unknown_fields=True):
    """One request in progress. ``start`` and ``first`` are in ``time.monotonic``, which a machine's processes share."""

    request_id: str
    dialect: str
    key: str
    model: str
    route: str
    target: str
    state: RequestState
    stream: bool
    start: float
    first: float | None
    tokens: int | None
    key_name: str = ""


def running(records: InProgress, most: int, text: str = "") -> list[RunningRequest]:
    """The oldest ``most``, or the oldest in which ``text`` is part of a name."""
    found: Iterable[Record] = records
    if text:
        found = (record for record in islice(records, _SEARCHED) if _has(_names(record), text))
    return [_request(record) for record in islice(found, most)]


def facts(requests: Iterable[RunningRequest], most: int, text: str, now: float) -> list[dict[str, Any]]:
    """The oldest ``most`` of these in which ``text`` is part of a name, as JSON shows them."""
    having = [one for one in requests if not text or _has(_shown_names(one), text)]
    return [_facts(one, now) for one in sorted(having, key=lambda one: one.start)[:most]]


def _has(names: Iterator[str], text: str) -> bool:
    wanted = text.casefold()
    return any(wanted in name.casefold() for name in names)


def _names(record: Record) -> Iterator[str]:
    yield from (record.model, record.route, target_of(record), record.key, record.request_id, record.dialect)
    if record.ownership is not None:
        yield record.ownership.key_name


def _shown_names(one: RunningRequest) -> Iterator[str]:
    yield from (one.model, one.route, one.target, one.key, one.key_name, one.request_id, one.dialect)


def _request(record: Record) -> RunningRequest:
    first = record.first
    return RunningRequest(
        request_id=redact(record.request_id),
        dialect=record.dialect,
        key=redact(record.key, _NAME),
        model=redact(record.model, _NAME),
        route=redact(record.route, _NAME),
        target=redact(target_of(record), _NAME),
        state=_state(record),
        stream=record.stream,
        start=record.start,
        first=first,
        tokens=None if record.meter is None or first is None else record.meter.tokens_so_far,
        key_name="" if record.ownership is None else redact(record.ownership.key_name, _NAME),
    )


def _facts(one: RunningRequest, now: float) -> dict[str, Any]:
    """Times are milliseconds."""
    return {
        "request_id": one.request_id,
        "dialect": one.dialect,
        "key": one.key,
        "key_name": one.key_name,
        "model": one.model,
        "route": one.route,
        "target": one.target,
        "state": one.state,
        "stream": one.stream,
        "age_ms": round((now - one.start) * 1000, 1),
        "time_to_first_token_ms": None if one.first is None else round((one.first - one.start) * 1000, 1),
        "tokens": one.tokens,
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

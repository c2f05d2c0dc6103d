"""What is asked of usage, as texts of a query or of a command say it, and what is answered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, get_args

from msgspec import structs

from ..errors import BadInput, redact
from .ledger import NANO
from .store import KeyStore, UsageDimension, UsageFilter, UsageSum

_DIMENSIONS: tuple[UsageDimension, ...] = get_args(UsageDimension)
_LABELS: list[str] = [name for name in _DIMENSIONS if name != "day"]
_AGE = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class UsageQuery(NamedTuple):
    by: UsageDimension
    which: UsageFilter

    @classmethod
    def read(cls, texts: Mapping[str, str], now: float) -> UsageQuery:
        """From ``by``, ``since``, ``until`` and names of labels; an empty one restricts nothing. Raises ``BadInput``."""
        named = texts.get("by") or "model"
        by: UsageDimension | None = next((one for one in _DIMENSIONS if one == named), None)
        if by is None:
            raise BadInput(f"by is {redact(named, 40)!r}: choose one of {', '.join(_DIMENSIONS)}", field="by")
        since, until = (moment_of(texts[name], now, name) if texts.get(name) else None for name in ("since", "until"))
        labels = {name: texts[name] for name in _LABELS if texts.get(name)}
        return cls(by, UsageFilter(since or 0.0, until, labels))


def moment_of(text: str, now: float, field: str) -> float:
    """Seconds since 1970 of a date, a time (in UTC where it names no zone) or an age such as ``24h``. Raises ``BadInput``."""
    if (age := age_in(text)) is not None:
        return now - age
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        message = f"{field} is {redact(text, 40)!r}: write a date such as 2026-11-01, or an age such as 24h or 30d"
        raise BadInput(message, field=field) from None


def age_in(text: str) -> int | None:
    """Seconds of an age such as ``24h``; ``None`` for another text."""
    age = _AGE.fullmatch(text)
    return None if age is None else int(age[1]) * _SECONDS[age[2]]


def rows_of(sums: Sequence[UsageSum], by: UsageDimension, store: KeyStore) -> list[dict[str, Any]]:
    """The sums as ``row_of`` has them; those of keys with ``key_name``, which is empty for a key that is not in the store."""
    rows = [row_of(one) for one in sums]
    if by == "key":
        names = store.key_names([one.name for one in sums])
        for row in rows:
            row["key_name"] = names.get(row["name"], "")
    return rows


def row_of(one: UsageSum) -> dict[str, Any]:
    """The sum for people and programs: its cost in US dollars."""
    values = structs.asdict(one)
    cost = values.pop("cost")
    return {**values, "cost_usd": cost / NANO}
